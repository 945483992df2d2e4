//! The switch: stop, check, write, read back, let go; retried until the code isn't in use.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use hpatch_core::abi::{Range, RecordState, Unit};
use hpatch_core::image::Image;
use serde_json::json;

use crate::check::deep::Deep;
use crate::check::dry;
use crate::check::forbidden::Forbidden;
use crate::check::inside::Inside;
use crate::check::report::{Blocker, Blockers};
use crate::check::scan::{Hit, Lookup, Scanner, Use, View};
use crate::check::stacks::{Judged, Stacks};
use crate::check::unwind::Unwinder;
use crate::error::{Error, Exit, Result, code, traced};
use crate::fault::fault;
use crate::interrupt;
use crate::moves::{self, Copies};
use crate::recovery::{self, Recovery};
use crate::target::Target;
use crate::target::compose::Rider;
use crate::target::control::{self, Control, Edit, Patch};
use crate::target::procfs;
use crate::threads;
use crate::trace::halt::{Halt, Halter};
use crate::trace::stop::{DEFAULT_DEADLINE, PATIENCE, StopError, Stopper};
use crate::write::{Failed, GATE, Step, Steps};

/// The first attempts are plain stops: most processes need no more.
const FIRST_PURSUIT: u32 = 3;
/// How long calls are waited for that move bytes and would end early.
const WHOLE: Duration = Duration::from_secs(2);
/// How long threads that sleep inside the code are waited for in one go: their leaving is reported.
const VIGIL: Duration = Duration::from_secs(1);

/// What is done to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Apply,
    Revert,
    /// Ends what a killed command left half-way, one way or the other.
    Recover(Recovery),
    /// Nothing is written: a reverted bundle's code is only seen to be out of use.
    Drain,
}

impl Direction {
    /// Whether the new bytes are written, or the old ones.
    fn to_new(self) -> bool {
        match self {
            Direction::Apply => true,
            Direction::Revert | Direction::Drain => false,
            Direction::Recover(r) => r.to_new(),
        }
    }

    fn copies(self) -> bool {
        match self {
            Direction::Apply | Direction::Revert => true,
            Direction::Drain => false,
            Direction::Recover(r) => r.copies,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Until when attempts are repeated.
    pub timeout: Duration,
    /// How long one stop may take.
    pub deadline: Duration,
    /// Bytes of one thread's stack that are read at most.
    pub stack_limit: u64,
    /// Bytes of memory that are searched at most for suspended stacks, in programs with coroutines.
    pub memory_limit: u64,
    /// Whether to search for them at all.
    pub search_suspended: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            deadline: DEFAULT_DEADLINE,
            stack_limit: 256 << 20,
            memory_limit: 4 << 30,
            search_suspended: true,
        }
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Stops made, the last one successful.
    pub stops: u32,
    /// Attempts that a look without a stop put off.
    pub put_off: u32,
    /// Attempts in which threads were pursued and not all of them caught.
    pub missed: u32,
    /// How long the first of the threads that were caught one by one was held, up to its release; 0 when none was.
    pub held: Duration,
    pub threads: usize,
    pub stack_bytes: u64,
    pub stop: Duration,
    pub check: Duration,
    pub write: Duration,
    pub resume: Duration,
    /// First interrupt to last detach of the successful stop.
    pub pause: Duration,
    /// All stops together.
    pub paused_total: Duration,
    pub waited: Duration,
    /// Variables that were to go along began anew, because of an address in what gave way.
    pub anew: bool,
}

impl Outcome {
    pub fn attempts(&self) -> u32 {
        self.stops + self.put_off + self.missed
    }

    pub fn json(&self) -> serde_json::Value {
        let us = |d: Duration| d.as_nanos() as f64 / 1000.0;
        json!({
            "pause_us": us(self.pause), "paused_total_us": us(self.paused_total), "waited_ms": self.waited.as_millis() as u64,
            "attempts": self.attempts(), "stops": self.stops, "held_us": us(self.held), "threads": self.threads, "stack_bytes": self.stack_bytes,
            "phases": {
                "stop_us": us(self.stop), "check_us": us(self.check), "write_us": us(self.write), "resume_us": us(self.resume),
            },
        })
    }
}

struct Switch<'a> {
    target: &'a Target,
    patch: &'a Patch,
    direction: Direction,
    steps: Steps<'a>,
    moved: Copies,
    reset: Copies,
    /// See [`Outcome::anew`].
    anew: bool,
    forbidden: Forbidden,
    /// Whether anybody's place matters.
    checks: bool,
    unwinder: Option<Unwinder>,
    /// For programs with coroutines.
    deep: Option<Deep>,
    /// Which pages are the process's own, when a patch is applied.
    pagemap: Option<File>,
}

