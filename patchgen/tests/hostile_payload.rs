//! Payloads as nobody should write them: shown by `inspect` or refused with a code, never a panic.

mod common;

use patchfmt::codes;
use patchgen::bundle::{disasm, inspect, object::Object};
use std::time::{Duration, Instant};

/// Reads all that `inspect --disasm` reads.
fn read(bytes: &[u8]) -> bool {
    Object::read(bytes).map(|object| disasm::text(&object).len()).is_ok()
}

#[test]
fn the_intact_payload_is_read() {
    let bytes = common::payload();
    assert!(read(&bytes));
    assert!(inspect::inspect("x", &common::bundle()).is_ok());
    for n in 0..bytes.len() {
        read(&bytes[..n]);
    }
    for other in [&b""[..], b"\x7fELF", include_bytes!("hostile_payload.rs")] {
        assert_eq!(Object::read(other).unwrap_err(), codes::PAYLOAD_NOT_OBJECT);
    }
    // An executable isn't a payload.
    let program = std::fs::read(env!("CARGO_BIN_EXE_patchgen")).unwrap();
    assert_eq!(Object::read(&program).unwrap_err(), codes::PAYLOAD_NOT_OBJECT);
}

#[test]
fn damaged_tables_are_refused() {
    let bytes = common::payload();
    let object = Object::read(&bytes).unwrap();
    let at = |name: &str| {
        let section = object.sections.iter().find(|s| s.name == name).unwrap();
        section.bytes.as_ptr() as usize - bytes.as_ptr() as usize
    };
    let (func, bind, edit, range, psite) =
        (at(".hpatch.func"), at(".hpatch.bind"), at(".hpatch.edit"), at(".hpatch.range"), at(".hpatch.psite"));
    let keep = at(".hpatch.keep");
    let u32 = |v: u32| v.to_le_bytes();
    let cases: &[(usize, &[u8], patchfmt::Code)] = &[
        (func + 16, &u32(4), codes::RECORD_VALUE),
        (func + 20, &u32(99), codes::RECORD_INDEX),
        (func + 24, &u32(7), codes::RECORD_INDEX),
        (func + 36, &u32(u32::MAX), codes::RECORD_INDEX),
        (func + 40, &u32(u32::MAX), codes::RECORD_INDEX),
        (func + 44, &u32(2), codes::RECORD_VALUE),
        (range + 8, &[0; 8], codes::RECORD_VALUE),
        (bind, &u32(0), codes::RECORD_VALUE),
        (bind, &u32(99), codes::RECORD_INDEX),
        (bind + 4, &[4], codes::RECORD_VALUE),
        (edit, &0x1000u64.to_le_bytes(), codes::RECORD_ORDER),
        (edit + 8, &u32(5), codes::RECORD_VALUE),
        (edit + 40, &[1], codes::RECORD_VALUE),
        (psite, &u32(0), codes::RECORD_VALUE),
        (psite + 4, &u32(14), codes::RECORD_VALUE),
        (keep, &[9], codes::RECORD_ORDER),
        (keep + 56, &[1; 16], codes::RECORD_VALUE),
        (keep + 32, &u32(0), codes::RECORD_VALUE),
        (keep + 32, &u32(9), codes::RECORD_VALUE),
        (keep + 36, &u32(0), codes::RECORD_VALUE),
        (keep + 36, &u32(99), codes::RECORD_INDEX),
        (keep + 40, &u32(u32::MAX), codes::RECORD_INDEX),
        (keep + 44, &u32(2), codes::RECORD_VALUE),
        (keep + 48, &u64::MAX.to_le_bytes(), codes::RECORD_VALUE),
        (keep + 48, &5u64.to_le_bytes(), codes::RECORD_VALUE),
    ];
    for (at, new, code) in cases {
        let mut bad = bytes.clone();
        bad[*at..at + new.len()].copy_from_slice(new);
        assert_eq!(Object::read(&bad).err(), Some(*code), "{new:?} at {at}");
    }
}

#[test]
fn random_changes_never_panic() {
    let intact = common::payload();
    let mut state = 0x6870_6174_6368u64;
    let mut random = |n: usize| {
        // xorshift64: the same changes in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    let end = Instant::now() + Duration::from_secs(2);
    let mut rounds = 0;
    let mut accepted = 0;
    while Instant::now() < end || rounds < 2000 {
        let mut bad = intact.clone();
        for _ in 0..=random(3) {
            let at = random(bad.len() - 8);
            match random(4) {
                0 => bad[at] ^= 1 << random(8),
                1 => bad[at] = random(256) as u8,
                2 => bad[at..at + 4].copy_from_slice(&[0, 1, 0x7fff_ffff, u32::MAX][random(4)].to_le_bytes()),
                _ => bad[at..at + 8].copy_from_slice(&[0, 1 << 32, i64::MAX as u64, u64::MAX][random(4)].to_le_bytes()),
            }
        }
        accepted += usize::from(read(&bad));
        rounds += 1;
    }
    assert!(accepted > 0 && accepted < rounds, "{accepted} of {rounds}: the changes don't reach what they should");
}
