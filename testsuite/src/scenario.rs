//! The cycle that every scenario program goes through.
//!
//! Oracles: after the patch, the process answers as a freshly started new build does; after the revert, it answers as the old
//! build does, and its executable memory is what it was before. `patchgen check-bundle` must find the same by reading.

use crate::bundle::{self, Scope, Signer};
use crate::compile::{self, Builds};
use crate::program::{Config, Expect, Program};
use crate::snapshot::Snapshot;
use crate::target::{Launch, Target};
use crate::{Result, check, fail, paths};
use std::path::{Path, PathBuf};

/// How a pair came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Live,
    Start,
    Refused,
    Same,
}

/// Compiles the pair of one matrix row and drives it through what is expected of it.
pub fn run(program: &Program, config: &Config) -> Result<Outcome> {
    let folder = paths::scratch()?.join(&program.name).join(config.label());
    let builds = compile::compile(program, config, &folder)?;
    let bundle = folder.join("fix.hpatch");
    let separate = config.value("debug") == "separate";
    let debug = compile::debug_folder(&folder.join("old"));
    let places = if separate { vec!["--debug-dir".to_owned(), debug.display().to_string()] } else { Vec::new() };
    let outcome = build_bundle(program, &builds, &bundle, &places)?;
    let wanted = match program.expect(config) {
        Expect::Live => outcome.0 == Outcome::Live,
        Expect::Start => outcome.0 == Outcome::Start,
        Expect::NotLive => matches!(outcome.0, Outcome::Start | Outcome::Refused),
        Expect::Refuse(None) => outcome.0 == Outcome::Refused,
        Expect::Refuse(Some(code)) => outcome.0 == Outcome::Refused && outcome.1.contains(code.as_str()),
        Expect::Same => outcome.0 == Outcome::Same,
        // Where nothing is said to have changed, nothing may differ.
        Expect::Safe => outcome.0 != Outcome::Same || answers(program, &builds).is_ok_and(|(old, new)| old == new),
    };
    check!(wanted, "expected {:?}, but patchgen build said {:?}:\n{}", program.expect(config), outcome.0, outcome.1);
    if matches!(outcome.0, Outcome::Live | Outcome::Start) {
        let summary = bundle::inspect(&bundle)?;
        let edited = summary.edited;
        let fits = program.edits.map_or(edited == 0, |least| edited >= least);
        check!(fits, "{edited} functions are edited in place, expected {:?}:\n{}", program.edits, outcome.1);
        let few = program.most.is_none_or(|most| summary.changed() <= most);
        check!(few, "{} functions change, expected at most {:?}:\n{}", summary.changed(), program.most, outcome.1);
    }
    match outcome.0 {
        Outcome::Live => live_cycle(program, &builds, &bundle, config)?,
        Outcome::Start => start_cycle(program, &builds, &bundle)?,
        Outcome::Refused | Outcome::Same => {}
    }
    if matches!(outcome.0, Outcome::Live | Outcome::Start) {
        let file = |module| compile::debug_file(module, &debug).map(|file| file.display().to_string());
        let symbols = match separate {
            true => vec![
                "--old-debug".to_owned(),
                file(&builds.old.module)?,
                "--new-debug".to_owned(),
                file(&builds.new.module)?,
            ],
            false => Vec::new(),
        };
        bundle::check(&builds.old.module, &builds.new.module, &bundle, &symbols)?.expect(0)?;
        rewrite_cycle(program, &builds, &bundle, config)?;
    }
    std::fs::write(folder.join("outcome"), format!("{:?}\n{}", outcome.0, outcome.1))?;
    Ok(outcome.0)
}

/// Runs `patchgen build` (and `sign`) and says what it did, with its report.
fn build_bundle(program: &Program, builds: &Builds, bundle: &Path, places: &[String]) -> Result<(Outcome, String)> {
    let options: Vec<&str> = places.iter().map(String::as_str).chain(program.build_options()).collect();
    let output = bundle::build(&builds.old.module, &builds.new.module, bundle, "fix", &options)?;
    let outcome = match output.code() {
        Some(0) => {
            check!(bundle.is_file(), "no bundle was written by {}", output.describe());
            Signer::shared()?.sign(bundle)?;
            match bundle::inspect(bundle)?.scope {
                Scope::Live => Outcome::Live,
                Scope::Start => Outcome::Start,
            }
        }
        Some(3) => Outcome::Same,
        Some(4) => {
            check!(output.text().contains("HP0"), "a refusal without a code: {}", output.describe());
            Outcome::Refused
        }
        _ => fail!("unexpected end of {}", output.describe()),
    };
    let has_bundle = matches!(outcome, Outcome::Live | Outcome::Start);
    check!(has_bundle == bundle.exists(), "{outcome:?}, but bundle written: {}", bundle.exists());
    Ok((outcome, output.text()))
}

/// The answers of a freshly started build.
fn fresh_answers(program: &Path, calls: &[String]) -> Result<Vec<String>> {
    let mut target = Target::start(program, &Launch::default())?;
    let answers = calls.iter().map(|call| target.ask(call)).collect::<Result<Vec<_>>>()?;
    target.finish()?;
    Ok(answers)
}

fn answers(program: &Program, builds: &Builds) -> Result<(Vec<String>, Vec<String>)> {
    let of = |build: &Path| fresh_answers(build, &program.calls);
    Ok((of(&builds.old.program)?, of(&builds.new.program)?))
}

/// Both builds' answers; a pair that can't be told apart proves nothing.
fn oracle(program: &Program, builds: &Builds) -> Result<(Vec<String>, Vec<String>)> {
    let (old, new) = answers(program, builds)?;
    check!(
        old != new || !program.after.is_empty(),
        "the old and the new build answer alike ({old:?}): the scenario can't fail"
    );
    Ok((old, new))
}

