//! `main` is on the stack as long as the process lives: a change of it never finds a safe point.

use super::instances::address_of;
use super::{Context, Findings};
use crate::addr::FuncId;
use crate::compare::Cause;
use crate::diag::Severity;
use crate::lift::Lifted;
use patchfmt::codes;

/// What the start-up code's `main` has as the program's own: in Rust it gives it to `lang_start`, in Fortran it has a name.
fn is_main(lifted: &Lifted, id: FuncId) -> bool {
    let name = |id: FuncId| lifted.functions[id.index()].name.as_str();
    let starts = |id: FuncId| name(id).contains("lang_start");
    let Some(first) = lifted.functions.iter().find(|f| f.name == "main") else { return false };
    let known: Vec<FuncId> = first.refs.iter().filter_map(|r| address_of(&r.target)).collect();
    matches!(name(id), "main" | "MAIN__") || known.contains(&id) && !starts(id) && known.iter().any(|&k| starts(k))
}

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let idle = context.set.idle.iter().map(|f| (f.old, f.cause));
    for (old, cause) in context.set.changed().map(|(old, _, cause)| (old, cause)).chain(idle) {
        let name = &context.analysis.old.functions[old.index()].name;
        if is_main(context.analysis.old, old) {
            let why =
                if matches!(cause, Cause::Reader | Cause::Holder | Cause::Caller) { cause.word() } else { "changed" };
            let message = format!(
                "`{name}` {why}: it is on the stack as long as the process lives, so only a start finds it inactive"
            );
            findings.add(Severity::Start, codes::NEVER_RETURNS, name, message);
        }
    }
}
