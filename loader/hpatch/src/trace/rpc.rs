//! One operation of the loader: a thread of the application is stopped for a moment, makes the loader's control thread with one
//! `clone` system call, and goes on as if nothing had been; the control thread runs while the application runs.
//!
//! The hijacked thread executes a single `syscall` instruction and no user code: it is taken at a stop and given back at the next one.

use std::io;
use std::time::{Duration, Instant};

use hpatch_core::abi::{FRAME_SIZE, LoaderState, Op, SPAWN_FLAGS, STACK_SIZE};

use super::patience::{self, Patience};
use super::ptrace::{self, Regs, Status, errno};
use super::stop::let_go;
use super::{door, haste, restart, way_back};
use crate::error::{Error, Exit, Result, code};
use crate::fault::{fault, slow};
use crate::target::Target;
use crate::target::control::{Answer, Control};
use crate::target::maps;
use crate::target::procfs::{self, Blocked};
use patchfmt::Code;

/// How long the control thread is waited for.
pub const OPERATION_DEADLINE: Duration = Duration::from_secs(20);
/// Processor time that no operation needs: whoever has used that much runs in a circle.
const RUNAWAY: Duration = Duration::from_secs(10);
const STEP_DEADLINE: Duration = Duration::from_secs(2);
/// Rounds in which a thread that is about to resume a call is left to do so.
const CAREFUL: u32 = 8;
/// After this time it is looked whether a thread that is waited for is dead.
const LOOK: Duration = Duration::from_millis(20);
/// Signals that the processor raises. They stay unblocked: forcing a blocked one resets its handler.
const SYNCHRONOUS: u64 = bit(libc::SIGSEGV)
    | bit(libc::SIGBUS)
    | bit(libc::SIGILL)
    | bit(libc::SIGFPE)
    | bit(libc::SIGTRAP)
    | bit(libc::SIGSYS);

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// What the choice of thread and the way in depend on.
#[derive(Debug, Clone, Copy, Default)]
pub struct RpcOptions {
    /// Go on although the target has a seccomp filter that can't be suspended: a filter that kills would kill the service.
    pub allow_seccomp: bool,
}

impl RpcOptions {
    /// Whether calls may be made in this mode of seccomp as it is: the strict one ends whoever makes a thread, whatever anybody says.
    pub fn allows(self, seccomp_mode: u32) -> bool {
        const FILTER: u32 = 2;
        seccomp_mode == 0 || seccomp_mode == FILTER && self.allow_seccomp
    }
}

/// How a hijacked thread returns to what it was doing when this program is killed.
#[derive(Debug, Clone, Copy)]
pub enum WayBack {
    /// By the loader's stub, which finds the address of the frame in `rbx`.
    Stub(u64),
    /// By a `ret` behind the `syscall` instruction, which finds the address of code that calls rt_sigreturn(2) at this place on the stack, and
    /// that one the frame right above.
    Stack(u64),
}

/// A thread of the target at a stop in the kernel, its registers saved. Giving it back restores everything.
#[derive(Debug)]
pub struct Hijacked<'a> {
    target: &'a Target,
    pub tid: i32,
    saved: Regs,
    mask: u64,
    /// Signals that came meanwhile, to be delivered afterwards.
    late: u64,
    /// What lay where a frame was laid on its stack.
    covered: Option<(u64, Vec<u8>)>,
    done: bool,
}

fn os(what: &str, e: &io::Error) -> Error {
    if errno(e) == libc::ESRCH || errno(e) == libc::ECHILD {
        return Error::new(
            code::TARGET_GONE,
            Exit::Io,
            format!("a thread ended while the command was about to {what}"),
        );
    }
    Error::new(code::CONTROL_TIMEOUT, Exit::Busy, format!("cannot {what}: {e}"))
}

