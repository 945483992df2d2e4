//! Functions that only the old build has, and that a live pointer may know: they stay callable, and go on calling what changes. They were compiled
//! for the old version of that.

use super::left::{func_of, separate};
use super::{Context, Findings};
use crate::addr::FuncId;
use crate::compare::Cause;
use crate::correlate::{Side, Why, in_others};
use crate::diag::Severity;
use patchfmt::codes;
use std::collections::{BTreeMap, BTreeSet};

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let (before, after) = (Side { image: a.old_image, lifted: a.old }, Side { image: a.new_image, lifted: a.new });
    let changed: BTreeMap<FuncId, Cause> = context.set.changed().map(|(old, _, cause)| (old, cause)).collect();
    for caller in callable(context) {
        let caller = &a.old.functions[caller.index()];
        let callees: BTreeSet<FuncId> = caller.refs.iter().filter_map(|r| func_of(&r.target)).collect();
        for (id, cause) in callees.iter().filter_map(|id| Some((id, changed.get(id)?))) {
            let callee = &a.old.functions[id.index()];
            let prototype = context.types.is_some_and(|t| t.prototypes.iter().any(|p| p.symbol == callee.name));
            let pair = a.pairs.func_to_new[id.index()];
            let guessed = pair.is_some_and(|p| p.why == Why::Order || in_others(before, after, None, (p.old, p.new)));
            let why = match cause {
                _ if prototype => "its prototype",
                _ if guessed => "its being the same function",
                // With the same instructions it takes the same registers.
                Cause::Code | Cause::JumpTable | Cause::Unproven if !separate(a.old_image, caller, callee) => {
                    "what it takes and spares"
                }
                _ => continue,
            };
            let message = format!(
                "`{}` changed, and `{}`, which only the old build has and a live pointer may lead to, relies on {why}",
                callee.name, caller.name
            );
            findings.add(Severity::Start, codes::STORED_PROTOTYPE, &callee.name, message);
        }
    }
}

/// The old build's functions that have no counterpart, as far as they can still be entered.
fn callable(context: Context<'_>) -> BTreeSet<FuncId> {
    let a = context.analysis;
    let gone = |id: &FuncId| a.pairs.func_to_new[id.index()].is_none();
    let mut todo: Vec<FuncId> =
        a.changes.gone_funcs.iter().copied().filter(|&f| context.calls.address_taken(f)).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if found.insert(id) {
            todo.extend(a.old.functions[id.index()].refs.iter().filter_map(|r| func_of(&r.target)).filter(gone));
        }
    }
    found
}
