//! Tells the process's unwinder of the payloads' `.eh_frame`, so that exceptions and backtraces pass through replaced functions.
//!
//! An unwinder that asks `_dl_find_object` (libgcc from GCC 12 on, where glibc has it) gets its answer from [`_dl_find_object`] below, which
//! stands in front of the C library's in a preloaded process: that takes no lock and allocates nothing. Others are told with
//! `__register_frame_info`, which takes storage from its caller, but from GCC 13 on keeps a tree whose nodes it allocates with malloc. A
//! control thread shares its thread-local storage with an application thread, so it must never come into malloc: what is left then is a refusal.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hpatch_core::abi::Unit;
use hpatch_core::payload::Lookup;
use hpatch_core::report::Report;
use patchfmt::{Code, codes};

use crate::process::{self, OwnMemory, Symbols};
use crate::records::Entry;

/// Index in [`Unit::reserved`]: avma of 64 bytes: libgcc's `struct object` (48 bytes), then an `.eh_frame_hdr`.
pub const OBJECT: usize = 0;
/// Index in [`Unit::reserved`]: 1 when libgcc was told.
pub const ANNOUNCED: usize = 1;
/// Bytes of the storage.
pub const OBJECT_SIZE: usize = 64;
const HEADER_AT: u64 = 48;

const REGISTER: &[u8] = b"__register_frame_info";
const DEREGISTER: &[u8] = b"__deregister_frame_info";
const FIND: &[u8] = b"_dl_find_object";

/// A payload that [`_dl_find_object`] knows; empty while `start` is 0.
struct Slot {
    start: AtomicU64,
    end: AtomicU64,
    header: AtomicU64,
    /// An address in the module that the payload belongs to.
    module: AtomicU64,
}

const SLOTS: usize = 512;
static TABLE: [Slot; SLOTS] = [const {
    Slot { start: AtomicU64::new(0), end: AtomicU64::new(0), header: AtomicU64::new(0), module: AtomicU64::new(0) }
}; SLOTS];
/// Slots behind this one were never used.
static USED: AtomicU32 = AtomicU32::new(0);
/// avma of the C library's function, 0 while it isn't known.
static REAL: AtomicU64 = AtomicU64::new(0);

/// `struct dl_find_object` of <dlfcn.h>, x86-64.
#[repr(C)]
pub struct Found {
    flags: u64,
    map_start: u64,
    map_end: u64,
    link_map: u64,
    eh_frame: u64,
    reserved: [u64; 7],
}

fn slot_of(pc: u64) -> Option<(u64, u64, u64, u64)> {
    let used = USED.load(Ordering::Acquire) as usize;
    TABLE.iter().take(used).find_map(|s| {
        let start = s.start.load(Ordering::Acquire);
        let (end, header) = (s.end.load(Ordering::Acquire), s.header.load(Ordering::Acquire));
        let module = s.module.load(Ordering::Acquire);
        // Read again: the slot may have been given to another payload meanwhile.
        let hit = start != 0 && (start..end).contains(&pc) && s.start.load(Ordering::Acquire) == start;
        hit.then_some((start, end, header, module))
    })
}

/// Interposed. Called by unwinders on any thread at any moment: no lock, no allocation, no system call once the constructor has run.
///
/// # Safety
/// `result` is the caller's structure, as <dlfcn.h> has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _dl_find_object(pc: u64, result: *mut Found) -> i32 {
    let hit = slot_of(pc);
    let status = match real() {
        0 => -1,
        // SAFETY: the C library's function of that name, with the caller's own structure.
        at => unsafe {
            let find: unsafe extern "C" fn(u64, *mut Found) -> i32 = core::mem::transmute(at);
            find(hit.map_or(pc, |h| h.3), result)
        },
    };
    let Some((start, end, header, _)) = hit else { return status };
    // SAFETY: the caller's structure. The link map stays that of the payload's module.
    unsafe {
        if status != 0 {
            result.write(Found { flags: 0, map_start: 0, map_end: 0, link_map: 0, eh_frame: 0, reserved: [0; 7] });
        }
        ((*result).map_start, (*result).map_end, (*result).eh_frame) = (start, end, header);
    }
    0
}

fn own() -> u64 {
    _dl_find_object as *const () as u64
}

fn real() -> u64 {
    match REAL.load(Ordering::Acquire) {
        0 => find_real(),
        at => at,
    }
}

