//! Which words of a variable are addresses, by its type.
//!
//! In an image at fixed addresses the linker stores addresses as it stores numbers, and leaves no relocation behind.

use super::arrays::visit;
use super::shape::Shapes;
use crate::addr::Svma;
use crate::dwarf::die::is_aggregate;
use crate::dwarf::{DebugInfo, DieRef};
use crate::image::ImageError;
use gimli::constants as dw;
use std::collections::{BTreeMap, BTreeSet};

/// Deeper nesting than this is damage.
const DEPTH: u32 = 32;

/// Variables with more parts than this are left alone.
const PARTS: usize = 1 << 16;

/// Bytes of an address.
const WORD: u64 = 8;

/// What the type says of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// A pointer or reference: the address of something, or none.
    Address,
    /// Too short for an address, or a floating-point number.
    Number,
    /// An integer as wide as an address, a union, and what else can hold one.
    Either,
}

/// The parts of one variable: end and meaning by start, in bytes from its own start. They don't overlap.
#[derive(Debug, Default)]
pub struct Parts {
    by_start: BTreeMap<u64, (u64, Part)>,
    /// Something in it could not be read, or lies across something else.
    unclear: bool,
}

impl Parts {
    /// What the eight bytes at `at` hold; `Either` where that can't be told.
    pub fn word(&self, at: u64) -> Part {
        if self.unclear {
            return Part::Either;
        }
        let before = self.by_start.range(..at + WORD).rev();
        let mut covering = before.take_while(|(_, (end, _))| *end > at).map(|(start, (_, part))| (*start, *part));
        let Some((start, first)) = covering.next() else { return Part::Either };
        let second = covering.next();
        if second.is_none() && first == Part::Address && start == at {
            return Part::Address;
        }
        let mut others = second.into_iter().chain(covering);
        if first == Part::Number && others.all(|(_, part)| part == Part::Number) { Part::Number } else { Part::Either }
    }

    /// Whether an address may begin at `at`: a scalar holds a whole one, from its start.
    pub fn may_begin(&self, at: u64) -> bool {
        let holder = self.by_start.range(..=at).next_back().filter(|(_, (end, _))| *end > at);
        self.unclear || holder.is_none_or(|(start, (end, _))| *start == at || end - start > WORD)
    }

    fn add(&mut self, start: u64, size: u64, part: Part) {
        let end = start.saturating_add(size);
        let across = self.by_start.range(..end).next_back().is_some_and(|(_, other)| other.0 > start);
        self.unclear |= across || self.by_start.len() >= PARTS;
        self.by_start.insert(start, (end, part));
    }
}

/// The parts of the variables at these addresses, as far as units of `info` have them.
///
/// # Errors
/// When debug information is damaged.
pub fn parts(
    info: &DebugInfo<'_>,
    units: &BTreeSet<u32>,
    wanted: &BTreeSet<Svma>,
) -> Result<BTreeMap<Svma, Parts>, ImageError> {
    let mut out = BTreeMap::new();
    visit(info, units, wanted, |at, shapes, ty| {
        let mut found = Parts::default();
        if collect(shapes, ty, 0, 0, &mut found).is_none() || shapes.broken {
            found.unclear = true;
        }
        // Two variables of different types at one address: neither decides.
        out.entry(at)
            .and_modify(|known: &mut Parts| known.unclear |= known.by_start != found.by_start)
            .or_insert(found);
    })?;
    Ok(out)
}

fn collect(shapes: &mut Shapes<'_, '_>, ty: Option<DieRef>, base: u64, depth: u32, out: &mut Parts) -> Option<()> {
    if depth > DEPTH || out.unclear {
        return None;
    }
    let bare = shapes.bare(ty)?;
    let node = bare.node();
    let size = shapes.size(ty)?;
    match node.tag {
        dw::DW_TAG_array_type => {
            let each = shapes.size(node.ty).filter(|&each| each > 0)?;
            base.checked_add(size)?;
            let mut one = Parts::default();
            if size >= each {
                collect(shapes, node.ty, 0, depth + 1, &mut one)?;
            }
            if one.by_start.is_empty() && !one.unclear {
                return Some(());
            }
            for i in 0..size / each {
                if out.unclear {
                    return None;
                }
                for (at, (end, part)) in &one.by_start {
                    out.add((base + i * each).checked_add(*at)?, end - at, *part);
                }
                out.unclear |= one.unclear;
            }
        }
        dw::DW_TAG_union_type => out.add(base, size, Part::Either),
        tag if is_aggregate(tag) => {
            let has_variants =
                bare.table.children(bare.index).any(|c| bare.table.node(c).tag == dw::DW_TAG_variant_part);
            if has_variants {
                out.add(base, size, Part::Either);
                return Some(());
            }
            let mut bits = BTreeSet::new();
            for field in shapes.fields(bare.at, depth) {
                let at = base.checked_add(field.at? / 8)?;
                if field.bits > 0 {
                    // A row of bit-fields: bytes may belong to two of them.
                    let last = base.checked_add((field.at? + field.bits - 1) / 8)?;
                    bits.extend(at..=last);
                } else if shapes.size(field.ty) != Some(0) && !is_empty(shapes, field.ty) {
                    collect(shapes, field.ty, at, depth + 1, out)?;
                }
            }
            for byte in bits {
                out.add(byte, 1, Part::Number);
            }
        }
        dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type if size == WORD => {
            out.add(base, size, Part::Address);
        }
        dw::DW_TAG_base_type if size < WORD || node.encoding == dw::DW_ATE_float.0 => {
            out.add(base, size, Part::Number);
        }
        dw::DW_TAG_enumeration_type if size < WORD => out.add(base, size, Part::Number),
        _ => out.add(base, size, Part::Either),
    }
    Some(())
}

/// A class without members has a size all the same, which others share.
fn is_empty(shapes: &mut Shapes<'_, '_>, ty: Option<DieRef>) -> bool {
    let Some(bare) = shapes.bare(ty) else { return false };
    is_aggregate(bare.node().tag)
        && bare.node().tag != dw::DW_TAG_union_type
        && shapes.fields(bare.at, 0).is_empty()
        && !bare.table.children(bare.index).any(|c| bare.table.node(c).tag == dw::DW_TAG_variant_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_by_what_covers_them() {
        let mut parts = Parts::default();
        parts.add(0, 8, Part::Address);
        parts.add(8, 4, Part::Number);
        parts.add(12, 4, Part::Number);
        parts.add(16, 8, Part::Either);
        parts.add(24, 4, Part::Number);
        parts.add(28, 8, Part::Address);
        let words = [0, 8, 16, 24, 28, 36, 4].map(|at| parts.word(at));
        use Part::{Address, Either, Number};
        assert_eq!(words, [Address, Number, Either, Either, Address, Either, Either]);
        assert!([0, 16, 28, 36].iter().all(|&at| parts.may_begin(at)));
        assert!([1, 4, 20, 30].iter().all(|&at| !parts.may_begin(at)));
        parts.add(30, 2, Part::Number);
        assert_eq!(parts.word(0), Part::Either);
    }
}
