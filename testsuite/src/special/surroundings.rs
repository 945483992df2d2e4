//! Processes in odd states and under odd policies: patched as any other, or refused by a code with nothing changed.

use super::{Case, Pair, compiled};
use crate::bundle::Signer;
use crate::left_out::left_out;
use crate::process::{self, Output};
use crate::program::Config;
use crate::snapshot::Snapshot;
use crate::target::{self, Launch, Target};
use crate::{Result, check, fail, paths};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "write xor execute", hazards: "S7", run: write_xor_execute },
    Case { name: "no new privileges", hazards: "S7", run: no_new_privileges },
    Case { name: "filter of system calls", hazards: "S7", run: filtered },
    Case { name: "privileges dropped", hazards: "S7", run: dropped },
    Case { name: "nobody without capabilities", hazards: "S7,B5", run: nobody },
    Case { name: "ptrace refused", hazards: "S7", run: ptrace_refused },
    Case { name: "chroot", hazards: "S7,S10", run: chroot },
    Case { name: "namespaces", hazards: "S7,S10", run: namespaces },
    Case { name: "no mappings left", hazards: "S8,S11", run: no_mappings },
    Case { name: "2000 threads", hazards: "S4", run: many },
    Case { name: "all signals blocked", hazards: "S4", run: masked },
    Case { name: "leader gone", hazards: "S4", run: leader_gone },
    Case { name: "vfork waiter", hazards: "S4", run: vfork_waiter },
    Case { name: "a process in the same memory", hazards: "S4", run: shared },
    Case { name: "privileged beyond its user", hazards: "B5,S7", run: privileged },
    Case { name: "frozen", hazards: "S4,S10", run: frozen },
    Case { name: "real-time threads", hazards: "S4", run: real_time },
    Case { name: "workers of the kernel", hazards: "S4,S5", run: kernel_workers },
    Case { name: "48 MiB of stack", hazards: "S2", run: deep_stack },
    Case { name: "handler on another stack", hazards: "S2", run: handler },
];

const OLD: &str = "2 2";
const NEW: &str = "101 200";

fn start(scene: &str, states: &[&str]) -> Result<(Pair, Target)> {
    let pair = Pair::make("odd", scene)?;
    let mut target = pair.start()?;
    for state in states {
        let answer = target.ask(state)?;
        check!(answer == "done", "`{state}` gives `{answer}`");
    }
    Ok((pair, target))
}

fn value(target: &mut Target, wanted: &str, when: &str) -> Result<()> {
    let answer = target.ask("value")?;
    check!(answer == wanted, "{when}: `value` gives `{answer}`, expected `{wanted}`");
    Ok(())
}

/// Applied, proven, reverted, proven.
fn there_and_back(pair: &Pair, target: &mut Target) -> Result<()> {
    target.apply(&pair.bundle)?.expect(0)?;
    value(target, NEW, "patched")?;
    target.verify()?.expect(0)?;
    target.revert_and_unmap("fix")?.expect(0)?;
    value(target, OLD, "reverted")
}

fn works_after(scene: &str, states: &[&str]) -> Result<()> {
    let (pair, mut target) = start(scene, states)?;
    there_and_back(&pair, &mut target)?;
    target.finish()
}

/// Refused by this code; not a byte differs.
fn refused(pair: &Pair, target: &mut Target, code: &str) -> Result<Output> {
    let before = Snapshot::take(target.pid())?;
    let output = target.apply_within(&pair.bundle, 2)?.expect(4)?;
    check!(output.text().contains(code), "expected {code}: {}", output.describe());
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("a refused bundle changed the process: {difference}");
    }
    value(target, OLD, "after the refusal")?;
    Ok(output)
}

fn write_xor_execute() -> Result<()> {
    works_after("odd-mdwe", &["mdwe"])
}

fn no_new_privileges() -> Result<()> {
    works_after("odd-nnp", &["no new privileges"])
}

/// Filters that know none of the loader's calls: suspended for them where the kernel permits that, else refused before anything is tried.
fn filtered() -> Result<()> {
    for action in ["filter errno", "filter kill"] {
        let (pair, mut target) = start("odd-filter", &["idle 2", action])?;
        let output = target.apply_within(&pair.bundle, 2)?;
        match output.code() {
            Some(0) => {
                value(&mut target, NEW, "patched")?;
                target.revert("fix")?.expect(0)?;
                value(&mut target, OLD, "reverted")?;
            }
            _ => {
                refused(&pair, &mut target, "HP1410")?;
            }
        }
        target.finish()?;
    }
    Ok(())
}

