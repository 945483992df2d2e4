//! The repair of interrupted system calls.
//!
//! A tracer's stop wakes a blocked system call. Most calls leave a restart code in `rax` and go on by themselves after it.
//! A dozen (`epoll_wait`, `recv` with a timeout, `semop`, `io_getevents`, `io_uring_enter`, `sigtimedwait`...) leave `-EINTR`, which the
//! program would see. `-ERESTARTNOHAND` in its place makes the kernel restart the call, and still return `EINTR` when a
//! signal handler ran: as if nobody had been there. Rewinding `rip` by hand would lose that signal's wake-up.
//!
//! `close` is left alone: it says `EINTR` after the descriptor has gone, and closing that number once more might hit another thread's file.

use super::ptrace::Regs;

/// include/linux/errno.h: never seen by programs, only by tracers.
const ERESTARTNOHAND: i64 = 514;

/// Changes `regs` of a thread stopped in the kernel, if it needs that. True when changed.
pub fn repair(regs: &mut Regs) -> bool {
    if restartable(regs) && regs.rax as i64 == -i64::from(libc::EINTR) {
        regs.rax = (-ERESTARTNOHAND) as u64;
        return true;
    }
    false
}

/// Whether the thread is in a system call that may be made once more.
pub fn restartable(regs: &Regs) -> bool {
    regs.orig_rax as i64 >= 0 && regs.orig_rax as i64 != libc::SYS_close
}

/// Whether the thread goes on, or is about to, with a call by what the kernel remembers of it (restart_syscall(2)), which rt_sigreturn(2) makes it
/// forget.
pub fn resumes(regs: &Regs) -> bool {
    let nr = if (regs.orig_rax as i64) < 0 { regs.rax as i64 } else { regs.orig_rax as i64 };
    nr == libc::SYS_restart_syscall
}

/// Whether a system call's result says that it was interrupted, to a tracer or to the program.
pub fn interrupted(result: i64) -> bool {
    // ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK.
    matches!(-result, 512..=514 | 516) || result == -i64::from(libc::EINTR)
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
    fn a_resumed_call_is_told() {
        let resumed = libc::SYS_restart_syscall;
        let cases = [(-516, resumed, true), (resumed, -1, true), (-516, libc::SYS_poll, false), (0, -1, false)];
        for (rax, orig, want) in cases {
            assert_eq!(resumes(&regs(rax, orig)), want);
        }
    }

    #[test]
    fn only_eintr_inside_a_call() {
        let close = libc::SYS_close;
        let cases = [(-4, 232, -514), (-4, -1, -4), (-4, close, -4), (-512, 0, -512), (-516, 7, -516), (3, 0, 3)];
        for (rax, orig, want) in cases {
            let mut r = regs(rax, orig);
            assert_eq!(repair(&mut r), rax != want);
            assert_eq!(r.rax as i64, want);
        }
    }
}
