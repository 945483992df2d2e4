//! Threads of the program that are lent to the command for a system call: what they were at goes on as if nothing had been.

use super::{Case, Pair, answers};
use crate::bundle::Signer;
use crate::target::{self, Launch, Target};
use crate::{Result, check};
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "attached on a small stack", hazards: "S7,S13", run: small_stack },
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
