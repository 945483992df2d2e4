//! What functions return, as far as registers go (psABI, 3.2.3).

use super::Survey;
use super::shape::Shapes;
use crate::addr::Svma;
use crate::dwarf::die::{Home, is_aggregate};
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Reading};
use crate::image::ImageError;
use gimli::constants as dw;
use std::collections::{BTreeMap, BTreeSet};

/// How much of `rax` and `rdx` a function's caller looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Returned {
    Nothing,
    /// At most `rax`.
    Word,
    /// Both, or not known.
    More,
}

/// Bytes of a register.
const WORD: u64 = 8;

/// Of the functions that begin at `entries`, as far as they are described.
///
/// # Errors
/// When debug information is damaged.
pub fn returned(
    info: &DebugInfo<'_>,
    survey: &Survey,
    entries: &BTreeSet<Svma>,
) -> Result<BTreeMap<Svma, Returned>, ImageError> {
    in_units(info, survey.units_with(info, entries), entries)
}

/// As [`returned`], where there is no survey: of the units that the functions' code is in.
///
/// # Errors
/// When debug information is damaged.
pub fn returned_at(info: &DebugInfo<'_>, entries: &BTreeSet<Svma>) -> Result<BTreeMap<Svma, Returned>, ImageError> {
    let units: BTreeSet<u32> = entries.iter().filter_map(|&entry| info.unit_at(entry)).map(|u| u.0).collect();
    in_units(info, units, entries)
}

fn in_units(
    info: &DebugInfo<'_>,
    units: impl IntoIterator<Item = u32>,
    entries: &BTreeSet<Svma>,
) -> Result<BTreeMap<Svma, Returned>, ImageError> {
    let mut out: BTreeMap<Svma, Returned> = BTreeMap::new();
    for unit in units {
        // An assembler says nothing of types.
        if info.is_assembly(unit) {
            continue;
        }
        let table = info.read_table(unit).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
        let view = View { info, unit, local: &table, reading: Reading::Full };
        let mut shapes = Shapes::new(view);
        for node in table.nodes.iter().filter(|n| n.tag == dw::DW_TAG_subprogram && n.code) {
            let Some(Home::At(entry)) = node.home else { continue };
            if !entries.contains(&entry) {
                continue;
            }
            let here = DieRef { unit, offset: node.offset };
            let Some((_, declared)) = view.declared(here) else { continue };
            let how = match node.ty.or(declared.ty) {
                None => Returned::Nothing,
                ty => match (shapes.bare(ty), shapes.size(ty)) {
                    (Some(bare), Some(size)) if size <= WORD && !is_aggregate(bare.node().tag) => Returned::Word,
                    _ => Returned::More,
                },
            };
            out.entry(entry).and_modify(|known| *known = (*known).max(how)).or_insert(how);
        }
    }
    Ok(out)
}
