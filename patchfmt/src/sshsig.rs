//! SSHSIG (OpenSSH's PROTOCOL.sshsig), binary form: what `ssh-keygen -Y sign` makes inside its armour.
//!
//! Only what a bundle may carry is read: version 1, one namespace, SHA-512. No armour, no allocation.

use crate::codes::{self, Code};
use crate::key::{self, PublicKey};
use crate::ssh::Fields;
use crate::wire::NAMESPACE;
use p256::ecdsa::signature::Verifier;
use sha2::{Digest, Sha512};

const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;
const HASH: &[u8] = b"sha512";

/// Bytes of [`signed_block`].
pub const BLOCK: usize = 6 + (4 + NAMESPACE.len()) + 4 + (4 + HASH.len()) + (4 + 64);

/// A signature, split into its fields.
#[derive(Clone, Copy, Debug)]
pub struct SshSig<'a> {
    /// Wire blob of the key that claims to have made it.
    pub key: &'a [u8],
    /// Type of the key.
    pub kind: &'a [u8],
    /// The signature proper, as its type has it.
    signature: &'a [u8],
}

impl<'a> SshSig<'a> {
    /// Splits a blob and checks that it's meant for a bundle. Says nothing about whether it is right.
    ///
    /// # Errors
    /// HP075x, one for each way to be wrong.
    pub fn parse(blob: &'a [u8]) -> Result<SshSig<'a>, Code> {
        const BAD: Code = codes::SIG_MALFORMED;
        let mut f = Fields::new(blob);
        if f.take(MAGIC.len()) != Some(MAGIC) || f.u32() != Some(VERSION) {
            return Err(BAD);
        }
        let key = f.string().ok_or(BAD)?;
        let namespace = f.string().ok_or(BAD)?;
        let reserved = f.string().ok_or(BAD)?;
        let hash = f.string().ok_or(BAD)?;
        let mut signature = Fields::new(f.string().ok_or(BAD)?);
        f.end().ok_or(BAD)?;
        if namespace != NAMESPACE.as_bytes() {
            return Err(codes::SIG_NAMESPACE);
        }
        if !reserved.is_empty() {
            return Err(codes::SIG_RESERVED);
        }
        if hash != HASH {
            return Err(codes::SIG_HASH);
        }
        let kind = Fields::new(key).string().ok_or(BAD)?;
        let algorithm = signature.string().ok_or(BAD)?;
        let ours = kind == key::ED25519.as_bytes() || kind == key::ECDSA_P256.as_bytes();
        if ours {
            PublicKey::from_wire(key).map_err(|_| BAD)?;
            if algorithm != kind {
                return Err(codes::SIG_ALGORITHM);
            }
        }
        Ok(SshSig { key, kind, signature: signature.rest() })
    }

    /// The key that claims to have made it, `None` for a kind that can't sign bundles.
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        PublicKey::from_wire(self.key).ok()
    }

    /// Whether `key` made it over `block` (see [`signed_block`]).
    ///
    /// # Errors
    /// [`codes::SIG_MALFORMED`] or [`codes::SIG_INVALID`].
    pub fn verify(&self, key: &PublicKey, block: &[u8; BLOCK]) -> Result<(), Code> {
        const BAD: Code = codes::SIG_MALFORMED;
        if self.key() != Some(*key) {
            return Err(codes::SIG_INVALID);
        }
        let mut f = Fields::new(self.signature);
        let value = f.string().ok_or(BAD)?;
        f.end().ok_or(BAD)?;
        match key {
            PublicKey::Ed25519(k) => {
                let signature = ed25519_dalek::Signature::from_slice(value).map_err(|_| BAD)?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(k).map_err(|_| codes::SIG_INVALID)?;
                // Strict: no small-order points, so that no signature fits two messages or two keys.
                key.verify_strict(block, &signature).map_err(|_| codes::SIG_INVALID)
            }
            PublicKey::EcdsaP256(point) => {
                let mut f = Fields::new(value);
                let (r, s) = (f.mpint32().ok_or(BAD)?, f.mpint32().ok_or(BAD)?);
                f.end().ok_or(BAD)?;
                let signature = p256::ecdsa::Signature::from_scalars(r, s).map_err(|_| BAD)?;
                let key = key::p256_key(point).ok_or(codes::SIG_INVALID)?;
                key.verify(block, &signature).map_err(|_| codes::SIG_INVALID)
            }
        }
    }
}

