//! What the reader accepts and what it refuses, with the code for each.
mod common;

use common::*;
use patchfmt::metadata::Scope;
use patchfmt::writer::{Metadata, add_signature, write};
use patchfmt::{Bundle, Code, Policy, SectionKind, codes};

fn parse_code(bytes: &[u8]) -> Code {
    Bundle::parse(bytes).unwrap_err().code
}

fn verify_code(bytes: &[u8], keys: &[patchfmt::PublicKey]) -> Code {
    Bundle::parse(bytes).and_then(|b| b.verify(keys, Policy::default())).map(|_| ()).unwrap_err().code
}

/// `bytes` with `new` at `at`.
fn put(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at..at + new.len()].copy_from_slice(new);
    out
}

#[test]
fn round_trip_of_every_key() {
    let sections = [section(SectionKind::Payload, b"second"), section(SectionKind::Payload, &payload())];
    let bytes = write(&most(), &sections).unwrap();
    assert_eq!(bytes, write(&most(), &sections).unwrap(), "not deterministic");
    let bundle = Bundle::parse(&bytes).unwrap();
    let contents = bundle.unverified().unwrap();
    assert_eq!(Metadata::from(contents.metadata()), most());
    let modules: Vec<_> = contents.metadata().modules.iter().collect();
    assert_eq!(contents.payload(&modules[0]).unwrap().decode().unwrap(), payload());
    assert_eq!(contents.payload(&modules[1]).unwrap().decode().unwrap(), &b"second"[..]);
    assert_eq!(contents.metadata().cves.get(1), Some("CVE-2024-0002"));
    assert_eq!(contents.metadata().cves.get(2), None);
}

#[test]
fn sections_are_packed_only_when_that_helps() {
    let zeros = vec![0; 4 << 20];
    let bytes = write(&least(), &[section(SectionKind::Payload, &zeros), section(SectionKind::Report, b"{}")]).unwrap();
    assert!(bytes.len() < 8192);
    let bundle = Bundle::parse(&bytes).unwrap();
    let contents = bundle.unverified().unwrap();
    let section = contents.section(0).unwrap();
    assert_eq!(section.decode().unwrap(), zeros);
    assert_eq!(section.decode_into(&mut vec![0; zeros.len() - 1]).unwrap_err().code, codes::BAD_DEFLATE);
    assert_eq!(contents.section(1).unwrap().stored, b"{}");
}

/// A one-section bundle whose packed section is `stored`, with a right digest and a claimed size.
fn packed(stored: &[u8], size: u32) -> Vec<u8> {
    use sha2::Digest;
    let bytes = write(&least(), &[section(SectionKind::Payload, b"x")]).unwrap();
    let manifest = Bundle::parse(&bytes).unwrap().manifest().len();
    let mut out = [&bytes[..manifest], stored].concat();
    let mut set = |at: usize, new: &[u8]| out[at..at + new.len()].copy_from_slice(new);
    set(28, &((manifest + stored.len()) as u32).to_le_bytes());
    set(34, &1u16.to_le_bytes());
    set(40, &(stored.len() as u32).to_le_bytes());
    set(44, &size.to_le_bytes());
    set(48, &sha2::Sha256::digest(stored));
    out
}

#[test]
fn packed_sections_have_exactly_the_stated_size() {
    let plain = payload();
    let stream = miniz_oxide::deflate::compress_to_vec(&plain, 9);
    let decode = |stored: &[u8], size: usize| {
        let bytes = packed(stored, size as u32);
        let bundle = Bundle::parse(&bytes).unwrap();
        let section = bundle.unverified().unwrap().section(0).unwrap();
        let mut buffer = vec![0; size];
        let whole = section.decode().map(|b| b.into_owned()).map_err(|e| e.code);
        assert_eq!(section.decode_into(&mut buffer).map(|()| buffer).map_err(|e| e.code), whole);
        whole
    };
    assert_eq!(decode(&stream, plain.len()), Ok(plain.clone()));
    assert_eq!(decode(&stream, plain.len() + 1), Err(codes::BAD_DEFLATE));
    assert_eq!(decode(&stream, plain.len() - 1), Err(codes::BAD_DEFLATE));
    assert_eq!(decode(&[&stream[..], &[0]].concat(), plain.len()), Err(codes::BAD_DEFLATE));
    assert_eq!(decode(&stream[..stream.len() - 1], plain.len()), Err(codes::BAD_DEFLATE));
    assert_eq!(decode(&[0xff; 20], 20), Err(codes::BAD_DEFLATE));
    // A stream can't hold more than 1032 times its length, so no memory is taken for a size that claims it.
    assert_eq!(parse_code(&packed(&stream, stream.len() as u32 * 1032 + 1)), codes::BAD_SECTION_SIZE);
}

