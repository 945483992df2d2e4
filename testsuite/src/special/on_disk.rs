//! Programs whose file isn't what runs any more: replaced by a package manager, unlinked, or never in a file system.

use super::{Case, Pair, answers, compiled, folder};
use crate::bundle::{self, Signer, TOOL_LIMIT};
use crate::left_out::left_out;
use crate::process::{self, Output, run_ok};
use crate::program::Config;
use crate::snapshot::Snapshot;
use crate::target::{self, Launch, Target};
use crate::{Result, check, fail, paths};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    Case { name: "replaced on disk while it runs", hazards: "I4,S10", run: replaced },
    Case { name: "unlinked while it runs", hazards: "I4", run: unlinked },
    Case { name: "code on pages of its own", hazards: "I4", run: remapped },
    Case { name: "program from memory", hazards: "I4,S10", run: from_memory },
    Case { name: "library from memory", hazards: "I4,I5", run: library_from_memory },
    Case { name: "on layers of file systems", hazards: "I4,S7,S10", run: on_layers },
    Case { name: "versions of a library, in the file", hazards: "C10,D11", run: versions_in_file },
];

fn every(verb: &str, program: &Path, more: &[&str]) -> Result<Output> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args([verb, "--exe"]).arg(program).args(more).env("HPATCH_TRUST", Signer::shared()?.trust());
    process::run(&mut command, Duration::from_secs(60))
}

/// Waits until the host has become another program, the file of which isn't at any path.
fn become_from_memory(target: &mut Target, program: &Path) -> Result<()> {
    target.send(&format!("become {}", program.display()))?;
    // What is sent before would be lost with the old program's buffers.
    let start = Instant::now();
    while !std::fs::read_link(format!("/proc/{}/exe", target.pid()))?.starts_with("/memfd:in-memory (deleted)") {
        check!(start.elapsed() < Duration::from_secs(10), "the host is still there");
        std::thread::sleep(Duration::from_millis(2));
    }
    target.ask("ready").map(drop)
}

/// A program that was never in a file system: `memfd_create` and `fexecve`.
fn from_memory() -> Result<()> {
    let launch = Launch::trusting(Signer::shared()?.trust());
    let host = compiled("loads", "from-memory-host", &Config::new(&[]))?.old.program;
    let pair = Pair::make("counter", "from-memory")?;
    let mut target = Target::start(&host, &launch)?;
    become_from_memory(&mut target, &pair.builds.old.program)?;
    let before = Snapshot::take(target.pid())?;
    answers(&mut target, "value", "2", "from memory")?;
    in_and_out(&mut target, &pair.bundle, "from memory")?;
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("reverted: {difference}");
    }
    let mut killed = Command::new(paths::tool("hpatch")?);
    killed.args(["apply", "--pid", &target.pid().to_string()]).arg(&pair.bundle).env("HPATCH_TEST_KILL", "written");
    if process::run(&mut killed, Duration::from_secs(30))?.code() != Some(0) {
        target.verify()?.expect(0)?;
        answers(&mut target, "value", "2", "killed and taken back")?;
    }
    target.finish()?;
    // Who is in the way is told by name and line: from the file that is mapped, which has no path.
    let pair = Pair::make("busy", "from-memory-busy")?;
    let mut target = Target::start(&host, &launch)?;
    become_from_memory(&mut target, &pair.builds.old.program)?;
    target.ask("enter")?;
    let refused = target.apply_within(&pair.bundle, 1)?.expect(7)?;
    for word in ["HP1201", "wait_for_work", "(busy.c:"] {
        check!(refused.text().contains(word), "`{word}` isn't said: {}", refused.describe());
    }
    answers(&mut target, "leave", "left", "after the refusal")?;
    target.apply(&pair.bundle)?.expect(0)?;
    answers(&mut target, "value", "100", "patched")?;
    target.finish()
}

