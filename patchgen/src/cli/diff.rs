//! `patchgen diff`

use super::{Builds, Outcome, print, print_json};
use crate::compare::{Cause, DataDiff};
use crate::pipeline::{self, Compared};
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
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    /// Functions proven equal.
    same: usize,
    changed: Vec<Changed>,
    new_functions: Vec<String>,
    gone_functions: Vec<String>,
    data: Vec<ChangedData>,
    new_data: Vec<String>,
    gone_data: Vec<String>,
    /// What could not be paired for sure.
    ambiguous: Vec<Ambiguous>,
}

#[derive(Serialize)]
struct Changed {
    name: String,
    unit: Option<String>,
    cause: String,
    /// Address of the first instruction that differs, in both builds.
    old_address: Option<String>,
    new_address: Option<String>,
    detail: String,
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

fn cause(c: Cause) -> &'static str {
    match c {
        Cause::Code => "code",
        Cause::Literal => "literal",
        Cause::LineNumber => "line-number",
        Cause::Displacement => "displacement",
        Cause::Retarget => "retarget",
        Cause::Unwind => "unwind",
        Cause::Reader => "reader",
        Cause::Holder => "holder",
        Cause::Unproven => "unproven",
    }
}

fn report(c: &Compared) -> Report {
    let (old, new) = (&c.old.lifted, &c.new.lifted);
    let or_address =
        |name: &str, at: crate::addr::Svma| if name.is_empty() { format!("at {at}") } else { name.to_owned() };
    let func = |l: &crate::lift::Lifted, id: crate::addr::FuncId| {
        let f = &l.functions[id.index()];
        or_address(&f.name, f.parts[0].start)
    };
    let data = |l: &crate::lift::Lifted, id: crate::addr::DataId| {
        let d = &l.data[id.index()];
        or_address(&d.name, d.range.start)
    };
    Report {
        schema: "hpatch.diff/1",
        same: c.changes.same,
        changed: c
            .changes
            .changed
            .iter()
            .map(|f| Changed {
                name: func(new, f.new),
                unit: new.functions[f.new.index()].unit.as_deref().map(str::to_owned),
                cause: cause(f.cause).to_owned(),
                old_address: f.first.map(|p| p.0.to_string()),
                new_address: f.first.map(|p| p.1.to_string()),
                detail: f.detail.clone(),
            })
            .collect(),
        new_functions: c.changes.new_funcs.iter().map(|&f| func(new, f)).collect(),
        gone_functions: c.changes.gone_funcs.iter().map(|&f| func(old, f)).collect(),
        data: c
            .changes
            .data_changed
            .iter()
            .map(|d| ChangedData {
                name: data(new, d.new),
                what: match d.diff {
                    DataDiff::Content => "initial value".to_owned(),
                    DataDiff::Size { old, new } => format!("size {old} → {new} bytes"),
                    DataDiff::Section => "section".to_owned(),
                },
            })
            .collect(),
        new_data: c.changes.new_data.iter().map(|&d| data(new, d)).collect(),
        gone_data: c.changes.gone_data.iter().map(|&d| data(old, d)).collect(),
        ambiguous: c
            .pairs
            .ambiguous
            .iter()
            .map(|(code, name)| Ambiguous { code: format!("HP{code:04}"), name: name.clone() })
            .collect(),
    }
}

fn text(r: &Report) -> String {
    let mut out = String::new();
    let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
    for f in &r.changed {
        *causes.entry(&f.cause).or_default() += 1;
        let at = f.new_address.as_deref().unwrap_or("-");
        let _ = writeln!(out, "{:<13} {}\n              {at}: {}", f.cause, f.name, f.detail);
    }
    let lists = [
        ("new", &r.new_functions),
        ("gone", &r.gone_functions),
        ("new data", &r.new_data),
        ("gone data", &r.gone_data),
    ];
    for (what, names) in lists {
        for name in names {
            let _ = writeln!(out, "{what:<13} {name}");
        }
    }
    for d in &r.data {
        let _ = writeln!(out, "{:<13} {}: {}", "data", d.name, d.what);
    }
    for a in &r.ambiguous {
        let _ = writeln!(out, "{:<13} {} ({})", "ambiguous", a.name, a.code);
    }
    let causes: Vec<String> = causes.iter().map(|(c, n)| format!("{n} {c}")).collect();
    let _ = writeln!(
        out,
        "{} functions the same, {} changed ({}), {} new, {} gone; data: {} changed, {} new, {} gone",
        r.same,
        r.changed.len(),
        if causes.is_empty() { "-".to_owned() } else { causes.join(", ") },
        r.new_functions.len(),
        r.gone_functions.len(),
        r.data.len(),
        r.new_data.len(),
        r.gone_data.len()
    );
    out
}

pub fn run(args: &Args) -> Outcome {
    let (old, new) = rayon::join(
        || pipeline::load(&args.builds.old, args.builds.old_debug.as_deref(), &args.debug_dir),
        || pipeline::load(&args.builds.new, args.builds.new_debug.as_deref(), &args.debug_dir),
    );
    let compared = pipeline::compare(old?, new?)?;
    let report = report(&compared);
    if args.json {
        print_json(&report)?;
    } else {
        print(text(&report).as_bytes())?;
    }
    Ok(if compared.changes.is_empty() { ExitCode::NothingChanged } else { ExitCode::Done })
}
