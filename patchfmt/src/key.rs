//! Public keys in OpenSSH's forms: the wire blob (RFC 4253, RFC 5656, RFC 8709) and the one-line text of `*.pub` files.

use crate::base64;
use crate::codes::{self, Code};
use crate::ssh::Fields;
use core::fmt;
use p256::elliptic_curve::point::AffineCoordinates;
use sha2::{Digest, Sha256};

pub const ED25519: &str = "ssh-ed25519";
pub const ECDSA_P256: &str = "ecdsa-sha2-nistp256";
const CURVE: &[u8] = b"nistp256";

/// Longest wire blob of a supported key.
const MAX_BLOB: usize = 104;

/// A key that may sign bundles.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublicKey {
    Ed25519([u8; 32]),
    /// The uncompressed point (SEC 1, section 2.3.3).
    EcdsaP256([u8; 65]),
}

/// The key with this uncompressed point, if it is on the curve. Not from the point's general form: what only compressed ones need would be
/// carried into every process.
pub(crate) fn p256_key(point: &[u8; 65]) -> Option<p256::ecdsa::VerifyingKey> {
    let (x, y) = (point[1..33].first_chunk::<32>()?, point[33..].first_chunk::<32>()?);
    let affine = p256::AffinePoint::from_coordinates(&(*x).into(), &(*y).into()).into_option();
    affine.filter(|_| point[0] == 4).and_then(|a| p256::ecdsa::VerifyingKey::from_affine(a).ok())
}

impl PublicKey {
    /// Reads a wire blob.
    ///
    /// # Errors
    /// [`codes::KEY_TYPE`] for a kind that can't sign bundles, [`codes::PUBLIC_KEY_MALFORMED`] for everything else.
    pub fn from_wire(blob: &[u8]) -> Result<PublicKey, Code> {
        let mut f = Fields::new(blob);
        let kind = f.string().ok_or(codes::PUBLIC_KEY_MALFORMED)?;
        let key = if kind == ED25519.as_bytes() {
            f.string().and_then(|k| k.try_into().ok()).map(PublicKey::Ed25519)
        } else if kind == ECDSA_P256.as_bytes() {
            let curve = f.string();
            let point = f.string().and_then(|k| k.try_into().ok());
            point.filter(|p: &[u8; 65]| curve == Some(CURVE) && p[0] == 4).map(PublicKey::EcdsaP256)
        } else {
            return Err(codes::KEY_TYPE);
        };
        key.filter(|_| f.end().is_some()).ok_or(codes::PUBLIC_KEY_MALFORMED)
    }

    /// Reads a line `TYPE BASE64 [COMMENT]` and checks that the key is a usable point of its curve.
    ///
    /// # Errors
    /// As [`PublicKey::from_wire`].
    pub fn from_line(line: &str) -> Result<PublicKey, Code> {
        let mut words = line.split_ascii_whitespace();
        let (kind, coded) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if kind != ED25519 && kind != ECDSA_P256 {
            let known = ["ssh-", "ecdsa-", "sk-"].iter().any(|p| kind.starts_with(p));
            return Err(if known { codes::KEY_TYPE } else { codes::PUBLIC_KEY_MALFORMED });
        }
        let mut blob = [0; MAX_BLOB];
        let blob = base64::decode(coded.as_bytes(), &mut blob).ok_or(codes::PUBLIC_KEY_MALFORMED)?;
        let key = PublicKey::from_wire(blob).map_err(|_| codes::PUBLIC_KEY_MALFORMED)?;
        if key.kind() == kind && key.usable() { Ok(key) } else { Err(codes::PUBLIC_KEY_MALFORMED) }
    }

