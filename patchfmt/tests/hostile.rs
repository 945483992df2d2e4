//! A bundle as an attacker would change it: nothing but the signed bytes is ever accepted, and nothing panics.
mod common;

use common::*;
use patchfmt::writer::{NewSection, encode, write};
use patchfmt::{Bundle, Policy, PublicKey, SectionKind, codes, key, metadata::Metadata, sshsig::SshSig};
use std::time::{Duration, Instant};

fn accepted(bytes: &[u8], keys: &[PublicKey]) -> bool {
    Bundle::parse(bytes).and_then(|b| b.verify(keys, Policy::default())).is_ok()
}

/// Everything that reads bytes, whatever they are.
fn read_all(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::parse(bytes) {
        for (_, blob) in bundle.signatures() {
            if let Ok(s) = SshSig::parse(blob) {
                let _ = s.key().map(|k| s.verify(&k, &patchfmt::sshsig::signed_block(bundle.manifest())));
            }
        }
        if let Ok(contents) = bundle.unverified() {
            for module in contents.metadata().modules.iter() {
                // Sizes in a table that wasn't signed may be large; they are bounded by what the stream can give.
                let section = contents.payload(&module).unwrap();
                if section.size < 1 << 20 {
                    let _ = section.decode();
                }
            }
        }
    }
    if let Ok(metadata) = Metadata::decode(bytes, 0) {
        assert_eq!(metadata.modules.iter().count(), metadata.modules.len());
        // There is one encoding of everything: what was accepted is written again as it was, but for keys that may be ignored.
        let again = encode(&(&metadata).into()).unwrap();
        assert!(again == bytes || again.len() < bytes.len());
    }
    let _ = SshSig::parse(bytes);
    if let Ok(key) = PublicKey::from_wire(bytes) {
        assert_eq!(key.to_wire(), bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = key::keys_in(&text).count();
}

#[test]
fn every_flipped_bit_is_refused() {
    let (bytes, keys) = signed();
    assert!(accepted(&bytes, &keys));
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepted(&bad, &keys), "bit {} of byte {}", bit % 8, bit / 8);
        read_all(&bad);
    }
}

#[test]
fn every_byte_value_in_the_fixed_part_is_refused() {
    let (bytes, keys) = signed();
    for at in 0..Bundle::parse(&bytes).unwrap().header().metadata_offset.get() as usize {
        for value in 0..=255 {
            if bytes[at] != value {
                let mut bad = bytes.clone();
                bad[at] = value;
                assert!(!accepted(&bad, &keys), "{value:#x} at byte {at}");
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let (bytes, keys) = signed();
    let end = Bundle::parse(&bytes).unwrap().payload_end();
    for n in 0..bytes.len() {
        let bad = &bytes[..n];
        assert!(!accepted(bad, &keys), "cut at {n}");
        let code = Bundle::parse(bad).and_then(|b| b.verify(&keys, Policy::default()).map(|_| ())).unwrap_err().code;
        let want = match n {
            _ if n < end => codes::TRUNCATED,
            _ if n == end => codes::NOT_SIGNED,
            _ => codes::BAD_SIGNATURE_AREA,
        };
        assert_eq!(code, want, "cut at {n}");
    }
    for extra in 1..40 {
        assert!(!accepted(&[&bytes[..], &vec![0; extra]].concat(), &keys));
    }
}

#[test]
fn inserted_removed_and_repeated_stretches_are_refused() {
    let (bytes, keys) = signed();
    for at in 0..bytes.len() {
        for n in [1, 4, 48] {
            let end = (at + n).min(bytes.len());
            let without = [&bytes[..at], &bytes[end..]].concat();
            let twice = [&bytes[..end], &bytes[at..]].concat();
            assert!(!accepted(&without, &keys) && !accepted(&twice, &keys), "{n} bytes at {at}");
        }
    }
}

#[test]
fn parts_of_two_signed_bundles_dont_mix() {
    let (one, keys) = signed();
    let payload: &[u8] = b"another payload";
    let other = write(&least(), &[NewSection { kind: SectionKind::Payload, bytes: payload.into() }]).unwrap();
    let blob = ed25519_blob(&ed25519(1), Bundle::parse(&other).unwrap().manifest());
    let other = patchfmt::writer::add_signature(&other, &blob).unwrap();
    assert!(accepted(&other, &keys));
    let ends = [&one, &other].map(|b| Bundle::parse(b).unwrap().payload_end());
    assert!(!accepted(&[&one[..ends[0]], &other[ends[1]..]].concat(), &keys));
    assert!(!accepted(&[&other[..ends[1]], &one[ends[0]..]].concat(), &keys));
}

/// Random changes from a fixed seed, for a bounded time: on structure that mostly still holds, which pure noise never reaches.
#[test]
fn random_changes_never_panic_and_are_never_accepted() {
    let (bytes, keys) = signed();
    let rich =
        write(&most(), &[section(SectionKind::Payload, b"x"), section(SectionKind::Payload, &payload())]).unwrap();
    let metadata = {
        let h = Bundle::parse(&rich).unwrap();
        rich[h.header().metadata_offset.get() as usize..h.manifest().len()].to_vec()
    };
    let blob = Bundle::parse(&bytes).unwrap().signatures().next().unwrap().1.to_vec();
    let line = include_bytes!("data/ecdsa.pub").to_vec();
    let seeds = [&bytes, &rich, &metadata, &blob, &line];
    let mut random = Random(0x6870_6174_6368);
    let end = Instant::now() + Duration::from_secs(3);
    let mut rounds = 0;
    while Instant::now() < end || rounds < 2000 {
        let mut bad = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut bad, &mut random);
        }
        read_all(&bad);
        assert!(bad == bytes || !accepted(&bad, &keys), "round {rounds}");
        rounds += 1;
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const TELLING: [u64; 10] = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX];
    let at = random.below(bytes.len());
    let n = (1 << random.below(4)).min(bytes.len() - at);
    match random.below(6) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
        2 => bytes[at..at + n].copy_from_slice(&TELLING[random.below(10)].to_le_bytes()[..n]),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..at + n)),
        _ => {
            let piece = bytes[at..at + n].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, piece);
        }
    }
}
