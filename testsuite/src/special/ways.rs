//! The ways to a process where ptrace is refused: a child of it, a rendezvous by signal, and the refusal.

use super::{Case, Pair, answers, compiled};
use crate::bundle::Signer;
use crate::left_out::left_out;
use crate::process::{Output, run};
use crate::program::Config;
use crate::snapshot::Snapshot;
use crate::target::{Launch, Target};
use crate::{Result, check, fail, paths};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    Case { name: "other ways, busy threads", hazards: "S7,S13", run: busy_threads },
    Case { name: "other ways, blocking calls", hazards: "S5,S7", run: calls },
    Case { name: "other ways, every kind of call", hazards: "S5,S7", run: kinds_of_calls },
    Case { name: "a signal while all stand still", hazards: "S5", run: signal_meanwhile },
    Case { name: "other ways, busy function", hazards: "S1,S7", run: busy },
    Case { name: "other ways, killed at each step", hazards: "S7,S13", run: killed },
    Case { name: "signals can't reach", hazards: "S4,S7", run: refused },
    Case { name: "nothing to start inside", hazards: "S7", run: nothing_inside },
    Case { name: "memory files without the right to execute", hazards: "S7", run: no_exec_files },
    Case { name: "ptrace refused to the command", hazards: "S7", run: confined },
    Case { name: "ptrace refused to both", hazards: "S7", run: confined_both },
];

/// Real-time, used by no scenario program.
const SIGNAL: &str = "40";
const OTHER_WAYS: [&str; 2] = ["inside", "signals"];

/// `hpatch run --signal`.
fn start(program: &Path) -> Result<Target> {
    let trust = Signer::shared()?.trust();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let words = ["run", "--trust", &text(&trust), "--signal", SIGNAL, "--", &text(program)].map(str::to_owned);
    Target::start(&paths::tool("hpatch")?, &Launch { arguments: words.to_vec(), ..Launch::default() })
}

/// `hpatch` by one way only; `None` when it is a release build, which can't be told.
fn hpatch(way: &str, target: &Target, verb: &str, more: &[&str], kill: &str) -> Result<Option<Output>> {
    if !cfg!(debug_assertions) {
        return Ok(None);
    }
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args([verb, "--pid", &target.pid().to_string()]).args(more);
    command.env("HPATCH_TEST_WAY", way).env("HPATCH_TEST_KILL", kill);
    run(&mut command, Duration::from_secs(60)).map(Some)
}

/// Threads that call the function all the time: in and out, with nothing left over.
fn busy_threads() -> Result<()> {
    let pair = Pair::make("threads", "ways-threads")?;
    let bundle = pair.bundle.to_string_lossy();
    let mut target = start(&pair.builds.old.program)?;
    target.ask("start 16")?;
    let before = Snapshot::take(target.pid())?;
    for way in OTHER_WAYS {
        for cycle in 0..6 {
            let when = format!("{way}, cycle {cycle}");
            let Some(output) = hpatch(way, &target, "apply", &[&bundle], "")? else { return target.finish() };
            output.expect(0)?;
            answers(&mut target, "value", "37", &when)?;
            target.verify()?.expect(0)?;
            if let Some(output) = hpatch(way, &target, "revert", &["fix", "--unmap"], "")? {
                output.expect(0)?;
            }
            answers(&mut target, "value", "25", &when)?;
        }
        if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
            fail!("{way} left something behind: {difference}");
        }
        let left = children(target.pid())?;
        check!(left.is_empty(), "{way} left children behind: {left:?}");
    }
    answers(&mut target, "stop 16", "wrong 0, calls made", "at the end")?;
    target.finish()
}

/// Children of a process, those that nobody has waited for among them.
fn children(pid: u32) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        // Whoever has ended meanwhile is nobody's child.
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status.lines().any(|l| l.strip_prefix("PPid:").is_some_and(|p| p.trim() == pid.to_string())) {
            found.push(status.lines().next().unwrap_or_default().to_owned());
        }
    }
    Ok(found)
}

