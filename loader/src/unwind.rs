//! Announces the payloads' `.eh_frame` to the process's unwinder, so that exceptions pass through replaced functions.
//!
//! `__register_frame_info` of libgcc_s takes storage from its caller. From GCC 13 on it keeps a tree whose nodes it allocates with
//! malloc. A control thread shares its thread-local storage with an application thread, so it must never come into malloc: there the
//! frames are announced only at start-up, which runs on the application's own main thread.

use hpatch_core::abi::Unit;
use hpatch_core::payload::Lookup;

use crate::control;
use crate::process::{OwnMemory, Symbols};
use crate::records::Entry;

/// Index in [`Unit::reserved`]: avma of 64 bytes for libgcc's `struct object` (48 bytes).
pub const OBJECT: usize = 0;
/// Index in [`Unit::reserved`]: 1 when announced.
pub const ANNOUNCED: usize = 1;
/// Bytes of the storage.
pub const OBJECT_SIZE: usize = 64;

const REGISTER: &[u8] = b"__register_frame_info";
const DEREGISTER: &[u8] = b"__deregister_frame_info";

/// avma of libgcc's function `name`; the main namespace's.
fn function(symbols: &Symbols<'_>, name: &[u8]) -> Option<u64> {
    symbols.find(name, b"").ok().flatten()
}

fn set_announced(entry: Entry, index: usize, value: u64) {
    let unit = entry.get().units + (index * size_of::<Unit>()) as u64;
    // SAFETY: `units` is the record's own table, and `index` one of its elements.
    unsafe { (*(unit as *mut Unit)).reserved[ANNOUNCED] = value };
}

pub fn announce(entry: Entry) {
    let wanted = |u: &Unit| u.eh_frame != 0 && u.reserved[ANNOUNCED] == 0;
    if !entry.units().iter().any(wanted) {
        return;
    }
    let Some(mem) = OwnMemory::open() else { return };
    let symbols = Symbols::seen_from(&mem, 0);
    let allocates = symbols.defines_version(REGISTER, b"GCC_13.0.0");
    let Some(register) = function(&symbols, REGISTER).filter(|_| !allocates || control::starting()) else { return };
    for index in 0..entry.units().len() {
        let unit = entry.units()[index];
        if wanted(&unit) {
            // SAFETY: libgcc's function of that name and type; the frames stay mapped and end with a zero word, the storage is the record's.
            unsafe {
                let register: extern "C" fn(*const u8, *mut u8) = core::mem::transmute(register);
                register(unit.eh_frame as *const u8, unit.reserved[OBJECT] as *mut u8);
            }
            set_announced(entry, index, 1);
        }
    }
}

/// False when it can't be done: then the frames must stay mapped.
pub fn withdraw(entry: Entry) -> bool {
    if !entry.units().iter().any(|u| u.reserved[ANNOUNCED] != 0) {
        return true;
    }
    let Some(mem) = OwnMemory::open() else { return false };
    let Some(deregister) = function(&Symbols::seen_from(&mem, 0), DEREGISTER) else { return false };
    for index in 0..entry.units().len() {
        let unit = entry.units()[index];
        if unit.reserved[ANNOUNCED] != 0 {
            // SAFETY: announced before, with the same address. Taking a node out of the tree allocates nothing.
            unsafe {
                let deregister: extern "C" fn(*const u8) -> *mut u8 = core::mem::transmute(deregister);
                deregister(unit.eh_frame as *const u8);
            }
            set_announced(entry, index, 0);
        }
    }
    true
}
