//! `patchgen diff`

use super::build::{FindingReport, finding_report, finding_text};
use super::{Builds, IgnoredText, Outcome, Phases, print, print_json};
use crate::addr::{DataId, FuncId, Svma};
use crate::bundle::Failure;
use crate::compare::{Cause, DataDiff, FuncChange, text};
use crate::correlate::Side;
use crate::diag::Severity;
use crate::drift::Drift;
use crate::lift::{Function, Lifted};
use crate::pipeline::{self, Compared, Depth, Files, Loaded, Opened, Plan};
use crate::report::Reasons;
use patchfmt::ExitCode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    builds: Builds,
    /// Directory with separate debug files, as /usr/lib/debug is
    #[arg(long, value_name = "DIR")]
    debug_dir: Vec<PathBuf>,
    /// Leave debug information aside: quicker, but static locals are paired by name only and changed line numbers are literals
    #[arg(long)]
    no_types: bool,
    #[command(flatten)]
    texts: IgnoredText,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// In the JSON, also every pair of functions with the addresses of its parts
    #[arg(long, requires = "json")]
    pairs: bool,
    /// Print how long the phases took
    #[arg(long)]
    time: bool,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    result: &'static str,
    /// Where the builds differ too widely for a fix.
    drift: Option<Drift>,
    /// Functions proven equal.
    same: usize,
    /// Of these, the ones whose names differ in what the compiler numbers: old name, new name.
    renumbered: Vec<[String; 2]>,
    /// How many functions changed for each cause.
    causes: BTreeMap<&'static str, usize>,
    changed: Vec<Changed>,
    new_functions: Vec<String>,
    gone_functions: Vec<String>,
    data: Vec<ChangedData>,
    new_data: Vec<String>,
    gone_data: Vec<String>,
    /// What could not be paired for sure.
    ambiguous: Vec<Ambiguous>,
    /// What a build would say.
    findings: Vec<FindingReport>,
    /// Every function of the new build that has an old one, where that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pairs: Option<Vec<Paired>>,
}

/// Two functions that are compared, each as the addresses of its parts, which the file states.
#[derive(Serialize)]
struct Paired {
    old: Vec<String>,
    new: Vec<String>,
    /// `same`, or the cause.
    verdict: &'static str,
}

#[derive(Serialize)]
struct Changed {
    name: String,
    unit: Option<String>,
    cause: &'static str,
    note: Option<String>,
    /// What becomes of it: `replaced`, `edited in place` or `stays`.
    fate: &'static str,
    /// The first instruction that differs, in both builds; None where the difference isn't in one.
    old: Option<Place>,
    new: Option<Place>,
    detail: String,
}

#[derive(Serialize)]
struct Place {
    /// Address as stated in the file.
    address: String,
    line: Option<String>,
    instruction: String,
}

#[derive(Serialize)]
struct ChangedData {
    name: String,
    what: String,
}

#[derive(Serialize)]
struct Ambiguous {
    code: String,
    name: String,
}

/// A function by name, or by address.
fn name(lifted: &Lifted, id: FuncId) -> String {
    text::function(&lifted.functions[id.index()])
}

fn data_name(lifted: &Lifted, id: DataId) -> String {
    let d = &lifted.data[id.index()];
    if d.name.is_empty() { format!("at {}", d.range.start) } else { d.name.clone() }
}

fn fate(plan: &Plan, new: FuncId) -> &'static str {
    if plan.set.functions.contains_key(&new) {
        "replaced"
    } else if plan.set.in_place.iter().any(|f| f.new == new) {
        "edited in place"
    } else {
        "stays"
    }
}

/// The instruction at an address of a function.
fn instruction(build: &Opened<'_>, f: &Function, at: Svma, line: Option<String>) -> Option<Place> {
    let found = f.insns.iter().find(|i| f.parts[usize::from(i.part)].start.plus(u64::from(i.offset)) == at)?;
    let side = Side { image: build.image, lifted: build.lifted };
    Some(Place { address: at.to_string(), line, instruction: text::instruction(side, f, found) })
}

/// Where two literals look alike.
const BEHIND_ITS_END: &str = "what may belong to the literal, behind its end, differs";

