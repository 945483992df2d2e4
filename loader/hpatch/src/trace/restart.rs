//! The repair of interrupted system calls.
//!
//! A tracer's stop wakes a blocked system call. Most calls leave a restart code in `rax` and go on by themselves after it.
//! A dozen (`epoll_wait`, `recv` with a timeout, `semop`, `io_getevents`, `io_uring_enter`, `sigtimedwait`...) leave `-EINTR`, which the
//! program would see. `-ERESTARTNOHAND` in its place makes the kernel restart the call, and still return `EINTR` when a
//! signal handler ran: as if nobody had been there. Rewinding `rip` by hand would lose that signal's wake-up.

use super::ptrace::Regs;

/// include/linux/errno.h: never seen by programs, only by tracers.
const ERESTARTNOHAND: i64 = 514;

/// Changes `regs` of a thread stopped in the kernel, if it needs that. True when changed.
pub fn repair(regs: &mut Regs) -> bool {
    let in_syscall = regs.orig_rax as i64 >= 0;
    if in_syscall && regs.rax as i64 == -i64::from(libc::EINTR) {
        regs.rax = (-ERESTARTNOHAND) as u64;
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regs(rax: i64, orig: i64) -> Regs {
        // SAFETY: registers are integers.
        let mut r: Regs = unsafe { std::mem::zeroed() };
        r.rax = rax as u64;
        r.orig_rax = orig as u64;
        r
    }

    #[test]
    fn only_eintr_inside_a_call() {
        for (rax, orig, want) in [(-4, 232, -514), (-4, -1, -4), (-512, 0, -512), (-516, 7, -516), (3, 0, 3)] {
            let mut r = regs(rax, orig);
            assert_eq!(repair(&mut r), rax != want);
            assert_eq!(r.rax as i64, want);
        }
    }
}