/// A thread at a detour has yet to enter the function; one at an edit is in its middle.
fn replaced(patch: &Patch, func: u32) -> bool {
    patch.funcs.get(func as usize).is_some_and(|f| f.0.replaced())
}

/// Inside a change of bytes nobody may stand, whatever the ranges say.
fn with_edits(patch: &Patch, ranges: &[Range]) -> Vec<Range> {
    let edits = patch.edits.iter().map(|e| Range { start: e.addr, end: e.end(), func: e.func, reserved: 0 });
    ranges.iter().copied().chain(edits).collect()
}

/// The code that must not be in use when the patch is applied.
pub fn old_code(patch: &Patch) -> Forbidden {
    let mut allowed: Vec<u64> = patch.funcs.iter().filter(|f| f.0.replaced()).map(|f| f.0.entry).collect();
    allowed.extend(patch.edits.iter().filter(|e| replaced(patch, e.func)).map(|e| e.addr));
    Forbidden::new(with_edits(patch, &patch.old_ranges), patch.old_sites.clone(), allowed)
}

/// The code that must not be in use when it is taken back.
pub fn new_code(patch: &Patch) -> Forbidden {
    // A thread that is about to execute the jump will execute the old bytes.
    let allowed = patch.edits.iter().filter(|e| replaced(patch, e.func)).map(|e| e.addr).collect();
    Forbidden::new(with_edits(patch, &patch.new_ranges), patch.new_sites.clone(), allowed)
}

/// The patch's changes, to the new bytes or to the old ones.
pub fn steps<'a>(patch: &'a Patch, to_new: bool) -> Steps<'a> {
    let step = |e: &'a Edit| {
        let (from, to) = if to_new { (&e.old, &e.new) } else { (&e.new, &e.old) };
        // Where values change places, no thread may find the one function changed and the other not, not even after a killed command.
        let gate = patch.detours.iter().find(|d| patch.closes && e.addr <= **d && **d + GATE <= e.end());
        Step { addr: e.addr, func: e.func, from, to, gate: gate.map(|d| (d - e.addr) as usize) }
    };
    Steps::new(patch.edits.iter().map(step).collect())
}

/// Switches `patch` and leaves its record in the state that belongs to it. On an error the target runs as before.
pub fn run(target: &Target, patch: &Patch, direction: Direction, options: Options) -> Result<Outcome> {
    let mut steps = steps(patch, direction.to_new());
    let forbidden = match direction {
        Direction::Apply => old_code(patch),
        Direction::Revert | Direction::Drain => new_code(patch),
        Direction::Recover(_) => recovery::forbidden(target, patch, &mut steps)?,
    };
    let moves = if direction.copies() { &patch.moves[..] } else { &[] };
    let (moved, reset): (Vec<_>, Vec<_>) = if direction.to_new() {
        moves.iter().copied().partition(|m| m.both_ways != 0)
    } else {
        (moves::back(moves).collect(), Vec::new())
    };
    let mut s = Switch {
        target,
        patch,
        direction,
        steps,
        moved: Copies::new(moved),
        reset: Copies::new(reset),
        anew: false,
        checks: !matches!(direction, Direction::Recover(_)) || !forbidden.is_empty(),
        forbidden,
        unwinder: None,
        deep: None,
        pagemap: None,
    };
    s.prefault().map_err(|e| s.unloaded().unwrap_or(e))?;
    if direction == Direction::Apply {
        s.pagemap = File::open(format!("/proc/{}/task/{}/pagemap", target.pid, target.live_tid)).ok();
        fault("prefaulted");
        s.unloaded().map_or(Ok(()), Err)?;
    }
    let judged = Judged::of(patch);
    // Without the search no stack is suspended, on the operator's word.
    if s.checks && options.search_suspended {
        let stacks = Stacks::of(target, &judged);
        if !matches!(stacks, Stacks::Threads) {
            let deep = Deep::new(target, stacks, options.memory_limit, loader_memory(target)?);
            s.deep = Some(deep.map_err(|e| Error::io("cannot open the page map of the process", &e))?);
        }
    }
    let mut halter = Halter::new(target, options.deadline, &judged)?;
    let outcome = s.attempts(&mut halter, options);
    halter.close(target);
    outcome
}

