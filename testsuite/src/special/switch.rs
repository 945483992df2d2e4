//! The moment of the switch: busy functions, many threads, signals, children, killed tools.

use super::{Case, Pair, answers, compiled, folder, special};
use crate::bundle::{self, Signer};
use crate::compile;
use crate::process::{self, Output};
use crate::program::{Config, Program};
use crate::snapshot::Snapshot;
use crate::target::{self, Launch, Target};
use crate::{Result, check, fail, paths};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    Case { name: "busy function", hazards: "S1", run: busy },
    Case { name: "64 threads, 200 cycles", hazards: "S4,S6,S12", run: hammer },
    Case { name: "thread births", hazards: "S4", run: births },
    Case { name: "children", hazards: "S10", run: children },
    Case { name: "blocking calls", hazards: "S5", run: blocking_calls },
    Case { name: "signals", hazards: "S5,S6", run: signals },
    Case { name: "coroutine", hazards: "S2", run: coroutine },
    Case { name: "coroutine in a static program", hazards: "S2", run: coroutine_static },
    Case { name: "coroutine below the stack pointer", hazards: "S2", run: coroutine_carved },
    Case { name: "coroutines over", hazards: "S2", run: coroutines_over },
    Case { name: "fibers of its own", hazards: "S2", run: fibers },
    Case { name: "fibers of a library", hazards: "S2", run: fibers_elsewhere },
    Case { name: "interrupted, and its handler left", hazards: "S2", run: preempted },
    Case { name: "words left over", hazards: "S1,S2", run: left_over },
    Case { name: "two bundles", hazards: "S12", run: stacked },
    Case { name: "two appliers", hazards: "S13,S14", run: racing },
    Case { name: "killed applier", hazards: "S13", run: killed_applier },
    Case { name: "debugger attached", hazards: "S14", run: debugger },
    Case { name: "state at start", hazards: "S10", run: store_live_bundle },
];

/// A function in use is left alone, by name, with nothing changed; once it is left, the same bundle goes in.
fn busy() -> Result<()> {
    let pair = Pair::make("busy", "busy")?;
    let mut target = pair.start()?;
    target.ask("enter")?;
    let before = Snapshot::take(target.pid())?;
    let refused = target.apply_within(&pair.bundle, 1)?.expect(7)?;
    for word in ["HP1201", "wait_for_work", "(busy.c:"] {
        check!(refused.text().contains(word), "`{word}` isn't said of the busy function: {}", refused.describe());
    }
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("a timed-out apply left something behind: {difference}");
    }
    answers(&mut target, "value", "1", "after the refusal")?;
    answers(&mut target, "leave", "left", "after the refusal")?;
    target.apply(&pair.bundle)?.expect(0)?;
    answers(&mut target, "value", "100", "patched")?;
    target.ask("enter")?;
    let refused = target::revert(target.pid(), "fix", 1)?.expect(7)?;
    check!(refused.text().contains("HP1306"), "the revert: {}", refused.describe());
    answers(&mut target, "value", "100", "after the revert that timed out")?;
    let blocked = target::hpatch("blocked", target.pid(), &[])?.expect(0)?;
    check!(blocked.text().contains("wait_for_work"), "`blocked` doesn't name the function: {}", blocked.describe());
    answers(&mut target, "leave", "left", "after the revert that timed out")?;
    target.revert("fix")?.expect(0)?;
    answers(&mut target, "value", "1", "reverted")?;
    target.finish()
}

fn hammer() -> Result<()> {
    let pair = Pair::make("threads", "threads")?;
    let mut target = pair.start()?;
    target.ask("start 64")?;
    for cycle in 0..200 {
        target.apply(&pair.bundle)?.expect(0)?;
        if cycle % 20 == 0 {
            answers(&mut target, "value", "37", "patched")?;
        }
        target.revert_and_unmap("fix")?.expect(0)?;
        if cycle % 20 == 0 {
            answers(&mut target, "value", "25", "reverted")?;
        }
    }
    answers(&mut target, "stop 64", "wrong 0, calls made", "after 200 cycles")?;
    target.finish()
}

/// Threads come into being while the patch goes in.
fn births() -> Result<()> {
    let pair = Pair::make("threads", "births")?;
    let mut target = pair.start()?;
    for _ in 0..8 {
        target.send("start 40")?;
        target.apply(&pair.bundle)?.expect(0)?;
        target.answer("start 40")?;
        target.revert("fix")?.expect(0)?;
    }
    answers(&mut target, "stop 320", "wrong 0, calls made", "after the births")?;
    target.finish()
}

