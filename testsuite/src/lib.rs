//! The harness behind the scenario tests, the demo, the corpus table and the benchmarks.
//!
//! It knows `patchgen`, `hpatch` and the loader only as programs and files: what it checks is what a user would see.

pub mod bundle;
pub mod compile;
pub mod corpus;
pub mod differ;
pub mod failure;
pub mod fuzz;
pub mod left_out;
pub mod load;
pub mod matrix;
pub mod paths;
pub mod process;
pub mod program;
pub mod real;
pub mod sandbox;
pub mod scenario;
pub mod self_diff;
pub mod snapshot;
pub mod special;
pub mod story;
pub mod suites;
pub mod target;
pub mod turn;

pub use failure::{Failure, Result};
