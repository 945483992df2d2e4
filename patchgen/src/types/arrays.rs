//! Which variables are no arrays and hold none: nobody walks through them, so nobody forms the address behind them.

use super::shape::Shapes;
use crate::addr::Svma;
use crate::dwarf::die::{Home, is_aggregate};
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Reading};
use crate::image::ImageError;
use gimli::constants as dw;
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
    let mut out: BTreeMap<Svma, Option<u64>> = BTreeMap::new();
    for &unit in units {
        let table = info.read_table(unit).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
        let view = View { info, unit, local: &table, reading: Reading::Full };
        let mut shapes = Shapes::new(view);
        for node in table.nodes.iter().filter(|n| n.tag == dw::DW_TAG_variable) {
            let Some(Home::At(at)) = node.home else { continue };
            if !wanted.contains(&at) {
                continue;
            }
            let here = DieRef { unit, offset: node.offset };
            let ty = node.ty.or_else(|| view.declared(here).and_then(|(_, n)| n.ty));
            let alone = is_single(&mut shapes, ty, 0) == Some(true) && !shapes.broken;
            let size = shapes.size(ty).filter(|_| alone);
            // Where two variables are said to be at one address, both have to be so.
            out.entry(at).and_modify(|known| *known = known.filter(|k| Some(*k) == size)).or_insert(size);
        }
    }
    Ok(out.into_iter().filter_map(|(at, size)| Some((at, size?))).collect())
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
