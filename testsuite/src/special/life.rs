//! The life of patches: bundles on top of and in place of one another, libraries that come and go, children, other programs.

use super::{Case, Pair, answers, compiled, folder};
use crate::bundle::{self, Signer};
use crate::compile::{self, Build};
use crate::left_out::{RELEASE, left_out};
use crate::process::{self, Output};
use crate::program::{Config, Program};
use crate::snapshot::Snapshot;
use crate::target::{self, Launch, Target};
use crate::{Result, check, fail, paths};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    Case { name: "stacked on one function", hazards: "S12", run: stacked },
    Case { name: "in place of others", hazards: "S12,B3", run: replaced },
    Case { name: "an invalid one in place of others", hazards: "S11,S12", run: replaced_by_invalid },
    Case { name: "replacing killed at each step", hazards: "S12,S13", run: replacing_killed },
    Case { name: "an older bundle after a newer", hazards: "B3", run: sequence },
    Case { name: "unmapped later", hazards: "S12", run: unmapped_later },
    Case { name: "loaded later", hazards: "I5,S10", run: loaded_later },
    Case { name: "of another layout, loaded later", hazards: "D6,I5", run: grown_later },
    Case { name: "loaded while a command works", hazards: "I5", run: passed_over },
    Case { name: "loaded twice", hazards: "I5", run: loaded_twice },
    Case { name: "unloaded", hazards: "I5", run: unloaded },
    Case { name: "unloaded before the stop", hazards: "I5", run: unloaded_meanwhile },
    Case { name: "another program", hazards: "S10", run: another_program },
    Case { name: "daemon", hazards: "S10", run: daemon },
    Case { name: "started by the dynamic linker", hazards: "S10", run: by_dynamic_linker },
    Case { name: "bound inside of the library", hazards: "C10", run: bound_inside },
    Case { name: "statically linked", hazards: "S7", run: statically_linked },
    Case { name: "attached under load, beside another preload", hazards: "S3,S7", run: attached_busy },
    Case { name: "locks held", hazards: "S3", run: locks_held },
    Case { name: "every process of a program", hazards: "S10", run: fleet },
    Case { name: "rebuilt over itself, again and again", hazards: "S12", run: rebuilt },
];

/// `hpatch` with any arguments, trusting the shared key.
fn hpatch(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args(arguments).env("HPATCH_TRUST", Signer::shared()?.trust());
    process::run(&mut command, Duration::from_secs(60))
}

fn applied(target: &Target, bundle: &Path, more: &[&str]) -> Result<Output> {
    let pid = target.pid().to_string();
    hpatch(&[&["apply", "--pid", &pid, &bundle.to_string_lossy()], more].concat())
}

/// The plain program's old build, and signed bundles that take it to different new ones, each `value` with another answer.
struct Stack {
    old: Build,
    bundles: Vec<PathBuf>,
}

impl Stack {
    /// Each bundle is given by its id, the macros of its new build and further options of `patchgen build`.
    fn make(scene: &str, bundles: &[(&str, &[&str], &[&str])]) -> Result<Stack> {
        let program = Program::read(&paths::programs().join("special/versions.c"))?;
        let config = Config::new(&[]);
        let old = compile::build(&program, &config, &folder(scene)?.join("old"), &[])?;
        let mut made = Vec::new();
        for (id, macros, options) in bundles {
            let new = compile::build(&program, &config, &folder(scene)?.join(id), macros)?;
            let file = folder(scene)?.join(format!("{id}.hpatch"));
            bundle::build(&old.module, &new.module, &file, id, options)?.expect(0)?;
            Signer::shared()?.sign(&file)?;
            made.push(file);
        }
        Ok(Stack { old, bundles: made })
    }

    fn start(&self) -> Result<Target> {
        Target::start(&self.old.program, &Launch::trusting(Signer::shared()?.trust()))
    }
}

/// A detour, also where an edit of some bytes would do.
const ON: &[&str] = &["--replace"];