/// No sleeping system call returns early, and no signal of the program is lost.
fn calls() -> Result<()> {
    let pair = Pair::make("blocking", "ways-calls")?;
    let bundle = pair.bundle.to_string_lossy();
    for way in OTHER_WAYS {
        let mut target = start(&pair.builds.old.program)?;
        target.ask("sleep open")?;
        for timer in [false, true] {
            if timer {
                // With this, calls that no handler lets go on are interrupted by the program's own signals.
                answers(&mut target, "interrupted", "0", way)?;
                target.ask("timer")?;
            }
            for _ in 0..5 {
                let Some(output) = hpatch(way, &target, "apply", &[&bundle], "")? else { return target.finish() };
                output.expect(0)?;
                answers(&mut target, "value", "101", way)?;
                if let Some(output) = hpatch(way, &target, "revert", &["fix"], "")? {
                    output.expect(0)?;
                }
                answers(&mut target, "value", "2", way)?;
            }
        }
        answers(&mut target, "alarms", "some", way)?;
        target.finish()?;
    }
    Ok(())
}

/// Every kind of blocking call that is known to notice signals or not, one in each process: it ends as it does undisturbed, and not before.
fn kinds_of_calls() -> Result<()> {
    let pair = Pair::make("calls", "ways-kinds")?;
    let names = pair.start()?.ask("names")?;
    let names: Vec<&str> = names.split(" | ").collect();
    check!(names.len() >= 47, "only {} kinds of calls", names.len());
    for some in names.chunks(8) {
        let mut disturbed: Vec<(&str, Target, Instant)> = Vec::new();
        let mut alone: Vec<Target> = Vec::new();
        for name in some {
            alone.push(begin_call(&pair, name)?);
            disturbed.push((name, begin_call(&pair, name)?, Instant::now()));
        }
        thread::sleep(Duration::from_millis(100));
        let mut late = Vec::new();
        for (name, target, begun) in &disturbed {
            if !switch_in_time(&pair, target, *begun)? {
                late.push(*name);
            }
        }
        let expected = alone.iter_mut().map(|t| t.answer("call")).collect::<Result<Vec<_>>>()?;
        for ((name, target, _), wanted) in disturbed.iter_mut().zip(&expected) {
            if !late.contains(name) {
                same_end(name, wanted, &target.answer("call")?)?;
                continue;
            }
            // On a busy machine its turn came too late: once more, alone.
            let mut target = begin_call(&pair, name)?;
            let begun = Instant::now();
            thread::sleep(Duration::from_millis(50));
            check!(switch_in_time(&pair, &target, begun)?, "{name}: no switch while it was blocked");
            same_end(name, wanted, &target.answer("call")?)?;
        }
    }
    Ok(())
}

/// How long a call blocks, `MS` in the program.
const BLOCKED: Duration = Duration::from_millis(1500);

fn begin_call(pair: &Pair, name: &str) -> Result<Target> {
    let mut target = start(&pair.builds.old.program)?;
    target.ask(&format!("call {name}"))?;
    Ok(target)
}

/// Applies the bundle by signals; whether that was done before the call ended.
fn switch_in_time(pair: &Pair, target: &Target, begun: Instant) -> Result<bool> {
    if begun.elapsed() >= BLOCKED {
        return Ok(false);
    }
    // A thread that moves bytes is waited for during half of the timeout, which has to be over before its call is.
    let options = [&*pair.bundle.to_string_lossy(), "--timeout", "1.3"];
    if let Some(output) = hpatch("signals", target, "apply", &options, "")? {
        // The process ends with its call, which began a little earlier than was noted.
        if output.code() != Some(0) && begun.elapsed() + BLOCKED / 10 >= BLOCKED {
            return Ok(false);
        }
        output.expect(0)?;
    }
    Ok(begun.elapsed() < BLOCKED)
}

/// What a call gave, its error and its milliseconds, undisturbed and disturbed. A timeout may have begun anew.
fn same_end(name: &str, wanted: &str, found: &str) -> Result<()> {
    let fields = |answer: &str| answer.split([' ', '|']).filter_map(|f| f.parse::<i64>().ok()).collect::<Vec<_>>();
    match (&fields(wanted)[..], &fields(found)[..]) {
        // It waits for ever.
        ([], []) if wanted == found && wanted.contains("stuck") => Ok(()),
        ([value, error, _], [same, also, took]) if value == same && error == also => {
            check!(*took >= BLOCKED.as_millis() as i64 - 10, "{name} ended early: `{found}`");
            Ok(())
        }
        _ => fail!("{name}: undisturbed `{wanted}`, disturbed `{found}`"),
    }
}