/// A trust directory that everybody may read, with its parents.
fn public_trust(folder: &Path) -> Result<PathBuf> {
    let trust = folder.join("trust");
    std::fs::create_dir_all(&trust)?;
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755));
    open(folder)?;
    open(&trust)?;
    std::fs::copy(Signer::shared()?.trust().join("release.pub"), trust.join("release.pub"))?;
    std::fs::set_permissions(trust.join("release.pub"), std::fs::Permissions::from_mode(0o644))?;
    Ok(trust)
}

/// A daemon that began as root.
fn dropped() -> Result<()> {
    let pair = Pair::make("odd", "odd-dropped")?;
    let folder = tempfile::tempdir()?;
    let mut target = Target::start(&pair.builds.old.program, &Launch::trusting(public_trust(folder.path())?))?;
    if target.ask("nobody")? != "done" {
        left_out("only root can drop what only root has");
        return target.finish();
    }
    there_and_back(&pair, &mut target)?;
    target.finish()
}

/// Target and command both run as an ordinary user; somebody else's process is refused.
fn nobody() -> Result<()> {
    let pair = Pair::make("odd", "odd-nobody")?;
    let folder = tempfile::tempdir()?;
    let trust = public_trust(folder.path())?;
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
    let copy = |from: &Path, name: &str| -> Result<PathBuf> {
        let to = folder.path().join(name);
        std::fs::copy(from, &to)?;
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755))?;
        Ok(to)
    };
    let program = copy(&pair.builds.old.program, "odd")?;
    let bundle = copy(&pair.bundle, "fix.hpatch")?;
    let hpatch = copy(&paths::tool("hpatch")?, "hpatch")?;
    copy(&paths::tool("libhpatch_loader.so")?, "libhpatch_loader.so")?;
    let as_nobody = |what: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(user).args(what);
        command
    };
    if process::run(&mut as_nobody(&["true"]), Duration::from_secs(5))?.code() != Some(0) {
        left_out("only root can become nobody");
        return Ok(());
    }
    let launch = Launch {
        arguments: user
            .iter()
            .map(|a| (*a).to_owned())
            .chain([
                text(&hpatch),
                "run".to_owned(),
                "--trust".to_owned(),
                text(&trust),
                "--".to_owned(),
                text(&program),
            ])
            .collect(),
        ..Launch::default()
    };
    let mut target = Target::start(Path::new("setpriv"), &launch)?;
    let pid = target.pid().to_string();
    let run =
        |what: &[&str]| process::run(&mut as_nobody(&[&[&text(&hpatch)[..]], what].concat()), Duration::from_secs(30));
    run(&["apply", "--pid", &pid, &text(&bundle)])?.expect(0)?;
    value(&mut target, NEW, "patched")?;
    run(&["verify", "--pid", &pid])?.expect(0)?;
    run(&["revert", "--pid", &pid, "fix"])?.expect(0)?;
    value(&mut target, OLD, "reverted")?;
    target.finish()?;
    let mut other = pair.start()?;
    let denied = run(&["apply", "--pid", &other.pid().to_string(), &text(&bundle)])?.expect(4)?;
    check!(denied.text().contains("HP1203"), "root's process: {}", denied.describe());
    value(&mut other, OLD, "after an attempt by nobody")?;
    other.finish()
}

/// A command whose file gives everybody root's rights, or the right to trace, does nothing with them.
fn privileged() -> Result<()> {
    let pair = Pair::make("odd", "odd-privileged")?;
    let folder = tempfile::tempdir()?;
    let trust = public_trust(folder.path())?;
    let hpatch = folder.path().join("hpatch");
    let mut target = pair.start()?;
    let pid = target.pid().to_string();
    let given: [(&str, &[&str]); 2] = [("chmod", &["4755"]), ("setcap", &["cap_sys_ptrace,cap_dac_override+ep"])];
    for (tool, rights) in given {
        std::fs::remove_file(&hpatch).or_else(|e| if hpatch.exists() { Err(e) } else { Ok(()) })?;
        std::fs::copy(paths::tool("hpatch")?, &hpatch)?;
        std::fs::set_permissions(&hpatch, std::fs::Permissions::from_mode(0o755))?;
        let given = process::run(Command::new(tool).args(rights).arg(&hpatch), Duration::from_secs(5));
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&hpatch).args(["status", "--pid", &pid]);
        let said = process::run(nobody.env("HPATCH_TRUST", &trust), Duration::from_secs(30));
        match (given.map(|o| o.code()), said) {
            (Ok(Some(0)), Ok(output)) if output.code().is_some_and(|code| code != 127) => {
                check!(output.code() == Some(4) && output.text().contains("HP1412"), "{tool}: {}", output.describe());
            }
            _ => left_out(format!("`{tool}` or `setpriv` can't be used here")),
        }
    }
    value(&mut target, OLD, "in the end")?;
    target.finish()
}

