//! What is told about a comparison: causes as a reader understands them, and everything known of one function.

mod causes;
pub mod dump;
pub mod function;

pub use causes::{Reason, Reasons};
