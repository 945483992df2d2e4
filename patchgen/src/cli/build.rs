//! `patchgen build`

use super::{Builds, IgnoredText, Outcome, Phases, print, print_json};
use crate::addr::FuncId;
use crate::bundle::{Failure, file};
use crate::compare::Cause;
use crate::diag::{Finding, Severity};
use crate::drift::Drift;
use crate::emit::{self, Labels, ModulePatch};
use crate::image::ImageError;
use crate::include::{Idle, References};
use crate::pipeline::{self, Compared, Depth, Files, Plan};
use crate::report::dump::{self, Phase};
use patchfmt::ExitCode;
use patchfmt::codes::{self, Code};
use patchfmt::metadata::{self, Scope};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    builds: Builds,
    /// Directory with separate debug files, as /usr/lib/debug is
    #[arg(long, value_name = "DIR")]
    debug_dir: Vec<PathBuf>,
    /// Another module of the same program, applied in the same transaction
    #[arg(long, value_name = "OLD=NEW")]
    pair: Vec<String>,
    /// Where to write the bundle
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Accept a finding of severity `review`, for all symbols or one
    #[arg(long, value_name = "CODE[:SYMBOL]")]
    accept: Vec<String>,
    /// Leave this changed function as it is in the old build; the signed manifest says so
    #[arg(long, value_name = "FUNCTION")]
    leave: Vec<String>,
    /// Give this variable its new initial value at once and throw the live one away; the signed manifest says so
    #[arg(long, value_name = "VARIABLE")]
    reset_data: Vec<String>,
    #[command(flatten)]
    texts: IgnoredText,
    /// Name of the bundle, by which it is reverted
    #[arg(long)]
    id: Option<String>,
    /// What it fixes
    #[arg(long, value_name = "ID")]
    cve: Vec<String>,
    /// Text for whoever reads it
    #[arg(long, default_value = "")]
    note: String,
    /// Replace every changed function, edit none in place
    #[arg(long)]
    replace: bool,
    /// Number in the order of a product's bundles: none with a lower one is applied on top
    #[arg(long, value_name = "N", default_value_t = 0)]
    sequence: u64,
    /// Id of a bundle in whose place this one is put, in the same stop
    #[arg(long, value_name = "ID")]
    supersedes: Vec<String>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Print what this phase found, instead of the report
    #[arg(long, value_enum, value_name = "PHASE", conflicts_with = "json")]
    dump: Option<Phase>,
    /// Print how long the phases took
    #[arg(long)]
    time: bool,
}

impl From<ImageError> for Failure {
    fn from(e: ImageError) -> Failure {
        Failure::new(e.code, e.path.display()).detail(e.what)
    }
}

/// The builds of one `--old --new` or `--pair`.
struct Pair {
    old: PathBuf,
    new: PathBuf,
    old_debug: Option<PathBuf>,
    new_debug: Option<PathBuf>,
}

fn pairs(args: &Args) -> Result<Vec<Pair>, Failure> {
    let first = Pair {
        old: args.builds.old.clone(),
        new: args.builds.new.clone(),
        old_debug: args.builds.old_debug.clone(),
        new_debug: args.builds.new_debug.clone(),
    };
    let more = args.pair.iter().map(|text| match text.split_once('=') {
        Some((old, new)) => Ok(Pair { old: old.into(), new: new.into(), old_debug: None, new_debug: None }),
        None => Err(Failure::new(codes::USAGE, format!("--pair {text}")).detail("wanted OLD=NEW")),
    });
    std::iter::once(Ok(first)).chain(more).collect()
}

/// What the command line says about the bundle, in so far as a bundle can say it.
fn labels(args: &Args) -> Result<Labels, Failure> {
    let wrong = |option: &str, value: &str, why: &str| {
        let shown: String = value.chars().take(80).collect();
        Err(Failure::new(codes::USAGE, format!("{option} {}", shown.escape_debug())).detail(why))
    };
    for (option, id) in args.id.iter().map(|id| ("--id", id)).chain(args.supersedes.iter().map(|s| ("--supersedes", s)))
    {
        if !metadata::valid_id(id) {
            return wrong(option, id, "an id has 1 to 128 of the characters A-Z a-z 0-9 . _ + : -");
        }
    }
    let note = Some(&args.note).filter(|note| !note.is_empty()).map(|note| ("--note", note, true));
    for (option, text, lines) in args.cve.iter().map(|cve| ("--cve", cve, false)).chain(note) {
        if let Err(code) = metadata::valid_text(text, lines) {
            return wrong(
                option,
                text,
                &format!("{}; it may have 1 to {} bytes", codes::title(code), metadata::MAX_TEXT),
            );
        }
    }
    for (option, list) in [("--cve", &args.cve), ("--supersedes", &args.supersedes)] {
        if list.len() as u64 > metadata::MAX_LIST {
            return wrong(option, "", &format!("more than {}", metadata::MAX_LIST));
        }
    }
    Ok(Labels {
        id: args.id.clone(),
        cves: args.cve.clone(),
        note: args.note.clone(),
        sequence: args.sequence,
        supersedes: args.supersedes.clone(),
    })
}

