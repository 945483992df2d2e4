//! `patchgen rewrite`

use super::{Outcome, print, print_json};
use crate::bundle::trust::TrustStore;
use crate::bundle::{Failure, file};
use crate::rewrite::{self, Rewritten, Summary};
use patchfmt::{Bundle, ExitCode, Policy};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// As large as an ELF file may be here.
const MAX_IMAGE: usize = 2 << 30;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that the bundle was built for
    #[arg(long, value_name = "ELF")]
    old: PathBuf,
    /// The bundle
    bundle: PathBuf,
    /// Where the patched file goes; it gets the old one's permissions
    #[arg(short, long, value_name = "ELF")]
    output: PathBuf,
    /// Only with a signature by a key of this directory (`*.pub`)
    #[arg(long, value_name = "DIR")]
    trust: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    bundle: &'a Path,
    output: &'a Path,
    /// False: the file had the patch already and was copied.
    rewritten: bool,
    summary: Option<Summary>,
}

pub fn run(args: &Args) -> Outcome {
    file::not_an_input(&args.output, [args.old.as_path(), &args.bundle])?;
    let name = args.bundle.to_string_lossy();
    let bytes = file::read_bundle(&args.bundle)?;
    if let Some(trust) = &args.trust {
        TrustStore::read(trust)?.verify(&name, &bytes, Policy::default())?;
    }
    let contents = Bundle::parse(&bytes).and_then(|b| b.unverified()).map_err(|e| Failure::format(&name, e))?;
    let old = file::read(&args.old, MAX_IMAGE)?;
    let model = file::metadata(&args.old)?;
    let done =
        rewrite::rewrite(&old, &contents).map_err(|r| Failure::new(r.code, args.old.display()).detail(r.detail))?;
    let (bytes, summary) = match done {
        Rewritten::Unchanged => (old, None),
        Rewritten::Written { bytes, summary } => (bytes, Some(summary)),
    };
    file::replace_like(&args.output, &bytes, &model)?;
    if args.json {
        let (bundle, output) = (args.bundle.as_path(), args.output.as_path());
        let rewritten = summary.is_some();
        print_json(&Report { schema: "hpatch.rewrite/1", bundle, output, rewritten, summary })?;
        return Ok(ExitCode::Done);
    }
    let text = match summary {
        None => format!("{}: the patch of this bundle is in already\n", args.old.display()),
        Some(s) => format!(
            "{}: {} {} replaced, {} {} edited; {} bytes larger ({} of the payload, {} of copied tables)\n",
            args.output.display(),
            s.detours,
            if s.detours == 1 { "function" } else { "functions" },
            s.edits,
            if s.edits == 1 { "place" } else { "places" },
            s.growth,
            s.payload,
            s.tables
        ),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::Done)
}
