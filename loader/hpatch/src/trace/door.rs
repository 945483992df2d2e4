//! The way into a process without ptrace(2), where its operator has set a signal aside for it (`hpatch run --signal`): see
//! `loader/src/gate.rs` for the other side. It needs what `/proc/PID/mem` needs, and kill(2).

use std::mem::offset_of;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hpatch_core::abi::{Call, Gate, LoaderState, Op, SLOT_ASKED, Slot, gate_value};
use zerocopy::IntoBytes;

use super::patience::Patience;
use super::rpc::{OPERATION_DEADLINE, RpcOptions};
use crate::error::{Error, Exit, Result, code};
use crate::target::Target;
use crate::target::control::{Answer, Control};
use crate::target::procfs;

/// How long one thread may take to come to the signal's handler.
const KNOCK: Duration = Duration::from_millis(500);
const NO_CALL: Call = Call { number: u64::MAX, arguments: [0; 6], sp: 0, pc: 0 };

/// Whether this program goes by signals, for all that it does from here on.
static BY_SIGNALS: AtomicBool = AtomicBool::new(false);

pub fn go_by_signals(yes: bool) {
    BY_SIGNALS.store(yes, Ordering::Relaxed);
}

pub fn by_signals() -> bool {
    BY_SIGNALS.load(Ordering::Relaxed)
}

/// The signal and the gate of a process that was started with them.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    pub signal: i32,
    pub gate: u64,
}

/// What a thread is about, as far as a signal to it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Ended, or a kernel's worker.
    None,
    /// The signal would wait: blocked, for the moment or for good.
    Blocks,
    /// It goes on in a call that can't be begun anew, as the kernel's own memory of it is lost with a signal.
    Resumed,
    /// Another tracer has it.
    Traced(i32),
    Call(Call),
}

impl Door {
    /// `None` when the process has none, or its program has put another handler, or none, in the place of the loader's.
    pub fn of(target: &Target, control: &Control) -> Result<Option<Self>> {
        let (signal, gate) = control.door(target)?;
        if signal == 0 || gate == 0 {
            return Ok(None);
        }
        let caught = procfs::signal_sets(target.pid, target.live_tid).is_ok_and(|s| s.caught & 1 << (signal - 1) != 0);
        Ok(caught.then_some(Self { signal: signal as i32, gate }))
    }

    pub fn reach(&self, target: &Target, tid: i32) -> Reach {
        let Ok(stat) = procfs::task_stat(target.pid, tid) else { return Reach::None };
        if stat.is_dead() || stat.is_kernel_worker() {
            return Reach::None;
        }
        let Ok(sets) = procfs::signal_sets(target.pid, tid) else { return Reach::None };
        if sets.tracer != 0 {
            return Reach::Traced(sets.tracer);
        }
        if sets.blocked & 1 << (self.signal - 1) != 0 {
            return Reach::Blocks;
        }
        match procfs::call_of(target.pid, tid) {
            Ok(Some(call)) if call.number == libc::SYS_restart_syscall as u64 => Reach::Resumed,
            Ok(Some(call)) => Reach::Call(call),
            Ok(None) => Reach::Call(NO_CALL),
            Err(_) => Reach::None,
        }
    }

    /// Sends the signal to one thread for one place. False when the thread has ended.
    pub fn send(&self, target: &Target, tid: i32, round: u32, index: u32) -> Result<bool> {
        // struct siginfo as rt_tgsigqueueinfo(2) takes it: number, error, code, then pid, uid and value.
        const SI_QUEUE: i32 = -1;
        let mut info = [0u64; 16];
        info[0] = self.signal as u64;
        info[1] = u64::from(SI_QUEUE as u32);
        // SAFETY: no memory is involved in the two ids; the kernel reads 128 bytes of `info`.
        let sent = unsafe {
            info[2] = u64::from(libc::getpid() as u32) | u64::from(libc::getuid()) << 32;
            info[3] = gate_value(round, index);
            libc::syscall(libc::SYS_rt_tgsigqueueinfo, target.pid, tid, self.signal, info.as_ptr())
        };
        if sent == 0 {
            return Ok(true);
        }
        let e = std::io::Error::last_os_error();
        match e.raw_os_error() {
            Some(libc::ESRCH) => Ok(false),
            // The queue of signals is full (RLIMIT_SIGPENDING), or it isn't permitted.
            _ => {
                Err(Error::new(code::NO_RENDEZVOUS, Exit::Refused, format!("cannot send signal {}: {e}", self.signal)))
            }
        }
    }

