//! The operator's command under bad luck: killed at each step, on a stopped process, on one that knows no loader.

use super::{Case, Pair};
use crate::bundle::Signer;
use crate::left_out::{RELEASE, left_out};
use crate::process::{Output, run};
use crate::snapshot::Snapshot;
use crate::target::{self, Launch, Target};
use crate::{Result, check, fail, paths};
use std::process::Command;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "worker killed at each step", hazards: "S13", run: worker_killed },
    Case { name: "command killed at each step", hazards: "S13", run: command_killed },
    Case { name: "command that was started without signals", hazards: "S13", run: without_signals },
    Case { name: "interrupted command", hazards: "S13", run: interrupted },
    Case { name: "a slow loader", hazards: "S13,S14", run: slow },
    Case { name: "attach killed at each call", hazards: "S7,S13", run: attach_killed },
    Case { name: "target killed at each step", hazards: "S13", run: target_killed },
    Case { name: "stopped process", hazards: "S4,S10", run: stopped },
    Case { name: "attached", hazards: "S7", run: attached },
];

/// Steps between the first byte written and the last, at which a debug build of `hpatch` can be told to die.
const STEPS: [&str; 3] = ["writing", "first-write", "written"];

fn killed_at(step: &str, pair: &Pair, target: &Target) -> Result<Output> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args(["apply", "--pid", &target.pid().to_string()]).arg(&pair.bundle).env("HPATCH_TEST_KILL", step);
    run(&mut command, Duration::from_secs(30))
}

/// The parent takes the change back.
fn worker_killed() -> Result<()> {
    let pair = Pair::make("counter", "worker-killed")?;
    let mut target = pair.start()?;
    for step in STEPS {
        let output = killed_at(step, &pair, &target)?;
        if output.code() == Some(0) {
            left_out(RELEASE);
            return target.finish();
        }
        output.expect(8)?;
        target.verify()?.expect(0)?;
    }
    let before = target.ask("value")?;
    target.apply(&pair.bundle)?.expect(0)?;
    check!(target.ask("value")? != before, "it can't be applied after what was taken back");
    target.verify()?.expect(0)?;
    target.finish()
}

/// Some supervisors ignore their children's ends, or block signals, and so does what they start.
fn without_signals() -> Result<()> {
    let pair = Pair::make("edits", "without-signals")?;
    let mut target = pair.start()?;
    let pid = target.pid().to_string();
    let apply = |step: Option<&str>, seconds: &str| {
        let mut command = Command::new("env");
        command.args(["--ignore-signal=CHLD", "--block-signal"]).arg(paths::tool("hpatch")?);
        command.args(["apply", "--timeout", seconds, "--pid", &pid]).arg(&pair.bundle);
        command.envs(step.map(|step| ("HPATCH_TEST_KILL", step)));
        run(&mut command, Duration::from_secs(40))
    };
    target.ask("enter")?;
    apply(None, "1")?.expect(7)?;
    check!(target.ask("leave")? == "left", "the thread didn't leave");
    let output = apply(Some("written"), "30")?;
    if output.code() == Some(0) {
        left_out(RELEASE);
        target.revert("fix")?.expect(0)?;
    } else {
        output.expect(8)?;
    }
    target.verify()?.expect(0)?;
    apply(None, "30")?.expect(0)?;
    target.verify()?.expect(0)?;
    target.finish()
}

/// Ctrl-C and its like, to the command alone, while the code is in use.
fn interrupted() -> Result<()> {
    let pair = Pair::make("busy", "interrupted")?;
    let mut target = pair.start()?;
    target.ask("enter")?;
    let before = Snapshot::take(target.pid())?;
    let pid = target.pid().to_string();
    let program = pair.builds.old.program.to_string_lossy();
    let bundle = pair.bundle.to_string_lossy();
    let apply = |ignored: &str, which: [&str; 2], signal: &str, seconds: &str| -> Result<Output> {
        let mut command = Command::new("timeout");
        command.args(["--foreground", "--preserve-status", "--signal", signal, "0.5", "env"]);
        command.arg(format!("--ignore-signal={ignored}")).arg(paths::tool("hpatch")?).arg("apply").args(which);
        run(command.args([&*bundle, "--timeout", seconds]), Duration::from_secs(40))
    };
    for signal in ["INT", "TERM", "HUP", "QUIT"] {
        for which in [["--pid", &pid], ["--exe", &program]] {
            let output = apply("PIPE", which, signal, "20")?.expect(7)?;
            check!(output.text().contains("HP1210"), "{which:?}, SIG{signal}: {}", output.describe());
            check!(output.elapsed < Duration::from_secs(10), "{which:?}, SIG{signal}: {}", output.describe());
        }
    }
    // With `nohup`, and from a shell's background.
    for signal in ["HUP", "INT"] {
        let output = apply(signal, ["--pid", &pid], signal, "2")?.expect(7)?;
        check!(output.text().contains("HP1201"), "SIG{signal} is ignored: {}", output.describe());
    }
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("interrupted commands left something behind: {difference}");
    }
    check!(target.ask("leave")? == "left", "the thread didn't leave");
    target.apply(&pair.bundle)?.expect(0)?;
    target.verify()?.expect(0)?;
    target.finish()
}