/// The newest one answers, straight from the entry; an older one under it can't be taken out; order is kept on the way back.
fn stacked() -> Result<()> {
    let stack =
        Stack::make("versions-stacked", &[("one", &["V1"], ON), ("two", &["V2"], ON), ("side", &["SIDE"], ON)])?;
    let mut target = stack.start()?;
    let before = Snapshot::take(target.pid())?;
    for bundle in &stack.bundles {
        applied(&target, bundle, &[])?.expect(0)?;
    }
    answers(&mut target, "value", "202", "both on one function")?;
    answers(&mut target, "side", "301", "one aside")?;
    let list: serde_json::Value =
        serde_json::from_str(&target::hpatch("list", target.pid(), &["--json"])?.expect(0)?.stdout)?;
    let newest = list["functions"].as_array().and_then(|all| {
        all.iter().rfind(|f| f["function"] == "value").map(|f| (f["entry"].clone(), f["replacement"].clone()))
    });
    let Some((entry, replacement)) = newest else { fail!("`value` isn't listed: {list}") };
    check!(jumps_to(&target, &entry, &replacement)?, "the entry {entry} doesn't lead straight to {replacement}");
    let refused = target.revert("one")?.expect(4)?;
    check!(refused.text().contains("HP1302"), "expected HP1302: {}", refused.describe());
    // Not the top, but nothing in common with what came later.
    target.revert_and_unmap("side")?.expect(0)?;
    answers(&mut target, "side", "3", "the one aside reverted")?;
    target.revert_and_unmap("two")?.expect(0)?;
    answers(&mut target, "value", "102", "the newest reverted")?;
    target.revert_and_unmap("one")?.expect(0)?;
    answers(&mut target, "value", "2", "both reverted")?;
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("after all reverts: {difference}");
    }
    target.finish()
}

/// What can't be applied takes nobody's place.
fn replaced_by_invalid() -> Result<()> {
    let stack = Stack::make("versions-invalid", &[("one", &["V1"], ON), ("two", &["V2"], ON)])?;
    let other = Pair::make("counter", "versions-other-build")?;
    let mut bytes = std::fs::read(&stack.bundles[1])?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let tampered = other.builds.folder.join("tampered.hpatch");
    std::fs::write(&tampered, &bytes)?;
    let mut target = stack.start()?;
    applied(&target, &stack.bundles[0], &[])?.expect(0)?;
    let before = Snapshot::take(target.pid())?;
    for (bundle, code) in [(&other.bundle, 4), (&tampered, 5)] {
        applied(&target, bundle, &["--replace"])?.expect(code)?;
        answers(&mut target, "value", "102", "after the refusal")?;
        target.verify()?.expect(0)?;
    }
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("after the refusals: {difference}");
    }
    applied(&target, &stack.bundles[1], &["--replace"])?.expect(0)?;
    answers(&mut target, "value", "202", "replaced")?;
    target.finish()
}

/// A program that the dynamic linker was asked to run: for the kernel the process's program is the dynamic linker.
fn by_dynamic_linker() -> Result<()> {
    // Its path is part of the psABI.
    let linker = Path::new("/lib64/ld-linux-x86-64.so.2");
    for kind in ["pie", "shared"] {
        let pair = Pair::unsigned("counter", &format!("by-linker-{kind}"), &Config::new(&[("kind", kind)]))?;
        Signer::shared()?.sign(&pair.bundle)?;
        let store = crate::scenario::store_with(&pair.builds.folder, &[&pair.bundle])?;
        for store in [None, Some(store)] {
            let arguments = vec![pair.builds.old.program.to_string_lossy().into_owned()];
            let launch = Launch { store: store.clone(), arguments, ..Launch::trusting(Signer::shared()?.trust()) };
            let mut target = Target::start(linker, &launch)?;
            if store.is_none() {
                answers(&mut target, "value", "2", kind)?;
                target.apply(&pair.bundle)?.expect(0)?;
            }
            answers(&mut target, "value", "101", kind)?;
            target.verify()?.expect(0)?;
            target.revert_and_unmap("fix")?.expect(0)?;
            answers(&mut target, "value", "2", kind)?;
            target.finish()?;
        }
    }
    Ok(())
}

/// A library whose calls to its own exported functions are bound when it is linked.
fn bound_inside() -> Result<()> {
    let mut program = super::special("counter")?;
    program.flags.push("-Wl,-Bsymbolic".to_owned());
    let pair = Pair::built(&program, "bsymbolic", &Config::new(&[("kind", "shared")]))?;
    Signer::shared()?.sign(&pair.bundle)?;
    let mut target = pair.start()?;
    target.apply(&pair.bundle)?.expect(0)?;
    answers(&mut target, "value", "101", "patched")?;
    target.revert_and_unmap("fix")?.expect(0)?;
    answers(&mut target, "value", "2", "reverted")?;
    target.finish()
}

