//! Functions that are edited in place: the same safe point as for a detour, and every order of bundles on one function.

use super::moved::dying;
use super::{Case, Pair, special};
use crate::bundle::{self, Signer};
use crate::compile;
use crate::left_out::{RELEASE, left_out};
use crate::program::Config;
use crate::snapshot::Snapshot;
use crate::target::{self, Target};
use crate::{Result, check, fail};
use std::path::{Path, PathBuf};

pub(super) const CASES: &[Case] = &[
    Case { name: "edited, busy function", hazards: "S1", run: || busy("edits") },
    Case { name: "edited, killed and in use", hazards: "S1,S13", run: || killed_and_busy("edits") },
    Case { name: "edited, 32 threads, 60 cycles", hazards: "S4,S6", run: || hammer("edits") },
    Case { name: "overwritten constant, busy reader", hazards: "D4,S1", run: || busy("steps") },
    Case { name: "gone function, jumped to and busy", hazards: "D13,S1", run: || busy("jumped") },
    Case { name: "overwritten constant, killed and in use", hazards: "D4,S13", run: || killed_and_busy("steps") },
    Case { name: "overwritten constant, 32 threads, 60 cycles", hazards: "D4,S4", run: || hammer("steps") },
    Case { name: "edited over replaced", hazards: "S12", run: over_replaced },
    Case { name: "edited over edited", hazards: "S12", run: over_edited },
    Case { name: "replaced over edited", hazards: "S12", run: replaced_over },
];

const OLD: &str = "151151 150";
const NEW: &str = "201201 200";
const THIRD: &str = "301301 300";

fn value(target: &mut Target, wanted: &str, when: &str) -> Result<()> {
    let answer = target.ask("value")?;
    check!(answer == wanted, "{when}: `value` gives `{answer}`, expected `{wanted}`");
    Ok(())
}

/// A thread inside the function keeps it, and the constant that it reads, as it is, in both directions.
fn busy(program: &str) -> Result<()> {
    let pair = Pair::make(program, &format!("{program}-busy"))?;
    let mut target = pair.start()?;
    for (present, verb) in [(OLD, "apply"), (NEW, "revert")] {
        let before = Snapshot::take(target.pid())?;
        target.ask("enter")?;
        let refused = match verb {
            "apply" => target.apply_within(&pair.bundle, 1)?,
            _ => target::revert(target.pid(), "fix", 1)?,
        };
        let refused = refused.expect(7)?;
        // What a patch brings along has no names there but those of what it stands for, and `jumped` waits in such code then.
        let unnamed = program == "jumped" && verb == "revert";
        let named = unnamed || refused.text().contains("wait_for_work");
        check!(named, "the busy function isn't named: {}", refused.describe());
        if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
            fail!("{verb} that timed out left something behind: {difference}");
        }
        value(&mut target, present, "after the refusal")?;
        check!(target.ask("leave")? == "left", "the thread didn't leave");
        match verb {
            "apply" => target.apply(&pair.bundle)?.expect(0)?,
            _ => target.revert("fix")?.expect(0)?,
        };
    }
    value(&mut target, OLD, "reverted")?;
    target.finish()
}

/// What a killed command has edited isn't edited back while a thread is in the middle of it.
fn killed_and_busy(program: &str) -> Result<()> {
    let pair = Pair::make(program, &format!("{program}-killed"))?;
    let mut target = pair.start()?;
    let output = dying("apply", &target, &[&pair.bundle.to_string_lossy()], "written", false)?;
    if output.code() == Some(0) {
        left_out(RELEASE);
        return target.finish();
    }
    value(&mut target, NEW, "killed when all was written")?;
    target.ask("enter")?;
    // Whoever recovers does so within its own time, and says that the process isn't as it was.
    let bundle = pair.bundle.to_string_lossy();
    for (verb, more) in [("recover", &[][..]), ("apply", &[&*bundle]), ("revert", &["fix"])] {
        let more = [more, &["--timeout", "0.3", "--json"]].concat();
        let refused = target::hpatch(verb, target.pid(), &more)?.expect(10)?;
        let said: serde_json::Value = serde_json::from_str(&refused.stdout)?;
        check!(said["code"] == "HP1310" && said["exit"] == 10, "{verb} says otherwise: {said}");
        // What a patch brings along has no names there but those of what it stands for, and `jumped` waits in such code then.
        let unnamed = program == "jumped" && verb == "revert";
        let named = unnamed || refused.text().contains("wait_for_work");
        check!(named, "the busy function isn't named: {}", refused.describe());
        let waited =
            said["error"].as_str().and_then(|e| e.split("in use for ").nth(1)?.split(' ').next()?.parse().ok());
        check!(waited.is_some_and(|s: f64| s < 10.0), "{verb} waited as long as it does without being told: {said}");
        value(&mut target, NEW, "after the refusal")?;
    }
    target.verify()?.expect(10)?;
    check!(target.ask("leave")? == "left", "the thread didn't leave");
    target::hpatch("recover", target.pid(), &[])?.expect(0)?;
    value(&mut target, OLD, "recovered")?;
    target.verify()?.expect(0)?;
    target.finish()
}

