//! Real old/new pairs: Debian's security fixes, built by the corpus tool, which is a project of its own.

use crate::bundle::{self, Summary};
use crate::process::run;
use crate::{Failure, Result, check, fail, paths};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Every package of the corpus.
pub const PACKAGES: [&str; 17] = [
    "c-ares",
    "curl",
    "dnsmasq",
    "expat",
    "haproxy",
    "jq",
    "libarchive",
    "libde265",
    "libssh",
    "libssh2",
    "libxml2",
    "libxslt",
    "nginx",
    "openjpeg2",
    "poppler",
    "redis",
    "tiff",
];

/// Longest build of one package from its source, on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// `corpus.py`: `$HPATCH_CORPUS_TOOL`, else beside the repository; `None` when it isn't there.
pub fn tool() -> Option<PathBuf> {
    let tool = match std::env::var_os("HPATCH_CORPUS_TOOL") {
        Some(path) => PathBuf::from(path),
        None => paths::repository().join("../shared/corpus/corpus.py"),
    };
    tool.is_file().then_some(tool)
}

/// Whether pairs of these packages are there or can be built.
pub fn available(packages: &[&str]) -> bool {
    tool().is_some() || packages.iter().all(|package| folder().join("pairs").join(package).is_dir())
}

/// Where the pairs are: `$CORPUS_DIR`, else the user's cache.
pub fn folder() -> PathBuf {
    match std::env::var_os("CORPUS_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/hpatch-corpus"),
    }
}

/// One artifact before and after one fix.
#[derive(Debug, Clone)]
pub struct CorpusPair {
    pub package: String,
    pub fix: String,
    pub artifact: String,
    pub old: PathBuf,
    pub new: PathBuf,
}

/// Builds whole packages, unless they are there.
pub fn ensure_packages(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !complete(package)).collect();
    if missing.is_empty() { Ok(()) } else { build(&missing, &["--missing"]) }
}

fn complete(package: &str) -> bool {
    let text = std::fs::read_to_string(folder().join("pairs").join(package).join("package.json")).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    json["complete"].as_bool() == Some(true)
}

/// One pair of a package by a part of the fix's name, built if it isn't there.
pub fn ensure_pair(package: &str, fix: &str, artifact: &str) -> Result<CorpusPair> {
    if find(package, fix, artifact)?.is_none() {
        build(&[package], &["--only", fix])?;
    }
    match find(package, fix, artifact)? {
        Some(pair) => Ok(pair),
        None => fail!("the corpus has no pair of {artifact} for {fix} in {package}"),
    }
}

fn find(package: &str, fix: &str, artifact: &str) -> Result<Option<CorpusPair>> {
    if !folder().join("pairs").join(package).is_dir() {
        return Ok(None);
    }
    Ok(pairs(package)?.into_iter().find(|pair| pair.fix.contains(fix) && pair.artifact.starts_with(artifact)))
}

fn build(packages: &[&str], more: &[&str]) -> Result<()> {
    let Some(tool) = tool() else {
        fail!("the corpus tool isn't there: set HPATCH_CORPUS_TOOL to its corpus.py");
    };
    // Another run of the tests may be building: the tool then says so, and its result is what is wanted.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(tool).arg("build").args(packages).args(more);
    let output = run(&mut command, BUILD_LIMIT)?;
    check!(output.code() == Some(0), "building {} failed: {}", packages.join(" "), output.describe());
    Ok(())
}