fn jumps_to(target: &Target, entry: &serde_json::Value, replacement: &serde_json::Value) -> Result<bool> {
    use std::os::unix::fs::FileExt;
    let number = |v: &serde_json::Value| {
        let text = v.as_str().unwrap_or_default().trim_start_matches("0x").to_owned();
        u64::from_str_radix(&text, 16).map_err(|_| crate::Failure(format!("`{v}` is no address")))
    };
    let (entry, replacement) = (number(entry)?, number(replacement)?);
    let mut code = [0; 9];
    std::fs::File::open(format!("/proc/{}/mem", target.pid()))?.read_exact_at(&mut code, entry)?;
    let at = if code[..4] == [0xf3, 0x0f, 0x1e, 0xfa] { 4 } else { 0 };
    let distance = i32::from_le_bytes([code[at + 1], code[at + 2], code[at + 3], code[at + 4]]);
    Ok(code[at] == 0xe9 && (entry + at as u64 + 5).wrapping_add_signed(distance.into()) == replacement)
}

/// A cumulative bundle takes the place of two in one stop, by what it says and by the operator's word.
fn replaced() -> Result<()> {
    let stack = Stack::make(
        "versions-replaced",
        &[
            ("one", &["V1"], &[]),
            ("side", &["SIDE"], &[]),
            ("all", &["V2"], &["--supersedes", "one", "--supersedes", "side"]),
            ("plain", &["V2"], &["--note", "not the same bundle as the one above"]),
        ],
    )?;
    let mut target = stack.start()?;
    let before = Snapshot::take(target.pid())?;
    for (bundle, more) in [(&stack.bundles[2], &["--unmap"][..]), (&stack.bundles[3], &["--replace", "--unmap"])] {
        applied(&target, &stack.bundles[0], &[])?.expect(0)?;
        applied(&target, &stack.bundles[1], &[])?.expect(0)?;
        answers(&mut target, "value", "102", "two bundles")?;
        answers(&mut target, "side", "301", "two bundles")?;
        let done = applied(&target, bundle, more)?.expect(0)?;
        check!(done.text().contains("in place of one"), "what gave way isn't said: {}", done.describe());
        answers(&mut target, "value", "202", "replaced")?;
        // It changes `side` no longer.
        answers(&mut target, "side", "3", "replaced")?;
        target.verify()?.expect(0)?;
        if more.len() == 1 {
            let refused = applied(&target, &stack.bundles[0], &[])?.expect(5)?;
            check!(refused.text().contains("HP1011"), "expected HP1011: {}", refused.describe());
        }
        let id = if more.len() == 1 { "all" } else { "plain" };
        target.revert_and_unmap(id)?.expect(0)?;
        answers(&mut target, "value", "2", "reverted")?;
        if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
            fail!("after the revert of {id}: {difference}");
        }
    }
    target.finish()
}

/// The tool dies while one bundle takes another's place: afterwards the first is live, whole.
fn replacing_killed() -> Result<()> {
    let stack = Stack::make("versions-killed", &[("one", &["V1"], &[]), ("two", &["V2"], &["--supersedes", "one"])])?;
    let mut target = stack.start()?;
    applied(&target, &stack.bundles[0], &[])?.expect(0)?;
    for step in ["writing", "first-write", "written"] {
        let mut command = Command::new(paths::tool("hpatch")?);
        command.args(["apply", "--pid", &target.pid().to_string()]).arg(&stack.bundles[1]);
        command.env("HPATCH_TEST_KILL", format!("all:{step}"));
        let output = process::run(&mut command, Duration::from_secs(30))?;
        if output.code() == Some(0) {
            check!(step == "writing", "{step}: nobody was killed");
            left_out(RELEASE);
            return target.finish();
        }
        target::hpatch("recover", target.pid(), &[])?.expect(0)?;
        answers(&mut target, "value", "102", "recovered")?;
        target.verify()?.expect(0)?;
        let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
        check!(status.text().contains("one live"), "after a recovery: {}", status.describe());
    }
    applied(&target, &stack.bundles[1], &[])?.expect(0)?;
    answers(&mut target, "value", "202", "replaced in the end")?;
    target.revert("two")?.expect(0)?;
    answers(&mut target, "value", "2", "reverted")?;
    target.finish()
}

