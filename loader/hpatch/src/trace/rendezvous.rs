//! The stop by signals, for where ptrace(2) is refused: each thread is sent the signal that the process has set aside for it, and stands
//! still in its handler until the lock in the shared [`Gate`] is let go, by this program or by the kernel when this program has died.
//!
//! A thread counts as stopped when it says so from the handler, where it blocks every signal. One that doesn't say so in time ends the
//! attempt: nobody is left standing, nothing was written.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hpatch_core::abi::{GATE_SIZE, GATE_SLOTS, Gate, Op, SLOT_ASKED, SLOT_PARKED, SLOT_TAKEN};

use super::door::{self, Door, Reach};
use super::stop::{Place, StopError, Timing, Tracee};
use crate::check::stacks::{Judged, Stacks};
use crate::error::{Error, Exit, Result, code};
use crate::target::Target;
use crate::target::control::Control;
use crate::target::procfs;

/// How long threads that block the signal for a moment, as the C library does at their birth and end, are waited for.
const PATIENCE: Duration = Duration::from_millis(50);

/// This program's view of the gate, and the lock in it.
#[derive(Debug)]
struct Shared(*mut Gate);

impl Shared {
    /// Maps the memory that the loader has open as `fd`.
    fn map(target: &Target, fd: u64) -> std::io::Result<Self> {
        let path = format!("/proc/{}/task/{}/fd/{fd}", target.pid, target.live_tid);
        let file = File::options().read(true).write(true).open(path)?;
        // SAFETY: a new mapping; what it holds is integers that others change.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                GATE_SIZE as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(Self(at.cast())) }
    }

    /// Makes the lock one that the kernel lets go when its holder dies.
    fn prepare(&self) -> bool {
        let lock = self.lock();
        // SAFETY: the gate has room for a mutex, which nobody uses yet; the attributes are initialised by the first call.
        unsafe {
            let mut how: libc::pthread_mutexattr_t = std::mem::zeroed();
            libc::pthread_mutexattr_init(&mut how) == 0
                && libc::pthread_mutexattr_setpshared(&mut how, libc::PTHREAD_PROCESS_SHARED) == 0
                && libc::pthread_mutexattr_setrobust(&mut how, libc::PTHREAD_MUTEX_ROBUST) == 0
                && libc::pthread_mutex_init(lock, &how) == 0
        }
    }

    fn lock(&self) -> *mut libc::pthread_mutex_t {
        const { assert!(size_of::<libc::pthread_mutex_t>() <= 64, "the gate has no room for a mutex") };
        // SAFETY: within the mapping.
        unsafe { (&raw mut (*self.0).lock).cast() }
    }

    /// The first word of a mutex holds its owner, as robust futexes need it.
    fn owner(&self) -> &AtomicU32 {
        // SAFETY: aligned, within the mapping; changed by atomic operations only.
        unsafe { AtomicU32::from_ptr(self.lock().cast()) }
    }

    fn round(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.0).round) }
    }

    fn state(&self, index: usize) -> &AtomicU32 {
        // SAFETY: as above; indexing checks the bound.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.0).slots[index].state) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and no borrow of it is left.
        unsafe { libc::munmap(self.0.cast(), GATE_SIZE as usize) };
    }
}

/// The gate, opened for one switch.
#[derive(Debug)]
pub struct Rendezvous {
    door: Door,
    control: Control,
    shared: Shared,
    deadline: Duration,
    round: u32,
    tracees: Vec<Tracee>,
}

