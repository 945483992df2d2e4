//! Programs of Debian's source packages with random changes, such as fixes make. The old build with the bundle must do what the new build
//! does over all inputs, and after the revert what the old one does.

mod build;
mod edit;
mod insert;
mod subject;
mod text;

use super::random::Random;
use super::row::{Build, Fixed, Row};
use super::{Case, Verdict, codes};
use crate::bundle::{self, Scope, Signer};
use crate::scenario::store_with;
use crate::snapshot::Snapshot;
use crate::target::{Launch, Target};
use crate::{Result, check, fail, paths};
use build::{Base, Outcome, Tree, steady};
use regex::Regex;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use subject::{SUBJECTS, Subject};
use text::Text;

/// So many seeds in a row share a program and a row, and so the old build.
const BLOCK: u64 = 8;

/// Sets of changes that are tried until one compiles.
const TRIES: usize = 8;

/// Places that are tried for one change.
const PLACES: usize = 60;

/// Names of the programs.
pub fn names() -> Vec<&'static str> {
    SUBJECTS.iter().map(|subject| subject.name).collect()
}

/// Makes, builds, patches and compares the pair of one seed.
pub(super) fn judge(seed: u64, fixed: &Fixed) -> Result<Case> {
    let mut shared = Random::new(!(seed / BLOCK));
    let drawn = &SUBJECTS[shared.below(SUBJECTS.len())];
    let subject = match &fixed.program {
        Some(name) => SUBJECTS.iter().find(|subject| subject.name == name),
        None => Some(drawn),
    };
    let Some(subject) = subject else { fail!("there is no program of that name, only {}", names().join(", ")) };
    let row = Row::of_package(&mut shared, fixed);
    let label = format!("{} {}", subject.name, row.label());
    let Some(base) = Base::get(subject, &row)? else {
        return Ok(Case { seed, label, verdict: Verdict::Unavailable });
    };
    if base.outcomes.iter().all(Option::is_none) {
        println!("no run of {label} comes to the same end each time");
        return Ok(Case { seed, label, verdict: Verdict::Nothing });
    }
    let folder = paths::scratch()?.join("fuzz").join(seed.to_string());
    let mut random = Random::new(seed);
    let (verdict, kinds) = match change(&base, &mut random, &folder) {
        Ok(Some((new, kinds))) => (examine(&base, &new, &folder), kinds),
        Ok(None) => (Ok(Verdict::Nothing), Vec::new()),
        Err(failure) => (Err(failure), Vec::new()),
    };
    let verdict = verdict.unwrap_or_else(|failure| Verdict::Wrong(failure.to_string()));
    if matches!(verdict, Verdict::Nothing | Verdict::Same | Verdict::Right { .. }) {
        super::remove(&folder)?;
    }
    Ok(Case { seed, label: format!("{label} [{}]", kinds.join(", ")), verdict })
}

/// The new build in `folder`, with what was changed. None where nothing compiles.
fn change(base: &Arc<Base>, random: &mut Random, folder: &Path) -> Result<Option<(Build, Vec<String>)>> {
    for _ in 0..TRIES {
        let tree = Tree::new(base.subject, &base.source, folder.join("new"))?;
        let count = random.pick(&[1, 1, 2, 3, 4]);
        let (mut files, mut kinds) = (Vec::new(), Vec::new());
        for _ in 0..count {
            if let Some((file, kind)) = one_change(base.subject, &tree, random)? {
                kinds.push(format!("{kind} in {file}"));
                files.push(file);
            }
        }
        if files.is_empty() {
            continue;
        }
        tree.borrow(&base.tree(), &files)?;
        if let Some(build) = tree.build(&base.row, &[])? {
            return Ok(Some((build, kinds)));
        }
    }
    Ok(None)
}

