//! `hpatch apply`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hpatch_core::abi::{Op, PREPARE_NO_TRUST_DIR, PREPARE_REPLACE, RecordState};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Report;
use super::args::{Applying, Switching};
use super::session::Session;
use super::{perf_map, revert};
use crate::check::{foreign, unwinders};
use crate::error::{Error, Exit, Result, code};
use crate::fault::fault;
use crate::switch::{self, Direction};
use crate::target::control::Patch;
use crate::target::{Target, compose};
use crate::trace::rpc::{self, RpcOptions};

/// docs/format.md: a bundle is at most 64 MiB.
const MAX_BUNDLE: u64 = 64 << 20;
/// What a process that was killed takes at most until it is gone.
const LEAVING: Duration = Duration::from_secs(2);

pub fn run(pid: i32, bundle: &Path, how: &Applying, switching: &Switching) -> Result<Report> {
    let bytes = read_bundle(bundle)?;
    let session = Session::open(pid, switching)?;
    session.unless_it_left(apply(&session, &bytes, how, switching))
}

fn apply(session: &Session, bytes: &[u8], how: &Applying, switching: &Switching) -> Result<Report> {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let begun = Instant::now();
    let patch = match prepare(session, bytes, how, RpcOptions { allow_seccomp: switching.allow_seccomp }) {
        Ok(patch) => patch,
        // The loader has looked whether a copy of a module has appeared that the bundle isn't applied to.
        Err(e) if e.code == code::ALREADY_APPLIED => return already(session, digest, e),
        Err(e) if e.code == code::PREIMAGE_DIFFERS => {
            return Err(foreign::explain(&session.target, &session.records()?, bytes, e));
        }
        Err(e) => return Err(e),
    };
    fault("prepared");
    switch_in(session, patch, begun.elapsed(), how, switching)
}

fn already(session: &Session, digest: [u8; 32], error: Error) -> Result<Report> {
    let (pid, records) = (session.target.pid, session.records()?);
    let Some(p) = records.iter().find(|p| p.is(RecordState::Live) && p.record.bundle_sha256 == digest) else {
        return Err(error);
    };
    let mut r = Report::new(
        format!("{} is live already in process {pid}; nothing changed\n", p.id),
        json!({ "pid": pid, "id": p.id, "changed": false, "code": code::ALREADY_APPLIED.to_string() }),
    );
    r.json.extend(session.half_way_json());
    r.exit = Some(Exit::NothingChanged);
    Ok(r)
}

/// Switches a prepared record, and those that give way to it, in one stop. When that fails the record is released.
pub fn switch_in(
    session: &Session,
    patch: Patch,
    prepared: Duration,
    how: &Applying,
    switching: &Switching,
) -> Result<Report> {
    let pid = session.target.pid;
    let rpc_options = RpcOptions { allow_seccomp: switching.allow_seccomp };
    let records = session.records()?;
    let going: Vec<Patch> = records.iter().rev().filter(|p| p.record.superseded_by == patch.addr).cloned().collect();
    let switched = check_scope(&patch)
        .and_then(|()| revert::stays(&going))
        .and_then(|()| check_order(&records, &going))
        .and_then(|()| unwinders::check(&session.target, &patch))
        .and_then(|()| {
            let all = compose::in_place_of(patch.clone(), &going, RecordState::Reverted);
            switch::run(&session.target, &all, Direction::Apply, switching.options())
        });
    let outcome = match switched {
        Ok(o) => o,
        Err(e) => {
            release(session, &patch, rpc_options);
            return Err(e);
        }
    };
    for g in &going {
        session.target.mem.write_u64(g.superseded_by_addr(), 0).map_err(|_| session.target.vanished())?;
    }
    let begun = Instant::now();
    let mut notes = Vec::new();
    let committed = rpc::call(&session.target, &session.control, Op::Commit, &[patch.addr], rpc_options);
    let confirmed = committed.is_ok();
    if let Err(e) = committed {
        notes.push(without_barrier(session, &patch, e)?);
    }
    let commit = begun.elapsed();
    for g in going.iter().filter(|_| how.unmap) {
        if let Some(note) = revert::release(session, g, switching)? {
            notes.push(note);
        }
    }
    if how.perf_map {
        perf_map::write(&session.target, &patch)?;
    }
    let variables = Variables::of(&patch, &records, &going, outcome.anew);
    notes.extend(variables.notes());
    let mut json = outcome.json();
    if let Value::Object(m) = &mut json {
        m.insert("pid".into(), json!(pid));
        m.insert("id".into(), json!(patch.id));
        m.insert("changed".into(), json!(true));
        m.insert("variables".into(), variables.json());
        m.insert("replaced".into(), going.iter().map(|g| json!(g.id)).collect());
        let names = |idle| patch.funcs.iter().filter(move |f| f.0.idle() == idle).map(|f| json!(f.1));
        m.insert("functions".into(), names(false).collect());
        m.insert("idle".into(), names(true).collect());
        m.insert("writes".into(), json!(patch.edits.len()));
        m.insert("modules".into(), patch.units.iter().map(|u| json!(u.1)).collect());
        m.insert("prepare_us".into(), json!(prepared.as_micros() as u64));
        m.insert("commit_us".into(), json!(commit.as_micros() as u64));
        m.insert("blockers".into(), json!([]));
        m.insert("barrier".into(), json!(confirmed));
        m.insert("notes".into(), json!(notes));
        m.extend(session.half_way_json());
    }
    let mut text = format!(
        "applied {} to process {pid}: {}, proven live\n  pause {:.3} ms with {} thread{} stopped, {} attempt{}\n",
        patch.id,
        done(&patch),
        outcome.pause.as_secs_f64() * 1e3,
        outcome.threads,
        s(outcome.threads),
        outcome.attempts(),
        s(outcome.attempts() as usize),
    );
    for g in &going {
        let _ = writeln!(text, "  in place of {}", g.id);
    }
    if !variables.along.is_empty() {
        let _ = writeln!(text, "  with the values of {}", variables.along.join(", "));
    }
    for note in &notes {
        let _ = writeln!(text, "  note: {note}");
    }
    Ok(Report::new(text, json))
}