impl<'a> Hijacked<'a> {
    /// Takes a thread, best one that sleeps in a system call. With `on_stack` it is one for [`Self::lay_way_back_on_stack`].
    pub fn take(target: &'a Target, options: RpcOptions, on_stack: bool) -> Result<Self> {
        let mut asleep = Vec::new();
        let mut awake = Vec::new();
        // Those whose call doesn't get over it: what the kernel knows of it is lost when they have to go back by themselves, or it ends early.
        let mut delicate = Vec::new();
        let mut deaf = None;
        for tid in target.tasks()? {
            let Ok(stat) = procfs::task_stat(target.pid, tid) else { continue };
            if stat.is_dead() || stat.is_kernel_worker() {
                continue;
            }
            if stat.state == b'D' {
                deaf = Some(tid);
                continue;
            }
            match procfs::blocked_at(target.pid, tid) {
                Ok(Blocked::At { nr: libc::SYS_restart_syscall, .. }) => delicate.push(tid),
                Ok(Blocked::At { nr, .. }) if nr >= 0 && procfs::is_transferring(target.pid, tid) => delicate.push(tid),
                Ok(Blocked::At { nr, .. }) if nr >= 0 => asleep.push(tid),
                _ => awake.push(tid),
            }
        }
        let mut last = None;
        let began = Instant::now();
        for round in (0..20u32).take_while(|_| began.elapsed() < OPERATION_DEADLINE) {
            let last_choice = if round > 0 || awake.is_empty() { &delicate[..] } else { &[] };
            for &tid in asleep.iter().chain(&awake).chain(last_choice) {
                // A thread in a restartable sequence must not be sent elsewhere; one in a system call isn't in one.
                let careful = round < CAREFUL && !last_choice.contains(&tid);
                match Self::take_thread(target, tid, options, (round > 0, on_stack, careful))? {
                    Ok(h) => return Ok(h),
                    Err(e) => last = Some(e),
                }
            }
            std::thread::sleep(Duration::from_millis(1 << round.min(6)));
        }
        Err(last.unwrap_or_else(|| match deaf {
            Some(tid) if target.is_alive() => unmoved(target.pid, tid),
            _ => target.vanished(),
        }))
    }

    /// The outer error is final, the inner one says that this thread won't do.
    fn take_thread(
        target: &'a Target,
        tid: i32,
        options: RpcOptions,
        (awake, on_stack, careful): (bool, bool, bool),
    ) -> Result<Result<Self>> {
        let status = procfs::task_status(target.pid, tid);
        let tracer = status.as_ref().map_or(0, |s| s.tracer);
        // A thread that wasn't given the processor in time didn't stop, so that it couldn't be given back: it is tried again.
        let ours = tracer == std::process::id() as i32;
        if tracer != 0 && !ours {
            return Err(crate::error::traced(target.pid, tracer));
        }
        if procfs::is_frozen(target.pid, tid) {
            return Ok(Err(unmoved(target.pid, tid)));
        }
        target.wakes(tid);
        if !ours && let Err(e) = ptrace::seize(tid, ptrace::OPTIONS) {
            let lives = procfs::task_stat(target.pid, tid).is_ok_and(|s| !s.is_dead());
            return match errno(&e) {
                // Another tracer may have come since.
                libc::EPERM if lives => Err(match procfs::task_status(target.pid, tid) {
                    Ok(s) if s.tracer != 0 => crate::error::traced(target.pid, s.tracer),
                    _ => crate::target::no_permission(target.pid),
                }),
                _ => Ok(Err(os("seize a thread", &e))),
            };
        }
        let mut h = Self { target, tid, saved: zeroed_regs(), mask: 0, late: 0, covered: None, done: false };
        if let Err(e) = h.settle() {
            h.abandon();
            return if target.has_memory() { Ok(Err(e)) } else { Err(target.vanished()) };
        }
        // Where the process has replaced its program, this thread is the new one's, to which nothing of what is known applies.
        if !target.has_memory() {
            h.give_back()?;
            return Err(target.vanished());
        }
        if ptrace::dispatches(tid) {
            h.give_back()?;
            return Ok(Err(dispatched(target.pid)));
        }
        let seccomp_mode = status.map_or(0, |s| s.seccomp);
        if seccomp_mode != 0
            && ptrace::set_options(tid, ptrace::OPTIONS | ptrace::SUSPEND_SECCOMP).is_err()
            && !options.allows(seccomp_mode)
        {
            h.give_back()?;
            return Err(seccomp(target.pid));
        }
        let in_call = h.saved.orig_rax as i64 >= 0;
        let resumes = careful && restart::resumes(&h.saved);
        let usable =
            !resumes && (in_call || (awake && h.outside_rseq(target))) && (!on_stack || h.may_lay_on_stack()?);
        if !usable {
            h.give_back()?;
            return Ok(Err(Error::new(
                code::CONTROL_TIMEOUT,
                Exit::Busy,
                if on_stack {
                    "no thread of the target rests in a system call, on the stack that it began with"
                } else {
                    "no thread of the target rests in a system call"
                },
            )));
        }
        Ok(Ok(h))
    }

