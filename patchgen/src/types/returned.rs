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
    /// By entry, of those in C and C++: hash of how arguments and result go.
    pub calls: BTreeMap<Svma, u64>,
    /// By symbol, of what other units may see too: with how many arguments in registers they are called at most.
    pub taken: BTreeMap<String, u64>,
    /// By symbol, of the same ones: which of these arguments are pointers, one bit each from the lowest on.
    pub pointers: BTreeMap<String, u8>,
    /// By entry, of what has code in these units.
    pub own_pointers: BTreeMap<Svma, u8>,
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
        for (index, node) in table.tagged(|tag| tag == dw::DW_TAG_subprogram) {
            if info.is_c(unit) && node.external && !node.name.is_empty() {
                let count = arguments(&mut shapes, index);
                let name = text(if node.linkage.is_empty() { node.name } else { node.linkage }.bytes());
                if let Some(pointing) = pointers(&mut shapes, index, &name) {
                    out.pointers.entry(name.clone()).and_modify(|known| *known &= pointing).or_insert(pointing);
                }
                out.taken.entry(name).and_modify(|known| *known = (*known).max(count)).or_insert(count);
            }
            let Some(Home::At(entry)) = node.home.filter(|_| node.code) else { continue };
            // A definition of what is declared elsewhere doesn't say what it returns.
            if info.is_c(unit)
                && node.origin.is_none()
                && let Some(pointing) = pointers(&mut shapes, index, "")
            {
                out.own_pointers.insert(entry, pointing);
            }
            if !entries.contains(&entry) {
                continue;
            }
            let here = DieRef { unit, offset: node.offset };
            let Some((_, declared)) = view.declared(here) else { continue };
            if info.is_c(unit)
                && let Some(call) = shapes.call(here)
            {
                out.calls.insert(entry, call);
            }
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
    count.saturating_add(u64::from(has_hidden(shapes, index))).min(MOST)
}

/// Whether where the result goes may be an argument, too.
fn has_hidden(shapes: &mut Shapes<'_, '_>, index: u32) -> bool {
    let result = shapes.view.local.node(index).ty;
    let plain = shapes.bare(result).is_some_and(|b| !is_aggregate(b.node().tag))
        && shapes.size(result).is_some_and(|size| size <= 2 * WORD);
    result.is_some() && !plain
}

/// Functions of the C library that GCC puts in the place of other ones; it declares them as `__builtin_fputs` and says nothing of their arguments.
const BUILT_IN: &[(&str, u8)] = &[
    ("fputc", 0b10),
    ("fputs", 0b11),
    ("fwrite", 0b1001),
    ("memchr", 0b1),
    ("memcmp", 0b11),
    ("memcpy", 0b11),
    ("memmove", 0b11),
    ("memset", 0b1),
    ("puts", 0b1),
    ("stpcpy", 0b11),
    ("strcat", 0b11),
    ("strchr", 0b1),
    ("strcmp", 0b11),
    ("strcpy", 0b11),
    ("strlen", 0b1),
    ("strncmp", 0b11),
    ("strspn", 0b11),
    ("strcspn", 0b11),
    ("strstr", 0b11),
];

/// Which of a function's arguments in general registers are pointers, up to the first of which it isn't plain where it goes. None where nothing is
/// said of them.
fn pointers(shapes: &mut Shapes<'_, '_>, index: u32, name: &str) -> Option<u8> {
    let table = shapes.view.local;
    let (mut found, mut register) = (0, 0);
    if has_hidden(shapes, index) {
        return Some(0);
    }
    let parameters = table.children(index).map(|c| table.node(c)).filter(|c| c.tag == dw::DW_TAG_formal_parameter);
    let mut parameters = parameters.peekable();
    if parameters.peek().is_none() {
        let built_in = table.node(index).name.bytes().strip_prefix(b"__builtin_").is_some_and(|n| n == name.as_bytes());
        return BUILT_IN.iter().find(|(n, _)| built_in && *n == name).map(|(_, pointing)| *pointing);
    }
    for parameter in parameters {
        let Some(bare) = shapes.bare(parameter.ty) else { break };
        let node = bare.node();
        let size = shapes.size(parameter.ty);
        match node.tag {
            dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                found |= 1u8.checked_shl(register).unwrap_or(0);
            }
            dw::DW_TAG_base_type if node.encoding == dw::DW_ATE_float.0 => continue,
            dw::DW_TAG_base_type if node.encoding == dw::DW_ATE_complex_float.0 => break,
            dw::DW_TAG_base_type | dw::DW_TAG_enumeration_type if size.is_some_and(|size| size <= WORD) => {}
            _ => break,
        }
        register += 1;
    }
    Some(found)
}
