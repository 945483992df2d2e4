//! `hpatch recover`.

use serde_json::json;

use super::Report;
use super::args::Switching;
use super::session::{Session, describe};
use crate::error::{Exit, Result};

pub fn run(pid: i32, switching: &Switching) -> Result<Report> {
    let session = Session::open_unrecovered(pid)?;
    let done = session.recover(switching.options())?;
    let text = if done.is_empty() {
        format!("process {pid}: nothing to take back\n")
    } else {
        format!("process {pid}: {}\n", describe(&done))
    };
    let ids = |live| done.iter().filter(|r| r.live == live).map(|r| r.id.as_str()).collect::<Vec<_>>();
    let mut r = Report::new(text, json!({ "pid": pid, "recovered": ids(false), "live": ids(true) }));
    if done.is_empty() {
        r.exit = Some(Exit::NothingChanged);
    }
    Ok(r)
}
