//! Types that only the old build has, where the same units have some that only the new one has: a type may have got another name, and another
//! layout with it. Instances that are alive are then read in the new way, through untyped pointers too, which no declaration shows.
//!
//! Instances of templates and closures don't count: who holds one names it, as a variable, a member or a parameter, and that differs then; or
//! knows it only by functions of its own. Nor does Rust, where nobody has untyped pointers but unsafe code, and where what a unit declares of the
//! standard library changes with what is inlined.

use super::diff::{compare_constants, kind_of, place, with_unit};
use super::index::{Entry, Kind};
use super::shape::{Shapes, enumerators};
use super::{EnumChange, LayoutChange, TypeDiff, TypeKind, name};
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Spare, UnitId};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What their names have, and others don't.
const MADE: [char; 2] = ['<', '{'];

/// Names that are told at most.
const TOLD: usize = 3;

/// One name of the new build, with what is known of the type.
struct Come {
    name: String,
    kind: TypeKind,
    constants: Vec<(Vec<u8>, u64)>,
}

/// Adds the changes that `gone` and `come` may be, both sorted by key.
pub(super) fn add(
    (old, gone): (&DebugInfo<'_>, &[Entry]),
    (new, come): (&DebugInfo<'_>, &[Entry]),
    out: &mut TypeDiff,
) {
    let is_rust = |e: &Entry| old.producer(UnitId(e.at.unit)).contains("rustc");
    let kept: HashSet<(u64, u64)> = come.iter().map(|e| (e.shape, e.vtable)).collect();
    let kept_in: HashSet<(u64, u64)> = come.iter().map(|e| (e.unit_key, e.shape)).collect();
    // What has no name is another type in another unit.
    let is_kept = |e: &Entry| match e.kind {
        Kind::Nameless => kept_in.contains(&(e.unit_key, e.shape)),
        _ => kept.contains(&(e.shape, e.vtable)),
    };
    let mut by_unit: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for (i, e) in come.iter().enumerate() {
        by_unit.entry(e.unit_key).or_default().insert(i);
    }
    // Gone names, and what came beside each, every name once.
    let mut open: Vec<(&[Entry], BTreeSet<usize>)> = Vec::new();
    for all in gone.chunk_by(|a, b| a.key == b.key) {
        // The same type by another name.
        if all.iter().all(is_kept) || all.iter().all(is_rust) {
            continue;
        }
        let beside = all.iter().filter_map(|e| by_unit.get(&e.unit_key)).flatten();
        let beside: BTreeMap<u64, usize> = beside.map(|&i| (come[i].key, i)).collect();
        if !beside.is_empty() {
            open.push((all, beside.into_values().collect()));
        }
    }
    let known = described(new, come, open.iter().flat_map(|(_, beside)| beside).copied().collect());
    open.sort_by_key(|(all, _)| all[0].at.unit);
    let spare = Spare::default();
    for group in open.chunk_by(|a, b| a.0[0].at.unit == b.0[0].at.unit) {
        with_unit(old, group[0].0[0].at.unit, &spare, |view| {
            for (all, beside) in group {
                let beside: Vec<&Come> = beside.iter().filter_map(|i| known.get(i)).collect();
                one(view, all, &beside, out);
            }
        });
    }
}

/// Of these entries of `come`: those that aren't a compiler's. A unit is read once.
fn described(new: &DebugInfo<'_>, come: &[Entry], wanted: BTreeSet<usize>) -> BTreeMap<usize, Come> {
    let mut wanted: Vec<usize> = wanted.into_iter().collect();
    wanted.sort_by_key(|&i| come[i].at.unit);
    let spare = Spare::default();
    let mut out = BTreeMap::new();
    for group in wanted.chunk_by(|&a, &b| come[a].at.unit == come[b].at.unit) {
        with_unit(new, come[group[0]].at.unit, &spare, |view| {
            let mut shapes = Shapes::new(view);
            for &i in group {
                let Some(bare) = shapes.bare(Some(come[i].at)) else { continue };
                let Some(name) = own_name(&view, come[i].at) else { continue };
                let constants = enumerators(&bare).into_iter().map(|(n, v)| (n.to_vec(), v)).collect();
                out.insert(i, Come { name, kind: kind_of(&bare), constants });
            }
        });
    }
    out
}

/// What the type is called, if that isn't a compiler's doing.
fn own_name(view: &View<'_, '_>, at: DieRef) -> Option<String> {
    match name::qualified(view, at) {
        Some(name) => Some(name).filter(|n| !n.contains(MADE)),
        None => name::nameless(view, at),
    }
}

fn one(view: View<'_, '_>, gone: &[Entry], beside: &[&Come], out: &mut TypeDiff) {
    let Some(first) = gone.first() else { return };
    let units: BTreeSet<String> = gone.iter().map(|e| view.info.name_at(e.at.unit).to_owned()).collect();
    let mut shapes = Shapes::new(view);
    let (Some(bare), Some(name)) = (shapes.bare(Some(first.at)), own_name(&view, first.at)) else { return };
    let (kind, size) = (kind_of(&bare), bare.node().size());
    let place = place(&view, bare.at).or_else(|| place(&view, first.at));
    if kind == TypeKind::Enum {
        let before = enumerators(&bare);
        for come in beside.iter().filter(|c| c.kind == TypeKind::Enum) {
            let after: Vec<(&[u8], u64)> = come.constants.iter().map(|(n, v)| (n.as_slice(), *v)).collect();
            let mut change = EnumChange {
                name: format!("{name}, now {}", come.name),
                units: units.iter().cloned().collect(),
                place: place.clone(),
                old_size: size,
                new_size: size,
                added: Vec::new(),
                removed: Vec::new(),
                changed: Vec::new(),
                ambiguous: false,
            };
            compare_constants(&before, &after, &mut change);
            if !change.changed.is_empty() {
                out.enums.push(change);
            }
        }
        return;
    }
    let names: Vec<&str> = beside.iter().filter(|c| c.kind != TypeKind::Enum).map(|c| c.name.as_str()).collect();
    if names.is_empty() {
        return;
    }
    let more = names.len().saturating_sub(TOLD);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let told = names.iter().take(TOLD).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    out.layouts.push(LayoutChange {
        name,
        old_kind: kind,
        new_kind: kind,
        // Type units have no name.
        all_units: !units.contains(""),
        units: units.into_iter().collect(),
        place,
        old_size: size,
        new_size: None,
        fields: Vec::new(),
        vtable: None,
        only_vtable: false,
        same_storage: false,
        causes: Vec::new(),
        ambiguous: false,
        detail: format!("gone, where {told}{more} came: it may be the same with another layout"),
    });
}
