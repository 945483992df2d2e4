//! What a bundle's own variables hold, when another bundle takes its place.

use super::moved::{bundles_of, dying};
use super::{Case, answers};
use crate::bundle::Signer;
use crate::left_out::{RELEASE, left_out};
use crate::process::{self, Output};
use crate::target::{self, Launch, Target};
use crate::{Result, check, paths};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// How long threads count.
const WHILE: Duration = Duration::from_millis(20);

pub(super) const CASES: &[Case] = &[
    Case { name: "new variables, counted while superseded", hazards: "D2,S12", run: counted },
    Case { name: "new variables, killed while superseded", hazards: "D2,S13", run: killed },
    Case { name: "new variables, that begin anew", hazards: "D2,S12", run: anew },
    Case { name: "a detour that gave way, killed and in use", hazards: "S1,S13", run: gave_way },
];

fn start(program: &Path) -> Result<Target> {
    Target::start(program, &Launch::trusting(Signer::shared()?.trust()))
}

fn replace(target: &Target, bundle: &Path, more: &[&str]) -> Result<Output> {
    let all = [&[bundle.to_str().unwrap_or_default(), "--replace"], more].concat();
    let mut command = Command::new(paths::tool("hpatch")?);
    command
        .args(["apply", "--pid", &target.pid().to_string()])
        .args(all)
        .env("HPATCH_TRUST", Signer::shared()?.trust());
    process::run(&mut command, Duration::from_secs(30))
}

/// Nothing of what threads count in the variables of the one is lost in the other, back and forth.
fn counted() -> Result<()> {
    let wanted: [(&str, &str, &[&str]); 3] =
        [("one", "ONE", &[]), ("two", "TWO", &[]), ("new", "NEW", &["--supersedes", "two"])];
    let (old, made) = bundles_of("superseded", "superseded-counted", &wanted)?;
    let inspected =
        process::run(Command::new(paths::tool("patchgen")?).arg("inspect").arg(&made[1]), WHILE * 500)?.expect(0)?;
    for name in ["hits", "lock", "last", "before", "at_most"] {
        let line = inspected.text().lines().any(|l| l.contains(&format!(" {name}")) && l.contains("goes along"));
        check!(line, "{name} doesn't go along: {}", inspected.text());
    }
    let mut target = start(&old.program)?;
    target.ask("start")?;
    target.apply(&made[0])?.expect(0)?;
    for round in 0..10 {
        thread::sleep(WHILE);
        let more: &[&str] = if round % 2 == 0 { &["--unmap"] } else { &[] };
        let said = replace(&target, &made[(round + 1) % 2], more)?.expect(0)?.text();
        check!(said.contains("with the values of") && said.contains("hits") && !said.contains("anew"), "{said}");
    }
    // The second one again, and the third, which names it.
    replace(&target, &made[1], &[])?.expect(0)?;
    thread::sleep(WHILE);
    target.apply(&made[2])?.expect(0)?;
    thread::sleep(WHILE);
    target.verify()?.expect(0)?;
    target.ask("stop")?;
    answers(&mut target, "show", "all of them", "in the end")?;
    target.revert_and_unmap("new")?.expect(0)?;
    answers(&mut target, "show", "old", "reverted")?;
    // What was reverted begins anew.
    target.ask("forget")?;
    target.apply(&made[0])?.expect(0)?;
    target.ask("start")?;
    thread::sleep(WHILE);
    target.ask("stop")?;
    answers(&mut target, "show", "all of them", "applied again")?;
    target.finish()
}

