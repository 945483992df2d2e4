//! Constants of Rust code, which have neither symbols nor an end of their own: where one ends shows in what moves without it.
//!
//! What follows a constant is another one if the same code that referred to it in the old build refers, in the new one, to a place that is
//! not as far from the constant as before. References into the middle of one constant keep their distance, but for texts that end in a zero:
//! one that is the tail of another may be that of a third in the other build.

use super::code::{Body, masked};
use super::same::{Assumed, Same};
use crate::addr::Svma;
use crate::correlate::Side;
use crate::image::{DynReloc, Image, ImageKind, SectionKind};
use crate::lift::{Data, DataKind, Target};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Constants that are longer than this, in bytes, aren't followed to their end.
const LONGEST: u64 = 1 << 20;

/// Where constants of either image begin, and which of them the same code refers to.
#[derive(Debug)]
pub(super) struct Apart {
    old: Starts,
    new: Starts,
}

/// One image's side of it.
#[derive(Debug, Default)]
struct Starts {
    /// Every place of read-only data that something refers to, ascending.
    all: Vec<u64>,
    /// Of them, jump tables, objects with a name and constants whose form says what they are: nothing else goes on there.
    known: HashSet<u64>,
    /// What the same reference of the other image leads to.
    others: HashMap<u64, BTreeSet<u64>>,
}

impl Starts {
    fn after(&self, at: u64) -> Option<u64> {
        self.all.get(self.all.partition_point(|&s| s <= at)).copied()
    }

    /// Whether what begins at `next` isn't part of what begins at `at`, which is at `there` in the other image. None where nothing
    /// says so: only code refers to it that the other image doesn't have, or that refers to other bytes there. `images`: this one and the other.
    fn is_apart(&self, next: u64, (at, there): (u64, u64), images: (&Image, &Image)) -> Option<bool> {
        if self.known.contains(&next) {
            return Some(true);
        }
        let others = self.others.get(&next)?;
        let distance = next - at;
        // A linker lets a text with a zero be the tail of another one, and chooses anew which.
        let one_text = images.0.bytes(Svma(at), distance).is_some_and(|b| !b.contains(&0));
        let tail = |o: u64| one_text && images.0.c_str(Svma(next)) == images.1.c_str(Svma(o));
        Some(others.iter().all(|&o| o.wrapping_sub(there) != distance && !tail(o)))
    }
}

fn is_constant(image: &Image, at: u64) -> bool {
    matches!(image.kind_at(Svma(at)), Some(SectionKind::Rodata | SectionKind::Relro))
}

/// Where a target of data lies.
fn address(side: Side<'_>, target: &Target) -> Option<u64> {
    match target {
        Target::Data { data, offset } => Some(side.lifted.data[data.index()].range.start.offset(*offset).0),
        _ => None,
    }
}

fn starts(side: Side<'_>) -> Starts {
    let tables = side.lifted.functions.iter().flat_map(|f| &f.tables).map(|t| t.at.0);
    // Thread-local variables lie behind their template in addresses only.
    let constants =
        || side.lifted.data.iter().filter(|d| matches!(d.section, SectionKind::Rodata | SectionKind::Relro));
    let named =
        constants().filter(|d| d.kind == DataKind::Named && !may_be_tail(side.image, d)).map(|d| d.range.start.0);
    let known: HashSet<u64> = tables.chain(named).chain(side.lifted.forms.iter().map(|at| at.0)).collect();
    let code = side.lifted.functions.iter().flat_map(|f| &f.refs).filter_map(|r| address(side, &r.target));
    let data = constants().map(|d| d.range.start.0);
    let words = side.image.dynamic.values().filter_map(|r| match r {
        DynReloc::Relative { target } => Some(target.0),
        _ => None,
    });
    let mut all: Vec<u64> = code.chain(data).chain(words).filter(|&at| is_constant(side.image, at)).collect();
    all.extend(&known);
    all.sort_unstable();
    all.dedup();
    Starts { all, known, others: HashMap::new() }
}

/// Whether a linker may have put an object into the tail of a text.
fn may_be_tail(image: &Image, datum: &Data) -> bool {
    let byte = |at: u64| image.bytes(Svma(at), 1).map(|b| b[0]);
    let (start, end) = (datum.range.start.0, datum.range.end.0);
    datum.section == SectionKind::Rodata
        && byte(start.wrapping_sub(1)) != Some(0)
        && byte(end.wrapping_sub(1)) == Some(0)
}

impl Apart {
    /// None where one of the images has no code of rustc's, or no dynamic relocations that tell addresses from numbers.
    pub fn new(same: &Same<'_>) -> Option<Apart> {
        let rust = |s: Side<'_>| !s.lifted.forms.is_empty() && s.image.kind != ImageKind::Exec;
        if !rust(same.old) || !rust(same.new) {
            return None;
        }
        let mut apart = Apart { old: starts(same.old), new: starts(same.new) };
        let mut open = Vec::new();
        for (new, pair) in same.pairs.func_to_old.iter().enumerate() {
            let Some(pair) = pair else { continue };
            let f = &same.old.lifted.functions[pair.old.index()];
            let g = &same.new.lifted.functions[new];
            if let Some(refs) = masked(&Body::new(f, same.old), &Body::new(g, same.new)) {
                let both = |(r, s): (&Target, &Target)| Some((address(same.old, r)?, address(same.new, s)?));
                open.extend(refs.into_iter().filter_map(both));
            }
        }
        for (new, pair) in same.pairs.data_to_old.iter().enumerate() {
            let Some(pair) = pair else { continue };
            let (a, b) = (&same.old.lifted.data[pair.old.index()], &same.new.lifted.data[new]);
            if a.kind == DataKind::Named && a.range.size() == b.range.size() {
                words((same.old.image, a.range.start.0), (same.new.image, b.range.start.0), a.range.size(), &mut open);
            }
        }
        apart.relate(same, open);
        Some(apart)
    }

