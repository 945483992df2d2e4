//! Threads of the program that are lent to the command for a system call: what they were at goes on as if nothing had been.

use super::{Case, Pair, answers};
use crate::bundle::Signer;
use crate::target::{self, Launch, Target};
use crate::{Result, check};
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "attached on a small stack", hazards: "S7,S13", run: small_stack },
    Case { name: "strict mode of seccomp", hazards: "S7", run: strict },
];

/// The stack that the thread is on ends where its neighbour's begins.
fn small_stack() -> Result<()> {
    let pair = Pair::make("small_stacks", "small-stacks")?;
    let mut target = Target::start(&pair.builds.old.program, &Launch::default())?;
    target.send("sleep")?;
    std::thread::sleep(Duration::from_millis(300));
    let trust = Signer::shared()?.trust();
    target::hpatch("attach", target.pid(), &["--trust", &trust.to_string_lossy()])?.expect(0)?;
    let answer = target.answer("sleep")?;
    check!(answer == "wrong 0", "the stacks hold other values: {answer}");
    answers(&mut target, "value", "2", "attached")?;
    target.finish()
}

/// Allows nothing but reading and writing: suspended for the loader's calls where the kernel permits that, else refused.
fn strict() -> Result<()> {
    let pair = Pair::make("odd", "odd-strict")?;
    let mut target = pair.start()?;
    answers(&mut target, "value", "2 2", "before")?;
    answers(&mut target, "strict", "done", "before")?;
    let output = target.apply_within(&pair.bundle, 2)?;
    if output.code() == Some(0) {
        answers(&mut target, "value", "101 200", "patched")?;
        target.revert("fix")?.expect(0)?;
    } else {
        let output = output.expect(4)?;
        check!(output.text().contains("HP1410"), "expected HP1410: {}", output.describe());
    }
    answers(&mut target, "value", "2 2", "at the end")
}