/// The parent is killed too: `status` and `verify` say so, `recover` and the next `apply` take the change back.
fn command_killed() -> Result<()> {
    let pair = Pair::make("counter", "command-killed")?;
    let mut target = pair.start()?;
    let mut value = target.ask("value")?;
    for step in STEPS {
        let output = killed_at(&format!("all:{step}"), &pair, &target)?;
        if output.code() == Some(0) {
            return target.finish();
        }
        target.ask("value")?;
        target.verify()?.expect(10)?;
        let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
        check!(status.text().contains("half-way"), "status: {}", status.describe());
        target::hpatch("recover", target.pid(), &[])?.expect(0)?;
        target.verify()?.expect(0)?;
        target::hpatch("recover", target.pid(), &[])?.expect(3)?;
    }
    killed_at("all:first-write", &pair, &target)?;
    target.apply(&pair.bundle)?.expect(0)?;
    let patched = target.ask("value")?;
    check!(patched != value, "the bundle isn't live after the second try");
    killed_at_revert(&target)?;
    target.verify()?.expect(10)?;
    target::hpatch("recover", target.pid(), &[])?.expect(0)?;
    target.verify()?.expect(0)?;
    value = target.ask("value")?;
    check!(value != patched, "the half-done revert wasn't finished");
    target.finish()
}

fn killed_at_revert(target: &Target) -> Result<()> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args(["revert", "--pid", &target.pid().to_string(), "fix"]).env("HPATCH_TEST_KILL", "all:first-write");
    run(&mut command, Duration::from_secs(30)).map(drop)
}

/// `hpatch` with the loader doing the operation `slow` only after the command has ended.
fn with_slow(slow: &str, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args(arguments).env("HPATCH_TEST_SLOW", slow);
    run(&mut command, Duration::from_secs(30))
}

/// An answer that comes late changes nothing about the truth: what isn't switched is said to be as before, what is switched is said to be live.
fn slow() -> Result<()> {
    let pair = Pair::make("counter", "slow-loader")?;
    let mut target = pair.start()?;
    let pid = target.pid().to_string();
    let bundle = pair.bundle.to_string_lossy();
    let old = target.ask("value")?;
    let before = Snapshot::take(target.pid())?;
    for operation in ["Alloc", "Prepare"] {
        let output = with_slow(operation, &["apply", "--pid", &pid, &bundle])?;
        if output.code() == Some(0) {
            left_out(RELEASE);
            return target.finish();
        }
        let output = output.expect(7)?;
        check!(output.text().contains("HP1406"), "expected HP1406: {}", output.describe());
        check!(target.ask("value")? == old, "{operation} came late, and the process isn't as before");
    }
    let output = with_slow("Commit", &["--json", "apply", "--pid", &pid, &bundle])?.expect(0)?;
    let said: serde_json::Value = serde_json::from_str(&output.stdout)?;
    check!(said["changed"] == true && said["barrier"] == false, "the commit came late: {said}");
    let new = target.ask("value")?;
    check!(new != old, "said to be live, and `value` gives `{new}`");
    target.verify()?.expect(0)?;
    let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
    check!(status.text().contains("fix live"), "status: {}", status.describe());
    let output = with_slow("Release", &["--json", "revert", "--unmap", "--pid", &pid, "fix"])?.expect(0)?;
    let said: serde_json::Value = serde_json::from_str(&output.stdout)?;
    check!(said["unmapped"] == false, "the release came late: {said}");
    check!(target.ask("value")? == old, "said to be reverted, and `value` isn't as before");
    target.apply(&pair.bundle)?.expect(0)?;
    target.revert_and_unmap("fix")?.expect(0)?;
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("late answers left something behind: {difference}");
    }
    target.finish()
}