fn hammer(program: &str) -> Result<()> {
    let pair = Pair::make(program, &format!("{program}-threads"))?;
    let mut target = pair.start()?;
    target.ask("start 32")?;
    for cycle in 0..60 {
        target.apply(&pair.bundle)?.expect(0)?;
        if cycle % 10 == 0 {
            value(&mut target, NEW, "patched")?;
            target.verify()?.expect(0)?;
        }
        target.revert_and_unmap("fix")?.expect(0)?;
        if cycle % 10 == 0 {
            value(&mut target, OLD, "reverted")?;
        }
    }
    let answer = target.ask("stop 32")?;
    check!(answer == "wrong 0, calls made", "half of an edit was seen: {answer}");
    target.finish()
}

/// A bundle from the old build to the third one.
fn third(first: &Pair, replace: bool) -> Result<PathBuf> {
    let folder = first.builds.folder.join("third");
    let other = compile::build(&special("edits")?, &Config::new(&[]), &folder, &["NEW", "THIRD"])?;
    let bundle = folder.join("third.hpatch");
    let options: &[&str] = if replace { &["--replace"] } else { &[] };
    bundle::build(&first.builds.old.module, &other.module, &bundle, "third", options)?.expect(0)?;
    Signer::shared()?.sign(&bundle)?;
    let summary = bundle::inspect(&bundle)?;
    check!((summary.edited, summary.replaced) == if replace { (0, 2) } else { (2, 0) }, "not as asked: {summary:?}");
    Ok(bundle)
}

/// The upper bundle decides; the lower one can't be taken away below it; afterwards every byte is back.
fn stack(first: &Pair, lower: &Path, upper: &Path) -> Result<()> {
    let mut target = first.start()?;
    let before = Snapshot::take(target.pid())?;
    for _ in 0..2 {
        target.apply(lower)?.expect(0)?;
        value(&mut target, NEW, "one applied")?;
        let middle = Snapshot::take(target.pid())?;
        target.apply(upper)?.expect(0)?;
        value(&mut target, THIRD, "both applied")?;
        target.verify()?.expect(0)?;
        let refused = target.revert("fix")?.expect(4)?;
        check!(refused.text().contains("third"), "the bundle on top isn't named: {}", refused.describe());
        value(&mut target, THIRD, "after the refused revert")?;
        target.revert_and_unmap("third")?.expect(0)?;
        value(&mut target, NEW, "the upper one reverted")?;
        if let Some(difference) = middle.change(&Snapshot::take(target.pid())?) {
            fail!("after the revert of the upper one: {difference}");
        }
        target.revert_and_unmap("fix")?.expect(0)?;
        value(&mut target, OLD, "both reverted")?;
    }
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("after both reverts: {difference}");
    }
    target.finish()
}

fn over_replaced() -> Result<()> {
    let pair = Pair::replacing("edits", "edits-over-replaced")?;
    stack(&pair, &pair.bundle, &third(&pair, false)?)
}

fn over_edited() -> Result<()> {
    let pair = Pair::make("edits", "edits-over-edited")?;
    stack(&pair, &pair.bundle, &third(&pair, false)?)
}

fn replaced_over() -> Result<()> {
    let pair = Pair::make("edits", "replaced-over-edits")?;
    stack(&pair, &pair.bundle, &third(&pair, true)?)
}
