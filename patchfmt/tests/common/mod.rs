//! A small signed bundle, made from fixed secrets so that every run sees the same bytes.
#![allow(dead_code, reason = "each test file uses a part of it")]

use ed25519_dalek::{Signer, SigningKey};
use patchfmt::metadata::{Capabilities, ModuleKind, Scope};
use patchfmt::writer::{Finding, Metadata, Module, NewSection, add_signature, write};
use patchfmt::{Bundle, Code, PublicKey, SectionKind, sshsig};

/// Stands for a payload: compressible at its start, not at its end.
pub fn payload() -> Vec<u8> {
    let mut bytes = b"\x7fELF".to_vec();
    bytes.extend_from_slice(&[0; 96]);
    bytes.extend((0..64u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    bytes
}

pub fn module(name: &str, payload: u16) -> Module {
    Module {
        name: name.into(),
        old_build_id: vec![0x11; 20],
        new_build_id: vec![0x22; 20],
        payload,
        kind: ModuleKind::Pie,
        functions_replaced: 1,
        functions_new: 0,
        edits: 300,
    }
}

/// Only what is required.
pub fn least() -> Metadata {
    Metadata {
        id: "fix-1".into(),
        scope: Scope::Live,
        machine: 62,
        loader_abi: 1,
        modules: vec![module("server", 0)],
        cves: vec![],
        note: String::new(),
        accepted: vec![],
        start_reasons: vec![],
        capabilities: Capabilities::TEXT,
        sequence: 0,
        supersedes: vec![],
        tool: "patchgen 0.1.0".into(),
    }
}

/// Every key.
pub fn most() -> Metadata {
    let finding = |code, symbol: &str| Finding { code: Code(code), symbol: symbol.into() };
    Metadata {
        scope: Scope::Start,
        modules: vec![module("server", 1), module("libx.so.1", 0)],
        cves: vec!["CVE-2024-0001".into(), "CVE-2024-0002".into()],
        note: "two\nlines".into(),
        accepted: vec![finding(405, "handlers"), finding(512, "main")],
        start_reasons: vec![finding(501, "struct conn")],
        capabilities: Capabilities::TEXT.with(Capabilities::NEW_DATA),
        sequence: 1 << 40,
        supersedes: vec!["fix-0".into()],
        ..least()
    }
}

pub fn section(kind: SectionKind, bytes: &[u8]) -> NewSection<'static> {
    NewSection { kind, bytes: bytes.to_vec().into() }
}

pub fn unsigned() -> Vec<u8> {
    write(&least(), &[section(SectionKind::Payload, &payload()), section(SectionKind::Report, b"{}")]).unwrap()
}

pub fn ed25519(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey::Ed25519(key.verifying_key().to_bytes())
}

pub fn ed25519_blob(key: &SigningKey, manifest: &[u8]) -> Vec<u8> {
    sshsig::build(&public(key), &key.sign(&sshsig::signed_block(manifest)).to_bytes())
}

pub fn ecdsa(seed: u8) -> (p256::ecdsa::SigningKey, PublicKey) {
    let key = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
    let point = key.verifying_key().to_sec1_point(false);
    let public = PublicKey::EcdsaP256(point.as_bytes().try_into().unwrap());
    (key, public)
}

pub fn ecdsa_blob(seed: u8, manifest: &[u8]) -> Vec<u8> {
    let (key, public) = ecdsa(seed);
    let signature: p256::ecdsa::Signature = key.sign(&sshsig::signed_block(manifest));
    sshsig::build(&public, &sshsig::ecdsa_value(&signature.to_bytes().into()))
}

/// Signed by Ed25519 key 1.
pub fn signed() -> (Vec<u8>, Vec<PublicKey>) {
    let bytes = unsigned();
    let key = ed25519(1);
    let blob = ed25519_blob(&key, Bundle::parse(&bytes).unwrap().manifest());
    (add_signature(&bytes, &blob).unwrap(), vec![public(&key)])
}

/// `bytes` with other signature blobs, without the checks of [`add_signature`].
pub fn with_blobs(bytes: &[u8], blobs: &[Vec<u8>]) -> Vec<u8> {
    let end = Bundle::parse(bytes).unwrap().payload_end();
    let mut out = bytes[..end].to_vec();
    out.extend_from_slice(b"HPSG");
    out.extend_from_slice(&(blobs.len() as u16).to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    for blob in blobs {
        out.extend_from_slice(&(blob.len() as u32).to_le_bytes());
        out.extend_from_slice(blob);
    }
    out
}

/// xorshift64*: the same mutations in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}
