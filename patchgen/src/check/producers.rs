//! The compilers and flags that made the builds (DW_AT_producer): other ones mean that everything may differ for no reason.

use crate::diag::{Finding, Severity};
use crate::dwarf::DebugInfo;
use patchfmt::codes;
use std::collections::BTreeSet;

/// At most one finding.
pub fn producers(old: &DebugInfo<'_>, new: &DebugInfo<'_>) -> Option<Finding> {
    let names = |info: &DebugInfo<'_>| -> BTreeSet<String> { info.producers().into_keys().collect() };
    let (old, new) = (names(old), names(new));
    let (gone, added): (Vec<_>, Vec<_>) = (old.difference(&new).collect(), new.difference(&old).collect());
    if gone.is_empty() || added.is_empty() {
        return None;
    }
    Some(Finding {
        severity: Severity::Review,
        code: codes::PRODUCER_DIFFERS.0,
        symbol: String::new(),
        place: None,
        message: format!("the old build was made by {:?}, the new one by {:?}", gone[0], added[0]),
        help: Some("build both with the same compiler and flags".to_owned()),
    })
}
