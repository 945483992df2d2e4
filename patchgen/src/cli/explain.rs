//! `patchgen explain`

use super::{Outcome, print, print_json};
use crate::bundle::Failure;
use patchfmt::ExitCode;
use patchfmt::codes::{self, Code, Entry};
use serde::Serialize;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A code as it's printed, for instance HP0512
    #[arg(required_unless_present = "list")]
    code: Option<String>,
    /// List all codes with their titles
    #[arg(long)]
    list: bool,
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
    let found: Vec<&Entry> = match &args.code {
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
