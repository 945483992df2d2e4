//! The way back of a hijacked thread whose tracer has died: a signal frame that `rt_sigreturn` restores everything from.
//!
//! Normally the tracer restores the registers itself. When it is killed in between, the thread goes on where it was sent, which is the
//! loader's stub, and that ends in `rt_sigreturn` with this frame.

use std::arch::x86_64::__cpuid_count;

use super::ptrace::Regs;
use super::restart;

// struct ucontext and struct sigcontext (include/uapi/asm/ucontext.h, sigcontext.h), as offsets in the frame.
const FLAGS: usize = 0;
const STACK_FLAGS: usize = 24;
const REGISTERS: usize = 40;
const FPSTATE: usize = REGISTERS + 184;
const SIGMASK: usize = REGISTERS + 256;
const LENGTH: usize = SIGMASK + 8;
/// UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS.
const UC_FLAGS: u64 = 7;
/// Not a mode that `sigaltstack` knows: the alternate stack stays what it is.
const NO_MODE: u32 = 0x7fff_ffff;
/// Where the vector registers begin: aligned as `xrstor` wants it.
const XSTATE: usize = 320;
/// `struct _fpx_sw_bytes`, in the part of the legacy area that is left to software.
const SW_BYTES: usize = 464;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;

/// The frame to be laid at `at`, a multiple of 64, for a thread with the registers `saved` and the signal mask `mask`.
pub fn frame(at: u64, saved: &Regs, mask: u64, xstate: &[u8]) -> Vec<u8> {
    let mut r = *saved;
    if restart::restartable(&r) && restart::interrupted(r.rax as i64) {
        // After rt_sigreturn the kernel restarts nothing: the call is made anew.
        r.rax = r.orig_rax;
        r.rip = r.rip.wrapping_sub(2);
    }
    let mut f = vec![0u8; XSTATE];
    let mut put = |at: usize, bytes: &[u8]| f[at..at + bytes.len()].copy_from_slice(bytes);
    put(FLAGS, &UC_FLAGS.to_le_bytes());
    put(STACK_FLAGS, &NO_MODE.to_le_bytes());
    let general = [
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx, r.rax, r.rcx, r.rsp,
        r.rip, r.eflags,
    ];
    for (i, v) in general.iter().enumerate() {
        put(REGISTERS + i * 8, &v.to_le_bytes());
    }
    // cs, gs, fs, ss.
    for (i, v) in [r.cs, 0, 0, r.ss].iter().enumerate() {
        put(REGISTERS + general.len() * 8 + i * 2, &(*v as u16).to_le_bytes());
    }
    put(SIGMASK, &mask.to_le_bytes());
    if let Some(features) = xstate.get(SW_BYTES..SW_BYTES + 8) {
        put(FPSTATE, &(at + XSTATE as u64).to_le_bytes());
        let features: [u8; 8] = features.try_into().unwrap_or_default();
        let xstate = &xstate[..used(xstate)];
        let size = xstate.len() as u32;
        f.extend_from_slice(xstate);
        f.extend_from_slice(&FP_XSTATE_MAGIC2.to_le_bytes());
        let sw =
            [&FP_XSTATE_MAGIC1.to_le_bytes()[..], &(size + 4).to_le_bytes(), &features, &size.to_le_bytes()].concat();
        let from = XSTATE + SW_BYTES;
        f[from..from + 48].fill(0);
        f[from..from + sw.len()].copy_from_slice(&sw);
    }
    f
}

/// How much of an uncompacted area says something: what lies behind the last part that isn't in its first state isn't read. The kernel takes no more
/// than what it would lay itself, which is without the parts that a thread must ask for.
fn used(xstate: &[u8]) -> usize {
    const PARTS: usize = 512;
    const LEAST: usize = 576;
    const LEAF: u32 = 0xd;
    let parts = xstate.get(PARTS..PARTS + 8).map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap_or_default()));
    let end = |i: u32| {
        let place = __cpuid_count(LEAF, i);
        (place.eax + place.ebx) as usize
    };
    let last = (2..63).filter(|i| parts & 1 << i != 0).map(end).max().unwrap_or(0);
    last.max(LEAST).min(xstate.len())
}

const _: () = assert!(LENGTH <= XSTATE && XSTATE.is_multiple_of(64));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_call_is_made_anew() {
        // SAFETY: registers are integers.
        let mut r: Regs = unsafe { std::mem::zeroed() };
        r.rip = 0x1002;
        r.orig_rax = libc::SYS_poll as u64;
        let word = |f: &[u8], i: usize| u64::from_le_bytes(f[REGISTERS + i * 8..][..8].try_into().unwrap());
        for (rax, want) in [(-516i64, (libc::SYS_poll, 0x1000)), (-512, (libc::SYS_poll, 0x1000)), (5, (5, 0x1002))] {
            r.rax = rax as u64;
            let f = frame(0x8000, &r, 3, &[]);
            assert_eq!((word(&f, 13) as i64, word(&f, 16)), want);
            assert_eq!(f[SIGMASK], 3);
        }
        // Nothing but what every processor has.
        let x = vec![0u8; 832];
        let f = frame(0x8000, &r, 0, &x);
        assert_eq!(f.len(), XSTATE + 576 + 4);
        assert_eq!(f[FPSTATE..FPSTATE + 8], (0x8000u64 + XSTATE as u64).to_le_bytes());
        assert_eq!(f[XSTATE + 576..], FP_XSTATE_MAGIC2.to_le_bytes());
    }
}
