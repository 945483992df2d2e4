//! `patchgen explain`: a code, or one function of two builds.

use super::diff::load;
use super::{Builds, Outcome, print, print_json};
use crate::bundle::Failure;
use crate::compare::Stamps;
use crate::pipeline::{self, Depth};
use crate::report::function::{self as explained, Explained};
use patchfmt::ExitCode;
use patchfmt::codes::{self, Code, Entry};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A code as it's printed, for instance HP0512; with --old and --new the name of a function
    #[arg(value_name = "CODE|FUNCTION", required_unless_present = "list")]
    subject: Option<String>,
    /// List all codes with their titles
    #[arg(long)]
    list: bool,
    /// The build that runs
    #[arg(long, value_name = "ELF", requires = "new", requires = "subject")]
    old: Option<PathBuf>,
    /// The build that it shall become
    #[arg(long, value_name = "ELF", requires = "old")]
    new: Option<PathBuf>,
    /// Separate debug file of the old build, where it isn't found by build-id
    #[arg(long, value_name = "FILE", requires = "old")]
    old_debug: Option<PathBuf>,
    /// Separate debug file of the new build
    #[arg(long, value_name = "FILE", requires = "new")]
    new_debug: Option<PathBuf>,
    /// Directory with separate debug files, as /usr/lib/debug is
    #[arg(long, value_name = "DIR", requires = "old")]
    debug_dir: Vec<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    codes: Vec<EntryReport<'a>>,
}

#[derive(Serialize)]
struct EntryReport<'a> {
    code: String,
    severity: &'a str,
    title: &'a str,
    seen: &'a str,
    why: &'a str,
    act: &'a str,
    example: Option<&'a str>,
}

pub fn run(args: &Args) -> Outcome {
    if let (Some(name), Some(old), Some(new)) = (&args.subject, &args.old, &args.new) {
        let (old_debug, new_debug) = (args.old_debug.clone(), args.new_debug.clone());
        let builds = Builds { old: old.clone(), new: new.clone(), old_debug, new_debug };
        return function(name, &builds, &args.debug_dir, args.json);
    }
    let found: Vec<&Entry> = match &args.subject {
        Some(text) => {
            vec![Code::parse(text).and_then(codes::find).ok_or_else(|| Failure::new(codes::NO_SUCH_CODE, text))?]
        }
        None => codes::all().collect(),
    };
    if args.json {
        print_json(&Report { schema: "hpatch.explain/1", codes: found.into_iter().map(report).collect() })?;
    } else if args.list {
        let lines: String = found.iter().map(|e| format!("{} {:6} {}\n", e.code, e.severity.word(), e.title)).collect();
        print(lines.as_bytes())?;
    } else {
        let texts: String = found.into_iter().map(text).collect();
        print(texts.as_bytes())?;
    }
    Ok(ExitCode::Done)
}

fn function(name: &str, builds: &Builds, debug_dir: &[PathBuf], json: bool) -> Outcome {
    let (old, mut new) = load(builds, debug_dir, Depth::Types)?;
    let compared = pipeline::compare(&old, &mut new, &Stamps::default())?;
    let plan = pipeline::plan(&compared, false)?;
    let found = explained::find(&compared, name);
    if found.is_empty() {
        return Err(Failure::new(codes::USAGE, name).detail("no function of that name in either build"));
    }
    for pair in found {
        let explained = explained::explain(&compared, &plan, pair)?;
        if json {
            print_json(&explained)?;
        } else {
            print(function_text(&explained).as_bytes())?;
        }
    }
    Ok(ExitCode::Done)
}

fn function_text(e: &Explained) -> String {
    let mut out = format!("{}\n", e.name);
    for (which, build) in [("Old", &e.old), ("New", &e.new)] {
        let Some(b) = build else {
            block(which, &["not there".to_owned()], &mut out);
            continue;
        };
        let parts: Vec<String> = b.parts.iter().map(|[from, to]| format!("{from}..{to}")).collect();
        let unit = b.unit.as_ref().map(|u| format!(" ({u})")).unwrap_or_default();
        let mut lines = vec![
            format!("{}{unit}", b.names.join(", ")),
            format!("{}: {} bytes, {} instructions", parts.join(" "), b.size, b.instructions),
        ];
        if b.jump_tables > 0 {
            lines.push(format!("{} jump table{}", b.jump_tables, if b.jump_tables == 1 { "" } else { "s" }));
        }
        lines.extend(b.unprovable.iter().cloned());
        block(which, &lines, &mut out);
    }
    let one = |text: &Option<&str>| text.map(str::to_owned).into_iter().collect::<Vec<_>>();
    block("Paired by", &one(&e.paired), &mut out);
    let note = e.note.as_ref().map(|n| format!(": {n}")).unwrap_or_default();
    block("Changed", &e.cause.map(|c| format!("{c}{note}")).into_iter().collect::<Vec<_>>(), &mut out);
    block("In a patch", std::slice::from_ref(&e.fate), &mut out);
    block("Types", &e.types, &mut out);
    block("Findings", &e.findings, &mut out);
    for hunk in &e.differences {
        let line = |l: &Option<String>| l.clone().unwrap_or_else(|| "-".to_owned());
        out.push_str(&format!("\n  {:<50}   {}\n", line(&hunk.old_line), line(&hunk.new_line)));
        for row in &hunk.rows {
            let shown = |t: &Option<String>| t.clone().unwrap_or_default();
            let mark = match (row.differs, &row.old, &row.new) {
                (false, _, _) => ' ',
                (_, _, None) => '<',
                (_, None, _) => '>',
                _ => '|',
            };
            out.push_str(format!("  {:<50} {mark} {}", shown(&row.old), shown(&row.new)).trim_end());
            out.push('\n');
        }
    }
    if !e.references.is_empty() {
        out.push_str("\n  References of the new code\n");
    }
    for r in &e.references {
        let bound = r.bound.as_ref().map(|b| format!(" = {b}")).unwrap_or_default();
        out.push_str(&format!("  {} {}{bound}\n", r.at, r.to));
    }
    out
}

fn report(e: &Entry) -> EntryReport<'_> {
    EntryReport {
        code: e.code.to_string(),
        severity: e.severity.word(),
        title: e.title,
        seen: e.seen,
        why: e.why,
        act: e.act,
        example: Some(e.example).filter(|x| !x.is_empty()),
    }
}

fn text(e: &Entry) -> String {
    let mut out = format!("{} ({}): {}\n\n", e.code, e.severity.word(), e.title);
    block("Seen", &wrapped(e.seen), &mut out);
    block("Example", &e.example.lines().map(str::to_owned).collect::<Vec<_>>(), &mut out);
    block("Why", &wrapped(e.why), &mut out);
    block("What to do", &wrapped(e.act), &mut out);
    out
}

fn block(label: &str, lines: &[String], out: &mut String) {
    for (n, line) in lines.iter().enumerate() {
        out.push_str(&format!("  {:11} {line}\n", if n == 0 { label } else { "" }));
    }
}

/// In lines that fit a terminal of 100 columns beside the label.
fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 86;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|l| l.is_empty() || l.len() + 1 + word.len() <= WIDTH);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
