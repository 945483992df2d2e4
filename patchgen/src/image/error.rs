//! Why an input file can't be used.

use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use patchfmt::codes;
use patchfmt::codes::Code;

/// An input file that is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct ImageError {
    pub code: Code,
    pub path: PathBuf,
    pub what: String,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code, self.path.display(), self.what)
    }
}

/// Gives errors of one file their path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blame<'a>(pub &'a Path);

impl Blame<'_> {
    pub fn err(self, code: Code, what: impl fmt::Display) -> ImageError {
        ImageError { code, path: self.0.to_path_buf(), what: what.to_string() }
    }
    /// For `map_err`: prefixes a library's message.
    pub fn with<E: fmt::Display>(self, code: Code, what: &'static str) -> impl Fn(E) -> ImageError {
        move |e| self.err(code, format_args!("{what}: {e}"))
    }
}
