//! Tracing the target from outside its thread group.

pub mod chase;
pub mod door;
pub mod halt;
pub mod haste;
pub mod patience;
pub mod ptrace;
pub mod rendezvous;
pub mod restart;
pub mod rpc;
pub mod stop;
pub mod way_back;
