//! `--all` and `--exe`: one verb in every process that runs a program, a parent before its children.
//!
//! Each process is a run of this command of its own, so that one failure says nothing of the others. The list is made again until it shows
//! nobody new: a worker that is born meanwhile inherits the patch of its parent, or is patched in the next round.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use hpatch_core::image::Image;
use serde_json::{Value, json};

use super::Report;
use super::args::{BuildId, Which};
use crate::error::{Error, Exit, Result, code};
use crate::interrupt;
use crate::shown::Shown;
use crate::target::{Target, procfs};

/// Nobody forks faster than that for long.
const MAX_ROUNDS: usize = 20;

/// From what says least to what should never be: one process that was changed is more than nothing.
const ORDER: [Exit; 11] = [
    Exit::NothingChanged,
    Exit::Done,
    Exit::Busy,
    Exit::Io,
    Exit::Usage,
    Exit::Refused,
    Exit::Untrusted,
    Exit::RolledBack,
    Exit::HalfWay,
    Exit::Blocked,
    Exit::Internal,
];

/// How bad an exit status is, for the status of all.
fn badness(exit: u8) -> usize {
    ORDER.iter().position(|e| *e as u8 == exit).unwrap_or(ORDER.len())
}

struct One {
    exit: u8,
    json: Value,
    text: String,
}

pub fn run(verb: &str, which: &Which) -> Result<Report> {
    let mut done: BTreeMap<(i32, u64), One> = BTreeMap::new();
    interrupt::hold();
    for _ in 0..MAX_ROUNDS {
        let fresh: Vec<_> =
            members(which)?.into_iter().filter(|m| !done.contains_key(&(m.pid, m.start_time))).collect();
        if fresh.is_empty() {
            return report(verb, done.into_values().collect());
        }
        for m in in_order(fresh) {
            let (one, came) = one(m.pid)?;
            done.extend(one.map(|one| ((m.pid, m.start_time), one)));
            if came || interrupt::came() {
                return Ok(interrupted(report(verb, done.into_values().collect())?));
            }
        }
    }
    Err(Error::new(code::TOO_MANY_THREADS, Exit::Busy, "processes are born faster than they can be patched"))
}

fn report(verb: &str, mut all: Vec<One>) -> Result<Report> {
    // Workers that were born after their parent was reverted never had the bundle.
    let unknown = code::NOT_APPLIED.to_string();
    if all.iter().any(|o| o.exit == Exit::Done as u8) {
        for o in all.iter_mut().filter(|o| o.json["code"] == unknown) {
            o.exit = Exit::NothingChanged as u8;
            o.text = format!("{}: nothing to change\n", o.json["pid"]);
        }
    }
    let Some(worst) = all.iter().max_by_key(|o| badness(o.exit)) else {
        return Err(Error::new(code::NO_SUCH_PROCESS, Exit::Io, "no process runs that program"));
    };
    let exit = worst.exit;
    let mut text = String::new();
    let (mut good, mut bad) = (0, 0);
    for o in &all {
        text.push_str(&o.text);
        *if badness(o.exit) <= 1 { &mut good } else { &mut bad } += 1;
    }
    let _ = writeln!(text, "{verb}: {good} of {} processes", good + bad);
    let processes: Vec<_> = all.into_iter().map(|o| o.json).collect();
    let mut r = Report::new(text, json!({ "ok": bad == 0, "processes": processes, "done": good, "failed": bad }));
    r.exit = Some(ORDER.get(badness(exit)).copied().unwrap_or(Exit::Internal));
    Ok(r)
}

/// What was done so far; whoever is left wasn't tried.
fn interrupted(mut done: Report) -> Report {
    done.text.push_str("interrupted by a signal: no other process was tried\n");
    done.json.extend([("ok".into(), json!(false)), ("interrupted".into(), json!(true))]);
    done.exit = done.exit.filter(|e| badness(*e as u8) > badness(Exit::Busy as u8)).or(Some(Exit::Busy));
    done
}

/// This command for one process, `None` when that one has ended meanwhile; and whether a signal came that ends this one.
fn one(pid: i32) -> Result<(Option<One>, bool)> {
    let program = std::env::current_exe().map_err(|e| Error::io("cannot find this program", &e))?;
    let failed = |e| Error::io("cannot start this program again", &e);
    let mut run = Command::new(program)
        .args(for_pid(std::env::args_os().skip(1), pid))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (stdout, stderr) = (reader(run.stdout.take()), reader(run.stderr.take()));
    let (status, came) = interrupt::wait_for(run.id() as i32).map_err(failed)?;
    let text = |reader: JoinHandle<Vec<u8>>| String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned();
    let (out, err) = (text(stdout), text(stderr));
    let line = out.lines().last().unwrap_or_default();
    let mut json: Value = serde_json::from_str(line).unwrap_or_else(|_| json!({ "ok": false }));
    let exit = ExitStatus::from_raw(status).code().map_or(Exit::Internal as u8, |c| c as u8);
    json["pid"] = json!(pid);
    json["exit"] = json!(exit);
    let ended = [code::NO_SUCH_PROCESS, code::TARGET_GONE].iter().any(|c| json["code"] == c.to_string());
    if ended {
        return Ok((None, came));
    }
    let text = match (exit, json["error"].as_str()) {
        (0, _) => format!("{pid}: done{}{}\n", pause(&json), recovered(&json)),
        (3, _) => format!("{pid}: nothing to change{}\n", recovered(&json)),
        (_, Some(error)) => format!("{pid}: {}: {}\n", json["code"].as_str().unwrap_or("?"), Shown(error)),
        (_, None) => format!("{pid}: exit {exit} {}\n", err.trim()),
    };
    Ok((Some(One { exit, json, text }), came))
}

