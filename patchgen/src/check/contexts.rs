//! Functions that save a context (POSIX, setjmp and getcontext): the context may return into old code after the patch.

use super::{Context, Findings};
use crate::diag::Severity;
use crate::image::Import;
use crate::lift::{Slot, Target};
use patchfmt::codes;

/// Imports that save the context of their caller.
const SAVERS: [&str; 7] = ["setjmp", "_setjmp", "sigsetjmp", "__sigsetjmp", "getcontext", "swapcontext", "makecontext"];

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    for (old, _, _) in context.set.changed() {
        let function = &a.old.functions[old.index()];
        let import = |target: &Target| match target {
            Target::Import(id) | Target::Slot(Slot::Import { import: id, .. }) => {
                Some(&a.old_image.imports[id.index()])
            }
            _ => None,
        };
        let saver = function
            .refs
            .iter()
            .filter_map(|r| import(&r.target))
            .find(|i: &&Import| SAVERS.contains(&i.name.as_str()));
        if let Some(saver) = saver {
            let message = format!("`{}` calls `{}`, and changed", function.name, saver.name);
            findings.add(Severity::Review, codes::NONLOCAL_JUMP, &function.name, message);
        }
    }
}
