//! What becomes of a switch that a killed command left half-way: it is taken back, or brought to its end.
//!
//! A patch that copies values (variables that move, or are set) first closes every function that it replaces, with a jump to itself. Then it
//! copies, and then it opens them again by writing what belongs there. At no moment can both the old and the new code be entered, so however
//! far a killed command came, one of the two places of each value is the one that counts:
//!
//! | what stands there | threads have used | so |
//! |---|---|---|
//! | one function isn't closed | the former code | it goes back: nothing that was copied counts |
//! | all are closed | neither | it goes on: everything is copied (again), and they are opened |
//! | one is open again | the latter code | it goes on: everything was copied, the rest is opened |
//!
//! That is the same for a revert, with the new code as the former. Nobody's place has to be looked at: when the functions were closed nobody was
//! in them, and where not all were closed nothing is changed that anybody could have seen.
//!
//! A patch that copies nothing goes back to the old code, because that is whole. Threads may be on both sides. Only functions that are edited in
//! place must not be in use, because who is in the middle of one would go on with other operands than it began with, and idle ones where a constant
//! goes back. Where all of the code is
//! written and a value is still to be set (no function has a gate) that is done.

use hpatch_core::abi::{Range, RecordState};

use crate::check::forbidden::Forbidden;
use crate::error::{Error, Exit, Result, code};
use crate::switch;
use crate::target::Target;
use crate::target::control::Patch;
use crate::write::{Failed, Stands, Step, Steps};

/// What is to be done with one half-way record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// `Writing` or `Reverting`.
    pub was: RecordState,
    /// It is brought to the end that it was meant for.
    pub onward: bool,
    /// Values are copied.
    pub copies: bool,
}

impl Recovery {
    /// Whether the patch is live then.
    pub fn to_new(self) -> bool {
        self.onward == (self.was == RecordState::Writing)
    }
}

/// Looks how far the killed command came. Nobody changes code meanwhile: the caller has the process's lock.
pub fn decide(target: &Target, patch: &Patch) -> Result<Recovery> {
    let was = if patch.is(RecordState::Writing) { RecordState::Writing } else { RecordState::Reverting };
    let mut steps = switch::steps(patch, was == RecordState::Writing);
    let unknown = |e| unknown(target, &e);
    steps.read(&target.mem, target.live_tid).map_err(unknown)?;
    let stands = steps.stand().map_err(unknown)?;
    let (onward, copies) = if stands.is_empty() {
        without_gates(was, !patch.moves.is_empty(), &steps)
    } else {
        let (open, reopened) = (stands.contains(&Stands::Open), stands.contains(&Stands::Reopened));
        if open && reopened {
            let e = Error::new(code::BYTES_CHANGED, Exit::Refused, format!("{} can't be recovered", patch.id));
            return Err(e.note("some of its functions were opened again before others were closed"));
        }
        (!open, !open && !reopened)
    };
    Ok(Recovery { was, onward, copies })
}

/// Whether it goes on, and whether values are copied.
fn without_gates(was: RecordState, copies: bool, steps: &Steps<'_>) -> (bool, bool) {
    let untouched = steps.found().all(|(s, found)| found == s.from);
    let done = steps.found().all(|(s, found)| found == s.to);
    match was {
        // Without any function, values may have been set: what they were can't be had again.
        RecordState::Writing => (copies && done, copies && done),
        _ => (!untouched, false),
    }
}

/// Whose code must not be in use: functions that are edited in place and hold anything but what they are to hold, idle ones where that goes
/// for data, and code in whose place a detour is to be.
pub fn forbidden(target: &Target, patch: &Patch, steps: &mut Steps<'_>) -> Result<Forbidden> {
    steps.read(&target.mem, target.live_tid).map_err(|e| unknown(target, &e))?;
    let edited = |s: &Step<'_>| patch.funcs.get(s.func as usize).is_some_and(|f| !f.0.replaced());
    let data = steps.found().any(|(s, found)| patch.funcs.get(s.func as usize).is_none() && found != s.to);
    let idle = |r: &Range| data && patch.funcs.get(r.func as usize).is_some_and(|f| f.0.idle());
    let mut pending: Vec<Range> = Vec::new();
    let mut covered: Vec<Range> = Vec::new();
    for (s, found) in steps.found().filter(|(s, found)| s.is_code() && *found != s.to) {
        let own = Range { start: s.addr, end: s.end(), func: s.func, reserved: 0 };
        if edited(s) {
            pending.push(own);
        } else if !Step::leads_away(found) {
            covered.push(own);
        }
    }
    let holds = |r: &&Range| idle(r) || pending.iter().any(|p| r.start < p.end && p.start < r.end);
    let mut ranges: Vec<Range> = patch.old_ranges.iter().chain(&patch.new_ranges).filter(holds).copied().collect();
    let returns = |site: &&u64| {
        ranges.iter().any(|r| r.start < **site && **site <= r.end)
            // Behind a detour everything stays as it is, and nothing leads back from there.
            || covered.iter().any(|r| r.start < **site && **site < r.end)
    };
    let sites = patch.old_sites.iter().chain(&patch.new_sites).filter(returns).copied().collect();
    ranges.extend(pending);
    ranges.extend(covered);
    Ok(Forbidden::new(ranges, sites, patch.detours.clone()))
}

