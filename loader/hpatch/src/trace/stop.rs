//! The stop of every thread, and its release.
//!
//! Order: seize all (they keep running), interrupt all, collect, list again until a listing shows nothing new. A thread
//! counts as stopped when it can't reach user code before the tracer lets it: trapped, or in uninterruptible sleep with the trap pending.
//! Nothing runs in the target; nothing is allocated between the first interrupt and the last detach unless the
//! number of threads more than doubles meanwhile.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use super::haste::Haste;
use super::ptrace::{self, Regs, Status, errno};
use super::restart;
use crate::target::Target;
use crate::target::procfs::{self, Blocked};

/// How long the stop may take before it is called off.
pub const DEFAULT_DEADLINE: Duration = Duration::from_millis(500);
/// After this time a thread that hasn't trapped is looked at.
pub const PATIENCE: Duration = Duration::from_millis(4);
const MAX_ROUNDS: u32 = 64;

/// Why the target couldn't be stopped. Every thread has been released.
#[derive(Debug)]
pub enum StopError {
    /// Another tracer has it: its thread id.
    Traced(i32),
    Permission,
    /// The process ended or replaced its program.
    Vanished,
    /// This thread didn't stop in time.
    Stuck {
        tid: i32,
        state: u8,
    },
    /// This thread waits for a `vfork` child, which runs in the same memory.
    Vfork {
        tid: i32,
    },
    /// This process runs in the same memory, and isn't stopped with the threads.
    Shared {
        pid: i32,
    },
    /// This thread can't be asked to stand still by a signal.
    Deaf {
        tid: i32,
    },
    /// Threads are born faster than they can be stopped.
    Storm,
    Os(&'static str, io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Seized, still running.
    Running,
    /// Trapped in the kernel: registers are known.
    Stopped,
    /// In uninterruptible sleep with the trap pending: only the stack pointer and the program counter are known.
    Parked,
    /// Killed; not yet reaped. A dead thread that its tracer doesn't reap hides the process's end from its parent.
    Dying,
    Gone,
}

#[derive(Debug, Clone, Copy)]
pub struct Tracee {
    pub tid: i32,
    pub place: Place,
    /// To be delivered at release: a signal that the stop came upon.
    pub(super) signal: i32,
    pub regs: Regs,
    /// The registers were changed by [`restart::repair`].
    pub repaired: bool,
    pub(super) known: bool,
}

impl Tracee {
    pub(super) fn new(tid: i32) -> Self {
        // SAFETY: registers are integers.
        let regs = unsafe { std::mem::zeroed() };
        Self { tid, place: Place::Running, signal: 0, regs, repaired: false, known: false }
    }

    fn sleeper(&self) -> bool {
        self.regs.orig_rax as i64 >= 0
    }