/// The same, wherever the command died.
fn killed() -> Result<()> {
    let wanted: [(&str, &str, &[&str]); 2] = [("one", "ONE", &[]), ("two", "TWO", &[])];
    let (old, made) = bundles_of("superseded", "superseded-killed", &wanted)?;
    let mut target = start(&old.program)?;
    target.ask("start")?;
    target.apply(&made[0])?.expect(0)?;
    let steps = [
        ("writing", false),
        ("first-gate", false),
        ("closed", true),
        ("moved", true),
        ("first-write", true),
        ("written", true),
    ];
    for (n, (step, onward)) in steps.into_iter().enumerate() {
        let bundle = made[1].to_string_lossy();
        let output = dying("apply", &target, &[&bundle, "--replace"], step, false)?;
        if output.code().is_some() {
            check!(n == 0 && output.code() == Some(0), "{step}: nobody was killed: {}", output.describe());
            left_out(RELEASE);
            break;
        }
        thread::sleep(WHILE);
        target::hpatch("recover", target.pid(), &[])?.expect(0)?;
        thread::sleep(WHILE);
        target.ask("stop")?;
        let list = target::hpatch("list", target.pid(), &[])?.expect(0)?.text();
        let live = if onward { "two (live)" } else { "one (live)" };
        check!(list.contains(live), "killed at {step}: {list}");
        answers(&mut target, "show", "all of them", &format!("killed at {step}"))?;
        target.ask("start")?;
        if onward {
            replace(&target, &made[0], &[])?.expect(0)?;
        }
    }
    target.ask("stop")?;
    answers(&mut target, "show", "all of them", "in the end")?;
    target.finish()
}

/// Where the detour of the bundle that gives way was, a thread may be by the time that it is to come back.
fn gave_way() -> Result<()> {
    let wanted: [(&str, &str, &[&str]); 2] = [("one", "ONE", &["--replace"]), ("two", "TWO", &[])];
    let (old, made) = bundles_of("gives_way", "gives-way", &wanted)?;
    let mut target = start(&old.program)?;
    target.apply(&made[0])?.expect(0)?;
    answers(&mut target, "value", "11 100", "the first")?;
    let bundle = made[1].to_string_lossy();
    if dying("apply", &target, &[&bundle, "--replace"], "written", false)?.code() == Some(0) {
        left_out(RELEASE);
        return target.finish();
    }
    answers(&mut target, "value", "10 200", "killed when all was written")?;
    target.ask("enter")?;
    let refused = target::hpatch("recover", target.pid(), &["--timeout", "0.3"])?.expect(10)?;
    check!(refused.text().contains("through"), "the busy function isn't named: {}", refused.describe());
    answers(&mut target, "leave", "10", "after the refusal")?;
    target::hpatch("recover", target.pid(), &[])?.expect(0)?;
    answers(&mut target, "value", "11 100", "recovered")?;
    target.verify()?.expect(0)?;
    target.finish()
}

/// A count of another type, one whose address was given away, one beside the address of a function of what gives way, one beside a pointer to a
/// structure that grew, and one of a bundle that stays:
/// each is said to begin anew.
fn anew() -> Result<()> {
    let wanted: [(&str, &str, &[&str]); 7] = [
        ("one", "ONE", &[]),
        ("retyped", "RETYPED", &[]),
        ("lent", "LENT", &[]),
        ("held", "HELD", &[]),
        ("again", "HELD", &[]),
        ("chain", "CHAIN", &[]),
        ("grown", "GROWN", &[]),
    ];
    let (old, made) = bundles_of("superseded", "superseded-anew", &wanted)?;
    let run = |target: &mut Target| {
        target.ask("start")?;
        thread::sleep(WHILE);
        target.ask("stop")
    };
    for (first, second, replaces) in [(0, 1, true), (2, 0, true), (3, 4, true), (5, 6, true), (0, 3, false)] {
        let mut target = start(&old.program)?;
        target.apply(&made[first])?.expect(0)?;
        run(&mut target)?;
        answers(&mut target, "show", "all of them", "the first")?;
        let said = if replaces { replace(&target, &made[second], &[])? } else { target.apply(&made[second])? };
        let said = said.expect(0)?.text();
        let (first, second) = (wanted[first].0, wanted[second].0);
        check!(
            said.contains("`hits` begins anew") && !said.contains("with the values"),
            "{second} after {first}: {said}"
        );
        run(&mut target)?;
        answers(&mut target, "show", "anew", second)?;
        if !replaces {
            target.ask("forget")?;
            target.revert(second)?.expect(0)?;
            answers(&mut target, "show", "too many", "the first one's again, which has what it had")?;
        }
        target.finish()?;
    }
    Ok(())
}