#[test]
fn signed_bundles_verify() {
    let (bytes, keys) = signed();
    let bundle = Bundle::parse(&bytes).unwrap();
    let verified = bundle.verify(&keys, Policy::default()).unwrap();
    assert_eq!(verified.signers().collect::<Vec<_>>(), keys);
    assert_eq!(verified.metadata().scope, Scope::Live);
    assert_eq!(verify_code(&unsigned(), &keys), codes::NOT_SIGNED);
    assert_eq!(verify_code(&bytes, &[]), codes::SIG_UNTRUSTED);
    assert_eq!(verify_code(&bytes, &[public(&ed25519(9))]), codes::SIG_UNTRUSTED);
}

#[test]
fn adding_a_signature_changes_nothing_else() {
    let (one, _) = signed();
    let manifest = Bundle::parse(&one).unwrap().manifest().to_vec();
    let two = add_signature(&one, &ecdsa_blob(2, &manifest)).unwrap();
    let end = Bundle::parse(&two).unwrap().payload_end();
    assert_eq!(one[..end], two[..end]);
    assert_eq!(Bundle::parse(&two).unwrap().signatures().count(), 2);
    let code = |blob: &[u8]| add_signature(&one, blob).unwrap_err().code;
    assert_eq!(code(&ed25519_blob(&ed25519(1), &manifest)), codes::SIG_DUPLICATE);
    assert_eq!(code(&ed25519_blob(&ed25519(2), b"something else")), codes::SIG_INVALID);
    assert_eq!(code(include_bytes!("data/rsa.sshsig")), codes::KEY_TYPE);
    assert_eq!(code(include_bytes!("data/other-namespace.sshsig")), codes::SIG_NAMESPACE);
    let all = (2..17).try_fold(one, |b, n| add_signature(&b, &ed25519_blob(&ed25519(n), &manifest))).unwrap();
    let full = add_signature(&all, &ed25519_blob(&ed25519(17), &manifest)).unwrap_err();
    assert_eq!(full.code, codes::BAD_SIGNATURE_COUNT);
}

#[test]
fn a_threshold_counts_different_trusted_keys() {
    let bytes = unsigned();
    let manifest = Bundle::parse(&bytes).unwrap().manifest().to_vec();
    let (a, b, stranger) = (ed25519(1), ed25519(2), ed25519(3));
    let ec = ecdsa(4).1;
    let keys = [public(&a), public(&b), ec, public(&a)];
    let two = Policy { threshold: 2 };
    let verify = |blobs: &[Vec<u8>]| {
        let bytes = with_blobs(&bytes, blobs);
        Bundle::parse(&bytes).unwrap().verify(&keys, two).map(|v| v.signers().count()).map_err(|e| e.code)
    };
    let [by_a, by_b, by_stranger] = [&a, &b, &stranger].map(|k| ed25519_blob(k, &manifest));
    let by_ec = ecdsa_blob(4, &manifest);
    assert_eq!(verify(&[by_a.clone(), by_b.clone()]), Ok(2));
    assert_eq!(verify(&[by_a.clone(), by_ec.clone()]), Ok(2));
    assert_eq!(verify(&[by_a.clone(), by_stranger.clone(), by_b.clone()]), Ok(2));
    assert_eq!(verify(&[by_a.clone(), by_a.clone()]), Err(codes::SIG_THRESHOLD));
    assert_eq!(verify(&vec![by_a.clone(); 16]), Err(codes::SIG_THRESHOLD));
    // The same key with two different valid signatures is still one key: ECDSA signatures can be negated.
    assert_eq!(verify(&[by_ec.clone(), negated(&by_ec)]), Err(codes::SIG_THRESHOLD));
    assert_eq!(verify(&[by_a.clone(), by_stranger.clone()]), Err(codes::SIG_THRESHOLD));
    assert_eq!(verify(&[by_stranger]), Err(codes::SIG_UNTRUSTED));
    // A broken signature that claims a trusted key is an alarm, even if there are enough others.
    let mut broken = by_ec.clone();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(verify(&[by_a.clone(), by_b.clone(), broken]), Err(codes::SIG_INVALID));
    assert_eq!(verify(&[by_a, by_b, include_bytes!("data/rsa.sshsig").to_vec()]), Ok(2));
}

