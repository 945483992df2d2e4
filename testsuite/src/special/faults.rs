//! Faults injected before the switch, and attaching where that is hard: nothing is changed, `hpatch status` says so, and the next try works.

use super::{Case, Pair, answers};
use crate::bundle::{self, Signer};
use crate::left_out::left_out;
use crate::process::{Output, run, run_ok};
use crate::program::{Config, Program};
use crate::snapshot::Snapshot;
use crate::target::{self, Launch, Target};
use crate::{Failure, Result, check, fail, paths};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "an import that isn't there", hazards: "S11", run: nowhere },
    Case { name: "bundle changed while it is read", hazards: "S11,B4", run: changing },
    Case { name: "no memory", hazards: "S8,S11", run: no_memory },
    Case { name: "memory that ends on the way", hazards: "S8,S11", run: little_memory },
    Case { name: "full disk at apply", hazards: "S11", run: full_disk },
    Case { name: "attached under a filter", hazards: "S7", run: attached_filtered },
    Case { name: "unwinder of its own, attached", hazards: "C8,S7", run: own_unwinder },
    Case { name: "unwinder of another image", hazards: "C8", run: others_unwinder },
    Case { name: "unwinder of its own, beside a leaf", hazards: "C8,S7", run: leaf_beside },
    Case { name: "attached inside a constructor", hazards: "S3,S7", run: attached_constructing },
];

/// `status` knows no bundle, live or half-way, and the loader is idle.
fn untouched(target: &Target, before: &Snapshot, when: &str) -> Result<()> {
    let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
    check!(status.text().contains("idle") && !status.text().contains("fix"), "{when}: {}", status.describe());
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("{when}: the process is changed: {difference}");
    }
    Ok(())
}

fn nowhere() -> Result<()> {
    // Only a library may be linked with names that nobody defines.
    let pair = Pair::unsigned("nowhere", "nowhere", &Config::new(&[("kind", "shared")]))?;
    Signer::shared()?.sign(&pair.bundle)?;
    let mut target = pair.start()?;
    let before = Snapshot::take(target.pid())?;
    let output = target.apply(&pair.bundle)?.expect(4)?;
    for word in ["HP1102", "hpatch_test_nowhere"] {
        check!(output.text().contains(word), "`{word}` isn't said: {}", output.describe());
    }
    untouched(&target, &before, "an import that isn't there")?;
    answers(&mut target, "value", "2", "after the refusal")?;
    target.finish()
}

/// Somebody writes the file all the time, whole, cut and with a flipped byte: what was read is what counts.
fn changing() -> Result<()> {
    let pair = Pair::make("counter", "changing")?;
    let mut target = pair.start()?;
    let good = fs::read(&pair.bundle)?;
    let file = pair.builds.folder.join("changing.hpatch");
    fs::write(&file, &good)?;
    let before = Snapshot::take(target.pid())?;
    let over = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        scope.spawn(|| write_again_and_again(&file, &good, &over));
        let rounds: Result<()> = (0..30).try_for_each(|round| {
            let output = target.apply(&file)?;
            let when = format!("round {round}: {}", output.describe());
            match output.code() {
                Some(0) => {
                    answers(&mut target, "value", "101", &when)?;
                    target.verify()?.expect(0)?;
                    target.revert_and_unmap("fix")?.expect(0)?;
                }
                // Malformed, or not as it was signed, or empty when it was opened.
                Some(5 | 6) => {
                    check!(output.text().contains("HP0") || output.text().contains("HP1"), "no code: {when}")
                }
                _ => fail!("{when}"),
            }
            untouched(&target, &before, &when)?;
            answers(&mut target, "value", "2", &when)
        });
        over.store(true, Ordering::Relaxed);
        rounds
    });
    rounds?;
    target.apply(&pair.bundle)?.expect(0)?;
    answers(&mut target, "value", "101", "at last")?;
    target.finish()
}