    fn outside_rseq(&self, target: &Target) -> bool {
        match ptrace::rseq_area(self.tid) {
            Ok(0) => true,
            // struct rseq: u32 cpu_id_start, u32 cpu_id, u64 rseq_cs (include/uapi/linux/rseq.h).
            Ok(area) => target.mem.read_u64(area + 8).is_ok_and(|cs| cs == 0),
            Err(_) => false,
        }
    }

    /// Interrupts, waits for the trap, delivering signals that come first, and saves the state.
    fn settle(&mut self) -> Result<()> {
        let mut patience = Patience::new(STEP_DEADLINE);
        loop {
            // Each stop of another kind takes back the interruption that came before it.
            ptrace::interrupt(self.tid).map_err(|e| os("interrupt a thread", &e))?;
            match self.wait("stop a thread", &mut patience)? {
                Some(Status::Stopped { event: ptrace::EVENT_STOP, .. }) => break,
                Some(Status::Stopped { event: libc::PTRACE_EVENT_EXEC, .. }) => return Err(self.target.vanished()),
                Some(Status::Stopped { event: 0, signal, syscall: false }) => {
                    // Repair first: the call was woken by our trap as much as by the signal.
                    self.repair_now()?;
                    ptrace::cont(self.tid, signal).map_err(|e| os("deliver a signal", &e))?;
                }
                Some(Status::Stopped { .. }) => {
                    ptrace::cont(self.tid, 0).map_err(|e| os("continue a thread", &e))?;
                }
                Some(_) => return Err(os("stop a thread", &io::Error::from_raw_os_error(libc::ESRCH))),
                None => return Err(Error::new(code::CONTROL_TIMEOUT, Exit::Busy, "a thread didn't stop in time")),
            }
        }
        ptrace::get_regs(self.tid, &mut self.saved).map_err(|e| os("read registers", &e))?;
        restart::repair(&mut self.saved);
        // A repair must not be lost if this program is killed from here on.
        ptrace::set_regs(self.tid, &self.saved).map_err(|e| os("write registers", &e))?;
        self.mask = ptrace::get_sigmask(self.tid).map_err(|e| os("read the signal mask", &e))?;
        Ok(())
    }

    fn repair_now(&self) -> Result<()> {
        let mut r = zeroed_regs();
        ptrace::get_regs(self.tid, &mut r).map_err(|e| os("read registers", &e))?;
        if restart::repair(&mut r) {
            ptrace::set_regs(self.tid, &r).map_err(|e| os("write registers", &e))?;
        }
        Ok(())
    }

    /// One event of the thread; `None` when there was none in time, or too many. A leader's end isn't one before all others have ended, some of which
    /// may wait for this program.
    fn wait(&self, what: &str, patience: &mut Patience) -> Result<Option<Status>> {
        loop {
            if patience.is_over() {
                return Ok(None);
            }
            match patience::wait(self.tid, LOOK).map_err(|e| os(what, &e))? {
                None if procfs::task_stat(self.target.pid, self.tid).is_ok_and(|s| s.is_dead()) => {
                    return Err(os(what, &io::Error::from_raw_os_error(libc::ESRCH)));
                }
                None => {}
                some => return Ok(some),
            }
        }
    }

