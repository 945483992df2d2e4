//! The offline compiler: two linked ELF builds in, a hot-patch bundle out.
//!
//! One pipeline; each phase is a folder and borrows immutably from the ones before:
//! `image` → `lift` → `types` → `correlate` → `compare` → `include` → `check` → `link` → `emit`, and `rewrite` beside the last.

pub mod addr;
pub mod bundle;
pub mod check;
pub mod cli;
pub mod compare;
pub mod correlate;
pub mod diag;
pub mod drift;
pub mod dwarf;
pub mod emit;
pub mod image;
pub mod include;
pub mod keep;
pub mod lift;
pub mod link;
pub mod migrate;
pub mod pipeline;
pub mod report;
pub mod rewrite;
mod rust_names;
mod settle;
pub mod types;
pub mod verify_bundle;
