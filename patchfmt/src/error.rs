//! The one error of reading a bundle.

use crate::codes::Code;
use core::fmt;

/// Why a bundle, a signature or a key is refused, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FormatError {
    pub code: Code,
    /// Offset in bytes from the start of what was read (bundle, signature blob or key text).
    pub at: usize,
}

impl FormatError {
    #[must_use]
    pub fn new(code: Code, at: usize) -> FormatError {
        FormatError { code, at }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "alloc")]
        write!(f, "{}: {} (at byte {})", self.code, crate::codes::title(self.code), self.at)?;
        #[cfg(not(feature = "alloc"))]
        write!(f, "{} (at byte {})", self.code, self.at)?;
        Ok(())
    }
}

impl core::error::Error for FormatError {}
