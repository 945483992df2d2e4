//! Scenarios that need a script of their own: the moment of the switch, wrong inputs, processes with children.

mod errors;
mod switch;
mod trust;

use crate::bundle::{self, Signer};
use crate::compile::{self, Builds};
use crate::program::{Config, Program};
use crate::target::{Launch, Target};
use crate::{Result, paths};
use std::path::PathBuf;

/// One scripted scenario.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// Rows of the hazard table, with commas.
    pub hazards: &'static str,
    pub run: fn() -> Result<()>,
}

pub fn cases() -> Vec<Case> {
    [switch::CASES, trust::CASES, errors::CASES].concat()
}

/// A program of `programs/special` in its two builds with a signed bundle.
struct Pair {
    builds: Builds,
    bundle: PathBuf,
}

impl Pair {
    /// `scene` keeps scenarios that share a program apart on disk.
    fn make(program: &str, scene: &str) -> Result<Pair> {
        let pair = Pair::unsigned(program, scene, &Config::new(&[]))?;
        Signer::shared()?.sign(&pair.bundle)?;
        Ok(pair)
    }

    fn unsigned(program: &str, scene: &str, config: &Config) -> Result<Pair> {
        let builds = compiled(program, scene, config)?;
        let bundle = builds.folder.join("fix.hpatch");
        bundle::build(&builds.old.module, &builds.new.module, &bundle, "fix", &[])?.expect(0)?;
        Ok(Pair { builds, bundle })
    }

    /// The old build, with the loader.
    fn start(&self) -> Result<Target> {
        Target::start(&self.builds.old.program, &Launch::trusting(Signer::shared()?.trust()))
    }
}

fn compiled(program: &str, scene: &str, config: &Config) -> Result<Builds> {
    let source = paths::programs().join("special").join(format!("{program}.c"));
    let folder = paths::scratch()?.join("special").join(scene);
    compile::compile(&Program::read(&source)?, config, &folder)
}
