//! `hpatch revert`.

use hpatch_core::abi::{Op, RecordState};
use serde_json::{Value, json};

use super::Report;
use super::apply::s;
use super::args::Switching;
use super::session::Session;
use crate::error::{Error, Exit, Result, code};
use crate::switch::{self, Direction};
use crate::target::compose;
use crate::target::control::{Patch, state_name};
use crate::trace::rpc::{self, RpcOptions};

pub fn run(pid: i32, id: &str, unmap: bool, switching: &Switching) -> Result<Report> {
    let session = Session::open(pid, switching)?;
    session.unless_it_left(revert(&session, id, unmap, switching))
}

fn revert(session: &Session, id: &str, unmap: bool, switching: &Switching) -> Result<Report> {
    let pid = session.target.pid;
    let records = session.records()?;
    // A bundle that was applied once more to copies of its modules that appeared later has a record for each time.
    let of_id = |state| move |p: &&Patch| p.id == id && p.is(state);
    let live: Vec<Patch> = records.iter().filter(of_id(RecordState::Live)).cloned().collect();
    if unmap && live.is_empty() && records.iter().any(|p| of_id(RecordState::Reverted)(&p)) {
        return unmap_reverted(session, id, &records, switching);
    }
    let Some(patch) = compose::together(live.clone()) else {
        let mut e = Error::new(code::NOT_APPLIED, Exit::Refused, format!("no live bundle {id} in process {pid}"));
        for p in &records {
            e = e.note(format!("{} is {}", p.id, state_name(p.record.state)));
        }
        return Err(e);
    };
    stays(&live)?;
    if let Some(later) = on_top(&records, &live) {
        return Err(Error::new(code::NOT_ON_TOP, Exit::Refused, format!("{} lies on top of {id}", later.id))
            .note("both change the same place, so the earlier bytes can't come back without the later ones")
            .help(format!("revert {} first", later.id)));
    }
    let patch = compose::with_replacements(patch, &records);
    let outcome = switch::run(&session.target, &patch, Direction::Revert, switching.options())?;
    let mut notes = Vec::new();
    for p in live.iter().filter(|_| unmap) {
        notes.extend(release(session, p, switching)?);
    }
    let mut json = outcome.json();
    if let Value::Object(m) = &mut json {
        m.insert("pid".into(), json!(pid));
        m.insert("id".into(), json!(id));
        m.insert("writes".into(), json!(patch.edits.len()));
        m.insert("unmapped".into(), json!(unmap && notes.is_empty()));
        m.insert("notes".into(), json!(notes));
        m.extend(session.half_way_json());
    }
    let mut text = format!(
        "reverted {id} in process {pid}: {} function{} as before, proven\n  pause {:.3} ms with {} thread{} stopped\n",
        patch.changed(),
        s(patch.changed()),
        outcome.pause.as_secs_f64() * 1e3,
        outcome.threads,
        s(outcome.threads),
    );
    text.extend(notes.iter().map(|n| format!("  note: {n}\n")));
    Ok(Report::new(text, json))
}

/// A bundle that went in at the start stays: what is alive by now is laid out as its types are, and initial values are its own.
pub fn stays(going: &[Patch]) -> Result<()> {
    let Some(patch) = going.iter().find(|p| p.record.scope != 0) else { return Ok(()) };
    Err(Error::new(code::SCOPE_START, Exit::Refused, format!("{} was applied before `main` and can't go", patch.id))
        .note("objects that are alive now are laid out in the new way")
        .help("take it out of HPATCH_STORE and restart the program"))
}

/// A live record that came after one of `going`, stays, and changes the same bytes.
pub fn on_top<'a>(records: &'a [Patch], going: &[Patch]) -> Option<&'a Patch> {
    let goes = |p: &Patch| going.iter().any(|g| g.addr == p.addr);
    let first = |g: &Patch| records.iter().position(|p| p.addr == g.addr).unwrap_or(records.len());
    going.iter().find_map(|g| {
        let mut later = records.iter().skip(first(g) + 1).filter(|l| l.is(RecordState::Live) && !goes(l));
        later.find(|l| l.overlaps(g))
    })
}

/// What an earlier revert left mapped.
fn unmap_reverted(session: &Session, id: &str, records: &[Patch], switching: &Switching) -> Result<Report> {
    let retired: Vec<Patch> = records.iter().filter(|p| p.id == id && p.is(RecordState::Reverted)).cloned().collect();
    let mut all = compose::together(retired.clone()).ok_or_else(|| Error::internal("no record to unmap"))?;
    (all.edits, all.riders) = (Vec::new(), Vec::new());
    let outcome = switch::run(&session.target, &all, Direction::Drain, switching.options())?;
    for p in &retired {
        if let Some(note) = release(session, p, switching)? {
            return Err(Error::new(code::LOADER_BUSY, Exit::Busy, note));
        }
    }
    let pid = session.target.pid;
    let mut json = outcome.json();
    if let Value::Object(m) = &mut json {
        m.extend([("pid".into(), json!(pid)), ("id".into(), json!(id)), ("unmapped".into(), json!(true))]);
    }
    Ok(Report::new(format!("unmapped what was left of {id} in process {pid}\n"), json))
}

/// Gives the memory of a reverted record back. A note when the loader hasn't said that it did.
pub fn release(session: &Session, patch: &Patch, switching: &Switching) -> Result<Option<String>> {
    let options = RpcOptions { allow_seccomp: switching.allow_seccomp };
    match rpc::call(&session.target, &session.control, Op::Release, &[patch.addr], options) {
        Ok(_) => Ok(None),
        Err(_) if !session.target.is_alive() => Err(session.target.vanished()),
        Err(e) if rpc::late(&e) && e.exit == Exit::Busy => {
            Ok(Some(format!("the memory of {} isn't given back yet ({}: {})", patch.id, e.code, e.title)))
        }
        Err(e) => Err(e.note("the old bytes are back, proven; the patch's memory stays mapped")),
    }
}
