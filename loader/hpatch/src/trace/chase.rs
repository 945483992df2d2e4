//! Catching threads that are nearly always inside the code that is to change.
//!
//! A stop at a random moment meets a thread outside with the probability of its being there, and several threads with the
//! product. Here each is looked at by itself, many times, while the others run: at its system calls (`PTRACE_SYSCALL`), which is
//! exact for a thread that makes one outside, and between them at random moments some thousand times a second. A thread that is met outside
//! is held, for [`HOLD`] at most because others may wait for it, until all are; then the rest of the process is stopped.
//!
//! Why no breakpoint on the return address: debug registers outlive a tracer that is killed, and their trap would then end the
//! process. Single-stepping has the same flaw. Stops at system calls and interruptions are undone by the kernel when the tracer dies, at whatever moment.
//! The price: a thread that neither makes a system call outside nor spends about a ten-thousandth of its time there isn't caught.

use std::time::{Duration, Instant};

use super::ptrace::{self, Status, errno};
use super::restart;
use super::stop::{Place, StopError, Stopped, Tracee, let_go};
use crate::interrupt;

/// How long a thread may be held while others are still inside.
pub const HOLD: Duration = Duration::from_millis(40);
/// How long threads that run are pursued in one go.
pub const PURSUIT: Duration = Duration::from_millis(150);
/// Stops at system calls that one thread has to bear in one go.
const SYSCALL_STOPS: u32 = 1000;
/// New threads of a pursued one aren't ours: they would have to be let go at once.
const OPTIONS: i32 = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_TRACESYSGOOD;
/// Nanoseconds between two looks at which threads are due for an interruption.
const TICK: i64 = 100_000;

/// What is known of one thread that is pursued.
#[derive(Debug)]
struct Quarry {
    /// Index among the tracees.
    index: usize,
    /// When it is interrupted next, unless it stops by itself.
    due: Instant,
    /// It sleeps in a system call inside the code: its end is reported, so there is no need to disturb it.
    asleep: bool,
    syscall_stops: u32,
    /// Its call was interrupted: it goes on to the trap where that can be repaired, whatever it is in the way.
    settling: bool,
}

impl Stopped<'_> {
    /// True when all `wanted` are held or gone. What `inside` says of a stopped thread decides whether it is held.
    pub(super) fn chase(
        &mut self,
        wanted: &[i32],
        most: Duration,
        mut inside: impl FnMut(&Tracee) -> bool,
    ) -> Result<bool, StopError> {
        let begun = Instant::now();
        let mut random = begun.elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 20 | 1;
        for &tid in wanted {
            if !self.index.contains_key(&tid) {
                self.seize(tid, OPTIONS)?;
            }
        }
        let quarry = |index| Quarry { index, due: begun, asleep: false, syscall_stops: 0, settling: false };
        let mut all: Vec<Quarry> = (0..self.tracees.len()).map(quarry).collect();
        self.kick.set(TICK);
        loop {
            let now = Instant::now();
            let mut running = 0;
            let mut awake = false;
            for q in &mut all {
                let t = &self.tracees[q.index];
                if t.place != Place::Running {
                    continue;
                }
                running += 1;
                awake |= !q.asleep;
                if !q.asleep && now >= q.due {
                    // Once more if it hasn't come by then.
                    q.due = now + Duration::from_millis(5);
                    let _ = ptrace::interrupt(t.tid);
                }
            }
            if running == 0 {
                return self.ready();
            }
            let pursued = now - begun;
            let late = pursued >= most || (awake && pursued >= PURSUIT) || self.held() >= HOLD;
            if late || interrupt::came() {
                return Ok(false);
            }
            let mut flags = 0;
            loop {
                match ptrace::wait_any(flags) {
                    Ok(None) => break,
                    Ok(Some((tid, status))) => {
                        let Some(q) = self.index.get(&tid).and_then(|i| all.iter_mut().find(|q| q.index == *i)) else {
                            // A thread that an earlier stop couldn't let go in time.
                            let_go(tid, status);
                            continue;
                        };
                        if !self.event(q, status, &mut random, &mut inside)? {
                            return Ok(false);
                        }
                    }
                    Err(e) if errno(&e) == libc::ECHILD => {
                        self.tracees.iter_mut().for_each(|t| t.place = Place::Gone);
                        break;
                    }
                    Err(e) => return Err(StopError::Os("wait for a thread", e)),
                }
                flags = libc::WNOHANG;
            }
        }
    }

    /// One report of a pursued thread. False when the pursuit has to be called off.
    fn event(
        &mut self,
        q: &mut Quarry,
        status: Status,
        random: &mut u64,
        inside: &mut impl FnMut(&Tracee) -> bool,
    ) -> Result<bool, StopError> {
        let t = &mut self.tracees[q.index];
        let Status::Stopped { event, signal, syscall } = status else {
            t.place = Place::Gone;
            return Ok(true);
        };
        if event == libc::PTRACE_EVENT_EXEC {
            return Err(StopError::Vanished);
        }
        t.place = Place::Stopped;
        t.signal = if event == 0 && !syscall { signal } else { 0 };
        t.known = false;
        if event == ptrace::EVENT_STOP && signal != libc::SIGTRAP {
            // Job control stops the process: going on would undo that.
            return Ok(false);
        }
        if syscall {
            q.syscall_stops += 1;
            if let Err(e) = ptrace::get_regs(t.tid, &mut t.regs) {
                return if errno(&e) == libc::ESRCH { Ok(true) } else { Err(StopError::Os("read registers", e)) };
            }
            t.known = true;
        } else {
            t.read_and_repair()?;
            if t.place == Place::Dying {
                return Ok(true);
            }
        }
        let result = t.regs.rax as i64;
        let entry = syscall && result == -i64::from(libc::ENOSYS);
        q.settling = syscall && restart::interrupted(result);
        if !q.settling && !inside(t) {
            if self.held_from.is_none() {
                self.held_from = Some(Instant::now());
            }
            return Ok(true);
        }
        let now = Instant::now();
        if q.settling {
            // A result like this must be seen by the kernel's handling of signals: that comes after this stop.
            let _ = ptrace::interrupt(t.tid);
        } else if syscall && !entry {
            q.asleep = false;
            q.due = now + jitter(random);
        } else if entry {
            q.due = now + Duration::from_millis(2);
        } else {
            q.asleep = t.regs.orig_rax as i64 >= 0 && restart::interrupted(result);
            q.due = now + jitter(random);
        }
        let to_syscall = !q.settling && q.syscall_stops < SYSCALL_STOPS;
        t.place = Place::Running;
        let signal = std::mem::take(&mut t.signal);
        let gone = if to_syscall { ptrace::cont_to_syscall(t.tid, signal) } else { ptrace::cont(t.tid, signal) };
        match gone {
            Err(e) if errno(&e) != libc::ESRCH => Err(StopError::Os("continue a thread", e)),
            _ => Ok(true),
        }
    }

    /// All are held: from now on a birth counts.
    fn ready(&mut self) -> Result<bool, StopError> {
        for t in self.tracees.iter().filter(|t| t.place == Place::Stopped) {
            match ptrace::set_options(t.tid, ptrace::OPTIONS) {
                Err(e) if errno(&e) != libc::ESRCH => return Err(StopError::Os("set the options of a thread", e)),
                _ => {}
            }
        }
        Ok(true)
    }
}

/// 0.1 to 0.4 ms.
fn jitter(random: &mut u64) -> Duration {
    // xorshift64 (Marsaglia 2003).
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    Duration::from_nanos(100_000 + (*random >> 32) % 300_000)
}