/// Where the loader keeps addresses in patches, and where its control thread worked with them.
fn loader_memory(target: &Target) -> Result<Vec<(u64, u64)>> {
    let control = Control::require(target)?;
    let top = control.stack_top(target)?;
    let records = control.records(target)?;
    // The first reserved word of a record is the length of its mapping.
    let mut own: Vec<_> = records.iter().map(|p| (p.addr, p.addr.saturating_add(p.record.reserved[0]))).collect();
    own.push((top.saturating_sub(hpatch_core::abi::STACK_SIZE), top));
    // The copies of payloads for debuggers: at fixed addresses the return sites in them are what they are in memory.
    let copies =
        records.iter().flat_map(|p| &p.units).map(|(u, _)| (u.symfile, u.symfile.saturating_add(u.symfile_len)));
    let pages = |(start, end): (u64, u64)| (start & !0xfff, end.next_multiple_of(0x1000));
    own.extend(copies.filter(|copy| copy.0 != 0).map(pages));
    // Its variables say where each patch's code ends, which is a return site when that is a call that never returns.
    let image = Image::at(&target.mem, control.base);
    own.extend(image.map(|i| i.extent()).map(|(start, end)| (start & !0xfff, end.next_multiple_of(0x1000))));
    Ok(own)
}

impl Switch<'_> {
    /// Private copies of all pages that will be written, made while the world runs.
    fn prefault(&self) -> Result<()> {
        let mut last = u64::MAX;
        for s in self.steps.all() {
            for addr in [s.addr, s.addr + s.to.len() as u64 - 1] {
                if addr >> 12 != last {
                    last = addr >> 12;
                    self.target.mem.prefault(addr).map_err(|e| {
                        Error::new(
                            code::WRITE_REFUSED,
                            Exit::Refused,
                            format!("cannot write the text at {addr:#x}: {e}"),
                        )
                        .help("the kernel may forbid writing through /proc/PID/mem (proc_mem.force_override)")
                    })?;
                }
            }
        }
        Ok(())
    }

    fn attempts(&mut self, halter: &mut Halter, options: Options) -> Result<Outcome> {
        let target = self.target;
        let tasks = target.tasks()?;
        let mut scanner = Scanner::new(tasks.len(), options.stack_limit);
        let has_query = Lookup::has_query(&target.maps_file);
        let begun = Instant::now();
        let mut blockers = Blockers::default();
        let mut out = Outcome::default();
        let mut pause = Backoff::new(target.pid);
        let mut traced_once = false;
        loop {
            if interrupt::came() {
                let e = Error::new(code::INTERRUPTED, Exit::Busy, "interrupted by a signal; nothing was changed");
                return Err(told(e, &blockers.latest(), &out));
            }
            let attempt = out.attempts();
            // Every other attempt stops even so: what the look saw may be a stale word, which only frame tables clear.
            let look = self.checks && attempt % 2 == 0;
            if begun.elapsed() < WHOLE.min(options.timeout / 2) && dry::transfers(target)? {
                pause.sleep(WHOLE);
                continue;
            }
            let mut hits =
                if look { dry::look(target, &target.tasks()?, &mut scanner, &self.forbidden) } else { Vec::new() };
            if let Some(deep) = self.deep.as_mut().filter(|_| look && hits.is_empty()) {
                // What is suspended now would most likely be found in the stop again, and searching takes its time.
                let sleepers = dry::sleepers(target, &target.tasks()?).into_iter();
                deep.check(&target.maps()?, sleepers, true, target.live_tid, &self.forbidden, &mut hits);
                hits.retain(|h| h.func != u32::MAX);
            }
            let mut reason = None;
            if hits.is_empty() {
                if self.direction == Direction::Apply {
                    // Counts from the moment before the stop; it isn't looked at before the record is live.
                    let _ = target.mem.write_u64(self.patch.live_since_addr(), boot_time());
                }
                let pursued = if look || attempt < FIRST_PURSUIT { Vec::new() } else { blockers.threads() };
                let most = options.timeout.saturating_sub(begun.elapsed()).min(VIGIL);
                let stopped = match &mut *halter {
                    _ if let Some(pid) = sharer(target) => Err(StopError::Shared { pid }),
                    Halter::Tracer(stopper) if !pursued.is_empty() => {
                        self.catch(stopper, &mut scanner, &pursued, most, has_query, &mut hits)
                    }
                    halter => halter.stop(target).map(Some),
                };
                match stopped {
                    Ok(Some(stopped)) => {
                        out.stops += 1;
                        if self.stopped(stopped, &mut scanner, has_query, &mut out)? {
                            out.waited = begun.elapsed();
                            return Ok(out);
                        }
                        blockers.add(target, self.patch, false, &scanner.hits);
                        self.unwinder();
                    }
                    Ok(None) => {
                        out.missed += 1;
                        blockers.add(target, self.patch, false, &hits);
                    }
                    Err(StopError::Traced(by)) if !traced_once => {
                        out.stops += 1;
                        traced_once = true;
                        reason = Some(traced(target.pid, by));
                        std::thread::sleep(Duration::from_secs(1).min(options.timeout));
                    }
                    Err(e) => {
                        out.stops += 1;
                        reason = Some(stop_error(target, e)?);
                    }
                }
            } else {
                let undisturbed = out.stops + out.missed == 0;
                out.put_off += 1;
                blockers.add(target, self.patch, undisturbed, &hits);
                self.unwinder();
            }
            if begun.elapsed() >= options.timeout {
                let waited = begun.elapsed();
                return Err(reason.unwrap_or_else(|| {
                    blockers.find_lines(target);
                    self.timed_out(&blockers, &out, waited)
                }));
            }
            pause.sleep(options.timeout.saturating_sub(begun.elapsed()));
        }
    }

    /// A stop that catches the threads `wanted` outside the code first. `None` when that failed; `seen` then says where they were.
    fn catch<'s>(
        &mut self,
        stopper: &'s mut Stopper,
        scanner: &mut Scanner,
        wanted: &[i32],
        most: Duration,
        has_query: bool,
        seen: &mut Vec<Hit>,
    ) -> std::result::Result<Option<Halt<'s>>, StopError>
    where
        Self: 's,
    {
        let target = self.target;
        let unwinder = self.unwinder.get_or_insert_with(|| Unwinder::load(target));
        let listed = if has_query { None } else { target.maps().ok() };
        let lookup = Lookup { maps_file: &target.maps_file, listed: listed.as_deref() };
        let mut watch = Inside::new(target, scanner, lookup, &self.forbidden, unwinder);
        let caught = stopper.catch(target, wanted, most, |t| watch.is_inside(t))?;
        if caught.is_none() {
            *seen = watch.into_seen();
        } else {
            fault("caught");
        }
        Ok(caught.map(Halt::Traced))
    }

    /// The time while every thread is stopped. True when the switch is done.
    fn stopped(
        &mut self,
        mut stopped: Halt<'_>,
        scanner: &mut Scanner,
        has_query: bool,
        out: &mut Outcome,
    ) -> Result<bool> {
        fault("stopped");
        let t0 = Instant::now();
        let listed = if has_query { None } else { self.target.maps().ok() };
        let lookup = Lookup { maps_file: &self.target.maps_file, listed: listed.as_deref() };
        let reader = stopped.any_tid(self.target);
        let mut clear = true;
        if self.checks {
            scanner.check(stopped.threads().map(View::of), reader, &lookup, &self.forbidden);
            self.clear(scanner, &stopped, reader)?;
            if self.direction == Direction::Apply && !self.patch.threads.is_empty() {
                scanner.hits.extend(threads::unreachable(stopped.threads()));
            }
            clear = scanner.hits.is_empty();
        }
        // After a killed command each place holds the one or the other.
        let torn = matches!(self.direction, Direction::Recover(_));
        let mut written = match clear {
            true => self.all_there().and_then(|()| self.steps.compare(&self.target.mem, reader, torn)),
            false => Ok(()),
        };
        let t1 = Instant::now();
        if clear && written.is_ok() {
            written = self.write(reader, &stopped);
        }
        let t2 = Instant::now();
        let threads = stopped.threads().count();
        out.held = stopped.held();
        let timing = stopped.release();
        drop(stopped);
        out.paused_total += timing.pause;
        out.stop = timing.stop;
        out.check = t1 - t0;
        out.write = t2 - t1;
        out.resume = timing.resume;
        out.pause = timing.pause;
        out.threads = threads;
        out.anew = self.anew;
        out.stack_bytes = scanner.bytes;
        written.map_err(|e| self.failed(e))?;
        Ok(clear)
    }

    /// Since the pages that will be written became the process's own, no module was mapped anew: another one at the same place may begin with the
    /// same bytes where this one's functions do.
    fn all_there(&self) -> std::result::Result<(), Failed> {
        let Some(pagemap) = &self.pagemap else { return Ok(()) };
        let steps = |(u, _): &(Unit, String)| self.steps.all().iter().find(|s| (u.lo..u.hi).contains(&s.addr));
        let mut first = self.patch.units.iter().filter_map(steps);
        match first.find(|s| control::is_file_page(pagemap, s.addr)) {
            Some(s) => Err(Failed::Io(s.addr, io::Error::other("the module was loaded anew"))),
            None => Ok(()),
        }
    }

    /// The refusal where a module that a patch is prepared for isn't there any more.
    fn unloaded(&self) -> Option<Error> {
        if self.direction != Direction::Apply || !self.target.is_alive() {
            return None;
        }
        let gone = self.patch.units.iter().find(|(u, _)| !control::is_mapped(self.target, u));
        let name = match gone {
            Some((_, name)) => name,
            None if self.patch.units.is_empty() => "the module",
            None => return None,
        };
        let e = Error::new(code::WRONG_BUILD_ID, Exit::Refused, format!("{name} was unloaded meanwhile"));
        Some(e.help("apply it again when the module is there"))
    }

    /// Frame tables, read when they are first wanted: not while threads are stopped.
    fn unwinder(&mut self) -> &Unwinder {
        let target = self.target;
        self.unwinder.get_or_insert_with(|| Unwinder::load(target))
    }

    /// Adds stacks that no thread is on to the scan's findings, and takes false alarms away.
    fn clear(&mut self, scanner: &mut Scanner, stopped: &Halt<'_>, reader: i32) -> Result<()> {
        let hits = &mut scanner.hits;
        if let Some(deep) = &mut self.deep {
            // The process may have mapped memory since.
            let list = self.target.maps()?;
            if !deep.check(&list, stopped.threads().map(View::of), false, reader, &self.forbidden, hits) {
                return Ok(());
            }
        }
        if let Some(u) = self.unwinder.as_ref().filter(|_| !hits.is_empty()) {
            u.clear(hits, stopped.threads(), &self.target.mem);
        }
        Ok(())
    }

    fn states(&self) -> (RecordState, RecordState, RecordState) {
        match self.direction {
            Direction::Apply => (RecordState::Prepared, RecordState::Writing, RecordState::Live),
            Direction::Revert => (RecordState::Live, RecordState::Reverting, RecordState::Reverted),
            Direction::Recover(r) if r.to_new() => (r.was, r.was, RecordState::Live),
            Direction::Recover(r) => (r.was, r.was, RecordState::Reverted),
            Direction::Drain => (RecordState::Reverted, RecordState::Reverted, RecordState::Reverted),
        }
    }

    fn set_state(&self, addr: u64, state: RecordState) -> std::result::Result<(), Failed> {
        self.target.mem.write_u32(addr, state as u32).map_err(|e| Failed::Io(addr, e))
    }

    /// First of all the patch's own record says that it is half-way...
    fn begin(&self) -> std::result::Result<(), Failed> {
        self.set_state(self.patch.state_addr(), self.states().1)?;
        self.patch.riders.iter().try_for_each(|r| self.set_state(r.state_addr, r.during))
    }

    /// ...and last of all that it isn't any more: a recovery in between finds it and knows the others by it.
    fn end(&self, done: bool) -> std::result::Result<(), Failed> {
        let (before, _, after) = self.states();
        let others = match self.direction {
            Direction::Recover(r) => r.onward,
            _ => done,
        };
        let state = |r: &Rider| if others { r.after } else { r.before };
        self.patch.riders.iter().try_for_each(|r| self.set_state(r.state_addr, state(r)))?;
        self.set_state(self.patch.state_addr(), if done { after } else { before })
    }

    /// Writes and reads back, after [`Steps::compare`]. On a failure what was written is taken back at once, and the state with it.
    fn write(&mut self, tid: i32, stopped: &Halt<'_>) -> std::result::Result<(), Failed> {
        let mem = &self.target.mem;
        if self.direction == Direction::Apply {
            threads::begin(mem, &self.patch.threads, stopped.threads())?;
        }
        // What is half-way is known as such, until it isn't any more.
        let recovers = matches!(self.direction, Direction::Recover(_));
        if !recovers {
            self.begin()?;
        }
        fault("writing");
        let written = self.change(tid, recovers);
        if written.is_err() {
            let mem = &self.target.mem;
            let restored = [self.reset.take_back(mem), self.steps.take_back(mem), self.moved.take_back(mem)];
            // Else the record goes on saying that it is half-way.
            restored.into_iter().collect::<std::result::Result<(), Failed>>()?;
            if !recovers {
                self.end(false)?;
            }
            return written;
        }
        fault("written");
        self.end(true)
    }

    /// Values are copied while the functions that use them are closed. The order is what [`recovery`] goes by.
    fn change(&mut self, tid: i32, recovers: bool) -> std::result::Result<(), Failed> {
        let mem = &self.target.mem;
        let gates = self.steps.has_gates();
        if gates && !recovers {
            self.steps.close(mem)?;
            fault("closed");
        }
        // Where they were left, and taken up again: nobody has come to any of them meanwhile.
        self.anew = self.moved.leave_out(mem, &self.patch.former)?;
        self.moved.run(mem)?;
        if !self.moved.is_empty() {
            fault("moved");
        }
        // Without gates a value that is set comes last: what it overwrites can't be had again.
        if !gates {
            self.steps.write(mem, tid)?;
        }
        self.reset.run(mem)?;
        if !self.reset.is_empty() {
            fault("set");
        }
        if gates { self.steps.write(mem, tid) } else { Ok(()) }
    }

    fn failed(&self, e: Failed) -> Error {
        if !self.target.is_alive() {
            return self.target.vanished();
        }
        if let (Some(unloaded), false) = (self.unloaded(), matches!(e, Failed::Left(..))) {
            return unloaded;
        }
        match e {
            Failed::Differs { addr, found } => {
                let want = self.steps.all().iter().find(|s| s.addr == addr).map_or(&[][..], |s| s.from);
                Error::new(
                    code::BYTES_CHANGED,
                    Exit::RolledBack,
                    format!("the bytes at {addr:#x} aren't what was there when the patch was prepared"),
                )
                .note(format!("expected {}, found {}", hex(want), hex(&found)))
                .note("every change of this switch was taken back while the threads were stopped")
                .help("another tool (a debugger, a tracer, a profiler's probe) may have written there")
            }
            Failed::Io(addr, e) => Error::new(
                code::READ_BACK_DIFFERS,
                Exit::RolledBack,
                format!("cannot read or write the text at {addr:#x}: {e}"),
            )
            .note("every change of this switch was taken back while the threads were stopped"),
            Failed::Left(addr, e) => Error::new(
                code::UNFINISHED,
                Exit::HalfWay,
                format!("a write failed, and taking back what was written before at {addr:#x} did as well: {e}"),
            )
            .help(format!("`hpatch recover --pid {}`, or restart the process", self.target.pid)),
        }
    }

    fn timed_out(&self, blockers: &Blockers, out: &Outcome, waited: Duration) -> Error {
        let (code, exit, whose, left) = match self.direction {
            Direction::Revert | Direction::Drain => {
                (code::NEW_CODE_ACTIVE, Exit::Busy, "the patch's code", "nothing was changed")
            }
            Direction::Apply => (code::FUNCTION_ACTIVE, Exit::Busy, "the code to be replaced", "nothing was changed"),
            Direction::Recover(_) => (
                code::UNFINISHED,
                Exit::HalfWay,
                "code that was edited half-way, or reads what was",
                "`hpatch recover` once more",
            ),
        };
        let what = format!("{whose} stayed in use for {:.1} s; {left}", waited.as_secs_f64());
        let latest = blockers.latest();
        let mut e = told(Error::new(code, exit, what), &latest, out);
        if latest.iter().all(|b| matches!(b.hit.how, Use::Suspended { .. })) && !latest.is_empty() {
            return e.note("such a word may also be left over from a coroutine that has ended: memory can't tell").help(
                "resume the coroutine, or say --ignore-suspended: then a suspended one goes on in the old function, whose code stays",
            );
        }
        if self.deep.is_some() {
            e = e.note(
                "the program or a library of it can switch stacks (libcrypto can), so a left-over word isn't told from a suspended frame: where \
                 nothing is suspended, --ignore-suspended lets the frame tables tell",
            );
        }
        e.help("try again when the thread has left the function, or give it more time with --timeout")
    }
}

