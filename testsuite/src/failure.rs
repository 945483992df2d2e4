//! One error type: a scenario that fails needs a sentence, not a category.

use std::fmt;

/// What went wrong, for a reader of the test's output.
#[derive(Debug)]
pub struct Failure(pub String);

pub type Result<T> = std::result::Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure(format!("input or output: {error}"))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure(format!("JSON: {error}"))
    }
}

impl From<regex::Error> for Failure {
    fn from(error: regex::Error) -> Failure {
        Failure(format!("regular expression: {error}"))
    }
}

/// Returns a [`Failure`] with a formatted sentence.
#[macro_export]
macro_rules! fail {
    ($($arg:tt)*) => { return Err($crate::Failure(format!($($arg)*))) };
}

/// Fails with the sentence unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($arg:tt)*) => {
        if !$condition { return Err($crate::Failure(format!($($arg)*))); }
    };
}
