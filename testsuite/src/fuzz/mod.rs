//! Random programs and random changes to them: whatever `patchgen` makes of such a pair must be right.
//!
//! One seed is one pair of one row of compiler, optimisation, kind and linker. The oracle is the freshly started new build, and
//! `patchgen check-bundle`.

mod csmith;
mod own;
pub mod package;
mod random;
mod row;

pub use row::{Fixed, Row};

use crate::bundle::{self, Scope, Signer};
use crate::process::{self, Output};
use crate::scenario::store_with;
use crate::snapshot::Snapshot;
use crate::target::{Launch, Target};
use crate::{Result, check, paths};
use random::Random;
use row::Build;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// csmith's programs may run for ever.
const RUN_LIMIT: Duration = Duration::from_secs(5);

/// Where programs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Csmith,
    Own,
    /// Programs of Debian's source packages; only where it is asked for.
    Package,
}

#[derive(Debug)]
struct Pair {
    old: String,
    new: String,
    /// What was changed.
    kinds: Vec<&'static str>,
    /// For the compiler.
    flags: Vec<String>,
    source: Source,
}

/// What came of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No pair: the change changes nothing, or a build doesn't come to its end.
    Nothing,
    /// `patchgen` finds no difference, and both builds do the same.
    Same,
    /// A bundle that is right; whether the two builds do different things at all.
    Right { scope: &'static str, seen: bool },
    /// The source of the program can't be had.
    Unavailable,
    /// The old build with the bundle does something else than the new build, where the changed source does what has no meaning.
    Undefined(String),
    /// Refused with these codes.
    Refused(BTreeSet<String>),
    /// A wrong patch, a false "same", an alarm of `check-bundle`, or an error.
    Wrong(String),
}

/// A verdict with what to know of its seed.
#[derive(Debug)]
pub struct Case {
    pub seed: u64,
    /// Compiler, flags and changes.
    pub label: String,
    pub verdict: Verdict,
}

/// Makes, builds, patches and compares the pair of one seed. What isn't right is left to look at in the scratch folder.
pub fn judge(seed: u64, source: Option<Source>, fixed: &Fixed) -> Result<Case> {
    let mut random = Random::new(seed);
    let drawn = if random.percent(50) { Source::Csmith } else { Source::Own };
    let row = Row::new(&mut random, fixed);
    let folder = paths::scratch()?.join("fuzz").join(seed.to_string());
    let pair = match source.unwrap_or(drawn) {
        Source::Csmith => csmith::pair(seed, &mut random, &folder)?,
        Source::Own => own::pair(&mut random),
        Source::Package => return package::judge(seed, fixed),
    };
    let Some(pair) = pair else {
        remove(&folder)?;
        return Ok(Case { seed, label: row.label(), verdict: Verdict::Nothing });
    };
    let label = format!("{:?} {} [{}]", pair.source, row.label(), pair.kinds.join(" "));
    let verdict = match examine(&pair, &row, &folder) {
        Ok(verdict) => verdict,
        Err(failure) => Verdict::Wrong(failure.to_string()),
    };
    if matches!(verdict, Verdict::Nothing | Verdict::Same | Verdict::Right { .. }) {
        remove(&folder)?;
    }
    Ok(Case { seed, label, verdict })
}

fn examine(pair: &Pair, row: &Row, folder: &Path) -> Result<Verdict> {
    let build = |name: &str, text: &str| {
        let place = folder.join(name);
        std::fs::create_dir_all(&place)?;
        std::fs::write(place.join("p.c"), text)?;
        row.build(&place, &driver(), &pair.flags)
    };
    let (old, new) = (build("old", &pair.old)?, build("new", &pair.new)?);
    let (Some(was), Some(wanted)) = (answer(&old, &[])?, answer(&new, &[])?) else { return Ok(Verdict::Nothing) };
    let bundle = folder.join("fix.hpatch");
    let output = bundle::build(&old.module, &new.module, &bundle, "fix", &[])?;
    match output.code() {
        Some(3) => {
            check!(was == wanted, "no difference found, but the builds do different things");
            return Ok(Verdict::Same);
        }
        Some(4) => {
            std::fs::write(folder.join("refusal.txt"), output.text())?;
            return Ok(Verdict::Refused(codes(&output)));
        }
        _ => {}
    }
    let output = output.expect(0)?;
    std::fs::write(folder.join("report.txt"), output.text())?;
    Signer::shared()?.sign(&bundle)?;
    let scope = match bundle::inspect(&bundle)?.scope {
        Scope::Live => {
            live(&old, &bundle, &wanted)?;
            "live"
        }
        Scope::Start => {
            at_start(&old, &bundle, &wanted, folder)?;
            "start"
        }
    };
    bundle::check(&old.module, &new.module, &bundle, &[])?.expect(0)?;
    Ok(Verdict::Right { scope, seen: was != wanted })
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

fn driver() -> PathBuf {
    paths::programs().join("driver/once.c")
}

fn codes(output: &Output) -> BTreeSet<String> {
    let text = output.text();
    let starts = text.match_indices("[HP").filter_map(|(at, _)| text.get(at + 1..at + 7));
    starts.map(str::to_owned).collect()
}

/// What the program prints when it is run to its end; None if it doesn't come there.
fn answer(build: &Build, environment: &[(&str, &Path)]) -> Result<Option<String>> {
    let mut command = Command::new(&build.program);
    command.envs(environment.iter().copied());
    match process::run(&mut command, RUN_LIMIT) {
        Ok(output) if output.code() == Some(0) => {
            check!(output.stderr.is_empty(), "it complains: {}", output.stderr);
            Ok(Some(output.stdout.lines().collect::<Vec<_>>().join(" | ")))
        }
        _ => Ok(None),
    }
}

/// Applied to the process that waits for its order to run, and reverted.
fn live(old: &Build, bundle: &Path, wanted: &str) -> Result<()> {
    let mut target = Target::start(&old.program, &Launch::trusting(Signer::shared()?.trust()))?;
    let before = Snapshot::take(target.pid())?;
    target.apply(bundle)?.expect(0)?;
    let got = target.ask("run")?;
    check!(got == wanted, "patched, it gives `{got}`, the new build `{wanted}`");
    target.revert("fix")?.expect(0)?;
    if let Some(difference) = before.change(&Snapshot::take(target.pid())?) {
        crate::fail!("after the revert, executable memory is not what it was: {difference}");
    }
    target.finish()
}

/// Applied before `main`.
fn at_start(old: &Build, bundle: &Path, wanted: &str, folder: &Path) -> Result<()> {
    let store = store_with(folder, &[bundle])?;
    let launch = Launch { store: Some(store), ..Launch::trusting(Signer::shared()?.trust()) };
    let mut target = Target::start(&old.program, &launch)?;
    let got = target.ask("run")?;
    check!(got == wanted, "patched at start, it gives `{got}`, the new build `{wanted}`");
    check!(target.complaints().is_empty(), "the loader complains: {}", target.complaints());
    target.finish()
}