/// A child born patched is patched and can be reverted alone; one born before is patched by its own pid.
fn children() -> Result<()> {
    let pair = Pair::make("children", "children")?;
    let mut target = pair.start()?;
    let before: u32 = pid(&target.ask("fork")?)?;
    target.apply(&pair.bundle)?.expect(0)?;
    let after: u32 = pid(&target.ask("fork")?)?;
    answers(&mut target, "value", "101", "parent")?;
    answers(&mut target, "child 0", "2", "child born before")?;
    answers(&mut target, "child 1", "101", "child born patched")?;
    target::apply(before, &pair.bundle, 10, &Signer::shared()?.trust())?.expect(0)?;
    answers(&mut target, "child 0", "101", "child patched by itself")?;
    target::revert(after, "fix", 10)?.expect(0)?;
    answers(&mut target, "child 1", "2", "child reverted by itself")?;
    answers(&mut target, "value", "101", "parent after its child's revert")?;
    target.revert("fix")?.expect(0)?;
    answers(&mut target, "value", "2", "parent reverted")?;
    answers(&mut target, "child 0", "101", "child after its parent's revert")
}

fn pid(text: &str) -> Result<u32> {
    text.parse().map_err(|_| crate::Failure(format!("`{text}` is no pid")))
}

/// No sleeping system call may return early because of the stop.
fn blocking_calls() -> Result<()> {
    let pair = Pair::make("blocking", "blocking")?;
    let mut target = pair.start()?;
    target.ask("sleep")?;
    for _ in 0..10 {
        target.apply(&pair.bundle)?.expect(0)?;
        target.revert("fix")?.expect(0)?;
    }
    answers(&mut target, "interrupted", "0", "after ten cycles")
}

/// A timer's signals arrive before, during and after, and run the patched function.
fn signals() -> Result<()> {
    let pair = Pair::make("blocking", "signals")?;
    let mut target = pair.start()?;
    target.ask("timer")?;
    for _ in 0..20 {
        target.apply(&pair.bundle)?.expect(0)?;
        answers(&mut target, "value", "101", "patched")?;
        target.revert("fix")?.expect(0)?;
        answers(&mut target, "value", "2", "reverted")?;
    }
    thread::sleep(Duration::from_millis(20));
    answers(&mut target, "alarms", "some", "after the cycles")
}

/// A frame of the changed function waits on a stack of its own. Without a reviewer's word there is no bundle; with it, the
/// suspended call ends as it began, in old code, and the next one is new; or the loader saw it and waits.
fn coroutine() -> Result<()> {
    let builds = compiled("coroutine", "coroutine-review", &Config::new(&[]))?;
    let bundle = builds.folder.join("never.hpatch");
    let refused = bundle::build(&builds.old.module, &builds.new.module, &bundle, "fix", &[])?.expect(4)?;
    check!(refused.text().contains("HP0516"), "expected HP0516: {}", refused.describe());
    let pair = Pair::make("coroutine", "coroutine")?;
    let mut target = pair.start()?;
    target.ask("suspend")?;
    target.apply_within(&pair.bundle, 1)?.expect(7)?;
    answers(&mut target, "resume", "2", "resumed")?;
    // The coroutine's dead stack still holds the return address: only the operator can know that it is over.
    let bundle = pair.bundle.to_string_lossy();
    target::hpatch("apply", target.pid(), &[&bundle, "--ignore-suspended"])?.expect(0)?;
    answers(&mut target, "value", "101", "patched")
}

/// The C library's switch is code of the program itself here, which imports nothing, and the loader comes when it runs.
fn coroutine_static() -> Result<()> {
    let pair = Pair::built(&special("coroutine")?, "coroutine-static", &Config::new(&[("kind", "static")]))?;
    Signer::shared()?.sign(&pair.bundle)?;
    let mut target = Target::attached(&pair.builds.old.program, &Launch::trusting(Signer::shared()?.trust()))?;
    target.ask("suspend")?;
    let refused = target.apply_within(&pair.bundle, 1)?.expect(7)?;
    check!(refused.text().contains("a suspended stack"), "the coroutine isn't named: {}", refused.describe());
    answers(&mut target, "resume", "2", "resumed")?;
    let bundle = pair.bundle.to_string_lossy();
    target::hpatch("apply", target.pid(), &[&bundle, "--ignore-suspended"])?.expect(0)?;
    answers(&mut target, "value", "101", "patched")?;
    target.finish()
}

