//! An internal error of the loader, at work for a command and for a library that is being loaded: it is told, the loader accepts nothing more, and the
//! process goes on as it was.

use super::{Case, Pair, answers, compiled};
use crate::bundle::Signer;
use crate::process::Output;
use crate::program::Config;
use crate::scenario::store_with;
use crate::snapshot::Snapshot;
use crate::target::{self, Launch, Target};
use crate::{Result, check, fail, paths};
use hpatch_core::abi::Control;
use object::{Object, ObjectSymbol};
use regex::Regex;
use std::fs::File;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;

pub(super) const CASES: &[Case] = &[
    Case { name: "internal error at apply", hazards: "S11", run: at_apply },
    Case { name: "internal error while a library is loaded", hazards: "S11", run: at_load },
];

/// Says to the loader of a process that it holds as many bundles as it can count: one more is an error that it doesn't expect.
fn fill_up(target: &Target) -> Result<()> {
    let bytes = std::fs::read(paths::tool("libhpatch_loader.so")?)?;
    let Ok(library) = object::File::parse(&bytes[..]) else { fail!("the loader can't be read") };
    let control = library.dynamic_symbols().find(|s| s.name() == Ok("hpatch_control")).map(|s| s.address());
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", target.pid()))?;
    let first = maps.lines().find(|line| line.ends_with("/libhpatch_loader.so"));
    let base = first.and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok());
    let (Some(base), Some(control)) = (base, control) else { fail!("no loader is mapped") };
    let memory = File::options().write(true).open(format!("/proc/{}/mem", target.pid()))?;
    memory.write_all_at(&[0xff; 4], base + control + offset_of!(Control, record_count) as u64)?;
    Ok(())
}

/// The loader is blocked and says at which return addresses; the next bundle is refused.
fn blocked(target: &Target, pair: &Pair) -> Result<()> {
    let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
    tells(&status)?;
    check!(status.text().contains("blocked"), "{}", status.describe());
    tells(&target.apply(&pair.bundle)?.expect(9)?)
}

fn tells(output: &Output) -> Result<()> {
    let Ok(trail) = Regex::new(r"in the loader at( \+0x[0-9a-f]+){2,}") else { fail!("no regular expression") };
    check!(trail.is_match(&output.text()), "where it happened isn't said: {}", output.describe());
    Ok(())
}

fn at_apply() -> Result<()> {
    let pair = Pair::make("counter", "internal-apply")?;
    let mut target = pair.start()?;
    let before = Snapshot::take(target.pid())?;
    fill_up(&target)?;
    let output = target.apply(&pair.bundle)?;
    check!(output.code() != Some(0) && output.text().contains("HP9901"), "{}", output.describe());
    tells(&output)?;
    blocked(&target, &pair)?;
    answers(&mut target, "value", "2", "after the error")?;
    if let Some(change) = before.change(&Snapshot::take(target.pid())?) {
        fail!("after the error: {change}");
    }
    target.finish()
}

fn at_load() -> Result<()> {
    let host = compiled("loads", "internal-load-host", &Config::new(&[]))?.old.program;
    let pair = Pair::unsigned("counter", "internal-load", &Config::new(&[("kind", "shared")]))?;
    Signer::shared()?.sign(&pair.bundle)?;
    let store = store_with(&pair.builds.folder, &[&pair.bundle])?;
    let launch = Launch { store: Some(store), ..Launch::trusting(Signer::shared()?.trust()) };
    let load = format!("load {}", pair.builds.old.module.display());
    let mut target = Target::start(&host, &launch)?;
    fill_up(&target)?;
    answers(&mut target, &load, "0", "dlopen in the course of which it happens")?;
    answers(&mut target, "call 0", "2", "the library")?;
    blocked(&target, &pair)?;
    // Another one is loaded without the loader's help.
    answers(&mut target, "close 0", "0", "unloaded")?;
    answers(&mut target, &load, "1", "loaded again")?;
    answers(&mut target, "call 1", "2", "loaded again")?;
    answers(&mut target, "own", "2", "the host")?;
    target.finish()
}
