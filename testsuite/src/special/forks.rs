//! Children that are born before, during and after an apply: each answers as its own code says, patched or not, and is patched and reverted alone.

use super::{Case, Pair, answers, apply_with_signal};
use crate::bundle::Signer;
use crate::left_out::{RELEASE, left_out};
use crate::snapshot::Snapshot;
use crate::target::{self, Target};
use crate::{Failure, Result, check, fail};
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[Case { name: "children born at each step", hazards: "S10,S13", run: born }];

/// Steps of an apply at which the process is told to fork. From the stop on it comes to that when it runs again, and is patched.
const STEPS: [(&str, bool); 6] = [
    ("hijacked#2", false),
    ("prepared", false),
    ("stopped", true),
    ("writing", true),
    ("written", true),
    ("hijacked#3", true),
];

fn pid(text: &str) -> Result<u32> {
    text.parse().map_err(|_| Failure(format!("`{text}` is no pid")))
}

/// The child of the signal; `None` where none is born.
fn youngest(target: &mut Target, before: u32) -> Result<Option<u32>> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        let last = pid(&target.ask("last")?)?;
        if last != before {
            return Ok(Some(last));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(None)
}

fn is_live(pid: u32) -> Result<bool> {
    Ok(target::hpatch("status", pid, &[])?.expect(0)?.text().contains("fix live"))
}

fn born() -> Result<()> {
    let pair = Pair::make("children", "children-born")?;
    for (step, is_late) in STEPS {
        let mut target = pair.start()?;
        target.ask("at signal")?;
        let eldest = pid(&target.ask("fork")?)?;
        let old = Snapshot::take(target.pid())?;
        let output = apply_with_signal(&pair, &target, step)?.expect(0)?;
        let Some(child) = youngest(&mut target, eldest)? else {
            left_out(RELEASE);
            check!(step == STEPS[0].0, "no child was born at {step}: {}", output.describe());
            return target.finish();
        };
        let after = pid(&target.ask("fork")?)?;
        answers(&mut target, "value", "101", step)?;
        answers(&mut target, "child 0", "2", &format!("born before the apply that met {step}"))?;
        answers(&mut target, "child 2", "101", &format!("born after the apply that met {step}"))?;
        let patched = is_live(child)?;
        check!(patched || !is_late, "born at {step}, and not patched");
        answers(&mut target, "child 1", if patched { "101" } else { "2" }, &format!("born at {step}"))?;
        for (index, member, patched) in [(0, eldest, false), (1, child, patched), (2, after, true)] {
            alone(&pair, &mut target, (index, member, patched), &old, step)?;
            answers(&mut target, "value", "101", &format!("{step}: the parent of a child that was reverted"))?;
        }
        // And the other way round.
        target::apply(child, &pair.bundle, 10, &Signer::shared()?.trust())?.expect(0)?;
        target.revert_and_unmap("fix")?.expect(0)?;
        answers(&mut target, "value", "2", step)?;
        answers(&mut target, "child 1", "101", &format!("{step}: the child of a parent that was reverted"))?;
        if let Some(difference) = old.difference(&Snapshot::take(target.pid())?) {
            fail!("{step}: the parent, reverted: {difference}");
        }
        target.finish()?;
    }
    Ok(())
}

/// One child is patched, unless it was born so, and reverted; it has every byte that its parent had before, and nothing else.
fn alone(
    pair: &Pair,
    target: &mut Target,
    (index, pid, patched): (u32, u32, bool),
    old: &Snapshot,
    step: &str,
) -> Result<()> {
    let when = format!("{step}: child {index}");
    if !patched {
        if let Some(change) = old.change(&Snapshot::take(pid)?) {
            fail!("{when} isn't patched, and {change}");
        }
        target::apply(pid, &pair.bundle, 10, &Signer::shared()?.trust())?.expect(0)?;
    }
    answers(target, &format!("child {index}"), "101", &when)?;
    check!(old.change(&Snapshot::take(pid)?).is_some(), "{when} is patched, and no byte is");
    target::hpatch("verify", pid, &[])?.expect(0)?;
    target::hpatch("revert", pid, &["fix", "--unmap"])?.expect(0)?;
    answers(target, &format!("child {index}"), "2", &when)?;
    if let Some(difference) = old.difference(&Snapshot::take(pid)?) {
        fail!("{when}, reverted: {difference}");
    }
    Ok(())
}
