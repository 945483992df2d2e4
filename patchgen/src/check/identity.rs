//! Old and new must be two builds of one thing.

use super::{Context, Findings};
use crate::diag::Severity;
use patchfmt::codes;
use patchfmt::metadata::BUILD_ID;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let (old, new) = (context.analysis.old_image, context.analysis.new_image);
    if old.kind != new.kind {
        let message = format!("the old image is {:?}, the new one is {:?}", old.kind, new.kind);
        findings.add(Severity::Refuse, codes::KIND_DIFFERS, "", message);
    }
    if old.soname != new.soname {
        let name = |s: &Option<String>| s.clone().unwrap_or_else(|| "none".to_owned());
        let message = format!("the soname was {} and is now {}", name(&old.soname), name(&new.soname));
        findings.add(Severity::Refuse, codes::IDENTITY, "", message);
    }
    for (image, which) in [(old, "old"), (new, "new")] {
        if image.build_id.is_empty() {
            let message = format!("the {which} image has no build-id, by which a loader could know it");
            findings.add(Severity::Refuse, codes::NO_BUILD_ID, "", message);
        } else if !BUILD_ID.contains(&image.build_id.len()) {
            let (len, least, most) = (image.build_id.len(), BUILD_ID.start(), BUILD_ID.end());
            let message = format!("the {which} image's build-id has {len} bytes, a bundle's from {least} to {most}");
            findings.add(Severity::Refuse, codes::NO_BUILD_ID, "", message);
        }
    }
    if !old.build_id.is_empty() && old.build_id == new.build_id && !context.set.is_empty() {
        let message =
            "both images have the same build-id, though they differ: a loader couldn't know the old one by it"
                .to_owned();
        findings.add(Severity::Refuse, codes::NO_BUILD_ID, "", message);
    }
    for library in new.needed.iter().filter(|l| !old.needed.contains(l)) {
        // What the patch imports is resolved before anything is changed in the target; the list itself decides nothing.
        let message = format!("the new build needs {library}, which the target may not have loaded");
        findings.add(Severity::Note, codes::NEEDED, library, message);
    }
}
