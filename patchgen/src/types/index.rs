//! What a unit declares, as hashes: enough to see what differs without keeping its entries.

use super::shape::Shapes;
use crate::dwarf::die::{Home, is_aggregate};
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef};
use crate::image::ImageError;
use gimli::constants as dw;
use patchfmt::codes;
use rayon::prelude::*;
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// A struct, class, union or enum with a name or a typedef. One kind, so that a union that was a struct is seen.
    Type,
    /// An enumerator of an enum without a name.
    Constant,
    Function,
    Variable,
}

/// One declaration. Sorts by key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Entry {
    pub kind: Kind,
    /// Hash of the qualified name.
    pub key: u64,
    /// Hash of the unit's name.
    pub unit_key: u64,
    /// Hash of all that matters of it.
    pub shape: u64,
    /// Of classes: hash of the vtable's order.
    pub vtable: u64,
    pub at: DieRef,
}

fn hash(value: impl std::hash::Hash) -> u64 {
    let mut h = DefaultHasher::new();
    value.hash(&mut h);
    h.finish()
}

/// Declarations of all units, sorted.
pub(super) fn build(info: &DebugInfo<'_>) -> Result<Vec<Entry>, ImageError> {
    let of_unit = |unit: u32| -> Result<Vec<Entry>, ImageError> {
        // Partial units count as parts of those that import them: a supplementary file has those of other programs too.
        if info.units[unit as usize].partial {
            return Ok(Vec::new());
        }
        let table = info.read_table(unit).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
        let mut shapes = Shapes::new(View { info, unit, local: &table });
        let mut out = entries(&mut shapes, unit);
        let mut broken = shapes.broken;
        for part in info.imported(&table) {
            let mut shapes = Shapes::of_unit(info, part);
            out.extend(entries(&mut shapes, unit));
            broken |= shapes.broken;
        }
        if broken {
            return Err(ImageError {
                code: codes::DWARF_MALFORMED,
                path: info.path().to_path_buf(),
                what: format!("a type of unit {} refers to an entry that isn't there", info.name_at(unit)),
            });
        }
        Ok(out)
    };
    let found: Result<Vec<Vec<Entry>>, ImageError> =
        (0..info.units.len() as u32).into_par_iter().map(of_unit).collect();
    let mut all = found?.concat();
    all.par_sort_unstable();
    Ok(all)
}

/// Declarations in the unit of `shapes`, which `of` imports or is.
fn entries(shapes: &mut Shapes<'_, '_>, of: u32) -> Vec<Entry> {
    let (info, table, unit) = (shapes.view.info, shapes.view.local, shapes.view.unit);
    let unit_key = hash(info.name_at(of));
    let here = |i: usize| DieRef { unit, offset: table.nodes[i].offset };
    let mut out = Vec::new();
    let mut push = |kind, key, shape, vtable, at| out.push(Entry { kind, key, unit_key, shape, vtable, at });

    let mut aliased: HashSet<DieRef> = HashSet::new();
    for (i, node) in table.nodes.iter().enumerate() {
        match node.tag {
            dw::DW_TAG_typedef => {
                let Some(b) = shapes.bare(Some(here(i))) else { continue };
                let named = shapes.view.declared(b.at).is_some();
                let of_types = is_aggregate(b.node().tag) || b.node().tag == dw::DW_TAG_enumeration_type;
                // Only the typedef that names the type itself: a typedef of a typedef adds nothing.
                if named || !of_types || b.node().declaration || b.alias != Some(here(i)) {
                    continue;
                }
                aliased.insert(b.at);
                if let Some(name) = super::name::qualified(&shapes.view, here(i)) {
                    let (shape, vtable) = type_shape(shapes, b.at);
                    push(Kind::Type, hash(name), shape, vtable, here(i));
                }
            }
            tag if (is_aggregate(tag) || tag == dw::DW_TAG_enumeration_type) && !node.declaration => {
                if let Some(name) = super::name::qualified(&shapes.view, here(i)) {
                    let (shape, vtable) = type_shape(shapes, here(i));
                    push(Kind::Type, hash(name), shape, vtable, here(i));
                }
            }
            dw::DW_TAG_subprogram if node.code => {
                let Some(name) = super::function_key(&shapes.view, here(i)) else { continue };
                if let Some(shape) = shapes.prototype(here(i)) {
                    push(Kind::Function, hash(name), shape, 0, here(i));
                }
            }
            dw::DW_TAG_variable if matches!(node.home, Some(Home::At(_) | Home::Tls(_))) => {
                let Some((_, decl)) = shapes.view.declared(here(i)) else { continue };
                let ty = node.ty.or(decl.ty);
                if let Some(name) = super::name::qualified(&shapes.view, here(i)) {
                    let shape = shapes.value(ty, 0);
                    push(Kind::Variable, hash(name), shape, 0, here(i));
                }
            }
            _ => {}
        }
    }
    for (i, node) in table.nodes.iter().enumerate() {
        if node.tag != dw::DW_TAG_enumeration_type || aliased.contains(&here(i)) {
            continue;
        }
        if shapes.view.declared(here(i)).is_some() {
            continue;
        }
        for c in table.children(i as u32).filter(|&c| table.node(c).tag == dw::DW_TAG_enumerator) {
            let (scope, _) = shapes.view.scope(here(i)).unwrap_or_default();
            let constant = table.node(c);
            let key = hash((scope, constant.name));
            push(Kind::Constant, key, hash(constant.value), 0, here(c as usize));
        }
    }
    out
}

fn type_shape(shapes: &mut Shapes<'_, '_>, at: DieRef) -> (u64, u64) {
    let Some(b) = shapes.bare(Some(at)) else { return (0, 0) };
    if b.node().tag == dw::DW_TAG_enumeration_type {
        let values = shapes.enumerators_hash(&b);
        return (hash(("enum", b.node().size, values)), 0);
    }
    let layout = shapes.layout(at, 0);
    (hash(("aggregate", layout)), shapes.vtable(at, 0))
}
