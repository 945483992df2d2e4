//! Ctrl-C and its like. They must not end this program while threads are stopped, so they are held, and heeded in between.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

const HELD: [libc::c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Held besides: a child's end is waited for, and Ctrl-Z would leave stopped what is stopped.
const PASSED_OVER: [libc::c_int; 4] = [libc::SIGCHLD, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

fn all() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call initialises the set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for s in HELD.into_iter().chain(PASSED_OVER) {
            libc::sigaddset(set.as_mut_ptr(), s);
        }
        set.assume_init()
    }
}

/// Also children's ends, for [`wait_for`].
pub fn hold() {
    // SAFETY: the set is valid.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &all(), null_mut()) };
}

/// Whether the signal is one of them and means anything: whoever starts a program with `nohup` has it ignore some, and a held one comes even so.
fn counts(signal: libc::c_int) -> bool {
    // SAFETY: all-zero is a valid action, and a place for one.
    let action = unsafe {
        let mut action: libc::sigaction = zeroed();
        libc::sigaction(signal, null(), &mut action);
        action.sa_sigaction
    };
    HELD.contains(&signal) && action != libc::SIG_IGN
}

/// Set while what a killed command left half-way is brought to an end: that isn't given up.
static DEAF: AtomicBool = AtomicBool::new(false);

pub fn deaf(yes: bool) {
    DEAF.store(yes, Ordering::Relaxed);
}

/// Whether one of them has come. It stays so.
pub fn came() -> bool {
    if DEAF.load(Ordering::Relaxed) {
        return false;
    }
    // SAFETY: all-zero is a valid set, and a place for one.
    let pending = unsafe {
        let mut pending: libc::sigset_t = zeroed();
        libc::sigpending(&mut pending);
        pending
    };
    // SAFETY: the set is valid.
    HELD.into_iter().any(|s| unsafe { libc::sigismember(&pending, s) == 1 } && counts(s))
}

/// Has another `hpatch` heed one.
pub fn pass_on(pid: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, libc::SIGTERM) };
}

/// Waits for the end of `child`, which began after [`hold`], and to which those that come meanwhile are passed on: its wait status, and whether one came.
pub fn wait_for(child: i32) -> io::Result<(libc::c_int, bool)> {
    let all = all();
    let (mut status, mut came) = (0, false);
    loop {
        // SAFETY: `status` is a valid place for the status.
        match unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } {
            0 => {}
            r if r == child => return Ok((status, came)),
            _ => return Err(io::Error::last_os_error()),
        }
        // SAFETY: the set is valid, and nothing more is asked about the signal.
        if counts(unsafe { libc::sigwaitinfo(&all, null_mut()) }) {
            came = true;
            // It isn't reaped yet, so its pid is its own.
            pass_on(child);
        }
    }
}
