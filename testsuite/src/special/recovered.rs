//! What a killed command left half-way, where it isn't one process with the modules that it began with: children that are born meanwhile, libraries
//! that go meanwhile.

use super::moved::{bundles_of, dying};
use super::{Case, answers, compiled, folder, special};
use crate::bundle::{self, Signer};
use crate::compile::{self, Build};
use crate::left_out::{RELEASE, left_out};
use crate::process::{self, Output};
use crate::program::Config;
use crate::target::{self, Launch, Target};
use crate::{Result, check, fail, paths};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "killed, and forked before the recovery", hazards: "S10,S13", run: forked },
    Case { name: "killed, and forked, every process of a program", hazards: "S10,S13", run: fleet },
    Case { name: "killed, and the module that moves unloaded", hazards: "D5,I5,S13", run: unloaded },
];

/// Steps of a switch that copies values; whether the functions are closed there, and whether it goes on from there.
const STEPS: [(&str, bool, bool); 5] = [
    ("writing", false, false),
    ("closed", true, true),
    ("moved", true, true),
    ("first-write", false, true),
    ("written", false, true),
];

fn start(old: &Build) -> Result<Target> {
    Target::start(&old.program, &Launch::trusting(Signer::shared()?.trust()))
}

fn fork(target: &mut Target) -> Result<u32> {
    let answer = target.ask("fork")?;
    answer.parse().map_err(|_| crate::Failure(format!("`{answer}` is no pid")))
}

/// Whether `hpatch` was killed.
fn died(output: &Output) -> Result<bool> {
    match output.code() {
        Some(0) => {
            left_out(RELEASE);
            Ok(false)
        }
        Some(_) => fail!("nobody was killed: {}", output.describe()),
        None => Ok(true),
    }
}

/// A child has what its parent had when it was born, and is recovered with it, whichever of the two is named, and by an `apply` to it, too.
fn forked() -> Result<()> {
    let (old, made) = bundles_of("forked", "forked", &[("table", "NEW", &[])])?;
    let bundle = made[0].to_string_lossy();
    for (n, (step, closed, onward)) in STEPS.into_iter().enumerate() {
        let mut target = start(&old)?;
        answers(&mut target, "hit 1", "401", "before")?;
        if !died(&dying("apply", &target, &[&bundle], step, false)?)? {
            return target.finish();
        }
        let child = fork(&mut target)?;
        if closed {
            answers(&mut target, "child 0 1", "waits", step)?;
        }
        let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
        check!(
            status.text().contains(&format!("process {child}, a fork, was left half-way")),
            "{step}: the child isn't named: {}",
            status.describe()
        );
        let said = match n % 3 {
            0 => target::hpatch("recover", target.pid(), &[])?.expect(0)?,
            1 => target::hpatch("recover", child, &[])?.expect(0)?,
            _ => target.apply(&made[0])?.expect(if onward { 3 } else { 0 })?,
        };
        let other = if n % 3 == 1 { target.pid() } else { child };
        check!(said.text().contains(&other.to_string()), "{step}: the other isn't named: {}", said.describe());
        for pid in [target.pid(), child] {
            target::hpatch("verify", pid, &[])?.expect(0)?;
        }
        let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
        check!(!status.text().contains("half-way"), "{step}: recovered, and {}", status.describe());
        // The child's own count went on from its parent's, in the place that counts now.
        let wanted = if onward { "602" } else { "402" };
        let call = if closed { "answer 0" } else { "child 0 1" };
        answers(&mut target, call, wanted, &format!("the child of one killed at {step}"))?;
        answers(&mut target, "hit 1", wanted, &format!("killed at {step}"))?;
        target::hpatch("recover", target.pid(), &[])?.expect(3)?;
        target.finish()?;
    }
    Ok(())
}

