//! Exported names that the new build doesn't have any more: in the patched process they stay, with their old code.

use super::{Context, Findings};
use crate::diag::Severity;
use patchfmt::codes;
use std::collections::BTreeSet;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let exported = |image: &crate::image::Image| -> BTreeSet<String> {
        image.symbols.iter().filter(|s| s.exported).map(|s| s.name.clone()).collect()
    };
    let (old, new) = (exported(context.analysis.old_image), exported(context.analysis.new_image));
    for name in old.difference(&new) {
        let message = format!("`{name}` isn't exported any more; in a patched process it stays, with its old code");
        findings.add(Severity::Note, codes::EXPORTED_REMOVED, name, message);
    }
    for name in new.difference(&old) {
        let message = format!("`{name}` is newly exported; in a patched process other modules can't find it");
        findings.add(Severity::Note, codes::EXPORTED_REMOVED, name, message);
    }
}
