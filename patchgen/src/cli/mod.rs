//! The command line. One file for each verb: its arguments and how its result is printed; the work is in the library.

mod attach;
mod build;
mod check_bundle;
mod diff;
mod explain;
mod extract;
mod inspect;
mod manifest;
mod rewrite;
mod sign;
mod verify;

use crate::bundle::Failure;
use crate::compare::Stamps;
use clap::{Parser, Subcommand};
use patchfmt::ExitCode;
use patchfmt::codes;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Compares two linked ELF builds and emits a hot-patch bundle; signs, verifies and shows bundles.
#[derive(Debug, Parser)]
#[command(name = "patchgen", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compare two builds and write a bundle, or say why not
    Build(Box<build::Args>),
    /// Check a bundle independently: what the patched process runs is the new build
    CheckBundle(check_bundle::Args),
    /// Compare two builds: which functions and data changed, and how
    Diff(diff::Args),
    /// Show what a bundle says and holds. Says nothing about trust: see `verify`
    Inspect(inspect::Args),
    /// Take a bundle apart: payload objects, manifest, metadata, signatures
    Extract(extract::Args),
    /// Print the exact bytes to sign, for `ssh-keygen -Y sign -n hpatch-bundle-v1`
    Manifest(manifest::Args),
    /// Sign a bundle with an OpenSSH key file, or through ssh-agent
    Sign(sign::Args),
    /// Attach a signature that `ssh-keygen -Y sign` made
    Attach(attach::Args),
    /// Check a bundle's signatures against a directory of trusted keys
    Verify(verify::Args),
    /// Put the patch of a bundle into the ELF file on disk
    Rewrite(rewrite::Args),
    /// Explain a diagnostic code
    Explain(explain::Args),
}

/// The two builds that a verb is about.
#[derive(Debug, clap::Args)]
struct Builds {
    /// The build that runs
    #[arg(long, value_name = "ELF")]
    old: PathBuf,
    /// The build that it shall become
    #[arg(long, value_name = "ELF")]
    new: PathBuf,
    /// Separate debug file of the old build, where it isn't found by build-id
    #[arg(long, value_name = "FILE")]
    old_debug: Option<PathBuf>,
    /// Separate debug file of the new build
    #[arg(long, value_name = "FILE")]
    new_debug: Option<PathBuf>,
}

/// Texts that change with every build.
#[derive(Debug, clap::Args)]
struct IgnoredText {
    /// Take texts as equal that differ only in what this regular expression matches, such as a date or a path of the build; the
    /// signed manifest says so
    #[arg(long, value_name = "REGEX")]
    ignore_text: Vec<String>,
}

impl IgnoredText {
    fn stamps(&self) -> Result<Stamps, Failure> {
        Stamps::new(&self.ignore_text).map_err(|e| Failure::new(codes::USAGE, "--ignore-text").detail(e))
    }
}

/// When each phase was over.
struct Phases {
    started: Instant,
    ends: Vec<(&'static str, Duration)>,
}

impl Phases {
    fn start() -> Phases {
        Phases { started: Instant::now(), ends: Vec::new() }
    }

    fn end(&mut self, phase: &'static str) {
        self.ends.push((phase, self.started.elapsed()));
    }

    /// To standard error: the time from the start to the end of each phase.
    fn print(&self) {
        for (phase, at) in &self.ends {
            eprintln!("{:>9.3} ms  {phase}", at.as_secs_f64() * 1e3);
        }
    }
}

/// What a verb ends with.
type Outcome = Result<ExitCode, Failure>;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let (name, json, outcome) = match cli.verb {
        Verb::Build(a) => ("build", a.json, build::run(&a)),
        Verb::CheckBundle(a) => ("check-bundle", a.json, check_bundle::run(&a)),
        Verb::Diff(a) => ("diff", a.json, diff::run(&a)),
        Verb::Inspect(a) => ("inspect", a.json, inspect::run(&a)),
        Verb::Extract(a) => ("extract", a.json, extract::run(&a)),
        Verb::Manifest(a) => ("manifest", false, manifest::run(&a)),
        Verb::Sign(a) => ("sign", a.json, sign::run(&a)),
        Verb::Attach(a) => ("attach", a.json, attach::run(&a)),
        Verb::Verify(a) => ("verify", a.json, verify::run(&a)),
        Verb::Rewrite(a) => ("rewrite", a.json, rewrite::run(&a)),
        Verb::Explain(a) => ("explain", a.json, explain::run(&a)),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        fail(name, json, &failure);
        failure.code.exit()
    });
    std::process::ExitCode::from(exit as u8)
}

/// A failure as JSON: `{"schema":"hpatch.<verb>/1","error":{...}}`.
#[derive(Serialize)]
struct FailureReport<'a> {
    schema: String,
    error: FailureBody<'a>,
}

#[derive(Serialize)]
struct FailureBody<'a> {
    code: String,
    title: &'static str,
    subject: &'a str,
    detail: Option<&'a str>,
    help: &'a str,
}

fn fail(verb: &str, json: bool, failure: &Failure) {
    let entry = codes::find(failure.code);
    let help = failure.help.as_deref().or(entry.map(|e| e.act)).unwrap_or_default();
    let title = codes::title(failure.code);
    if json {
        let error = FailureBody {
            code: failure.code.to_string(),
            title,
            subject: &failure.subject,
            detail: failure.detail.as_deref(),
            help,
        };
        // Standard output gone, too: there is nobody left to tell.
        let _ = print_json(&FailureReport { schema: format!("hpatch.{verb}/1"), error });
        return;
    }
    let mut text = format!("error[{}]: {title}\n  --> {}\n", failure.code, failure.subject);
    if let Some(detail) = &failure.detail {
        text.push_str(&format!("note: {detail}\n"));
    }
    text.push_str(&format!("help: {help}\n"));
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints to standard output; a reader that went away (`| head`) isn't an error.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::io(codes::WRITE_FAILED, "standard output", &e))
        }
        _ => Ok(()),
    }
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(codes::INTERNAL, "JSON").detail(e))?;
    text.push('\n');
    print(text.as_bytes())
}
