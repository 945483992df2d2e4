//! Variables that take their value to a new place: beside other bundles, in place of one another, and when the command is killed half-way.

use super::{Case, folder, special};
use crate::bundle::{self, Signer};
use crate::compile::{self, Build};
use crate::left_out::{RELEASE, left_out};
use crate::process::{self, Output};
use crate::program::Config;
use crate::target::{self, Launch, Target};
use crate::{Result, check, paths};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// How long threads meet what a dead command has left.
const LEFT_ALONE: Duration = Duration::from_millis(20);

pub(super) const CASES: &[Case] = &[
    Case { name: "moved variables, beside another bundle", hazards: "D5,S12", run: beside },
    Case { name: "moved variables, in place of others", hazards: "D5,S12", run: in_place_of },
    Case { name: "moved variables, killed at each step", hazards: "D5,S13", run: killed },
    Case { name: "moved variables, at the start", hazards: "D5", run: at_start },
    Case { name: "moved variables, counted while killed", hazards: "D5,S13", run: counted },
];

/// The old build, and signed bundles to new ones: id, macro, options of `patchgen build`.
fn bundles(scene: &str, wanted: &[(&str, &str, &[&str])]) -> Result<(Build, Vec<PathBuf>)> {
    bundles_of("moved", scene, wanted)
}

pub(super) fn bundles_of(
    program: &str,
    scene: &str,
    wanted: &[(&str, &str, &[&str])],
) -> Result<(Build, Vec<PathBuf>)> {
    let (program, config) = (special(program)?, Config::new(&[]));
    let old = compile::build(&program, &config, &folder(scene)?.join("old"), &[])?;
    let mut made = Vec::new();
    for (id, version, options) in wanted {
        let new = compile::build(&program, &config, &folder(scene)?.join(id), &[version])?;
        let file = folder(scene)?.join(format!("{id}.hpatch"));
        bundle::build(&old.module, &new.module, &file, id, options)?.expect(0)?;
        Signer::shared()?.sign(&file)?;
        made.push(file);
    }
    Ok((old, made))
}

fn start(old: &Build) -> Result<Target> {
    let mut target = Target::start(&old.program, &Launch::trusting(Signer::shared()?.trust()))?;
    hit(&mut target, &[0, 0, 3])?;
    Ok(target)
}

fn hit(target: &mut Target, slots: &[u32]) -> Result<()> {
    slots.iter().try_for_each(|slot| target.ask(&format!("hit {slot}")).map(|_| ()))
}

fn shows(target: &mut Target, wanted: &str, when: &str) -> Result<()> {
    let answer = target.ask("show")?;
    check!(answer == wanted, "{when}: `show` gives `{answer}`, expected `{wanted}`");
    Ok(())
}

/// The code of the one would go on with the variable's old place.
fn beside() -> Result<()> {
    let (old, made) = bundles("moved-beside", &[("table", "V1", &[]), ("side", "SIDE", &[])])?;
    let mut target = start(&old)?;
    for (first, second, id) in [(&made[0], &made[1], "table"), (&made[1], &made[0], "side")] {
        target.apply(first)?.expect(0)?;
        let refused = target.apply(second)?.expect(4)?;
        check!(refused.text().contains("HP1111") && refused.text().contains(id), "{}", refused.describe());
        target.revert_and_unmap(id)?.expect(0)?;
    }
    shows(&mut target, "4: 2001", "in the end")?;
    target.finish()
}

