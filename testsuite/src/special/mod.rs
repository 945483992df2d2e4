//! Scenarios that need a script of their own: the moment of the switch, wrong inputs, processes with children.

mod command;
mod duty;
mod errors;
mod faults;
mod foreign;
mod forks;
mod in_place;
mod internal;
mod leaving;
mod lent;
mod life;
mod lift;
mod moved;
mod on_disk;
mod recovered;
mod reused;
mod sanitized;
mod seen;
mod superseded;
mod surroundings;
mod switch;
mod thread_locals;
mod trust;
mod ways;

use crate::bundle::{self, Signer};
use crate::compile::{self, Builds};
use crate::process::{self, Output};
use crate::program::{Config, Program};
use crate::target::{Launch, Target};
use crate::{Result, check, paths};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// One scripted scenario.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// Rows of the hazard table, with commas.
    pub hazards: &'static str,
    pub run: fn() -> Result<()>,
}

pub fn cases() -> Vec<Case> {
    [
        switch::CASES,
        trust::CASES,
        errors::CASES,
        command::CASES,
        duty::CASES,
        in_place::CASES,
        surroundings::CASES,
        life::CASES,
        seen::CASES,
        lift::CASES,
        foreign::CASES,
        ways::CASES,
        faults::CASES,
        thread_locals::CASES,
        moved::CASES,
        recovered::CASES,
        on_disk::CASES,
        leaving::CASES,
        lent::CASES,
        forks::CASES,
        reused::CASES,
        sanitized::CASES,
        internal::CASES,
        superseded::CASES,
    ]
    .concat()
}

/// A program of `programs/special` in its two builds with a signed bundle.
struct Pair {
    builds: Builds,
    bundle: PathBuf,
}

impl Pair {
    /// `scene` keeps scenarios that share a program apart on disk.
    fn make(program: &str, scene: &str) -> Result<Pair> {
        Pair::signed(&special(program)?, scene)
    }

    /// As [`Self::make`], but no function is edited in place.
    fn replacing(program: &str, scene: &str) -> Result<Pair> {
        let mut program = special(program)?;
        program.edits = None;
        Pair::signed(&program, scene)
    }

    fn signed(program: &Program, scene: &str) -> Result<Pair> {
        let pair = Pair::built(program, scene, &Config::new(&[]))?;
        Signer::shared()?.sign(&pair.bundle)?;
        Ok(pair)
    }

    fn unsigned(program: &str, scene: &str, config: &Config) -> Result<Pair> {
        Pair::built(&special(program)?, scene, config)
    }

    fn built(program: &Program, scene: &str, config: &Config) -> Result<Pair> {
        let builds = compile::compile(program, config, &folder(scene)?)?;
        let bundle = builds.folder.join("fix.hpatch");
        bundle::build(&builds.old.module, &builds.new.module, &bundle, "fix", &program.build_options())?.expect(0)?;
        Ok(Pair { builds, bundle })
    }

    /// The old build, with the loader.
    fn start(&self) -> Result<Target> {
        Target::start(&self.builds.old.program, &Launch::trusting(Signer::shared()?.trust()))
    }
}

/// Asks the target, and fails unless it answers as it should.
fn answers(target: &mut Target, call: &str, wanted: &str, when: &str) -> Result<()> {
    let answer = target.ask(call)?;
    check!(answer == wanted, "{when}: `{call}` gives `{answer}`, expected `{wanted}`");
    Ok(())
}

/// `hpatch apply`, in the course of which the process gets SIGUSR1 (signal(7)).
fn apply_with_signal(pair: &Pair, target: &Target, step: &str) -> Result<Output> {
    let pid = target.pid().to_string();
    let mut command = Command::new(paths::tool("hpatch")?);
    command.args(["apply", "--pid", &pid]).arg(&pair.bundle);
    command.env("HPATCH_TEST_KILL", step).env("HPATCH_TEST_KILL_PID", &pid).env("HPATCH_TEST_KILL_SIGNAL", "10");
    process::run(&mut command, Duration::from_secs(30))
}

fn special(program: &str) -> Result<Program> {
    Program::read(&paths::programs().join("special").join(format!("{program}.c")))
}

fn folder(scene: &str) -> Result<PathBuf> {
    Ok(paths::scratch()?.join("special").join(scene))
}

/// Both builds of a program, without a bundle.
fn compiled(program: &str, scene: &str, config: &Config) -> Result<Builds> {
    compile::compile(&special(program)?, config, &folder(scene)?)
}