impl Rendezvous {
    pub fn open(target: &Target, deadline: Duration, judged: &Judged) -> Result<Self> {
        let control = Control::require(target)?;
        let door = door::require(target, &control)?;
        if !matches!(Stacks::of(target, judged), Stacks::Threads) {
            return Err(Error::new(
                code::NO_RENDEZVOUS,
                Exit::Refused,
                format!("process {} has stacks of its own making", target.pid),
            )
            .note("a signal's frame needs some kilobytes, which a coroutine's stack may not have left"));
        }
        let mut shared = None;
        door.call(target, &control, Op::Gate, &[1, 0], || {
            let fd = control.value(target, 0)?;
            if fd != 0 && shared.is_none() {
                shared = Some(Shared::map(target, fd - 1));
                control.acknowledge(target)?;
            }
            Ok(())
        })?;
        let shared = match shared {
            Some(Ok(s)) if s.prepare() => s,
            Some(Err(e)) => return Err(Error::io("cannot map the memory that the loader shares", &e)),
            _ => return Err(Error::new(code::CONTROL_TIMEOUT, Exit::Busy, "the loader shared no memory")),
        };
        Ok(Self { door, control, shared, deadline, round: 0, tracees: Vec::with_capacity(64) })
    }

    /// The gate is private memory again.
    pub fn close(&self, target: &Target) {
        // A process that is on its way out has nothing to tidy up; otherwise the next command does it.
        let _ = self.door.call(target, &self.control, Op::Gate, &[0, 0], || Ok(()));
    }

    /// Stops the target. On an error every thread goes on.
    pub fn stop<'a>(&'a mut self, target: &'a Target) -> std::result::Result<Parked<'a>, StopError> {
        // SAFETY: initialised by `prepare`, held by nobody: this program is the only one that locks it.
        let locked = unsafe { libc::pthread_mutex_lock(self.shared.lock()) } == 0;
        let me = super::ptrace::gettid() as u32;
        self.round += 1;
        self.shared.round().store(self.round, Ordering::Release);
        self.tracees.clear();
        let owned = locked && self.shared.owner().load(Ordering::Acquire) & 0x3fff_ffff == me;
        let begun = Instant::now();
        let mut parked = Parked { meet: self, target, begun, stop: Duration::ZERO, released: None };
        if !owned {
            return Err(StopError::Os("hold a robust lock", std::io::ErrorKind::Unsupported.into()));
        }
        parked.begin()?;
        parked.stop = begun.elapsed();
        Ok(parked)
    }
}

/// A process whose threads stand in the handler. Dropping it lets them go.
#[derive(Debug)]
pub struct Parked<'a> {
    meet: &'a mut Rendezvous,
    target: &'a Target,
    begun: Instant,
    stop: Duration,
    released: Option<Timing>,
}

