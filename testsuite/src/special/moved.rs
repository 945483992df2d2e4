//! Variables that take their value to a new place: beside other bundles, in place of one another, and when the command is killed half-way.

use super::{Case, folder, special};
use crate::bundle::{self, Signer};
use crate::compile::{self, Build};
use crate::process::{self, Output};
use crate::program::Config;
use crate::target::{self, Launch, Target};
use crate::{Result, check, paths};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "moved variables, beside another bundle", hazards: "D5,S12", run: beside },
    Case { name: "moved variables, in place of others", hazards: "D5,S12", run: in_place_of },
    Case { name: "moved variables, killed at each step", hazards: "D5,S13", run: killed },
    Case { name: "moved variables, at the start", hazards: "D5", run: at_start },
];

/// The old build, and signed bundles to new ones: id, macro, options of `patchgen build`.
fn bundles(scene: &str, wanted: &[(&str, &str, &[&str])]) -> Result<(Build, Vec<PathBuf>)> {
    let (program, config) = (special("moved")?, Config::new(&[]));
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

fn hpatch(verb: &str, target: &Target, more: &Path, kill: Option<&str>) -> Result<Output> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args([verb, "--pid", &target.pid().to_string()]).arg(more);
    command.env("HPATCH_TRUST", Signer::shared()?.trust());
    kill.map(|step| command.env("HPATCH_TEST_KILL", format!("all:{step}")));
    process::run(&mut command, Duration::from_secs(30))
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
    for step in ["writing", "moved", "first-write", "written"] {
        if hpatch("apply", &target, &made[1], Some(step))?.code() == Some(0) {
            check!(step == "writing", "{step}: nobody was killed");
            // A release build has no such switch.
            return target.finish();
        }
        target::hpatch("recover", target.pid(), &[])?.expect(0)?;
        shows(&mut target, "6: 210102", step)?;
    }
    target.apply(&made[1])?.expect(0)?;
    // The fifth and sixth slot are the first bundle's: the build that the second was made from has none.
    shows(&mut target, "8: 21010000", "replaced")?;
    hit(&mut target, &[2, 7])?;
    shows(&mut target, "8: 21110001", "counted on")?;
    target.verify()?.expect(0)?;
    target.revert_and_unmap("two")?.expect(0)?;
    shows(&mut target, "4: 2111", "reverted")?;
    target.finish()
}

/// Whatever the dead command had done: the process is as before, with all that it has counted until then, where its code was whole.
fn killed() -> Result<()> {
    let (old, made) = bundles("moved-killed", &[("table", "V1", &[])])?;
    let mut target = start(&old)?;
    for (n, step) in ["writing", "moved", "first-write", "written"].into_iter().enumerate() {
        if hpatch("apply", &target, &made[0], Some(step))?.code() == Some(0) {
            check!(n == 0, "{step}: nobody was killed");
            return target.finish();
        }
        // Before the code changes the old table is the one that counts, afterwards the new one.
        let whole = step != "first-write";
        if whole {
            hit(&mut target, &[1])?;
        }
        target::hpatch("recover", target.pid(), &[])?.expect(0)?;
        let counted = [1, 2, 2, 3][n];
        shows(&mut target, &format!("4: 2{counted}01"), &format!("apply killed at {step}"))?;
    }
    for (n, step) in ["writing", "moved", "written"].into_iter().enumerate() {
        target.apply(&made[0])?.expect(0)?;
        hit(&mut target, &[2])?;
        let reverted = hpatch("revert", &target, Path::new("table"), Some(step))?;
        check!(reverted.code() != Some(0), "{step}: nobody was killed");
        target::hpatch("recover", target.pid(), &[])?.expect(0)?;
        shows(&mut target, &format!("4: 23{}1", n + 1), &format!("revert killed at {step}"))?;
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
