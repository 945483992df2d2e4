//! The way by a child of the process: where this command's own surroundings refuse ptrace(2), the loader starts the command's program once more,
//! as its child. It has the process's rights and surroundings, no file of it, and raises no signal when it ends. The request and the
//! answer lie in memory of the process.

use std::ffi::CString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Duration;

use clap::Parser as _;
use hpatch_core::abi::Op;
use patchfmt::Code;
use serde_json::{Value, json};

use super::Report;
use super::args::{Cli, Verb};
use super::session::Session;
use super::{apply, supervise};
use crate::error::{Error, Exit, Result, code};
use crate::fault;
use crate::interrupt;
use crate::target::Target;
use crate::target::procfs;
use crate::trace::door;
use crate::trace::patience::Patience;

/// The request lies behind the words for execve(2): 0 or 1 for "go", then "done", then lengths of request, bundle and answer, then these.
const WORDS: u64 = 8192;
const GO: u64 = WORDS;
const DONE: u64 = WORDS + 8;
const LENGTHS: u64 = WORDS + 16;
const TEXT: u64 = WORDS + 64;
/// Room for an answer.
const ANSWER: u64 = 256 << 10;
/// What the child needs beside the time that it is given.
const SLACK: Duration = Duration::from_secs(60);

/// In the outer command.
pub fn run(pid: i32, verb: &Verb) -> Result<Report> {
    let (request, bundle, timeout) = request(pid, verb)?;
    let session = Session::open_unrecovered(pid)?;
    let (target, control) = (&session.target, &session.control);
    let program = std::env::current_exe().map_err(|e| Error::io("cannot find this program's file", &e))?;
    let whole = TEXT + (request.len() as u64 + bundle.len() as u64).max(ANSWER);
    let way = door::require(target, control)?;
    let options = crate::trace::rpc::RpcOptions { allow_seccomp: verb.allows_seccomp() };
    let at = door::call(target, control, Op::Alloc, &[whole], options).and_then(said)?.value[0];
    let mut words = program.into_os_string().into_encoded_bytes();
    let rest = format!("\0hpatch\0helper\0--at\0{at}\0--length\0{whole}\0");
    words.extend(rest.as_bytes());
    if words.len() as u64 > WORDS {
        return Err(Error::internal("a path too long to pass on"));
    }
    let lost = |_| target.vanished();
    target.mem.write(at, &words).map_err(lost)?;
    for (n, len) in [request.len(), bundle.len(), 0].into_iter().enumerate() {
        target.mem.write_u64(at + LENGTHS + n as u64 * 8, len as u64).map_err(lost)?;
    }
    target.mem.write(at + TEXT, request.as_bytes()).map_err(lost)?;
    target.mem.write(at + TEXT + request.len() as u64, &bundle).map_err(lost)?;
    let started = way.call(target, control, Op::Helper, &[at, whole, 7], || Ok(()))?;
    if started.code != 0 {
        let e = Error::new(code::NO_HELPER, Exit::Refused, "the process can't start this command as its child");
        return Err(e.note(format!("execve: {}", started.detail)));
    }
    let child = started.value[0] as i32;
    // From here on the loader is the child's.
    let target = Target::open(pid)?;
    drop(session);
    target.mem.write_u64(at + GO, 1).map_err(lost_of(&target))?;
    let answer = wait(&target, at, child, timeout + SLACK);
    // Reaped, and its memory given back; what fails here is done by the next.
    if let Ok(s) = Session::open_unrecovered(pid) {
        let _ = door::call(&s.target, &s.control, Op::Helper, &[0, 0, 0], options);
    }
    read_answer(&answer?)
}

fn lost_of(target: &Target) -> impl Fn(std::io::Error) -> Error {
    move |_| target.vanished()
}

fn said(answer: crate::target::control::Answer) -> Result<crate::target::control::Answer> {
    match answer.code {
        0 => Ok(answer),
        n => Err(Error::new(Code(n as u16), Code(n as u16).exit(), patchfmt::codes::title(Code(n as u16)))),
    }
}