/// A thread that was lent for a system call goes back by itself, and what an `attach` left half-way is no obstacle to the next.
fn attach_killed() -> Result<()> {
    let pair = Pair::make("threads", "attach-killed")?;
    let trust = Signer::shared()?.trust();
    let attach = |target: &Target, step: &str| -> Result<Output> {
        let mut command = Command::new(paths::tool("hpatch")?);
        command.args(["attach", "--pid", &target.pid().to_string(), "--trust"]).arg(&trust);
        command.env("HPATCH_TEST_KILL", step);
        run(&mut command, Duration::from_secs(30))
    };
    let mut target = Target::start(&pair.builds.old.program, &Launch::default())?;
    target.ask("start 8")?;
    for call in ["hijacked", "called", "placed"] {
        let mut killed = 0;
        while attach(&target, &format!("{call}#{}", killed + 1))?.code().is_none() && killed < 40 {
            killed += 1;
            let value = target.ask("value")?;
            check!(value == "25", "killed at {call} {killed}: `value` gives `{value}`");
            if call == "placed" {
                // The loader is there, without keys: nothing is trusted yet, and attaching again gives it some.
                target.apply(&pair.bundle)?.expect(5)?;
                break;
            }
        }
        check!(killed > 0 || cfg!(not(debug_assertions)), "the command wasn't killed at {call}");
        if call != "placed" {
            // The last one came through.
            target.apply(&pair.bundle)?.expect(0)?;
            check!(target.ask("value")? == "37", "not patched after {killed} kills at {call}");
            check!(target.ask("stop 8")? == "wrong 0, calls made", "after the kills at {call}");
            target.finish()?;
            target = Target::start(&pair.builds.old.program, &Launch::default())?;
            target.ask("start 8")?;
        }
    }
    attach(&target, "")?.expect(0)?;
    target.apply(&pair.bundle)?.expect(0)?;
    check!(target.ask("value")? == "37", "not patched after an attach in two parts");
    check!(target.ask("stop 8")? == "wrong 0, calls made", "at the end");
    target.finish()
}

/// The process dies at each step of an apply: the command says so, and the process's parent sees its end at once.
fn target_killed() -> Result<()> {
    let pair = Pair::make("threads", "target-killed")?;
    for step in
        ["hijacked", "called", "hijacked#2", "called#2", "writing", "first-write", "written", "hijacked#3", "called#3"]
    {
        let mut target = pair.start()?;
        target.ask("start 4")?;
        let pid = target.pid().to_string();
        let mut command = Command::new(paths::tool("hpatch")?);
        command.args(["apply", "--pid", &pid]).arg(&pair.bundle);
        command.env("HPATCH_TEST_KILL", step).env("HPATCH_TEST_KILL_PID", &pid);
        let output = run(&mut command, Duration::from_secs(30))?;
        if output.code() == Some(0) && step == "hijacked" {
            left_out(RELEASE);
            return target.finish();
        }
        // All was done, and seen to be, before the kernel came to ending the process.
        if output.code() == Some(0) && step == "called#3" {
            check!(target.killed()?, "nobody was killed at {step}");
            continue;
        }
        let told = ["HP1208", "HP1408"].iter().any(|code| output.text().contains(code));
        check!(output.code() == Some(6) && told, "killed at {step}: {}", output.describe());
        check!(target.killed()?, "killed at {step}, and its parent doesn't see it");
    }
    Ok(())
}

/// Job control: what was stopped stays stopped, patched or reverted.
fn stopped() -> Result<()> {
    let pair = Pair::make("counter", "stopped")?;
    let mut target = pair.start()?;
    let before = target.ask("value")?;
    signal(&target, "STOP")?;
    target.apply(&pair.bundle)?.expect(0)?;
    check!(state(&target)? == 'T', "the process runs after apply");
    signal(&target, "CONT")?;
    check!(target.ask("value")? != before, "the bundle isn't live");
    signal(&target, "STOP")?;
    target.revert_and_unmap("fix")?.expect(0)?;
    check!(state(&target)? == 'T', "the process runs after revert");
    signal(&target, "CONT")?;
    target.ask("value")?;
    target.finish()
}

fn signal(target: &Target, name: &str) -> Result<()> {
    run(Command::new("kill").arg(format!("-{name}")).arg(target.pid().to_string()), Duration::from_secs(5))?
        .expect(0)?;
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}

fn state(target: &Target) -> Result<char> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", target.pid()))?;
    Ok(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?'))
}

/// A process that was started without the loader.
fn attached() -> Result<()> {
    let pair = Pair::make("counter", "attached")?;
    let mut target = Target::start(&pair.builds.old.program, &Launch::default())?;
    let before = target.ask("value")?;
    target.apply(&pair.bundle)?.expect(4)?;
    let trust = Signer::shared()?.trust();
    let trust = trust.to_string_lossy();
    target::hpatch("attach", target.pid(), &["--trust", &trust])?.expect(0)?;
    target::hpatch("attach", target.pid(), &["--trust", &trust])?.expect(3)?;
    target.apply(&pair.bundle)?.expect(0)?;
    check!(target.ask("value")? != before, "the bundle isn't live");
    target.verify()?.expect(0)?;
    target.revert("fix")?.expect(0)?;
    target.ask("value")?;
    target.finish()
}
