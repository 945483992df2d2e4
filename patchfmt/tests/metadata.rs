//! Metadata that another encoder might write: each deviation from the one allowed encoding has its code.
mod common;

use minicbor::Encoder;
use patchfmt::metadata::Metadata;
use patchfmt::{Code, codes};

type Field = Box<dyn Fn(&mut Encoder<&mut Vec<u8>>)>;

/// Raw bytes of one value.
fn raw(bytes: &'static [u8]) -> Field {
    Box::new(|e| e.writer_mut().extend_from_slice(bytes))
}

fn module() -> Field {
    Box::new(|e| {
        e.array(1).unwrap().map(8).unwrap();
        e.u8(0).unwrap().str("server").unwrap().u8(1).unwrap().bytes(&[1; 20]).unwrap();
        e.u8(2).unwrap().bytes(&[2; 20]).unwrap();
        for (key, value) in [(3, 0), (4, 1), (5, 1), (6, 0), (7, 0)] {
            e.u8(key).unwrap().u8(value).unwrap();
        }
    })
}

fn fields() -> Vec<(u64, Field)> {
    vec![
        (0, raw(b"\x61a")),
        (1, raw(b"\x00")),
        (2, raw(b"\x18\x3e")),
        (3, raw(b"\x01")),
        (4, module()),
        (9, raw(b"\x01")),
        (12, raw(b"\x61t")),
    ]
}

fn encode(fields: &[(u64, Field)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut e = Encoder::new(&mut out);
    e.map(fields.len() as u64).unwrap();
    for (key, value) in fields {
        e.u64(*key).unwrap();
        value(&mut e);
    }
    out
}

fn code(bytes: &[u8]) -> Code {
    Metadata::decode(bytes, 100).map(|m| m.id.len()).unwrap_err().code
}

/// With the value of `key` replaced or added.
fn with(key: u64, value: &'static [u8]) -> Vec<u8> {
    let mut all = fields();
    all.retain(|(k, _)| *k != key);
    all.push((key, raw(value)));
    all.sort_by_key(|(k, _)| *k);
    encode(&all)
}

#[test]
fn the_least_is_accepted_and_nothing_of_it_may_be_missing() {
    assert_eq!(Metadata::decode(&encode(&fields()), 0).unwrap().id, "a");
    for n in 0..fields().len() {
        let mut some = fields();
        drop(some.remove(n));
        assert_eq!(code(&encode(&some)), codes::METADATA_MISSING);
    }
}

#[test]
fn keys_ascend_once_and_are_known() {
    let mut swapped = fields();
    swapped.swap(0, 1);
    assert_eq!(code(&encode(&swapped)), codes::METADATA_ORDER);
    let mut twice = fields();
    twice.insert(1, (0, raw(b"\x61b")));
    assert_eq!(code(&encode(&twice)), codes::METADATA_ORDER);
    assert_eq!(code(&with(13, b"\x00")), codes::METADATA_UNKNOWN_KEY);
    assert_eq!(code(&with(999, b"\x00")), codes::METADATA_UNKNOWN_KEY);
    assert!(Metadata::decode(&with(1000, b"\x82\x01\xa1\x00\x61x"), 0).is_ok());
    assert_eq!(code(&with(1000, b"\x9f\xff")), codes::METADATA_INDEFINITE);
    assert_eq!(code(&with(u64::MAX, b"\x00")), codes::METADATA_RANGE);
}

#[test]
fn values_have_one_encoding() {
    for (key, value, want) in [
        (0, &b"\x41a"[..], codes::METADATA_TYPE),
        (0, b"\x60", codes::METADATA_ID),
        (0, b"\x7f\x61a\xff", codes::METADATA_INDEFINITE),
        (0, b"\x78\x01a", codes::METADATA_NOT_SHORTEST),
        (1, b"\x02", codes::METADATA_RANGE),
        (1, b"\x18\x00", codes::METADATA_NOT_SHORTEST),
        (1, b"\x20", codes::METADATA_TYPE),
        (1, b"\xf4", codes::METADATA_TYPE),
        (2, b"\x1a\x00\x01\x00\x00", codes::METADATA_RANGE),
        (3, b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00", codes::METADATA_RANGE),
        (4, b"\x80", codes::METADATA_EMPTY),
        (4, b"\x81\xa0", codes::METADATA_MISSING),
        (4, b"\x9f\xff", codes::METADATA_INDEFINITE),
        (5, b"\x80", codes::METADATA_EMPTY),
        (5, b"\x81\x61\x07", codes::METADATA_TEXT),
        (6, b"\x60", codes::METADATA_EMPTY),
        (6, b"\x61\xff", codes::METADATA_TEXT),
        (7, b"\x81\x81\x01", codes::METADATA_TYPE),
        (7, b"\x81\x82\x19\x27\x10\x61x", codes::METADATA_RANGE),
        (9, b"\x19\x01\x00", codes::METADATA_RANGE),
        (10, b"\x00", codes::METADATA_EMPTY),
        (12, b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff", codes::METADATA_LENGTH),
    ] {
        assert_eq!(code(&with(key, value)), want, "key {key}: {value:02x?}");
    }
    let whole = encode(&fields());
    assert_eq!(code(&[&whole[..], &[0]].concat()), codes::METADATA_LENGTH);
    for n in 0..whole.len() {
        assert_eq!(code(&whole[..n]), codes::METADATA_LENGTH, "cut at {n}");
    }
    assert_eq!(Metadata::decode(&[0x80], 100).unwrap_err().at, 100);
}
