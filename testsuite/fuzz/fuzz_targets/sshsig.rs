//! Signatures and public keys, binary and as text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchfmt::sshsig::{SshSig, signed_block};
use patchfmt::{PublicKey, key};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signature) = SshSig::parse(bytes)
        && let Some(key) = signature.key()
    {
        let _ = signature.verify(&key, &signed_block(b"message"));
    }
    if let Ok(key) = PublicKey::from_wire(bytes) {
        assert_eq!(key.to_wire(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = key::keys_in(text).count();
    }
});