/// An ECDSA signature's twin (r, n - s), which verifies as well.
fn negated(blob: &[u8]) -> Vec<u8> {
    let key = ecdsa(4).1;
    let tail = &blob[blob.len() - 80..];
    // The value is two mpints of 32 or 33 bytes at the very end.
    let start = (0..16).find(|n| {
        let field = |at: usize| tail.get(at..at + 4).map(|b| u32::from_be_bytes(b.try_into().unwrap()) as usize);
        let r = field(*n).filter(|r| (30..=33).contains(r));
        r.and_then(|r| field(n + 4 + r).map(|s| n + 8 + r + s)) == Some(tail.len())
    });
    let value = &tail[start.unwrap()..];
    let r_len = value[3] as usize;
    let half = |b: &[u8]| {
        let mut out = [0; 32];
        let digits = if b.len() == 33 { &b[1..] } else { b };
        out[32 - digits.len()..].copy_from_slice(digits);
        out
    };
    let (r, s) = (half(&value[4..4 + r_len]), half(&value[8 + r_len..]));
    let signature = p256::ecdsa::Signature::from_scalars(r, s).unwrap();
    let twin = p256::ecdsa::Signature::from_scalars(r, -*signature.s()).unwrap();
    assert_ne!(twin, signature);
    patchfmt::sshsig::build(&key, &patchfmt::sshsig::ecdsa_value(&twin.to_bytes().into()))
}

#[test]
fn each_broken_header_field_has_its_code() {
    let bytes = unsigned();
    let u16 = |v: u16| v.to_le_bytes();
    let u32 = |v: u32| v.to_le_bytes();
    let entry = 32;
    let metadata = 32 + 2 * 48;
    let end = bytes.len() as u32;
    let cases: &[(usize, &[u8], Code)] = &[
        (0, b"\x88", codes::BAD_MAGIC),
        (7, b"\r", codes::BAD_MAGIC),
        (8, &u16(0), codes::BAD_VERSION),
        (10, &u16(0), codes::BAD_VERSION),
        (10, &u16(2), codes::BAD_VERSION),
        (12, &u32(end), codes::BAD_LAYOUT),
        (12, &u32(u32::MAX), codes::BAD_LAYOUT),
        (16, &u32(metadata + 1), codes::BAD_LAYOUT),
        (20, &u32(u32::MAX), codes::BAD_LAYOUT),
        (24, &u16(0), codes::BAD_COUNT),
        (24, &u16(65), codes::BAD_COUNT),
        (24, &u16(1), codes::BAD_LAYOUT),
        (24, &u16(64), codes::TRUNCATED),
        (26, &u16(1), codes::BAD_RESERVED),
        (28, &u32(end + 1), codes::TRUNCATED),
        (28, &u32(end - 1), codes::BAD_SECTION_PLACE),
        (28, &u32(40), codes::BAD_LAYOUT),
        (entry, &u16(0), codes::BAD_SECTION_KIND),
        (entry, &u16(3), codes::BAD_SECTION_KIND),
        (entry + 2, &u16(2), codes::BAD_CODEC),
        (entry + 4, &u32(0), codes::BAD_SECTION_PLACE),
        (entry + 4, &u32(u32::MAX), codes::BAD_SECTION_PLACE),
        (entry + 8, &u32(0), codes::BAD_SECTION_SIZE),
        (entry + 8, &u32(u32::MAX), codes::BAD_SECTION_PLACE),
        (entry + 12, &u32(0), codes::BAD_SECTION_SIZE),
        (entry + 12, &u32((256 << 20) + 1), codes::BAD_SECTION_SIZE),
        (entry + 12, &u32(256 << 20), codes::BAD_SECTION_SIZE),
        (entry + 48 + 12, &u32(3), codes::BAD_SECTION_SIZE),
    ];
    for (at, new, code) in cases {
        assert_eq!(parse_code(&put(&bytes, *at, new)), *code, "{new:?} at {at}");
    }
    assert_eq!(parse_code(&vec![0x89; patchfmt::wire::MAX_BUNDLE + 1]), codes::BUNDLE_TOO_LARGE);
    // Two entries for the same bytes.
    let twice = put(&bytes, entry + 48, &bytes[entry..entry + 48]);
    assert_eq!(parse_code(&twice), codes::BAD_SECTION_PLACE);
    let contents = |b: &[u8]| Bundle::parse(b).unwrap().unverified().unwrap_err().code;
    assert_eq!(contents(&put(&bytes, entry + 16, &[0; 32])), codes::DIGEST_MISMATCH);
    assert_eq!(contents(&put(&bytes, bytes.len() - 1, b"x")), codes::DIGEST_MISMATCH);
}

