//! Forks of a process that carry the same journal: a child that is born between the death of a command and the recovery inherits the half-way
//! code, and with it the record that says so. Recovering the parent doesn't help it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use hpatch_core::abi::{MAGIC, RecordState};

use super::session::{Recovered, Session};
use crate::error::{Error, Result};
use crate::shown;
use crate::switch::Options;
use crate::target::Target;
use crate::target::control::{Control, Owner, Patch};

/// Nobody forks faster than that for long.
const MAX_ROUNDS: usize = 20;

/// What became of one fork.
#[derive(Debug)]
pub struct Fork {
    pub pid: i32,
    pub outcome: Result<Vec<Recovered>>,
}

/// Whether a record is in the middle of a change.
pub fn half_way(p: &Patch) -> bool {
    p.is(RecordState::Writing) || p.is(RecordState::Reverting)
}

/// Whether it is, and nobody is making that change.
pub fn unfinished(p: &Patch, owner: Owner) -> bool {
    half_way(p) && !owner.is_at_work()
}

/// Whether anything in the process is half-way, as far as that can be seen.
pub fn is_half_way(pid: i32) -> bool {
    let look = || -> Result<bool> {
        let target = Target::open(pid)?;
        let Some(control) = Control::find(&target)? else { return Ok(false) };
        Ok(control.records(&target)?.iter().any(half_way))
    };
    look().unwrap_or(false)
}

/// Processes with the same loader at the same address, of the same program, in which something is half-way that nobody works on. Where addresses
/// are random these are forks of `target`, or what it was forked from; where they aren't, other runs of the program look the same.
pub fn half_way_forks(target: &Target, control: &Control) -> Vec<i32> {
    let program = |pid: i32| fs::metadata(format!("/proc/{pid}/exe")).ok().map(|m| (m.dev(), m.ino()));
    let Some(own) = program(target.pid) else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let mut found: Vec<i32> = pids
        .filter(|&pid| pid != target.pid && program(pid) == Some(own) && carries(pid, control).unwrap_or(false))
        .collect();
    found.sort_unstable();
    found
}

fn carries(pid: i32, control: &Control) -> Result<bool> {
    let fork = Target::open(pid)?;
    if fork.mem.read_u64(control.addr).ok() != Some(MAGIC) {
        return Ok(false);
    }
    let Some(found) = Control::find(&fork)?.filter(|c| c.addr == control.addr) else { return Ok(false) };
    let owner = found.owner(&fork)?;
    Ok(found.records(&fork)?.iter().any(|p| unfinished(p, owner)))
}

/// Recovers the forks of a process that is recovered itself, so that it bears no more of them. They are listed again until nobody new appears.
pub fn recover(session: &Session, options: Options) -> Vec<Fork> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let listed = half_way_forks(&session.target, &session.control);
        let fresh: Vec<i32> = listed.into_iter().filter(|pid| seen.insert(*pid)).collect();
        if fresh.is_empty() {
            break;
        }
        all.extend(fresh.into_iter().filter_map(|pid| one(pid, options)));
    }
    all
}

/// `None` where it has ended, or somebody else has recovered it meanwhile.
fn one(pid: i32, options: Options) -> Option<Fork> {
    let outcome = Session::open_unrecovered(pid).and_then(|s| s.recover(options));
    match &outcome {
        Ok(done) if done.is_empty() => None,
        Err(_) if !is_half_way(pid) => None,
        _ => Some(Fork { pid, outcome }),
    }
}

/// Says on standard error what became of forks, for a command that is about something else.
pub fn tell(all: &[Fork]) {
    for f in all {
        match &f.outcome {
            Ok(done) => {
                shown::say(&format!("note: {} was left half-way, too: {}\n", f.name(), super::session::describe(done)))
            }
            Err(e) => shown::say(&format!("note: {}\n", f.left(e))),
        }
    }
}

impl Fork {
    fn name(&self) -> String {
        format!("process {}, a fork", self.pid)
    }

    /// What is to be said of one that couldn't be recovered.
    pub fn left(&self, e: &Error) -> String {
        format!("{}, is still half-way ({e}): `hpatch recover --pid {}`", self.name(), self.pid)
    }
}
