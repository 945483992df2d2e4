//! The `.hpatch` bundle: wire types, strict reader, digests, signature check, diagnostic codes and, with feature `alloc`, the writer.
//!
//! `docs/format.md` is the law of the byte layout. Reading neither allocates nor panics, whatever the input.
//!
//! ```no_run
//! # fn demo(bytes: &[u8], keys: &[patchfmt::PublicKey]) -> Result<(), patchfmt::FormatError> {
//! let bundle = patchfmt::Bundle::parse(bytes)?.verify(keys, patchfmt::Policy::default())?;
//! for module in bundle.metadata().modules.iter() {
//!     let payload = bundle.payload(&module)?;
//!     let mut object = vec![0; payload.size as usize];
//!     payload.decode_into(&mut object)?;
//! }
//! # Ok(())
//! # }
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod base64;
mod bundle;
mod cbor;
pub mod codes;
mod error;
pub mod key;
pub mod metadata;
pub mod payload;
pub mod ssh;
pub mod sshsig;
pub mod wire;
#[cfg(feature = "alloc")]
pub mod writer;

pub use bundle::{Bundle, Codec, Contents, Policy, Section, SectionKind, Signatures, VerifiedBundle};
pub use codes::{Code, ExitCode};
pub use error::FormatError;
pub use key::{Fingerprint, PublicKey};