    /// Waits for the next stop that isn't a signal's; signals are kept for later.
    fn next_stop(&mut self, patience: &mut Patience) -> Result<Status> {
        loop {
            match self.wait("wait for a thread", patience)? {
                // By its processor or the kernel, for what it did: the call wasn't made.
                Some(Status::Stopped { event: 0, signal, syscall: false }) if own_fault(self.tid, signal) => {
                    return Err(Error::new(
                        code::CONTROL_TIMEOUT,
                        Exit::Refused,
                        format!("a system call in the target wasn't made, but raised signal {signal}"),
                    ));
                }
                Some(Status::Stopped { event: 0, signal, syscall: false }) => {
                    self.late |= bit(signal);
                    ptrace::cont_to_syscall(self.tid, 0).map_err(|e| os("continue a thread", &e))?;
                }
                // A group stop that begins meanwhile takes effect when the thread is given back.
                Some(Status::Stopped { event: ptrace::EVENT_STOP, .. }) => {
                    ptrace::cont_to_syscall(self.tid, 0).map_err(|e| os("continue a thread", &e))?;
                }
                Some(Status::Stopped { event: libc::PTRACE_EVENT_EXEC, .. }) => return Err(self.replaced()),
                Some(s @ Status::Stopped { .. }) => return Ok(s),
                Some(_) => return Err(os("wait for a thread", &io::Error::from_raw_os_error(libc::ESRCH))),
                None => {
                    return Err(Error::new(
                        code::CONTROL_TIMEOUT,
                        Exit::Busy,
                        "a system call in the target didn't return",
                    ));
                }
            }
        }
    }

    /// Executes one system call in the thread, at an address where a `syscall` instruction lies. Gives its result and, for `clone`, the
    /// new thread, which is traced and has not begun.
    ///
    /// `way_back` is taken if this program is killed.
    pub fn syscall(&mut self, insn: u64, nr: i64, args: [u64; 6], way_back: WayBack) -> Result<(i64, Option<i32>)> {
        let mut r = self.saved;
        r.rip = insn;
        match way_back {
            WayBack::Stub(frame) => r.rbx = frame,
            WayBack::Stack(word) => r.rsp = word,
        }
        r.rax = nr as u64;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = args;
        // No call to restart here.
        r.orig_rax = u64::MAX;
        // In this order, and the other way round in `restore`: the mask is ours only while the thread stands where the way back begins.
        ptrace::set_regs(self.tid, &r).map_err(|e| os("write registers", &e))?;
        ptrace::set_sigmask(self.tid, !SYNCHRONOUS).map_err(|e| os("set the signal mask", &e))?;
        fault("hijacked");
        ptrace::cont_to_syscall(self.tid, 0).map_err(|e| os("continue a thread", &e))?;
        let mut child = None;
        let mut entered = false;
        let mut patience = Patience::new(STEP_DEADLINE);
        loop {
            match self.next_stop(&mut patience)? {
                Status::Stopped { syscall: true, .. } if entered => break,
                Status::Stopped { syscall: true, .. } => entered = true,
                Status::Stopped { event: libc::PTRACE_EVENT_CLONE, .. } => {
                    child = ptrace::event_message(self.tid).ok().map(|t| t as i32);
                }
                _ => {}
            }
            ptrace::cont_to_syscall(self.tid, 0).map_err(|e| os("continue a thread", &e))?;
        }
        ptrace::get_regs(self.tid, &mut r).map_err(|e| os("read registers", &e))?;
        // On to a trap inside signal handling, where a restart code in the saved registers takes effect.
        let mut patience = Patience::new(STEP_DEADLINE);
        loop {
            ptrace::interrupt(self.tid).map_err(|e| os("interrupt a thread", &e))?;
            ptrace::cont(self.tid, 0).map_err(|e| os("continue a thread", &e))?;
            match self.wait("wait for a thread", &mut patience)? {
                Some(Status::Stopped { event: ptrace::EVENT_STOP, .. }) => break,
                Some(Status::Stopped { event: libc::PTRACE_EVENT_EXEC, .. }) => return Err(self.replaced()),
                Some(Status::Stopped { event: 0, signal, syscall: false }) => self.late |= bit(signal),
                Some(Status::Stopped { .. }) => {}
                Some(_) => return Err(os("wait for a thread", &io::Error::from_raw_os_error(libc::ESRCH))),
                None => return Err(Error::new(code::CONTROL_TIMEOUT, Exit::Busy, "a thread didn't stop in time")),
            }
        }
        self.restore()?;
        Ok((r.rax as i64, child))
    }

    /// Another thread has replaced the program, and who has this one's id now has nothing to go back to.
    fn replaced(&mut self) -> Error {
        self.done = true;
        let _ = ptrace::detach(self.tid, 0);
        self.target.vanished()
    }

