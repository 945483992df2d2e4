//! Processes that end, or replace their program (execve(2)), while a command works on them: the command says so, and a new program is left alone.

use super::{Case, Pair, answers, apply_with_signal};
use crate::left_out::{RELEASE, left_out};
use crate::snapshot::Snapshot;
use crate::target::{self, Target};
use crate::{Result, check, fail};
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    Case { name: "replaced by itself at each step", hazards: "S10,S13", run: replaced },
    Case { name: "ended by itself at each step", hazards: "S13", run: ended },
];

/// The steps of an apply, before the stop, in it and behind it.
const STEPS: [&str; 9] =
    ["hijacked", "called", "hijacked#2", "called#2", "prepared", "stopped", "writing", "written", "hijacked#3"];

/// Whether something comes true within some time.
fn comes_true(most: Duration, what: impl Fn() -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    while !what()? {
        if start.elapsed() > most {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(true)
}

/// Every step, for a process that leaves in its first thread and in another one. `has_left` says whether it did, `after` looks at what it left.
fn at_each_step(
    verb: &str,
    has_left: impl Fn(&Target) -> Result<bool>,
    after: impl Fn(&Pair, Target, &str) -> Result<()>,
) -> Result<()> {
    let pair = Pair::make("leaving", verb)?;
    for thread in ["first", "other"] {
        let mut told = 0;
        for step in STEPS {
            let mut target = pair.start()?;
            target.ask(&format!("{verb} {thread}"))?;
            let output = apply_with_signal(&pair, &target, step)?;
            let when = format!("{verb} in its {thread} thread at {step}: {}", output.describe());
            if !comes_true(Duration::from_secs(5), || has_left(&target))? {
                left_out(RELEASE);
                check!(output.code() == Some(0) && step == STEPS[0], "it is as it was: {when}");
                return target.finish();
            }
            match output.code() {
                // All was done before the process came to leaving.
                Some(0) => {}
                Some(6) if ["HP1208", "HP1408"].iter().any(|code| output.text().contains(code)) => told += 1,
                _ => fail!("{when}"),
            }
            after(&pair, target, &when)?;
        }
        check!(told > 0, "{verb} in its {thread} thread: no command has said so");
    }
    Ok(())
}

fn replaced() -> Result<()> {
    let has_left = |target: &Target| {
        // In the midst of execve(2) a process has no memory to read.
        let Ok(environment) = std::fs::read(format!("/proc/{}/environ", target.pid())) else { return Ok(false) };
        Ok(environment.split(|byte| *byte == 0).any(|variable| variable == b"LEAVING=replaced"))
    };
    at_each_step("replaced", has_left, |pair, mut target, when| {
        answers(&mut target, "which", "the replaced one", when)?;
        answers(&mut target, "value", "2", when)?;
        let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
        check!(status.text().contains("idle") && !status.text().contains("fix"), "{when}\n{}", status.describe());
        let before = Snapshot::take(target.pid())?;
        target.apply(&pair.bundle)?.expect(0)?;
        answers(&mut target, "value", "101", when)?;
        target.verify()?.expect(0)?;
        target.revert_and_unmap("fix")?.expect(0)?;
        answers(&mut target, "value", "2", when)?;
        if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
            fail!("{difference}: {when}");
        }
        target.finish()
    })
}

/// Its parent sees the status that it ended with.
fn ended() -> Result<()> {
    let has_left = |target: &Target| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", target.pid()))?;
        Ok(stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
    };
    at_each_step("ended", has_left, |_, mut target, when| {
        let status = target.end()?;
        check!(status.code() == Some(7), "it ended with {status}: {when}");
        Ok(())
    })
}
