//! What the compiler expects from a C library and a Rust runtime, all hidden, and the way back from an internal panic.
//!
//! A panic of the loader must not end its host: [`run`] remembers the stack, the panic handler returns to it.

use core::arch::global_asm;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::control;
use crate::threads::{hpatch_header, may_end_call};

// System V psABI, x86-64: arguments rdi, rsi, rdx; rbx, rbp, r12-r15 belong to the caller.
global_asm!(
    r#"
    .macro hidden name
        .globl \name
        .hidden \name
        .type \name, @function
    \name:
    .endm

    .section .text.hpatch_mem, "ax", @progbits
    hidden memcpy
        mov rax, rdi
        mov rcx, rdx
        rep movsb
        ret
    .size memcpy, . - memcpy

    hidden memmove
        mov rax, rdi
        mov rcx, rdx
        mov r8, rdi
        sub r8, rsi
        cmp r8, rdx
        jb 2f
        rep movsb
        ret
    2:  lea rdi, [rdi + rcx - 1]
        lea rsi, [rsi + rcx - 1]
        std
        rep movsb
        cld
        ret
    .size memmove, . - memmove

    hidden memset
        mov r8, rdi
        mov eax, esi
        mov rcx, rdx
        rep stosb
        mov rax, r8
        ret
    .size memset, . - memset

    hidden bcmp
    hidden memcmp
        xor ecx, ecx
    3:  cmp rcx, rdx
        je 4f
        movzx eax, byte ptr [rdi + rcx]
        movzx r8d, byte ptr [rsi + rcx]
        inc rcx
        sub eax, r8d
        je 3b
        ret
    4:  xor eax, eax
        ret
    .size memcmp, . - memcmp
    .size bcmp, . - bcmp

    hidden strlen
        xor eax, eax
    5:  cmp byte ptr [rdi + rax], 0
        je 6f
        inc rax
        jmp 5b
    6:  ret
    .size strlen, . - strlen

    # Named by the unwind tables of the prebuilt core library; never reached with panic=abort.
    hidden rust_eh_personality
    hidden _Unwind_Resume
        ud2
    .size rust_eh_personality, . - rust_eh_personality
    .size _Unwind_Resume, . - _Unwind_Resume

    # extern "C" fn hpatch_run_guarded(f: extern "C" fn(*mut u8), arg: *mut u8) -> u32
    hidden hpatch_run_guarded
        push rbp
        push rbx
        push r12
        push r13
        push r14
        push r15
        sub rsp, 8
        mov [rip + hpatch_guard_sp], rsp
        xor eax, eax
        rdsspq rax
        mov [rip + hpatch_guard_ssp], rax
        mov rax, rdi
        mov rdi, rsi
        call rax
        xor eax, eax
    7:  mov qword ptr [rip + hpatch_guard_sp], 0
        add rsp, 8
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbx
        pop rbp
        ret
    .size hpatch_run_guarded, . - hpatch_run_guarded

    # extern "C" fn hpatch_leave_guarded() -> !: back into hpatch_run_guarded, which returns 1. Never without one on the stack.
    hidden hpatch_leave_guarded
        cld
        mov rsp, [rip + hpatch_guard_sp]
        test rsp, rsp
        jz 10f
        # The shadow stack, if there is one (rdssp is a no-op otherwise), is wound back by as many entries.
        xor eax, eax
        rdsspq rax
        test rax, rax
        jz 9f
        mov rcx, [rip + hpatch_guard_ssp]
        sub rcx, rax
        shr rcx, 3
        jz 9f
        mov eax, 1
    8:  incsspq rax
        dec rcx
        jnz 8b
    9:  mov eax, 1
        jmp 7b
    10: ud2
    .size hpatch_leave_guarded, . - hpatch_leave_guarded

    .section .bss.hpatch_guard, "aw", @nobits
    .balign 8
    .globl hpatch_guard_sp
    .hidden hpatch_guard_sp
    hpatch_guard_sp: .zero 8
    hpatch_guard_ssp: .zero 8
    .text
    .purgem hidden
    "#
);

unsafe extern "C" {
    /// The stack pointer in [`run`], 0 outside.
    safe static hpatch_guard_sp: AtomicU64;
    fn hpatch_run_guarded(f: extern "C" fn(*mut u8), arg: *mut u8) -> u32;
    fn hpatch_leave_guarded() -> !;
}

/// Runs `f(arg)`; false when it panicked. Not reentrant: one operation at a time is the rule of the control block.
pub fn run(f: extern "C" fn(*mut u8), arg: *mut u8) -> bool {
    // SAFETY: the routine keeps the psABI's callee-saved registers and calls `f` on an aligned stack.
    unsafe { hpatch_run_guarded(f, arg) == 0 }
}

/// Return addresses on the stack between here and [`run`], the innermost first, as offsets in this library. Without a place in the source, which
/// each check in the library would carry along, they say where it happened: `addr2line` tells, or `nm`, of the file before it was stripped.
#[derive(Debug)]
pub struct Trail([u64; 6]);

impl Trail {
    #[inline(never)]
    fn here() -> Trail {
        let mut trail = Trail([0; 6]);
        let base = hpatch_header().addr() as u64;
        let end = (&raw const control::hpatch_control).addr() as u64;
        let (from, to) = ((&raw const trail).addr() as u64, hpatch_guard_sp.load(Ordering::Relaxed));
        let mut free = trail.0.iter_mut();
        for at in (from.next_multiple_of(8)..to).step_by(8) {
            // SAFETY: part of the stack that is in use: above this frame, below that of `run`.
            let word = unsafe { (at as *const u64).read_volatile() };
            if (base + CALL..end).contains(&word) && is_return_address(word) {
                let Some(place) = free.next() else { break };
                *place = word - base;
            }
        }
        trail
    }
}

/// Longest instruction of the kind that leaves a return address, in bytes.
const CALL: u64 = 7;

fn is_return_address(word: u64) -> bool {
    // SAFETY: in the library's image, between its header and its variables, all of which is mapped readable.
    may_end_call(unsafe { core::slice::from_raw_parts((word - CALL) as *const u8, CALL as usize) })
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in the loader at")?;
        self.0.iter().filter(|a| **a != 0).try_for_each(|a| write!(f, " +{a:#x}"))
    }
}

// Inlined into the only function that calls it, so that nothing of a message is used any more, nor of places in the source: without this the
// library carries 8 KB of code that formats values for messages which nobody reads, and 12 KB of places.
#[expect(unused_attributes, reason = "the compiler thinks that it has no effect, because the function has a symbol")]
#[inline(always)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    control::panicked(&Trail::here());
    // SAFETY: every entry into the loader goes through `run`, so there is a frame to go back to; what it skips owns nothing but
    // mappings of the loader, and the loader accepts no further operation.
    unsafe { hpatch_leave_guarded() }
}
