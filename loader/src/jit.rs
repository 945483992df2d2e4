//! The GDB JIT interface: debuggers learn the names and frames of payloads from a list of ELF files in memory.
//!
//! Both symbols are hidden, because a program with a compiler of its own (LLVM, V8) has the same interface and must keep its own list. Debuggers
//! find them in the library's symbol table on disk.

use core::arch::global_asm;

use hpatch_core::abi::Unit;

use crate::mem::{Pages, page_up};
use crate::sys::{self, Open};

/// `struct jit_code_entry` of the interface, in front of the file that it names.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Link {
    next: u64,
    prev: u64,
    symfile: u64,
    size: u64,
}

/// Bytes in front of a symbol file.
pub const HEAD: usize = size_of::<Link>();

const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

/// `struct jit_descriptor`.
#[repr(C)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: u64,
    first: u64,
}

global_asm!(
    r#"
    .section .text.hpatch_jit, "ax", @progbits
    .globl __jit_debug_register_code
    .hidden __jit_debug_register_code
    .type __jit_debug_register_code, @function
    __jit_debug_register_code:
        ret
    .size __jit_debug_register_code, . - __jit_debug_register_code
    .section .data.hpatch_jit, "aw", @progbits
    .balign 8
    .globl __jit_debug_descriptor
    .hidden __jit_debug_descriptor
    .type __jit_debug_descriptor, @object
    __jit_debug_descriptor:
        .long 1, 0
        .quad 0, 0
    .size __jit_debug_descriptor, . - __jit_debug_descriptor
    .text
    "#
);

unsafe extern "C" {
    fn __jit_debug_register_code();
    static mut __jit_debug_descriptor: Descriptor;
}

fn tell(action: u32, link: *mut Link, first: impl FnOnce(u64) -> u64) {
    let descriptor = &raw mut __jit_debug_descriptor;
    // SAFETY: one thread of the loader at a time uses the descriptor; a debugger reads it when the function is called, or at attach.
    unsafe {
        (*descriptor).first = first((*descriptor).first);
        (*descriptor).action = action;
        (*descriptor).relevant = link as u64;
        if !abandoned() {
            __jit_debug_register_code();
        }
        (*descriptor).action = 0;
        (*descriptor).relevant = 0;
    }
}

/// A breakpoint was planted in the function, and whoever planted it is gone: a debugger that was killed. Nobody would catch the trap.
fn abandoned() -> bool {
    const INT3: u8 = 0xcc;
    // SAFETY: the function's first byte, which debuggers change behind the compiler's back.
    if unsafe { (__jit_debug_register_code as *const u8).read_volatile() } != INT3 {
        return false;
    }
    let mut text = [0; 512];
    let len = sys::open(c"/proc/self/status", Open::Read).and_then(|f| sys::read_full(&f, &mut text)).unwrap_or(0);
    let mut lines = text[..len].split(|b| *b == b'\n');
    lines.find_map(|l| l.strip_prefix(b"TracerPid:\t")).is_none_or(|tracer| tracer == b"0")
}

fn link_of(unit: &Unit) -> Option<*mut Link> {
    (unit.symfile != 0).then(|| (unit.symfile - HEAD as u64) as *mut Link)
}

pub fn register(unit: &Unit) {
    let Some(link) = link_of(unit) else { return };
    tell(REGISTER, link, |first| {
        // SAFETY: the room in front of the unit's file, and the first element of the list, which is a unit's too.
        unsafe {
            link.write(Link { next: first, prev: 0, symfile: unit.symfile, size: unit.symfile_len });
            if first != 0 {
                (*(first as *mut Link)).prev = link as u64;
            }
        }
        link as u64
    });
}

/// Takes the file off the list and unmaps it.
pub fn unregister(unit: &Unit) {
    let Some(link) = link_of(unit) else { return };
    // SAFETY: as above.
    let Link { next, prev, symfile, .. } = unsafe { *link };
    if symfile != 0 {
        tell(UNREGISTER, link, |first| {
            // SAFETY: neighbours on the list are units' as well.
            unsafe {
                if next != 0 {
                    (*(next as *mut Link)).prev = prev;
                }
                if prev == 0 {
                    return next;
                }
                (*(prev as *mut Link)).next = next;
            }
            first
        });
    }
    let len = page_up(unit.symfile_len + HEAD as u64).unwrap_or(0);
    // SAFETY: the mapping was given away once, when the unit was described, and is off the list.
    drop(unsafe { Pages::adopt(link as u64, len) });
}