/// Reads all that comes through a pipe, beside this thread.
fn reader(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came until it failed is what there is.
        let _ = pipe.map(|mut p| p.read_to_end(&mut bytes));
        bytes
    })
}

fn pause(json: &Value) -> String {
    json["pause_us"].as_f64().map_or_else(String::new, |us| format!(", pause {:.3} ms", us / 1e3))
}

/// What a killed command had left in it, and in its forks.
fn recovered(json: &Value) -> String {
    let mut text = String::new();
    let mut add = |whose: &str, v: &Value| {
        for r in v["was_half_way"].as_array().into_iter().flatten() {
            let what = if r["live"] == true { "brought to its end" } else { "taken back" };
            let _ = write!(text, ", {} was half-way{whose} and is {what}", r["id"].as_str().unwrap_or("?"));
        }
    };
    add("", json);
    for f in json["forks"].as_array().into_iter().flatten() {
        add(&format!(" in its fork {}", f["pid"]), f);
    }
    text
}

/// The arguments of this run, with one process in place of the choice of many.
fn for_pid(arguments: impl Iterator<Item = OsString>, pid: i32) -> Vec<OsString> {
    let mut out: Vec<OsString> = Vec::new();
    let mut arguments = arguments.peekable();
    let mut value_follows = false;
    while let Some(a) = arguments.next() {
        let text = a.to_string_lossy().into_owned();
        if std::mem::take(&mut value_follows) || text == "--json" {
            continue;
        }
        if text == "--all" || text == "--exe" {
            value_follows = true;
        } else if !text.starts_with("--all=") && !text.starts_with("--exe=") {
            out.push(a);
        }
        if text == "--" {
            out.extend(arguments.by_ref());
        }
    }
    out.splice(0..0, ["--json".into()]);
    // Behind the verb, in front of everything that might end the options.
    let at = out.iter().position(|a| a == "apply" || a == "revert" || a == "recover").map_or(out.len(), |n| n + 1);
    out.splice(at..at, ["--pid".into(), pid.to_string().into()]);
    out
}

struct Member {
    pid: i32,
    start_time: u64,
    parent: i32,
}

fn members(which: &Which) -> Result<Vec<Member>> {
    let entries = std::fs::read_dir("/proc").map_err(|e| Error::io("cannot list /proc", &e))?;
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let path = which.exe.as_deref().map(whole);
    let fits = |pid: i32| match (&path, &which.all) {
        (Some(path), _) => runs(pid, path),
        (None, Some(id)) => maps(pid, id),
        (None, None) => false,
    };
    let member = |pid| {
        let stat = procfs::task_stat(pid, pid).ok()?;
        Some(Member { pid, start_time: stat.start_time, parent: procfs::parent(pid).ok()? })
    };
    let me = std::process::id() as i32;
    Ok(pids.filter(|pid| *pid != me && fits(*pid)).filter_map(member).collect())
}

/// As the kernel names it, also when there is no such file any more.
fn whole(path: &Path) -> PathBuf {
    let by_folder = || {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(by_folder).unwrap_or_else(|| path.to_owned())
}

/// Started from `path`. A package manager's new file has the name of the old one, which is marked as deleted then.
fn runs(pid: i32, path: &Path) -> bool {
    let Ok(link) = std::fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    let name = link.as_os_str().as_encoded_bytes();
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    let same_file = || {
        use std::os::unix::fs::MetadataExt;
        let at = |p: PathBuf| std::fs::metadata(p).ok().map(|m| (m.dev(), m.ino()));
        let running = at(format!("/proc/{pid}/exe").into());
        running.is_some() && running == at(path.to_owned())
    };
    name == path.as_os_str().as_encoded_bytes() || same_file()
}

fn maps(pid: i32, id: &BuildId) -> bool {
    let Ok(target) = Target::open(pid) else { return false };
    let Ok(maps) = target.maps() else { return false };
    let mut first = maps.iter().filter(|m| m.offset == 0 && m.inode != 0 && m.read);
    first.any(|m| Image::at(&target.mem, m.start).is_some_and(|i| i.build_id() == id.0))
}

/// Parents first.
fn in_order(mut all: Vec<Member>) -> Vec<Member> {
    let mut out: Vec<Member> = Vec::new();
    all.sort_by_key(|m| (m.start_time, m.pid));
    while !all.is_empty() {
        let left: BTreeSet<i32> = all.iter().map(|m| m.pid).collect();
        let (next, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|m| !left.contains(&m.parent));
        if next.is_empty() {
            // Pids that were given again meanwhile can look like a circle.
            out.extend(rest);
            return out;
        }
        out.extend(next);
        all = rest;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn arguments_for_one_process() {
        let for_7 = |text: &str| for_pid(words(text).into_iter(), 7);
        assert_eq!(for_7("apply --exe /a/b x.hpatch --timeout 3"), words("--json apply --pid 7 x.hpatch --timeout 3"));
        assert_eq!(for_7("--json revert --all=00 fix"), words("--json revert --pid 7 fix"));
        assert_eq!(for_7("apply --all 00 -- --exe"), words("--json apply --pid 7 -- --exe"));
    }

    #[test]
    fn parents_come_first() {
        let member = |pid, start_time, parent| Member { pid, start_time, parent };
        let order = in_order(vec![member(9, 5, 4), member(4, 5, 1), member(12, 5, 9), member(3, 9, 1)]);
        assert_eq!(order.iter().map(|m| m.pid).collect::<Vec<_>>(), [4, 3, 9, 12]);
    }
}
