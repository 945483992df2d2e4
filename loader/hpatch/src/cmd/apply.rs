//! `hpatch apply`.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use hpatch_core::abi::{LoaderState, Op, PREPARE_NO_TRUST_DIR, RecordState};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Report;
use super::args::Switching;
use super::session::Session;
use crate::error::{Error, Exit, Result, code};
use crate::switch::{self, Direction};
use crate::target::control::Patch;
use crate::trace::rpc::{self, RpcOptions};

/// docs/format.md: a bundle is at most 64 MiB.
const MAX_BUNDLE: u64 = 64 << 20;

pub fn run(pid: i32, bundle: &Path, switching: &Switching) -> Result<Report> {
    let bytes = read_bundle(bundle)?;
    let options = switching.options();
    let rpc_options = RpcOptions { allow_seccomp: switching.allow_seccomp };
    let session = Session::open(pid)?;
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    if let Some(p) = session.records()?.iter().find(|p| p.is(RecordState::Live) && p.record.bundle_sha256 == digest) {
        let mut r = Report::new(
            format!("{} is live already in process {pid}; nothing changed\n", p.id),
            json!({ "pid": pid, "id": p.id, "changed": false, "code": code::ALREADY_APPLIED.to_string() }),
        );
        r.exit = Some(Exit::NothingChanged);
        return Ok(r);
    }
    let begun = Instant::now();
    let patch = prepare(&session, &bytes, rpc_options)?;
    let prepared = begun.elapsed();
    let outcome =
        match check_scope(&patch).and_then(|()| switch::run(&session.target, &patch, Direction::Apply, options)) {
            Ok(o) => o,
            Err(e) => {
                release(&session, &patch, rpc_options);
                return Err(e);
            }
        };
    let begun = Instant::now();
    rpc::call(&session.target, &session.control, Op::Commit, &[patch.addr], rpc_options).map_err(|e| {
        // The code is switched and proven; what is missing is the announcement to the unwinder.
        let note = "the patch is live: its bytes were written and read back; the step after that failed";
        let _ = session.control.set_state(&session.target, LoaderState::Blocked);
        Error { exit: Exit::Blocked, ..e }.note(note)
    })?;
    let commit = begun.elapsed();
    let mut json = outcome.json();
    if let Value::Object(m) = &mut json {
        m.insert("pid".into(), json!(pid));
        m.insert("id".into(), json!(patch.id));
        m.insert("changed".into(), json!(true));
        m.insert("functions".into(), patch.funcs.iter().map(|f| json!(f.1)).collect());
        m.insert("writes".into(), json!(patch.edits.len()));
        m.insert("modules".into(), patch.units.iter().map(|u| json!(u.1)).collect());
        m.insert("prepare_us".into(), json!(prepared.as_micros() as u64));
        m.insert("commit_us".into(), json!(commit.as_micros() as u64));
        m.insert("blockers".into(), json!([]));
    }
    let text = format!(
        "applied {} to process {pid}: {}, proven live\n  pause {:.3} ms with {} thread{} stopped, {} attempt{}\n",
        patch.id,
        done(&patch),
        outcome.pause.as_secs_f64() * 1e3,
        outcome.threads,
        s(outcome.threads),
        outcome.attempts(),
        s(outcome.attempts() as usize),
    );
    Ok(Report::new(text, json))
}

/// What becomes of the functions, in words.
fn done(patch: &Patch) -> String {
    let edited = patch.funcs.iter().filter(|f| f.0.edited()).count();
    let replaced = patch.funcs.len() - edited;
    match (replaced, edited) {
        (_, 0) => format!("{replaced} function{} replaced", s(replaced)),
        (0, _) => format!("{edited} function{} edited in place", s(edited)),
        _ => format!("{replaced} function{} replaced, {edited} edited in place", s(replaced)),
    }
}

pub fn s(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Reads the file once, so that what is checked is what is used.
fn read_bundle(path: &Path) -> Result<Vec<u8>> {
    let fail = |e| Error::io(format!("cannot read {}", path.display()), &e);
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    if !meta.is_file() {
        return Err(Error::new(code::NOT_REGULAR, Exit::Io, format!("{} isn't a regular file", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BUNDLE + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_BUNDLE {
        return Err(Error::new(code::FILE_TOO_LARGE, Exit::Io, format!("{} is larger than 64 MiB", path.display())));
    }
    Ok(bytes)
}

/// Hands the bundle to the loader, which verifies, maps and links it.
fn prepare(session: &Session, bytes: &[u8], options: RpcOptions) -> Result<Patch> {
    let (target, control) = (&session.target, &session.control);
    let buffer = rpc::call(target, control, Op::Alloc, &[bytes.len() as u64], options)?.value[0];
    target.mem.write(buffer, bytes).map_err(|e| Error::io("cannot hand over the bundle", &e))?;
    let flags = if control.origin(target)? == 1 { PREPARE_NO_TRUST_DIR } else { 0 };
    let record = rpc::call(target, control, Op::Prepare, &[buffer, bytes.len() as u64, flags], options)?.value[0];
    let patch = Patch::read(target, record)?;
    if !patch.is(RecordState::Prepared) {
        return Err(Error::new(code::CONTROL_MALFORMED, Exit::Blocked, "the loader gave a record that isn't prepared"));
    }
    Ok(patch)
}

fn check_scope(patch: &Patch) -> Result<()> {
    if patch.record.scope == 0 {
        return Ok(());
    }
    Err(Error::new(code::SCOPE_START, Exit::Refused, format!("{} may only be applied before `main`", patch.id))
        .help("put the bundle into HPATCH_STORE and restart the program"))
}

fn release(session: &Session, patch: &Patch, options: RpcOptions) {
    if session.target.is_alive() {
        let _ = rpc::call(&session.target, &session.control, Op::Release, &[patch.addr], options);
    }
}
