//! Nobody else may jump into the middle of a replaced function: the detour covers its first bytes, and what follows isn't kept in step.

use super::{Context, Findings};
use crate::addr::FuncId;
use crate::diag::Severity;
use crate::lift::Target;
use patchfmt::codes;
use std::collections::BTreeSet;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let replaced: BTreeSet<FuncId> = context.set.replaced().map(|(old, _, _)| old).collect();
    let inside = |target: &Target| match *target {
        Target::Func { func, part, offset } if (part, offset) != (0, 0) && replaced.contains(&func) => Some(func),
        _ => None,
    };
    for (index, function) in a.old.functions.iter().enumerate() {
        let id = FuncId::from(index);
        // A replaced function's own references go with it.
        if replaced.contains(&id) {
            continue;
        }
        for into in function.refs.iter().filter_map(|r| inside(&r.target)) {
            let name = &a.old.functions[into.index()].name;
            let message = format!("`{}` jumps or refers into the middle of `{name}`, which changed", function.name);
            findings.add(Severity::Refuse, codes::ENTRY_BRANCHED, name, message);
        }
    }
}
