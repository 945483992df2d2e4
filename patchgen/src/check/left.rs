//! Changed functions that stay old on request (`--leave`): nothing around them may rely on how they changed.
//!
//! Between functions of one unit, or under link-time optimisation, a compiler may agree on more than the psABI's calling convention
//! (GCC's `-fipa-ra`: which registers a callee spares). Then caller and callee stay together or go together.

use super::{Context, Findings};
use crate::addr::{DataId, FuncId};
use crate::diag::Severity;
use crate::image::{Binding, Image};
use crate::lift::Function;
use patchfmt::codes;
use std::collections::BTreeSet;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let gone: BTreeSet<FuncId> = context.set.changed().map(|(old, _, _)| old).collect();
    let carried: BTreeSet<FuncId> =
        context.set.functions.keys().copied().chain(context.set.in_place.iter().map(|f| f.new)).collect();
    let moved = context.set.moved.iter().filter_map(|d| a.pairs.data_to_old[d.index()]).map(|p| p.old);
    let data: BTreeSet<DataId> = moved.chain(context.set.edits.iter().map(|e| e.old)).collect();
    for change in a.changes.changed.iter().filter(|c| a.left.contains(&c.new)) {
        let (old, new) = (&a.old.functions[change.old.index()], &a.new.functions[change.new.index()]);
        let name = &new.name;
        let message = format!("`{name}` changed, and its old code stays, as `--leave` asks for ({})", change.detail);
        findings.add(Severity::Review, codes::LEFT_OLD, name, message);
        let mut open = |why: String| {
            let message = format!("`{name}` can't stay old: {why}");
            findings.add(Severity::Refuse, codes::LEFT_OPEN, name, message);
        };
        for callee in old.refs.iter().filter_map(|r| r.target.func()).filter(|f| gone.contains(f)) {
            let callee = &a.old.functions[callee.index()];
            if !separate(a.old_image, old, callee) {
                open(format!("it refers to `{}`, which changes with it", callee.name));
            }
        }
        for &caller in &carried {
            let caller = &a.new.functions[caller.index()];
            let refers = caller.refs.iter().any(|r| r.target.func() == Some(change.new));
            if refers && !separate(a.new_image, caller, new) {
                open(format!("`{}`, which changes, refers to it", caller.name));
            }
        }
        if let Some(d) = old.refs.iter().filter_map(|r| r.target.data()).find(|d| data.contains(d)) {
            open(format!("it refers to `{}`, which changes", a.old.data[d.index()].name));
        }
        let Some(types) = context.types else {
            open("without debug information its prototype can't be compared".to_owned());
            continue;
        };
        if types.prototypes.iter().any(|p| p.symbol == *name) {
            open("its prototype changed".to_owned());
        }
        if let Some(layout) = types.layouts.iter().find(|l| !l.same_storage) {
            open(format!("the layout of `{}` changed", layout.name));
        }
        if types.whole_program {
            open("the builds are optimised at link time".to_owned());
        }
    }
}

/// Whether the calling convention is all that the two can agree on: they are of different units, which share no local symbol.
pub(super) fn separate(image: &Image, caller: &Function, callee: &Function) -> bool {
    let global = callee.names.iter().any(|&s| image.symbol(s).binding != Binding::Local);
    let apart = matches!((&caller.unit, &callee.unit), (Some(x), Some(y)) if x != y);
    global && apart
}
