//! `patchgen attach`

use super::{Outcome, sign};
use crate::bundle::Failure;
use crate::bundle::file;
use crate::bundle::sign::{attach, last_signer, read_signature};
use patchfmt::codes;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle, which is replaced as a whole
    bundle: PathBuf,
    /// Output of `ssh-keygen -Y sign -n hpatch-bundle-v1` over what `patchgen manifest` prints
    signature: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let bytes = file::read_bundle(&args.bundle)?;
    let blob = read_signature(&args.signature)?;
    let name = args.bundle.to_string_lossy();
    let signed = attach(&name, &bytes, &blob)?;
    let key = last_signer(&signed).ok_or_else(|| Failure::new(codes::SELF_CHECK, &name))?;
    file::replace(&args.bundle, &signed)?;
    sign::report("hpatch.attach/1", &args.bundle, &key, args.json)
}