/// Every pair of a package, in the order of its fixes.
pub fn pairs(package: &str) -> Result<Vec<CorpusPair>> {
    let folder = folder().join("pairs").join(package);
    let mut pairs = Vec::new();
    for fix in sorted(&folder)? {
        if !fix.join("meta.json").is_file() {
            continue;
        }
        for old in sorted(&fix.join("old"))? {
            let artifact = name_of(&old);
            let new = fix.join("new").join(&artifact);
            if new.is_file() {
                pairs.push(CorpusPair { package: package.to_owned(), fix: name_of(&fix), artifact, old, new });
            }
        }
    }
    check!(!pairs.is_empty(), "no pairs of {package} in {}", folder.display());
    Ok(pairs)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = std::fs::read_dir(folder).map_err(|error| Failure(format!("{}: {error}", folder.display())))?;
    let mut entries = listing.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What `patchgen build` made of a pair.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub package: String,
    pub fix: String,
    pub artifact: String,
    pub result: Verdict,
    pub seconds: f64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Verdict {
    Bundle {
        scope: String,
        /// Codes of what forbids that it's live.
        reasons: Vec<String>,
        replaced: u64,
        added: u64,
        bytes: u64,
    },
    Refused {
        codes: Vec<String>,
    },
    Unchanged,
    Error {
        why: String,
    },
}

/// Runs `patchgen build` on one pair.
pub fn judge(pair: &CorpusPair) -> Result<Row> {
    let folder = paths::scratch()?.join("corpus").join(&pair.package).join(&pair.fix);
    std::fs::create_dir_all(&folder)?;
    let bundle = folder.join(format!("{}.hpatch", pair.artifact));
    let start = std::time::Instant::now();
    let ended = bundle::build(&pair.old, &pair.new, &bundle, &format!("{}-{}", pair.package, pair.fix), &[]);
    let seconds = start.elapsed().as_secs_f64();
    let result = match ended {
        Err(Failure(why)) => Verdict::Error { why },
        Ok(output) => match output.code() {
            Some(0) => match bundle::inspect(&bundle) {
                Ok(summary) => {
                    let Summary { scope, added, size, .. } = summary;
                    let replaced = summary.changed();
                    let (scope, reasons) = (format!("{scope:?}").to_lowercase(), codes(&output.text(), &["start["]));
                    Verdict::Bundle { scope, reasons, replaced, added, bytes: size }
                }
                Err(Failure(why)) => Verdict::Error { why },
            },
            Some(3) => Verdict::Unchanged,
            Some(4) => match codes(&output.text(), &["error[", "review["]) {
                codes if codes.is_empty() => {
                    Verdict::Error { why: format!("refused without a code\n{}", output.describe()) }
                }
                codes => Verdict::Refused { codes },
            },
            _ => Verdict::Error { why: output.describe() },
        },
    };
    Ok(Row { package: pair.package.clone(), fix: pair.fix.clone(), artifact: pair.artifact.clone(), result, seconds })
}

/// The codes of the findings of these severities, once each, in order of appearance.
fn codes(text: &str, severities: &[&str]) -> Vec<String> {
    let mut codes: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        let Some(rest) = severities.iter().find_map(|word| line.strip_prefix(word)) else { continue };
        let Some((code, _)) = rest.split_once(']') else { continue };
        if !codes.iter().any(|known| known == code) {
            codes.push(code.to_owned());
        }
    }
    codes
}

/// Judges many pairs on as many threads as the machine has.
pub fn judge_all(pairs: &[CorpusPair]) -> Result<Vec<Row>> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((at, pair)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, pairs.get(at)?)))
                {
                    let row = judge(pair);
                    if let Ok(mut rows) = rows.lock() {
                        rows.push((at, row));
                    }
                }
            });
        }
    });
    let mut rows = rows.into_inner().map_err(|_| Failure("a worker panicked".to_owned()))?;
    rows.sort_by_key(|(at, _)| *at);
    check!(rows.len() == pairs.len(), "{} of {} pairs judged", rows.len(), pairs.len());
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The rows as a Markdown table with a summary line below.
pub fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| package | fix | artifact | result | functions | bytes | s |\n|---|---|---|---|---|---|---|\n");
    let (mut live, mut bundles, mut refused, mut unchanged, mut errors) = (0, 0, 0, 0, 0);
    for row in rows {
        let (result, functions, bytes) = match &row.result {
            Verdict::Bundle { scope, reasons, replaced, added, bytes } => {
                bundles += 1;
                live += usize::from(scope == "live");
                let why = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(" ")) };
                (format!("bundle ({scope}{why})"), format!("{replaced} + {added} new"), bytes.to_string())
            }
            Verdict::Refused { codes } => {
                refused += 1;
                (format!("refused {}", codes.join(" ")), String::new(), String::new())
            }
            Verdict::Unchanged => {
                unchanged += 1;
                ("nothing changed".to_owned(), String::new(), String::new())
            }
            Verdict::Error { .. } => {
                errors += 1;
                ("**error**".to_owned(), String::new(), String::new())
            }
        };
        let Row { package, fix, artifact, seconds, .. } = row;
        text += &format!("| {package} | {fix} | {artifact} | {result} | {functions} | {bytes} | {seconds:.1} |\n");
    }
    text += &format!(
        "\n{bundles} bundles ({live} live, {} at start), {refused} refused, {unchanged} unchanged, {errors} errors\n",
        bundles - live
    );
    text
}

/// Why a row is an error, if it is one.
pub fn error_of(row: &Row) -> Option<String> {
    match &row.result {
        Verdict::Error { why } => Some(format!("{} {} {}: {why}", row.package, row.fix, row.artifact)),
        _ => None,
    }
}
