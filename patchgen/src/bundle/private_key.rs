//! OpenSSH private key files (OpenSSH's PROTOCOL.key), not encrypted, Ed25519 and ECDSA P-256.

use super::{Failure, armour};
use ed25519_dalek::Signer;
use patchfmt::codes::{self, Code};
use patchfmt::ssh::Fields;
use patchfmt::{PublicKey, key, sshsig};

const MAGIC: &[u8] = b"openssh-key-v1\0";

/// A key that can sign.
pub enum PrivateKey {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    EcdsaP256(Box<p256::ecdsa::SigningKey>),
}

impl std::fmt::Debug for PrivateKey {
    /// Never the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "private half of {:?}", self.public())
    }
}

impl PrivateKey {
    /// Reads the content of a key file.
    ///
    /// # Errors
    /// HP0020, HP0021 or HP0022; `path` is only named.
    pub fn parse(path: &str, text: &str) -> Result<PrivateKey, Failure> {
        let blob =
            armour::decode(armour::PRIVATE_KEY, text).ok_or_else(|| Failure::new(codes::KEY_UNREADABLE, path))?;
        parse_blob(&blob).map_err(|code| Failure::new(code, path))
    }

    #[must_use]
    pub fn public(&self) -> PublicKey {
        match self {
            PrivateKey::Ed25519(k) => PublicKey::Ed25519(k.verifying_key().to_bytes()),
            PrivateKey::EcdsaP256(k) => {
                let mut point = [0; 65];
                let sec1 = k.verifying_key().to_sec1_point(false);
                point.copy_from_slice(sec1.as_bytes());
                PublicKey::EcdsaP256(point)
            }
        }
    }

    /// The binary SSHSIG over `manifest`. Deterministic: Ed25519 is so by itself, ECDSA by RFC 6979.
    #[must_use]
    pub fn sign(&self, manifest: &[u8]) -> Vec<u8> {
        let block = sshsig::signed_block(manifest);
        let value = match self {
            PrivateKey::Ed25519(k) => k.sign(&block).to_bytes().to_vec(),
            PrivateKey::EcdsaP256(k) => {
                let signature: p256::ecdsa::Signature = k.sign(&block);
                sshsig::ecdsa_value(&signature.to_bytes().into())
            }
        };
        sshsig::build(&self.public(), &value)
    }
}

fn parse_blob(blob: &[u8]) -> Result<PrivateKey, Code> {
    const BAD: Code = codes::KEY_UNREADABLE;
    let mut f = Fields::new(blob.strip_prefix(MAGIC).ok_or(BAD)?);
    let cipher = f.string().ok_or(BAD)?;
    let kdf = f.string().ok_or(BAD)?;
    let _options = f.string().ok_or(BAD)?;
    let count = f.u32().ok_or(BAD)?;
    let public = f.string().ok_or(BAD)?;
    let kind = Fields::new(public).string().ok_or(BAD)?;
    if kind != key::ED25519.as_bytes() && kind != key::ECDSA_P256.as_bytes() {
        return Err(codes::KEY_TYPE);
    }
    if cipher != b"none" || kdf != b"none" {
        return Err(codes::KEY_ENCRYPTED);
    }
    let mut f = Fields::new(f.string().ok_or(BAD)?);
    // Two equal random numbers: they differ when a wrong passphrase was used.
    let checks = (f.u32().ok_or(BAD)?, f.u32().ok_or(BAD)?);
    if count != 1 || checks.0 != checks.1 || f.string() != Some(kind) {
        return Err(BAD);
    }
    let found = if kind == key::ED25519.as_bytes() {
        let _public = f.string().ok_or(BAD)?;
        let secret = f.string().ok_or(BAD)?;
        let seed: [u8; 32] = secret.get(..32).and_then(|s| s.try_into().ok()).ok_or(BAD)?;
        PrivateKey::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed)))
    } else {
        let _curve = f.string().ok_or(BAD)?;
        let _point = f.string().ok_or(BAD)?;
        let scalar = f.mpint32().ok_or(BAD)?;
        PrivateKey::EcdsaP256(Box::new(p256::ecdsa::SigningKey::from_slice(&scalar).map_err(|_| BAD)?))
    };
    // A secret that doesn't belong to the stated public half would leak itself with the first signature.
    if found.public().to_wire() == public { Ok(found) } else { Err(BAD) }
}