/// A signal of somebody else that comes while all stand still runs its handler afterwards, and ends the call that it comes upon.
fn signal_meanwhile() -> Result<()> {
    let pair = Pair::make("blocking", "ways-signal")?;
    for way in ["outside", "signals"] {
        let mut target = start(&pair.builds.old.program)?;
        target.ask("handler")?;
        target.ask("sleep open")?;
        let pid = target.pid().to_string();
        let mut command = Command::new(paths::tool("hpatch")?);
        command.args(["apply", "--pid", &pid]).arg(&pair.bundle).env("HPATCH_TEST_WAY", way);
        command.envs([
            ("HPATCH_TEST_KILL", "writing"),
            ("HPATCH_TEST_KILL_PID", &pid),
            ("HPATCH_TEST_KILL_SIGNAL", "14"),
        ]);
        run(&mut command, Duration::from_secs(30))?.expect(0)?;
        if cfg!(debug_assertions) {
            answers(&mut target, "alarms", "some", way)?;
        }
        answers(&mut target, "value", "101", way)?;
        // Without another signal nothing more is interrupted.
        let interrupted = target.ask("interrupted")?;
        target.revert("fix")?.expect(0)?;
        answers(&mut target, "interrupted", &interrupted, way)?;
        target.finish()?;
    }
    Ok(())
}

/// The same check of the stacks, and the same words.
fn busy() -> Result<()> {
    let pair = Pair::make("busy", "ways-busy")?;
    let bundle = pair.bundle.to_string_lossy();
    let mut target = start(&pair.builds.old.program)?;
    for way in OTHER_WAYS {
        target.ask("enter")?;
        let before = Snapshot::take(target.pid())?;
        let Some(output) = hpatch(way, &target, "apply", &[&bundle, "--timeout", "1"], "")? else {
            return target.finish();
        };
        let output = output.expect(7)?;
        for word in ["HP1201", "wait_for_work", "(busy.c:"] {
            check!(output.text().contains(word), "{way}: `{word}` isn't said: {}", output.describe());
        }
        if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
            fail!("{way}: a timed-out apply left something behind: {difference}");
        }
        answers(&mut target, "leave", "left", way)?;
        for (verb, more, wanted) in [("apply", &*bundle, "100"), ("revert", "fix", "1")] {
            if let Some(output) = hpatch(way, &target, verb, &[more], "")? {
                output.expect(0)?;
            }
            answers(&mut target, "value", wanted, way)?;
        }
    }
    target.finish()
}

/// Nobody is left standing, and what was half-way is taken back by the command's parent or by `recover`.
fn killed() -> Result<()> {
    let pair = Pair::make("threads", "ways-killed")?;
    let bundle = pair.bundle.to_string_lossy();
    for way in OTHER_WAYS {
        let mut target = start(&pair.builds.old.program)?;
        target.ask("start 8")?;
        for step in ["writing", "first-write", "written"] {
            let Some(output) = hpatch(way, &target, "apply", &[&bundle], step)? else { return target.finish() };
            output.expect(8)?;
            target.verify()?.expect(0)?;
            answers(&mut target, "value", "25", &format!("{way}, killed at {step}"))?;
            hpatch(way, &target, "apply", &[&bundle], &format!("all:{step}"))?;
            // Neither value is wrong here, but there has to be one.
            target.ask("value")?;
            target.verify()?.expect(10)?;
            let status = crate::target::hpatch("status", target.pid(), &[])?.expect(0)?;
            check!(status.text().contains("half-way"), "{way}, killed at {step}: {}", status.describe());
            if let Some(output) = hpatch(way, &target, "recover", &[], "")? {
                output.expect(0)?;
            }
            target.verify()?.expect(0)?;
            answers(&mut target, "value", "25", &format!("{way}, recovered from {step}"))?;
        }
        if let Some(output) = hpatch(way, &target, "apply", &[&bundle], "")? {
            output.expect(0)?;
        }
        answers(&mut target, "value", "37", way)?;
        answers(&mut target, "stop 8", "wrong 0, calls made", way)?;
        target.finish()?;
    }
    Ok(())
}

/// Where a signal doesn't stop every thread for sure, it stops none.
fn refused() -> Result<()> {
    let odd = Pair::make("odd", "ways-masked")?;
    let coroutine = Pair::make("coroutine", "ways-coroutine")?;
    for (pair, state, door, exit) in
        [(&odd, "masked 3", true, 7), (&coroutine, "value", true, 4), (&odd, "idle 1", false, 4)]
    {
        let mut target = if door { start(&pair.builds.old.program)? } else { pair.start()? };
        target.ask(state)?;
        let old = target.ask("value")?;
        let before = Snapshot::take(target.pid())?;
        let more = [&*pair.bundle.to_string_lossy(), "--timeout", "1.3"];
        let Some(output) = hpatch("signals", &target, "apply", &more, "")? else { return target.finish() };
        let output = output.expect(exit)?;
        check!(output.text().contains("HP1209"), "{state}: {}", output.describe());
        if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
            fail!("{state}: a refused bundle changed the process: {difference}");
        }
        answers(&mut target, "value", &old, state)?;
        target.finish()?;
    }
    Ok(())
}

