//! Findings: what a user must know, with a stable code. The table of codes and their explanations is `patchfmt::codes`.

use serde::Serialize;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Note,
    /// Needs `--accept CODE[:SYMBOL]`.
    Review,
    /// Only safe while no instance or state is alive: makes the bundle's scope `start`.
    Start,
    Refuse,
}

/// One finding, printed once with all others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// `512` prints as `HP0512`.
    pub code: u16,
    pub symbol: String,
    /// `file:line` from DWARF, where known.
    pub place: Option<String>,
    pub message: String,
    pub help: Option<String>,
}
