//! `hpatch revert`.

use hpatch_core::abi::{Op, RecordState};
use serde_json::{Value, json};

use super::Report;
use super::apply::s;
use super::args::Switching;
use super::session::Session;
use crate::error::{Error, Exit, Result, code};
use crate::switch::{self, Direction};
use crate::target::control::state_name;
use crate::trace::rpc::{self, RpcOptions};

pub fn run(pid: i32, id: &str, unmap: bool, switching: &Switching) -> Result<Report> {
    let session = Session::open(pid)?;
    let records = session.records()?;
    let Some(at) = records.iter().rposition(|p| p.id == id && p.is(RecordState::Live)) else {
        let mut e = Error::new(code::NOT_APPLIED, Exit::Refused, format!("no live bundle {id} in process {pid}"));
        for p in &records {
            e = e.note(format!("{} is {}", p.id, state_name(p.record.state)));
        }
        return Err(e);
    };
    let patch = &records[at];
    if let Some(later) = records[at + 1..].iter().find(|l| l.is(RecordState::Live) && l.overlaps(patch)) {
        return Err(Error::new(code::NOT_ON_TOP, Exit::Refused, format!("{} lies on top of {id}", later.id))
            .help(format!("revert {} first", later.id)));
    }
    let options = switching.options();
    let outcome = switch::run(&session.target, patch, Direction::Revert, options)?;
    if unmap {
        let rpc_options = RpcOptions { allow_seccomp: switching.allow_seccomp };
        rpc::call(&session.target, &session.control, Op::Release, &[patch.addr], rpc_options)
            .map_err(|e| e.note("the old bytes are back, proven; the patch's memory stays mapped"))?;
    }
    let mut json = outcome.json();
    if let Value::Object(m) = &mut json {
        m.insert("pid".into(), json!(pid));
        m.insert("id".into(), json!(id));
        m.insert("writes".into(), json!(patch.edits.len()));
        m.insert("unmapped".into(), json!(unmap));
    }
    let text = format!(
        "reverted {id} in process {pid}: {} function{} as before, proven\n  pause {:.3} ms with {} thread{} stopped\n",
        patch.funcs.len(),
        s(patch.funcs.len()),
        outcome.pause.as_secs_f64() * 1e3,
        outcome.threads,
        s(outcome.threads),
    );
    Ok(Report::new(text, json))
}