/// The process lives where this command's file isn't: nothing can be started there, which is said, and changes nothing.
fn nothing_inside() -> Result<()> {
    let pair = Pair::make("odd", "ways-chroot")?;
    let mut target = start(&pair.builds.old.program)?;
    let root = tempfile::tempdir()?;
    if target.ask(&format!("chroot {}", root.path().display()))? != "done" {
        // Only root may.
        return target.finish();
    }
    let before = Snapshot::take(target.pid())?;
    let Some(output) = hpatch("inside", &target, "apply", &[&pair.bundle.to_string_lossy()], "")? else {
        return target.finish();
    };
    let output = output.expect(4)?;
    check!(output.text().contains("HP1411"), "in a chroot: {}", output.describe());
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("in a chroot: {difference}");
    }
    answers(&mut target, "value", "2 2", "in a chroot")?;
    target.finish()
}

/// A namespace with `vm.memfd_noexec` at 2, which refuses memory files that are asked to be executable.
fn no_exec_files() -> Result<()> {
    let strict = ["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"];
    let script = r#"echo 2 > /proc/sys/vm/memfd_noexec && exec "$@""#;
    let tried = run(Command::new("unshare").args(strict).args([script, "sh", "true"]), Duration::from_secs(10));
    if !tried.is_ok_and(|tried| tried.code() == Some(0)) {
        left_out("no right to a namespace without executable memory files");
        return Ok(());
    }
    let pair = Pair::make("odd", "ways-no-exec")?;
    let trust = Signer::shared()?.trust();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let hpatch = text(&paths::tool("hpatch")?);
    let words =
        ["sh", &hpatch, "run", "--trust", &text(&trust), "--signal", SIGNAL, "--", &text(&pair.builds.old.program)];
    let arguments = strict.into_iter().chain([script]).chain(words).map(str::to_owned).collect();
    let mut target = Target::start(Path::new("unshare"), &Launch { arguments, ..Launch::default() })?;
    let outer = target.pid();
    let pid = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
    for way in ["outside", "inside", "signals"] {
        for (verb, more, wanted) in
            [("apply", &[&*pair.bundle.to_string_lossy()][..], "101 200"), ("revert", &["fix", "--unmap"], "2 2")]
        {
            let mut command = Command::new(&hpatch);
            command.args([verb, "--pid", pid.trim()]).args(more).env("HPATCH_TEST_WAY", way);
            run(&mut command, Duration::from_secs(60))?.expect(0)?;
            answers(&mut target, "value", wanted, way)?;
        }
    }
    target.finish()
}

/// `hpatch` runs where a filter refuses ptrace; the process doesn't.
fn confined() -> Result<()> {
    refusing("ways-confined", &[], "")
}

/// So does the process: what is left are signals.
fn confined_both() -> Result<()> {
    refusing("ways-confined-both", &["idle 3", "filter ptrace"], " --allow-seccomp")
}

fn refusing(scene: &str, states: &[&str], option: &str) -> Result<()> {
    let pair = Pair::make("odd", scene)?;
    let runner = compiled("confined", &format!("{scene}-runner"), &Config::new(&[]))?.old.program;
    let mut runner = Target::start(&runner, &Launch::default())?;
    let mut target = start(&pair.builds.old.program)?;
    for state in states {
        answers(&mut target, state, "done", "before")?;
    }
    let hpatch = paths::tool("hpatch")?;
    // EPERM, EACCES, ENOSYS.
    for number in [1, 13, 38] {
        answers(&mut runner, &format!("errno {number}"), "done", "before")?;
        let call = format!("run {} {} {}{option}", hpatch.display(), target.pid(), pair.bundle.display());
        let said = runner.ask(&call)?;
        check!(said.starts_with("0 ") && said.contains("\"changed\":true"), "without ptrace ({number}): `{said}`");
        answers(&mut target, "value", "101 200", "patched")?;
        target.verify()?.expect(0)?;
        target.revert("fix")?.expect(0)?;
        answers(&mut target, "value", "2 2", "reverted")?;
    }
    answers(&mut target, "interrupted", "0", "after all")?;
    runner.finish()?;
    target.finish()
}