fn one_change(subject: &Subject, tree: &Tree, random: &mut Random) -> Result<Option<(&'static str, &'static str)>> {
    let kinds: Vec<_> = edit::EDITS
        .iter()
        .chain(&insert::INSERTS)
        .chain(if subject.cplusplus { &insert::CPLUSPLUS[..] } else { &[] })
        .flat_map(|kind| std::iter::repeat_n(*kind, kind.1 as usize))
        .collect();
    let (name, _, change) = random.pick(&kinds);
    for _ in 0..PLACES {
        let in_header = matches!(name, "member" | "virtual function") || random.percent(4);
        let all = if in_header && !subject.headers.is_empty() { subject.headers } else { subject.units };
        let file = random.pick(all);
        let Some(text) = tree.read(file)? else { continue };
        if let Some(after) = change(&Text::new(text.clone()), random)
            && after != text
        {
            tree.write(file, &after)?;
            return Ok(Some((file, name)));
        }
    }
    Ok(None)
}

fn examine(base: &Base, new: &Build, folder: &Path) -> Result<Verdict> {
    let wanted = steady(new, &base.cases, folder)?;
    let old = &base.build;
    let mut judge = Judge { base, wanted: &wanted, folder, reset: false };
    let seen = base.outcomes.iter().zip(&wanted).any(|(was, is)| was.is_some() && is.is_some() && was != is);
    let bundle = folder.join("fix.hpatch");
    let mut output = bundle::build(&old.module, &new.module, &bundle, "fix", &[])?;
    if matches!(output.code(), Some(0 | 3)) && output.text().contains("[HP0401]") {
        // The process has run nothing yet, and so has no values to lose.
        let text = output.text();
        let pattern = Regex::new(r"\[HP0401\][^`]*`([^`]+)`")?;
        let names: Vec<String> = pattern.captures_iter(&text).map(|c| c[1].to_owned()).collect();
        let more: Vec<&str> = names.iter().flat_map(|name| ["--reset-data", name]).collect();
        output = bundle::build(&old.module, &new.module, &bundle, "fix", &more)?;
        judge.reset = true;
    }
    match output.code() {
        Some(3) => {
            let undefined = judge.compare(&base.outcomes, "no difference found")?;
            return Ok(undefined.map_or(Verdict::Same, Verdict::Undefined));
        }
        Some(4) => {
            fs::write(folder.join("refusal.txt"), output.text())?;
            return Ok(Verdict::Refused(codes(&output)));
        }
        _ => {}
    }
    let output = output.expect(0)?;
    fs::write(folder.join("report.txt"), output.text())?;
    Signer::shared()?.sign(&bundle)?;
    let (scope, ran) = match bundle::inspect(&bundle)?.scope {
        Scope::Live => ("live", judge.live(&bundle)),
        Scope::Start => ("start", judge.at_start(&bundle)),
    };
    let checked = bundle::check(&old.module, &new.module, &bundle, &[])?.expect(0);
    match (ran, checked) {
        (Ok(None), Ok(_)) => Ok(Verdict::Right { scope, seen }),
        (Ok(Some(text)), Ok(_)) => Ok(Verdict::Undefined(text)),
        (Err(failure), Ok(_)) => fail!("{scope}: {failure} (check-bundle sees nothing)"),
        (Ok(_), Err(failure)) => fail!("{scope}, behaves as the new build, but {failure}"),
        (Err(one), Err(other)) => fail!("{scope}: {one}; and {other}"),
    }
}

struct Judge<'a> {
    base: &'a Base,
    /// What the new build does.
    wanted: &'a [Option<Outcome>],
    folder: &'a Path,
    /// Whether variables got a new value, which a revert leaves.
    reset: bool,
}