    fn restore(&self) -> Result<()> {
        fault("called");
        ptrace::set_sigmask(self.tid, self.mask).map_err(|e| os("set the signal mask", &e))?;
        ptrace::set_regs(self.tid, &self.saved).map_err(|e| os("write registers", &e))
    }

    /// Whether what lies below its stack is nobody else's: it is on the stack that it began with, or no other thread runs meanwhile. Stacks that a
    /// program hands out itself may be so small that another begins right below.
    fn may_lay_on_stack(&self) -> Result<bool> {
        let (sp, storage) = (self.saved.rsp, self.saved.fs_base);
        let maps = self.target.maps()?;
        let own = maps::find(&maps, sp.wrapping_sub(8)).is_some_and(|m| {
            // Thread-local storage, which begins with its own address, lies above the stack that the C library made with it.
            let thread = sp < storage && m.contains(storage) && self.target.mem.read_u64(storage).ok() == Some(storage);
            m.path == "[stack]" || thread
        });
        Ok(own || self.target.tasks()?.len() == 1)
    }

    /// Lays a frame on the thread's stack, where the kernel would lay one for a signal, for a `syscall` that a `ret` follows; `sigreturn`
    /// is the address of code that calls rt_sigreturn(2). [`Self::give_back`] puts back what lay there.
    pub fn lay_way_back_on_stack(&mut self, sigreturn: u64) -> Result<WayBack> {
        const RED_ZONE: u64 = 128;
        let top = self.saved.rsp.wrapping_sub(RED_ZONE);
        let at = top.wrapping_sub(self.frame(0)?.len() as u64) & !63;
        let word = at.wrapping_sub(8);
        let covered = self.target.mem.read_vec(word, top.wrapping_sub(word) as usize);
        self.covered = Some((word, covered.map_err(|e| os("read a thread's stack", &e))?));
        self.lay_way_back(at)?;
        self.target.mem.write_u64(word, sigreturn).map_err(|e| os("write a thread's stack", &e))?;
        Ok(WayBack::Stack(word))
    }

    /// A frame for the place `at` that brings the thread back to what it was doing, without a tracer.
    fn frame(&self, at: u64) -> Result<Vec<u8>> {
        let xstate = ptrace::get_xstate(self.tid).map_err(|e| os("read the vector registers", &e))?;
        Ok(way_back::frame(at, &self.saved, self.mask, &xstate))
    }

    fn lay_way_back(&self, at: u64) -> Result<()> {
        let frame = self.frame(at)?;
        if frame.len() as u64 > FRAME_SIZE - 64 {
            return Err(Error::internal(format!("a signal frame of {} bytes", frame.len())));
        }
        self.target.mem.write(at, &frame).map_err(|e| os("lay a signal frame", &e))
    }

    /// Once the thread stands where it stood: up to then the frame is its way back.
    fn uncover(&mut self) {
        if let Some((at, bytes)) = self.covered.take() {
            let _ = self.target.mem.write(at, &bytes);
        }
    }

    /// Lets the thread go on as it was.
    pub fn give_back(mut self) -> Result<()> {
        if self.done {
            return Ok(());
        }
        self.restore()?;
        self.uncover();
        ptrace::detach(self.tid, 0).map_err(|e| os("detach a thread", &e))?;
        self.done = true;
        self.send_late();
        Ok(())
    }

    fn send_late(&self) {
        for signal in (1..=64).filter(|s| self.late & bit(*s) != 0) {
            // SAFETY: no memory is involved.
            unsafe { libc::syscall(libc::SYS_tkill, self.tid, signal) };
        }
    }

    /// Lets go of a thread of which nothing was changed; it may not be stopped.
    fn abandon(&mut self) {
        self.done = true;
        if ptrace::detach(self.tid, 0).is_ok() {
            return;
        }
        let _ = ptrace::interrupt(self.tid);
        if let Ok(Some(Status::Stopped { event, signal, .. })) = patience::wait(self.tid, Duration::from_millis(200)) {
            let _ = self.repair_now();
            let _ = ptrace::detach(self.tid, if event == 0 { signal } else { 0 });
        }
    }
}

