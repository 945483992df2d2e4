//! Signing: with a key file, through ssh-agent, or with a signature made elsewhere.

use super::private_key::PrivateKey;
use super::{Failure, agent, armour, file};
use patchfmt::codes::{self, Code};
use patchfmt::writer::add_signature;
use patchfmt::{Bundle, FormatError, PublicKey};
use std::path::Path;

const MAX_KEY_FILE: usize = 64 << 10;

/// Where the private half of a key is.
#[derive(Debug)]
pub enum Signer {
    File(PrivateKey),
    Agent(PublicKey),
}

impl Signer {
    /// Reads a key file: a private key, or a public key whose private half is with the agent.
    ///
    /// # Errors
    /// HP0010 to HP0026.
    pub fn read(path: &Path) -> Result<Signer, Failure> {
        let name = path.display().to_string();
        let bytes = file::read(path, MAX_KEY_FILE)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Failure::new(codes::KEY_UNREADABLE, &name))?;
        if text.trim_start().starts_with("-----BEGIN") {
            return PrivateKey::parse(&name, text).map(Signer::File).map_err(|f| with_advice(f, &name));
        }
        match PublicKey::from_line(text.trim()) {
            Ok(key) => Ok(Signer::Agent(key)),
            Err(codes::KEY_TYPE) => Err(Failure::new(codes::KEY_TYPE, &name)),
            Err(_) => Err(Failure::new(codes::KEY_UNREADABLE, &name)),
        }
    }

    #[must_use]
    pub fn public(&self) -> PublicKey {
        match self {
            Signer::File(key) => key.public(),
            Signer::Agent(key) => *key,
        }
    }

    /// The bundle with this key's signature.
    ///
    /// # Errors
    /// When the bundle isn't sound, the agent doesn't sign, or the key has signed already.
    pub fn sign(&self, name: &str, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        let manifest = super::manifest(name, bytes)?;
        let blob = match self {
            Signer::File(key) => key.sign(manifest),
            Signer::Agent(key) => agent::sign(key, manifest)?,
        };
        attach(name, bytes, &blob)
    }
}

fn with_advice(failure: Failure, path: &str) -> Failure {
    if failure.code == codes::KEY_ENCRYPTED {
        return failure.help(format_args!("Run `ssh-add {path}`, then sign with `--key {path}.pub`."));
    }
    failure
}

/// The bundle with a binary SSHSIG that was made elsewhere. It's verified against the key that it names; whether that key is trusted
/// is for `verify` and the loader.
///
/// # Errors
/// When the bundle isn't sound, or the signature isn't one over it.
pub fn attach(name: &str, bytes: &[u8], blob: &[u8]) -> Result<Vec<u8>, Failure> {
    super::manifest(name, bytes)?;
    add_signature(bytes, blob).map_err(|e: FormatError| Failure::new(e.code, name).help_for(e.code))
}

/// Reads the output of `ssh-keygen -Y sign`.
///
/// # Errors
/// HP0010 to HP0013, HP0027.
pub fn read_signature(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = file::read(path, MAX_KEY_FILE)?;
    let text = std::str::from_utf8(&bytes).ok();
    text.and_then(|t| armour::decode(armour::SIGNATURE, t))
        .ok_or_else(|| Failure::new(codes::SIGNATURE_FILE, path.display()))
}

/// Key and SSHSIG blob of the newest signature.
#[must_use]
pub fn last_signer(bytes: &[u8]) -> Option<PublicKey> {
    let (_, blob) = Bundle::parse(bytes).ok()?.signatures().last()?;
    patchfmt::sshsig::SshSig::parse(blob).ok()?.key()
}

impl Failure {
    /// The table's advice for `SIG_INVALID` is for those who verify; here somebody signs.
    fn help_for(self, code: Code) -> Failure {
        if code == codes::SIG_INVALID {
            return self.help("Sign what `patchgen manifest` prints for this very bundle, byte for byte.");
        }
        self
    }
}