/// Who stood in the way, and how often it was tried.
fn told(mut e: Error, latest: &[&Blocker], out: &Outcome) -> Error {
    for b in latest.iter().take(8) {
        e = e.note(b.describe());
    }
    if latest.len() > 8 {
        e = e.note(format!("and {} more", latest.len() - 8));
    }
    e.json.insert("blockers".into(), latest.iter().map(|b| b.json()).collect());
    e.json.insert("attempts".into(), out.attempts().into());
    e.json.insert("paused_total_us".into(), json!(out.paused_total.as_nanos() as f64 / 1000.0));
    e
}

fn hex(b: &[u8]) -> String {
    b.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

/// A process that runs in the target's memory without being a thread of it, for longer than the child of a `vfork` needs to become another
/// program. While threads wait for such a child, the stop waits as well, or says so.
fn sharer(target: &Target) -> Option<i32> {
    let pid = procfs::sharer(target.pid, target.live_tid)?;
    std::thread::sleep(PATIENCE);
    procfs::share_memory(target.live_tid, pid).then_some(pid)
}

/// Turns a failed stop into the reason given when time is up, or into a final refusal.
fn stop_error(target: &Target, e: StopError) -> Result<Error> {
    let busy = |code, title: String| Ok(Error::new(code, Exit::Busy, title));
    match e {
        StopError::Traced(by) => Err(traced(target.pid, by)),
        StopError::Permission => Err(crate::target::no_permission(target.pid)),
        StopError::Vanished => Err(target.vanished()),
        StopError::Os(what, e) => Err(Error::new(code::THREAD_NOT_STOPPED, Exit::Busy, format!("cannot {what}: {e}"))),
        StopError::Stuck { tid, state } => busy(
            code::THREAD_NOT_STOPPED,
            format!("thread {tid} ({}) in state {} didn't stop in time", target.comm_of(tid), char::from(state)),
        ),
        StopError::Vfork { tid } => busy(
            code::THREAD_NOT_STOPPED,
            format!("thread {tid} ({}) waits for a vfork child that runs in the same memory", target.comm_of(tid)),
        ),
        StopError::Shared { pid } => {
            busy(code::THREAD_NOT_STOPPED, format!("process {pid} runs in the memory of process {}", target.pid))
        }
        StopError::Deaf { tid } => {
            busy(code::NO_RENDEZVOUS, format!("thread {tid} ({}) can't be stopped by a signal", target.comm_of(tid)))
        }
        StopError::Storm => busy(code::TOO_MANY_THREADS, "threads are born faster than they can be stopped".to_owned()),
    }
}

/// CLOCK_BOOTTIME in nanoseconds.
pub fn boot_time() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid place for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Waiting times that grow from 1 to 40 ms, each somewhere between half and all of it: a thread that spends nine tenths of its time in
/// the code is met outside it within seconds, and stops of a fraction of a millisecond cost less than a hundredth of its time.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    random: u64,
}

impl Backoff {
    fn new(seed: i32) -> Self {
        Self { next: Duration::from_millis(1), random: boot_time() ^ (seed as u64) << 32 | 1 }
    }

    fn sleep(&mut self, most: Duration) {
        // xorshift64 (Marsaglia 2003).
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let half = self.next / 2;
        let jitter = half.mul_f64((self.random >> 11) as f64 / (1u64 << 53) as f64);
        std::thread::sleep((half + jitter).min(most));
        self.next = (self.next * 2).min(Duration::from_millis(40));
    }
}