impl Drop for Hijacked<'_> {
    fn drop(&mut self) {
        if !self.done {
            if self.restore().is_ok() {
                self.uncover();
            }
            self.abandon();
            self.send_late();
        }
    }
}

fn zeroed_regs() -> Regs {
    // SAFETY: registers are integers.
    unsafe { std::mem::zeroed() }
}

/// No thread can be lent: this one, as all others, goes nowhere.
fn unmoved(pid: i32, tid: i32) -> Error {
    let e = |what: &str| Error::new(code::THREAD_NOT_STOPPED, Exit::Busy, format!("process {pid} {what}"));
    if procfs::is_frozen(pid, tid) {
        e("is frozen").note("a freezer of cgroups holds it (`cgroup.freeze`, `freezer.state`)").help("thaw it first")
    } else {
        e("can't be woken").note(format!("thread {tid} is in uninterruptible sleep, as are all others"))
    }
}

fn dispatched(pid: i32) -> Error {
    Error::new(code::SECCOMP_FILTER, Exit::Refused, format!("process {pid} takes its threads' system calls itself"))
        .note("every thread that could make a call for the loader is under syscall user dispatch (prctl(2))")
}

pub(super) fn seccomp(pid: i32) -> Error {
    Error::new(
        code::SECCOMP_FILTER,
        Exit::Refused,
        format!("process {pid} has a seccomp filter that can't be suspended"),
    )
    .note("a filter that doesn't know clone, mmap, mprotect, membarrier or openat would end the process")
    .help("run as root in the first user namespace, or say --allow-seccomp when the filter is known to allow them")
}

/// Runs one operation and gives the loader's answer. A code in it is turned into an error.
///
/// # Errors
/// With [`late`] the operation hasn't ended, or nobody knows whether it has. No operation changes the program's code, so the program is as it
/// was in any case; the next command waits for the control thread.
pub fn call(target: &Target, control: &Control, op: Op, arg: &[u64], options: RpcOptions) -> Result<Answer> {
    let (spawn, stack) = (control.spawn(target)?, control.stack_top(target)?);
    if target.has_thread(control.thread(target)?)? {
        return Err(at_work(Duration::ZERO));
    }
    if door::by_signals() {
        return said(door::call(target, control, op, arg, options)?);
    }
    control.request(target, op, arg)?;
    let mut thread = Hijacked::take(target, options, false)?;
    let way_back = (stack - STACK_SIZE).next_multiple_of(64);
    let own_tid = control.thread_addr();
    let outcome = thread.lay_way_back(way_back).and_then(|()| {
        thread.syscall(spawn, libc::SYS_clone, [SPAWN_FLAGS, stack, own_tid, own_tid, 0, 0], WayBack::Stub(way_back))
    });
    let given_back = thread.give_back();
    let (result, child) = outcome?;
    let Some(child) = child.filter(|_| result > 0) else {
        given_back?;
        return Err(Error::new(
            code::CONTROL_TIMEOUT,
            Exit::Busy,
            format!("the target can't make a thread: {}", io::Error::from_raw_os_error(-result as i32)),
        ));
    };
    // What the loader starts in its place would be favoured as well.
    if !matches!(op, Op::Helper) {
        haste::favour(child);
    }
    // The application's thread may have ended right away: the control thread is followed to its end all the same.
    let followed = follow(target, control, op, child, spawn);
    given_back?;
    followed?;
    match control.answer(target)? {
        Some(answer) => said(answer),
        // Killed with all other threads.
        None if target.leaves_within(STEP_DEADLINE) => Err(target.vanished()),
        None => Err(Error::new(code::CONTROL_TIMEOUT, Exit::Blocked, "the control thread ended without an answer")),
    }
}

/// A code in an answer is an error.
fn said(answer: Answer) -> Result<Answer> {
    if answer.code != 0 {
        let code = Code(answer.code as u16);
        let e = Error::new(code, code.exit(), patchfmt::codes::title(code));
        return Err(if answer.detail.is_empty() { e } else { e.note(answer.detail) });
    }
    Ok(answer)
}

/// Whether an error of [`call`] leaves open what became of the operation.
pub fn late(e: &Error) -> bool {
    e.code == code::CONTROL_TIMEOUT
}

