//! Debian's glibc as users run it: programs on the oldest build that the archive has, with that build's dynamic linker, become the newest.

use super::workspace;
use crate::bundle::{self, Signer};
use crate::process::run_ok;
use crate::snapshot::Snapshot;
use crate::target::{self, Launch, Target};
use crate::{Failure, Result, check, fail, paths};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const ID: &str = "glibc";

/// Functions that can't be replaced in a running process: two ran when it started (resolvers of IFUNCs), and one is at the bottom of every
/// thread's stack.
pub const LEFT: [&str; 3] = ["wmemset", "__wmemset_chk", "start_thread"];

/// Longest fetch of a pair of packages with their debug files.
const FETCH_LIMIT: Duration = Duration::from_secs(300);
/// How long the threads may take to be outside of what changes.
const SECONDS: u32 = 30;

/// `stock.py`: `$HPATCH_STOCK_TOOL`, else beside the repository; `None` when it isn't there.
pub fn tool() -> Option<PathBuf> {
    let tool = match std::env::var_os("HPATCH_STOCK_TOOL") {
        Some(path) => PathBuf::from(path),
        None => paths::repository().join("../shared/stock/stock.py"),
    };
    tool.is_file().then_some(tool)
}

/// Where the pairs are: `$STOCK_DIR`, else the user's cache.
pub fn folder() -> PathBuf {
    match std::env::var_os("STOCK_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/hpatch-stock"),
    }
}

/// Whether a pair is there or can be fetched.
pub fn available(name: &str) -> bool {
    tool().is_some() || folder().join(name).join("pair.json").is_file()
}

/// Two versions of one stripped image, each with its separate debug file.
#[derive(Debug, Clone)]
pub struct StockPair {
    pub versions: [String; 2],
    pub old: PathBuf,
    pub new: PathBuf,
    pub old_debug: PathBuf,
    pub new_debug: PathBuf,
}

impl StockPair {
    /// A pair that is there, or is fetched now.
    pub fn ensure(name: &str) -> Result<StockPair> {
        let base = folder().join(name);
        let description = base.join("pair.json");
        if !description.is_file() {
            let Some(tool) = tool() else {
                fail!("no stock pair {name}, and no stock.py (HPATCH_STOCK_TOOL names it)")
            };
            run_ok(Command::new("/usr/bin/python3").arg(tool).args(["fetch", name]), FETCH_LIMIT)?;
        }
        let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&description)?)?;
        let text = |side: &str, key: &str| match json[side][key].as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(Failure(format!("{} has no {side} {key}", description.display()))),
        };
        Ok(StockPair {
            versions: [text("old", "version")?, text("new", "version")?],
            old: base.join(text("old", "elf")?),
            new: base.join(text("new", "elf")?),
            old_debug: base.join(text("old", "debug")?),
            new_debug: base.join(text("new", "debug")?),
        })
    }

    /// The options of `patchgen` that name the debug files.
    pub fn debug_options(&self) -> [String; 4] {
        let path = |p: &Path| p.to_string_lossy().into_owned();
        ["--old-debug".to_owned(), path(&self.old_debug), "--new-debug".to_owned(), path(&self.new_debug)]
    }
}

/// The bundle, made once for all scenarios.
fn glibc() -> Result<&'static (StockPair, PathBuf)> {
    static MADE: OnceLock<Result<(StockPair, PathBuf)>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let pair = StockPair::ensure("glibc")?;
        let bundle = workspace("stock")?.join("glibc.hpatch");
        let debug = pair.debug_options();
        let left = LEFT.iter().flat_map(|name| ["--leave", name]);
        let options: Vec<&str> = debug.iter().map(String::as_str).chain(left).collect();
        bundle::build(&pair.old, &pair.new, &bundle, ID, &options)?.expect(0)?;
        Signer::shared()?.sign(&bundle)?;
        check!(bundle::inspect(&bundle)?.scope == bundle::Scope::Live, "the bundle isn't live");
        Ok((pair, bundle))
    });
    match made {
        Ok(made) => Ok(made),
        Err(failure) => fail!("{failure}"),
    }
}

/// How a program is started on the old glibc, by that glibc's own dynamic linker.
fn launch(pair: &StockPair, words: &[&str]) -> Result<(PathBuf, Launch)> {
    let libraries = pair.old.parent().unwrap_or(&pair.old);
    let mut launch = Launch::trusting(Signer::shared()?.trust());
    launch.arguments = vec!["--library-path".to_owned(), libraries.to_string_lossy().into_owned()];
    launch.arguments.extend(words.iter().map(|word| (*word).to_owned()));
    Ok((libraries.join("ld-linux-x86-64.so.2"), launch))
}

fn uses_old(pid: u32, pair: &StockPair) -> Result<()> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    check!(maps.contains(&*pair.old.to_string_lossy()), "the program doesn't use the old glibc");
    Ok(())
}

fn apply(pid: u32, bundle: &Path) -> Result<()> {
    target::apply(pid, bundle, SECONDS, &Signer::shared()?.trust())?.expect(0)?;
    target::hpatch("verify", pid, &[])?.expect(0)?;
    Ok(())
}

fn revert(pid: u32) -> Result<()> {
    target::revert(pid, ID, SECONDS)?.expect(0)?;
    Ok(())
}

