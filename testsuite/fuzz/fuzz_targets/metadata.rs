//! Metadata: what is accepted is encoded again to the same bytes, since there is one encoding of everything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchfmt::metadata::Metadata;
use patchfmt::writer;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(metadata) = Metadata::decode(bytes, 0) {
        let owned = writer::Metadata::from(&metadata);
        let again = writer::encode(&owned).expect("a buffer takes everything");
        // Keys that may be ignored are lost; nothing else is.
        assert!(again == bytes || again.len() < bytes.len());
    }
});