/// Whether the kernel raised a signal for what the thread that stopped at it did; such a code is positive (sigaction(2)).
fn own_fault(tid: i32, signal: i32) -> bool {
    SYNCHRONOUS & bit(signal) != 0 && ptrace::signal_code(tid).is_ok_and(|c| c > 0)
}

/// Lets the control thread run, and waits for its end.
fn follow(target: &Target, control: &Control, op: Op, tid: i32, insn: u64) -> Result<()> {
    let mut resend = 0u64;
    let mut crashed = None;
    let result = loop {
        match patience::wait(tid, OPERATION_DEADLINE) {
            Err(e) => break Err(os("wait for the control thread", &e)),
            Ok(Some(Status::Exited | Status::Signaled(_))) => break Ok(()),
            Ok(Some(Status::Stopped { event, signal, .. })) => {
                if event == 0 {
                    if own_fault(tid, signal) {
                        if crashed.is_some() || end_thread(tid, insn).is_err() {
                            break Err(Error::new(
                                code::CONTROL_TIMEOUT,
                                Exit::Blocked,
                                "the control thread can't be ended",
                            ));
                        }
                        crashed = Some(signal);
                    } else {
                        resend |= bit(signal);
                    }
                }
                if slow(op) {
                    break Err(at_work(Duration::ZERO));
                }
                if let Err(e) = ptrace::cont(tid, 0) {
                    break Err(os("continue the control thread", &e));
                }
            }
            Ok(None) => break give_up(target, control, tid, insn),
        }
    };
    for signal in (1..=64).filter(|s| resend & bit(*s) != 0) {
        // SAFETY: no memory is involved.
        unsafe { libc::kill(target.pid, signal) };
    }
    if let Some(signal) = crashed {
        control.set_state(target, LoaderState::Blocked)?;
        return Err(Error::new(
            code::CONTROL_TIMEOUT,
            Exit::Blocked,
            format!("the control thread crashed with signal {signal}"),
        )
        .note("the application goes on; the loader accepts nothing further in this process"));
    }
    result
}

pub(super) fn at_work(waited: Duration) -> Error {
    Error::new(code::CONTROL_TIMEOUT, Exit::Busy, format!("the loader is still at work after {} s", waited.as_secs()))
        .note("it goes on by itself; `hpatch status` says `busy` as long as it does, and the next command waits for it")
}

/// What becomes of a control thread that doesn't answer. One that sleeps in the kernel, or gets no processor time, will answer at last, and is
/// let go; one that runs in a circle is ended. It holds nothing of the application's, so it can be ended anywhere, but the loader's own lists
/// may be half-way then.
fn give_up(target: &Target, control: &Control, tid: i32, insn: u64) -> Result<()> {
    let runaway = procfs::cpu_time(target.pid, tid).is_ok_and(|t| t >= RUNAWAY);
    let _ = ptrace::interrupt(tid);
    let stopped = match patience::wait(tid, STEP_DEADLINE) {
        Ok(Some(Status::Exited | Status::Signaled(_))) => return Ok(()),
        Ok(Some(stopped)) => stopped,
        // The kernel lets it go when this program ends.
        Ok(None) | Err(_) => return Err(at_work(OPERATION_DEADLINE)),
    };
    if !runaway {
        let_go(tid, stopped);
        return Err(at_work(OPERATION_DEADLINE));
    }
    let ended = end_thread(tid, insn).and_then(|()| ptrace::cont(tid, 0));
    control.set_state(target, LoaderState::Blocked)?;
    ended.map_err(|e| os("end the control thread", &e))?;
    let _ = patience::wait(tid, STEP_DEADLINE);
    Err(Error::new(code::CONTROL_TIMEOUT, Exit::Blocked, "the control thread ran without end, and was ended"))
}

/// Sends a stopped thread to `exit(2)`, which ends this thread only.
fn end_thread(tid: i32, insn: u64) -> io::Result<()> {
    let mut r = zeroed_regs();
    ptrace::get_regs(tid, &mut r)?;
    r.rip = insn;
    r.rax = libc::SYS_exit as u64;
    r.rdi = 1;
    r.orig_rax = u64::MAX;
    ptrace::set_regs(tid, &r)
}