fn changed(
    compared: &Compared<'_>,
    plan: &Plan,
    reasons: &Reasons<'_, '_>,
    change: &FuncChange,
) -> Result<Changed, Failure> {
    let (old, new) = (&compared.old, &compared.new);
    let reason = reasons.of(change)?;
    let (f, g) = (&old.lifted.functions[change.old.index()], &new.lifted.functions[change.new.index()]);
    let was = change.first.and_then(|(at, _)| instruction(old, f, at, reasons.old_line(at)));
    let is = change.first.and_then(|(_, at)| instruction(new, g, at, reasons.new_line(at)));
    let alike = was.as_ref().zip(is.as_ref()).is_some_and(|(a, b)| a.instruction == b.instruction);
    let behind = (change.cause == Cause::Literal && alike).then(|| BEHIND_ITS_END.to_owned());
    Ok(Changed {
        name: name(new.lifted, change.new),
        unit: g.unit.as_deref().map(str::to_owned),
        cause: reason.cause,
        note: reason.note.or(behind),
        fate: fate(plan, change.new),
        old: was,
        new: is,
        detail: change.detail.clone(),
    })
}

/// `changed`: for each of the changes, in their order.
fn paired(c: &Compared<'_>, changed: &[Changed]) -> Vec<Paired> {
    let parts = |f: &Function| f.parts.iter().map(|p| p.start.to_string()).collect();
    let verdict = |new: FuncId| {
        let found = c.changes.changed.binary_search_by_key(&new, |f| f.new);
        found.ok().and_then(|n| changed.get(n)).map_or("same", |f| f.cause)
    };
    let paired = c.pairs.func_to_old.iter().flatten();
    let report = paired.map(|p| Paired {
        old: parts(&c.old.lifted.functions[p.old.index()]),
        new: parts(&c.new.lifted.functions[p.new.index()]),
        verdict: verdict(p.new),
    });
    report.collect()
}

fn report(c: &Compared<'_>, plan: &Plan, pairs: bool) -> Result<Report, Failure> {
    let (old, new) = (c.old.lifted, c.new.lifted);
    let reasons = Reasons::new(c, &c.changes.changed.iter().collect::<Vec<_>>())?;
    let changed: Vec<Changed> =
        c.changes.changed.iter().map(|f| changed(c, plan, &reasons, f)).collect::<Result<_, _>>()?;
    let mut causes = BTreeMap::new();
    for f in &changed {
        *causes.entry(f.cause).or_default() += 1;
    }
    let differs = |id: FuncId| c.changes.changed.binary_search_by_key(&id, |f| f.new).is_ok();
    let renamed = c.pairs.func_to_old.iter().flatten().filter(|p| !differs(p.new));
    let renamed = renamed.map(|p| [name(old, p.old), name(new, p.new)]).filter(|[a, b]| a != b);
    Ok(Report {
        schema: "hpatch.diff/1",
        result: result(plan),
        drift: Drift::measure(c),
        same: c.changes.same,
        renumbered: renamed.collect(),
        causes,
        pairs: pairs.then(|| paired(c, &changed)),
        changed,
        new_functions: c.changes.new_funcs.iter().map(|&f| name(new, f)).collect(),
        gone_functions: c.changes.gone_funcs.iter().map(|&f| name(old, f)).collect(),
        data: c
            .changes
            .data_changed
            .iter()
            .map(|d| ChangedData {
                name: data_name(new, d.new),
                what: match d.diff {
                    DataDiff::Content => "initial value".to_owned(),
                    DataDiff::Size { old, new } => format!("size {old} -> {new} bytes"),
                    DataDiff::Section => "section".to_owned(),
                },
            })
            .collect(),
        new_data: c.changes.new_data.iter().map(|&d| data_name(new, d)).collect(),
        gone_data: c.changes.gone_data.iter().map(|&d| data_name(old, d)).collect(),
        ambiguous: c
            .pairs
            .ambiguous
            .iter()
            .map(|(code, name)| Ambiguous { code: format!("HP{code:04}"), name: name.clone() })
            .collect(),
        findings: plan.findings.iter().rev().map(finding_report).collect(),
    })
}