/// Looks the C library's function up. The constructor does it, so that later no system call and no changing list is in the way.
pub fn find_real() -> u64 {
    let at = process::main_scope().and_then(|s| s.find_beyond(&process::Direct, FIND, own())).unwrap_or(0);
    REAL.store(at, Ordering::Release);
    at
}

fn set_announced(entry: Entry, index: usize, value: u64) {
    let unit = entry.get().units + (index * size_of::<Unit>()) as u64;
    // SAFETY: `units` is the record's own table, and `index` one of its elements.
    unsafe { (*(unit as *mut Unit)).reserved[ANNOUNCED] = value };
}

/// Before the record goes live: nothing leads into its code yet. `on_control_thread`: malloc must not be called.
pub fn announce(entry: Entry, on_control_thread: bool, report: &mut Report) -> Result<(), Code> {
    let Some(mem) = OwnMemory::open() else { return Err(codes::MAP_FAILED) };
    for (index, unit) in entry.units().iter().enumerate().filter(|(_, u)| u.eh_frame != 0) {
        publish(unit, report)?;
        let symbols = Symbols::seen_from(&mem, unit.bias);
        let asked = || symbols.find(FIND, b"") == Ok(Some(own()));
        // libgcc's unwinder, linked into the module itself, or into one whose exceptions come through it. Without a call in the new code there is
        // no such frame.
        let calls = entry.new_sites().iter().any(|site| unit.is_called_from(*site));
        if calls && !asked() && symbols.any_imports_without(FIND, REGISTER) {
            return Err(report.refuse(codes::UNWINDER, format_args!("a module has an unwinder of its own")));
        }
        let Some(register) = symbols.find(REGISTER, b"").ok().flatten() else { continue };
        if symbols.definer_imports(REGISTER, FIND) && asked() {
            continue;
        }
        if on_control_thread && symbols.defines_version(REGISTER, b"GCC_13.0.0") {
            return Err(report.refuse(
                codes::UNWINDER,
                format_args!(
                    "libgcc_s from GCC 13 on, in a process or namespace that the loader wasn't preloaded into"
                ),
            ));
        }
        // SAFETY: libgcc's function of that name and type; the frames stay mapped and end with a zero word, the storage is the record's.
        unsafe {
            let register: extern "C" fn(*const u8, *mut u8) = core::mem::transmute(register);
            register(unit.eh_frame as *const u8, unit.reserved[OBJECT] as *mut u8);
        }
        set_announced(entry, index, 1);
    }
    Ok(())
}

/// Puts a payload into the table, with an `.eh_frame_hdr` that has no search table.
fn publish(unit: &Unit, report: &mut Report) -> Result<(), Code> {
    let header = unit.reserved[OBJECT] + HEADER_AT;
    // Version 1; the pointer to the frames is absolute; count and table are left out (LSB, .eh_frame_hdr).
    let mut bytes = [1, 0x00, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[4..].copy_from_slice(&unit.eh_frame.to_le_bytes());
    // SAFETY: the record's own storage, 16 bytes of it behind libgcc's part.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), header as *mut u8, bytes.len()) };
    let Some((n, slot)) = TABLE.iter().enumerate().find(|(_, s)| s.start.load(Ordering::Relaxed) == 0) else {
        return Err(report.refuse(codes::UNWINDER, format_args!("{SLOTS} payloads are mapped")));
    };
    slot.end.store(unit.text + unit.text_len, Ordering::Release);
    slot.header.store(header, Ordering::Release);
    slot.module.store(unit.lo, Ordering::Release);
    slot.start.store(unit.text, Ordering::Release);
    USED.fetch_max(n as u32 + 1, Ordering::Release);
    Ok(())
}

/// False when it can't be done: then the frames must stay mapped.
pub fn withdraw(entry: Entry) -> bool {
    for (index, unit) in entry.units().iter().enumerate() {
        if unit.reserved[ANNOUNCED] != 0 {
            let Some(mem) = OwnMemory::open() else { return false };
            let symbols = Symbols::seen_from(&mem, unit.bias);
            let Some(deregister) = symbols.find(DEREGISTER, b"").ok().flatten() else { return false };
            // SAFETY: announced before, with the same address. Taking a node out of the tree allocates nothing.
            unsafe {
                let deregister: extern "C" fn(*const u8) -> *mut u8 = core::mem::transmute(deregister);
                deregister(unit.eh_frame as *const u8);
            }
            set_announced(entry, index, 0);
        }
        for slot in TABLE.iter().filter(|s| unit.text != 0 && s.start.load(Ordering::Relaxed) == unit.text) {
            slot.start.store(0, Ordering::Release);
        }
    }
    true
}