/// Variables that the bundle brings, and another live one had brought, too.
#[derive(Debug, Default)]
struct Variables {
    /// They go on with their values.
    along: Vec<String>,
    anew: Vec<String>,
    /// Each with the bundle that keeps one of its own.
    beside: Vec<(String, String)>,
}

impl Variables {
    fn of(patch: &Patch, records: &[Patch], going: &[Patch], anew: bool) -> Variables {
        let mut out = Variables::default();
        let others = records.iter().filter(|p| p.is(RecordState::Live) && p.addr != patch.addr);
        for (other, (had, name, bias)) in others.flat_map(|p| p.keeps.iter().map(move |k| (p, k))) {
            let Some((has, ..)) = patch.keeps.iter().find(|(k, _, b)| k.key == had.key && b == bias) else { continue };
            if !going.iter().any(|g| g.addr == other.addr) {
                out.beside.push((name.clone(), other.id.clone()));
            } else if has.from == had.addr && !anew {
                out.along.push(name.clone());
            } else {
                out.anew.push(name.clone());
            }
        }
        out
    }

    fn notes(&self) -> impl Iterator<Item = String> + '_ {
        let anew = self.anew.iter().map(|name| format!("`{name}` begins anew: its former value couldn't go along"));
        let beside = self.beside.iter().map(|(name, id)| {
            format!("`{name}` begins anew, beside that of {id}: a bundle that supersedes {id}, or --replace, takes the value along")
        });
        anew.chain(beside)
    }

    fn json(&self) -> Value {
        let beside = self.beside.iter().map(|(name, _)| name);
        json!({ "along": self.along, "anew": self.anew.iter().chain(beside).collect::<Vec<_>>() })
    }
}

/// The switch is made and was read back before the barrier was asked for; a barrier that comes late or not at all changes nothing about that.
/// Every thread has left the kernel since the bytes were written, so in practice it has nothing left to do.
fn without_barrier(session: &Session, patch: &Patch, e: Error) -> Result<String> {
    let target = &session.target;
    // A thread that was held ends with its process, whose other threads and memory go later.
    if !target.is_alive() || e.code == code::TARGET_GONE && target.leaves_within(LEAVING) {
        return Err(target.vanished());
    }
    if e.exit == Exit::Blocked || !Patch::read(target, patch.addr)?.is(RecordState::Live) {
        return Err(e.note("the patch is live: its bytes were written and read back; the step after that failed"));
    }
    Ok(format!("the memory barrier after the switch isn't confirmed ({}: {})", e.code, e.title))
}

/// What becomes of the functions, in words.
fn done(patch: &Patch) -> String {
    let replaced = patch.funcs.iter().filter(|f| f.0.replaced()).count();
    let edited = patch.funcs.iter().filter(|f| f.0.edited()).count();
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
pub fn read_bundle(path: &Path) -> Result<Vec<u8>> {
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
    // No memory is asked for to hold nothing.
    if bytes.is_empty() {
        return Err(Error::new(code::TRUNCATED, Exit::Untrusted, format!("{} is empty", path.display())));
    }
    Ok(bytes)
}

/// Hands the bundle to the loader, which verifies, maps and links it.
fn prepare(session: &Session, bytes: &[u8], how: &Applying, options: RpcOptions) -> Result<Patch> {
    let (target, control) = (&session.target, &session.control);
    let buffer = rpc::call(target, control, Op::Alloc, &[bytes.len() as u64], options)?.value[0];
    target.mem.write(buffer, bytes).map_err(|e| Error::io("cannot hand over the bundle", &e))?;
    let flags = if control.origin(target)? == 1 { PREPARE_NO_TRUST_DIR } else { 0 }
        | if how.replace { PREPARE_REPLACE } else { 0 };
    let record = rpc::call(target, control, Op::Prepare, &[buffer, bytes.len() as u64, flags], options)?.value[0];
    prepared(target, record)
}

/// The record that the loader says it has prepared.
pub fn prepared(target: &Target, record: u64) -> Result<Patch> {
    let patch = Patch::read(target, record)?;
    if !patch.is(RecordState::Prepared) {
        return Err(Error::new(code::CONTROL_MALFORMED, Exit::Blocked, "the loader gave a record that isn't prepared"));
    }
    Ok(patch)
}

/// What gives way must not lie under something that stays.
fn check_order(records: &[Patch], going: &[Patch]) -> Result<()> {
    let Some(later) = revert::on_top(records, going) else { return Ok(()) };
    Err(Error::new(
        code::NOT_ON_TOP,
        Exit::Refused,
        format!("{} lies on top of a bundle that is to give way", later.id),
    )
    .help("revert it first, or let all give way with --replace"))
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
