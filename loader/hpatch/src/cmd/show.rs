//! `status`, `list`, `blocked`, `verify`: commands that change nothing.

use std::fmt::Write as _;
use std::fs;

use hpatch_core::abi::{LoaderState, RecordState};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Report;
use super::apply::s;
use super::kin::{half_way_forks, unfinished};
use crate::check::dry;
use crate::check::report::Blockers;
use crate::check::scan::Scanner;
use crate::error::{Error, Exit, Result, code};
use crate::shown::Shown;
use crate::switch::{self, boot_time};
use crate::target::Target;
use crate::target::control::{Control, Owner, Patch, state_name};

fn loader_state(state: u32) -> &'static str {
    match state {
        s if s == LoaderState::Idle as u32 => "idle",
        s if s == LoaderState::Busy as u32 => "busy",
        s if s == LoaderState::Blocked as u32 => "blocked",
        _ => "unknown",
    }
}

fn hex(b: &[u8]) -> String {
    b.iter().map(|b| format!("{b:02x}")).collect()
}

fn patch_json(p: &Patch, owner: Owner) -> Value {
    let live = p.is(RecordState::Live);
    json!({
        "id": p.id,
        "state": state_name(p.record.state),
        "unfinished": unfinished(p, owner),
        "scope": if p.record.scope == 0 { "live" } else { "start" },
        "bundle_sha256": hex(&p.record.bundle_sha256),
        "functions": p.changed(),
        "writes": p.edits.len(),
        "modules": p.units.iter().map(|(u, name)| json!({
            "name": name,
            "build_id": hex(&u.build_id[..(u.build_id_len as usize).min(u.build_id.len())]),
            "bias": format!("{:#x}", u.bias), "map": format!("{:#x}", u.map), "map_size": u.map_len,
        })).collect::<Vec<_>>(),
        "live_for_s": live.then(|| boot_time().saturating_sub(p.record.live_since) as f64 / 1e9),
    })
}

struct Seen {
    text: String,
    json: Value,
}

fn look(target: &Target, control: &Control) -> Result<Seen> {
    let state = control.state(target)?;
    let owner = control.owner(target)?;
    let origin = if control.origin(target)? == 0 { "preloaded" } else { "attached" };
    let records = control.records(target)?;
    let mut text = format!("{} ({}): loader {origin}, {}\n", target.pid, Shown(&target.comm), loader_state(state));
    for p in &records {
        let _ = write!(text, "  {} {}", p.id, state_name(p.record.state));
        let _ = write!(text, ", {} function{}", p.changed(), s(p.changed()));
        if p.is(RecordState::Live) {
            let _ = write!(text, ", for {} s", boot_time().saturating_sub(p.record.live_since) / 1_000_000_000);
        }
        if unfinished(p, owner) {
            let _ = write!(text, ", left half-way by a killed command: `hpatch recover --pid {}`", target.pid);
        }
        text.push('\n');
    }
    let mut json = json!({
        "pid": target.pid, "comm": target.comm, "loader": origin, "state": loader_state(state), "owner": owner.pid,
        "bundles": records.iter().map(|p| patch_json(p, owner)).collect::<Vec<_>>(),
    });
    if state == LoaderState::Blocked as u32 {
        let (c, detail) = (control.code(target)?, control.detail(target)?);
        let _ = writeln!(text, "  blocked: HP{c:04} {detail}");
        json["blocked"] = json!({ "code": format!("HP{c:04}"), "detail": detail });
    }
    Ok(Seen { text, json })
}

pub fn status(pid: i32) -> Result<Report> {
    let target = Target::open(pid)?;
    let control = Control::require(&target)?;
    let mut seen = look(&target, &control)?;
    let forks = half_way_forks(&target, &control);
    for fork in &forks {
        let _ =
            writeln!(seen.text, "  process {fork}, a fork, was left half-way: `hpatch recover --pid {pid}` sees to it");
    }
    seen.json["half_way_forks"] = json!(forks);
    Ok(Report::new(seen.text, seen.json))
}

/// Every process that carries a loader and that this user may look into.
pub fn status_all() -> Result<Report> {
    let mut text = String::new();
    let mut all = Vec::new();
    let entries = fs::read_dir("/proc").map_err(|e| Error::io("cannot list /proc", &e))?;
    let mut pids: Vec<i32> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        let Ok(target) = Target::open(pid) else { continue };
        let control = match Control::find(&target) {
            Err(e) if e.code != code::ABI_MISMATCH => continue,
            found => found,
        };
        match control.and_then(|control| control.map(|control| look(&target, &control)).transpose()) {
            Ok(None) => {}
            Ok(Some(seen)) => {
                text.push_str(&seen.text);
                all.push(seen.json);
            }
            Err(e) => {
                let _ = writeln!(text, "{pid} ({}): {e}", Shown(&target.comm));
                all.push(json!({ "pid": pid, "comm": target.comm, "error": e.to_string() }));
            }
        }
    }
    if all.is_empty() {
        text.push_str("no process carries a loader\n");
    }
    Ok(Report::new(text, json!({ "processes": all })))
}

