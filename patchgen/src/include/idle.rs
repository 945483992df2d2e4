//! Functions that stay as they are, and must not be active in the stop.
//!
//! A function that reads a constant twice sees the old one and the new one when the constant is overwritten between them: a size that is allocated
//! and then filled, a table whose index comes from another one. So who names such a constant is looked for on the stacks as if the constant
//! were a number in its code. What an address is handed to isn't: it sees what its caller gave it, as any function that is called by an old and then
//! by a new one does.
//!
//! A function that only the old build has is seen by those that called it, which are replaced or gone as well; not where they jumped to it. If it
//! calls what changes, it was compiled for the old version of that.

use super::{Analysis, Idle, PatchSet};
use crate::addr::{DataId, FuncId};
use crate::compare::Cause;
use crate::image::SectionKind;
use crate::lift::{CodeRef, Function, Slot, Target};
use std::collections::{BTreeMap, BTreeSet};

/// Readers of overwritten constants, functions (old, new) that may hold an instance of a changed type, unless the patch changes them, and what is gone
/// and calls what changes.
pub(super) fn waited_for(analysis: Analysis<'_>, set: &PatchSet, holders: &[(FuncId, FuncId)]) -> Vec<Idle> {
    let mut idle: BTreeMap<FuncId, Cause> = BTreeMap::new();
    let constant = |id: DataId| !matches!(analysis.old.data[id.index()].section, SectionKind::Data | SectionKind::Bss);
    let overwritten = Overwritten::of(analysis, set.edits.iter().map(|e| e.old).filter(|&id| constant(id)));
    let readers = analysis.old.functions.iter().enumerate().filter(|(_, f)| overwritten.is_read_by(f));
    idle.extend(readers.map(|(index, _)| (FuncId::from(index), Cause::Reader)));
    idle.extend(holders.iter().map(|&(old, _)| (old, Cause::Holder)));
    let changed: BTreeSet<FuncId> = set.changed().map(|(old, _, _)| old).collect();
    let calls = |id: &FuncId| called(&analysis.old.functions[id.index()]).any(|(callee, _)| changed.contains(&callee));
    idle.extend(jumped_to(analysis).into_iter().filter(calls).map(|old| (old, Cause::Caller)));
    idle.retain(|old, _| !changed.contains(old));
    idle.into_iter().map(|(old, cause)| Idle { old, cause }).collect()
}

/// Data of the old build that are written over.
#[derive(Debug)]
pub struct Overwritten<'a> {
    analysis: Analysis<'a>,
    data: BTreeSet<DataId>,
    /// A library's code comes to what it exports through the dynamic linker.
    exported: BTreeSet<&'a str>,
}

impl<'a> Overwritten<'a> {
    pub fn of(analysis: Analysis<'a>, data: impl Iterator<Item = DataId>) -> Overwritten<'a> {
        let data: BTreeSet<DataId> = data.collect();
        let names = data.iter().flat_map(|id| &analysis.old.data[id.index()].names);
        let symbols = names.map(|&s| analysis.old_image.symbol(s)).filter(|s| s.exported);
        Overwritten { analysis, exported: symbols.map(|s| s.name.as_str()).collect(), data }
    }

    /// Whether a function of the old build names some of them.
    pub fn is_read_by(&self, function: &Function) -> bool {
        let (image, lifted) = (self.analysis.old_image, self.analysis.old);
        let by_name = |target: &Target| match *target {
            Target::Import(import) | Target::Slot(Slot::Import { import, .. }) => {
                self.exported.contains(image.import(import).name.as_str())
            }
            _ => false,
        };
        let read = |r: &&CodeRef| {
            let others = r.alternatives.iter().map(|a| a.0);
            r.target.data().into_iter().chain(others).any(|d| self.data.contains(&d)) || by_name(&r.target)
        };
        !self.data.is_empty() && function.refs.iter().filter(read).any(|r| !lifted.means_mark(image, function, r))
    }
}

/// Functions that only the old build has, and to which others jump, or that are called by such.
fn jumped_to(analysis: Analysis<'_>) -> BTreeSet<FuncId> {
    let gone = |f: &FuncId| analysis.pairs.func_to_new[f.index()].is_none();
    if analysis.changes.gone_funcs.is_empty() {
        return BTreeSet::new();
    }
    let mut todo: Vec<FuncId> = Vec::new();
    for (index, function) in analysis.old.functions.iter().enumerate() {
        let jumps = called(function).filter(|(f, call)| !call && f.index() != index).map(|(f, _)| f);
        todo.extend(jumps.filter(gone));
    }
    let mut found = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if found.insert(id) {
            todo.extend(called(&analysis.old.functions[id.index()]).map(|(f, _)| f).filter(gone));
        }
    }
    found
}

/// The functions that a function calls or jumps to by name, and whether it calls them.
fn called(function: &Function) -> impl Iterator<Item = (FuncId, bool)> + '_ {
    function.insns.iter().flat_map(|insn| {
        let branches = function.refs.get(insn.refs()).unwrap_or_default().iter().filter(|r| r.branch);
        branches.filter_map(|r| match r.target {
            Target::Func { func, .. } => Some((func, insn.is_call())),
            _ => None,
        })
    })
}
