//! The base of an array less a constant index is an address like any other, and may lie in another object. Whose base it is shows in the
//! old version of the function, in which it lies where the linker put that array then.

use super::bind::{Binder, Unbound};
use super::{Analysis, Place};
use crate::addr::{DataId, FuncId, Svma, SymbolId};
use crate::image::{Binding, SectionKind};
use crate::lift::{Access, CodeRef, DataKind, Field, Target, describes_class};
use patchfmt::codes;
use std::collections::{BTreeSet, HashMap};

/// Constant index times element size that a compiler may fold into a base without anybody wondering, in bytes, at most.
const FOLDED_INDEX: u64 = 64;

/// What is smaller isn't indexed with a constant besides.
const SMALLEST_ARRAY: u64 = 8;

/// Whether `gap` bytes are one to four elements of an array of `size` bytes that has more.
pub fn spans(size: u64, gap: u64) -> bool {
    (1..=4).any(|n| gap.is_multiple_of(n) && size.is_multiple_of(gap / n) && size / (gap / n) > n)
}

/// How far the linker moved arrays between the two builds.
#[derive(Debug)]
pub(super) struct Moves {
    /// Distances from the new to the old address of all that are in both builds.
    distances: BTreeSet<i64>,
    /// Some are in the new build only.
    added: bool,
    /// Where the new image refers to what only it has: the offset, or None where there are several.
    places: HashMap<DataId, Option<i64>>,
}

/// Objects before a place among which the one that holds it is looked for.
const LOOK_BACK: usize = 64;

impl Moves {
    pub fn new(analysis: &Analysis<'_>) -> Moves {
        let mut moves = Moves { distances: BTreeSet::new(), added: false, places: HashMap::new() };
        for (i, d) in analysis.new.data.iter().enumerate() {
            let variable =
                matches!(d.section, SectionKind::Rodata | SectionKind::Relro | SectionKind::Data | SectionKind::Bss);
            if !variable || d.kind != DataKind::Named || d.range.size() < SMALLEST_ARRAY {
                continue;
            }
            match analysis.pairs.data_to_old[i] {
                Some(pair) => {
                    let old = analysis.old.data[pair.old.index()].range.start;
                    moves.distances.insert(old.0.wrapping_sub(d.range.start.0).cast_signed());
                }
                None => moves.added = true,
            }
        }
        let code = analysis.new.functions.iter().flat_map(|f| &f.refs).map(|r| &r.target);
        let data = analysis.new.data.iter().flat_map(|d| d.refs.iter().chain(&d.ambiguous)).map(|r| &r.target);
        for target in code.chain(data) {
            let Target::Data { data, offset } = *target else { continue };
            if analysis.pairs.data_to_old[data.index()].is_none() {
                let place = moves.places.entry(data).or_insert(Some(offset));
                *place = place.filter(|o| *o == offset);
            }
        }
        moves
    }
}

