//! `cargo xtask corpus-run`: whether an old library with a bundle does what the new build does.
//!
//! Every case of a package's suite runs with the new build and with the old build plus bundle; exit status, both streams and the output
//! file must be the same. That a bundle really was live is asked of `hpatch` for each pair.

use crate::build;
use crate::page;
use crate::setup;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use testsuite::bundle::Signer;
use testsuite::corpus::{self, CorpusPair, Verdict};
use testsuite::sandbox::{Case, Outcome, Patch, Sandbox};
use testsuite::suites::{self, Suite};
use testsuite::{Failure, Result, check, paths};

/// How often a case that differs is run again before it counts.
const REPEATS: usize = 3;
/// How often the new build is run more to see whether it comes to the same end.
const RARE: usize = 12;

/// One pair with a bundle.
struct Subject {
    pair: CorpusPair,
    suite: usize,
    id: String,
    scope: String,
    bundle: PathBuf,
    /// Keys of the baselines.
    old: u64,
    new: u64,
}

/// A fingerprint of what each case of a suite did.
type Prints = Vec<u64>;

#[derive(Debug, Default)]
struct Finding {
    /// Cases in which the old and the new build do not do the same: where the fix can be seen.
    seen: usize,
    /// Cases whose outcome varies from run to run.
    unstable: usize,
    /// What the patched process did differently from the new build.
    differs: Vec<String>,
    /// Why the bundle was not shown to be live, or the live switch went wrong.
    failures: Vec<String>,
}

