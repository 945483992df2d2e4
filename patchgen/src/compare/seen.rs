//! What the old body of a function says about a number in its new body that may be an address.

use super::code::{is_open, is_vague};
use super::same::{Same, Site};
use super::stamps::Stamps;
use super::text;
use crate::addr::{FuncId, Svma};
use crate::correlate::{Correlation, Side};
use crate::image::Binding;
use crate::lift::{Access, CodeRef, DataKind, Function, Insn, Target};
use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// No texts that differ count as equal.
pub(super) static EXACT: LazyLock<Stamps> = LazyLock::new(Stamps::default);

/// What a number of the new body is, as its counterparts in the old one show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// A number would have had to change by just as much as the linker moved what it would denote.
    Address,
    /// The same in both, where an address would have had to move with what it was computed from.
    Number,
    /// There is no counterpart, or none that decides.
    Open,
}

/// Instructions before and behind one that say that it is the same in both bodies.
const AROUND: isize = 3;

/// Bytes of a text that isn't like any other.
const SHORTEST: u64 = 4;

/// Compares single references of paired functions.
#[derive(Debug)]
pub struct Counterparts<'a> {
    same: Same<'a>,
}

impl<'a> Counterparts<'a> {
    pub fn new(old: Side<'a>, new: Side<'a>, pairs: &'a Correlation) -> Counterparts<'a> {
        Counterparts { same: Same::new(old, new, pairs, &EXACT) }
    }

    /// Whether all thread-local variables have the offsets that they had. A stripped file doesn't say.
    pub fn threads_stay(&self) -> bool {
        let named = |s: Side<'_>| s.image.symbols.iter().any(|s| s.binding == Binding::Local && s.size > 0);
        named(self.same.old) && named(self.same.new) && !self.same.threads_moved()
    }

    /// `reference` is one of `new`'s that isn't certain to be one.
    pub fn meaning(&self, old: FuncId, new: FuncId, reference: &CodeRef) -> Meaning {
        let (f, g) = (&self.same.old.lifted.functions[old.index()], &self.same.new.lifted.functions[new.index()]);
        // Labels of the function itself move within it.
        let own = matches!(reference.target, Target::Func { func, .. } if func == new);
        if own || reference.access == Access::Thread {
            return Meaning::Open;
        }
        let number = text::held(self.same.new.image, g, reference);
        let vague = is_vague(self.same.new, g, &reference.target);
        let mut meaning = Meaning::Open;
        for r in f.refs.iter().filter(|r| r.field == reference.field && r.access == reference.access) {
            let equal = text::held(self.same.old.image, f, r) == number;
            if vague && equal && !r.certain && is_vague(self.same.old, f, &r.target) {
                return Meaning::Number;
            }
            if !vague && !equal && self.denote_the_same((f, r), (g, reference)) {
                meaning = Meaning::Address;
            }
        }
        meaning
    }

    /// Whether what may be meant with `reference`, if it is the base of a text further behind, is in the old image where it is bound to: `bound`, or
    /// the number that it is.
    pub fn holds_as_base(&self, within: FuncId, reference: &CodeRef, bound: Option<Svma>) -> bool {
        let g = &self.same.new.lifted.functions[within.index()];
        let number = text::held(self.same.new.image, g, reference);
        !is_open(self.same.new, g, reference) || self.same.texts_behind(bound.unwrap_or(number), number)
    }

    /// Where the old image has a nameless constant that the new one has at `new` and of which nothing says where it ends.
    pub fn constant(&self, new: Svma, align: u32) -> Option<Svma> {
        self.same.earlier_constant(new, u64::from(align.max(1)))
    }

    /// The addresses that the old body has at the same place of the same code as `reference` has in the new one, each with whether it means
    /// the same as things lie. `close`: the code around must be the same, too.
    pub fn earlier(&self, old: FuncId, new: FuncId, reference: &CodeRef, close: bool) -> Vec<(Svma, bool)> {
        let (f, g) = (&self.same.old.lifted.functions[old.index()], &self.same.new.lifted.functions[new.index()]);
        let site = Site { access: reference.access, functions: Some((f, g)), indexed: reference.indexed };
        let around = if close { -AROUND..=AROUND } else { 0..=1 };
        let means_same = |r: &CodeRef| self.same.targets(&r.target, &reference.target, site);
        let refs = self.counterparts(f, g, reference, around);
        refs.map(|r| (text::held(self.same.old.image, f, r), means_same(r))).collect()
    }

    fn counterparts<'b>(
        &'b self,
        f: &'b Function,
        g: &'b Function,
        reference: &'b CodeRef,
        around: RangeInclusive<isize>,
    ) -> impl Iterator<Item = &'b CodeRef> {
        let wanted = surroundings(self.same.new, g, reference, around.clone());
        let own = surroundings(self.same.new, g, reference, 0..=0);
        let alike =
            |r: &&CodeRef| (r.field, r.access, r.indexed) == (reference.field, reference.access, reference.indexed);
        let refs = f.refs.iter().filter(alike).filter(move |r| surroundings(self.same.old, f, r, 0..=0) == own);
        refs.filter(move |r| wanted.is_some() && surroundings(self.same.old, f, r, around.clone()) == wanted)
    }

    fn denote_the_same(&self, (f, r): (&Function, &CodeRef), (g, s): (&Function, &CodeRef)) -> bool {
        let site = Site { access: s.access, functions: Some((f, g)), indexed: s.indexed };
        self.is_distinct(&s.target) && self.same.targets(&r.target, &s.target, site)
    }

    /// A thing with a name, or a text or its tail. Into another constant the index may lead backwards as well, out of what its place in front of
    /// something else says of it.
    fn is_distinct(&self, new: &Target) -> bool {
        let Target::Data { data, offset } = *new else { return true };
        let side = self.same.new;
        let d = &side.lifted.data[data.index()];
        let at = d.range.start.offset(offset);
        let text = || side.image.bytes(at, SHORTEST).is_some_and(|bytes| !bytes.contains(&0));
        d.kind == DataKind::Named || (d.kind == DataKind::String && text())
    }
}

/// The instruction of a reference and those around it, without the addresses in them; fewer at the ends of a part.
fn surroundings(side: Side<'_>, f: &Function, r: &CodeRef, around: RangeInclusive<isize>) -> Option<Vec<Vec<u8>>> {
    let at = f.index((r.part, r.insn))?;
    let here = |i: &&Insn| i.part == r.part && !i.is_nop();
    let before = f.insns[..at].iter().rev().filter(here).take(around.start().unsigned_abs());
    let behind = f.insns[at..].iter().filter(here).take(around.end().unsigned_abs() + 1);
    before.chain(behind).map(|i| masked(side, f, i)).collect()
}

fn masked(side: Side<'_>, f: &Function, i: &Insn) -> Option<Vec<u8>> {
    let at = f.parts[usize::from(i.part)].start.plus(u64::from(i.offset));
    let mut bytes = side.image.bytes(at, u64::from(i.len))?.to_vec();
    if i.local().is_some() {
        // A branch within the function: its kind counts, neither its length nor its distance.
        let kind = if bytes[0] == 0x0f { bytes[1] & 0x7f } else { bytes[0] };
        return Some(vec![kind]);
    }
    for r in f.refs.get(i.refs())? {
        let from = (r.field_at - r.insn) as usize;
        let end = bytes.len().min(from + r.field.size());
        bytes.get_mut(from..end)?.fill(0);
    }
    Some(bytes)
}