    /// The type as OpenSSH names it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            PublicKey::Ed25519(_) => ED25519,
            PublicKey::EcdsaP256(_) => ECDSA_P256,
        }
    }

    /// On its curve and, for Ed25519, not of small order.
    fn usable(&self) -> bool {
        match self {
            PublicKey::Ed25519(k) => ed25519_dalek::VerifyingKey::from_bytes(k).is_ok_and(|k| !k.is_weak()),
            PublicKey::EcdsaP256(p) => p256_key(p).is_some(),
        }
    }

    /// Hands the wire blob to `part`, piece by piece.
    fn wire(&self, mut part: impl FnMut(&[u8])) {
        let mut string = |bytes: &[u8]| {
            part(&(bytes.len() as u32).to_be_bytes());
            part(bytes);
        };
        string(self.kind().as_bytes());
        match self {
            PublicKey::Ed25519(k) => string(k),
            PublicKey::EcdsaP256(p) => {
                string(CURVE);
                string(p);
            }
        }
    }

    /// The wire blob.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_wire(&self) -> alloc::vec::Vec<u8> {
        let mut blob = alloc::vec::Vec::with_capacity(MAX_BLOB);
        self.wire(|p| blob.extend_from_slice(p));
        blob
    }

    /// Displays as `SHA256:...`, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        self.wire(|p| hash.update(p));
        Fingerprint(hash.finalize().into())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.fingerprint())
    }
}

/// SHA-256 of a key's wire blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a wire blob of any kind of key.
    #[must_use]
    pub fn of_wire(blob: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(blob).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SHA256:")?;
        base64::encode(&self.0, false, f)
    }
}

/// The keys of a text with one key a line; empty lines and lines that begin with `#` are left out. Items are the line's number from 1 and its key.
pub fn keys_in(text: &str) -> impl Iterator<Item = (usize, Result<PublicKey, Code>)> + '_ {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(n, line)| (n, PublicKey::from_line(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with `ssh-keygen -t ed25519` and `-t ecdsa -b 256` for this test; the fingerprints are what `ssh-keygen -lf` prints.
    const ED: &str = include_str!("../tests/data/ed25519.pub");
    const EC: &str = include_str!("../tests/data/ecdsa.pub");
    const FINGERPRINTS: &str = include_str!("../tests/data/fingerprints");

    #[test]
    fn openssh_lines() {
        let keys = [ED, EC].map(|line| PublicKey::from_line(line).unwrap());
        assert_eq!([keys[0].kind(), keys[1].kind()], [ED25519, ECDSA_P256]);
        let prints: Vec<String> = keys.iter().map(|k| k.fingerprint().to_string()).collect();
        assert_eq!(FINGERPRINTS.lines().collect::<Vec<_>>(), prints);
    }

    #[test]
    fn refuses_other_kinds_and_damage() {
        assert_eq!(PublicKey::from_line("ssh-rsa AAAA x"), Err(codes::KEY_TYPE));
        assert_eq!(PublicKey::from_line("sk-ssh-ed25519@openssh.com AAAA x"), Err(codes::KEY_TYPE));
        assert_eq!(PublicKey::from_line(""), Err(codes::PUBLIC_KEY_MALFORMED));
        assert_eq!(PublicKey::from_line("ssh-ed25519"), Err(codes::PUBLIC_KEY_MALFORMED));
        assert_eq!(PublicKey::from_line(&ED.replacen(ED25519, ECDSA_P256, 1)), Err(codes::PUBLIC_KEY_MALFORMED));
        let (ed, ec) = (ED.trim().replace('=', ""), EC.trim());
        for n in 13..80 {
            assert!(PublicKey::from_line(&ed[..n]).is_err(), "cut at {n}");
        }
        for n in 40..160 {
            assert!(PublicKey::from_line(&ec[..n]).is_err(), "cut at {n}");
        }
        // A point that isn't on the curve.
        let mut point = PublicKey::from_line(EC).unwrap();
        if let PublicKey::EcdsaP256(p) = &mut point {
            p[64] ^= 1;
        }
        assert!(!point.usable());
        // The neutral element: every signature would verify under a loose check.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(!PublicKey::Ed25519(weak).usable());
    }

    #[test]
    fn lists_of_keys() {
        let text = format!("# signers\n\n{ED}\nssh-rsa AAAA old\nnonsense\n{EC}");
        let found: Vec<_> = keys_in(&text).map(|(n, k)| (n, k.map(|k| k.kind()))).collect();
        let ed_lines = ED.lines().count();
        assert_eq!(found[0], (3, Ok(ED25519)));
        assert_eq!(found[1], (4 + ed_lines, Err(codes::KEY_TYPE)));
        assert_eq!(found[2].1, Err(codes::PUBLIC_KEY_MALFORMED));
        assert_eq!(found[3].1, Ok(ECDSA_P256));
    }
}
