//! Who may patch: signatures, keys, builds.

use super::{Case, Pair};
use crate::bundle::{self, Signer, TOOL_LIMIT, patchgen};
use crate::process::{run, run_ok};
use crate::program::Config;
use crate::snapshot::Snapshot;
use crate::target::{self, Launch, Target};
use crate::{Result, check, fail};
use std::path::Path;
use std::process::Command;

pub(super) const CASES: &[Case] = &[
    Case { name: "unsigned bundle", hazards: "B1", run: unsigned },
    Case { name: "unknown key", hazards: "B2", run: unknown_key },
    Case { name: "tampered bundle", hazards: "B1", run: tampered },
    Case { name: "truncated bundle", hazards: "B1,B6", run: truncated },
    Case { name: "signature by ssh-keygen", hazards: "B2", run: ssh_keygen },
    Case { name: "signature for another purpose", hazards: "B2", run: other_namespace },
    Case { name: "P-256 key", hazards: "B2", run: p256 },
    Case { name: "another build", hazards: "I4", run: another_build },
];

fn refused(pair: &Pair, bundle: &Path, trust: &Path, code: i32) -> Result<()> {
    let mut target = Target::start(&pair.builds.old.program, &Launch::trusting(trust.to_path_buf()))?;
    let before = Snapshot::take(target.pid())?;
    target::apply(target.pid(), bundle, 2, trust)?.expect(code)?;
    if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
        fail!("a refused bundle changed the process: {difference}");
    }
    let answer = target.ask("value")?;
    check!(answer == "2", "a refused bundle took effect: {answer}");
    target.finish()
}

fn verify(bundle: &Path, trust: &Path) -> Result<Option<i32>> {
    Ok(run(patchgen()?.arg("verify").arg(bundle).arg("--trust").arg(trust), TOOL_LIMIT)?.code())
}

fn unsigned() -> Result<()> {
    let pair = Pair::unsigned("counter", "unsigned", &Config::new(&[]))?;
    let trust = Signer::shared()?.trust();
    check!(verify(&pair.bundle, &trust)? == Some(5), "patchgen verify accepts an unsigned bundle");
    refused(&pair, &pair.bundle, &trust, 5)
}

fn unknown_key() -> Result<()> {
    let pair = Pair::make("counter", "unknown-key")?;
    let stranger = Signer::new("ed25519")?;
    check!(verify(&pair.bundle, &stranger.trust())? == Some(5), "patchgen verify accepts an unknown key");
    refused(&pair, &pair.bundle, &stranger.trust(), 5)
}

/// Every byte of a signed bundle flipped in turn: `patchgen verify` accepts none; some are tried on a process.
fn tampered() -> Result<()> {
    let pair = Pair::make("counter", "tampered")?;
    let trust = Signer::shared()?.trust();
    let bytes = std::fs::read(&pair.bundle)?;
    check!(verify(&pair.bundle, &trust)? == Some(0), "patchgen verify refuses a good bundle");
    let bad = pair.builds.folder.join("tampered.hpatch");
    let step = (bytes.len() / 160).max(1);
    for at in (0..bytes.len()).step_by(step) {
        let mut copy = bytes.clone();
        copy[at] ^= 1 << (at % 8);
        std::fs::write(&bad, &copy)?;
        let code = verify(&bad, &trust)?;
        check!(matches!(code, Some(5 | 6)), "byte {at} flipped: patchgen verify ends with {code:?}");
        if at % (step * 40) == 0 {
            let mut target = pair.start()?;
            let output = target.apply_within(&bad, 2)?;
            check!(matches!(output.code(), Some(5 | 6)), "byte {at} flipped: {}", output.describe());
            check!(target.ask("value")? == "2", "a tampered bundle took effect");
        }
    }
    Ok(())
}

