//! Storage in every thread for the thread-local variables that bundles bring.
//!
//! The library has a thread-local segment (ELF Handling for Thread-Local Storage, 3) of [`SIZE`] bytes that nothing else uses. Preloaded, it is
//! part of the static block: at one distance from the thread pointer in all threads, the running and the future ones, so that code of every
//! access model can have it. What a new thread finds there is a copy of the segment's template in this library's memory, zeros until
//! [`set_template`] changes it; the threads that run are given theirs while they stand still, by the `hpatch` command.
//! Attached, the library is unknown to the dynamic linker, and there is no such storage.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};

use hpatch_core::abi::{Range, Unit};
use hpatch_core::elf::{Ehdr, Phdr};
use hpatch_core::image::Memory;
use hpatch_core::link::Threads;
use hpatch_core::report::Report;
use patchfmt::{Code, codes};
use zerocopy::FromBytes;

use crate::mem::Pages;
use crate::process::{OwnMemory, Symbols};
use crate::records;
use crate::store::Writer;

/// Bytes in each thread.
const SIZE: u64 = 1024;
const ALIGN: u64 = 64;
/// What is given away at a time: each is a bit of a word.
const PIECE: u64 = SIZE / 64;
const PT_TLS: u32 = 7;

global_asm!(
    r#"
    .section .tdata, "awT", @progbits
    .balign {align}
    .globl hpatch_threads
    .hidden hpatch_threads
    .type hpatch_threads, @object
    .size hpatch_threads, {size}
    hpatch_threads:
        .zero {size}
    .section .text.hpatch_threads, "ax", @progbits
    .globl hpatch_threads_descriptor
    .hidden hpatch_threads_descriptor
    .type hpatch_threads_descriptor, @function
    hpatch_threads_descriptor:
        leaq hpatch_threads@tlsdesc(%rip), %rax
        retq
    .size hpatch_threads_descriptor, . - hpatch_threads_descriptor
    .globl hpatch_threads_pair
    .hidden hpatch_threads_pair
    .type hpatch_threads_pair, @function
    hpatch_threads_pair:
        leaq hpatch_threads@tlsgd(%rip), %rax
        retq
    .size hpatch_threads_pair, . - hpatch_threads_pair
    .globl hpatch_header
    .hidden hpatch_header
    .type hpatch_header, @function
    hpatch_header:
        leaq __ehdr_start(%rip), %rax
        retq
    .size hpatch_header, . - hpatch_header
    .hidden __ehdr_start
    .text
    "#,
    size = const SIZE,
    align = const ALIGN,
    options(att_syntax)
);

unsafe extern "C" {
    /// The words of the TLS descriptor that the dynamic linker has filled in: a function, and its argument.
    safe fn hpatch_threads_descriptor() -> *const [u64; 2];
    /// Id of this module, and offset in its block.
    safe fn hpatch_threads_pair() -> *const [u64; 2];
    /// This library's ELF header.
    pub safe fn hpatch_header() -> *const Ehdr;
}

/// Room for one unit's variables.
#[derive(Debug, Clone, Copy)]
pub struct Storage {
    /// Distance from the thread pointer, in bytes.
    pub pointer: i64,
    /// From the start of the segment.
    offset: u64,
    /// No thread has ever found anything but zeros there.
    pub fresh: bool,
}

impl Storage {
    /// For the linker; `image` is the avma of what the variables begin with.
    pub fn of(self, image: u64) -> Threads {
        // SAFETY: two words of this library's data, filled in by the dynamic linker before anything of it ran.
        let [module, offset] = unsafe { *hpatch_threads_pair() };
        Threads { image, pointer: self.pointer, module, offset: offset + self.offset }
    }
}

/// Distance of the segment from the thread pointer, `None` when it isn't part of the static block.
fn segment() -> Option<i64> {
    // SAFETY: as in `Storage::of`.
    let [function, argument] = unsafe { *hpatch_threads_descriptor() };
    let distance = argument as i64;
    // A descriptor of a block that is allocated later has the address of a table there, an attached library's has zeros.
    (function != 0 && (-(1 << 31)..0).contains(&distance)).then_some(distance)
}

/// Pieces that any thread may have found something in.
static USED: AtomicU64 = AtomicU64::new(0);

fn pieces(offset: u64, len: u64) -> u64 {
    let count = len.div_ceil(PIECE).min(64);
    let ones = if count == 64 { u64::MAX } else { (1 << count) - 1 };
    ones << (offset / PIECE)
}

