//! What variables consist of: which are no arrays and hold none, so that nobody walks through them and forms the address behind them; and where
//! in them arrays, structures and unions begin.

use super::shape::Shapes;
use crate::addr::Svma;
use crate::dwarf::die::{Home, is_aggregate};
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Reading, Spare, Table};
use crate::image::ImageError;
use gimli::constants as dw;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Deeper nesting than this is damage.
const DEPTH: u32 = 32;

/// Of the variables at these addresses, as far as units of `info` have them: those without an array, with their size in bytes.
///
/// # Errors
/// When debug information is damaged.
pub fn single(
    info: &DebugInfo<'_>,
    units: &BTreeSet<u32>,
    wanted: &BTreeSet<Svma>,
) -> Result<BTreeMap<Svma, u64>, ImageError> {
    let of = |shapes: &mut Shapes<'_, '_>, ty| {
        let alone = is_single(shapes, ty, 0) == Some(true);
        shapes.size(ty).filter(|_| alone && !shapes.broken)
    };
    known(info, units, wanted, of)
}

/// Of the variables at these addresses: where arrays, structures and unions begin in them, in bytes from their start, with the size of the
/// largest there. Not what is inside of arrays.
///
/// # Errors
/// When debug information is damaged.
pub fn parts_with_extent(
    info: &DebugInfo<'_>,
    units: &BTreeSet<u32>,
    wanted: &BTreeSet<Svma>,
) -> Result<BTreeMap<Svma, BTreeMap<u64, u64>>, ImageError> {
    let of = |shapes: &mut Shapes<'_, '_>, ty| {
        let mut parts = BTreeMap::new();
        let whole = extents(shapes, ty, 0, 0, &mut parts).is_some();
        (whole && !shapes.broken).then_some(parts)
    };
    known(info, units, wanted, of)
}

/// What `of` says of the variables' types. Where two variables are said to be at one address, it has to say the same of both.
fn known<T: PartialEq>(
    info: &DebugInfo<'_>,
    units: &BTreeSet<u32>,
    wanted: &BTreeSet<Svma>,
    of: impl Fn(&mut Shapes<'_, '_>, Option<DieRef>) -> Option<T>,
) -> Result<BTreeMap<Svma, T>, ImageError> {
    let mut out: BTreeMap<Svma, Option<T>> = BTreeMap::new();
    visit(info, units, wanted, |at, shapes, ty| {
        let said = of(shapes, ty);
        match out.entry(at) {
            Entry::Vacant(slot) => drop(slot.insert(said)),
            Entry::Occupied(mut slot) if *slot.get() != said => drop(slot.insert(None)),
            Entry::Occupied(_) => {}
        }
    })?;
    Ok(out.into_iter().filter_map(|(at, said)| Some((at, said?))).collect())
}

/// Shows the types of the variables at these addresses, as far as units of `info` have them.
pub(super) fn visit<'i>(
    info: &DebugInfo<'i>,
    units: &BTreeSet<u32>,
    wanted: &BTreeSet<Svma>,
    mut show: impl FnMut(Svma, &mut Shapes<'_, '_>, Option<DieRef>),
) -> Result<(), ImageError> {
    let mut variables = |unit: u32, local: &Table<'i>| {
        let view = View { info, unit, local, reading: Reading::Full };
        let mut shapes = Shapes::new(view);
        for (_, node) in local.tagged(|tag| tag == dw::DW_TAG_variable) {
            let Some(Home::At(at)) = node.home else { continue };
            if !wanted.contains(&at) {
                continue;
            }
            let here = DieRef { unit, offset: node.offset };
            let ty = node.ty.or_else(|| view.declared(here).and_then(|(_, n)| n.ty));
            show(at, &mut shapes, ty);
        }
    };
    let spare = Spare::default();
    for &unit in units {
        info.with_table(unit, Reading::Full, &spare, |table| variables(unit, table))
            .map_err(|e| crate::dwarf::malformed(info.path(), e))?;
    }
    Ok(())
}

/// None where the type isn't whole.
fn extents(
    shapes: &mut Shapes<'_, '_>,
    ty: Option<DieRef>,
    base: u64,
    depth: u32,
    out: &mut BTreeMap<u64, u64>,
) -> Option<()> {
    if depth > DEPTH {
        return None;
    }
    let bare = shapes.bare(ty)?;
    let size = shapes.size(ty)?;
    let tag = bare.node().tag;
    if tag != dw::DW_TAG_array_type && !is_aggregate(tag) {
        return Some(());
    }
    let largest = out.entry(base).or_insert(0);
    *largest = size.max(*largest);
    if is_aggregate(tag) {
        for field in shapes.fields(bare.at, depth) {
            extents(shapes, field.ty, base.checked_add(field.at? / 8)?, depth + 1, out)?;
        }
    }
    Some(())
}

/// None where the type isn't whole.
fn is_single(shapes: &mut Shapes<'_, '_>, ty: Option<DieRef>, depth: u32) -> Option<bool> {
    if depth > DEPTH {
        return None;
    }
    let bare = shapes.bare(ty)?;
    shapes.size(ty)?;
    match bare.node().tag {
        dw::DW_TAG_pointer_type
        | dw::DW_TAG_reference_type
        | dw::DW_TAG_rvalue_reference_type
        | dw::DW_TAG_base_type
        | dw::DW_TAG_enumeration_type => Some(true),
        tag if is_aggregate(tag) => {
            let within = shapes.types_within(bare.at);
            within.into_iter().try_fold(true, |all, member| Some(all && is_single(shapes, member, depth + 1)?))
        }
        _ => Some(false),
    }
}
