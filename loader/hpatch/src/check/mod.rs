//! Is the code that is about to change in use?

pub mod deep;
pub mod dry;
pub mod forbidden;
pub mod foreign;
pub mod inside;
pub mod own;
pub mod report;
pub mod scan;
pub mod stacks;
pub mod unwind;
pub mod unwinders;
