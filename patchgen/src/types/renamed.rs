//! Types that only the old build has, where the same units have some that only the new one has: a type may have got another name, and another
//! layout with it. Instances that are alive are then read in the new way, through untyped pointers too, which no declaration shows.
//!
//! Instances of templates and closures don't count: who holds one names it, as a variable, a member or a parameter, and that differs then; or
//! knows it only by functions of its own. Nor does Rust, where nobody has untyped pointers but unsafe code, and where what a unit declares of the
//! standard library changes with what is inlined.

use super::diff::{compare_constants, kind_of, place, with_unit};
use super::index::Entry;
use super::shape::{Shapes, enumerators};
use super::{EnumChange, LayoutChange, TypeDiff, TypeKind, name};
use crate::dwarf::{DebugInfo, Spare, UnitId};
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
    let kept: HashSet<u64> = come.iter().map(|e| e.shape).collect();
    let mut by_unit: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for (i, e) in come.iter().enumerate() {
        by_unit.entry(e.unit_key).or_default().insert(i);
    }
    let mut read: BTreeMap<usize, Option<Come>> = BTreeMap::new();
    for all in gone.chunk_by(|a, b| a.key == b.key) {
        // The same type by another name.
        if all.iter().all(|e| kept.contains(&e.shape)) || all.iter().all(is_rust) {
            continue;
        }
        let beside: BTreeSet<usize> = all.iter().filter_map(|e| by_unit.get(&e.unit_key)).flatten().copied().collect();
        // Each name once.
        let beside: BTreeMap<u64, usize> = beside.into_iter().map(|i| (come[i].key, i)).collect();
        if beside.is_empty() {
            continue;
        }
        for &i in beside.values() {
            read.entry(i).or_insert_with(|| described(new, &come[i]));
        }
        let beside: Vec<&Come> = beside.values().filter_map(|i| read[i].as_ref()).collect();
        one(old, all, &beside, out);
    }
}

fn described(new: &DebugInfo<'_>, entry: &Entry) -> Option<Come> {
    with_unit(new, entry.at.unit, &Spare::default(), |view| {
        let mut shapes = Shapes::new(view);
        let bare = shapes.bare(Some(entry.at))?;
        let name = name::qualified(&view, entry.at).filter(|n| !n.contains(MADE))?;
        let constants = enumerators(&bare).into_iter().map(|(n, v)| (n.to_vec(), v)).collect();
        Some(Come { name, kind: kind_of(&bare), constants })
    })
}

fn one(old: &DebugInfo<'_>, gone: &[Entry], beside: &[&Come], out: &mut TypeDiff) {
    let Some(first) = gone.first() else { return };
    let units: BTreeSet<String> = gone.iter().map(|e| old.name_at(e.at.unit).to_owned()).collect();
    with_unit(old, first.at.unit, &Spare::default(), |view| {
        let mut shapes = Shapes::new(view);
        let (Some(bare), Some(name)) = (shapes.bare(Some(first.at)), name::qualified(&view, first.at)) else { return };
        let (kind, size) = (kind_of(&bare), bare.node().size);
        let place = place(&view, bare.at).or_else(|| place(&view, first.at));
        if name.contains(MADE) {
            return;
        }
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
    });
}
