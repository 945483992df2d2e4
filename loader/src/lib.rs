//! `libhpatch_loader.so`: the library that lives in the patched process.
//!
//! It runs twice: as a constructor when it is preloaded, and on a short-lived control thread while the `hpatch` command has an
//! operation under way (see [`hpatch_core::abi`]). It has no thread of its own, doesn't use the C library, keeps nothing of its own in
//! thread-local storage, and asks the kernel with raw system calls.
#![no_std]

mod control;
mod dir;
mod entry;
mod gate;
mod guard;
mod helper;
mod hook;
mod jit;
mod mem;
mod place;
mod prepare;
mod process;
mod records;
mod store;
mod sys;
mod threads;
mod trust;
mod unwind;
