//! Shared by the loader and the operator's command: the control block and the in-process link editor.
//!
//! Everything here is a function of byte slices and of a [`image::Memory`] that can't fault; what changes a process is in the loader.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod abi;
pub mod arena;
pub mod elf;
pub mod image;
pub mod link;
pub mod maps;
pub mod payload;
pub mod plan;
pub mod report;
mod sort;
pub mod symbols;
