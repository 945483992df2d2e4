//! Constructors and destructors (gABI, DT_INIT_ARRAY): the process has run the old ones; new ones would not run.

use super::{Context, Findings};
use crate::addr::SvmaRange;
use crate::diag::Severity;
use crate::image::{DynReloc, Image, ImageKind};
use crate::lift::Lifted;
use patchfmt::codes;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let names = |image: &Image, lifted: &Lifted| -> Vec<(String, Vec<String>)> {
        image.init_arrays.iter().map(|(name, range)| (name.clone(), entries(image, lifted, *range))).collect()
    };
    let (old, new) = (names(a.old_image, a.old), names(a.new_image, a.new));
    for (section, now) in &new {
        let before: &[String] = old.iter().find(|(n, _)| n == section).map_or(&[], |(_, e)| e);
        for name in now.iter().filter(|n| !before.contains(n)) {
            let message =
                format!("`{name}` is new in {section}: it would not run in a process that has started already");
            findings.add(Severity::Review, codes::INIT_ARRAY, name, message);
        }
    }
}

/// Names of the functions in an array.
fn entries(image: &Image, lifted: &Lifted, range: SvmaRange) -> Vec<String> {
    let words = (0..range.size() / 8).map(|i| range.start.plus(i * 8));
    words
        .filter_map(|at| match image.dynamic.get(&at) {
            Some(DynReloc::Relative { target }) => Some(*target),
            Some(DynReloc::Symbol { local: Some(target), .. }) => Some(*target),
            None if image.kind == ImageKind::Exec => {
                let word = image.bytes(at, 8)?.try_into().ok().map(u64::from_le_bytes)?;
                Some(crate::addr::Svma(word))
            }
            _ => None,
        })
        .map(|target| match lifted.func_at.get(&target) {
            Some(func) => lifted.functions[func.index()].name.clone(),
            None => format!("{target}"),
        })
        .collect()
}
