//! `main` is on the stack as long as the process lives: a change of it never finds a safe point.

use super::{Context, Findings};
use crate::diag::Severity;
use patchfmt::codes;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    for (old, _, _) in context.set.changed() {
        let name = &context.analysis.old.functions[old.index()].name;
        if name == "main" {
            let message =
                "`main` changed: it is on the stack as long as the process lives, so only a start finds it inactive";
            findings.add(Severity::Start, codes::NEVER_RETURNS, name, message.to_owned());
        }
    }
}