/// A suspended stack in that of the thread, below where it is now, and one in memory that processes may share.
fn coroutine_carved() -> Result<()> {
    let pair = Pair::make("carved", "carved")?;
    for place in ["go inside", "share"] {
        let mut target = pair.start()?;
        answers(&mut target, place, "done", "before")?;
        let refused = target.apply_within(&pair.bundle, 1)?.expect(7)?;
        check!(refused.text().contains("a suspended stack"), "the coroutine isn't named: {}", refused.describe());
        answers(&mut target, "resume", "2", "resumed")?;
        let bundle = pair.bundle.to_string_lossy();
        target::hpatch("apply", target.pid(), &[&bundle, "--ignore-suspended"])?.expect(0)?;
        answers(&mut target, "value", "101", "patched")?;
        answers(&mut target, "leave", "out", "at the end")?;
        target.finish()?;
    }
    Ok(())
}

/// A program that switches stacks in assembly of its own, which no import tells of: the bundle does. The suspended frame is found like any other,
/// and when it has come to its end nothing stands in the way.
fn fibers() -> Result<()> {
    let pair = Pair::make("fibers", "fibers")?;
    suspended(pair.start()?, &pair.bundle)
}

/// While a frame of `value` is suspended it is found, named, and waited for.
fn suspended(mut target: Target, bundle: &Path) -> Result<()> {
    answers(&mut target, "suspend", "suspended", "before")?;
    let refused = target.apply_within(bundle, 1)?.expect(7)?;
    for word in ["HP1201", "value"] {
        check!(refused.text().contains(word), "`{word}` isn't said of the suspended function: {}", refused.describe());
    }
    answers(&mut target, "value", "2", "refused")?;
    answers(&mut target, "resume", "2", "resumed")?;
    target.apply(bundle)?.expect(0)?;
    answers(&mut target, "value", "101", "patched")?;
    target.revert("fix")?.expect(0)?;
    answers(&mut target, "value", "2", "reverted")?;
    target.finish()
}

/// The switch is in a library that the bundle isn't about, under no known name: its code tells.
fn fibers_elsewhere() -> Result<()> {
    let (program, config, folder) = (special("fibers")?, Config::new(&[]), folder("fibers-elsewhere")?);
    let old = compile::build(&program, &config, &folder.join("old"), &["ELSEWHERE"])?;
    let new = compile::build(&program, &config, &folder.join("new"), &["ELSEWHERE", "NEW"])?;
    let bundle = folder.join("fix.hpatch");
    bundle::build_signed(Signer::shared()?, &old.module, &new.module, &bundle, "fix")?;
    for (name, more) in [("library.so", &[][..]), ("bare.so", &["-DBARE"])] {
        let library = folder.join(name);
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-DLIBRARY", "-I"]).arg(paths::programs().join("driver")).args(more);
        process::run_ok(cc.arg("-o").arg(&library).arg(&program.source), Duration::from_secs(60))?;
        let mut target = Target::start(&old.program, &Launch::trusting(Signer::shared()?.trust()))?;
        answers(&mut target, &format!("library {}", library.display()), "loaded", "before")?;
        suspended(target, &bundle)?;
    }
    Ok(())
}

/// Where the function goes on stands in the signal frame of a handler that waits on its own stack, and nowhere else.
fn preempted() -> Result<()> {
    let pair = Pair::make("preempted", "preempted")?;
    suspended(pair.start()?, &pair.bundle)
}

/// A program that could have coroutines. While it has none, memory shows that, and neither a word that an earlier call left on the stack nor
/// what the program noted of its callers is taken for a frame. With one, each may be, until the operator says that nothing of this is suspended.
fn coroutines_over() -> Result<()> {
    let pair = Pair::make("coroutines_over", "coroutines-over")?;
    let mut target = pair.start()?;
    let bundle = pair.bundle.to_string_lossy();
    for (coroutine, word, code) in [(false, "note", 0), (false, "wait", 0), (true, "wait", 7), (true, "note", 7)] {
        if coroutine {
            target.ask("suspend")?;
        }
        answers(&mut target, "value", "2", "old")?;
        if word == "wait" {
            answers(&mut target, "wait", "waits", "an old address lies on the stack")?;
        }
        target.apply_within(&pair.bundle, 1)?.expect(code)?;
        if code != 0 {
            target::hpatch("apply", target.pid(), &[&bundle, "--ignore-suspended"])?.expect(0)?;
        }
        if word == "wait" {
            answers(&mut target, "go", "goes on", "patched while it waits")?;
        }
        answers(&mut target, "value", "101", "patched")?;
        let more: &[&str] = if coroutine { &["fix", "--ignore-suspended"] } else { &["fix"] };
        target::hpatch("revert", target.pid(), more)?.expect(0)?;
    }
    answers(&mut target, "value", "2", "reverted")?;
    target.finish()
}

