//! A command that changes a process runs in a child. If that is killed half-way, the parent takes the change back at once; if the
//! parent is killed, the child finishes its work.

use super::args::{Switching, Verb};
use super::kin;
use super::session::{Recovered, Session};
use super::ways::Way;
use crate::error::{Exit, Result, code};
use crate::fault;
use crate::interrupt;
use crate::shown;
use crate::switch::Options;
use crate::target::procfs;
use crate::trace::{door, stop};

/// Runs `work`, which is `verb` on process `pid`, in a child and gives its exit status. Must be called while this program has one thread.
pub fn run(pid: i32, verb: &Verb, work: impl FnOnce() -> Exit) -> u8 {
    let began = began(pid);
    interrupt::hold();
    // SAFETY: this program has one thread, so the child may do anything.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return work() as u8;
    }
    if child == 0 {
        prepare_process();
        std::process::exit(work() as i32);
    }
    let Ok((st, _)) = interrupt::wait_for(child) else { return Exit::Internal as u8 };
    if libc::WIFEXITED(st) {
        return libc::WEXITSTATUS(st) as u8;
    }
    shown::say(&format!("error[HP1310]: the command was killed by signal {}\n", libc::WTERMSIG(st)));
    match recover((pid, began), verb.switching().map_or_else(Options::default, Switching::options)) {
        Ok(done) if done.is_empty() => {
            shown::say(&format!("  = no change was half-way: `hpatch status --pid {pid}` says what is live\n"));
            Exit::Internal as u8
        }
        Ok(done) if done.iter().any(|r| r.ended) => {
            shown::say("  = its work was brought to its end\n");
            Exit::Internal as u8
        }
        Ok(_) => {
            shown::say("  = the process is as before\n");
            Exit::RolledBack as u8
        }
        Err(e) => {
            shown::say(&e.render());
            // Whatever kept the recovery from beginning.
            if kin::is_half_way(pid) { Exit::HalfWay as u8 } else { e.exit as u8 }
        }
    }
}

/// When a process began, in clock ticks after boot: its pid may be another's when the worker has died.
fn began(pid: i32) -> Option<u64> {
    procfs::task_stat(pid, pid).ok().map(|s| s.start_time)
}

/// The way that the worker went is open still.
fn recover((pid, began): (i32, Option<u64>), options: Options) -> Result<Vec<Recovered>> {
    let once = || -> Result<Vec<Recovered>> {
        let session = Session::open_unrecovered(pid)?;
        if began != Some(session.target.start_time) {
            return Err(session.target.vanished());
        }
        let done = session.recover(options)?;
        if !done.is_empty() {
            kin::tell(&kin::recover(&session, options));
        }
        Ok(done)
    };
    door::go_by_signals(fault::way() == Some(Way::Signals));
    match once() {
        Err(e) if e.code == code::PTRACE_DENIED => {
            door::go_by_signals(true);
            once()
        }
        other => other,
    }
}

/// What whoever started this program does about signals is no matter of its own: its children's ends are reported, and its timer interrupts it.
pub fn own_signals() {
    // SAFETY: all-zero sets are valid and initialised by the call.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, stop::timer_signal());
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
}

/// Memory stays resident and the processor is ours when it counts, as far as the system permits.
fn prepare_process() {
    // SAFETY: no memory is involved.
    unsafe {
        let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // With a limit, locking what is still to come would make allocations fail (mlockall(2)).
        let free = libc::setrlimit(libc::RLIMIT_MEMLOCK, &unlimited) == 0;
        libc::mlockall(if free { libc::MCL_CURRENT | libc::MCL_FUTURE } else { libc::MCL_CURRENT });
        libc::setpriority(libc::PRIO_PROCESS, 0, -20);
    }
}
