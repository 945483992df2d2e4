//! Functions that only the old build has, and that a live pointer may know: they stay callable, and go on calling and reading what changes. They were
//! compiled for the old version of that; and who calls them by the pointer may be new, and give them what the new one in their place takes.

use super::left::separate;
use super::{Context, Findings};
use crate::addr::{DataId, FuncId, Svma};
use crate::compare::{Cause, DataChange};
use crate::correlate::{Side, Why, in_others};
use crate::diag::{Finding, Severity};
use crate::dwarf::DebugInfo;
use crate::image::{ImageError, SectionKind};
use crate::include::{Analysis, Overwritten};
use crate::lift::{Lifted, describes_class};
use crate::types::{Signatures, signatures_at};
use patchfmt::codes;
use std::collections::{BTreeMap, BTreeSet};

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let (before, after) = (Side { image: a.old_image, lifted: a.old }, Side { image: a.new_image, lifted: a.new });
    let changed: BTreeMap<FuncId, Cause> = context.set.changed().map(|(old, _, cause)| (old, cause)).collect();
    let constant = |d: &DataId| {
        let datum = &a.old.data[d.index()];
        !matches!(datum.section, SectionKind::Data | SectionKind::Bss) && !describes_class(&datum.name)
    };
    let overwritten = Overwritten::of(a, context.set.edits.iter().map(|e| e.old).filter(constant));
    for caller in callable(context) {
        let caller = &a.old.functions[caller.index()];
        let callees: BTreeSet<FuncId> = caller.refs.iter().filter_map(|r| r.target.func()).collect();
        for (id, cause) in callees.iter().filter_map(|id| Some((id, changed.get(id)?))) {
            let callee = &a.old.functions[id.index()];
            let prototype = context.types.is_some_and(|t| t.prototypes.iter().any(|p| p.symbol == callee.name));
            let pair = a.pairs.func_to_new[id.index()];
            // Lambdas that are held are paired by what they do, or refused.
            let by_order = |why| why == Why::Order && !callee.name.starts_with("_Z");
            let guessed = pair.is_some_and(|p| by_order(p.why) || in_others(before, after, None, (p.old, p.new)));
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
        if overwritten.is_read_by(caller) {
            let message = format!(
                "`{}`, which only the old build has and a live pointer may lead to, reads a constant that is overwritten",
                caller.name
            );
            findings.add(Severity::Start, codes::STORED_PROTOTYPE, &caller.name, message);
        }
    }
}

/// Functions whose address the old build stores where the new one stores that of another one, with another prototype: old pointers to them last.
///
/// # Errors
/// When debug information is damaged.
pub fn exchanged(
    a: Analysis<'_>,
    debug: (Option<&DebugInfo<'_>>, Option<&DebugInfo<'_>>),
) -> Result<Vec<Finding>, ImageError> {
    let (Some(was), Some(is)) = debug else { return Ok(Vec::new()) };
    let gone = |f: &FuncId| a.pairs.func_to_new[f.index()].is_none();
    let come = |f: &FuncId| a.pairs.func_to_old[f.index()].is_none();
    let in_code = |lifted: &Lifted, id: FuncId| -> BTreeSet<FuncId> {
        let refs = lifted.functions[id.index()].refs.iter().filter(|r| !r.branch);
        refs.filter_map(|r| r.target.func()).collect()
    };
    let in_data = |lifted: &Lifted, id: DataId| -> BTreeSet<FuncId> {
        lifted.data[id.index()].refs.iter().filter_map(|r| r.target.func()).collect()
    };
    let code = a.changes.changed.iter().map(|c| (in_code(a.old, c.old), in_code(a.new, c.new)));
    // What a class's tables hold is called through them alone, and takes another `this` where it overrides what was inherited.
    let tables = |c: &&DataChange| describes_class(&a.old.data[c.old.index()].name);
    let data = a.changes.data_changed.iter().filter(|c| !tables(c));
    let data = data.map(|c| (in_data(a.old, c.old), in_data(a.new, c.new)));
    let mut pairs: Vec<(BTreeSet<FuncId>, BTreeSet<FuncId>)> = code.chain(data).collect();
    for (before, after) in &mut pairs {
        before.retain(gone);
        after.retain(come);
    }
    pairs.retain(|(before, after)| !before.is_empty() && !after.is_empty());
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let entry = |lifted: &Lifted, f: FuncId| lifted.functions[f.index()].parts[0].start;
    let before: BTreeSet<Svma> = pairs.iter().flat_map(|p| &p.0).map(|&f| entry(a.old, f)).collect();
    let after: BTreeSet<Svma> = pairs.iter().flat_map(|p| &p.1).map(|&f| entry(a.new, f)).collect();
    let (before, after) = (signatures_at(was, &before)?, signatures_at(is, &after)?);
    let call = |s: &Signatures, at: Svma| s.calls.get(&at).copied();
    let mut found = BTreeSet::new();
    for (old, new) in &pairs {
        let calls: BTreeSet<u64> = new.iter().filter_map(|&f| call(&after, entry(a.new, f))).collect();
        let other =
            |f: &&FuncId| call(&before, entry(a.old, **f)).is_some_and(|c| !calls.is_empty() && !calls.contains(&c));
        found.extend(old.iter().filter(other).copied());
    }
    let finding = |id: FuncId| {
        let name = a.old.functions[id.index()].name.clone();
        Finding {
            severity: Severity::Start,
            code: codes::STORED_PROTOTYPE.0,
            message: format!(
                "`{name}` is gone where the address of a function with another prototype came: who calls it by a live pointer may be new"
            ),
            symbol: name,
            place: None,
            help: None,
        }
    };
    Ok(found.into_iter().map(finding).collect())
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
            todo.extend(a.old.functions[id.index()].refs.iter().filter_map(|r| r.target.func()).filter(gone));
        }
    }
    found
}
