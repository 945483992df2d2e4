//! What can be done with a finished bundle: show it, take it apart, sign it, verify it.

pub mod agent;
pub mod armour;
pub mod disasm;
pub mod extract;
pub mod file;
pub mod inspect;
pub mod object;
pub mod private_key;
pub mod sign;
pub mod trust;

use patchfmt::codes::{self, Code};
use patchfmt::{Bundle, FormatError};
use std::fmt;

/// Why a verb stopped. The title and the advice come from the table of codes; this adds what is particular.
#[derive(Clone, Debug)]
pub struct Failure {
    pub code: Code,
    /// What it's about, usually a path.
    pub subject: String,
    /// The system's reason, an offset, a name.
    pub detail: Option<String>,
    /// Better advice than the table's.
    pub help: Option<String>,
}

impl Failure {
    pub fn new(code: Code, subject: impl fmt::Display) -> Failure {
        Failure { code, subject: subject.to_string(), detail: None, help: None }
    }
    #[must_use]
    pub fn detail(mut self, detail: impl fmt::Display) -> Failure {
        self.detail = Some(detail.to_string());
        self
    }
    #[must_use]
    pub fn help(mut self, help: impl fmt::Display) -> Failure {
        self.help = Some(help.to_string());
        self
    }
    /// A [`FormatError`] in the file `subject`.
    pub fn format(subject: impl fmt::Display, error: FormatError) -> Failure {
        Failure::new(error.code, subject).detail(format_args!("at byte {} of the file", error.at))
    }
    /// A failed system call on the file `subject`.
    pub fn io(code: Code, subject: impl fmt::Display, error: &std::io::Error) -> Failure {
        Failure::new(code, subject).detail(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code, codes::title(self.code), self.subject)?;
        self.detail.iter().try_for_each(|d| write!(f, " ({d})"))
    }
}

impl std::error::Error for Failure {}

/// The bytes to sign.
///
/// # Errors
/// When the bytes aren't a sound bundle.
pub fn manifest<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a [u8], Failure> {
    let bundle = Bundle::parse(bytes).map_err(|e| Failure::format(name, e))?;
    // Nobody shall be asked to sign what can't be applied.
    bundle.unverified().map_err(|e| Failure::format(name, e))?;
    Ok(bundle.manifest())
}
