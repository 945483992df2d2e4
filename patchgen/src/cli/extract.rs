//! `patchgen extract`

use super::{Outcome, print, print_json};
use crate::bundle::{extract, file};
use patchfmt::ExitCode;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// Directory for the parts; files that are there already are never overwritten
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    files: Vec<PathBuf>,
}

pub fn run(args: &Args) -> Outcome {
    let bytes = file::read_bundle(&args.bundle)?;
    let files = extract::extract(&args.bundle.to_string_lossy(), &bytes, &args.output)?;
    if args.json {
        print_json(&Report { schema: "hpatch.extract/1", files })?;
    } else {
        let lines: String = files.iter().map(|p| format!("{}\n", p.display())).collect();
        print(lines.as_bytes())?;
    }
    Ok(ExitCode::Done)
}
