//! Threads of the program that are lent to the command for a system call: what they were at goes on as if nothing had been.

use super::{Case, Pair, answers};
use crate::bundle::Signer;
use crate::left_out::{RELEASE, left_out};
use crate::process;
use crate::target::{self, Launch, Target};
use crate::{Result, check, fail, paths};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "attached on a small stack", hazards: "S7,S13", run: small_stack },
    Case { name: "strict mode of seccomp", hazards: "S7", run: strict },
    Case { name: "calls that the program takes", hazards: "S7", run: taken_calls },
    Case { name: "replaced again and again", hazards: "S4,S10", run: replaced },
    Case { name: "no descriptor left", hazards: "S11", run: no_descriptor },
    Case { name: "named by a thread's id", hazards: "S10", run: named_by_thread },
    Case { name: "a lock in the hands of somebody else", hazards: "B5", run: squatted },
    Case { name: "a write that takes its time", hazards: "S5", run: whole_write },
    Case { name: "killed in a resumed call", hazards: "S5,S13", run: resumed },
];

/// The stack that the thread is on ends where its neighbour's begins.
fn small_stack() -> Result<()> {
    let pair = Pair::make("small_stacks", "small-stacks")?;
    let mut target = Target::start(&pair.builds.old.program, &Launch::default())?;
    target.send("sleep")?;
    std::thread::sleep(Duration::from_millis(300));
    let trust = Signer::shared()?.trust();
    target::hpatch("attach", target.pid(), &["--trust", &trust.to_string_lossy()])?.expect(0)?;
    let answer = target.answer("sleep")?;
    check!(answer == "wrong 0", "the stacks hold other values: {answer}");
    answers(&mut target, "value", "2", "attached")?;
    target.finish()
}

/// Allows nothing but reading and writing: suspended for the loader's calls where the kernel permits that, else refused.
fn strict() -> Result<()> {
    let pair = Pair::make("odd", "odd-strict")?;
    let mut target = pair.start()?;
    answers(&mut target, "value", "2 2", "before")?;
    answers(&mut target, "strict", "done", "before")?;
    let output = target.apply_within(&pair.bundle, 2)?;
    if output.code() == Some(0) {
        answers(&mut target, "value", "101 200", "patched")?;
        target.revert("fix")?.expect(0)?;
    } else {
        let output = output.expect(4)?;
        check!(output.text().contains("HP1410"), "expected HP1410: {}", output.describe());
    }
    answers(&mut target, "value", "2 2", "at the end")
}

/// A call that isn't the C library's raises a signal in place of being made.
fn taken_calls() -> Result<()> {
    let pair = Pair::make("odd", "odd-dispatch")?;
    let mut target = pair.start()?;
    if target.ask("take calls")? != "done" {
        left_out("the kernel has no dispatch of system calls to the program");
        return target.finish();
    }
    let output = target.apply_within(&pair.bundle, 2)?.expect(4)?;
    check!(output.text().contains("HP1410"), "expected HP1410: {}", output.describe());
    answers(&mut target, "value", "2 2", "refused")?;
    target.finish()
}

/// The command comes to an end, whatever the process has become meanwhile.
fn replaced() -> Result<()> {
    let pair = Pair::make("execs", "execs")?;
    let mut target = pair.start()?;
    answers(&mut target, "go on", "begun", "before")?;
    for _ in 0..25 {
        // Fails by itself when the command doesn't end.
        let output = target.apply_within(&pair.bundle, 1)?;
        check!(matches!(output.code(), Some(0 | 4 | 6 | 7)), "unexpected end: {}", output.describe());
    }
    Ok(())
}

/// What the process has used up is said, and how it gets more.
fn no_descriptor() -> Result<()> {
    let pair = Pair::make("odd", "odd-descriptors")?;
    let mut target = pair.start()?;
    let pid = target.pid().to_string();
    answers(&mut target, "value", "2 2", "before")?;
    process::run(Command::new("prlimit").args(["--pid", &pid, "--nofile=3:"]), Duration::from_secs(5))?.expect(0)?;
    let output = target.apply_within(&pair.bundle, 1)?.expect(5)?;
    check!(output.text().contains("RLIMIT_NOFILE"), "the limit isn't named: {}", output.describe());
    answers(&mut target, "value", "2 2", "refused")?;
    process::run(Command::new("prlimit").args(["--pid", &pid, "--nofile=64:"]), Duration::from_secs(5))?.expect(0)?;
    target.apply(&pair.bundle)?.expect(0)?;
    answers(&mut target, "value", "101 200", "patched")?;
    target.finish()
}

