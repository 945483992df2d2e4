//! Shared by the loader and the operator's command.
#![no_std]
pub mod abi;
