//! Pids that are given again: a killed command's, and that of the process that it worked on.

use super::{Case, Pair, answers};
use crate::left_out::{RELEASE, left_out};
use crate::process::{Output, run};
use crate::target::{self, Target};
use crate::{Failure, Result, check, fail, paths};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "killed, and its pid given to another", hazards: "S13,S14", run: of_command },
    Case { name: "killed, and the pid of its process given to another", hazards: "S13", run: of_process },
];

/// How often a pid is tried: others on the machine start programs, too.
const TRIES: usize = 200;

/// Starts something with this pid; `None` where the kernel doesn't let us choose (`ns_last_pid`, proc_sys_kernel(5)).
fn with_pid<T>(
    wanted: u32,
    mut start: impl FnMut() -> Result<T>,
    pid: impl Fn(&T) -> u32,
    mut end: impl FnMut(T),
) -> Result<Option<T>> {
    for _ in 0..TRIES {
        if std::fs::write("/proc/sys/kernel/ns_last_pid", format!("{}", wanted - 1)).is_err() {
            return Ok(None);
        }
        let started = start()?;
        if pid(&started) == wanted {
            return Ok(Some(started));
        }
        end(started);
    }
    fail!("no process got the pid {wanted}")
}

fn kill(mut child: Child) {
    // Both fail only when it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Kills an apply half-way; `None` where `hpatch` has no such switch.
fn killed(pair: &Pair, target: &Target) -> Result<Option<Output>> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args(["apply", "--pid", &target.pid().to_string()]).arg(&pair.bundle);
    command.env("HPATCH_TEST_KILL", "all:written");
    let output = run(&mut command, Duration::from_secs(30))?;
    if output.code().is_some() {
        left_out(RELEASE);
    }
    Ok(output.code().is_none().then_some(output))
}

/// The pid of the command that has a process in its hands, or had when it was killed.
fn owner(target: &Target) -> Result<u32> {
    let status = target::hpatch("status", target.pid(), &["--json"])?.expect(0)?;
    let said: serde_json::Value = serde_json::from_str(&status.stdout)?;
    let owner = said["owner"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
    owner.ok_or_else(|| Failure(format!("no owner: {said}")))
}

/// Whoever has a killed command's pid now, by the same name even, isn't at work on the process.
fn of_command() -> Result<()> {
    let pair = Pair::make("counter", "reused-command")?;
    let mut target = pair.start()?;
    if killed(&pair, &target)?.is_none() {
        return target.finish();
    }
    let wanted = owner(&target)?;
    // The name by which commands are listed.
    let other = pair.builds.folder.join("hpatch");
    std::fs::copy(Path::new("/bin/sleep"), &other)?;
    let start = || Ok(Command::new(&other).arg("60").stdin(Stdio::null()).spawn()?);
    let Some(other) = with_pid(wanted, start, Child::id, kill)? else { return target.finish() };
    let outcome = recovered(&mut target);
    kill(other);
    outcome?;
    target.finish()
}

fn recovered(target: &mut Target) -> Result<()> {
    target.verify()?.expect(10)?;
    let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
    check!(status.text().contains("half-way"), "another's pid is taken for the command's: {}", status.describe());
    target::hpatch("recover", target.pid(), &[])?.expect(0)?;
    target.verify()?.expect(0)?;
    answers(target, "value", "2", "recovered")
}

/// A process that has the pid of one that was left half-way has nothing to be taken back.
fn of_process() -> Result<()> {
    let pair = Pair::make("counter", "reused-process")?;
    let target = pair.start()?;
    let wanted = target.pid();
    if killed(&pair, &target)?.is_none() {
        return target.finish();
    }
    target.verify()?.expect(10)?;
    drop(target);
    let Some(mut target) = with_pid(wanted, || pair.start(), Target::pid, drop)? else { return Ok(()) };
    let status = target::hpatch("status", wanted, &[])?.expect(0)?;
    check!(!status.text().contains("half-way") && !status.text().contains("fix"), "{}", status.describe());
    target::hpatch("recover", wanted, &[])?.expect(3)?;
    answers(&mut target, "value", "2", "another process")?;
    target.apply(&pair.bundle)?.expect(0)?;
    answers(&mut target, "value", "101", "another process, patched")?;
    target.finish()
}
