//! The operator's command as a library: the stop of a process, the check of its stacks, the switch of its code.
//! The binary `hpatch` is a thin layer above; tests and benchmarks call the same functions.

pub mod check;
pub mod cmd;
pub mod error;
pub mod fault;
pub mod interrupt;
pub mod moves;
pub mod privilege;
pub mod recovery;
pub mod shown;
pub mod switch;
pub mod target;
pub mod threads;
pub mod trace;
pub mod write;