    /// Takes down pairs of places, and those that their words lead to.
    fn relate(&mut self, same: &Same<'_>, mut open: Vec<(u64, u64)>) {
        let mut seen = HashSet::new();
        while let Some((at, there)) = open.pop() {
            let constants = is_constant(same.old.image, at) && is_constant(same.new.image, there);
            if !constants || !seen.insert((at, there)) {
                continue;
            }
            let room = |s: &Starts, at: u64| s.after(at).map_or(0, |next| next - at);
            let (left, right) = (room(&self.old, at), room(&self.new, there));
            // The same reference to something else, or to another part of it, says nothing.
            if !alike((same.old.image, at, left), (same.new.image, there, right)) {
                continue;
            }
            self.old.others.entry(at).or_default().insert(there);
            self.new.others.entry(there).or_default().insert(at);
            words((same.old.image, at), (same.new.image, there), left.min(right), &mut open);
        }
    }

    /// Where the old image has what the new one has at `there`, for the same code: all of it, so that other code may use it as well.
    pub fn earlier(&self, same: &Same<'_>, there: u64, align: u64) -> Option<u64> {
        let whole =
            |&at: &u64| at.is_multiple_of(align) && self.equal(same, (at, there), true, &mut Assumed::default());
        self.new.others.get(&there)?.iter().copied().find(whole)
    }

    /// Whether all that can belong to the constants at `from` and `to` is the same. `whole`: also for code that isn't in both builds.
    pub fn equal(&self, same: &Same<'_>, (from, to): (u64, u64), whole: bool, assumed: &mut Assumed) -> bool {
        let mut done = 0;
        while done < LONGEST {
            let (Some(p), Some(q)) = (self.old.after(from + done), self.new.after(to + done)) else { return false };
            let (left, right) = (p - from, q - to);
            let common = left.min(right);
            let filler = left.max(right) - common < aligned(if left > right { p } else { q })
                && zeros(same.old.image, from + common..p)
                && zeros(same.new.image, to + common..q);
            if !filler || !same.stretch((Svma(from + done), Svma(to + done)), common - done, assumed) {
                return false;
            }
            let (old, new) = (same.old.image, same.new.image);
            match (self.old.is_apart(p, (from, to), (old, new)), self.new.is_apart(q, (to, from), (new, old))) {
                (Some(true), Some(true)) => return !whole || right <= left,
                // One build shows that the constant has just this length, and code that both have reads no more of it in the other.
                (Some(true), None) | (None, Some(true)) if left == right && !whole => return true,
                _ if left != right => return false,
                _ => done = common,
            }
        }
        false
    }
}

/// Bytes of filler in front of a place are fewer.
fn aligned(next: u64) -> u64 {
    (1 << next.trailing_zeros().min(5)).max(2)
}

/// Whether two stretches have the same bytes, but for the words that the dynamic linker fills, and filler.
fn alike((old, at, left): (&Image, u64, u64), (new, there, right): (&Image, u64, u64)) -> bool {
    let common = left.min(right);
    if left.max(right) > LONGEST
        || left.max(right) - common >= aligned(if left > right { at + left } else { there + right })
    {
        return false;
    }
    let filled = |image: &Image, at: u64| -> Vec<u64> {
        image.dynamic.range(Svma(at)..Svma(at + common)).map(|(word, _)| word.0 - at).collect()
    };
    let (x, y) = (old.bytes(Svma(at), common), new.bytes(Svma(there), common));
    let (Some(x), Some(y)) = (x, y) else { return false };
    let words = filled(old, at);
    let mut from = 0;
    let same = words.iter().all(|&word| {
        let until = (word as usize).min(x.len());
        let same = x.get(from..until) == y.get(from..until);
        from = (until + 8).min(x.len());
        same
    });
    same && x[from..] == y[from..]
        && words == filled(new, there)
        && zeros(old, at + common..at + left)
        && zeros(new, there + common..there + right)
}

fn zeros(image: &Image, range: std::ops::Range<u64>) -> bool {
    range.is_empty()
        || image.bytes(Svma(range.start), range.end - range.start).is_some_and(|b| b.iter().all(|b| *b == 0))
            && image.dynamic.range(Svma(range.start)..Svma(range.end)).next().is_none()
}

/// What the words of two stretches lead to, where both are addresses, up to the first that the other stretch doesn't have.
fn words(old: (&Image, u64), new: (&Image, u64), size: u64, out: &mut Vec<(u64, u64)>) {
    let of = |(image, at): (&'_ Image, u64)| -> Vec<(u64, Option<u64>)> {
        let range = image.dynamic.range(Svma(at)..Svma(at + size));
        let target = |r: &DynReloc| if let DynReloc::Relative { target } = r { Some(target.0) } else { None };
        range.map(|(word, r)| (word.0 - at, target(r))).collect()
    };
    let pairs = of(old).into_iter().zip(of(new)).take_while(|((i, _), (j, _))| i == j);
    out.extend(pairs.filter_map(|((_, a), (_, b))| a.zip(b)));
}