impl Judge<'_> {
    /// Applied to a process that waits for orders, and reverted. Like [`Judge::compare`].
    fn live(&self, bundle: &Path) -> Result<Option<String>> {
        let base = self.base;
        let mut target = Target::start(&base.build.program, &Launch::trusting(Signer::shared()?.trust()))?;
        let before = Snapshot::take(target.pid())?;
        target.apply(bundle)?.expect(0)?;
        let got = build::run(&mut target, &base.cases, self.folder)?;
        let undefined = self.compare(&got, "patched")?;
        target.revert("fix")?.expect(0)?;
        if let Some(difference) = before.change(&Snapshot::take(target.pid())?) {
            fail!("after the revert, executable memory is not what it was: {difference}");
        }
        let got = build::run(&mut target, &base.cases, self.folder)?;
        for ((case, was), is) in base.cases.iter().zip(&base.outcomes).zip(&got) {
            let (Some(was), Some(is), false) = (was, is, self.reset) else { continue };
            check!(was == is, "reverted, `{}` gives {}", case.name(), is.difference(was));
        }
        target.finish()?;
        Ok(undefined)
    }

    /// Applied before `main`. Like [`Judge::compare`].
    fn at_start(&self, bundle: &Path) -> Result<Option<String>> {
        let store = store_with(self.folder, &[bundle])?;
        let launch = Launch { store: Some(store), ..Launch::trusting(Signer::shared()?.trust()) };
        let mut target = Target::start(&self.base.build.program, &launch)?;
        let got = build::run(&mut target, &self.base.cases, self.folder)?;
        let undefined = self.compare(&got, "patched at start")?;
        check!(target.complaints().is_empty(), "the loader complains: {}", target.complaints());
        target.finish()?;
        Ok(undefined)
    }

    /// Fails where a run differs from the new build's and the changed source is defined there. Where runs differ only because it isn't, that
    /// is said.
    fn compare(&self, got: &[Option<Outcome>], how: &str) -> Result<Option<String>> {
        let mut differing = Vec::new();
        for ((number, is), wanted) in got.iter().enumerate().zip(self.wanted) {
            let (Some(is), Some(wanted)) = (is, wanted) else { continue };
            if is != wanted {
                differing.push((number, is.difference(wanted)));
            }
        }
        let Some((_, first)) = differing.first() else { return Ok(None) };
        let numbers: Vec<usize> = differing.iter().map(|(number, _)| *number).collect();
        let defined = self.defined(&numbers)?;
        let wrong = differing.iter().find(|(number, _)| defined.contains(number));
        match wrong {
            None => Ok(Some(format!("{how}, {} runs differ: {first}", differing.len()))),
            Some((number, difference)) => {
                let case = self.base.cases[*number].name();
                fail!("{how}, {} of {} runs differ: `{case}`: {difference}", defined.len(), got.len())
            }
        }
    }

    /// Those of the cases in which the changed source does nothing undefined: no sanitizer finds more than in the old source, and variables
    /// that nobody has set don't matter.
    fn defined(&self, numbers: &[usize]) -> Result<Vec<usize>> {
        let cases: Vec<_> = numbers.iter().map(|&number| self.base.cases[number].clone()).collect();
        let (before, after) = (self.base.tree(), self.folder.join("new"));
        let gcc = Row::plain("gcc", "-O1");
        let flags = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"];
        let old = self.variant("sanitized-old", &before, &gcc, &flags, &cases)?;
        let new = self.variant("sanitized", &after, &gcc, &flags, &cases)?;
        let clang = Row::plain("clang", "-O1");
        let pattern = self.variant("filled", &after, &clang, &["-ftrivial-auto-var-init=pattern"], &cases)?;
        let left = self.variant("left", &after, &clang, &[], &cases)?;
        let fine = |at: usize| (old[at].is_complaint() || !new[at].is_complaint()) && pattern[at] == left[at];
        Ok(numbers.iter().enumerate().filter(|(at, _)| fine(*at)).map(|(_, &number)| number).collect())
    }

    /// The outcomes of another build of the source in `from`.
    fn variant(
        &self,
        name: &str,
        from: &Path,
        row: &Row,
        flags: &[&str],
        cases: &[subject::Case],
    ) -> Result<Vec<Outcome>> {
        let tree = Tree::new(self.base.subject, &self.base.source, self.folder.join(name))?;
        for file in self.base.subject.units.iter().chain(self.base.subject.headers) {
            if let (Ok(text), Some(was)) = (fs::read_to_string(from.join(file)), tree.read(file)?)
                && text != was
            {
                tree.write(file, &text)?;
            }
        }
        let Some(build) = tree.build(row, flags)? else { fail!("the source doesn't compile by {}", row.label()) };
        let environment = vec![("ASAN_OPTIONS".to_owned(), "detect_leaks=0".to_owned())];
        let mut target = Target::start(&build.program, &Launch { environment, ..Launch::default() })?;
        let outcomes = build::run(&mut target, cases, self.folder)?;
        target.finish()?;
        super::remove(&tree.folder)?;
        let all = outcomes.into_iter().map(|outcome| outcome.map_or_else(|| fail!("a case has no outcome"), Ok));
        all.collect()
    }
}