/// A program that works with the allocator, stdio, locks, threads and children from several threads, and checks every answer.
pub fn threads_on_glibc() -> Result<()> {
    let (pair, bundle) = glibc()?;
    let program = workspace("stock-threads")?.join("stock_libc");
    let source = paths::programs().join("special/stock_libc.c");
    let mut compiler = Command::new("gcc");
    compiler.args(["-O1", "-pthread", "-o"]).arg(&program).arg(&source);
    run_ok(&mut compiler, Duration::from_secs(60))?;
    let (linker, launch) = launch(pair, &[&program.to_string_lossy()])?;
    let mut target = Target::start(&linker, &launch)?;
    let pid = target.pid();
    uses_old(pid, pair)?;
    let expect = |target: &mut Target, question: &str, wanted: &str, when: &str| {
        let answer = target.ask(question)?;
        check!(answer == wanted, "{when}: `{question}` gives `{answer}`, expected `{wanted}`\n{}", target.complaints());
        Ok::<(), Failure>(())
    };
    let round = |target: &mut Target, words: u32, when: &str| {
        expect(target, "appended", &format!("0, {words} words"), when)?;
        expect(target, "check", "wrong 0", when)?;
        expect(target, "load", "wrong 0", when)
    };
    target.ask("busy 3")?;
    round(&mut target, 3, "before")?;
    let before = Snapshot::take(pid)?;
    for _ in 0..5 {
        apply(pid, bundle)?;
        check!(before.change(&Snapshot::take(pid)?).is_some(), "no byte of the process changed");
        round(&mut target, 1, "patched")?;
        revert(pid)?;
        if let Some(difference) = before.change(&Snapshot::take(pid)?) {
            fail!("after the revert: {difference}");
        }
        round(&mut target, 3, "reverted")?;
    }
    apply(pid, bundle)?;
    round(&mut target, 1, "patched for good")?;
    expect(&mut target, "stop 3", "wrong 0", "at the end")?;
    target.finish()
}

/// Commands of a shell with their answers: expansion, functions, pipes, subshells, here-documents, traps, children.
const SHELL: [(&str, &str); 8] = [
    ("f() { echo \"$1-$((2 * $2))\"; }; f a 21", "a-42"),
    ("echo one two three | while read a b; do echo \"$b/$a\"; done", "two three/one"),
    ("(cd /; pwd) | tr / x", "x"),
    ("cat <<END | sort -r | head -1\nb\nc\na\nEND", "c"),
    ("trap 'echo caught' USR1; kill -USR1 $$; trap - USR1", "caught"),
    ("i=0; while [ $i -lt 300 ]; do i=$((i + 1)); done; echo $i", "300"),
    ("sleep 0.01 & wait $!; echo $?", "0"),
    ("x=$(printf '%05d %s' 42 y; exit 3); echo \"$x $?\"", "00042 y 3"),
];

/// Debian's `dash`, asked between the switches.
pub fn shell_on_glibc() -> Result<()> {
    let (pair, bundle) = glibc()?;
    // The driver's protocol: each answer ends with a line that is a dot.
    let script = "while IFS= read -r line; do eval \"$(printf %b \"$line\")\"; echo .; done";
    let (linker, launch) = launch(pair, &["/bin/dash", "-c", script])?;
    let mut target = Target::start_with(&linker, &launch, "true")?;
    let pid = target.pid();
    uses_old(pid, pair)?;
    let all = |target: &mut Target, when: &str| {
        for (command, wanted) in SHELL {
            let line = command.replace('\n', "\\n");
            let answer = target.ask(&line)?;
            check!(
                answer == wanted,
                "{when}: `{command}` gives `{answer}`, expected `{wanted}`\n{}",
                target.complaints()
            );
        }
        Ok::<(), Failure>(())
    };
    all(&mut target, "before")?;
    let before = Snapshot::take(pid)?;
    for _ in 0..3 {
        apply(pid, bundle)?;
        all(&mut target, "patched")?;
        revert(pid)?;
        if let Some(difference) = before.change(&Snapshot::take(pid)?) {
            fail!("after the revert: {difference}");
        }
        all(&mut target, "reverted")?;
    }
    target.finish()
}

/// After so many the tests run on with the new library.
const SWITCHES: u32 = 9;

/// Modules of Python's own test suite that use much of the C library and take little time.
const MODULES: [&str; 8] = [
    "test_dict",
    "test_fileio",
    "test_float",
    "test_mmap",
    "test_memoryio",
    "test_posix",
    "test_struct",
    "test_thread",
];

/// Debian's python3 runs a part of its own tests while the C library under it changes to and fro.
pub fn python_on_glibc() -> Result<()> {
    let (pair, bundle) = glibc()?;
    let folder = workspace("stock-python")?;
    let words = [&["/usr/bin/python3", "-m", "test", "-q"], &MODULES[..]].concat();
    let (linker, launch) = launch(pair, &words)?;
    let mut command = launch.command(&linker)?;
    let log = folder.join("log");
    let file = std::fs::File::create(&log)?;
    command.current_dir(&folder).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = super::Running(command.spawn()?);
    let pid = child.pid();
    let start = Instant::now();
    let (mut switches, mut live) = (0, false);
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        check!(start.elapsed() < Duration::from_secs(240), "the tests did not come to their end");
        std::thread::sleep(Duration::from_millis(100));
        if switches >= SWITCHES {
            continue;
        }
        let done = if live {
            target::revert(pid, ID, 10)?
        } else {
            target::apply(pid, bundle, 10, &Signer::shared()?.trust())?
        };
        // Not up yet, in the way until the deadline, or at its end: the loop goes on.
        if done.code() == Some(0) {
            live = !live;
            switches += 1;
        }
    };
    let text = std::fs::read_to_string(&log)?;
    check!(
        status.success(),
        "the tests end with {status} after {switches} switches:\n{}",
        crate::process::tail(&text, 40)
    );
    check!(switches >= 3, "only {switches} switches while the tests ran");
    Ok(())
}
