//! Somebody else's bytes in code that stays: named, refused, and no obstacle once they are gone.

use super::{Case, Pair, compiled};
use crate::process::{self, Output};
use crate::program::Config;
use crate::target::{Launch, Target};
use crate::{Failure, Result, check, fail};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    Case { name: "foreign patch", hazards: "S14", run: hook },
    Case { name: "foreign probe", hazards: "S14", run: probe },
    Case { name: "foreign breakpoint", hazards: "S14", run: breakpoint },
];

/// A function that the bundle doesn't change, and that the program isn't asked to call.
const STAYS: &str = "other";

/// svma of a function; in programs of these scenarios that is its offset in the file, too.
fn symbol(program: &Path, name: &str) -> Result<u64> {
    let list = process::run_ok(Command::new("nm").arg(program), Duration::from_secs(10))?;
    let line = list.stdout.lines().find(|line| line.ends_with(&format!(" {name}")));
    let value = line.and_then(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok());
    value.ok_or_else(|| Failure(format!("no symbol {name} in {}", program.display())))
}

/// Where the program's first byte is mapped.
fn base(pid: u32, program: &Path) -> Result<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let line = maps.lines().find(|line| line.ends_with(&*program.to_string_lossy()));
    let start = line.and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok());
    start.ok_or_else(|| Failure(format!("{} isn't mapped in {pid}", program.display())))
}

struct Scene {
    pair: Pair,
    target: Target,
    /// avma of the function that stays.
    at: u64,
    memory: File,
}

impl Scene {
    fn start(name: &str) -> Result<Scene> {
        let pair = Pair::make("counter", name)?;
        let target = pair.start()?;
        let program = &pair.builds.old.program;
        let at = base(target.pid(), program)? + symbol(program, STAYS)?;
        let memory = File::options().read(true).write(true).open(format!("/proc/{}/mem", target.pid()))?;
        Ok(Scene { pair, target, at, memory })
    }

    fn byte(&self) -> Result<u8> {
        let mut byte = [0];
        self.memory.read_exact_at(&mut byte, self.at)?;
        Ok(byte[0])
    }

    /// The refusal names address, function and kind; nothing changed.
    fn refused(&mut self, kind: &str) -> Result<Output> {
        let output = self.target.apply(&self.pair.bundle)?.expect(4)?;
        for word in ["HP1105", &format!("{:#x} ({STAYS}+0x0)", self.at), kind] {
            check!(output.text().contains(word), "`{word}` isn't said: {}", output.describe());
        }
        let value = self.target.ask("value")?;
        check!(value == "2", "after the refusal `value` gives `{value}`");
        Ok(output)
    }

    /// With the old bytes back it goes in.
    fn accepted(self) -> Result<()> {
        self.accepted_then(|| Ok(()))
    }

    /// As [`Self::accepted`], with something done while it is live.
    fn accepted_then(mut self, live: impl FnOnce() -> Result<()>) -> Result<()> {
        self.target.apply(&self.pair.bundle)?.expect(0)?;
        live()?;
        self.target.verify()?.expect(0)?;
        let value = self.target.ask("value")?;
        check!(value == "101", "patched, `value` gives `{value}`");
        let other = self.target.ask(STAYS)?;
        check!(other == "3", "patched, `{STAYS}` gives `{other}`");
        self.target.revert_and_unmap("fix")?.expect(0)?;
        self.target.finish()
    }
}

/// A jump to another function, as hooking libraries write it. It works before and after.
fn hook() -> Result<()> {
    let mut scene = Scene::start("foreign-patch")?;
    let program = scene.pair.builds.old.program.clone();
    let to = base(scene.target.pid(), &program)? + symbol(&program, "value")?;
    let mut before = [0; 5];
    scene.memory.read_exact_at(&mut before, scene.at)?;
    let distance = to.wrapping_sub(scene.at + 5) as u32;
    let jump = [&[0xe9][..], &distance.to_le_bytes()].concat();
    scene.memory.write_all_at(&jump, scene.at)?;
    let hooked = scene.target.ask(STAYS)?;
    check!(hooked == "2", "the hook doesn't work: `{STAYS}` gives `{hooked}`");
    scene.refused("a jump")?;
    let hooked = scene.target.ask(STAYS)?;
    check!(hooked == "2", "the hook is gone: `{STAYS}` gives `{hooked}`");
    scene.memory.write_all_at(&before, scene.at)?;
    scene.accepted()
}

/// The kernel's own: a uprobe, as `perf probe` and bpftrace plant it.
fn probe() -> Result<()> {
    let mut scene = Scene::start("foreign-probe")?;
    let prober = compiled("probe", "foreign-prober", &Config::new(&[]))?.old.program;
    let mut prober = Target::start(&prober, &Launch::default())?;
    let program = scene.pair.builds.old.program.clone();
    let offset = symbol(&program, STAYS)?;
    let plant = format!("probe {} {offset} {}", scene.target.pid(), program.display());
    let answer = prober.ask(&plant)?;
    if answer == "none" {
        // The kernel has none, or forbids them here.
        return scene.accepted();
    }
    check!(scene.byte()? == 0xcc, "the probe isn't there");
    scene.refused("a breakpoint or a probe")?;
    check!(prober.ask("remove")? == "done", "the probe can't be removed");
    // Once the bundle is live it may come back.
    scene.accepted_then(|| {
        check!(prober.ask(&plant)? == "done", "the probe can't be planted again");
        Ok(())
    })?;
    prober.finish()
}

/// What gdb leaves in a process when it is killed while the process runs.
fn breakpoint() -> Result<()> {
    let mut scene = Scene::start("foreign-breakpoint")?;
    let before = scene.byte()?;
    let mut gdb = Command::new("gdb")
        .args(["-q", "-batch", "-nx", "-p", &scene.target.pid().to_string()])
        .args(["-ex", &format!("break *{:#x}", scene.at), "-ex", "continue"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    while scene.byte()? != 0xcc && start.elapsed() < Duration::from_secs(15) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let planted = scene.byte()? == 0xcc;
    // Let it get beyond the writing, to where it waits for the process.
    std::thread::sleep(Duration::from_millis(100));
    gdb.kill()?;
    gdb.wait()?;
    if !planted {
        fail!("gdb planted no breakpoint");
    }
    scene.refused("a breakpoint or a probe")?;
    scene.memory.write_all_at(&[before], scene.at)?;
    scene.accepted()
}