#[test]
fn signature_area_is_bounded() {
    let bytes = unsigned();
    let area = |tail: &[u8]| parse_code(&[&bytes, tail].concat());
    assert_eq!(area(b"x"), codes::BAD_SIGNATURE_AREA);
    assert_eq!(area(b"HPSX\x01\0\0\0\0\0\0\0"), codes::BAD_SIGNATURE_AREA);
    assert_eq!(area(b"HPSG\x01\0\x01\0\0\0\0\0"), codes::BAD_SIGNATURE_AREA);
    assert_eq!(area(b"HPSG\0\0\0\0"), codes::BAD_SIGNATURE_COUNT);
    assert_eq!(area(b"HPSG\x11\0\0\0"), codes::BAD_SIGNATURE_COUNT);
    assert_eq!(area(b"HPSG\x01\0\0\0\x01\x04\0\0"), codes::SIGNATURE_TOO_LONG);
    assert_eq!(area(b"HPSG\x01\0\0\0\xff\xff\xff\xff"), codes::SIGNATURE_TOO_LONG);
    assert_eq!(area(b"HPSG\x01\0\0\0\x02\0\0\0x"), codes::BAD_SIGNATURE_AREA);
    assert_eq!(area(b"HPSG\x02\0\0\0\x01\0\0\0x"), codes::BAD_SIGNATURE_AREA);
    assert_eq!(area(b"HPSG\x01\0\0\0\x01\0\0\0xy"), codes::TRAILING_BYTES);
    // Sound in form, but not a signature: seen before any key is tried.
    let empty = [&bytes[..], b"HPSG\x01\0\0\0\0\0\0\0"].concat();
    assert_eq!(verify_code(&empty, &[public(&ed25519(1))]), codes::SIG_MALFORMED);
}

#[test]
fn other_namespaces_are_refused_even_by_trusted_keys() {
    use ed25519_dalek::Signer;
    let bytes = unsigned();
    let key = ed25519(1);
    for namespace in ["git", "file", "hpatch-channel-v1", "hpatch-bundle-v2", "hpatch-bundle-v1\0", ""] {
        let mut block = patchfmt::sshsig::signed_block(Bundle::parse(&bytes).unwrap().manifest()).to_vec();
        let string = |s: &str| [&(s.len() as u32).to_be_bytes()[..], s.as_bytes()].concat();
        let replace = |v: Vec<u8>| {
            let old = string("hpatch-bundle-v1");
            let at = v.windows(old.len()).position(|w| w == old).unwrap();
            [&v[..at], &string(namespace), &v[at + old.len()..]].concat()
        };
        block = replace(block);
        let blob = replace(patchfmt::sshsig::build(&public(&key), &key.sign(&block).to_bytes()));
        assert_eq!(verify_code(&with_blobs(&bytes, &[blob]), &[public(&key)]), codes::SIG_NAMESPACE, "{namespace:?}");
    }
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let code = |m: &Metadata, sections: &[patchfmt::writer::NewSection<'_>]| write(m, sections).unwrap_err().code;
    let payload = payload();
    let one = [section(SectionKind::Payload, &payload)];
    assert_eq!(code(&least(), &[]), codes::BAD_COUNT);
    assert_eq!(code(&least(), &vec![one[0].clone(); 65]), codes::BAD_COUNT);
    assert_eq!(code(&least(), &[section(SectionKind::Payload, b"")]), codes::BAD_SECTION_SIZE);
    assert_eq!(code(&least(), &vec![one[0].clone(); 2]), codes::METADATA_MODULE);
    assert_eq!(code(&least(), &[section(SectionKind::Report, b"{}")]), codes::METADATA_MODULE);
    for id in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
        assert_eq!(code(&Metadata { id: id.into(), ..least() }, &one), codes::METADATA_ID, "{id:?}");
    }
    assert!(write(&Metadata { id: "x".repeat(128), ..least() }, &one).is_ok());
    assert_eq!(code(&Metadata { note: "\x1b[2J".into(), ..least() }, &one), codes::METADATA_TEXT);
    assert_eq!(code(&Metadata { note: "x".repeat(4097), ..least() }, &one), codes::METADATA_RANGE);
    assert_eq!(code(&Metadata { cves: vec![String::new()], ..least() }, &one), codes::METADATA_EMPTY);
    assert_eq!(code(&Metadata { modules: vec![], ..least() }, &one), codes::METADATA_EMPTY);
    assert_eq!(code(&Metadata { modules: vec![module("server", 0); 2], ..least() }, &one), codes::METADATA_MODULE);
    assert_eq!(code(&Metadata { modules: vec![module("server", 9)], ..least() }, &one), codes::METADATA_MODULE);
    assert_eq!(code(&Metadata { modules: vec![module("../x", 0)], ..least() }, &one), codes::METADATA_RANGE);
    assert_eq!(code(&Metadata { modules: vec![module("x", 0); 17], ..least() }, &one), codes::METADATA_RANGE);
    let anonymous = patchfmt::writer::Module { old_build_id: vec![1], ..module("server", 0) };
    assert_eq!(code(&Metadata { modules: vec![anonymous], ..least() }, &one), codes::METADATA_RANGE);
    let reasons = most().start_reasons;
    assert_eq!(code(&Metadata { start_reasons: reasons, ..least() }, &one), codes::METADATA_RANGE);
    let unknown = patchfmt::metadata::Capabilities(256);
    assert_eq!(code(&Metadata { capabilities: unknown, ..least() }, &one), codes::METADATA_RANGE);
}
