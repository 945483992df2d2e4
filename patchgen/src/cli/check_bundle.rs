//! `patchgen check-bundle`

use super::{Builds, Outcome, print, print_json};
use crate::bundle::{Failure, file};
use crate::verify_bundle::{self, Inputs, Report};
use patchfmt::{Bundle, ExitCode, codes};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// As large as an ELF file may be here.
const MAX_IMAGE: usize = 2 << 30;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    builds: Builds,
    /// The bundle
    bundle: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    schema: &'static str,
    bundle: &'a Path,
    equal: bool,
    #[serde(flatten)]
    report: &'a Report,
}

pub fn run(args: &Args) -> Outcome {
    let read = |path: &PathBuf| file::read(path, MAX_IMAGE);
    let (old, new) = (read(&args.builds.old)?, read(&args.builds.new)?);
    let old_debug = args.builds.old_debug.as_ref().map(read).transpose()?;
    let new_debug = args.builds.new_debug.as_ref().map(read).transpose()?;
    let bytes = file::read_bundle(&args.bundle)?;
    let Claims { payload, left, stamps } = claims(&args.bundle, &bytes, &old)?;
    let inputs = Inputs {
        old: &old,
        new: &new,
        old_debug: old_debug.as_deref(),
        new_debug: new_debug.as_deref(),
        payload: &payload,
        left: &left,
        stamps: &stamps,
    };
    let report = verify_bundle::check(&inputs)
        .map_err(|what| Failure::new(codes::MALFORMED_ELF, args.bundle.display()).detail(what))?;
    let equal = report.disagreements.is_empty();
    if args.json {
        print_json(&Output { schema: "hpatch.check-bundle/1", bundle: &args.bundle, equal, report: &report })?;
    } else {
        print(report.text().as_bytes())?;
    }
    Ok(if equal { ExitCode::Done } else { ExitCode::Refused })
}

/// What a bundle holds for one module, and what its author left out.
struct Claims {
    payload: Vec<u8>,
    /// Functions that stay old.
    left: Vec<String>,
    /// Patterns of what texts may differ in.
    stamps: Vec<String>,
}

/// Of the module that is the old image.
fn claims(path: &Path, bytes: &[u8], old: &[u8]) -> Result<Claims, Failure> {
    let refused = |e| Failure::format(path.display(), e);
    let contents = Bundle::parse(bytes).and_then(|b| b.unverified()).map_err(refused)?;
    let id = verify_bundle::build_id(old);
    let module = contents.metadata().modules.iter().find(|m| id.as_deref() == Some(m.old_build_id));
    let Some(module) = module else {
        return Err(
            Failure::new(codes::MALFORMED_ELF, path.display()).detail("no module of the bundle is the old image")
        );
    };
    let accepted = |code| {
        let of = contents.metadata().accepted.iter().filter(move |f| f.code == code);
        of.map(|f| f.symbol.to_owned()).collect()
    };
    Ok(Claims {
        payload: contents.payload(&module).and_then(|s| s.decode()).map_err(refused)?.into_owned(),
        left: accepted(codes::LEFT_OLD),
        stamps: accepted(codes::BUILD_STAMP),
    })
}