    /// Once for every stopped thread, before it is let go: the interrupted call is repaired here.
    pub(super) fn read_and_repair(&mut self) -> Result<(), StopError> {
        if self.known {
            return Ok(());
        }
        let gone = |e: &io::Error| errno(e) == libc::ESRCH;
        match ptrace::get_regs(self.tid, &mut self.regs) {
            Ok(()) => self.known = true,
            Err(e) if gone(&e) => {
                self.place = Place::Dying;
                return Ok(());
            }
            Err(e) => return Err(StopError::Os("read registers", e)),
        }
        if restart::repair(&mut self.regs) {
            self.repaired = true;
            match ptrace::set_regs(self.tid, &self.regs) {
                Err(e) if !gone(&e) => return Err(StopError::Os("write registers", e)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Durations of one stop.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// First interrupt to all stopped.
    pub stop: Duration,
    /// First detach to last detach.
    pub resume: Duration,
    /// First interrupt to last detach.
    pub pause: Duration,
}

/// Room and rules for stops of one process. Make it before the stop, use it for every attempt.
#[derive(Debug)]
pub struct Stopper {
    pub deadline: Duration,
    tracees: Vec<Tracee>,
    index: HashMap<i32, usize>,
    listing: Vec<i32>,
    kick: Kick,
}

impl Stopper {
    pub fn new(target: &Target, deadline: Duration) -> io::Result<Self> {
        let n = target.tasks().map_or(64, |t| t.len()) * 2 + 64;
        Ok(Self {
            deadline,
            tracees: Vec::with_capacity(n),
            index: HashMap::with_capacity(n),
            listing: Vec::with_capacity(n),
            kick: Kick::new()?,
        })
    }

    fn fresh<'a>(&'a mut self, target: &'a Target) -> Stopped<'a> {
        self.tracees.clear();
        self.index.clear();
        Stopped {
            target,
            tracees: &mut self.tracees,
            index: &mut self.index,
            listing: &mut self.listing,
            kick: &self.kick,
            deadline: self.deadline,
            begun: None,
            held_from: None,
            stop_time: Duration::ZERO,
            haste: None,
            released: None,
        }
    }

    /// Stops the target. On an error everything has been released.
    pub fn stop<'a>(&'a mut self, target: &'a Target) -> Result<Stopped<'a>, StopError> {
        let mut s = self.fresh(target);
        match s.begin() {
            Ok(()) => Ok(s),
            Err(e) => {
                s.release();
                Err(e)
            }
        }
    }

    /// Catches the threads `wanted` where `inside` says no, holds each, then stops the others: see [`super::chase`]. `None` when not all
    /// could be caught within `most`; then, and on an error, everything has been released.
    pub fn catch<'a>(
        &'a mut self,
        target: &'a Target,
        wanted: &[i32],
        most: Duration,
        inside: impl FnMut(&Tracee) -> bool,
    ) -> Result<Option<Stopped<'a>>, StopError> {
        let mut s = self.fresh(target);
        let caught =
            s.chase(wanted, most, inside).and_then(|all| if all { s.begin().map(|()| true) } else { Ok(false) });
        match caught {
            Ok(true) => Ok(Some(s)),
            Ok(false) => {
                s.release();
                Ok(None)
            }
            Err(e) => {
                s.release();
                Err(e)
            }
        }
    }
}

/// A stopped process. Dropping it lets the process run.
#[derive(Debug)]
pub struct Stopped<'a> {
    target: &'a Target,
    pub(super) tracees: &'a mut Vec<Tracee>,
    pub(super) index: &'a mut HashMap<i32, usize>,
    listing: &'a mut Vec<i32>,
    pub(super) kick: &'a Kick,
    deadline: Duration,
    begun: Option<Instant>,
    /// When the first thread was caught that is held since.
    pub(super) held_from: Option<Instant>,
    stop_time: Duration,
    haste: Option<Haste>,
    released: Option<Timing>,
}

impl Stopped<'_> {
    fn begin(&mut self) -> Result<(), StopError> {
        // Threads are seized while the world runs; those born meanwhile of a seized one are traced from birth.
        self.seize_new()?;
        if self.tracees.is_empty() {
            return Err(StopError::Vanished);
        }
        self.haste = Haste::begin();
        self.kick.arm();
        let begun = Instant::now();
        self.begun = Some(begun);
        let mut first = 0;
        for _ in 0..MAX_ROUNDS {
            for t in self.tracees[first..].iter().filter(|t| t.place == Place::Running) {
                if let Err(e) = ptrace::interrupt(t.tid)
                    && errno(&e) != libc::ESRCH
                {
                    return Err(StopError::Os("interrupt a thread", e));
                }
            }
            // Collecting may add children that are traced from birth.
            let mut i = first;
            while i < self.tracees.len() {
                if self.tracees[i].place == Place::Running {
                    self.collect(i, begun)?;
                }
                i += 1;
            }
            first = self.tracees.len();
            self.seize_new()?;
            if self.tracees.len() == first {
                self.read_registers()?;
                if !self.tracees.iter().any(|t| matches!(t.place, Place::Stopped | Place::Parked)) {
                    return Err(StopError::Vanished);
                }
                self.stop_time = begun.elapsed();
                return Ok(());
            }
        }
        Err(StopError::Storm)
    }

    /// Lists the threads and seizes those that aren't known.
    fn seize_new(&mut self) -> Result<(), StopError> {
        if procfs::list_tasks(&self.target.task_dir, self.listing).is_err() {
            return Err(StopError::Vanished);
        }
        for k in 0..self.listing.len() {
            let tid = self.listing[k];
            // An interruption would make a kernel's worker fail the request that it carries out for the program.
            if !self.index.contains_key(&tid) && !procfs::is_kernel_worker(&self.target.task_dir, tid) {
                self.seize(tid, ptrace::OPTIONS)?;
            }
        }
        Ok(())
    }

    /// Seizes one thread and adds it, unless it is dead or never runs the program's code.
    pub(super) fn seize(&mut self, tid: i32, options: i32) -> Result<(), StopError> {
        let Err(e) = ptrace::seize(tid, options) else {
            self.add(tid);
            return Ok(());
        };
        match errno(&e) {
            libc::ESRCH => {}
            libc::EPERM => match self.why_not(tid) {
                None => {}
                Some(Ok(())) => self.add(tid),
                Some(Err(e)) => return Err(e),
            },
            _ => return Err(StopError::Os("seize a thread", e)),
        }
        Ok(())
    }

