//! The `.hpatch` bundle: wire types, strict reader, digests, signature check, diagnostic codes and, with feature `alloc`, the writer.
//!
//! `docs/format.md` is the law of the byte layout. Reading neither allocates nor panics, whatever the input.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod codes;
pub mod payload;
pub mod wire;

pub use codes::{Code, ExitCode};