fn unknown(target: &Target, e: &Failed) -> Error {
    if !target.is_alive() {
        return target.vanished();
    }
    match e {
        Failed::Differs { addr, .. } => Error::new(
            code::BYTES_CHANGED,
            Exit::Refused,
            format!("the bytes at {addr:#x} are none that a killed command can have left"),
        )
        .help("another tool (a debugger, a tracer, a profiler's probe) may have written there"),
        Failed::Io(addr, e) | Failed::Left(addr, e) => {
            Error::new(code::READ_BACK_DIFFERS, Exit::Refused, format!("cannot read the text at {addr:#x}: {e}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::compose::{in_place_of, tests::patch};
    use crate::target::control::Edit;
    use hpatch_core::abi::Func;
    use patchfmt::payload::FUNC_IDLE;
    use zerocopy::FromZeros;

    /// One bundle had replaced a function and overwritten a constant, and was to give way to another one that knows of neither.
    #[test]
    fn where_a_detour_or_a_constant_comes_back_nobody_is() {
        // `push %rbx; call *(%rax); ...; ret`, and what a detour leaves of it.
        let code = [0x53, 0xff, 0x10, 0x90, 0x90, 0x5b, 0xc3, 0xcc];
        let detour = [0xe9, 1, 2, 3, 4];
        let memory: &'static mut [u8] = Box::leak(code.to_vec().into_boxed_slice());
        let at = memory.as_ptr() as u64;
        let data: &'static mut [u8] = Box::leak(b"old".to_vec().into_boxed_slice());
        let reader = 0x5000;
        let range = |start, end, func| Range { start, end, func, reserved: 0 };
        let func =
            |entry, replacement, flags| (Func { entry, replacement, flags, ..Func::new_zeroed() }, String::new());
        let going = Patch {
            edits: vec![
                Edit { addr: at, func: 0, old: code[..5].to_vec(), new: detour.to_vec() },
                Edit { addr: data.as_ptr() as u64, func: u32::MAX, old: b"old".to_vec(), new: b"new".to_vec() },
            ],
            funcs: vec![func(at, 0x9000, 0), func(reader, reader, FUNC_IDLE)],
            old_ranges: vec![range(at, at + 8, 0), range(reader, reader + 16, 1)],
            old_sites: vec![at + 3, at + 5, at + 7, reader + 8],
            detours: vec![at],
            ..patch(0x2000, &[])
        };
        let other = Patch { funcs: vec![func(0x7000, 0x9900, 0)], ..patch(0x3000, &[]) };
        let all = in_place_of(other, &[going], RecordState::Reverted);
        let target = Target::open(std::process::id() as i32).expect("own process");

        // Everything was written: all of it is to be taken back.
        let back = forbidden(&target, &all, &mut switch::steps(&all, false)).expect("readable");
        let inside: Vec<u64> = (at..at + 8).filter(|pc| back.executing(*pc).is_some()).map(|pc| pc - at).collect();
        assert_eq!(inside, [1, 2, 3, 4]);
        let returns: Vec<u64> = (at..at + 8).filter(|site| back.sites.contains(*site)).map(|site| site - at).collect();
        assert_eq!(returns, [3]);
        assert_eq!(back.executing(reader).map(|r| r.func), Some(2));
        assert!(back.sites.contains(reader + 8));

        // Nothing was: no byte changes. And where a detour stands nobody is behind its first byte.
        assert!(forbidden(&target, &all, &mut switch::steps(&all, true)).is_ok_and(|f| f.is_empty()));
        memory[..5].copy_from_slice(&detour);
        data.copy_from_slice(b"new");
        let onward = forbidden(&target, &all, &mut switch::steps(&all, true)).expect("readable");
        assert!(onward.executing(at + 1).is_none() && onward.executing(reader).is_some());
    }
}