    /// Why a thread can't be seized: `None` when it is dead or only a kernel worker, `Ok` when it is already ours.
    fn why_not(&self, tid: i32) -> Option<Result<(), StopError>> {
        let pid = self.target.pid;
        let Ok(stat) = procfs::task_stat(pid, tid) else { return None };
        if stat.is_dead() {
            return None;
        }
        match procfs::task_status(pid, tid) {
            Ok(s) if s.tracer == ptrace::gettid() => Some(Ok(())),
            Ok(s) if s.tracer != 0 => Some(Err(StopError::Traced(s.tracer))),
            Ok(_) if stat.is_kernel_worker() => None,
            Ok(_) => Some(Err(StopError::Permission)),
            Err(_) => None,
        }
    }

    fn add(&mut self, tid: i32) {
        self.index.insert(tid, self.tracees.len());
        self.tracees.push(Tracee::new(tid));
    }

    /// Waits until thread `i` is stopped, parked or gone.
    fn collect(&mut self, i: usize, begun: Instant) -> Result<(), StopError> {
        let tid = self.tracees[i].tid;
        loop {
            let status = match ptrace::wait(tid, 0) {
                Ok(Some(s)) => s,
                Ok(None) => {
                    if self.straggler(i, begun)? {
                        return Ok(());
                    }
                    continue;
                }
                // ECHILD: it died and somebody reaped it, or it was never ours.
                Err(_) => Status::Exited,
            };
            let Status::Stopped { event, signal, syscall } = status else {
                self.tracees[i].place = Place::Gone;
                return Ok(());
            };
            self.tracees[i].place = Place::Stopped;
            match event {
                0 if !syscall => self.tracees[i].signal = signal,
                libc::PTRACE_EVENT_CLONE => {
                    if let Ok(child) = ptrace::event_message(tid) {
                        let child = child as i32;
                        if !self.index.contains_key(&child) {
                            self.add(child);
                        }
                    }
                }
                libc::PTRACE_EVENT_EXEC => return Err(StopError::Vanished),
                _ => {}
            }
            return Ok(());
        }
    }

    /// Looks at a thread that takes its time. True when it needn't be waited for.
    fn straggler(&mut self, i: usize, begun: Instant) -> Result<bool, StopError> {
        let waited = begun.elapsed();
        if waited < PATIENCE {
            return Ok(false);
        }
        let (pid, tid) = (self.target.pid, self.tracees[i].tid);
        let Ok(stat) = procfs::task_stat(pid, tid) else {
            self.tracees[i].place = Place::Dying;
            return Ok(true);
        };
        if stat.is_dead() {
            // The leader's end is reported only when the last thread has ended.
            self.tracees[i].place = Place::Dying;
            return Ok(true);
        }
        if stat.state == b'D'
            && let Ok(Blocked::At { nr, sp, pc }) = procfs::blocked_at(pid, tid)
        {
            if procfs::is_vfork_like(nr) {
                return Err(StopError::Vfork { tid });
            }
            let t = &mut self.tracees[i];
            t.place = Place::Parked;
            t.regs.rsp = sp;
            t.regs.rip = pc;
            t.regs.orig_rax = nr as u64;
            return Ok(true);
        }
        if waited > self.deadline {
            return Err(StopError::Stuck { tid, state: stat.state });
        }
        Ok(false)
    }

    fn read_registers(&mut self) -> Result<(), StopError> {
        for t in self.tracees.iter_mut().filter(|t| t.place == Place::Stopped) {
            t.read_and_repair()?;
        }
        Ok(())
    }

    /// Threads whose code and stack must be checked.
    pub fn threads(&self) -> impl Iterator<Item = &Tracee> + Clone {
        self.tracees.iter().filter(|t| matches!(t.place, Place::Stopped | Place::Parked))
    }

    /// How long the thread that was caught first has been held.
    pub fn held(&self) -> Duration {
        self.held_from.map_or(Duration::ZERO, |t| t.elapsed())
    }

    /// A thread that is trapped and can't die except by SIGKILL.
    pub fn any_tid(&self) -> i32 {
        self.threads().next().map_or(self.target.pid, |t| t.tid)
    }

