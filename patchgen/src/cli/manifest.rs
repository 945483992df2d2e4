//! `patchgen manifest`

use super::{Outcome, print};
use crate::bundle::{file, manifest};
use patchfmt::ExitCode;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
}

pub fn run(args: &Args) -> Outcome {
    let bytes = file::read_bundle(&args.bundle)?;
    print(manifest(&args.bundle.to_string_lossy(), &bytes)?)?;
    Ok(ExitCode::Done)
}
