//! What functions take and return, as far as general registers go (psABI, 3.2.3).

use super::Survey;
use super::shape::Shapes;
use crate::addr::Svma;
use crate::dwarf::die::{Home, is_aggregate};
use crate::dwarf::vars::{View, text};
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

/// Registers for arguments.
pub const MOST: u64 = 6;

/// What is known of the functions of some units, and of those that they call.
#[derive(Clone, Default, Debug)]
pub struct Signatures {
    /// By entry.
    pub returned: BTreeMap<Svma, Returned>,
    /// By symbol, of what other units may see too: with how many arguments in registers they are called at most.
    pub taken: BTreeMap<String, u64>,
}

/// Of the functions that begin at `entries`, as far as they are described.
///
/// # Errors
/// When debug information is damaged.
pub fn signatures(info: &DebugInfo<'_>, survey: &Survey, entries: &BTreeSet<Svma>) -> Result<Signatures, ImageError> {
    in_units(info, survey.units_with(info, entries), entries)
}

/// As [`signatures`], where there is no survey: of the units that the functions' code is in.
///
/// # Errors
/// When debug information is damaged.
pub fn signatures_at(info: &DebugInfo<'_>, entries: &BTreeSet<Svma>) -> Result<Signatures, ImageError> {
    let units: BTreeSet<u32> = entries.iter().filter_map(|&entry| info.unit_at(entry)).map(|u| u.0).collect();
    in_units(info, units, entries)
}

fn in_units(
    info: &DebugInfo<'_>,
    units: impl IntoIterator<Item = u32>,
    entries: &BTreeSet<Svma>,
) -> Result<Signatures, ImageError> {
    let mut out = Signatures::default();
    for unit in units {
        // An assembler says nothing of types.
        if info.is_assembly(unit) {
            continue;
        }
        let table = info.read_table(unit).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
        let view = View { info, unit, local: &table, reading: Reading::Full };
        let mut shapes = Shapes::new(view);
        for (index, node) in table.nodes.iter().enumerate().filter(|(_, n)| n.tag == dw::DW_TAG_subprogram) {
            if info.is_c(unit) && node.external && !node.name.is_empty() {
                let (linkage, count) = (info.linkage(unit, node), arguments(&mut shapes, index as u32));
                let name = text(if linkage.is_empty() { node.name } else { linkage });
                out.taken.entry(name).and_modify(|known| *known = (*known).max(count)).or_insert(count);
            }
            let Some(Home::At(entry)) = node.home.filter(|_| node.code) else { continue };
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
            out.returned.entry(entry).and_modify(|known| *known = (*known).max(how)).or_insert(how);
        }
    }
    Ok(out)
}

/// In how many general registers a function has arguments at most: the first so many.
fn arguments(shapes: &mut Shapes<'_, '_>, index: u32) -> u64 {
    let table = shapes.view.local;
    let (mut count, mut listed) = (0u64, false);
    for child in table.children(index).map(|c| table.node(c)) {
        match child.tag {
            dw::DW_TAG_formal_parameter => {
                let Some(size) = shapes.size(child.ty) else { return MOST };
                count = count.saturating_add(size.div_ceil(WORD).max(1));
                listed = true;
            }
            dw::DW_TAG_unspecified_parameters => return MOST,
            _ => {}
        }
    }
    // What has no parameters may be declared without saying which it has.
    if !listed {
        return MOST;
    }
    // Where a large result goes is an argument, too.
    let plain = |shapes: &mut Shapes<'_, '_>, ty| {
        let bare = shapes.bare(ty);
        bare.is_some_and(|b| !is_aggregate(b.node().tag)) && shapes.size(ty).is_some_and(|size| size <= 2 * WORD)
    };
    let result = table.node(index).ty;
    let hidden = result.is_some() && !plain(shapes, result);
    count.saturating_add(u64::from(hidden)).min(MOST)
}