/// Words that an earlier call left on stacks are told from frames, below functions of the C library and below a signal handler, in code of
/// each optimisation and each linker's layout.
fn left_over() -> Result<()> {
    for (opt, ld) in [("-O0", "lld"), ("-O1", "lld"), ("-O2", "mold"), ("-O2", "bfd")] {
        let config = Config::new(&[("opt", opt), ("ld", ld), ("kind", "shared")]);
        let scene = format!("left-over{opt}-{ld}");
        let pair = Pair::unsigned("stale", &scene, &config)?;
        Signer::shared()?.sign(&pair.bundle)?;
        let mut target = pair.start()?;
        answers(&mut target, "wait", "waits", &scene)?;
        let bundle = pair.bundle.to_string_lossy();
        let applied = target::hpatch("apply", target.pid(), &[&bundle, "--json"])?.expect(0)?;
        // Otherwise the words weren't where they were to be.
        let report: serde_json::Value = serde_json::from_str(&applied.stdout)?;
        check!(report["attempts"].as_u64() >= Some(2), "{scene}: nothing was in the way: {}", applied.describe());
        answers(&mut target, "value", "101", &scene)?;
        answers(&mut target, "go", "goes on", &scene)?;
        target.revert("fix")?.expect(0)?;
        answers(&mut target, "value", "2", &scene)?;
        target.finish()?;
    }
    Ok(())
}

/// Two bundles for the same build, on different functions, reverted in either order.
fn stacked() -> Result<()> {
    let first = Pair::make("counter", "stacked")?;
    let source = paths::programs().join("special/counter.c");
    let folder = &first.builds.folder;
    let other =
        compile::build(&Program::read(&source)?, &Config::new(&[]), &folder.join("second"), &["NEW", "SECOND"])?;
    let second = folder.join("second.hpatch");
    bundle::build_signed(Signer::shared()?, &first.builds.old.module, &other.module, &second, "second")?;
    let mut target = first.start()?;
    let before = Snapshot::take(target.pid())?;
    for order in [["fix", "second"], ["second", "fix"]] {
        target.apply(&first.bundle)?.expect(0)?;
        target.apply(&second)?.expect(0)?;
        answers(&mut target, "value", "101", "both applied")?;
        answers(&mut target, "other", "201", "both applied")?;
        target.revert_and_unmap(order[0])?.expect(0)?;
        let left = if order[0] == "fix" { ("2", "201") } else { ("101", "3") };
        answers(&mut target, "value", left.0, "one reverted")?;
        answers(&mut target, "other", left.1, "one reverted")?;
        target.revert_and_unmap(order[1])?.expect(0)?;
    }
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("after both reverts: {difference}");
    }
    target.finish()
}

/// Several appliers at once: one wins, the others are told so, the process is well.
fn racing() -> Result<()> {
    let pair = Pair::make("threads", "racing")?;
    let mut target = pair.start()?;
    target.ask("start 16")?;
    let (pid, trust) = (target.pid(), Signer::shared()?.trust());
    for _ in 0..4 {
        let apply = || target::apply(pid, &pair.bundle, 10, &trust).map(|output| output.code());
        let codes: Vec<Option<i32>> = thread::scope(|scope| {
            let runs: Vec<_> = (0..3).map(|_| scope.spawn(apply)).collect();
            runs.into_iter().map(|run| run.join().ok().and_then(std::result::Result::ok).flatten()).collect()
        });
        let done = codes.iter().filter(|code| **code == Some(0)).count();
        let told = codes.iter().filter(|code| matches!(code, Some(3 | 4 | 7))).count();
        check!(done == 1 && told == 2, "three appliers ended with {codes:?}");
        answers(&mut target, "value", "37", "patched")?;
        target.revert("fix")?.expect(0)?;
    }
    answers(&mut target, "stop 16", "wrong 0, calls made", "after the races")
}