    /// Lets every thread run: those that sleep in a call first, because the others take processor time at once.
    pub fn release(&mut self) -> Timing {
        if let Some(t) = self.released {
            return t;
        }
        let from = Instant::now();
        for sleepers in [true, false] {
            for t in self.tracees.iter_mut() {
                if t.place == Place::Stopped && !t.known {
                    let _ = t.read_and_repair();
                }
                if t.place == Place::Stopped && t.sleeper() == sleepers {
                    t.place = if ptrace::detach(t.tid, t.signal).is_ok() { Place::Gone } else { Place::Dying };
                }
            }
        }
        let left = self.tracees.iter().any(|t| t.place != Place::Gone);
        if left {
            // Seized but perhaps never interrupted: only a stopped thread can be let go.
            for t in self.tracees.iter().filter(|t| t.place == Place::Running) {
                let _ = ptrace::interrupt(t.tid);
            }
        }
        let now = Instant::now();
        self.kick.disarm();
        self.haste = None;
        let timing =
            Timing { stop: self.stop_time, resume: now - from, pause: self.begun.map_or(Duration::ZERO, |b| now - b) };
        self.released = Some(timing);
        if left {
            self.drain(Duration::from_millis(200));
        }
        self.forget_births();
        timing
    }

    /// Detaches threads that weren't stopped at release, as their trap comes in. What remains is let go by the kernel when this program ends.
    fn drain(&mut self, most: Duration) {
        let until = Instant::now() + most;
        let mut nap = Duration::from_micros(20);
        loop {
            let mut left = 0;
            for t in self.tracees.iter_mut().filter(|t| t.place != Place::Gone) {
                match ptrace::wait(t.tid, libc::WNOHANG) {
                    Ok(Some(status @ Status::Stopped { .. })) if !let_go(t.tid, status) => left += 1,
                    Ok(None) => left += 1,
                    Ok(Some(_)) | Err(_) => t.place = Place::Gone,
                }
            }
            if left == 0 || Instant::now() > until {
                return;
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(1));
        }
    }

    /// A thread born of a seized one just before that one was let go is ours without having been listed.
    fn forget_births(&mut self) {
        if procfs::list_tasks(&self.target.task_dir, self.listing).is_err() {
            return;
        }
        let me = ptrace::gettid();
        for k in 0..self.listing.len() {
            let tid = self.listing[k];
            if self.index.contains_key(&tid) {
                continue;
            }
            if procfs::task_status(self.target.pid, tid).is_ok_and(|s| s.tracer == me) {
                self.add(tid);
            }
        }
        if self.tracees.iter().any(|t| t.place == Place::Running) {
            self.drain(Duration::from_millis(100));
        }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

/// Detaches a stopped thread; what it was interrupted in is repaired first. False when it has to come to another stop for that.
pub(super) fn let_go(tid: i32, status: Status) -> bool {
    let Status::Stopped { event, signal, syscall } = status else { return true };
    // SAFETY: registers are integers.
    let mut regs: Regs = unsafe { std::mem::zeroed() };
    let known = ptrace::get_regs(tid, &mut regs).is_ok();
    if syscall && known && restart::interrupted(regs.rax as i64) {
        // The way out of a call: the kernel looks at the result once more, in its handling of signals.
        return ptrace::interrupt(tid).is_err() || ptrace::cont(tid, 0).is_err();
    }
    if !syscall && known && restart::repair(&mut regs) {
        let _ = ptrace::set_regs(tid, &regs);
    }
    let _ = ptrace::detach(tid, if event == 0 && !syscall { signal } else { 0 });
    true
}

/// A timer that interrupts a blocking wait every few milliseconds, so that deadlines hold.
#[derive(Debug)]
pub(super) struct Kick {
    timer: usize,
}

/// The signal of that timer.
pub fn timer_signal() -> libc::c_int {
    libc::SIGRTMAX()
}

extern "C" fn on_kick(_: libc::c_int) {}

impl Kick {
    fn new() -> io::Result<Self> {
        let signal = timer_signal();
        // SAFETY: all-zero structures are valid; the handler does nothing; the timer's signal goes to this thread only.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_kick as *const () as usize;
            if libc::sigaction(signal, &action, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer: libc::timer_t = std::mem::zeroed();
            if libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self { timer: timer as usize })
        }
    }

    /// Once every `nanos`; 0 ends it.
    pub(super) fn set(&self, nanos: i64) {
        let t = libc::timespec { tv_sec: 0, tv_nsec: nanos };
        let spec = libc::itimerspec { it_interval: t, it_value: t };
        // SAFETY: the timer was made by `new` and lives as long as `self`.
        unsafe { libc::timer_settime(self.timer as libc::timer_t, 0, &spec, std::ptr::null_mut()) };
    }

    fn arm(&self) {
        self.set(3_000_000);
    }

    fn disarm(&self) {
        self.set(0);
    }
}

impl Drop for Kick {
    fn drop(&mut self) {
        // SAFETY: as in `set`; it isn't used afterwards.
        unsafe { libc::timer_delete(self.timer as libc::timer_t) };
    }
}