fn compare(target: &mut Target, calls: &[String], wanted: &[String], when: &str) -> Result<()> {
    for (call, wanted) in calls.iter().zip(wanted) {
        let answer = target.ask(call)?;
        check!(answer == *wanted, "{when}: `{call}` gives `{answer}`, expected `{wanted}`");
    }
    Ok(())
}

fn compare_pairs(target: &mut Target, pairs: &[(String, String)], when: &str) -> Result<()> {
    for (call, wanted) in pairs {
        let answer = target.ask(call)?;
        check!(answer == *wanted, "{when}: `{call}` gives `{answer}`, expected `{wanted}`");
    }
    Ok(())
}

fn live_cycle(program: &Program, builds: &Builds, bundle: &Path, config: &Config) -> Result<()> {
    let (old, new) = oracle(program, builds)?;
    let launch = Launch::trusting(Signer::shared()?.trust());
    let mut target = if config.is_static() {
        Target::attached(&builds.old.program, &launch)?
    } else {
        Target::start(&builds.old.program, &launch)?
    };
    for call in &program.warm {
        target.ask(call)?;
    }
    compare(&mut target, &program.calls, &old, "before the patch")?;
    let before = Snapshot::take(target.pid())?;
    target.apply(bundle)?.expect(0)?;
    compare(&mut target, &program.calls, &new, "patched")?;
    compare_pairs(&mut target, &program.after, "patched")?;
    target.verify()?.expect(0)?;
    let changed = before.change(&Snapshot::take(target.pid())?).is_some();
    check!(changed == (bundle::inspect(bundle)?.changed() > 0), "executable memory changed: {changed}");
    target.revert("fix")?.expect(0)?;
    compare(&mut target, &program.calls, &old, "reverted")?;
    compare_pairs(&mut target, &program.reverted, "reverted")?;
    let reverted = Snapshot::take(target.pid())?;
    if let Some(difference) = before.change(&reverted) {
        fail!("after the revert, executable memory is not what it was: {difference}");
    }
    // Once more, and this time nothing may stay.
    target.apply(bundle)?.expect(0)?;
    target.revert_and_unmap("fix")?.expect(0)?;
    if let Some(difference) = reverted.difference(&Snapshot::take(target.pid())?) {
        fail!("after the second revert, with --unmap: {difference}");
    }
    target.finish()
}

fn start_cycle(program: &Program, builds: &Builds, bundle: &Path) -> Result<()> {
    let (old, new) = oracle(program, builds)?;
    let launch = Launch::trusting(Signer::shared()?.trust());
    let mut target = Target::start(&builds.old.program, &launch)?;
    let before = Snapshot::take(target.pid())?;
    target.apply(bundle)?.expect(4)?;
    check!(before.difference(&Snapshot::take(target.pid())?).is_none(), "a refused apply changed executable memory");
    compare(&mut target, &program.calls, &old, "after the refused apply")?;
    target.finish()?;
    let store = store_with(&builds.folder, &[bundle])?;
    let mut target = Target::start(&builds.old.program, &Launch { store: Some(store), ..launch })?;
    // What is alive now is laid out in the new way.
    target.revert("fix")?.expect(4)?;
    compare(&mut target, &program.calls, &new, "patched at start")?;
    target.finish()
}

/// The same patch in the file on disk: the rewritten program answers as the new build does, without a loader and with one.
fn rewrite_cycle(program: &Program, builds: &Builds, bundle: &Path, config: &Config) -> Result<()> {
    let (_, new) = oracle(program, builds)?;
    let rewritten = builds.beside("rewritten")?;
    let output = bundle::rewrite(&builds.old.module, bundle, &rewritten.module)?;
    let refusal = program.unwritten.as_ref().map(|code| format!("error[{code}]"));
    if output.code() == Some(4) && refusal.is_some_and(|text| output.stderr.contains(&text)) {
        return Ok(());
    }
    output.expect(0)?;
    let mut target = Target::start(&rewritten.program, &Launch::default())?;
    compare(&mut target, &program.calls, &new, "rewritten")?;
    compare_pairs(&mut target, &program.rewritten, "rewritten")?;
    target.finish()?;
    let again = rewritten.module.with_extension("again");
    bundle::rewrite(&rewritten.module, bundle, &again)?.expect(0)?;
    check!(std::fs::read(&again)? == std::fs::read(&rewritten.module)?, "rewriting it once more changed the file");
    if config.is_static() {
        return Ok(());
    }
    // The loader sees that the patch is in.
    let store = store_with(&builds.folder, &[bundle])?;
    let launch = Launch { store: Some(store), ..Launch::trusting(Signer::shared()?.trust()) };
    let mut target = Target::start(&rewritten.program, &launch)?;
    compare(&mut target, &program.calls, &new, "rewritten, with the bundle in the store")?;
    check!(target.complaints().is_empty(), "the loader complains: {}", target.complaints());
    target.apply(bundle)?.expect(4)?;
    target.finish()
}

/// A bundle store below `folder` with these bundles.
pub fn store_with(folder: &Path, bundles: &[&Path]) -> Result<PathBuf> {
    let store = folder.join("store");
    if store.exists() {
        std::fs::remove_dir_all(&store)?;
    }
    std::fs::create_dir_all(&store)?;
    for (number, bundle) in bundles.iter().enumerate() {
        std::fs::copy(bundle, store.join(format!("{number:02}.hpatch")))?;
    }
    Ok(store)
}
