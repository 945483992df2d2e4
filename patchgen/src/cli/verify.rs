//! `patchgen verify`

use super::{Outcome, print, print_json};
use crate::bundle::file;
use crate::bundle::trust::TrustStore;
use patchfmt::{ExitCode, Policy, codes};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// Directory with the trusted OpenSSH public keys, `*.pub`
    #[arg(long, value_name = "DIR")]
    trust: PathBuf,
    /// How many different trusted keys must have signed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    threshold: u8,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    bundle: &'a Path,
    verified: bool,
    threshold: u8,
    trusted_keys: usize,
    signers: Vec<SignerReport<'a>>,
}

#[derive(Serialize)]
struct SignerReport<'a> {
    key_type: &'static str,
    fingerprint: String,
    /// File and line in the trust directory.
    place: &'a str,
}

pub fn run(args: &Args) -> Outcome {
    let store = TrustStore::read(&args.trust)?;
    for (place, code) in &store.unusable {
        eprintln!("note: {place} is left out: {}", codes::title(*code));
    }
    let bytes = file::read_bundle(&args.bundle)?;
    let policy = Policy { threshold: args.threshold };
    let found = store.verify(&args.bundle.to_string_lossy(), &bytes, policy)?;
    let signers: Vec<_> = found
        .iter()
        .map(|s| SignerReport { key_type: s.key.kind(), fingerprint: s.key.fingerprint().to_string(), place: &s.place })
        .collect();
    if args.json {
        print_json(&Report {
            schema: "hpatch.verify/1",
            bundle: &args.bundle,
            verified: true,
            threshold: args.threshold,
            trusted_keys: store.keys.len(),
            signers,
        })?;
        return Ok(ExitCode::Done);
    }
    let mut text = format!("{}: good, threshold {} of {}\n", args.bundle.display(), args.threshold, store.keys.len());
    for s in &signers {
        text.push_str(&format!("  signed by {} {} ({})\n", s.key_type, s.fingerprint, s.place));
    }
    print(text.as_bytes())?;
    Ok(ExitCode::Done)
}