fn sequence() -> Result<()> {
    let stack = Stack::make(
        "versions-sequence",
        &[("four", &["V1"], &["--sequence", "4"]), ("five", &["V2"], &["--sequence", "5"])],
    )?;
    let mut target = stack.start()?;
    applied(&target, &stack.bundles[1], &[])?.expect(0)?;
    for more in [&[][..], &["--replace"]] {
        let refused = applied(&target, &stack.bundles[0], more)?.expect(5)?;
        check!(refused.text().contains("HP1011"), "expected HP1011: {}", refused.describe());
    }
    answers(&mut target, "value", "202", "after the refusals")?;
    target.revert("five")?.expect(0)?;
    applied(&target, &stack.bundles[0], &[])?.expect(0)?;
    answers(&mut target, "value", "102", "the older one, after the operator took the newer back")?;
    target.finish()
}

/// A revert leaves the patch mapped; a later one takes it away, when no frame is in it.
fn unmapped_later() -> Result<()> {
    let pair = Pair::make("busy", "unmapped-later")?;
    let target = pair.start()?;
    let before = Snapshot::take(target.pid())?;
    target.apply(&pair.bundle)?.expect(0)?;
    target.revert("fix")?.expect(0)?;
    check!(before.difference(&Snapshot::take(target.pid())?).is_some(), "the patch isn't mapped any more");
    target.revert_and_unmap("fix")?.expect(0)?;
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("after the unmapping: {difference}");
    }
    target.revert_and_unmap("fix")?.expect(4)?;
    target.finish()
}

/// A library in both builds with its bundle, the only one in a store, and a host.
struct Plugin {
    host: PathBuf,
    library: PathBuf,
    bundle: PathBuf,
    store: PathBuf,
}

impl Plugin {
    fn make(scene: &str) -> Result<Plugin> {
        Plugin::of("counter", scene)
    }

    fn of(program: &str, scene: &str) -> Result<Plugin> {
        Plugin::linked("bfd", program, scene)
    }

    fn linked(linker: &str, program: &str, scene: &str) -> Result<Plugin> {
        let library = compiled(program, scene, &Config::new(&[("kind", "shared"), ("ld", linker)]))?;
        let store = library.folder.join("store");
        std::fs::create_dir_all(&store)?;
        let bundle = store.join("fix.hpatch");
        bundle::build_signed(Signer::shared()?, &library.old.module, &library.new.module, &bundle, "fix")?;
        let host = compiled("loads", &format!("{scene}-host"), &Config::new(&[]))?.old.program;
        Ok(Plugin { host, library: library.old.module, bundle, store })
    }

    fn start(&self, with_store: bool) -> Result<Target> {
        let store = with_store.then(|| self.store.clone());
        Target::start(&self.host, &Launch { store, ..Launch::trusting(Signer::shared()?.trust()) })
    }

    fn load(&self, target: &mut Target, how: &str) -> Result<String> {
        target.ask(&format!("{how} {}", self.library.display()))
    }
}

/// A library that isn't there at the start is patched before its code runs, on whichever thread it is loaded.
fn loaded_later() -> Result<()> {
    // By lld, all segments of so small a file begin with its first page.
    for (linker, how) in [("bfd", "load"), ("bfd", "thread"), ("lld", "load")] {
        let plugin = Plugin::linked(linker, "counter", &format!("loaded-later-{linker}"))?;
        let mut target = plugin.start(true)?;
        plugin.load(&mut target, how)?;
        answers(&mut target, "call 0", "101", "loaded after the start")?;
        target.verify()?.expect(0)?;
        target.revert("fix")?.expect(0)?;
        answers(&mut target, "call 0", "2", "reverted")?;
        check!(target.complaints().is_empty(), "the loader complains: {}", target.complaints());
        target.finish()?;
    }
    Ok(())
}