/// What the child is to do: a command line without the pid, which is another number there, and the bundle, which it may not be able to open.
fn request(pid: i32, verb: &Verb) -> Result<(String, Vec<u8>, Duration)> {
    let mut words: Vec<String> = vec!["hpatch".into(), verb.name().into(), "--pid".into(), "PID".into()];
    let mut bytes = Vec::new();
    let timeout;
    let flag = |on: bool, name: &str| on.then(|| name.to_owned());
    match verb {
        Verb::Apply { bundle, how, switching, .. } => {
            timeout = switching.timeout;
            if let Some(bundle) = bundle {
                bytes = apply::read_bundle(bundle)?;
                words.push("BUNDLE".into());
            }
            words.extend(flag(how.replace, "--replace"));
            words.extend(flag(how.unmap, "--unmap"));
            words.extend(flag(how.pending, "--pending"));
            words.extend(flag(how.perf_map, "--perf-map"));
            words.extend(flag(switching.allow_seccomp, "--allow-seccomp"));
            words.extend(flag(switching.ignore_suspended, "--ignore-suspended"));
            words.extend(["--timeout".into(), switching.timeout.to_string()]);
        }
        Verb::Revert { id, unmap, switching, .. } => {
            timeout = switching.timeout;
            words.extend(flag(*unmap, "--unmap"));
            words.extend(flag(switching.allow_seccomp, "--allow-seccomp"));
            words.extend(flag(switching.ignore_suspended, "--ignore-suspended"));
            words.extend(["--timeout".into(), switching.timeout.to_string(), id.clone()]);
        }
        Verb::Recover { switching, .. } => {
            timeout = switching.timeout;
            words.extend(flag(switching.allow_seccomp, "--allow-seccomp"));
            words.extend(flag(switching.ignore_suspended, "--ignore-suspended"));
            words.extend(["--timeout".into(), switching.timeout.to_string()]);
        }
        _ => return Err(Error::internal(format!("{} of process {pid} has no such way", verb.name()))),
    }
    let request = json!({ "words": words, "kill": std::env::var(fault::KILL).ok() }).to_string();
    Ok((request, bytes, Duration::from_secs_f64(timeout)))
}

