//! Names that only one build exports: in the patched process the old ones stay, with their old code, and other modules don't find the new ones. A
//! name that the old build has from another module (`malloc`, `operator new`) would mean two things there.

use super::{Context, Findings};
use crate::diag::Severity;
use crate::image::{Binding, DynReloc, Symbol};
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
    let a = context.analysis;
    let from_elsewhere: BTreeSet<&str> = a.old_image.imports.iter().map(|i| i.name.as_str()).collect();
    // What is copied into the program is another module's all the same.
    let copied = |s: &Symbol| matches!(a.new_image.dynamic.get(&s.svma), Some(DynReloc::Copy { .. }));
    let other = |s: &Symbol| from_elsewhere.contains(s.name.as_str()) && !old.contains(&s.name);
    let own = |s: &&Symbol| s.binding != Binding::Local && other(s) && !copied(s);
    for name in a.new_image.symbols.iter().filter(own).map(|s| &s.name).collect::<BTreeSet<_>>() {
        let message =
            format!("`{name}` was another module's and is the program's own now: old code goes on with the other one");
        findings.add(Severity::Review, codes::EXPORTED_REMOVED, name, message);
    }
    for name in new.difference(&old) {
        let message = format!("`{name}` is newly exported; in a patched process other modules can't find it");
        findings.add(Severity::Note, codes::EXPORTED_REMOVED, name, message);
    }
}
