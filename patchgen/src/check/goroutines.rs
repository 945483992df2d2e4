//! Go: its stacks aren't those of threads, and its runtime walks them by tables of its own.

use super::{Context, Findings};
use crate::diag::Severity;
use crate::image::Image;
use patchfmt::codes;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    // The runtime can't do without this table, so a stripped program has it, too. Its name has a prefix in position-independent ones.
    let has_runtime = |image: &Image| image.sections.iter().any(|s| s.name.ends_with(".gopclntab"));
    let builds = [context.analysis.old_image, context.analysis.new_image];
    if let Some(image) = builds.into_iter().find(|image| has_runtime(image)) {
        let message = format!("`{}` runs goroutines, whose stacks can't be looked at", image.path.display());
        findings.add(Severity::Refuse, codes::GOROUTINES, "", message);
    }
}
