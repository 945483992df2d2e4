//! The ways to a process, in order: from outside; from inside, by a program that the loader starts as a child of it; by signals; else the refusal.
//! Another is tried only when ptrace(2) is refused, which is seen before anything is touched.

use super::args::Verb;
use super::{Report, inside};
use crate::error::{Result, code};
use crate::fault;
use crate::target::Target;
use crate::target::control::Control;
use crate::trace::door::{self, Door};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Outside,
    Inside,
    Signals,
}

/// Does `work` for `verb` on process `pid`.
pub fn run(pid: i32, verb: &Verb, work: impl Fn() -> Result<Report>) -> Result<Report> {
    if let Some(way) = fault::way() {
        return by(way, pid, verb, &work);
    }
    let refused = match by(Way::Outside, pid, verb, &work) {
        Err(e) if e.code == code::PTRACE_DENIED => e,
        other => return other,
    };
    if !has_door(pid) {
        return Err(refused.note("no other way in: the process wasn't started with `hpatch run --signal N`"));
    }
    match by(Way::Inside, pid, verb, &work) {
        Err(e) if e.code == code::PTRACE_DENIED || e.code == code::NO_HELPER => {}
        other => return other,
    }
    by(Way::Signals, pid, verb, &work)
}

/// One of them only.
pub fn by(way: Way, pid: i32, verb: &Verb, work: &impl Fn() -> Result<Report>) -> Result<Report> {
    door::go_by_signals(way != Way::Outside);
    match way {
        Way::Outside | Way::Signals => work(),
        Way::Inside => inside::run(pid, verb),
    }
}

fn has_door(pid: i32) -> bool {
    let door = || -> Result<bool> {
        let target = Target::open(pid)?;
        Ok(Door::of(&target, &Control::require(&target)?)?.is_some())
    };
    door().unwrap_or(false)
}