/// Room that no other unit has: those on the list, and `more` of the record in the making.
pub fn reserve<'a>(
    len: u64,
    align: u64,
    more: impl Iterator<Item = &'a Unit>,
    report: &mut Report,
) -> Result<Storage, Code> {
    let Some(start) = segment() else {
        return Err(report.refuse(
            codes::TLS_UNRESOLVED,
            format_args!("an attached loader has no storage in the program's threads"),
        ));
    };
    let of = |u: &Unit| if u.thread_len == 0 { 0 } else { pieces((u.thread_at as i64 - start) as u64, u.thread_len) };
    let listed = records::all().flat_map(|e| e.units().iter()).map(of).fold(0, |all, p| all | p);
    let taken = more.map(of).fold(listed, |all, p| all | p);
    let used = USED.load(Ordering::Relaxed);
    if align <= ALIGN && len <= SIZE {
        for (busy, fresh) in [(taken | used, true), (taken, false)] {
            let step = align.max(PIECE) as usize;
            let found = (0..=SIZE - len).step_by(step).find(|&at| busy & pieces(at, len) == 0);
            if let Some(offset) = found {
                USED.fetch_or(pieces(offset, len), Ordering::Relaxed);
                return Ok(Storage { pointer: start + offset as i64, offset, fresh });
            }
        }
    }
    Err(report.refuse(
        codes::TLS_UNRESOLVED,
        format_args!("no {len} bytes (aligned to {align}) are left of the {SIZE} that each thread has for patches"),
    ))
}

/// What threads that are born from now on find in `storage`.
pub fn set_template(storage: Storage, first: &[u8], report: &mut Report) -> Result<(), Code> {
    let template = template().ok_or_else(|| report.refuse(codes::INTERNAL, format_args!("no template")))?;
    let at = template + storage.offset;
    Writer::open().write(at, first).map_err(|code| report.refuse(code, format_args!("the template at {at:#x}")))
}

/// avma of the template.
fn template() -> Option<u64> {
    let header = hpatch_header();
    // SAFETY: the header and the program headers behind it are part of the library's first segment.
    let (base, headers) = unsafe {
        let phdr = header.cast::<u8>().wrapping_add((*header).phoff.get() as usize);
        let len = usize::from((*header).phnum.get()) * size_of::<Phdr>();
        (header as u64, core::slice::from_raw_parts(phdr, len))
    };
    // The library is linked at 0.
    let headers = <[Phdr]>::ref_from_bytes(headers).ok()?;
    headers.iter().find(|p| p.kind.get() == PT_TLS && p.filesz.get() == SIZE).map(|p| base + p.vaddr.get())
}

/// Gives this thread, the only one, what `unit` brought.
pub fn begin_here(unit: &Unit) {
    if unit.thread_image == 0 {
        return;
    }
    let pointer: u64;
    // SAFETY: the thread pointer's first word is its own address (psABI, 3.4.2); storage that was reserved for the unit lies at that distance
    // from it, and its mapping holds as many bytes.
    unsafe {
        asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, readonly));
        let to = pointer.wrapping_add(unit.thread_at) as *mut u8;
        core::ptr::copy_nonoverlapping(unit.thread_image as *const u8, to, unit.thread_len as usize);
    }
}

/// The function that makes threads, where they are given a copy of the template before they are there. Nobody may be in it at the switch.
pub struct Births {
    start: u64,
    end: u64,
    /// Holds [`Births::sites`].
    pages: Pages,
    count: usize,
}

impl Births {
    /// `None` in a program that can't make threads.
    pub fn find(mem: &OwnMemory, report: &mut Report) -> Result<Option<Births>, Code> {
        const LIMIT: u64 = 1 << 20;
        let Some((start, len)) = Symbols::seen_from(mem, 0).function(b"pthread_create") else { return Ok(None) };
        let unknown = |report: &mut Report| {
            report.refuse(codes::TLS_UNRESOLVED, format_args!("pthread_create at {start:#x} has no known extent"))
        };
        if len == 0 || len > LIMIT {
            return Err(unknown(report));
        }
        let memory = |_| report.refuse(codes::OUT_OF_MEMORY, format_args!("mmap refused"));
        let mut code = Pages::new(len).map_err(memory)?;
        let code = &mut code.bytes_mut()[..len as usize];
        if !mem.read(start, code) {
            return Err(unknown(report));
        }
        let memory = |_| report.refuse(codes::OUT_OF_MEMORY, format_args!("mmap refused"));
        let mut pages = Pages::new((len + 1) * 8).map_err(memory)?;
        let mut count = 0;
        if let Ok(sites) = <[u64]>::mut_from_bytes(pages.bytes_mut()) {
            for end in (2..=code.len()).filter(|&end| may_end_call(&code[..end])) {
                sites[count] = start + end as u64;
                count += 1;
            }
        }
        Ok(Some(Births { start, end: start + len, pages, count }))
    }

    pub fn range(&self) -> Range {
        Range { start: self.start, end: self.end, func: u32::MAX, reserved: 0 }
    }

    /// Whatever may be a return address: more than there are is no harm.
    pub fn sites(&self) -> &[u64] {
        <[u64]>::ref_from_bytes(self.pages.bytes()).unwrap_or_default().get(..self.count).unwrap_or_default()
    }
}

/// Whether the last bytes could be a call (Intel SDM, volume 2, CALL): `e8` with a distance, or `ff /2` with any operand.
pub fn may_end_call(code: &[u8]) -> bool {
    let back = |n: usize| code.len().checked_sub(n).map(|at| &code[at..]);
    let direct = back(5).is_some_and(|c| c[0] == 0xe8);
    let indirect = |n: usize| back(n).is_some_and(|c| c[0] == 0xff && c[1] >> 3 & 7 == 2);
    direct || (2..=7).any(indirect)
}
