//! Making signed bundles with `patchgen`, as a release engineer would.

use crate::process::{self, Output};
use crate::{Result, fail, paths};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// No single run of a tool may take longer; a corpus pair of redis takes seconds.
pub const TOOL_LIMIT: Duration = Duration::from_secs(120);

/// A key pair and the trust directory that holds its public half.
#[derive(Debug)]
pub struct Signer {
    dir: PathBuf,
    /// Both vanish with it.
    _temporary: Option<tempfile::TempDir>,
}

impl Signer {
    /// Makes a key of an OpenSSH type (`ed25519`, `ecdsa`).
    pub fn new(kind: &str) -> Result<Signer> {
        let temporary = tempfile::Builder::new().prefix("hpatch-key-").tempdir()?;
        let dir = temporary.path().to_owned();
        Signer::fill(&dir, kind)?;
        Ok(Signer { dir, _temporary: Some(temporary) })
    }

    fn fill(dir: &Path, kind: &str) -> Result<()> {
        let trust = dir.join("trust");
        std::fs::create_dir(&trust)?;
        let key = dir.join("release");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", kind, "-N", "", "-C", "release", "-f"]).arg(&key);
        if kind == "ecdsa" {
            keygen.args(["-b", "256"]);
        }
        process::run_ok(&mut keygen, TOOL_LIMIT)?;
        std::fs::copy(key.with_extension("pub"), trust.join("release.pub"))?;
        Ok(())
    }

    /// Makes the key in `dir`, where an earlier run hasn't left one: statics are never dropped, and would leave a folder in each run.
    fn kept(dir: PathBuf) -> Result<Signer> {
        if !dir.is_dir() {
            let scratch = paths::scratch()?;
            std::fs::create_dir_all(&scratch)?;
            let new = tempfile::Builder::new().prefix("key-").tempdir_in(&scratch)?;
            Signer::fill(new.path(), "ed25519")?;
            // Another process may have been first.
            if std::fs::rename(new.path(), &dir).is_err() && !dir.is_dir() {
                fail!("{} can't be made", dir.display());
            }
        }
        Ok(Signer { dir, _temporary: None })
    }

    /// The key that all scenarios share.
    pub fn shared() -> Result<&'static Signer> {
        static SHARED: OnceLock<Result<Signer>> = OnceLock::new();
        match SHARED.get_or_init(|| Signer::kept(paths::scratch()?.join("key"))) {
            Ok(signer) => Ok(signer),
            Err(failure) => fail!("{failure}"),
        }
    }

    pub fn key(&self) -> PathBuf {
        self.dir.join("release")
    }

    pub fn trust(&self) -> PathBuf {
        self.dir.join("trust")
    }

    /// Signs a bundle in place.
    pub fn sign(&self, bundle: &Path) -> Result<()> {
        process::run_ok(patchgen()?.arg("sign").arg(bundle).arg("--key").arg(self.key()), TOOL_LIMIT)?;
        Ok(())
    }
}

/// `patchgen check-bundle`: whether the patched process runs the new build, by a way of its own.
pub fn check(old: &Path, new: &Path, bundle: &Path, more: &[String]) -> Result<Output> {
    let mut command = patchgen()?;
    command.arg("check-bundle").arg("--old").arg(old).arg("--new").arg(new).arg(bundle).args(more);
    process::run(&mut command, TOOL_LIMIT)
}

pub fn patchgen() -> Result<Command> {
    Ok(Command::new(paths::tool("patchgen")?))
}

/// Runs `patchgen build`; the caller judges its exit code.
pub fn build(old: &Path, new: &Path, bundle: &Path, id: &str, more: &[&str]) -> Result<Output> {
    if bundle.exists() {
        std::fs::remove_file(bundle)?;
    }
    let mut command = patchgen()?;
    command
        .arg("build")
        .arg("--old")
        .arg(old)
        .arg("--new")
        .arg(new)
        .arg("-o")
        .arg(bundle)
        .args(["--id", id])
        .args(more);
    process::run(&mut command, TOOL_LIMIT)
}

/// Builds and signs; anything but a bundle is a failure.
pub fn build_signed(signer: &Signer, old: &Path, new: &Path, bundle: &Path, id: &str) -> Result<()> {
    build(old, new, bundle, id, &[])?.expect(0)?;
    signer.sign(bundle)
}

/// Runs `patchgen rewrite`; the caller judges its exit code.
pub fn rewrite(old: &Path, bundle: &Path, output: &Path) -> Result<Output> {
    let mut command = patchgen()?;
    command.arg("rewrite").arg("--old").arg(old).arg(bundle).arg("-o").arg(output);
    process::run(&mut command, TOOL_LIMIT)
}

/// What `patchgen inspect --json` says about a bundle.
#[derive(Debug, Clone)]
pub struct Summary {
    pub scope: Scope,
    /// Functions replaced, in all modules.
    pub replaced: u64,
    /// Functions edited in place, in all modules.
    pub edited: u64,
    /// Functions added, in all modules.
    pub added: u64,
    /// Size of the file in bytes.
    pub size: u64,
}

impl Summary {
    /// Functions replaced or edited in place.
    pub fn changed(&self) -> u64 {
        self.replaced + self.edited
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Live,
    Start,
}

pub fn inspect(bundle: &Path) -> Result<Summary> {
    let output = process::run_ok(patchgen()?.arg("inspect").arg(bundle).arg("--json"), TOOL_LIMIT)?;
    let json: serde_json::Value = serde_json::from_str(&output.stdout)?;
    let scope = match json["scope"].as_str() {
        Some("live") => Scope::Live,
        Some("start") => Scope::Start,
        other => fail!("patchgen inspect --json gives the scope {other:?}"),
    };
    let Some(modules) = json["modules"].as_array() else {
        fail!("patchgen inspect --json gives no modules");
    };
    let sum = |key: &str| modules.iter().map(|module| module[key].as_u64()).sum::<Option<u64>>();
    match (sum("functions_replaced"), sum("functions_edited"), sum("functions_new")) {
        (Some(replaced), Some(edited), Some(added)) => {
            Ok(Summary { scope, replaced, edited, added, size: std::fs::metadata(bundle)?.len() })
        }
        _ => fail!("patchgen inspect --json does not count the functions: {}", output.describe()),
    }
}
