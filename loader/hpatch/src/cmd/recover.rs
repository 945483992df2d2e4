//! `hpatch recover`.

use serde_json::json;

use super::Report;
use super::session::Session;
use crate::error::{Exit, Result};

pub fn run(pid: i32) -> Result<Report> {
    let session = Session::open_unrecovered(pid)?;
    let done = session.recover()?;
    let text = if done.is_empty() {
        format!("process {pid}: nothing to take back\n")
    } else {
        format!("process {pid}: took back {}\n", done.join(", "))
    };
    let mut r = Report::new(text, json!({ "pid": pid, "recovered": done }));
    if done.is_empty() {
        r.exit = Some(Exit::NothingChanged);
    }
    Ok(r)
}