/// One command for all names what it met, and so does the one that only recovers.
fn fleet() -> Result<()> {
    let (old, made) = bundles_of("forked", "forked-fleet", &[("table", "NEW", &[])])?;
    let bundle = made[0].to_string_lossy();
    let program = old.program.to_string_lossy();
    for verb in ["apply", "recover"] {
        let mut target = start(&old)?;
        if !died(&dying("apply", &target, &[&bundle], "closed", false)?)? {
            return target.finish();
        }
        let child = fork(&mut target)?;
        let mut command = Command::new(paths::tool("hpatch")?);
        command.args(["--json", verb, "--exe", &program]).env("HPATCH_TRUST", Signer::shared()?.trust());
        if verb == "apply" {
            command.arg(&*bundle);
        }
        let output =
            process::run(&mut command, Duration::from_secs(60))?.expect(if verb == "apply" { 3 } else { 0 })?;
        let said: serde_json::Value = serde_json::from_str(&output.stdout)?;
        let processes = said["processes"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(parent) = processes.iter().find(|p| p["pid"] == target.pid()) else {
            fail!("the parent isn't there: {said}")
        };
        check!(parent["was_half_way"][0]["id"] == "table", "what was half-way isn't said: {said}");
        let fork = &parent["forks"][0];
        check!(fork["pid"] == child && fork["was_half_way"][0]["live"] == true, "the child isn't said: {said}");
        answers(&mut target, "child 0 1", "601", "the child")?;
        answers(&mut target, "slots", "6", "the parent")?;
        for pid in [target.pid(), child] {
            target::hpatch("verify", pid, &[])?.expect(0)?;
            target::revert(pid, "table", 10)?.expect(0)?;
        }
        answers(&mut target, "child 0 1", "402", "the child, reverted")?;
        target.finish()?;
    }
    Ok(())
}

/// Two libraries of one bundle: the one whose table is copied goes, for good or to come again, while nothing is whole. The other is brought to
/// where the table's state says.
fn unloaded() -> Result<()> {
    let scene = folder("moved-unloaded")?;
    let config = Config::new(&[("kind", "shared")]);
    let build = |program: &str, version: &str, defines: &[&str]| {
        compile::build(&special(program)?, &config, &scene.join(program).join(version), defines)
    };
    let table = [build("moved_plugin", "old", &[])?, build("moved_plugin", "new", &["NEW"])?];
    let plain = [build("counter", "old", &[])?, build("counter", "new", &["NEW"])?];
    let bundle: PathBuf = scene.join("both.hpatch");
    let pair = format!("{}={}", plain[0].module.display(), plain[1].module.display());
    bundle::build(&table[0].module, &table[1].module, &bundle, "both", &["--replace", "--pair", &pair])?.expect(0)?;
    Signer::shared()?.sign(&bundle)?;
    let host = compiled("loads", "moved-unloaded-host", &Config::new(&[]))?.old;
    let load = |target: &mut Target, b: &Build| target.ask(&format!("load {}", b.module.display()));
    for (step, _, onward) in STEPS {
        for comes_again in [false, true] {
            let mut target = start(&host)?;
            load(&mut target, &table[0])?;
            load(&mut target, &plain[0])?;
            answers(&mut target, "call 0", "401", "old")?;
            if !died(&dying("apply", &target, &[&bundle.to_string_lossy()], step, false)?)? {
                return target.finish();
            }
            answers(&mut target, "close 0", "0", "unloaded")?;
            if comes_again {
                load(&mut target, &table[0])?;
            }
            let when = format!("killed at {step}, unloaded, {}", if comes_again { "loaded again" } else { "gone" });
            let said = target::hpatch("recover", target.pid(), &[])?.expect(0)?;
            let word = if onward { "is live" } else { "took back" };
            check!(said.text().contains(word), "{when}: expected `{word}`: {}", said.describe());
            target.verify()?.expect(0)?;
            answers(&mut target, "call 1", if onward { "101" } else { "2" }, &when)?;
            if comes_again {
                // It came as it is on disk.
                answers(&mut target, "call 2", "401", &when)?;
            }
            if onward {
                target.revert("both")?.expect(0)?;
                answers(&mut target, "call 1", "2", &when)?;
            }
            target.finish()?;
        }
    }
    Ok(())
}