fn write_again_and_again(file: &Path, good: &[u8], over: &AtomicBool) {
    let mut at = 0;
    while !over.load(Ordering::Relaxed) {
        let mut bytes = good.to_vec();
        at = (at + 97) % good.len();
        match at % 3 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 0x40,
            _ => {}
        }
        // Whoever reads gets some of each.
        let _ = fs::write(file, &bytes);
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// The process may not have one page more (RLIMIT_AS), then it may.
fn no_memory() -> Result<()> {
    let pair = Pair::make("counter", "no-memory")?;
    let mut target = pair.start()?;
    let before = Snapshot::take(target.pid())?;
    let limit = |bytes: &str| {
        let pid = target.pid().to_string();
        run(Command::new("prlimit").args(["--pid", &pid, &format!("--as={bytes}:unlimited")]), Duration::from_secs(5))
    };
    limit("4096")?.expect(0)?;
    let output = target.apply_within(&pair.bundle, 2)?;
    let told = ["HP1008", "HP1010"].iter().any(|code| output.text().contains(code));
    check!(matches!(output.code(), Some(4 | 5 | 7)) && told, "without memory: {}", output.describe());
    limit("unlimited")?.expect(0)?;
    untouched(&target, &before, "without memory")?;
    answers(&mut target, "value", "2", "without memory")?;
    target.apply(&pair.bundle)?.expect(0)?;
    answers(&mut target, "value", "101", "with memory")?;
    target.finish()
}

/// Room for some of the mappings that an apply makes, a little more each time until it is room for all: whatever step finds none refuses, and nothing is
/// left of those before.
fn little_memory() -> Result<()> {
    const STEP: u64 = 8 << 10;
    let pair = Pair::make("counter", "little-memory")?;
    let mut target = pair.start()?;
    let before = Snapshot::take(target.pid())?;
    let pid = target.pid().to_string();
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 =
        statm.split(' ').next().unwrap_or_default().parse().map_err(|_| Failure(format!("statm: {statm}")))?;
    let limit = |more: u64| {
        let bytes = format!("--as={}:unlimited", pages * 4096 + more);
        run(Command::new("prlimit").args(["--pid", &pid, &bytes]), Duration::from_secs(5))?.expect(0)
    };
    let mut told = BTreeSet::new();
    for more in (0..128).map(|n| n * STEP) {
        limit(more)?;
        let output = target.apply_within(&pair.bundle, 2)?;
        let when = format!("{} KiB: {}", more >> 10, output.describe());
        if output.code() == Some(0) {
            check!(told.len() > 1, "only {told:?} before {when}");
            answers(&mut target, "value", "101", &when)?;
            target.verify()?.expect(0)?;
            target.revert_and_unmap("fix")?.expect(0)?;
            answers(&mut target, "value", "2", &when)?;
            untouched(&target, &before, &when)?;
            return target.finish();
        }
        let code = ["HP1002", "HP1008", "HP1010", "HP1404"].into_iter().find(|code| output.text().contains(code));
        let Some(code) = code.filter(|_| matches!(output.code(), Some(4 | 5 | 7))) else { fail!("{when}") };
        told.insert(code);
        untouched(&target, &before, &when)?;
        answers(&mut target, "value", "2", &when)?;
    }
    fail!("1 MiB of memory isn't enough")
}

/// The command may write no file: it needs none for the switch.
fn full_disk() -> Result<()> {
    let pair = Pair::make("counter", "full-disk-apply")?;
    let mut target = pair.start()?;
    let script = r#"trap '' XFSZ; ulimit -f 0; exec "$0" "$@""#;
    let hpatch = crate::paths::tool("hpatch")?;
    let pid = target.pid().to_string();
    let limited = |words: &[&str]| -> Result<Output> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(&hpatch).args(words);
        run(&mut command, Duration::from_secs(30))
    };
    limited(&["apply", "--pid", &pid, &pair.bundle.to_string_lossy()])?.expect(0)?;
    answers(&mut target, "value", "101", "patched without a disk")?;
    target.verify()?.expect(0)?;
    limited(&["revert", "--pid", &pid, "fix"])?.expect(0)?;
    answers(&mut target, "value", "2", "reverted without a disk")?;
    target.finish()
}

fn attach(target: &Target) -> Result<Output> {
    let trust = Signer::shared()?.trust();
    target::hpatch("attach", target.pid(), &["--trust", &trust.to_string_lossy()])
}

/// The unwinder in the program asks the dynamic linker, for which an attached loader can't answer.
fn own_unwinder() -> Result<()> {
    let program = Program::read(&paths::programs().join("own_unwinder.cc"))?;
    let pair = Pair::built(&program, "own-unwinder", &Config::new(&[("cc", "gcc-12")]))?;
    Signer::shared()?.sign(&pair.bundle)?;
    let mut target = Target::start(&pair.builds.old.program, &Launch::default())?;
    attach(&target)?.expect(0)?;
    let output = target.apply(&pair.bundle)?.expect(4)?;
    check!(output.text().contains("HP1110"), "{}", output.describe());
    answers(&mut target, "area -2", "negative", "refused")?;
    target.finish()
}

/// No exception passes through a function that makes no calls, and one that is edited stays known.
fn leaf_beside() -> Result<()> {
    let program = Program::read(&paths::programs().join("special/leaf_beside.cc"))?;
    for compiler in ["gcc-11", "gcc-12"] {
        if paths::find(compiler).is_none() {
            left_out(format!("the machine has no {compiler}"));
            continue;
        }
        let pair = Pair::built(&program, &format!("leaf-beside-{compiler}"), &Config::new(&[("cc", compiler)]))?;
        Signer::shared()?.sign(&pair.bundle)?;
        for attached in [false, true] {
            let mut target = if attached { started_and_attached(&pair)? } else { pair.start()? };
            answers(&mut target, "area 3", "60 4", "before")?;
            target.apply(&pair.bundle)?.expect(0)?;
            answers(&mut target, "area 3", "too small: 3", compiler)?;
            answers(&mut target, "area 6", "110 77", compiler)?;
            target.revert_and_unmap("fix")?.expect(0)?;
            answers(&mut target, "area 3", "60 4", "reverted")?;
            target.finish()?;
        }
    }
    Ok(())
}