pub fn list(pid: i32) -> Result<Report> {
    let target = Target::open(pid)?;
    let control = Control::require(&target)?;
    let mut text = String::new();
    let mut all = Vec::new();
    for p in control.records(&target)? {
        let _ = writeln!(text, "{} ({})", p.id, state_name(p.record.state));
        for (f, name) in &p.funcs {
            let unit = p.units.get(f.unit as usize).map_or("?", |u| u.1.as_str());
            let _ = match (f.replaced(), f.idle()) {
                (true, _) => writeln!(
                    text,
                    "  {name} in {unit}: {:#x} -> {:#x}, {} bytes",
                    f.entry, f.replacement, f.replacement_len
                ),
                (_, true) => writeln!(text, "  {name} in {unit}: {:#x}, as it was, idle at each switch", f.entry),
                _ => writeln!(text, "  {name} in {unit}: {:#x}, edited in place", f.entry),
            };
            all.push(json!({
                "id": p.id, "state": state_name(p.record.state), "function": name, "module": unit,
                "entry": format!("{:#x}", f.entry), "replacement": format!("{:#x}", f.replacement), "size": f.replacement_len,
                "edited": f.edited(), "idle": f.idle(),
            }));
        }
    }
    if all.is_empty() {
        text.push_str("no function is replaced or edited\n");
    }
    Ok(Report::new(text, json!({ "pid": pid, "functions": all })))
}

/// Threads that sleep inside old code of live bundles, or inside their new code: what stands in the way of a revert.
pub fn blocked(pid: i32) -> Result<Report> {
    let target = Target::open(pid)?;
    let control = Control::require(&target)?;
    let tasks = target.tasks()?;
    let mut scanner = Scanner::new(tasks.len(), 8 << 20);
    let mut text = String::new();
    let mut all = Vec::new();
    for p in control.records(&target)?.iter().filter(|p| p.is(RecordState::Live) || p.is(RecordState::Prepared)) {
        let revert = p.is(RecordState::Live);
        let forbidden = if revert { switch::new_code(p) } else { switch::old_code(p) };
        let hits = dry::look(&target, &tasks, &mut scanner, &forbidden);
        let mut b = Blockers::default();
        b.add(&target, p, true, &hits);
        if !hits.is_empty() {
            b.find_lines(&target);
        }
        for blocker in b.latest() {
            let _ = writeln!(text, "{}: {}", p.id, Shown(&blocker.describe()));
            let mut j = blocker.json();
            j["id"] = json!(p.id);
            all.push(j);
        }
    }
    if all.is_empty() {
        text.push_str("no sleeping thread is in the code of a live bundle\n");
    }
    Ok(Report::new(text, json!({ "pid": pid, "blockers": all })))
}

/// Compares the live bytes of every write and the digest of every patch's text.
pub fn verify(pid: i32) -> Result<Report> {
    let target = Target::open(pid)?;
    let control = Control::require(&target)?;
    let records = control.records(&target)?;
    let owner = control.owner(&target)?;
    if let Some(p) = records.iter().find(|p| unfinished(p, owner)) {
        return Err(Error::new(
            code::UNFINISHED,
            Exit::HalfWay,
            format!("{} was left half-way by a killed command", p.id),
        )
        .help(format!("hpatch recover --pid {pid}")));
    }
    let (mut writes, mut bytes, mut texts) = (0usize, 0usize, 0usize);
    let mut wrong = Vec::new();
    let read = |addr, len| target.mem.read_vec(addr, len).map_err(|_| target.vanished());
    for (i, p) in records.iter().enumerate() {
        let live = p.is(RecordState::Live);
        if !live && !p.is(RecordState::Reverted) {
            continue;
        }
        for e in &p.edits {
            // What a live bundle writes there, a later one unless this one is out of use, is that one's to answer for.
            let others = if live { &records[i + 1..] } else { &records[..] };
            let overlaps = |l: &Patch| l.edits.iter().any(|x| x.addr < e.end() && e.addr < x.end());
            if others.iter().any(|l| l.is(RecordState::Live) && overlaps(l)) {
                continue;
            }
            let found = read(e.addr, e.new.len())?;
            writes += 1;
            bytes += found.len();
            // The bytes before it may have been another bundle's, which is gone as well: only its own must not be there.
            let fine = if live { found == e.new } else { found != e.new };
            if !fine {
                let wanted =
                    if live { format!("expected {}", hex(&e.new)) } else { "a reverted bundle's bytes".into() };
                wrong.push(format!(
                    "{}: {:#x} ({}): {wanted}, found {}",
                    p.id,
                    e.addr,
                    p.func_name(e.func),
                    hex(&found)
                ));
            }
        }
        for (u, name) in p.units.iter().filter(|u| live && u.0.text_len != 0 && u.0.text_len <= 256 << 20) {
            let digest: [u8; 32] = Sha256::digest(read(u.text, u.text_len as usize)?).into();
            texts += 1;
            if digest != u.text_sha256 {
                wrong.push(format!("{}: the patch's code for {name} at {:#x} was changed", p.id, u.text));
            }
        }
    }
    let json = json!({ "pid": pid, "writes": writes, "bytes": bytes, "texts": texts });
    if wrong.is_empty() {
        let text = format!(
            "process {pid}: {writes} write{} ({bytes} bytes) and the code of {texts} payload{} are as they should be\n",
            s(writes),
            s(texts)
        );
        return Ok(Report::new(text, json));
    }
    let mut e = Error::new(code::BYTES_CHANGED, Exit::Refused, format!("process {pid} isn't as the records say"));
    for w in wrong {
        e = e.note(w);
    }
    Err(e)
}