/// A container whose filter refuses ptrace: the last fallback, which is to refuse with everything as it was.
fn ptrace_refused() -> Result<()> {
    let pair = Pair::make("odd", "odd-refused")?;
    let runner = compiled("confined", "odd-refused-runner", &Config::new(&[]))?.old.program;
    let mut runner = Target::start(&runner, &Launch::default())?;
    let mut target = pair.start()?;
    let before = Snapshot::take(target.pid())?;
    let hpatch = paths::tool("hpatch")?;
    let said = runner.ask(&format!("run {} {} {}", hpatch.display(), target.pid(), pair.bundle.display()))?;
    check!(said.starts_with("4 ") && said.contains("HP1203"), "without ptrace: `{said}`");
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("a refused command changed the process: {difference}");
    }
    there_and_back(&pair, &mut target)?;
    runner.finish()?;
    target.finish()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The loader looks where the process lives: without `/proc` it refuses, without keys nothing is trusted.
fn chroot() -> Result<()> {
    let pair = Pair::make("odd", "odd-chroot")?;
    let folder = tempfile::tempdir()?;
    let trust = public_trust(folder.path())?;
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("proc"))?;
    let mut target = Target::start(&pair.builds.old.program, &Launch::trusting(trust.clone()))?;
    if target.ask(&format!("chroot {}", root.display()))? != "done" {
        left_out("only root can change the root");
        return target.finish();
    }
    target.apply_within(&pair.bundle, 2)?.expect(5)?;
    value(&mut target, OLD, "in the chroot")?;
    let inside = root.join(trust.strip_prefix("/").unwrap_or(&trust));
    std::fs::create_dir_all(&inside)?;
    std::fs::copy(trust.join("release.pub"), inside.join("release.pub"))?;
    let output = target.apply_within(&pair.bundle, 2)?.expect(5)?;
    check!(output.text().contains("HP1008"), "without /proc: {}", output.describe());
    value(&mut target, OLD, "in the chroot without /proc")?;
    target.finish()?;
    let mut target = Target::start(&pair.builds.old.program, &Launch::trusting(trust))?;
    if target.ask(&format!("proc {}", root.join("proc").display()))? != "done" {
        left_out("the kernel or a container forbids to mount /proc");
        return target.finish();
    }
    target.ask(&format!("chroot {}", root.display()))?;
    there_and_back(&pair, &mut target)?;
    target.finish()
}

/// User, mount, pid, network, IPC and host name namespaces of its own.
fn namespaces() -> Result<()> {
    let pair = Pair::make("odd", "odd-namespaces")?;
    let folder = tempfile::tempdir()?;
    let trust = public_trust(folder.path())?;
    let mut target = Target::start(&pair.builds.old.program, &Launch::trusting(trust.clone()))?;
    let answer = target.ask("unshare")?;
    let Ok(pid) = answer.parse::<u32>() else {
        left_out("the kernel or a container forbids new user namespaces");
        check!(answer == "none", "`unshare` gives `{answer}`");
        return target.finish();
    };
    target::apply(pid, &pair.bundle, 5, &trust)?.expect(0)?;
    value(&mut target, NEW, "patched")?;
    target::hpatch("verify", pid, &[])?.expect(0)?;
    target::hpatch("revert", pid, &["fix", "--unmap"])?.expect(0)?;
    value(&mut target, OLD, "reverted")?;
    target.finish()
}

/// Without room for the loader's mappings nothing happens; with a little it works.
fn no_mappings() -> Result<()> {
    let (pair, mut target) = start("odd-maps", &["maps 2"])?;
    let output = target.apply_within(&pair.bundle, 2)?;
    let told = ["HP1008", "HP1010", "HP1404"].iter().any(|code| output.text().contains(code));
    check!(output.code() != Some(0) && told, "without room: {}", output.describe());
    value(&mut target, OLD, "after the refusal")?;
    target.finish()?;
    works_after("odd-maps", &["maps 40"])
}

fn many() -> Result<()> {
    works_after("odd-many", &["idle 2000"])
}

fn masked() -> Result<()> {
    works_after("odd-masked", &["masked 3"])
}

fn leader_gone() -> Result<()> {
    works_after("odd-leader", &["leader"])
}

/// The child of the vfork runs in the same memory: the switch waits for its end.
fn vfork_waiter() -> Result<()> {
    let (pair, mut target) = start("odd-vfork", &["vfork"])?;
    let output = target.apply_within(&pair.bundle, 10)?.expect(0)?;
    check!(output.elapsed > Duration::from_millis(300), "it didn't wait: {}", output.describe());
    value(&mut target, NEW, "patched")?;
    target.finish()
}