/// No command takes a thread for a process.
fn named_by_thread() -> Result<()> {
    let pair = Pair::make("odd", "odd-thread")?;
    let mut target = pair.start()?;
    target.ask("idle 1")?;
    let tasks = std::fs::read_dir(format!("/proc/{}/task", target.pid()))?.flatten();
    let mut ids = tasks.filter_map(|t| t.file_name().to_str()?.parse::<u32>().ok());
    let Some(thread) = ids.find(|id| *id != target.pid()) else { fail!("no second thread") };
    let bundle = pair.bundle.to_string_lossy();
    for (verb, more) in [("apply", &[&*bundle][..]), ("status", &[]), ("verify", &[])] {
        let output = target::hpatch(verb, thread, more)?.expect(6)?;
        let way = format!("--pid {}", target.pid());
        check!(output.text().contains(&way), "{verb} doesn't say `{way}`: {}", output.describe());
    }
    answers(&mut target, "value", "2 2", "at the end")
}

/// Who may do nothing to a process keeps nobody from it; whoever may, does.
fn squatted() -> Result<()> {
    let pair = Pair::make("odd", "odd-squatted")?;
    for (user, code) in [("nobody", 0), ("no new privileges", 7)] {
        let mut target = pair.start()?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", target.pid()))?;
        let Some(begun) = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19)) else { fail!("{stat}") };
        let mut other = Target::start(&pair.builds.old.program, &Launch::default())?;
        if other.ask(user)? != "done" {
            left_out("only root can become nobody");
            continue;
        }
        answers(&mut other, &format!("listen hpatch/{}/{begun}", target.pid()), "done", "before")?;
        target.apply_within(&pair.bundle, 1)?.expect(code)?;
        answers(&mut target, "value", if code == 0 { "101 200" } else { "2 2" }, "at the end")?;
    }
    Ok(())
}

/// A thread whose call has been interrupted before isn't lent where another can be.
fn resumed() -> Result<()> {
    for step in ["hijacked#1", "hijacked#2", "hijacked#3"] {
        let pair = Pair::make("resumed", "resumed")?;
        let mut target = pair.start()?;
        answers(&mut target, "serve elsewhere", "done", "before")?;
        let mut command = Command::new(paths::tool("hpatch")?);
        command.args(["apply", "--pid", &target.pid().to_string()]).arg(&pair.bundle);
        // With its worker, which is in its group.
        command.process_group(0).env("HPATCH_TEST_KILL", step).env("HPATCH_TEST_KILL_PID", "0");
        if process::run(&mut command, Duration::from_secs(30))?.code().is_some() {
            left_out(RELEASE);
            return target.finish();
        }
        answers(&mut target, "interrupted", "0", step)?;
        // A worker that outlived the command has done it.
        let output = target.apply(&pair.bundle)?;
        check!(matches!(output.code(), Some(0 | 3)), "not applied: {}", output.describe());
        answers(&mut target, "value", "101", "patched")?;
        answers(&mut target, "interrupted", "0", "patched")?;
    }
    Ok(())
}

/// A call that moves bytes would end early, and nothing could be done about it: it is waited for.
fn whole_write() -> Result<()> {
    let pair = Pair::make("resumed", "whole-write")?;
    let mut target = pair.start()?;
    target.ask("write")?;
    target.apply(&pair.bundle)?.expect(0)?;
    answers(&mut target, "written", "1048576", "patched meanwhile")?;
    answers(&mut target, "value", "101", "patched")?;
    target.ask("write")?;
    target.revert("fix")?.expect(0)?;
    answers(&mut target, "written", "1048576", "reverted meanwhile")?;
    target.finish()
}
