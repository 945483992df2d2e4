//! Coming before others while threads stand still: a program that is let go thread by thread takes the processor from whoever lets it go, and the
//! threads that are last wait for that one's next turn, with real-time threads for up to a second.

/// This thread is a real-time one, where it may be, until this is dropped.
#[derive(Debug)]
pub struct Haste;

impl Haste {
    pub fn begin() -> Option<Self> {
        // SAFETY: no memory is involved.
        let (policy, most) = unsafe { (libc::sched_getscheduler(0), libc::sched_get_priority_max(libc::SCHED_FIFO)) };
        (policy == libc::SCHED_OTHER && set(0, libc::SCHED_FIFO, most)).then_some(Self)
    }
}

impl Drop for Haste {
    fn drop(&mut self) {
        set(0, libc::SCHED_OTHER, 0);
    }
}

/// Gives a thread that isn't a real-time one the most that the fair scheduler has, where that may be done: hundreds of threads that run leave a newcomer the processor for some
/// milliseconds in a second, or less where it was born of one that is to come after others. What the thread makes isn't favoured (sched(7)).
pub fn favour(tid: i32) {
    // SAFETY: no memory is involved.
    let favoured = unsafe {
        libc::sched_getscheduler(tid) == libc::SCHED_OTHER
            && libc::setpriority(libc::PRIO_PROCESS, tid as libc::id_t, -20) == 0
    };
    if favoured {
        set(tid, libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, 0);
    }
}

fn set(tid: i32, policy: i32, sched_priority: i32) -> bool {
    let param = libc::sched_param { sched_priority };
    // SAFETY: `param` is valid for the call.
    unsafe { libc::sched_setscheduler(tid, policy, &param) == 0 }
}