/// One table after the other, in one stop; the counts go along, and home again.
fn in_place_of() -> Result<()> {
    let wanted: [(&str, &str, &[&str]); 2] = [("one", "V1", &[]), ("two", "V2", &["--supersedes", "one"])];
    let (old, made) = bundles("moved-in-place", &wanted)?;
    let mut target = start(&old)?;
    target.apply(&made[0])?.expect(0)?;
    hit(&mut target, &[5, 5, 1])?;
    shows(&mut target, "6: 210102", "the first applied")?;
    for (step, onward) in STEPS.into_iter().filter(|s| s.0 != "set") {
        if dying("apply", &target, &[&made[1].to_string_lossy()], step, false)?.code() == Some(0) {
            check!(step == "writing", "{step}: nobody was killed");
            left_out(RELEASE);
            return target.finish();
        }
        target::hpatch("recover", target.pid(), &[])?.expect(0)?;
        target.verify()?.expect(0)?;
        // The fifth and sixth slot are the first bundle's: the build that the second was made from has none.
        shows(&mut target, if onward { "8: 21010000" } else { "6: 210102" }, step)?;
        if onward {
            target.revert("two")?.expect(0)?;
            target.apply(&made[0])?.expect(0)?;
            hit(&mut target, &[5, 5])?;
        }
    }
    target.apply(&made[1])?.expect(0)?;
    shows(&mut target, "8: 21010000", "replaced")?;
    hit(&mut target, &[2, 7])?;
    shows(&mut target, "8: 21110001", "counted on")?;
    target.verify()?.expect(0)?;
    target.revert_and_unmap("two")?.expect(0)?;
    shows(&mut target, "4: 2111", "reverted")?;
    target.finish()
}

/// Steps of a switch that copies values, and whether it goes on from there: as soon as no function is open any more.
const STEPS: [(&str, bool); 7] = [
    ("writing", false),
    ("first-gate", false),
    ("closed", true),
    ("moved", true),
    ("set", true),
    ("first-write", true),
    ("written", true),
];

/// Whatever the dead command had done: the table is as long as it was or as it was to be, with all that was counted until then.
fn killed() -> Result<()> {
    let (old, made) = bundles("moved-killed", &[("table", "V1", &[])])?;
    let mut target = start(&old)?;
    let steps = STEPS.into_iter().filter(|s| s.0 != "set");
    let mut ones = 0;
    for (n, (step, live)) in steps.clone().enumerate() {
        if dying("apply", &target, &[&made[0].to_string_lossy()], step, false)?.code() == Some(0) {
            check!(n == 0, "{step}: nobody was killed");
            left_out(RELEASE);
            return target.finish();
        }
        // Nobody comes through while functions are closed.
        if matches!(step, "writing" | "first-write" | "written") {
            hit(&mut target, &[1])?;
            ones += 1;
        }
        recovered(&target, live)?;
        let wanted = if live { format!("6: 2{ones}0100") } else { format!("4: 2{ones}01") };
        shows(&mut target, &wanted, &format!("apply killed at {step}"))?;
        if live {
            target.revert("table")?.expect(0)?;
        }
    }
    for (step, reverted) in steps {
        target.apply(&made[0])?.expect(0)?;
        let killed = dying("revert", &target, &["table"], step, false)?;
        check!(killed.code().is_none(), "{step}: nobody was killed");
        recovered(&target, !reverted)?;
        let wanted = if reverted { format!("4: 2{ones}01") } else { format!("6: 2{ones}0100") };
        shows(&mut target, &wanted, &format!("revert killed at {step}"))?;
        if !reverted {
            target.revert("table")?.expect(0)?;
        }
    }
    target.finish()
}

/// Recovers, and looks whether that made the bundle live.
fn recovered(target: &Target, live: bool) -> Result<()> {
    let said = target::hpatch("recover", target.pid(), &[])?.expect(0)?;
    let word = if live { "is live" } else { "took back" };
    check!(said.text().contains(word), "expected `{word}`: {}", said.describe());
    target.verify()?.expect(0).map(drop)
}

/// Runs `hpatch`; at `step` it dies with its child, as by one signal to both. With `alone` only the child does.
pub(super) fn dying(verb: &str, target: &Target, more: &[&str], step: &str, alone: bool) -> Result<Output> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args([verb, "--pid", &target.pid().to_string()]).args(more).process_group(0);
    command.env("HPATCH_TRUST", Signer::shared()?.trust()).env("HPATCH_TEST_KILL", format!("all:{step}"));
    match alone {
        true => command.env("HPATCH_TEST_KILL", step),
        false => command.env("HPATCH_TEST_KILL_PID", "0"),
    };
    process::run(&mut command, Duration::from_secs(30))
}