/// Not now, by this code and this word; not a byte differs.
fn not_now(pair: &Pair, target: &mut Target, word: &str) -> Result<()> {
    let output = target.apply_within(&pair.bundle, 1)?.expect(7)?;
    let said = output.text().contains("HP1204") && output.text().contains(word);
    check!(said, "expected HP1204 and `{word}`: {}", output.describe());
    Ok(())
}

/// A task that is no thread of the process and yet runs its code: nothing stops it.
fn shared() -> Result<()> {
    let (pair, mut target) = start("odd-shared", &["share"])?;
    not_now(&pair, &mut target, "runs in the memory")?;
    value(&mut target, OLD, "with another process in it")?;
    check!(target.ask("part")? == "done", "the other process doesn't end");
    there_and_back(&pair, &mut target)?;
    target.finish()
}

/// A group of processes that vanishes with this.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Both kinds of freezers, where this system has them and lets us.
fn frozen() -> Result<()> {
    let hierarchies = [
        ("/sys/fs/cgroup", "cgroup.freeze", "1", "0"),
        ("/sys/fs/cgroup/unified", "cgroup.freeze", "1", "0"),
        ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"),
    ];
    let mut tried = false;
    for (hierarchy, file, freeze, thaw) in hierarchies {
        let group = Group(Path::new(hierarchy).join(format!("hpatch-{}", std::process::id())));
        if std::fs::create_dir(&group.0).is_err() || !group.0.join(file).exists() {
            continue;
        }
        tried = true;
        let (pair, mut target) = start("odd-frozen", &["idle 2"])?;
        let write = |name: &str, what: &str| std::fs::write(group.0.join(name), what);
        write("cgroup.procs", &target.pid().to_string())?;
        write(file, freeze)?;
        std::thread::sleep(Duration::from_millis(100));
        let refused = not_now(&pair, &mut target, "is frozen");
        write(file, thaw)?;
        refused?;
        value(&mut target, OLD, "thawed")?;
        there_and_back(&pair, &mut target)?;
        target.finish()?;
    }
    if !tried {
        left_out("no control group that can be frozen may be made here");
    }
    Ok(())
}

/// Threads that come before everybody else, on all processors, are patched as others are.
fn real_time() -> Result<()> {
    let pair = Pair::make("odd", "odd-real-time")?;
    let mut target = pair.start()?;
    let processors = std::thread::available_parallelism()?.get();
    if target.ask(&format!("real time {processors}"))? != "done" {
        left_out("no right to real-time threads");
        return target.finish();
    }
    target::hpatch("apply", target.pid(), &[&text(&pair.bundle)])?.expect(0)?;
    value(&mut target, NEW, "patched")?;
    target::hpatch("revert", target.pid(), &["fix"])?.expect(0)?;
    value(&mut target, OLD, "reverted")?;
    target.finish()
}

/// Threads that run no user code are no obstacle; a wait for completions goes on.
fn kernel_workers() -> Result<()> {
    let pair = Pair::make("odd", "odd-uring")?;
    let mut target = pair.start()?;
    if target.ask("uring")? == "none" {
        left_out("the kernel has no io_uring, or forbids it");
        return target.finish();
    }
    for _ in 0..3 {
        there_and_back(&pair, &mut target)?;
    }
    let interrupted = target.ask("interrupted")?;
    check!(interrupted == "0", "{interrupted} waits for completions were interrupted");
    let before = target.ask("completed")?;
    check!(before == "0 0", "a request ended with `{before}`, though nothing came");
    target.ask("release 1")?;
    let after = target.ask("completed")?;
    check!(after == "1 1", "the request that the worker carries out ended with `{after}`");
    target.finish()
}

fn deep_stack() -> Result<()> {
    works_after("odd-deep", &["deep"])
}

/// A handler that ran into a wait: what it interrupted decides.
fn handler() -> Result<()> {
    works_after("odd-handler", &["handler"])?;
    let (pair, mut target) = start("odd-handler", &["handler inside"])?;
    let output = target.apply_within(&pair.bundle, 1)?.expect(7)?;
    check!(output.text().contains("waiting"), "the interrupted function isn't named: {}", output.describe());
    value(&mut target, OLD, "after the refusal")?;
    // One byte ends the handler, one the function that it interrupted.
    target.ask("release 2")?;
    target.apply(&pair.bundle)?.expect(0)?;
    value(&mut target, NEW, "patched")?;
    target.finish()
}
