//! Functions that save a context (POSIX, setjmp and getcontext): the context may return into old code after the patch. And coroutines of C++: one
//! that is suspended goes on in the new code, at the place that the old code numbered, with what that left in its frame.

use super::{Context, Findings};
use crate::compare::Cause;
use crate::diag::Severity;
use crate::image::{Image, Import};
use crate::lift::{Function, Slot, Target};
use patchfmt::codes;

/// Imports that save the context of their caller.
const SAVERS: [&str; 7] = ["setjmp", "_setjmp", "sigsetjmp", "__sigsetjmp", "getcontext", "swapcontext", "makecontext"];

/// What compilers append to a coroutine's name for the functions that go on with one (GCC: actor; clang: resume) and that end one.
const RESUMERS: [&str; 4] = ["actor", "resume", "destroy", "cleanup"];

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    for (old, _, cause) in context.set.changed() {
        let function = &a.old.functions[old.index()];
        if is_resumed(&function.name) && !matches!(cause, Cause::Holder | Cause::Reader) {
            let message = format!(
                "`{}` changed, which goes on with a coroutine: one that is suspended has the old code's places and numbers",
                function.name
            );
            findings.add(Severity::Start, codes::NONLOCAL_JUMP, &function.name, message);
        }
        if let Some(saver) = saver(a.old_image, function) {
            let message = format!("`{}` calls `{}`, and changed", function.name, saver.name);
            findings.add(Severity::Review, codes::NONLOCAL_JUMP, &function.name, message);
        }
    }
}

/// What a function calls that saves its context.
pub(super) fn saver<'a>(image: &'a Image, function: &Function) -> Option<&'a Import> {
    let import = |target: &Target| match target {
        Target::Import(id) | Target::Slot(Slot::Import { import: id, .. }) => Some(&image.imports[id.index()]),
        _ => None,
    };
    let mut imports = function.refs.iter().filter_map(|r| import(&r.target));
    imports.find(|i| SAVERS.contains(&i.name.as_str()))
}

fn is_resumed(name: &str) -> bool {
    name.starts_with("_Z") && name.split('.').skip(1).any(|part| RESUMERS.contains(&part))
}