/// Findings about what the command line asks for by name.
const ASKED_FOR: [u16; 3] = [codes::LEFT_OLD.0, codes::BUILD_STAMP.0, codes::VALUE_RESET.0];

/// `--accept` values.
struct Accepted(Vec<(Code, Option<String>)>);

impl Accepted {
    fn parse(args: &[String]) -> Result<Accepted, Failure> {
        let one = |text: &String| {
            let (code, symbol) = match text.split_once(':') {
                Some((code, symbol)) => (code, Some(symbol.to_owned())),
                None => (text.as_str(), None),
            };
            match Code::parse(code).filter(|&code| codes::find(code).is_some()) {
                Some(code) => Ok((code, symbol)),
                None => Err(Failure::new(codes::NO_SUCH_CODE, code)),
            }
        };
        args.iter().map(one).collect::<Result<_, _>>().map(Accepted)
    }

    fn covers(&self, finding: &Finding) -> bool {
        let symbol_fits = |s: &Option<String>| s.as_ref().is_none_or(|s| *s == finding.symbol);
        self.0.iter().any(|(code, symbol)| code.0 == finding.code && symbol_fits(symbol))
    }

    /// Whether the finding stands in the way.
    fn stops(&self, finding: &Finding) -> bool {
        match finding.severity {
            Severity::Refuse => true,
            Severity::Review if ASKED_FOR.contains(&finding.code) => false,
            Severity::Review => !self.covers(finding),
            Severity::Start | Severity::Note => false,
        }
    }
}

pub fn run(args: &Args) -> Outcome {
    let mut phases = Phases::start();
    let accepted = Accepted::parse(&args.accept)?;
    let stamps = args.texts.stamps()?;
    let labels = labels(args)?;
    let mut loaded = Vec::new();
    let builds = pairs(args)?;
    let debug = builds.iter().flat_map(|p| [p.old_debug.as_deref(), p.new_debug.as_deref()]).flatten();
    file::not_an_input(&args.output, builds.iter().flat_map(|p| [p.old.as_path(), &p.new]).chain(debug))?;
    for pair in builds {
        let old = Files { image: &pair.old, debug: pair.old_debug.as_deref() };
        let new = Files { image: &pair.new, debug: pair.new_debug.as_deref() };
        loaded.push(pipeline::load_both(Depth::Types, old, new, &args.debug_dir)?);
    }
    let mut known = BTreeSet::new();
    for (old, _) in &loaded {
        if !old.image.build_id.is_empty() && !known.insert(&old.image.build_id) {
            let named = format!("--pair {}", old.image.path.display());
            return Err(Failure::new(codes::USAGE, named).detail("that module is named twice"));
        }
    }
    phases.end("load and lift");
    let mut compared = Vec::new();
    for (old, new) in &mut loaded {
        compared.push(pipeline::compare(old, new, &stamps)?);
    }
    phases.end("compare");
    for name in &args.leave {
        let found: Vec<bool> = compared.iter_mut().map(|c| c.leave(name)).collect();
        if !found.contains(&true) {
            return Err(
                Failure::new(codes::USAGE, format!("--leave {name}")).detail("no changed function has that name")
            );
        }
    }
    for name in &args.reset_data {
        let found: Vec<bool> = compared.iter_mut().map(|c| c.reset(name)).collect();
        if !found.contains(&true) {
            return Err(Failure::new(codes::USAGE, format!("--reset-data {name}"))
                .detail("no variable of that name has another initial value of the same size"));
        }
    }
    let plans = compared.iter().map(|c| pipeline::plan(c, args.replace)).collect::<Result<Vec<_>, _>>()?;
    phases.end("check and link");
    let result = finish(args, &labels, &accepted, &compared, &plans)?;
    phases.end("emit");
    if args.time {
        phases.print();
    }
    if let Some(phase) = args.dump {
        for (compared, plan) in compared.iter().zip(&plans) {
            print(dump::dump(phase, compared, plan).as_bytes())?;
        }
    } else if args.json {
        print_json(&result.report)?;
    } else {
        print(text(&result.report).as_bytes())?;
    }
    Ok(result.exit)
}

