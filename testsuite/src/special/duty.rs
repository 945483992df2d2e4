//! Threads that are nearly always inside the code that is to change: they are caught as they leave it.

use super::{Case, Pair};
use crate::process::run;
use crate::target::{self, Target};
use crate::{Result, check, paths};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "inside nearly all the time", hazards: "S1", run: busy },
    Case { name: "workers that wait inside", hazards: "S1", run: workers },
    Case { name: "killed while threads are held", hazards: "S1,S13", run: killed },
];

fn value(target: &mut Target, wanted: &str, when: &str) -> Result<()> {
    let answer = target.ask("value")?;
    check!(answer == wanted, "{when}: `value` gives `{answer}`, expected `{wanted}`");
    Ok(())
}

const OLD: &str = "25 6";
const NEW: &str = "37 8";

/// At random moments three such threads are outside together once in a hundred thousand times.
fn busy() -> Result<()> {
    let pair = Pair::make("duty", "duty-busy")?;
    let mut target = pair.start()?;
    target.ask("busy 3")?;
    target.apply_within(&pair.bundle, 30)?.expect(0)?;
    value(&mut target, NEW, "patched")?;
    target::revert(target.pid(), "fix", 30)?.expect(0)?;
    value(&mut target, OLD, "reverted")?;
    let end = target.ask("stop 3")?;
    check!(end == "wrong 0, calls made", "the threads end with `{end}`");
    target.finish()
}

/// They sleep inside, and are outside for some microseconds of each twentieth of a second.
fn workers() -> Result<()> {
    let pair = Pair::make("duty", "duty-workers")?;
    let mut target = pair.start()?;
    target.ask("workers 2")?;
    target.apply_within(&pair.bundle, 30)?.expect(0)?;
    value(&mut target, NEW, "patched")?;
    target::revert(target.pid(), "fix", 30)?.expect(0)?;
    value(&mut target, OLD, "reverted")?;
    let end = target.ask("stop 2")?;
    check!(end == "wrong 0, calls made", "the threads end with `{end}`");
    target.finish()
}

/// The command dies at many moments of the pursuit, its parent with it: the process goes on and can be patched afterwards.
fn killed() -> Result<()> {
    let pair = Pair::make("duty", "duty-killed")?;
    let mut target = pair.start()?;
    target.ask("busy 2")?;
    target.ask("workers 2")?;
    for moment in 0..14 {
        let mut command = Command::new(paths::tool("hpatch")?);
        command
            .args(["apply", "--timeout", "30", "--pid", &target.pid().to_string()])
            .arg(&pair.bundle)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Its own process group, so that the worker is killed with its parent.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut tool = command.spawn()?;
        thread::sleep(Duration::from_millis(20 + moment * 15));
        run(Command::new("kill").args(["-KILL", "--"]).arg(format!("-{}", tool.id())), Duration::from_secs(5))?;
        tool.wait()?;
        let answer = target.ask("value")?;
        check!(answer == OLD || answer == NEW, "killed at moment {moment}: `value` gives `{answer}`");
        if answer == NEW {
            let reverted = target::revert(target.pid(), "fix", 30)?;
            // One that died between the last byte and the word that says so is taken back first.
            if reverted.code() != Some(4) || !reverted.text().contains("left half-way") {
                reverted.expect(0)?;
            }
            value(&mut target, OLD, "reverted")?;
        }
    }
    target.apply_within(&pair.bundle, 30)?.expect(0)?;
    value(&mut target, NEW, "patched after all kills")?;
    let end = target.ask("stop 4")?;
    check!(end == "wrong 0, calls made", "the threads end with `{end}`");
    target.finish()
}
