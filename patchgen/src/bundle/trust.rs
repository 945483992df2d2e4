//! The trust directory: OpenSSH public keys in `*.pub`, and what they say about a bundle.

use super::{Failure, file};
use patchfmt::codes::{self, Code};
use patchfmt::sshsig::SshSig;
use patchfmt::{Bundle, Fingerprint, Policy, PublicKey, key};
use std::path::Path;

const MAX_FILE: usize = 64 << 10;

/// A trusted key and where it was found.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    pub key: PublicKey,
    /// File name and line.
    pub place: String,
}

/// Keys of a trust directory, in order of file name and line.
#[derive(Debug, Default)]
pub struct TrustStore {
    pub keys: Vec<TrustedKey>,
    /// Keys of kinds that can't sign bundles: left out, and told.
    pub unusable: Vec<(String, Code)>,
}

impl TrustStore {
    /// Reads every `*.pub` of a directory.
    ///
    /// # Errors
    /// HP0010 when it can't be read, HP0025 when it holds no usable key, HP0026 when a key is malformed.
    pub fn read(directory: &Path) -> Result<TrustStore, Failure> {
        let io = |e| Failure::io(codes::READ_FAILED, directory.display(), &e);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|e| e == "pub") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut store = TrustStore::default();
        for path in paths {
            store.add_file(&path)?;
        }
        if store.keys.is_empty() {
            return Err(Failure::new(codes::TRUST_EMPTY, directory.display()));
        }
        Ok(store)
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Failure> {
        let bytes = file::read(path, MAX_FILE)?;
        let malformed = || Failure::new(codes::PUBLIC_KEY_MALFORMED, path.display());
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for (line, key) in key::keys_in(text) {
            match key {
                Ok(key) => self.keys.push(TrustedKey { key, place: format!("{name}:{line}") }),
                Err(codes::KEY_TYPE) => self.unusable.push((format!("{name}:{line}"), codes::KEY_TYPE)),
                Err(_) => return Err(malformed().detail(format_args!("line {line}"))),
            }
        }
        Ok(())
    }

    /// Who of the trusted keys signed the bundle. All checks of the loader that need no target are done.
    ///
    /// # Errors
    /// HP07xx.
    pub fn verify(&self, name: &str, bytes: &[u8], policy: Policy) -> Result<Vec<&TrustedKey>, Failure> {
        let keys: Vec<PublicKey> = self.keys.iter().map(|k| k.key).collect();
        let bundle = Bundle::parse(bytes).map_err(|e| Failure::format(name, e))?;
        let verified = bundle.verify(&keys, policy).map_err(|e| match e.code {
            codes::SIG_UNTRUSTED | codes::SIG_THRESHOLD => Failure::new(e.code, name).detail(claimed_signers(&bundle)),
            _ => Failure::format(name, e),
        })?;
        let signers: Vec<PublicKey> = verified.signers().collect();
        Ok(signers.iter().filter_map(|s| self.keys.iter().find(|k| k.key == *s)).collect())
    }
}

/// Whose signatures a bundle carries, by their own account.
fn claimed_signers(bundle: &Bundle<'_>) -> String {
    let keys = bundle.signatures().filter_map(|(_, blob)| SshSig::parse(blob).ok()).map(|s| {
        let kind = String::from_utf8_lossy(s.kind);
        format!("{} {}", kind.escape_debug(), Fingerprint::of_wire(s.key))
    });
    format!("signed by {}", keys.collect::<Vec<_>>().join(", "))
}