/// The tool is killed at many moments: the process goes on, whole, and can be patched afterwards.
fn killed_applier() -> Result<()> {
    let pair = Pair::make("threads", "killed")?;
    let trust = Signer::shared()?.trust();
    let mut target = pair.start()?;
    target.ask("start 8")?;
    let start = Instant::now();
    target.apply(&pair.bundle)?.expect(0)?;
    let whole = start.elapsed();
    target.revert("fix")?.expect(0)?;
    let steps = 24;
    for step in 0..steps {
        let mut command = Command::new(paths::tool("hpatch")?);
        command.args(["apply", "--timeout", "5", "--pid"]).arg(target.pid().to_string()).arg(&pair.bundle);
        command.env("HPATCH_TRUST", &trust).stdout(Stdio::null()).stderr(Stdio::null());
        let mut tool = command.spawn()?;
        thread::sleep(whole * step / steps);
        tool.kill()?;
        tool.wait()?;
        let answer = target.ask("value")?;
        check!(answer == "37" || answer == "25", "killed at step {step}: `value` gives `{answer}`");
        if answer == "37" {
            revert_when_free(&target)?;
            answers(&mut target, "value", "25", "reverted after a kill")?;
        }
    }
    apply_when_free(&target, &pair)?;
    answers(&mut target, "value", "37", "patched after all kills")?;
    target.revert("fix")?.expect(0)?;
    answers(&mut target, "stop 8", "wrong 0, calls made", "after all kills")
}

/// What a killed command began, its supervisor may still be ending: exit code 7 for that moment.
fn when_free(run: impl Fn() -> Result<Output>) -> Result<()> {
    let start = Instant::now();
    loop {
        let output = run()?;
        if output.code() != Some(7) || start.elapsed() > Duration::from_secs(10) {
            return output.expect(0).map(|_| ());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn revert_when_free(target: &Target) -> Result<()> {
    when_free(|| target.revert("fix"))
}

/// Where only the supervisor of a killed command died, its worker ends what it began: then there is nothing left to apply, exit code 3, and
/// what went live is read back instead.
fn apply_when_free(target: &Target, pair: &Pair) -> Result<()> {
    when_free(|| {
        let mut output = target.apply(&pair.bundle)?;
        if output.code() == Some(3) {
            output = target.verify()?;
        }
        Ok(output)
    })
}

/// A debugger holds the process: said so, nothing changed.
fn debugger() -> Result<()> {
    let pair = Pair::make("counter", "debugger")?;
    let mut target = pair.start()?;
    let mut gdb = Command::new("gdb")
        .args(["-q", "-batch", "-nx", "-p"])
        .arg(target.pid().to_string())
        .args(["-ex", "shell echo attached", "-ex", "shell sleep 4"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let status = format!("/proc/{}/status", target.pid());
    let start = Instant::now();
    while std::fs::read_to_string(&status)?.contains("TracerPid:\t0") {
        check!(start.elapsed() < Duration::from_secs(10), "gdb did not attach");
        thread::sleep(Duration::from_millis(5));
    }
    let output = target.apply_within(&pair.bundle, 1)?;
    gdb.kill()?;
    gdb.wait()?;
    check!(matches!(output.code(), Some(4 | 7)), "expected exit code 4 or 7: {}", output.describe());
    check!(output.text().contains("HP1"), "no code is given: {}", output.describe());
    thread::sleep(Duration::from_millis(50));
    answers(&mut target, "value", "2", "after the debugger")?;
    target.apply(&pair.bundle)?.expect(0)?;
    answers(&mut target, "value", "101", "patched after the debugger")
}

/// A live bundle in the store is there before `main`, listed, and can be reverted.
fn store_live_bundle() -> Result<()> {
    let pair = Pair::make("counter", "store")?;
    let builds = compiled("counter", "store", &Config::new(&[]))?;
    let store = crate::scenario::store_with(&builds.folder, &[&pair.bundle])?;
    let launch = Launch { store: Some(store), ..Launch::trusting(Signer::shared()?.trust()) };
    let mut target = Target::start(&pair.builds.old.program, &launch)?;
    answers(&mut target, "value", "101", "patched at start")?;
    let list = target::hpatch("list", target.pid(), &[])?.expect(0)?;
    check!(list.text().contains("fix"), "the bundle isn't listed: {}", list.describe());
    target.verify()?.expect(0)?;
    target.revert("fix")?.expect(0)?;
    answers(&mut target, "value", "2", "reverted")?;
    target.finish()
}
