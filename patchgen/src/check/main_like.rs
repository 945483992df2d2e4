//! `main` is on the stack as long as the process lives: a change of it never finds a safe point.

use super::{Context, Findings};
use crate::compare::Cause;
use crate::diag::Severity;
use patchfmt::codes;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let idle = context.set.idle.iter().map(|f| (f.old, f.cause));
    for (old, cause) in context.set.changed().map(|(old, _, cause)| (old, cause)).chain(idle) {
        let name = &context.analysis.old.functions[old.index()].name;
        if name == "main" {
            let why =
                if matches!(cause, Cause::Reader | Cause::Holder | Cause::Caller) { cause.word() } else { "changed" };
            let message = format!(
                "`main` {why}: it is on the stack as long as the process lives, so only a start finds it inactive"
            );
            findings.add(Severity::Start, codes::NEVER_RETURNS, name, message);
        }
    }
}
