//! What the old body of a function says about a number in its new body that may be an address.

use super::code::is_vague;
use super::same::{Same, Site};
use super::stamps::Stamps;
use super::text;
use crate::addr::FuncId;
use crate::correlate::{Correlation, Side};
use crate::lift::{Access, CodeRef, DataKind, Function, Target};
use std::sync::LazyLock;

/// No texts that differ count as equal.
static EXACT: LazyLock<Stamps> = LazyLock::new(Stamps::default);

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

    fn denote_the_same(&self, (f, r): (&Function, &CodeRef), (g, s): (&Function, &CodeRef)) -> bool {
        let site = Site { access: s.access, functions: Some((f, g)) };
        self.is_distinct(&s.target) && self.same.targets(&r.target, &s.target, site)
    }

    /// A thing with a name, or a text from its start. Into another constant the index may lead backwards as well, out of what its place
    /// in front of something else says of it.
    fn is_distinct(&self, new: &Target) -> bool {
        let Target::Data { data, offset } = *new else { return true };
        let side = self.same.new;
        let d = &side.lifted.data[data.index()];
        let text = || side.image.bytes(d.range.start, SHORTEST).is_some_and(|bytes| !bytes.contains(&0));
        d.kind == DataKind::Named || (d.kind == DataKind::String && offset == 0 && text())
    }
}