fn started_and_attached(pair: &Pair) -> Result<Target> {
    let target = Target::start(&pair.builds.old.program, &Launch::default())?;
    attach(&target)?.expect(0)?;
    Ok(target)
}

/// A library's exceptions come through the patched program; whoever can't be told of its new frames would end it. It is the same where the bundle
/// changes the library, too.
fn others_unwinder() -> Result<()> {
    let pair = Pair::make("thrown_through", "others-unwinder")?;
    for (compiler, attached, passes) in
        [("g++-11", false, false), ("g++-11", true, false), ("g++-12", true, false), ("g++-12", false, true)]
    {
        if paths::find(compiler).is_none() {
            left_out(format!("the machine has no {compiler}"));
            continue;
        }
        let built = |version: &str, defines: &[&str]| -> Result<PathBuf> {
            let library = pair.builds.folder.join(format!("libthrows-{compiler}-{version}.so"));
            let mut build = Command::new(compiler);
            build.args(["-shared", "-fPIC", "-g", "-O1", "-Wl,--build-id", "-static-libgcc", "-static-libstdc++"]);
            build.args(defines).arg("-o").arg(&library);
            run_ok(build.arg(paths::programs().join("special/throws.cpp")), Duration::from_secs(60))?;
            Ok(library)
        };
        let (library, new) = (built("old", &[])?, built("new", &["-DNEW"])?);
        let both = pair.builds.folder.join(format!("both-{compiler}.hpatch"));
        let libraries = format!("{}={}", library.display(), new.display());
        let (old_program, new_program) = (&pair.builds.old.module, &pair.builds.new.module);
        bundle::build(old_program, new_program, &both, "fix", &["--pair", &libraries])?.expect(0)?;
        Signer::shared()?.sign(&both)?;
        let mut target = if attached { started_and_attached(&pair)? } else { pair.start()? };
        answers(&mut target, &format!("load {}", library.display()), "ok", compiler)?;
        answers(&mut target, "call 2", "-1", "before")?;
        for bundle in [&pair.bundle, &both] {
            let output = target.apply(bundle)?.expect(if passes { 0 } else { 4 })?;
            check!(passes || output.text().contains("HP1110"), "{compiler}: {}", output.describe());
            answers(&mut target, "call 1", if passes { "201" } else { "2" }, compiler)?;
            answers(&mut target, "call 2", "-1", "afterwards")?;
            if passes {
                target.revert_and_unmap("fix")?.expect(0)?;
            }
        }
        target.finish()?;
    }
    Ok(())
}

/// A filter that knows none of the loader's calls, and one that kills for them.
fn attached_filtered() -> Result<()> {
    let pair = Pair::make("odd", "attached-filtered")?;
    for action in ["filter errno", "filter kill"] {
        let mut target = Target::start(&pair.builds.old.program, &Launch::default())?;
        for state in ["idle 2", action] {
            answers(&mut target, state, "done", "before")?;
        }
        let before = Snapshot::take(target.pid())?;
        let output = attach(&target)?;
        match output.code() {
            Some(0) => {
                target.apply(&pair.bundle)?.expect(0)?;
                answers(&mut target, "value", "101 200", "patched")?;
                target.revert_and_unmap("fix")?.expect(0)?;
            }
            _ => {
                let output = output.expect(4)?;
                check!(output.text().contains("HP1410"), "{action}: {}", output.describe());
                if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
                    fail!("{action}: a refused attach changed the process: {difference}");
                }
            }
        }
        answers(&mut target, "value", "2 2", "at the end")?;
        target.finish()?;
    }
    Ok(())
}

/// A thread is in dlopen, in the library's constructor, and stays there until all is done.
fn attached_constructing() -> Result<()> {
    let pair = Pair::make("slow_plugin", "attached-constructing")?;
    let source = pair.builds.folder.join("plugin.c");
    let text = "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n\
                __attribute__((constructor)) static void start(void) { int to, from; char byte = 0;\n\
                if (sscanf(getenv(\"SLOW_PLUGIN\"), \"%d %d\", &to, &from) != 2 || write(to, &byte, 1) != 1\n\
                || read(from, &byte, 1) != 1) abort(); }\n";
    fs::write(&source, text)?;
    let library = pair.builds.folder.join("plugin.so");
    run_ok(
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source),
        Duration::from_secs(60),
    )?;
    for preloaded in [false, true] {
        let mut target = match preloaded {
            true => pair.start()?,
            false => Target::start(&pair.builds.old.program, &Launch::default())?,
        };
        answers(&mut target, &format!("plugin {}", library.display()), "inside", "before")?;
        if !preloaded {
            attach(&target)?.expect(0)?;
        }
        target.apply(&pair.bundle)?.expect(0)?;
        answers(&mut target, "value", "101", "patched")?;
        target.verify()?.expect(0)?;
        target.revert_and_unmap("fix")?.expect(0)?;
        answers(&mut target, "value", "2", "reverted")?;
        answers(&mut target, "loaded", "0", "all the while")?;
        answers(&mut target, "go on", "1", "at the end")?;
        target.finish()?;
    }
    Ok(())
}