/// A library that `dlopen` had from a memory file: patched when it is there, or by the store before its code runs.
fn library_from_memory() -> Result<()> {
    let host = compiled("loads", "library-from-memory-host", &Config::new(&[]))?.old.program;
    let pair = Pair::unsigned("counter", "library-from-memory", &Config::new(&[("kind", "shared")]))?;
    Signer::shared()?.sign(&pair.bundle)?;
    let library = pair.builds.old.module.display();
    let store = crate::scenario::store_with(&pair.builds.folder, &[&pair.bundle])?;
    for store in [None, Some(store)] {
        let from_store = store.is_some();
        let mut target = Target::start(&host, &Launch { store, ..Launch::trusting(Signer::shared()?.trust()) })?;
        answers(&mut target, &format!("memory {library}"), "0", "loaded")?;
        if !from_store {
            let before = Snapshot::take(target.pid())?;
            answers(&mut target, "call 0", "2", "loaded from memory")?;
            target.apply(&pair.bundle)?.expect(0)?;
            answers(&mut target, "call 0", "101", "patched")?;
            target.verify()?.expect(0)?;
            target.revert_and_unmap("fix")?.expect(0)?;
            if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
                fail!("reverted: {difference}");
            }
            target.apply(&pair.bundle)?.expect(0)?;
        }
        answers(&mut target, "call 0", "101", "patched")?;
        target.verify()?.expect(0)?;
        target.revert("fix")?.expect(0)?;
        answers(&mut target, "call 0", "2", "reverted")?;
        target.finish()?;
    }
    Ok(())
}

/// A program on an overlay file system in user and mount namespaces of its own: the kernel has two files for one there, of different devices, and
/// its path leads elsewhere outside. Once it lies in the lower layer, once it was written to and lies in the upper one.
fn on_layers() -> Result<()> {
    let pair = Pair::make("counter", "on-layers")?;
    let hpatch = paths::tool("hpatch")?;
    for change in ["true", "touch merged/counter"] {
        let folder = tempfile::tempdir()?;
        for name in ["lower", "upper", "work", "merged"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        std::fs::copy(&pair.builds.old.program, folder.path().join("lower/counter"))?;
        let script = format!(
            "cd \"$1\" && mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work merged || exit 9; {change}; exec \"$2\" run --trust \"$3\" -- \"$1/merged/counter\""
        );
        let unshare = ["--user", "--map-root-user", "--mount"];
        let mut probe = Command::new("unshare");
        probe.args(unshare).args([
            "sh",
            "-c",
            "cd \"$1\" && mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work merged",
            "sh",
        ]);
        if process::run(probe.arg(folder.path()), Duration::from_secs(10))?.code() != Some(0) {
            left_out("the kernel or a container forbids to mount layers");
            return Ok(());
        }
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let words = ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned(), text(folder.path()), text(&hpatch)];
        let trust = Signer::shared()?.trust();
        let arguments = unshare.map(str::to_owned).into_iter().chain(words).chain([text(&trust)]).collect();
        let mut target = Target::start(Path::new("unshare"), &Launch { arguments, ..Launch::default() })?;
        let when = format!("after `{change}`");
        check!(!folder.path().join("merged/counter").exists(), "{when}: the path leads to it outside, too");
        let before = Snapshot::take(target.pid())?;
        answers(&mut target, "value", "2", &when)?;
        target::apply(target.pid(), &pair.bundle, 10, &trust)?.expect(0)?;
        answers(&mut target, "value", "101", &when)?;
        target.verify()?.expect(0)?;
        target.revert_and_unmap("fix")?.expect(0)?;
        answers(&mut target, "value", "2", &when)?;
        if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
            fail!("{when}: reverted: {difference}");
        }
        // By its path, as it is inside.
        every("apply", &folder.path().join("merged/counter"), &[&pair.bundle.to_string_lossy()])?.expect(0)?;
        answers(&mut target, "value", "101", &when)?;
        every("revert", &folder.path().join("merged/counter"), &["fix"])?.expect(0)?;
        answers(&mut target, "value", "2", &when)?;
        target.finish()?;
    }
    Ok(())
}

fn in_and_out(target: &mut Target, bundle: &Path, when: &str) -> Result<()> {
    target.apply(bundle)?.expect(0)?;
    answers(target, "value", "101", when)?;
    target.verify()?.expect(0)?;
    target.revert_and_unmap("fix")?.expect(0)?;
    answers(target, "value", "2", when)
}

/// The new build has the old one's name, and both run. What runs is what counts: the bundle is for the one and not for the other.
fn replaced() -> Result<()> {
    let pair = Pair::make("counter", "replaced-on-disk")?;
    let launch = Launch::trusting(Signer::shared()?.trust());
    let program = pair.builds.beside("installed")?.program;
    let mut old = Target::start(&program, &launch)?;
    let next = program.with_extension("dpkg-new");
    std::fs::copy(&pair.builds.new.program, &next)?;
    std::fs::rename(&next, &program)?;
    let mut new = Target::start(&program, &launch)?;
    answers(&mut new, "value", "101", "the new build")?;
    in_and_out(&mut old, &pair.bundle, "the old build, whose file is another now")?;
    let refused = new.apply(&pair.bundle)?.expect(4)?;
    check!(refused.text().contains("HP1101"), "expected HP1101: {}", refused.describe());
    let both = every("apply", &program, &[&pair.bundle.to_string_lossy()])?.expect(4)?;
    check!(both.text().contains("1 of 2 processes"), "one of two was to be patched: {}", both.describe());
    answers(&mut old, "value", "101", "by the program's path")?;
    target::revert(old.pid(), "fix", 10)?.expect(0)?;
    answers(&mut old, "value", "2", "reverted")?;
    old.finish()?;
    new.finish()
}