impl Parked<'_> {
    fn begin(&mut self) -> std::result::Result<(), StopError> {
        loop {
            let tasks = self.target.tasks().map_err(|_| StopError::Vanished)?;
            let known = self.meet.tracees.len();
            let mut blocks = None;
            for tid in tasks {
                if !self.meet.tracees.iter().any(|t| t.tid == tid) {
                    self.ask(tid, &mut blocks)?;
                }
            }
            for i in known..self.meet.tracees.len() {
                self.collect(i)?;
            }
            match blocks {
                // Nobody was asked, and nobody has to be: whoever stands makes no new threads.
                None if self.meet.tracees.len() == known => break,
                Some(tid) if self.begun.elapsed() > PATIENCE => return Err(StopError::Deaf { tid }),
                Some(_) => std::thread::sleep(Duration::from_micros(200)),
                None => {}
            }
        }
        match self.meet.tracees.iter().any(|t| t.place == Place::Stopped) {
            true => Ok(()),
            false => Err(StopError::Vanished),
        }
    }

    fn ask(&mut self, tid: i32, blocks: &mut Option<i32>) -> std::result::Result<(), StopError> {
        let index = self.meet.tracees.len() + 1;
        let call = match self.meet.door.reach(self.target, tid) {
            Reach::None => return Ok(()),
            Reach::Blocks => {
                *blocks = Some(tid);
                return Ok(());
            }
            Reach::Traced(by) => return Err(StopError::Traced(by)),
            Reach::Resumed => return Err(StopError::Deaf { tid }),
            Reach::Call(call) => call,
        };
        let Ok(inner) = procfs::inner_tid(self.target.pid, tid) else { return Ok(()) };
        if index >= GATE_SLOTS {
            return Err(StopError::Storm);
        }
        // SAFETY: within the mapping; no thread looks at the place before its state says so.
        unsafe {
            let slot = &raw mut (*self.meet.shared.0).slots[index];
            (&raw mut (*slot).tid).write_volatile(inner as u32);
            (&raw mut (*slot).round).write_volatile(self.meet.round);
            (&raw mut (*slot).call).write_volatile(call);
        }
        self.meet.shared.state(index).store(SLOT_ASKED, Ordering::Release);
        match self.meet.door.send(self.target, tid, self.meet.round, index as u32) {
            Ok(true) => {
                let mut t = Tracee::new(tid);
                t.regs.orig_rax = call.number;
                self.meet.tracees.push(t);
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(_) => Err(StopError::Permission),
        }
    }

    /// Waits until thread `i` stands or is gone.
    fn collect(&mut self, i: usize) -> std::result::Result<(), StopError> {
        let tid = self.meet.tracees[i].tid;
        let mut looks = 0u32;
        while self.meet.shared.state(i + 1).load(Ordering::Acquire) != SLOT_PARKED {
            looks += 1;
            if looks < 100 {
                std::hint::spin_loop();
                continue;
            }
            if looks.is_multiple_of(64) {
                let stat = procfs::task_stat(self.target.pid, tid);
                if !stat.as_ref().is_ok_and(|s| !s.is_dead()) {
                    self.meet.tracees[i].place = Place::Gone;
                    return Ok(());
                }
                if self.begun.elapsed() > self.meet.deadline {
                    return Err(StopError::Stuck { tid, state: stat.map_or(b'?', |s| s.state) });
                }
            }
            std::thread::sleep(Duration::from_micros(10));
        }
        // SAFETY: written before the state said so, and not changed while it does.
        let r = unsafe { (&raw const (*self.meet.shared.0).slots[i + 1].regs).read_volatile() };
        let t = &mut self.meet.tracees[i];
        t.place = Place::Stopped;
        let to = &mut t.regs;
        [to.r8, to.r9, to.r10, to.r11, to.r12, to.r13, to.r14, to.r15] =
            [r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]];
        [to.rdi, to.rsi, to.rbp, to.rbx, to.rdx, to.rax, to.rcx] = [r[8], r[9], r[10], r[11], r[12], r[13], r[14]];
        [to.rsp, to.rip, to.eflags] = [r[15], r[16], r[17]];
        Ok(())
    }

    pub fn tracees(&self) -> &[Tracee] {
        &self.meet.tracees
    }

    /// Lets every thread go on.
    pub fn release(&mut self) -> Timing {
        if let Some(t) = self.released {
            return t;
        }
        let from = Instant::now();
        let shared = &self.meet.shared;
        // Whoever looks late belongs to an earlier round.
        shared.round().store(self.meet.round + 1, Ordering::Release);
        self.meet.round += 1;
        // SAFETY: locked by `stop` in this thread; then all who sleep on its word are woken, FUTEX_WAKE.
        unsafe {
            libc::pthread_mutex_unlock(shared.lock());
            libc::syscall(libc::SYS_futex, shared.lock(), libc::FUTEX_WAKE, i32::MAX, 0, 0, 0);
        }
        let standing = |i: usize| matches!(shared.state(i + 1).load(Ordering::Acquire), SLOT_TAKEN | SLOT_PARKED);
        for (i, t) in self.meet.tracees.iter().enumerate() {
            while standing(i)
                && from.elapsed() < self.meet.deadline
                && procfs::task_stat(self.target.pid, t.tid).is_ok()
            {
                std::thread::sleep(Duration::from_micros(10));
            }
        }
        let pause = self.begun.elapsed();
        let timing = Timing { stop: self.stop, resume: from.elapsed(), pause };
        self.released = Some(timing);
        timing
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.release();
    }
}