impl Binder<'_> {
    /// Settles which object an address belongs to that the code adds something to. `place`: where it leads when it belongs to the one
    /// that it lies in.
    pub(super) fn base(&self, reference: &CodeRef, place: Place, within: FuncId) -> Result<Place, Unbound> {
        let (true, Access::Derived, &Target::Data { data, offset }) =
            (reference.indexed, reference.access, &reference.target)
        else {
            return Ok(place);
        };
        if reference.meant {
            return Ok(place);
        }
        let new = self.analysis.new;
        let address = new.data[data.index()].range.start.offset(offset);
        let as_it_lies = if let Place::Old(at) = place { Some(at) } else { None };
        // Where something begins from which the code goes on to the address.
        let ahead = i64::from(reference.stepped.unwrap_or(0));
        let start_lies = as_it_lies.map(|at| at.offset(-ahead));
        if new.is_start(data, offset - ahead) && self.neighbour_agrees(data, address.offset(-ahead), start_lies) {
            return Ok(place);
        }
        let distances = &self.moves.distances;
        if !self.moves.added && distances.iter().all(|d| Some(address.offset(*d)) == as_it_lies) {
            return Ok(place);
        }
        // Of what is carried although it has a counterpart: where that lies. Code that used it there means what is carried, or an array
        // beside the counterpart, which isn't carried with it.
        let counterpart =
            || self.old_data(data).map(|old| self.analysis.old.data[old.index()].range.start.offset(offset));
        let left_behind = if as_it_lies.is_none() { counterpart() } else { None };
        let elsewhere = |at: Svma| distances.contains(&at.0.wrapping_sub(address.0).cast_signed());
        for close in [true, false] {
            let earlier = match self.old_func(within) {
                Some(old) => self.counterparts.earlier(old, within, reference, close),
                None => Vec::new(),
            };
            // What moved as one of the arrays did is bound to where it was: if it means the same as things lie, both readings hold.
            let moved = |&(at, same): &(Svma, bool)| elsewhere(at) && Some(at) != as_it_lies && (same || close);
            let moved: BTreeSet<Svma> = earlier.iter().copied().filter(moved).map(|(at, _)| at).collect();
            if left_behind.is_some_and(|left| moved.contains(&left)) {
                // Objects point into a class's table, which is no array.
                if new.data[data.index()].is_class_entry(offset) {
                    return Ok(place);
                }
                break;
            }
            // A text then and a text now: one that changed, or the array that moved as far. Nothing tells. Those of Rust code look like any
            // other constant.
            let old = self.analysis.old;
            let rust = !new.forms.is_empty();
            let is_text = |kind| kind == DataKind::String || (rust && kind == DataKind::Blob);
            let text = |at: &Svma| {
                let mut before = old.data_at.range(..=*at).rev().take(LOOK_BACK).map(|(_, id)| &old.data[id.index()]);
                let held = before.find(|d| d.range.contains(*at) && (!rust || d.kind != DataKind::Blob));
                held.map_or(rust, |d| is_text(d.kind))
            };
            if is_text(new.data[data.index()].kind) && moved.iter().any(text) {
                break;
            }
            let kept = earlier.iter().any(|&(at, same)| Some(at) == as_it_lies || same && !elsewhere(at));
            match (kept, moved.first()) {
                (true, _) => return Ok(place),
                (false, Some(at)) if moved.len() == 1 => return Ok(Place::Old(*at)),
                _ => {}
            }
        }
        if self.is_only_use(data, offset)
            || self.is_of_part(data, offset, within) && self.is_apart(data, address, as_it_lies)
            || self.is_member(data, offset, within)
                && self.neighbour_agrees(data, address, as_it_lies)
                && self.is_past_nothing(reference, address, within)
            || self.is_beside(data, offset, within)
        {
            return Ok(place);
        }
        Err(Unbound {
            code: codes::UNKNOWN_ADDRESS,
            what: format!("{address}, which may also be the base of an array elsewhere, less a constant index"),
        })
    }

    /// Whether a place is close behind an object's start, as a member of an array's first element is, and the function refers to another such
    /// place of it.
    fn is_member(&self, object: DataId, offset: i64, within: FuncId) -> bool {
        let new = self.analysis.new;
        let limit = new.data[object.index()].range.size().min(FOLDED_INDEX).cast_signed();
        let another = |t: &Target| matches!(*t, Target::Data { data, offset: o } if data == object && o != offset && (0..limit).contains(&o));
        (0..limit).contains(&offset) && new.functions[within.index()].refs.iter().any(|r| another(&r.target))
    }

    /// Whether a place lies in the filler shortly in front of an object whose start the function refers to, or at its end, and near nothing else that it
    /// uses.
    fn is_beside(&self, object: DataId, offset: i64, within: FuncId) -> bool {
        let new = self.analysis.new;
        let range = |id: DataId| new.data[id.index()].range;
        let at = range(object).start.offset(offset);
        let named = |id: DataId| new.data[id.index()].kind == DataKind::Named;
        // Where an array may begin so that the place is its base.
        let array = || {
            let close = new.data_at.range(at.plus(1)..=at.plus(FOLDED_INDEX));
            close.filter(|(_, id)| named(**id)).any(|(start, id)| spans(range(*id).size(), start.0 - at.0))
        };
        let end = offset.cast_unsigned() == range(object).size() && named(object) && !array();
        if !end && !(-FOLDED_INDEX.cast_signed()..0).contains(&offset) {
            return false;
        }
        let near = |id: DataId| {
            at.0 < range(id).end.0.saturating_add(FOLDED_INDEX) && range(id).start.0 < at.0.saturating_add(FOLDED_INDEX)
        };
        let (mut start, mut other) = (false, false);
        for r in &new.functions[within.index()].refs {
            let readings = r.target.data().map(|data| (data, r.target == Target::Data { data: object, offset: 0 }));
            for (data, is_start) in readings.into_iter().chain(r.alternatives.iter().map(|a| (a.0, false))) {
                start |= is_start;
                other |= data != object && near(data);
            }
        }
        start && !other
    }

    /// Whether an array or a structure inside of the variable begins at a place of it; or lies there, and the function refers to where it begins.
    fn is_of_part(&self, object: DataId, offset: i64, within: FuncId) -> bool {
        let new = self.analysis.new;
        let (Some(shape), Ok(at)) = (new.shapes.get(&object), u64::try_from(offset)) else { return false };
        let refs = &new.functions[within.index()].refs;
        let refers = |start: u64| {
            let start = start.cast_signed();
            refs.iter().any(|r| matches!(r.target, Target::Data { data, offset } if data == object && offset == start))
        };
        shape.parts.range(..=at).any(|(&start, &size)| at == start || at - start < size && refers(start))
    }

    /// Whether no other array lies so near that a constant part of an index into it leads here, or they all give the same address.
    fn is_apart(&self, object: DataId, address: Svma, as_it_lies: Option<Svma>) -> bool {
        let new = self.analysis.new;
        let walked = |id: DataId| {
            let other = &new.data[id.index()];
            other.kind != DataKind::Constant
                && other.range.size() >= SMALLEST_ARRAY
                && new.shapes.get(&id).is_none_or(|shape| !shape.single)
        };
        new.near(address).filter(|&id| id != object && walked(id)).all(|id| {
            let gap = new.data[id.index()].range.start.0.wrapping_sub(address.0).cast_signed();
            match self.bind(&Target::Data { data: id, offset: 0 }, None, false) {
                Ok(Place::Old(at)) => Some(at) == as_it_lies.map(|here| here.offset(gap)),
                _ => false,
            }
        })
    }

    /// Whether no array of which the place may be the end, with a member's place behind it, ends closely in front of it.
    fn is_past_nothing(&self, reference: &CodeRef, address: Svma, within: FuncId) -> bool {
        let new = self.analysis.new;
        let ends = |id: DataId| {
            let other = new.data[id.index()].range;
            address.0.checked_sub(other.end.0).is_some_and(|past| past <= FOLDED_INDEX && past < other.size())
        };
        !new.near(address).any(|id| ends(id) && self.counts_up(reference, id, within))
    }

    /// Whether the displacement may be an array's end for a loop that counts up to zero, and that has no other address of the array: the old version of
    /// the function has such an operand there.
    pub(super) fn counts_up(&self, reference: &CodeRef, array: DataId, within: FuncId) -> bool {
        let old = self.analysis.old;
        let displaced = |r: &CodeRef| r.field == Field::Abs32S && r.access == Access::Derived;
        if !(displaced(reference) && reference.indexed) {
            return false;
        }
        let (Some(array), Some(earlier)) = (self.old_data(array), self.old_func(within)) else { return false };
        let end = old.data[array.index()].range.end;
        let close = |at: Svma| end <= at && at.0 - end.0 <= FOLDED_INDEX;
        old.functions[earlier.index()].refs.iter().filter(|r| displaced(r)).any(|r| match r.target {
            Target::Data { data, offset } => close(old.data[data.index()].range.start.offset(offset)),
            Target::Unknown(at) => close(at),
            _ => false,
        })
    }

    /// Whether a static object that only the new build has is referred to at this one place of it: somebody has to mean it, or it wouldn't be
    /// there.
    fn is_only_use(&self, object: DataId, offset: i64) -> bool {
        let new = self.analysis.new;
        let here = &new.data[object.index()];
        let is_static = |&s: &SymbolId| self.analysis.new_image.symbol(s).binding == Binding::Local;
        let within = offset >= 0 && offset.unsigned_abs() < here.range.size();
        let added = self.old_data(object).is_none() && !here.names.is_empty() && here.names.iter().all(is_static);
        within && added && self.moves.places.get(&object) == Some(&Some(offset))
    }

    /// A loop that goes backwards over an array ends in front of it, in the filler or in the small object there. Where the old image has
    /// the two at the same distance, either reading gives the same address.
    fn neighbour_agrees(&self, data: DataId, address: Svma, as_it_lies: Option<Svma>) -> bool {
        let new = self.analysis.new;
        let next = new.data_at.range(address.plus(1)..).find(|(_, id)| new.data[id.index()].kind == DataKind::Named);
        let Some((&start, &id)) = next.filter(|(s, _)| s.0 - address.0 <= FOLDED_INDEX) else { return true };
        let gap = start.0 - address.0;
        // Nobody walks through what describes a class.
        if describes_class(&new.data[id.index()].name) {
            return true;
        }
        if !spans(new.data[id.index()].range.size(), gap) {
            return true;
        }
        match (self.bind(&Target::Data { data: id, offset: 0 }, None, false), as_it_lies) {
            (Ok(Place::Old(old)), Some(at)) => old.0.wrapping_sub(at.0) == gap,
            (_, Some(_)) => false,
            (_, None) => new.data[data.index()].kind == DataKind::Named,
        }
    }
}
