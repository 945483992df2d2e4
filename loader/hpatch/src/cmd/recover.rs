//! `hpatch recover`.

use std::fmt::Write as _;

use serde_json::json;

use super::Report;
use super::args::Switching;
use super::kin;
use super::session::{Session, describe, half_way_json};
use crate::error::{Error, Exit, Result, code};

pub fn run(pid: i32, switching: &Switching) -> Result<Report> {
    let session = Session::open_unrecovered(pid)?;
    let done = session.recover(switching.options())?;
    let forks = kin::recover(&session, switching.options());
    let mut text = String::new();
    if done.is_empty() {
        let _ = writeln!(text, "process {pid}: nothing to take back");
    } else {
        let _ = writeln!(text, "process {pid}: {}", describe(&done));
    }
    for f in &forks {
        if let Ok(done) = &f.outcome {
            let _ = writeln!(text, "process {}, a fork: {}", f.pid, describe(done));
        }
    }
    let ids = |live| done.iter().filter(|r| r.live == live).map(|r| r.id.as_str()).collect::<Vec<_>>();
    let mut r = Report::new(text, json!({ "pid": pid, "recovered": ids(false), "live": ids(true) }));
    r.json.extend(half_way_json(&done, &forks));
    let left: Vec<String> = forks.iter().filter_map(|f| f.outcome.as_ref().err().map(|e| f.left(e))).collect();
    if let Some((first, others)) = left.split_first() {
        let said = r.text.lines().map(str::to_owned);
        let mut e = Error::new(code::UNFINISHED, Exit::HalfWay, first.clone());
        e.notes = others.iter().cloned().chain(said).collect();
        e.json = r.json;
        return Err(e);
    }
    if done.is_empty() && forks.is_empty() {
        r.exit = Some(Exit::NothingChanged);
    }
    Ok(r)
}