/// Threads go on counting while nobody ends what the dead command began, and nothing that they have counted is lost, wherever it died. A value
/// that was to be set is set if the bundle is live, and only then.
fn counted() -> Result<()> {
    let (old, made) = bundles_of("moved_counting", "moved-counted", &[("table", "NEW", &["--reset-data", "level"])])?;
    let mut target = Target::start(&old.program, &Launch::trusting(Signer::shared()?.trust()))?;
    let bundle = made[0].to_string_lossy();
    let counts = |target: &mut Target, live: bool, level: &str, when: &str| -> Result<()> {
        let answers = [target.ask("stop")?, target.ask("slots")?, target.ask("level")?];
        let wanted = ["wrong 0, counted", if live { "6" } else { "4" }, level];
        check!(answers == wanted, "{when}: {answers:?} instead of {wanted:?}");
        Ok(())
    };
    // Who ends it may die as well, at another place.
    let again = [None, Some("writing"), Some("written")];
    for (n, (step, live)) in STEPS.into_iter().enumerate() {
        target.ask("level 7")?;
        target.ask("start")?;
        let output = dying("apply", &target, &[&bundle], step, false)?;
        if output.code().is_some() {
            check!(n == 0 && output.code() == Some(0), "{step}: nobody was killed: {}", output.describe());
            left_out(RELEASE);
            target.ask("stop")?;
            return target.finish();
        }
        thread::sleep(LEFT_ALONE);
        if let Some(second) = again[n % again.len()] {
            let output = dying("recover", &target, &[], second, false)?;
            check!(output.code().is_none(), "{step}, then {second}: nobody was killed: {}", output.describe());
            thread::sleep(LEFT_ALONE);
        }
        recovered(&target, live)?;
        thread::sleep(LEFT_ALONE);
        counts(&mut target, live, if live { "2" } else { "7" }, &format!("apply killed at {step}"))?;
        if live {
            target.revert("table")?.expect(0)?;
        }
    }
    for (step, reverted) in STEPS.into_iter().filter(|s| s.0 != "set") {
        target.apply(&made[0])?.expect(0)?;
        target.ask("level 8")?;
        target.ask("start")?;
        let output = dying("revert", &target, &["table"], step, false)?;
        check!(output.code().is_none(), "{step}: nobody was killed: {}", output.describe());
        thread::sleep(LEFT_ALONE);
        recovered(&target, !reverted)?;
        counts(&mut target, !reverted, "8", &format!("revert killed at {step}"))?;
        if !reverted {
            target.revert("table")?.expect(0)?;
        }
    }
    // The parent goes on at once.
    for (step, live, code) in [("first-gate", false, 8), ("closed", true, 1), ("first-write", true, 1)] {
        target.ask("level 9")?;
        target.ask("start")?;
        dying("apply", &target, &[&bundle], step, true)?.expect(code)?;
        target.verify()?.expect(0)?;
        counts(&mut target, live, if live { "2" } else { "9" }, &format!("only the child killed at {step}"))?;
        if live {
            target.revert("table")?.expect(0)?;
        }
    }
    target.finish()
}

/// A live bundle in the store.
fn at_start() -> Result<()> {
    let (old, made) = bundles("moved-start", &[("table", "V1", &[])])?;
    let store = crate::scenario::store_with(&folder("moved-start")?, &[&made[0]])?;
    let launch = Launch { store: Some(store), ..Launch::trusting(Signer::shared()?.trust()) };
    let mut target = Target::start(&old.program, &launch)?;
    hit(&mut target, &[0, 5])?;
    shows(&mut target, "6: 100001", "from the start")?;
    target.revert("table")?.expect(0)?;
    shows(&mut target, "4: 1000", "reverted")?;
    target.finish()
}