fn result(plan: &Plan) -> &'static str {
    match exit(plan) {
        ExitCode::Refused => "refused",
        ExitCode::NothingChanged => "nothing changed",
        _ => "can be patched",
    }
}

/// As `build` ends, were everything accepted that a reviewer may accept.
fn exit(plan: &Plan) -> ExitCode {
    if plan.findings.iter().any(|f| f.severity == Severity::Refuse) {
        ExitCode::Refused
    } else if plan.set.is_empty() {
        ExitCode::NothingChanged
    } else {
        ExitCode::Done
    }
}

fn describe(f: &Changed, out: &mut String) {
    let unit = f.unit.as_ref().map(|u| format!(" ({u})")).unwrap_or_default();
    let note = f.note.as_ref().map(|n| format!(": {n}")).unwrap_or_default();
    let _ = writeln!(out, "{}{unit}: {}{note}; {}", f.name, f.cause, f.fate);
    match (&f.old, &f.new) {
        (Some(old), Some(new)) => {
            for (which, p) in [("old", old), ("new", new)] {
                let line = p.line.as_deref().unwrap_or("-");
                let _ = writeln!(out, "  {which} {:<12} {line:<24} {}", p.address, p.instruction);
            }
        }
        _ => drop(writeln!(out, "  {}", f.detail)),
    }
}

fn text(r: &Report) -> String {
    let mut out = String::new();
    if let Some(drift) = &r.drift {
        let _ = writeln!(out, "{drift}");
    }
    for f in r.findings.iter().filter(|f| f.severity != Severity::Note) {
        finding_text(f, &mut out);
    }
    for f in &r.changed {
        describe(f, &mut out);
    }
    let lists = [
        ("new function", &r.new_functions),
        ("gone function", &r.gone_functions),
        ("new data", &r.new_data),
        ("gone data", &r.gone_data),
    ];
    for (what, names) in lists {
        for name in names {
            let _ = writeln!(out, "{what:<13} {name}");
        }
    }
    for [old, new] in &r.renumbered {
        let _ = writeln!(out, "{:<13} {old} -> {new}", "renumbered");
    }
    for d in &r.data {
        let _ = writeln!(out, "{:<13} {}: {}", "data", d.name, d.what);
    }
    for a in &r.ambiguous {
        let _ = writeln!(out, "{:<13} {} ({})", "ambiguous", a.name, a.code);
    }
    let causes: Vec<String> = r.causes.iter().map(|(c, n)| format!("{n} {c}")).collect();
    let causes = if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) };
    let _ = writeln!(
        out,
        "functions: {} the same, {} changed{causes}, {} new, {} gone; data: {} changed, {} new, {} gone; {}",
        r.same,
        r.changed.len(),
        r.new_functions.len(),
        r.gone_functions.len(),
        r.data.len(),
        r.new_data.len(),
        r.gone_data.len(),
        r.result
    );
    out
}

pub fn run(args: &Args) -> Outcome {
    let mut phases = Phases::start();
    let depth = if args.no_types { Depth::Code } else { Depth::Types };
    let stamps = args.texts.stamps()?;
    let (old, mut new) = load(&args.builds, &args.debug_dir, depth)?;
    phases.end("load and lift");
    let compared = pipeline::compare(&old, &mut new, &stamps)?;
    phases.end("compare");
    let plan = pipeline::plan(&compared, false)?;
    phases.end("check and link");
    let report = report(&compared, &plan, args.pairs)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(text(&report).as_bytes())?;
    }
    phases.end("report");
    if args.time {
        phases.print();
    }
    let exit = exit(&plan);
    // The process ends here: the kernel is quicker to take back a million small pieces.
    std::mem::forget(compared);
    std::mem::forget((old, new));
    Ok(exit)
}

/// Loads two builds side by side.
pub(super) fn load(builds: &Builds, debug_dir: &[PathBuf], depth: Depth) -> Result<(Loaded, Loaded), Failure> {
    let old = Files { image: &builds.old, debug: builds.old_debug.as_deref() };
    let new = Files { image: &builds.new, debug: builds.new_debug.as_deref() };
    Ok(pipeline::load_both(depth, old, new, debug_dir)?)
}