fn truncated() -> Result<()> {
    let pair = Pair::make("counter", "truncated")?;
    let trust = Signer::shared()?.trust();
    let bytes = std::fs::read(&pair.bundle)?;
    let bad = pair.builds.folder.join("truncated.hpatch");
    // docs/format.md: where the signature area begins. Cut there, it is a whole bundle without signatures.
    let payload_end = bytes.get(28..32).and_then(|field| field.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
    for length in (0..bytes.len()).step_by((bytes.len() / 60).max(1)) {
        std::fs::write(&bad, &bytes[..length])?;
        let code = verify(&bad, &trust)?;
        check!(matches!(code, Some(5 | 6)), "cut at {length}: patchgen verify ends with {code:?}");
        if length == payload_end {
            continue;
        }
        let inspect = run(patchgen()?.arg("inspect").arg(&bad), TOOL_LIMIT)?;
        check!(matches!(inspect.code(), Some(5 | 6)), "cut at {length}: {}", inspect.describe());
    }
    Ok(())
}

/// Signs the manifest with stock `ssh-keygen` under a namespace and attaches the signature.
fn sign_by_hand(pair: &Pair, signer: &Signer, namespace: &str) -> Result<()> {
    let manifest = pair.builds.folder.join("manifest");
    let output = Command::new(crate::paths::tool("patchgen")?).arg("manifest").arg(&pair.bundle).output()?;
    check!(output.status.success(), "patchgen manifest ended with {}", output.status);
    std::fs::write(&manifest, output.stdout)?;
    let signature = manifest.with_extension("sig");
    if signature.exists() {
        std::fs::remove_file(&signature)?;
    }
    run_ok(
        Command::new("ssh-keygen").args(["-Y", "sign", "-n", namespace, "-f"]).arg(signer.key()).arg(&manifest),
        TOOL_LIMIT,
    )?;
    run_ok(patchgen()?.arg("attach").arg(&pair.bundle).arg(&signature), TOOL_LIMIT)?;
    Ok(())
}

fn works(pair: &Pair, trust: &Path) -> Result<()> {
    let mut target = Target::start(&pair.builds.old.program, &Launch::trusting(trust.to_path_buf()))?;
    target::apply(target.pid(), &pair.bundle, 5, trust)?.expect(0)?;
    let answer = target.ask("value")?;
    check!(answer == "101", "patched: `value` gives `{answer}`");
    target.finish()
}

fn ssh_keygen() -> Result<()> {
    let pair = Pair::unsigned("counter", "ssh-keygen", &Config::new(&[]))?;
    let signer = Signer::shared()?;
    sign_by_hand(&pair, signer, "hpatch-bundle-v1")?;
    check!(verify(&pair.bundle, &signer.trust())? == Some(0), "patchgen verify refuses ssh-keygen's signature");
    works(&pair, &signer.trust())
}

fn other_namespace() -> Result<()> {
    let pair = Pair::unsigned("counter", "namespace", &Config::new(&[]))?;
    let signer = Signer::shared()?;
    let attached = sign_by_hand(&pair, signer, "git");
    if attached.is_err() {
        // `attach` may refuse it already; then the bundle has no signature at all.
        check!(verify(&pair.bundle, &signer.trust())? == Some(5), "the bundle is trusted without a signature");
        return Ok(());
    }
    check!(verify(&pair.bundle, &signer.trust())? == Some(5), "a signature made for git is accepted");
    refused(&pair, &pair.bundle, &signer.trust(), 5)
}

fn p256() -> Result<()> {
    let pair = Pair::unsigned("counter", "p256", &Config::new(&[]))?;
    let signer = Signer::new("ecdsa")?;
    signer.sign(&pair.bundle)?;
    check!(verify(&pair.bundle, &signer.trust())? == Some(0), "patchgen verify refuses a P-256 signature");
    works(&pair, &signer.trust())
}

fn another_build() -> Result<()> {
    let pair = Pair::make("counter", "another-build")?;
    let third = super::compiled("counter", "third-build", &Config::new(&[("opt", "-O1")]))?;
    let bundle = third.folder.join("third.hpatch");
    bundle::build_signed(Signer::shared()?, &third.old.module, &third.new.module, &bundle, "third")?;
    refused(&pair, &bundle, &Signer::shared()?.trust(), 4)
}
