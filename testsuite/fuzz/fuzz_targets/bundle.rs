//! A whole bundle: structure, digests, metadata, signatures, unpacking, records.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchfmt::payload::{self, Bind, Edit, Func, Guard, Range};
use patchfmt::{Bundle, Policy, PublicKey};

fuzz_target!(|bytes: &[u8]| {
    let trusted = [PublicKey::Ed25519([0x59; 32])];
    if let Ok(bundle) = Bundle::parse(bytes) {
        // No fuzzer finds a signature of a key that nobody has.
        assert!(bundle.verify(&trusted, Policy::default()).is_err());
        if let Ok(contents) = bundle.unverified() {
            for module in contents.metadata().modules.iter() {
                let section = contents.payload(&module).expect("checked when the metadata were read");
                if section.size < 1 << 22 {
                    let _ = section.decode();
                }
            }
        }
    }
    let ranges = payload::table::<Range>(bytes).unwrap_or_default();
    let _ = payload::table::<Func>(bytes).map(|t| t.iter().all(|r| r.check(ranges, &[]).is_ok()));
    let _ = payload::table::<Bind>(bytes).map(|t| t.iter().all(|r| r.check().is_ok()));
    let _ = payload::table::<Guard>(bytes).map(|t| t.iter().all(|r| r.check().is_ok()));
    let _ = payload::table::<Edit>(bytes).map(|t| t.iter().all(|r| r.check().is_ok()));
});
