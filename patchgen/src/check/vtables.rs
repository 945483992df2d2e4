//! Virtual tables that changed their size: live objects keep pointing to the old one (Itanium C++ ABI, 2.5).

use super::{Context, Findings};
use crate::compare::DataDiff;
use crate::diag::Severity;
use patchfmt::codes;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    for change in &a.changes.data_changed {
        let name = &a.new.data[change.new.index()].name;
        if let (true, DataDiff::Size { old, new }) = (name.starts_with("_ZTV"), change.diff) {
            let message =
                format!("the vtable `{name}` was {old} bytes and is now {new}; live objects point to the old one");
            findings.add(Severity::Start, codes::VTABLE, name, message);
        }
    }
}