struct Finished {
    report: Report,
    exit: ExitCode,
}

fn finish(
    args: &Args,
    labels: &Labels,
    accepted: &Accepted,
    compared: &[Compared<'_>],
    plans: &[Plan],
) -> Result<Finished, Failure> {
    let findings: BTreeSet<Finding> = plans.iter().flat_map(|p| p.findings.iter().cloned()).collect();
    let findings: Vec<Finding> = findings.into_iter().rev().collect();
    let stop = findings.iter().any(|f| accepted.stops(f));
    let start = plans.iter().any(|p| p.start_only);
    let mut report = Report {
        schema: "hpatch.build/1",
        result: "bundle",
        scope: Some(if start { "start" } else { "live" }),
        bundle: None,
        size: None,
        modules: compared.iter().zip(plans).map(|(c, p)| module_report(c, p)).collect(),
        findings: findings.iter().map(finding_report).collect(),
    };
    if stop {
        (report.result, report.scope) = ("refused", None);
        return Ok(Finished { report, exit: ExitCode::Refused });
    }
    if plans.iter().all(|p| p.set.is_empty()) {
        (report.result, report.scope) = ("nothing changed", None);
        return Ok(Finished { report, exit: ExitCode::NothingChanged });
    }
    let modules = compared
        .iter()
        .zip(plans)
        .filter(|(_, p)| !p.set.is_empty())
        .map(|(c, p)| {
            let payload = emit::payload(&p.patch)?;
            Ok(ModulePatch { old: c.old.image, new: c.new.image, patch: &p.patch, payload })
        })
        .collect::<Result<Vec<_>, emit::EmitError>>();
    let scope = if start { Scope::Start } else { Scope::Live };
    let bytes = modules
        .and_then(|modules| emit::bundle(modules, labels, scope, &findings, None))
        .map_err(|e| Failure::new(codes::READ_BACK, args.output.display()).detail(e))?;
    file::replace(&args.output, &bytes)?;
    report.bundle = Some(args.output.clone());
    report.size = Some(bytes.len());
    Ok(Finished { report, exit: ExitCode::Done })
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    result: &'static str,
    scope: Option<&'static str>,
    bundle: Option<PathBuf>,
    /// Bytes.
    size: Option<usize>,
    modules: Vec<ModuleReport>,
    findings: Vec<FindingReport>,
}

#[derive(Serialize)]
struct ModuleReport {
    old: PathBuf,
    new: PathBuf,
    /// Where the builds differ too widely for a fix.
    drift: Option<Drift>,
    /// Functions proven equal.
    same: usize,
    /// Functions that stay although line numbers in them differ.
    line_numbers: usize,
    replaced: Vec<FunctionReport>,
    /// Functions of which only operands change, where they are.
    edited_in_place: Vec<FunctionReport>,
    /// Functions that stay, and must not be active in the stop.
    idle: Vec<IdleReport>,
    new_functions: u32,
    /// Of the functions that are replaced or new.
    references: References,
    /// Data that are overwritten.
    edits: Vec<String>,
    /// Variables whose live value moves to a new place, and such that lose it.
    moved: BTreeSet<String>,
    reset: BTreeSet<String>,
}

#[derive(Serialize)]
struct FunctionReport {
    name: String,
    cause: &'static str,
    /// Addresses of the first differing instruction, as stated in the files.
    first_difference: Option<[String; 2]>,
    detail: String,
}

#[derive(Serialize)]
struct IdleReport {
    name: String,
    cause: &'static str,
}

#[derive(Serialize)]
pub(super) struct FindingReport {
    pub severity: Severity,
    code: String,
    title: &'static str,
    symbol: String,
    place: Option<String>,
    message: String,
    help: Option<String>,
}

fn module_report(compared: &Compared<'_>, plan: &Plan) -> ModuleReport {
    let function = |new: FuncId, cause: Cause| {
        let change = compared.changes.changed.iter().find(|c| c.new == new);
        FunctionReport {
            name: compared.new.lifted.functions[new.index()].name.clone(),
            cause: cause.word(),
            first_difference: change.and_then(|c| c.first).map(|(a, b)| [a.to_string(), b.to_string()]),
            detail: change.map(|c| c.detail.clone()).unwrap_or_default(),
        }
    };
    let idle = |f: &Idle| IdleReport {
        name: compared.old.lifted.functions[f.old.index()].name.clone(),
        cause: f.cause.word(),
    };
    ModuleReport {
        old: compared.old.image.path.clone(),
        new: compared.new.image.path.clone(),
        drift: Drift::measure(compared),
        same: compared.changes.same,
        line_numbers: compared.changes.changed.iter().filter(|c| c.cause == Cause::LineNumber).count(),
        replaced: plan.set.replaced().map(|(_, new, cause)| function(new, cause)).collect(),
        edited_in_place: plan.set.in_place.iter().map(|f| function(f.new, f.cause)).collect(),
        idle: plan.set.idle.iter().map(idle).collect(),
        new_functions: plan.patch.new_functions,
        references: plan.set.references,
        edits: plan.patch.edits.iter().filter(|e| !e.code).map(|e| e.name.clone()).collect(),
        moved: plan.patch.states.iter().filter(|s| s.moved).map(|s| s.name.clone()).collect(),
        reset: plan.patch.states.iter().filter(|s| !s.moved).map(|s| s.name.clone()).collect(),
    }
}

pub(super) fn finding_report(finding: &Finding) -> FindingReport {
    let code = Code(finding.code);
    FindingReport {
        severity: finding.severity,
        code: code.to_string(),
        title: codes::title(code),
        symbol: finding.symbol.clone(),
        place: finding.place.clone(),
        message: finding.message.clone(),
        help: finding.help.clone(),
    }
}

/// A finding for people.
pub(super) fn finding_text(f: &FindingReport, out: &mut String) {
    let word = match f.severity {
        Severity::Refuse => "error",
        Severity::Review => "review",
        Severity::Start => "start",
        Severity::Note => "note",
    };
    out.push_str(&format!("{word}[{}]: {}\n", f.code, f.title));
    if let Some(place) = &f.place {
        out.push_str(&format!("  --> {place}\n"));
    }
    out.push_str(&format!("note: {}\n", f.message));
    if let Some(help) = &f.help {
        out.push_str(&format!("help: {help}\n"));
    }
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    for drift in report.modules.iter().filter_map(|m| m.drift.as_ref()) {
        out.push_str(&format!("{drift}\n"));
    }
    for f in &report.findings {
        finding_text(f, &mut out);
    }
    for m in &report.modules {
        let name = |p: &Path| p.display().to_string();
        out.push_str(&format!("{} -> {}\n", name(&m.old), name(&m.new)));
        out.push_str(&format!("  {} functions proven equal\n", m.same));
        if m.line_numbers > 0 {
            out.push_str(&format!("  {} functions stay that differ in line numbers only\n", m.line_numbers));
        }
        for f in &m.replaced {
            out.push_str(&format!("  replaces {} ({}) {}\n", f.name, f.cause, f.detail));
        }
        for f in &m.edited_in_place {
            out.push_str(&format!("  edits {} in place ({}) {}\n", f.name, f.cause, f.detail));
        }
        for f in &m.idle {
            out.push_str(&format!("  waits until {} is idle ({})\n", f.name, f.cause));
        }
        if m.new_functions > 0 {
            out.push_str(&format!("  brings {} new functions\n", m.new_functions));
        }
        if m.references != References::default() {
            out.push_str(&format!(
                "  {} references of carried code proven, {} refused\n",
                m.references.proven, m.references.refused
            ));
        }
        for edit in &m.edits {
            out.push_str(&format!("  overwrites {edit}\n"));
        }
        for name in &m.moved {
            out.push_str(&format!("  moves {name} with its value\n"));
        }
        for name in &m.reset {
            out.push_str(&format!("  resets {name}\n"));
        }
    }
    match (&report.bundle, report.size, report.scope) {
        (Some(bundle), Some(size), Some(scope)) => {
            out.push_str(&format!("{}: {size} bytes, scope {scope}, unsigned\n", bundle.display()));
        }
        _ => out.push_str(&format!("{}\n", report.result)),
    }
    out
}