/// While a command is at work nothing is applied to a library that is loaded: the command says so, and another one makes up for it.
fn passed_over() -> Result<()> {
    let plugin = Plugin::of("counter", "passed-over")?;
    let pair = Pair::make("loads", "passed-over-host")?;
    let launch = Launch { store: Some(plugin.store.clone()), ..Launch::trusting(Signer::shared()?.trust()) };
    let mut target = Target::start(&pair.builds.old.program, &launch)?;
    let mut apply = Command::new(paths::tool("hpatch")?);
    apply.args(["apply", "--pid", &target.pid().to_string()]).arg(&pair.bundle);
    // The worker stops itself.
    apply.env("HPATCH_TEST_KILL", "prefaulted").env("HPATCH_TEST_KILL_SIGNAL", "19");
    let mut apply = apply.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let worker = loop {
        if apply.try_wait()?.is_some() {
            left_out(RELEASE);
            return target.finish();
        }
        let id = apply.id();
        let worker = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?.trim().to_owned();
        if std::fs::read_to_string(format!("/proc/{worker}/stat")).is_ok_and(|s| s.contains(") T ")) {
            break worker;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    plugin.load(&mut target, "load")?;
    answers(&mut target, "call 0", "2", "loaded while a command is at work")?;
    process::run(Command::new("kill").args(["-CONT", &worker]), Duration::from_secs(5))?.expect(0)?;
    let said = apply.wait_with_output()?;
    let text = String::from_utf8_lossy(&said.stderr);
    check!(said.status.success() && text.contains("apply --pending"), "the command doesn't say it: {text}");
    answers(&mut target, "own", "101", "patched")?;
    let revert = target.revert("fix")?.expect(0)?;
    check!(!revert.text().contains("pending"), "nothing came meanwhile: {}", revert.describe());
    target::hpatch("apply", target.pid(), &["--pending"])?.expect(0)?;
    answers(&mut target, "call 0", "101", "made up for")?;
    target.verify()?.expect(0)?;
    target.finish()
}

/// A bundle that is only for the start goes into a library that is loaded for the first time: nothing of it has run. Loaded again, it gets the
/// bundle again; but not where it was there without it, or where somebody who began earlier may have called it.
fn grown_later() -> Result<()> {
    let plugin = Plugin::of("grown", "grown-later")?;
    let started = |environment: Vec<(String, String)>| {
        let store = Some(plugin.store.clone());
        Target::start(&plugin.host, &Launch { store, environment, ..Launch::trusting(Signer::shared()?.trust()) })
    };
    let mut target = started(Vec::new())?;
    for round in 0..3 {
        plugin.load(&mut target, "load")?;
        answers(&mut target, &format!("call {round}"), "1001", "loaded after the start")?;
        target.verify()?.expect(0)?;
        target.revert("fix")?.expect(4)?;
        answers(&mut target, &format!("close {round}"), "0", "unloaded")?;
    }
    check!(target.complaints().is_empty(), "the loader complains: {}", target.complaints());
    target.finish()?;

    // The store gets its bundle only when the library has been there.
    let away = plugin.store.join("away");
    std::fs::rename(&plugin.bundle, &away)?;
    let mut target = started(Vec::new())?;
    plugin.load(&mut target, "load")?;
    answers(&mut target, "call 0", "2", "loaded without the bundle")?;
    answers(&mut target, "close 0", "0", "unloaded")?;
    std::fs::rename(&away, &plugin.bundle)?;
    plugin.load(&mut target, "load")?;
    answers(&mut target, "call 1", "2", "loaded again")?;
    target.complains(&["HP1006"])?;
    target.finish()?;

    // A program that knows the library's function, weakly, may have called it.
    let source = plugin.library.with_file_name("caller.c");
    std::fs::write(
        &source,
        "extern int value(int) __attribute__((weak));\nint call(void) { return value ? value(1) : 0; }\n",
    )?;
    let caller = source.with_extension("so");
    let mut cc = Command::new("gcc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&caller).arg(&source);
    process::run_ok(&mut cc, bundle::TOOL_LIMIT)?;
    let mut target = started(vec![("LD_PRELOAD".to_owned(), caller.display().to_string())])?;
    plugin.load(&mut target, "load")?;
    answers(&mut target, "call 0", "2", "known to another library")?;
    target.complains(&["HP1006", "caller.so"])?;
    target.finish()
}

/// Copies in namespaces of their own: those that are there are patched together, one that comes later by the same bundle, and all go back in
/// one stop.
fn loaded_twice() -> Result<()> {
    let plugin = Plugin::make("loaded-twice")?;
    let mut target = plugin.start(true)?;
    let pid = target.pid().to_string();
    for _ in 0..2 {
        plugin.load(&mut target, "space")?;
    }
    // Another namespace has no preloaded library, so nothing is applied while they are loaded.
    answers(&mut target, "call 0", "2", "in a new namespace")?;
    hpatch(&["apply", "--pending", "--pid", &pid])?.expect(0)?;
    answers(&mut target, "call 0", "101", "the first copy")?;
    answers(&mut target, "call 1", "101", "the second copy")?;
    hpatch(&["apply", "--pending", "--pid", &pid])?.expect(3)?;
    applied(&target, &plugin.bundle, &[])?.expect(3)?;
    plugin.load(&mut target, "space")?;
    applied(&target, &plugin.bundle, &[])?.expect(0)?;
    answers(&mut target, "call 2", "101", "the third copy")?;
    target.verify()?.expect(0)?;
    target.revert_and_unmap("fix")?.expect(0)?;
    for call in ["call 0", "call 1", "call 2"] {
        answers(&mut target, call, "2", "reverted")?;
    }
    target.finish()
}

/// After dlclose nothing is written where the library was; loaded again, it is patched again.
fn unloaded() -> Result<()> {
    let plugin = Plugin::make("unloaded")?;
    let mut target = plugin.start(true)?;
    for round in 0..3 {
        plugin.load(&mut target, "load")?;
        answers(&mut target, &format!("call {round}"), "101", "loaded")?;
        answers(&mut target, &format!("close {round}"), "0", "unloaded")?;
        if round == 1 {
            target.verify()?.expect(0)?;
            target.revert("fix")?.expect(4)?;
        }
    }
    let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
    check!(status.text().matches("fix").count() <= 1, "records of an unloaded library pile up: {}", status.describe());
    target.finish()
}

/// Unloaded, or loaded anew, between the preparation and the stop: not a byte is written where the library was.
fn unloaded_meanwhile() -> Result<()> {
    let plugin = Plugin::make("unloaded-meanwhile")?;
    for (again, status, said) in [(false, 4, "HP1101"), (true, 8, "loaded anew")] {
        let mut target = plugin.start(false)?;
        plugin.load(&mut target, "load")?;
        let mut command = Command::new(paths::tool("hpatch")?);
        command.args(["apply", "--pid", &target.pid().to_string()]).arg(&plugin.bundle);
        // It stops itself.
        command.env("HPATCH_TEST_KILL", "prefaulted").env("HPATCH_TEST_KILL_SIGNAL", "19");
        let mut command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let Some(worker) = stopped_child(&mut command)? else {
            left_out(RELEASE);
            return target.finish();
        };
        answers(&mut target, "close 0", "0", "before the stop")?;
        if again {
            plugin.load(&mut target, "load")?;
        }
        process::run_ok(Command::new("kill").args(["-CONT", &worker]), Duration::from_secs(5))?;
        let output = command.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        check!(output.status.code() == Some(status) && text.contains(said), "expected {said}: {text}");
        if !again {
            plugin.load(&mut target, "load")?;
        }
        answers(&mut target, "call 1", "2", "loaded anew")?;
        target.apply(&plugin.bundle)?.expect(0)?;
        answers(&mut target, "call 1", "101", "loaded anew and patched")?;
        target.finish()?;
    }
    Ok(())
}

/// The child of a command that has stopped itself; `None` when the command ends without that, as a release build does.
fn stopped_child(command: &mut Child) -> Result<Option<String>> {
    let pid = command.id();
    while command.try_wait()?.is_none() {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_ascii_whitespace() {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if stat.contains(") T ") {
                return Ok(Some(child.to_owned()));
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(None)
}

/// A program that is started in the place of another gets the store's bundles, as the first one did.
fn another_program() -> Result<()> {
    let pair = Pair::make("counter", "another-program")?;
    let store = pair.builds.folder.join("store");
    std::fs::create_dir_all(&store)?;
    std::fs::copy(&pair.bundle, store.join("fix.hpatch"))?;
    let host = compiled("loads", "another-program-host", &Config::new(&[]))?.old.program;
    let launch = Launch { store: Some(store), ..Launch::trusting(Signer::shared()?.trust()) };
    let mut target = Target::start(&host, &launch)?;
    target.send(&format!("exec {}", pair.builds.old.program.display()))?;
    // What is sent before would be lost with the old program's buffers.
    let start = Instant::now();
    while std::fs::read_link(format!("/proc/{}/exe", target.pid()))? == host {
        check!(start.elapsed() < Duration::from_secs(10), "the host is still there");
        std::thread::sleep(Duration::from_millis(2));
    }
    answers(&mut target, "value", "101", "after exec")?;
    target.revert("fix")?.expect(0)?;
    answers(&mut target, "value", "2", "after exec, reverted")?;
    target.finish()
}

/// A child in a session of its own, with no terminal, standard stream or parent's hand on it.
fn daemon() -> Result<()> {
    let pair = Pair::make("loads", "daemon")?;
    let mut target = pair.start()?;
    target.apply(&pair.bundle)?.expect(0)?;
    let child = target.ask("daemon")?;
    let Ok(pid) = child.parse::<u32>() else { fail!("`{child}` is no pid") };
    let list = target::hpatch("list", pid, &[])?.expect(0)?;
    check!(list.text().contains("own"), "the child doesn't carry the patch: {}", list.describe());
    target::hpatch("verify", pid, &[])?.expect(0)?;
    target::revert(pid, "fix", 10)?.expect(0)?;
    target::apply(pid, &pair.bundle, 10, &Signer::shared()?.trust())?.expect(0)?;
    target::revert(pid, "fix", 10)?.expect(0)?;
    answers(&mut target, "own", "101", "the parent")?;
    process::run(Command::new("kill").arg(&child), Duration::from_secs(5))?.expect(0)?;
    answers(&mut target, &format!("reap {pid}"), "1", "the daemon's end")?;
    target.finish()
}

/// One command for a parent and its children; a child that isn't patched yet and one that is; the report says each.
fn fleet() -> Result<()> {
    let pair = Pair::make("children", "fleet")?;
    let mut target = pair.start()?;
    for _ in 0..3 {
        target.ask("fork")?;
    }
    let program = pair.builds.old.program.to_string_lossy();
    let bundle = pair.bundle.to_string_lossy();
    let output = hpatch(&["--json", "apply", "--exe", &program, &bundle])?.expect(0)?;
    let said: serde_json::Value = serde_json::from_str(&output.stdout)?;
    check!(said["done"] == 4 && said["failed"] == 0, "four processes were to be patched: {said}");
    answers(&mut target, "value", "101", "the parent")?;
    for child in ["child 0", "child 1", "child 2"] {
        answers(&mut target, child, "101", "a child")?;
    }
    let id = build_id(&pair.builds.old.module)?;
    // One that has no patch any more, as a worker that was born after its parent was reverted.
    let reverted: Vec<u64> =
        said["processes"].as_array().into_iter().flatten().filter_map(|p| p["pid"].as_u64()).collect();
    let Some(&last) = reverted.last() else { fail!("no pids: {said}") };
    target::revert(last as u32, "fix", 10)?.expect(0)?;
    // By a path that leads nowhere any more, said from where it was.
    let folder = pair.builds.old.program.parent().unwrap_or(Path::new("/"));
    std::fs::remove_file(&*program)?;
    let mut command = Command::new(paths::tool("hpatch")?);
    command.current_dir(folder).args(["revert", "fix", "--exe"]);
    command.arg(pair.builds.old.program.file_name().unwrap_or_default());
    process::run(&mut command, Duration::from_secs(60))?.expect(0)?;
    answers(&mut target, "value", "2", "the parent reverted")?;
    answers(&mut target, "child 1", "2", "a child reverted")?;
    // Nothing is live any more: every one refuses, and the worst of them is the status.
    let refused = hpatch(&["revert", "--all", &id, "fix"])?.expect(4)?;
    check!(refused.text().contains("0 of 4"), "expected four refusals: {}", refused.describe());
    hpatch(&["apply", "--exe", "/nonexistent", &bundle])?.expect(6)?;
    Ok(())
}

/// No dynamic linker, no C library to call: the loader needs neither.
fn statically_linked() -> Result<()> {
    for (program, kind) in [("static", "nopie"), ("static_pie", "pie")] {
        without_linker(program, kind)?;
    }
    Ok(())
}

fn without_linker(program: &str, kind: &str) -> Result<()> {
    let builds = compiled(program, program, &Config::new(&[("kind", kind)]))?;
    let bundle = builds.folder.join("fix.hpatch");
    bundle::build(&builds.old.module, &builds.new.module, &bundle, "fix", ON)?.expect(0)?;
    Signer::shared()?.sign(&bundle)?;
    let mut target = Target::start(&builds.old.program, &Launch::default())?;
    applied(&target, &bundle, &[])?.expect(4)?;
    attach(&target)?;
    applied(&target, &bundle, &[])?.expect(0)?;
    answers(&mut target, "value", "101", "patched")?;
    target.verify()?.expect(0)?;
    target.revert_and_unmap("fix")?.expect(0)?;
    answers(&mut target, "value", "2", "reverted")?;
    target.finish()
}

fn attach(target: &Target) -> Result<()> {
    let trust = Signer::shared()?.trust();
    target::hpatch("attach", target.pid(), &["--trust", &trust.to_string_lossy()])?.expect(0).map(drop)
}

/// The loader comes into a process whose threads are at work, and which has a library of somebody else's preloaded.
fn attached_busy() -> Result<()> {
    let pair = Pair::make("threads", "attached-busy")?;
    let environment = vec![("LD_PRELOAD".to_owned(), "libdl.so.2".to_owned())];
    let mut target = Target::start(&pair.builds.old.program, &Launch { environment, ..Launch::default() })?;
    target.ask("start 32")?;
    attach(&target)?;
    for _ in 0..5 {
        target.apply(&pair.bundle)?.expect(0)?;
        answers(&mut target, "value", "37", "patched")?;
        target.revert_and_unmap("fix")?.expect(0)?;
        answers(&mut target, "value", "25", "reverted")?;
    }
    answers(&mut target, "stop 32", "wrong 0, calls made", "at the end")?;
    target.finish()
}

/// The allocator and the dynamic linker are in the hands of threads that don't move: nothing of ours waits for them, at an attach or after.
fn locks_held() -> Result<()> {
    let pair = Pair::make("held", "locks-held")?;
    for preloaded in [false, true] {
        let mut target = match preloaded {
            true => pair.start()?,
            false => Target::start(&pair.builds.old.program, &Launch::default())?,
        };
        answers(&mut target, "hold", "held", "before")?;
        if !preloaded {
            attach(&target)?;
        }
        target.apply(&pair.bundle)?.expect(0)?;
        answers(&mut target, "value", "101", "patched")?;
        target.revert_and_unmap("fix")?.expect(0)?;
        answers(&mut target, "value", "2", "reverted")?;
        answers(&mut target, "still", "held", "all the while")?;
        answers(&mut target, "release", "free", "released")?;
        target.finish()?;
    }
    Ok(())
}

fn build_id(file: &Path) -> Result<String> {
    let notes = process::run_ok(Command::new("readelf").args(["-n", "-W"]).arg(file), Duration::from_secs(10))?;
    match notes.stdout.split("Build ID: ").nth(1).and_then(|rest| rest.split_whitespace().next()) {
        Some(id) => Ok(id.to_owned()),
        None => fail!("{} has no build-id", file.display()),
    }
}

/// As a developer works: each build goes over the file that the process runs, and the old one is what the kernel still holds of it.
fn rebuilt() -> Result<()> {
    let (program, config, scene) = (super::special("versions")?, Config::new(&[]), folder("rebuilt")?);
    let build = |macros: &[&str]| compile::build(&program, &config, &scene.join("bin"), macros);
    let signer = Signer::shared()?;
    let mut target = Target::start(&build(&[])?.program, &Launch::trusting(signer.trust()))?;
    let running = PathBuf::from(format!("/proc/{}/exe", target.pid()));
    let mut live: Option<String> = None;
    for (n, (macros, value, side)) in
        [(&["V1"][..], "102", "3"), (&["V1", "SIDE"], "102", "301"), (&["V2"], "202", "3")].into_iter().enumerate()
    {
        let (new, id) = (build(macros)?.module, format!("dev{n}"));
        let file = scene.join(format!("{id}.hpatch"));
        let gives_way: Vec<&str> = live.iter().flat_map(|id| ["--supersedes", id]).collect();
        bundle::build(&running, &new, &file, &id, &gives_way)?.expect(0)?;
        signer.sign(&file)?;
        applied(&target, &file, &[])?.expect(0)?;
        answers(&mut target, "value", value, &id)?;
        answers(&mut target, "side", side, &id)?;
        live = Some(id);
    }
    // Back where it began: there is nothing to build, and what is live is taken back.
    bundle::build(&running, &build(&[])?.module, &scene.join("none.hpatch"), "none", &[])?.expect(3)?;
    target.revert_and_unmap("dev2")?.expect(0)?;
    answers(&mut target, "value", "2", "reverted")?;
    target.verify()?.expect(0)?;
    target.finish()
}
