//! A program that the loader starts as a child of the process, for the command whose own surroundings forbid ptrace(2): there the `hpatch`
//! command does its work.

use core::arch::global_asm;
use core::cell::UnsafeCell;

use crate::mem::Pages;
use crate::sys::{self, Errno, Result};

/// Arguments that a request has at most.
const MAX_WORDS: usize = 16;

struct Running {
    pid: u64,
    /// The request, where the program leaves its answer.
    pages: Option<Pages>,
}

struct Cell(UnsafeCell<Running>);
// SAFETY: used by the control thread only, one at a time.
unsafe impl Sync for Cell {}
static RUNNING: Cell = Cell(UnsafeCell::new(Running { pid: 0, pages: None }));

// extern "C" fn hpatch_exec(path, argv, envp, failed) -> i64; what execve(2) says goes to `*failed`. The child shares memory and stack with this thread, which sleeps until the program is
// there; else it touches neither. It has no file of the process, blocks no signal, and its end raises none (clone(2): exit signal 0).
global_asm!(
    r#"
    .section .text.hpatch_exec, "ax", @progbits
    .globl hpatch_exec
    .hidden hpatch_exec
    .type hpatch_exec, @function
    hpatch_exec:
        push r12
        push r13
        push r14
        push r15
        mov r12, rdi
        mov r13, rsi
        mov r14, rdx
        mov r15, rcx
        mov eax, 56
        mov edi, 0x4100
        xor esi, esi
        xor edx, edx
        xor r10d, r10d
        xor r8d, r8d
        syscall
        test rax, rax
        jnz 3f
        mov eax, 436
        xor edi, edi
        mov esi, -1
        xor edx, edx
        syscall
        mov ebx, 3
    2:  mov eax, 2
        lea rdi, [rip + 5f]
        mov esi, 2
        xor edx, edx
        syscall
        dec ebx
        jnz 2b
        mov eax, 14
        mov edi, 2
        lea rsi, [rip + 4f]
        xor edx, edx
        mov r10d, 8
        syscall
        mov eax, 59
        mov rdi, r12
        mov rsi, r13
        mov rdx, r14
        syscall
        mov [r15], rax
        mov edi, 127
        mov eax, 60
        syscall
        ud2
    3:  pop r15
        pop r14
        pop r13
        pop r12
        ret
    .balign 8
    4:  .quad 0
    5:  .asciz "/dev/null"
    .size hpatch_exec, . - hpatch_exec
    .text
    "#
);

unsafe extern "C" {
    fn hpatch_exec(path: *const u8, argv: *const *const u8, envp: *const *const u8, failed: *mut i64) -> i64;
}

fn running() -> &'static mut Running {
    // SAFETY: see `Cell`; no caller keeps it.
    unsafe { &mut *RUNNING.0.get() }
}

/// Starts what the request says: a path and arguments, each with a NUL behind it; `words` of them in the first `len` bytes.
pub fn begin(pages: Pages, len: usize, words: usize) -> Result<u64> {
    const EINVAL: Errno = Errno(22);
    const EBUSY: Errno = Errno(16);
    if !end() {
        return Err(EBUSY);
    }
    let text = pages.bytes().get(..len).ok_or(EINVAL)?;
    let mut argv = [core::ptr::null(); MAX_WORDS + 1];
    let mut rest = text;
    for word in argv.get_mut(..words).filter(|_| (2..=MAX_WORDS).contains(&words)).ok_or(EINVAL)? {
        let end = rest.iter().position(|&b| b == 0).ok_or(EINVAL)?;
        *word = rest.as_ptr();
        rest = &rest[end + 1..];
    }
    let mut failed = 0;
    // SAFETY: strings that end with a NUL, arrays that end with a null pointer, a place for the error; they outlive the call.
    let pid = unsafe { hpatch_exec(argv[0], &raw const argv[1], &raw const argv[MAX_WORDS], &raw mut failed) };
    if pid < 0 {
        return Err(Errno(pid.unsigned_abs() as u32));
    }
    *running() = Running { pid: pid as u64, pages: Some(pages) };
    if failed != 0 {
        end();
        return Err(Errno(failed.unsigned_abs() as u32));
    }
    sys::allow_tracer(pid as u64);
    Ok(pid as u64)
}

/// Reaps it and gives the memory back. False while it runs: it may still write there.
pub fn end() -> bool {
    // It ends right after its answer.
    const PATIENCE: u32 = 1000;
    let r = running();
    let mut looks = 0;
    while r.pid != 0 {
        if sys::reap(r.pid) {
            r.pid = 0;
            drop(r.pages.take());
        } else if looks == PATIENCE {
            return false;
        } else {
            sys::sleep_ms(1);
            looks += 1;
        }
    }
    true
}
