//! Diagnostic codes (`HP0512`), stable for ever: a code is never renumbered or given another meaning.
//!
//! One file for each range of numbers. To add a code, add an entry to its file; nothing else lists them.
//! The texts are only there with feature `alloc`: the loader carries numbers.

use core::fmt;

/// A diagnostic code; `Code(512)` prints as `HP0512`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HP{:04}", self.0)
    }
}
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Code {
    /// Reads `HP0512`, `hp0512`, `0512` or `512`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Code> {
        let digits = match text.as_bytes() {
            [b'H' | b'h', b'P' | b'p', ..] => text.get(2..)?,
            _ => text,
        };
        if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().map(Code)
    }

    /// What a command that stops because of this code returns to its caller.
    #[must_use]
    pub fn exit(self) -> ExitCode {
        match self {
            NOTHING_CHANGED => return ExitCode::NothingChanged,
            NO_LOADER => return ExitCode::Io,
            TRUST_EMPTY => return ExitCode::Untrusted,
            LOADER_BUSY => return ExitCode::Busy,
            LOADER_BLOCKED => return ExitCode::Blocked,
            UNFINISHED => return ExitCode::HalfWay,
            SCOPE_START | NOT_ON_TOP | NOT_APPLIED | ALREADY_APPLIED => return ExitCode::Refused,
            _ => {}
        }
        match self.0 {
            0..=9 => ExitCode::Usage,
            10..=199 => ExitCode::Io,
            200..=699 => ExitCode::Refused,
            700..=1099 => ExitCode::Untrusted,
            1100..=1199 | 1400..=1499 => ExitCode::Refused,
            1200..=1299 => ExitCode::Busy,
            1300..=1399 => ExitCode::RolledBack,
            _ => ExitCode::Internal,
        }
    }
}

/// Exit status of every command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ExitCode {
    Done = 0,
    Internal = 1,
    Usage = 2,
    NothingChanged = 3,
    Refused = 4,
    /// Bad bundle, bad signature, or a policy forbids it.
    Untrusted = 5,
    /// Input file or I/O.
    Io = 6,
    /// Target busy or timed out; unchanged.
    Busy = 7,
    /// Failed half-way and taken back; unchanged.
    RolledBack = 8,
    /// The loader in that target refuses further work.
    Blocked = 9,
    /// Neither as before nor wholly changed: what a killed command left isn't recovered yet.
    HalfWay = 10,
}

/// How grave a code usually is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    Note,
    /// Needs `--accept CODE[:SYMBOL]`.
    Review,
    /// Only safe before `main`: makes the bundle's scope `start`.
    Start,
    Refuse,
    /// Not a judgement on a patch: something failed or is malformed.
    Error,
}

impl Severity {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Review => "review",
            Severity::Start => "start",
            Severity::Refuse => "refuse",
            Severity::Error => "error",
        }
    }
}

/// What `explain` prints.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub code: Code,
    pub severity: Severity,
    /// One line, lower case, no full stop.
    pub title: &'static str,
    /// What the tool saw.
    pub seen: &'static str,
    /// Why it stops, or why one should know.
    pub why: &'static str,
    /// What to do.
    pub act: &'static str,
    /// A minimal example, empty where none helps.
    pub example: &'static str,
}

macro_rules! codes {
    ($($name:ident = $n:literal $severity:ident $title:literal {
        seen: $seen:literal, why: $why:literal, act: $act:literal $(, example: $example:literal)? $(,)?
    })*) => {
        $(#[doc = $title] pub const $name: $crate::codes::Code = $crate::codes::Code($n);)*
        #[cfg(feature = "alloc")]
        pub(super) const TABLE: &[$crate::codes::Entry] = &[$($crate::codes::Entry {
            code: $name, severity: $crate::codes::Severity::$severity, title: $title,
            seen: $seen, why: $why, act: $act, example: concat!($($example)?),
        }),*];
    };
}

mod c00_files;
mod c01_image;
mod c02_lift;
mod c03_correlate;
mod c04_compare;
mod c05_patchability;
mod c06_emit;
mod c07_format;
mod c10_verify;
mod c11_bind;
mod c12_quiesce;
mod c13_apply;
mod c14_control;
mod c99_internal;

pub use c00_files::*;
pub use c01_image::*;
pub use c02_lift::*;
pub use c03_correlate::*;
pub use c04_compare::*;
pub use c05_patchability::*;
pub use c06_emit::*;
pub use c07_format::*;
pub use c10_verify::*;
pub use c11_bind::*;
pub use c12_quiesce::*;
pub use c13_apply::*;
pub use c14_control::*;
pub use c99_internal::*;

/// Every code, ascending.
#[cfg(feature = "alloc")]
pub fn all() -> impl Iterator<Item = &'static Entry> {
    [
        c00_files::TABLE,
        c01_image::TABLE,
        c02_lift::TABLE,
        c03_correlate::TABLE,
        c04_compare::TABLE,
        c05_patchability::TABLE,
        c06_emit::TABLE,
        c07_format::TABLE,
        c10_verify::TABLE,
        c11_bind::TABLE,
        c12_quiesce::TABLE,
        c13_apply::TABLE,
        c14_control::TABLE,
        c99_internal::TABLE,
    ]
    .into_iter()
    .flatten()
}

/// The entry of a code.
#[cfg(feature = "alloc")]
#[must_use]
pub fn find(code: Code) -> Option<&'static Entry> {
    all().find(|e| e.code == code)
}

/// The title of a code, for messages.
#[cfg(feature = "alloc")]
#[must_use]
pub fn title(code: Code) -> &'static str {
    find(code).map_or("unknown code", |e| e.title)
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn ascending_complete_and_readable() {
        let mut last = 0;
        for e in all() {
            assert!(e.code.0 > last, "{} is out of order or listed twice", e.code);
            last = e.code.0;
            assert!(!e.title.ends_with('.') && !e.title.is_empty(), "{}: title", e.code);
            assert!(e.title.len() <= 90, "{}: title is too long", e.code);
            for text in [e.seen, e.why, e.act] {
                assert!(text.ends_with('.') && text.len() >= 8, "{}: {text:?}", e.code);
            }
            // What somebody's source can cause is shown by an example.
            assert!(!(400..600).contains(&e.code.0) || !e.example.is_empty(), "{}: no example", e.code);
        }
    }

    #[test]
    fn code_text_round_trip() {
        assert_eq!(Code(512).to_string(), "HP0512");
        for e in all() {
            assert_eq!(Code::parse(&e.code.to_string()), Some(e.code));
        }
        assert_eq!(Code::parse("hp7"), Some(Code(7)));
        for bad in ["", "HP", "HP05121", "+512", "5é", "HPé", "é"] {
            assert_eq!(Code::parse(bad), None, "{bad}");
        }
    }
}