/// What the key really signs: magic, namespace, empty reserved string, hash name and the SHA-512 of the manifest.
#[must_use]
pub fn signed_block(manifest: &[u8]) -> [u8; BLOCK] {
    let hash: [u8; 64] = Sha512::digest(manifest).into();
    let mut block = [0; BLOCK];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        block[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(MAGIC);
    for string in [NAMESPACE.as_bytes(), b"", HASH, &hash] {
        put(&(string.len() as u32).to_be_bytes());
        put(string);
    }
    block
}

/// The two mpints that SSH makes of an ECDSA P-256 signature's `r` and `s`, each 32 bytes big-endian.
#[cfg(feature = "alloc")]
#[must_use]
pub fn ecdsa_value(rs: &[u8; 64]) -> alloc::vec::Vec<u8> {
    let mut out = alloc::vec::Vec::with_capacity(74);
    for half in rs.chunks(32) {
        let zeros = half.iter().take_while(|b| **b == 0).count();
        let digits = &half[zeros..];
        let sign = digits.first().is_some_and(|b| b & 0x80 != 0);
        out.extend_from_slice(&((digits.len() + usize::from(sign)) as u32).to_be_bytes());
        out.extend_from_slice(&[0][..usize::from(sign)]);
        out.extend_from_slice(digits);
    }
    out
}

/// Builds the binary SSHSIG around a signature over [`signed_block`]. `value` is what the key type asks for: 64 bytes for Ed25519,
/// two mpints for ECDSA.
#[cfg(feature = "alloc")]
#[must_use]
pub fn build(key: &PublicKey, value: &[u8]) -> alloc::vec::Vec<u8> {
    use crate::ssh::put_string as put;
    let mut signature = alloc::vec::Vec::new();
    put(&mut signature, key.kind().as_bytes());
    put(&mut signature, value);
    let mut out = alloc::vec::Vec::from(*MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    for string in [&key.to_wire()[..], NAMESPACE.as_bytes(), b"", HASH, &signature] {
        put(&mut out, string);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = include_bytes!("../tests/data/message");
    // Made by OpenSSH's `ssh-keygen -Y sign` over `message`, armour removed.
    const ED: (&str, &[u8]) =
        (include_str!("../tests/data/ed25519.pub"), include_bytes!("../tests/data/ed25519.sshsig"));
    const EC: (&str, &[u8]) = (include_str!("../tests/data/ecdsa.pub"), include_bytes!("../tests/data/ecdsa.sshsig"));

    fn check(blob: &[u8], key: &PublicKey, message: &[u8]) -> Result<(), Code> {
        SshSig::parse(blob)?.verify(key, &signed_block(message))
    }

    #[test]
    fn signatures_of_ssh_keygen() {
        for (line, blob) in [ED, EC] {
            let key = PublicKey::from_line(line).unwrap();
            assert_eq!(SshSig::parse(blob).unwrap().key(), Some(key));
            assert_eq!(check(blob, &key, MESSAGE), Ok(()));
            assert_eq!(check(blob, &key, b"another message\n"), Err(codes::SIG_INVALID));
        }
        let [ed, ec] = [ED, EC].map(|(line, _)| PublicKey::from_line(line).unwrap());
        assert_eq!(check(ED.1, &ec, MESSAGE), Err(codes::SIG_INVALID));
        assert_eq!(check(EC.1, &ed, MESSAGE), Err(codes::SIG_INVALID));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        for (line, blob) in [ED, EC] {
            let key = PublicKey::from_line(line).unwrap();
            for bit in 0..blob.len() * 8 {
                let mut bad = blob.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(check(&bad, &key, MESSAGE).is_err(), "bit {bit}");
            }
            for n in 0..blob.len() {
                assert!(check(&blob[..n], &key, MESSAGE).is_err(), "cut at {n}");
            }
            assert_eq!(check(&[blob, &[0]].concat(), &key, MESSAGE), Err(codes::SIG_MALFORMED));
        }
    }

    #[test]
    fn other_purposes_hashes_and_kinds() {
        let parse = |blob: &'static [u8]| SshSig::parse(blob);
        assert_eq!(parse(include_bytes!("../tests/data/other-namespace.sshsig")).unwrap_err(), codes::SIG_NAMESPACE);
        assert_eq!(parse(include_bytes!("../tests/data/other-hash.sshsig")).unwrap_err(), codes::SIG_HASH);
        let rsa = parse(include_bytes!("../tests/data/rsa.sshsig")).unwrap();
        assert_eq!((rsa.kind, rsa.key()), (&b"ssh-rsa"[..], None));
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn builds_what_ssh_keygen_builds() {
        use ed25519_dalek::Signer;
        let secret = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let key = PublicKey::Ed25519(secret.verifying_key().to_bytes());
        let blob = build(&key, &secret.sign(&signed_block(MESSAGE)).to_bytes());
        assert_eq!(check(&blob, &key, MESSAGE), Ok(()));
        // Same lengths and constant parts as the stock tool's.
        assert_eq!(blob.len(), ED.1.len());
        assert_eq!(blob[..29], ED.1[..29]);
        // A reserved string that isn't empty.
        let reserved = 6 + 4 + (4 + 51) + (4 + NAMESPACE.len());
        let mut bad = blob.clone();
        bad[reserved + 3] = 1;
        bad.insert(reserved + 4, b'x');
        assert_eq!(SshSig::parse(&bad).unwrap_err(), codes::SIG_RESERVED);
    }
}
