//! `patchgen sign`

use super::{Outcome, print, print_json};
use crate::bundle::file;
use crate::bundle::sign::Signer;
use patchfmt::{ExitCode, PublicKey};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle, which is replaced as a whole
    bundle: PathBuf,
    /// OpenSSH private key without passphrase, or a public key whose private half ssh-agent holds
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let bytes = file::read_bundle(&args.bundle)?;
    let signer = Signer::read(&args.key)?;
    let signed = signer.sign(&args.bundle.to_string_lossy(), &bytes)?;
    file::replace(&args.bundle, &signed)?;
    report("hpatch.sign/1", &args.bundle, &signer.public(), args.json)
}

#[derive(Serialize)]
struct Signed<'a> {
    schema: &'a str,
    bundle: &'a Path,
    key_type: &'a str,
    fingerprint: String,
}

/// Says whose signature was added.
pub(super) fn report(schema: &str, bundle: &Path, key: &PublicKey, json: bool) -> Outcome {
    let fingerprint = key.fingerprint().to_string();
    if json {
        print_json(&Signed { schema, bundle, key_type: key.kind(), fingerprint })?;
    } else {
        print(format!("{}: signed by {} {fingerprint}\n", bundle.display(), key.kind()).as_bytes())?;
    }
    Ok(ExitCode::Done)
}