pub fn run(packages: &[String], json: Option<&Path>, write: bool) -> Result<()> {
    setup::install(setup::CORPUS)?;
    build::all(false)?;
    suites::ready()?;
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    corpus::ensure_packages(&names)?;
    let mut pairs: Vec<CorpusPair> = Vec::new();
    for name in names {
        pairs.extend(corpus::pairs(name)?);
    }
    let (suites, subjects, left_out) = prepare(&pairs)?;
    let mut builds: BTreeMap<u64, (usize, &Path)> = BTreeMap::new();
    for subject in &subjects {
        builds.insert(subject.old, (subject.suite, &subject.pair.old));
        builds.insert(subject.new, (subject.suite, &subject.pair.new));
    }
    let builds: Vec<(u64, usize, &Path)> = builds.into_iter().map(|(key, (suite, path))| (key, suite, path)).collect();
    let baselines: BTreeMap<u64, Prints> = each(&builds, |(key, suite, path)| {
        let suite = &suites[*suite];
        let sandbox = Sandbox::new(folder()?.join(format!("build-{key:016x}")), path, suite.soname)?;
        Ok((*key, prints(&sandbox, suite)?))
    })?
    .into_iter()
    .collect();
    let findings = each(&subjects, |subject| {
        let finding = examine(subject, &suites[subject.suite], &baselines)?;
        eprintln!("{} {}: {}", subject.id, subject.pair.artifact, verdict(&finding));
        Ok(finding)
    })?;
    let table = table(&subjects, &suites, &findings, &left_out);
    print!("{table}");
    let wrong: Vec<String> =
        subjects.iter().zip(&findings).flat_map(|(subject, finding)| complaints(subject, finding)).collect();
    if let Some(path) = json {
        std::fs::write(path, format!("{:#}\n", report(&subjects, &suites, &findings)))?;
    }
    if write {
        page::write_runs(packages, &table)?;
    }
    check!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn folder() -> Result<PathBuf> {
    Ok(paths::scratch()?.join("corpus-run"))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Builds and signs the bundles; also says which pairs have none.
fn prepare(pairs: &[CorpusPair]) -> Result<(Vec<Suite>, Vec<Subject>, Vec<String>)> {
    let rows = corpus::judge_all(pairs)?;
    let (mut suites, mut known, mut subjects, mut left_out) = (Vec::new(), BTreeMap::new(), Vec::new(), Vec::new());
    for (pair, row) in pairs.iter().zip(rows) {
        let name = format!("{} {} {}", pair.package, pair.fix, pair.artifact);
        let scope = match row.result {
            Verdict::Bundle { scope, .. } => scope,
            Verdict::Refused { codes } => {
                left_out.push(format!("{name}: refused {}", codes.join(" ")));
                continue;
            }
            Verdict::Unchanged => continue,
            Verdict::Error { why } => return Err(Failure(format!("{name}: {why}"))),
        };
        let key = (pair.package.clone(), pair.artifact.clone());
        let suite = match known.get(&key) {
            Some(suite) => *suite,
            None => {
                let Some(suite) = suites::suite(&pair.package, &pair.artifact)? else {
                    left_out.push(format!("{name}: no cases"));
                    continue;
                };
                suites.push(suite);
                known.insert(key, suites.len() - 1);
                suites.len() - 1
            }
        };
        let place = paths::scratch()?.join("corpus").join(&pair.package).join(&pair.fix);
        let bundle = place.join(format!("{}.hpatch", pair.artifact));
        Signer::shared()?.sign(&bundle)?;
        let id = format!("{}-{}", pair.package, pair.fix);
        // One fix's new build is the next one's old build: it runs once.
        let [old, new] = [std::fs::read(&pair.old)?, std::fs::read(&pair.new)?].map(|bytes| hash(&(suite, bytes)));
        subjects.push(Subject { pair: pair.clone(), suite, id, scope, bundle, old, new });
    }
    Ok((suites, subjects, left_out))
}

fn prints(sandbox: &Sandbox, suite: &Suite) -> Result<Prints> {
    suite.cases.iter().map(|case| Ok(hash(&sandbox.run(case)?))).collect()
}

/// A session whose server doesn't even start ends alike with every build, and shows nothing.
fn runs_well(sandbox: &Sandbox, case: &Case) -> Result<()> {
    let outcome = sandbox.run(case)?;
    check!(
        outcome.end == "exit status 0",
        "the new build doesn't get through `{}`: {}, {}",
        case.name(),
        outcome.end,
        String::from_utf8_lossy(&outcome.stderr)
    );
    Ok(())
}

/// Does something with every item, on as many threads as the machine has; the results are in the order of the items.
fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((at, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?)))
                {
                    let result = work(item);
                    if let Ok(mut done) = done.lock() {
                        done.push((at, result));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().map_err(|_| Failure("a worker panicked".to_owned()))?;
    done.sort_by_key(|(at, _)| *at);
    check!(done.len() == items.len(), "{} of {} done", done.len(), items.len());
    done.into_iter().map(|(_, result)| result).collect()
}

/// Runs every case with the old build and the bundle, and compares.
fn examine(subject: &Subject, suite: &Suite, baselines: &BTreeMap<u64, Prints>) -> Result<Finding> {
    let none = Prints::new();
    let [old, new] = [subject.old, subject.new].map(|key| baselines.get(&key).unwrap_or(&none));
    let mut finding = Finding::default();
    let place = folder()?.join(format!("{}-{}", subject.id, subject.pair.artifact));
    let patched = Sandbox::new(place.join("patched"), &subject.pair.old, suite.soname)?.with_bundle(&subject.bundle)?;
    let fresh = Sandbox::new(place.join("new"), &subject.pair.new, suite.soname)?;
    let Some(first) = suite.cases.first() else { return Ok(finding) };
    if let Err(failure) = patched.confirm(first, &subject.id) {
        finding.failures.push(format!("applied at the start: {failure}"));
    }
    let sound = |case: &Case| case.since <= subject.pair.fix.as_str();
    for case in suite.cases.iter().filter(|case| case.script && sound(case)) {
        runs_well(&fresh, case)?;
    }
    for ((case, new), old) in suite.cases.iter().zip(new).zip(old).filter(|((case, _), _)| sound(case)) {
        let outcome = patched.run(case)?;
        if hash(&outcome) == *new {
            finding.seen += usize::from(old != new);
            continue;
        }
        judge(case, outcome, &mut finding, "applied at the start", || patched.run(case), || fresh.run(case))?;
    }
    if subject.scope == "live" {
        let plain = Sandbox::new(place.join("live"), &subject.pair.old, suite.soname)?;
        let patch = Patch { bundle: &subject.bundle, id: &subject.id };
        match plain.run_live(first, patch) {
            Ok(outcome) if outcome == fresh.run(first)? => {}
            Ok(outcome) => {
                let again = || plain.run_live(first, patch);
                judge(first, outcome, &mut finding, "applied live", again, || fresh.run(first))?;
            }
            Err(failure) => finding.failures.push(format!("applied live: {failure}")),
        }
        for (case, new) in suite.cases.iter().zip(new).filter(|(case, _)| case.script && sound(case)) {
            let outcome = plain.run_applying(case, patch)?;
            if hash(&outcome) != *new {
                let again = || plain.run_applying(case, patch);
                judge(case, outcome, &mut finding, "applied live", again, || fresh.run(case))?;
            }
        }
    }
    Ok(finding)
}

/// A case that differed once: whether it differs each time, while the new build is steady. An end that the new build never comes to, as a
/// crash, counts however rare it is.
fn judge(
    case: &Case,
    once: Outcome,
    finding: &mut Finding,
    how: &str,
    patched: impl Fn() -> Result<Outcome>,
    fresh: impl Fn() -> Result<Outcome>,
) -> Result<()> {
    let mut outcomes = vec![once];
    let mut expected = Vec::new();
    for _ in 0..REPEATS {
        outcomes.push(patched()?);
        expected.push(fresh()?);
    }
    let strange = |expected: &[Outcome]| -> Option<String> {
        outcomes.iter().find(|one| expected.iter().all(|other| one.end != other.end)).map(|one| one.end.clone())
    };
    for _ in 0..RARE {
        if strange(&expected).is_some() {
            expected.push(fresh()?);
        }
    }
    let steady = expected.iter().all(|other| *other == expected[0]);
    let difference = match strange(&expected) {
        Some(end) => Some(format!("{end}, which the new build never came to in {} runs", expected.len())),
        None if steady && !outcomes.contains(&expected[0]) => outcomes[0].difference(&expected[0]),
        None => None,
    };
    match difference {
        Some(text) => finding.differs.push(format!("{how}: {}: {text}", case.name())),
        None => finding.unstable += 1,
    }
    Ok(())
}

fn complaints(subject: &Subject, finding: &Finding) -> Vec<String> {
    let all = finding.failures.iter().chain(&finding.differs);
    all.map(|text| format!("{} {}: {text}", subject.id, subject.pair.artifact)).collect()
}

fn verdict(finding: &Finding) -> String {
    match (finding.failures.len(), finding.differs.len()) {
        (0, 0) => "as the new build".to_owned(),
        (0, count) => format!("**{count} differ**"),
        _ => "**not shown to be live**".to_owned(),
    }
}

fn table(subjects: &[Subject], suites: &[Suite], findings: &[Finding], left_out: &[String]) -> String {
    let mut text = String::from(
        "| package | fix | artifact | bundle | cases | where old and new differ | vary by themselves | old + bundle |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (subject, finding) in subjects.iter().zip(findings) {
        let CorpusPair { package, fix, artifact, .. } = &subject.pair;
        let cases = suites[subject.suite].cases.len();
        let (scope, Finding { seen, unstable, .. }) = (&subject.scope, finding);
        text += &format!(
            "| {package} | {fix} | {artifact} | {scope} | {cases} | {seen} | {unstable} | {} |\n",
            verdict(finding)
        );
    }
    let equal = findings.iter().filter(|finding| finding.differs.is_empty() && finding.failures.is_empty()).count();
    let seen = findings.iter().filter(|finding| finding.seen > 0).count();
    let runs: usize = subjects.iter().map(|subject| suites[subject.suite].cases.len()).sum();
    text += &format!(
        "\n{equal} of {} bundles behave as the new build in {runs} runs; in {seen} of them the suite sees the fix.\n",
        subjects.len()
    );
    if !left_out.is_empty() {
        text += "\nNot run:\n";
        left_out.iter().for_each(|name| text += &format!("- {name}\n"));
    }
    text
}

fn report(subjects: &[Subject], suites: &[Suite], findings: &[Finding]) -> Value {
    let rows = subjects.iter().zip(findings).map(|(subject, finding)| {
        json!({
            "package": subject.pair.package, "fix": subject.pair.fix, "artifact": subject.pair.artifact, "scope": subject.scope,
            "cases": suites[subject.suite].cases.len(), "seen": finding.seen, "unstable": finding.unstable,
            "differs": finding.differs, "failures": finding.failures,
        })
    });
    json!({ "schema": "hpatch.corpus-run/1", "rows": rows.collect::<Vec<_>>() })
}
