//! What stays of the old image and is relied upon: all of its code and all of its constants, since every function that isn't replaced was
//! proven equal to what is there.

use super::text::preimage;
use super::{GuardRecord, Linker};
use crate::addr::SvmaRange;
use crate::image::{Image, Section, SectionKind};

/// Sections further apart are guarded apart, bytes.
const GAP: u64 = 4096;

/// Code and constants are guarded apart: they lie in different segments as a rule.
fn is_code(section: &Section) -> Option<bool> {
    match section.kind {
        SectionKind::Text | SectionKind::Plt => Some(true),
        SectionKind::Rodata => Some(false),
        _ => None,
    }
}

/// Runs of neighbouring sections of one sort, as first and last section.
fn runs(image: &Image) -> Vec<(&Section, &Section)> {
    let fits = |s: &&Section| s.has_bytes && s.range.size() > 0 && !s.writable && is_code(s).is_some();
    let mut sections: Vec<&Section> = image.sections.iter().filter(fits).collect();
    sections.sort_by_key(|s| s.range.start);
    let mut runs: Vec<(&Section, &Section)> = Vec::new();
    for section in sections {
        let next = |run: &&mut (&Section, &Section)| {
            is_code(run.1) == is_code(section)
                && section.range.start.0.checked_sub(run.1.range.end.0).is_some_and(|gap| gap < GAP)
                && image.run_bytes(run.0, section).is_some()
        };
        match runs.last_mut().filter(next) {
            Some(run) => run.1 = section,
            None => runs.push((section, section)),
        }
    }
    runs
}

impl Linker<'_, '_> {
    pub(super) fn record_guards(&mut self) {
        if self.out.funcs.is_empty() && self.out.edits.is_empty() {
            return;
        }
        let image = self.analysis.old_image;
        for (first, last) in runs(image) {
            let Some(bytes) = image.run_bytes(first, last) else { continue };
            let range = SvmaRange::new(first.range.start, bytes.len() as u64);
            // What the dynamic linker writes to differs from process to process (text relocations).
            if image.dynamic_in(range).next().is_some() {
                continue;
            }
            let name = if is_code(first) == Some(true) { "code" } else { "constants" };
            self.out.guards.push(GuardRecord { name: name.to_owned(), range, preimage: preimage([bytes]) });
        }
    }
}
