//! Programs whose file isn't what runs any more: replaced by a package manager, unlinked, or never in a file system.

use super::{Case, Pair, answers};
use crate::bundle::Signer;
use crate::process::{self, Output};
use crate::target::{self, Launch, Target};
use crate::{Result, check, paths};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "replaced on disk while it runs", hazards: "I4,S10", run: replaced },
    Case { name: "unlinked while it runs", hazards: "I4", run: unlinked },
    Case { name: "code on pages of its own", hazards: "I4", run: remapped },
];

fn every(verb: &str, program: &Path, more: &[&str]) -> Result<Output> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args([verb, "--exe"]).arg(program).args(more).env("HPATCH_TRUST", Signer::shared()?.trust());
    process::run(&mut command, Duration::from_secs(60))
}

fn in_and_out(target: &mut Target, bundle: &Path, when: &str) -> Result<()> {
    target.apply(bundle)?.expect(0)?;
    answers(target, "value", "101", when)?;
    target.verify()?.expect(0)?;
    target.revert_and_unmap("fix")?.expect(0)?;
    answers(target, "value", "2", when)
}

/// The new build has the old one's name, and both run. What runs is what counts: the bundle is for the one and not for the other.
fn replaced() -> Result<()> {
    let pair = Pair::make("counter", "replaced-on-disk")?;
    let launch = Launch::trusting(Signer::shared()?.trust());
    let program = pair.builds.beside("installed")?.program;
    let mut old = Target::start(&program, &launch)?;
    let next = program.with_extension("dpkg-new");
    std::fs::copy(&pair.builds.new.program, &next)?;
    std::fs::rename(&next, &program)?;
    let mut new = Target::start(&program, &launch)?;
    answers(&mut new, "value", "101", "the new build")?;
    in_and_out(&mut old, &pair.bundle, "the old build, whose file is another now")?;
    let refused = new.apply(&pair.bundle)?.expect(4)?;
    check!(refused.text().contains("HP1101"), "expected HP1101: {}", refused.describe());
    let both = every("apply", &program, &[&pair.bundle.to_string_lossy()])?.expect(4)?;
    check!(both.text().contains("1 of 2 processes"), "one of two was to be patched: {}", both.describe());
    answers(&mut old, "value", "101", "by the program's path")?;
    target::revert(old.pid(), "fix", 10)?.expect(0)?;
    answers(&mut old, "value", "2", "reverted")?;
    old.finish()?;
    new.finish()
}

fn unlinked() -> Result<()> {
    let pair = Pair::make("busy", "unlinked")?;
    let program = pair.builds.beside("gone")?.program;
    let target = Target::start(&program, &Launch::trusting(Signer::shared()?.trust()))?;
    std::fs::remove_file(&program)?;
    target.apply(&pair.bundle)?.expect(0)?;
    target.verify()?.expect(0)?;
    target.revert_and_unmap("fix")?.expect(0)?;
    target.finish()
}

/// A program that has put its code onto pages that no file backs, as those do that want huge ones.
fn remapped() -> Result<()> {
    let pair = Pair::make("remapped", "remapped")?;
    let mut target = pair.start()?;
    answers(&mut target, "remap", "no file", "before")?;
    answers(&mut target, "value", "2", "remapped")?;
    in_and_out(&mut target, &pair.bundle, "remapped before")?;
    target.apply(&pair.bundle)?.expect(0)?;
    // The patch goes along, as every byte does.
    answers(&mut target, "remap", "no file", "patched")?;
    answers(&mut target, "value", "101", "remapped when patched")?;
    target.verify()?.expect(0)?;
    target.revert("fix")?.expect(0)?;
    answers(&mut target, "value", "2", "reverted")?;
    target.finish()
}