    fn slot(&self, index: usize) -> u64 {
        self.gate + (offset_of!(Gate, slots) + index * size_of::<Slot>()) as u64
    }

    /// Lets one thread of the process make the control thread.
    fn knock(&self, target: &Target) -> Result<()> {
        static ROUND: AtomicU32 = AtomicU32::new(0);
        let wrote = |_| target.vanished();
        let at = self.slot(0);
        for _ in 0..20 {
            for tid in target.tasks()? {
                let Reach::Call(call) = self.reach(target, tid) else { continue };
                let inner = procfs::inner_tid(target.pid, tid).map_err(|_| target.vanished())?;
                // Unlike that of a command before.
                let round = ROUND.fetch_add(1, Ordering::Relaxed) ^ std::process::id() << 12;
                let slot = Slot { state: SLOT_ASKED, tid: inner as u32, round, reserved: 0, call, regs: [0; 18] };
                target.mem.write(at, slot.as_bytes()).map_err(wrote)?;
                if !self.send(target, tid, round, 0)? {
                    continue;
                }
                let begun = Instant::now();
                while begun.elapsed() < KNOCK {
                    if target.mem.read_u64(at).map_err(wrote)? as u32 != SLOT_ASKED {
                        return Ok(());
                    }
                    std::thread::sleep(Duration::from_micros(50));
                }
                // Too late for that one: what it finds isn't its own any more.
                target.mem.write_u64(at, 0).map_err(wrote)?;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(Error::new(code::NO_RENDEZVOUS, Exit::Busy, "no thread of the process answers the signal")
            .note("each blocks it, is stopped, or can't be woken"))
    }

    /// One operation of the loader, as [`super::rpc::call`]; `meanwhile` is asked again and again until it ends.
    pub fn call(
        &self,
        target: &Target,
        control: &Control,
        op: Op,
        arg: &[u64],
        mut meanwhile: impl FnMut() -> Result<()>,
    ) -> Result<Answer> {
        control.request(target, op, arg)?;
        self.knock(target)?;
        let mut patience = Patience::new(OPERATION_DEADLINE);
        let mut nap = Duration::from_micros(50);
        loop {
            if let Some(answer) = control.answer(target)?
                && !target.has_thread(control.thread(target)?)?
            {
                return Ok(answer);
            }
            meanwhile()?;
            if patience.is_over() {
                return Err(super::rpc::at_work(OPERATION_DEADLINE));
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(2));
        }
    }
}

/// [`super::rpc::call`] without ptrace(2). A filter of system calls can't be suspended here.
pub fn call(target: &Target, control: &Control, op: Op, arg: &[u64], options: RpcOptions) -> Result<Answer> {
    if procfs::task_status(target.pid, target.live_tid).is_ok_and(|s| !options.allows(s.seccomp)) {
        return Err(super::rpc::seccomp(target.pid));
    }
    if control.state(target)? == LoaderState::Blocked as u32 {
        return Err(Error::new(code::LOADER_BLOCKED, Exit::Blocked, "the loader is blocked after an internal error"));
    }
    require(target, control)?.call(target, control, op, arg, || Ok(()))
}

/// The door, or a refusal that says what opens one.
pub fn require(target: &Target, control: &Control) -> Result<Door> {
    Door::of(target, control)?.ok_or_else(|| {
        Error::new(code::NO_RENDEZVOUS, Exit::Refused, format!("process {} has set no signal aside", target.pid))
            .help("start the program with `hpatch run --signal N -- CMD`, with a real-time signal that it doesn't use")
    })
}
