//! `main` is on the stack as long as the process lives: a change of it never finds a safe point.

use super::{Context, Findings};
use crate::addr::FuncId;
use crate::compare::Cause;
use crate::diag::Severity;
use crate::lift::Lifted;
use patchfmt::codes;
use std::collections::BTreeSet;

/// `main`, and what it has as the program's own: in Rust it gives it to `lang_start`, in Fortran it has a name.
pub(super) fn mains(lifted: &Lifted) -> BTreeSet<FuncId> {
    let name = |id: FuncId| lifted.functions[id.index()].name.as_str();
    let all = (0..lifted.functions.len()).map(FuncId::from);
    let mut found: BTreeSet<FuncId> = all.filter(|&id| matches!(name(id), "main" | "MAIN__")).collect();
    let starts = |id: &FuncId| name(*id).contains("lang_start");
    for first in found.clone() {
        let known: Vec<FuncId> = lifted.functions[first.index()].refs.iter().filter_map(|r| r.target.entry()).collect();
        if known.iter().any(starts) {
            found.extend(known.into_iter().filter(|id| !starts(id)));
        }
    }
    found
}

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let mains = mains(context.analysis.old);
    let idle = context.set.idle.iter().map(|f| (f.old, f.cause));
    for (old, cause) in context.set.changed().map(|(old, _, cause)| (old, cause)).chain(idle) {
        let name = &context.analysis.old.functions[old.index()].name;
        if mains.contains(&old) {
            let why =
                if matches!(cause, Cause::Reader | Cause::Holder | Cause::Caller) { cause.word() } else { "changed" };
            let message = format!(
                "`{name}` {why}: it is on the stack as long as the process lives, so only a start finds it inactive"
            );
            findings.add(Severity::Start, codes::NEVER_RETURNS, name, message);
        }
    }
}