fn wait(target: &Target, at: u64, child: i32, most: Duration) -> Result<Vec<u8>> {
    let lost = lost_of(target);
    let mut patience = Patience::new(most);
    let outer = procfs::child_of(target.pid, child);
    let mut gone = false;
    loop {
        if target.mem.read_u64(at + DONE).map_err(&lost)? == 1 {
            let len = target.mem.read_u64(at + LENGTHS + 16).map_err(&lost)?;
            return target.mem.read_vec(at + TEXT, len.min(ANSWER) as usize).map_err(&lost);
        }
        if gone {
            let e = Error::new(code::UNFINISHED, Exit::Internal, "the command that ran inside ended without an answer");
            return Err(e.help(format!(
                "`hpatch status --pid {}` says what is live, `hpatch recover` takes back what is half-way",
                target.pid
            )));
        }
        // Looked at once more after its end.
        gone = !outer.is_some_and(|c| procfs::task_stat(c, c).is_ok_and(|s| !s.is_dead()));
        if let Some(c) = outer.filter(|_| interrupt::came()) {
            interrupt::pass_on(c);
        }
        if patience.is_over() {
            return Err(Error::new(code::CONTROL_TIMEOUT, Exit::Busy, "the command that runs inside doesn't answer"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read_answer(bytes: &[u8]) -> Result<Report> {
    let bad = || Error::internal("the command that ran inside gave no answer that can be read");
    let v: Value = serde_json::from_slice(bytes).map_err(|_| bad())?;
    let exit = v["exit"].as_u64().and_then(exit_of).ok_or_else(bad)?;
    let text = |key: &str| v[key].as_str().unwrap_or_default().to_owned();
    let Some(number) = v["code"].as_u64() else {
        let mut r = Report::new(text("text"), v["json"].clone());
        r.exit = Some(exit);
        return Ok(r);
    };
    let mut e = Error::new(Code(number as u16), exit, text("title"));
    e.notes = v["notes"].as_array().into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect();
    e.help = v["help"].as_str().map(str::to_owned);
    e.json = v["json"].as_object().cloned().unwrap_or_default();
    Err(e)
}

fn exit_of(number: u64) -> Option<Exit> {
    use Exit::{Blocked, Busy, Done, HalfWay, Internal, Io, NothingChanged, Refused, RolledBack, Untrusted, Usage};
    let all = [Done, Internal, Usage, NothingChanged, Refused, Untrusted, Io, Busy, RolledBack, Blocked, HalfWay];
    all.into_iter().find(|e| *e as u64 == number)
}

/// In the child: does what the memory at `at` of its parent says.
pub fn help(at: u64, length: u64, work: impl Fn(&Verb) -> Result<Report>) -> u8 {
    // SAFETY: no memory is involved.
    let pid = unsafe { libc::getppid() };
    let Ok(target) = Target::open(pid) else { return Exit::Io as u8 };
    let status = match read_request(&target, at, length) {
        Ok(verb) => supervise::run(pid, &verb, || {
            let outcome = work(&verb);
            let exit = match &outcome {
                Ok(r) => r.exit.unwrap_or(Exit::Done),
                Err(e) => e.exit,
            };
            answer(&target, at, length, exit as u8, outcome);
            exit
        }),
        Err(e) => {
            let exit = e.exit as u8;
            answer(&target, at, length, exit, Err(e));
            exit
        }
    };
    if target.mem.read_u64(at + DONE).is_ok_and(|done| done == 0) {
        // The worker was killed, and its parent has seen to what it left.
        let exit = exit_of(status.into()).unwrap_or(Exit::Internal);
        answer(
            &target,
            at,
            length,
            status,
            Err(Error::new(code::UNFINISHED, exit, "the command that ran inside was killed")),
        );
    }
    status
}

fn read_request(target: &Target, at: u64, length: u64) -> Result<Verb> {
    let lost = lost_of(target);
    let malformed = || Error::internal("a request that can't be read");
    let mut patience = Patience::new(Duration::from_secs(10));
    while target.mem.read_u64(at + GO).map_err(&lost)? == 0 {
        if patience.is_over() {
            return Err(malformed());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let len = |n: u64| target.mem.read_u64(at + LENGTHS + n * 8).map_err(&lost);
    let (request, bundle) = (len(0)?, len(1)?);
    if request.checked_add(bundle).and_then(|n| n.checked_add(TEXT)).is_none_or(|n| n > length) {
        return Err(malformed());
    }
    let text = target.mem.read_vec(at + TEXT, request as usize).map_err(&lost)?;
    let v: Value = serde_json::from_slice(&text).map_err(|_| malformed())?;
    if let Some(step) = v["kill"].as_str() {
        // SAFETY: this program has one thread.
        unsafe { std::env::set_var(fault::KILL, step) };
    }
    let mut words = Vec::new();
    for w in v["words"].as_array().ok_or_else(malformed)? {
        words.push(match w.as_str().ok_or_else(malformed)? {
            "PID" => target.pid.to_string(),
            "BUNDLE" => in_memory(&target.mem.read_vec(at + TEXT + request, bundle as usize).map_err(&lost)?)?,
            other => other.to_owned(),
        });
    }
    Cli::try_parse_from(words).map(|c| c.verb).map_err(|_| malformed())
}

/// A file in memory with these bytes; its path.
fn in_memory(bytes: &[u8]) -> Result<String> {
    let fail = |e| Error::io("cannot make a memory file", &e);
    let name = CString::default();
    // SAFETY: the name ends with a NUL; the descriptor is new and owned here.
    let mut file = unsafe {
        let fd = libc::memfd_create(name.as_ptr(), 0);
        if fd < 0 {
            return Err(fail(std::io::Error::last_os_error()));
        }
        File::from_raw_fd(fd)
    };
    file.write_all(bytes).map_err(fail)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Open until this program ends.
    std::mem::forget(file);
    Ok(path)
}

fn answer(target: &Target, at: u64, length: u64, exit: u8, outcome: Result<Report>) {
    let v = match outcome {
        Ok(r) => json!({ "text": r.text, "json": r.json, "exit": exit }),
        Err(e) => {
            json!({ "code": e.code.0, "title": e.title, "notes": e.notes, "help": e.help, "json": e.json, "exit": exit })
        }
    };
    let text = v.to_string();
    let len = (text.len() as u64).min(length.saturating_sub(TEXT)).min(ANSWER);
    // When the process is gone, whoever waits sees that.
    let _ = target.mem.write(at + TEXT, &text.as_bytes()[..len as usize]);
    let _ = target.mem.write_u64(at + LENGTHS + 16, len);
    let _ = target.mem.write_u64(at + DONE, 1);
}
