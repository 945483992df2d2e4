//! What the bytes of a variable mean, as a text that is the same for every run and every version of this program: two bundles are compared by it.

use super::kept::type_at;
use super::name::render;
use super::shape::{Shapes, dimensions, enumerators, number};
use crate::addr::Svma;
use crate::dwarf::die::is_aggregate;
use crate::dwarf::vars::{View, text};
use crate::dwarf::{DebugInfo, DieRef, Reading, UnitId};
use crate::image::ImageError;
use gimli::constants as dw;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Deeper nesting than this is damage.
const DEPTH: u32 = 32;
/// What is longer, in bytes, is no variable that anybody counts with.
const LONGEST: usize = 1 << 16;

/// The meaning of the variable at each address, which that unit describes; none where it can't be told.
///
/// # Errors
/// When debug information is damaged.
pub(crate) fn meanings(
    info: &DebugInfo<'_>,
    wanted: impl Iterator<Item = (UnitId, Svma)>,
) -> Result<BTreeMap<Svma, String>, ImageError> {
    let mut out = BTreeMap::new();
    for (unit, at) in wanted {
        let table = info.read_table(unit.0).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
        let mut shapes = Shapes::new(View { info, unit: unit.0, local: &table, reading: Reading::Full });
        let mut meaning = String::new();
        let told = type_at(&shapes, at);
        let told = told.and_then(|ty| value(&mut shapes, ty, 0, (&mut meaning, &mut BTreeSet::new())));
        if told.is_some() && !shapes.broken {
            out.insert(at, meaning);
        }
    }
    Ok(out)
}

/// `seen`: the types that pointers lead to and whose layout is in the text already.
fn value(
    shapes: &mut Shapes<'_, '_>,
    ty: Option<DieRef>,
    depth: u32,
    (out, seen): (&mut String, &mut BTreeSet<String>),
) -> Option<()> {
    if depth > DEPTH || out.len() > LONGEST {
        return None;
    }
    let bare = shapes.bare(ty)?;
    let node = bare.node();
    // Writing to a `String` can't fail.
    match node.tag {
        tag if is_aggregate(tag) => {
            let _ = write!(out, "{}{}{{", if tag == dw::DW_TAG_union_type { "u" } else { "s" }, node.size()?);
            for field in shapes.fields(bare.at, depth) {
                let _ = write!(out, "{}@{}:{} ", field.name, field.at?, field.bits);
                value(shapes, field.ty, depth + 1, (out, seen))?;
                out.push(';');
            }
            out.push('}');
        }
        dw::DW_TAG_array_type => {
            for count in dimensions(&bare) {
                let _ = write!(out, "[{}]", count?);
            }
            value(shapes, node.ty, depth + 1, (out, seen))?;
        }
        dw::DW_TAG_base_type => {
            let n = number(&bare);
            let _ = write!(out, "b{}:{}:{}{}", n.encoding, n.size?, n.bit_size, n.name);
            if n.endianity != 0 {
                let _ = write!(out, "e{}", n.endianity);
            }
        }
        dw::DW_TAG_enumeration_type => {
            let _ = write!(out, "e{}(", node.size()?);
            for (name, number) in enumerators(&bare) {
                let _ = write!(out, "{}={number},", text(name));
            }
            out.push(')');
        }
        dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
            let name = render(shapes, node.ty);
            let _ = write!(out, "p{name}");
            // What it leads to has to mean the same as well: the next bundle reads it.
            let function = shapes.bare(node.ty)?.node().tag == dw::DW_TAG_subroutine_type;
            if !function && seen.insert(name) {
                value(shapes, node.ty, depth + 1, (out, seen))?;
            }
        }
        _ => return None,
    }
    Some(())
}