fn unlinked() -> Result<()> {
    let pair = Pair::make("busy", "unlinked")?;
    let program = pair.builds.beside("gone")?.program;
    let target = Target::start(&program, &Launch::trusting(Signer::shared()?.trust()))?;
    std::fs::remove_file(&program)?;
    target.apply(&pair.bundle)?.expect(0)?;
    target.verify()?.expect(0)?;
    target.revert_and_unmap("fix")?.expect(0)?;
    target.finish()
}

/// A program that has put its code onto pages that no file backs, as those do that want huge ones.
fn remapped() -> Result<()> {
    let pair = Pair::make("remapped", "remapped")?;
    let mut target = pair.start()?;
    answers(&mut target, "remap", "no file", "before")?;
    answers(&mut target, "value", "2", "remapped")?;
    in_and_out(&mut target, &pair.bundle, "remapped before")?;
    target.apply(&pair.bundle)?.expect(0)?;
    // The patch goes along, as every byte does.
    answers(&mut target, "remap", "no file", "patched")?;
    answers(&mut target, "value", "101", "remapped when patched")?;
    target.verify()?.expect(0)?;
    target.revert("fix")?.expect(0)?;
    answers(&mut target, "value", "2", "reverted")?;
    target.finish()
}

/// Versions that only the new build needs go under the library that has them; where nothing says which that is, no file is written: it might not
/// start.
fn versions_in_file() -> Result<()> {
    let folder = folder("versions-in-file")?;
    std::fs::create_dir_all(&folder)?;
    let source = paths::programs().join("special/sided.c");
    let script = folder.join("side.map");
    std::fs::write(&script, "SIDE_1 { global: side_value; local: *; };\nSIDE_2 { global: side_other; } SIDE_1;\n")?;
    let library = folder.join("libside.so");
    let mut compiler = Command::new("gcc");
    compiler.args(["-shared", "-fPIC", "-O2", "-DLIBRARY", "-Wl,-soname,libside.so", "-o"]).arg(&library);
    compiler.arg(format!("-Wl,--version-script={}", script.display()));
    run_ok(compiler.arg(&source), TOOL_LIMIT)?;
    let program = |name: &str, options: &[&str], linked: bool| -> Result<PathBuf> {
        let path = folder.join(name);
        let mut compiler = Command::new("gcc");
        compiler.args(["-O2", "-g", "-Wl,--build-id", "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed", "-o"]).arg(&path);
        compiler.args(options).arg(&source).args(linked.then_some(&library));
        run_ok(&mut compiler, TOOL_LIMIT)?;
        Ok(path)
    };
    let new = program("new", &["-DNEW"], true)?;
    let patched = |old: &Path| -> Result<(Output, PathBuf)> {
        let (bundle, output) = (old.with_extension("hpatch"), old.with_extension("patched"));
        bundle::build(old, &new, &bundle, "fix", &[])?.expect(0)?;
        Ok((bundle::rewrite(old, &bundle, &output)?, output))
    };
    let (output, file) = patched(&program("linked", &[], true)?)?;
    output.expect(0)?;
    let answer = run_ok(&mut Command::new(&file), TOOL_LIMIT)?;
    check!(answer.stdout.trim() == "142" && answer.stderr.is_empty(), "the rewritten program: {}", answer.describe());
    let listed = run_ok(Command::new("readelf").args(["-W", "-V"]).arg(&file), TOOL_LIMIT)?;
    let of_side = listed.stdout.split("File: ").find(|part| part.starts_with("libside.so")).unwrap_or_default();
    check!(of_side.contains("SIDE_1") && of_side.contains("SIDE_2"), "not under their library: {}", listed.stdout);
    let (refused, file) = patched(&program("alone", &[], false)?)?;
    check!(refused.code() == Some(4) && refused.text().contains("HP0613"), "not refused: {}", refused.describe());
    check!(!file.exists(), "a file was written that wouldn't start");
    Ok(())
}
