//! When two targets, one of each image, are the same thing.

use super::apart::Apart;
use super::stamps::Stamps;
use crate::addr::{DataId, FuncId, ImportId, Svma, SvmaRange, SymbolId};
use crate::correlate::{Correlation, Side};
use crate::image::{Image, ImageKind, Import, Section, SectionKind};
use crate::lift::{Access, Data, DataKind, DataRef, Function, JumpTable, Slot, Target};
use std::collections::{HashMap, HashSet};
use std::sync::{OnceLock, PoisonError, RwLock};

/// Both images, and how they are paired.
#[derive(Debug)]
pub(super) struct Same<'a> {
    pub old: Side<'a>,
    pub new: Side<'a>,
    pub pairs: &'a Correlation,
    stamps: &'a Stamps,
    old_vars: HashMap<SymbolId, DataId>,
    new_vars: HashMap<SymbolId, DataId>,
    /// Pairs of anonymous objects that were found equal, with all that they lead to.
    proven: RwLock<HashSet<Constants>>,
    /// Filled when it is first asked for.
    apart: OnceLock<Option<Apart>>,
}

/// The oldest version of the C library for x86-64, which a reference without a version is bound to.
const OLDEST: &str = "GLIBC_2.2.5";

/// Constant part of an index that a compiler takes into a base, in bytes, at most.
const FOLDED: u64 = 256;

/// Constant part of an index by characters, in bytes, at most.
const REACH: u64 = 1024;

/// Constants that lead to each other in ways that take more comparisons than this count as different.
const MOST: u32 = 1 << 20;

/// Places in two anonymous objects.
type Constants = (DataId, DataId, i64, i64);

/// Pairs of anonymous objects taken as equal while they are being compared: a cycle has no difference of its own.
#[derive(Debug, Default)]
pub(super) struct Assumed {
    pairs: HashSet<Constants>,
    /// The same in the order in which they came.
    order: Vec<Constants>,
    /// Found unequal.
    refuted: HashSet<Constants>,
    /// Comparisons that were begun.
    begun: u32,
}

impl Assumed {
    /// Whether the pair wasn't assumed before.
    fn insert(&mut self, pair: Constants) -> bool {
        let new = self.pairs.insert(pair);
        if new {
            self.order.push(pair);
        }
        new
    }

    /// Takes back what was assumed after the first `len`: it rested on something that turned out wrong.
    fn keep(&mut self, len: usize) {
        for pair in self.order.drain(len..) {
            self.pairs.remove(&pair);
        }
    }
}

pub(super) fn variables(side: Side<'_>) -> HashMap<SymbolId, DataId> {
    let mut map = HashMap::new();
    for (i, d) in side.lifted.data.iter().enumerate() {
        if matches!(d.section, SectionKind::Tdata | SectionKind::Tbss) {
            map.extend(d.names.iter().map(|&n| (n, DataId::from(i))));
        }
    }
    map
}

/// Size of the TLS block rounded up to its alignment: the distance from its start to the thread pointer (psABI, variant II).
pub(super) fn block_size(side: Side<'_>) -> i64 {
    side.image.tls.map_or(0, |(_, size, align)| size.next_multiple_of(align.max(1)) as i64)
}

/// Where a reference stands, as far as its meaning depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub access: Access,
    /// The functions that hold the reference; None inside data.
    pub functions: Option<(&'a Function, &'a Function)>,
    /// The code may add something to the address: then what is meant need not be what lies there.
    pub indexed: bool,
}

pub(super) const IN_DATA: Site<'static> = Site { access: Access::Derived, functions: None, indexed: false };

impl<'a> Same<'a> {
    pub fn new(old: Side<'a>, new: Side<'a>, pairs: &'a Correlation, stamps: &'a Stamps) -> Same<'a> {
        let (old_vars, new_vars) = (variables(old), variables(new));
        Same { old, new, pairs, stamps, old_vars, new_vars, proven: RwLock::default(), apart: OnceLock::new() }
    }

    /// Whether any thread-local variable of the new build isn't where it was in the block, or the block has another size.
    pub fn threads_moved(&self) -> bool {
        let start = |s: Side<'a>| s.image.tls.map_or(0, |(template, ..)| template.start.0);
        let at = |s: Side<'a>, d: DataId| s.lifted.data[d.index()].range.start.0 - start(s);
        let stays =
            |new: DataId| self.pairs.data_to_old[new.index()].is_some_and(|p| at(self.old, p.old) == at(self.new, new));
        block_size(self.old) != block_size(self.new) || !self.new_vars.values().all(|&d| stays(d))
    }

    pub fn functions(&self, old: FuncId, new: FuncId) -> bool {
        self.pairs.func_to_new[old.index()].is_some_and(|p| p.new == new)
    }

    fn imports(&self, old: ImportId, new: ImportId) -> bool {
        let (a, b) = (self.old.image.import(old), self.new.image.import(new));
        // A module that needs nothing of the C library says no version of what its start-up files would call there. The dynamic linker then takes
        // the library's oldest.
        let oldest = |a: &Import, b: &Import| a.version.is_none() && b.version.as_deref() == Some(OLDEST);
        a.name == b.name && (a.version == b.version || a.weak && b.weak && (oldest(a, b) || oldest(b, a)))
    }

    fn maybe_imports(&self, old: Option<ImportId>, new: Option<ImportId>) -> bool {
        match (old, new) {
            (Some(a), Some(b)) => self.imports(a, b),
            (None, None) => true,
            _ => false,
        }
    }

    /// Offsets are in the images' blocks; what counts is the variable and the offset within it.
    fn variables(&self, old: (Option<SymbolId>, i64), new: (Option<SymbolId>, i64)) -> bool {
        match (old.0, new.0) {
            (Some(a), Some(b)) => {
                let within = |s: Side<'a>, v: SymbolId, o: i64| o.wrapping_sub_unsigned(s.image.symbol(v).svma.0);
                let equal = within(self.old, a, old.1) == within(self.new, b, new.1);
                let (Some(a), Some(b)) = (self.old_vars.get(&a), self.new_vars.get(&b)) else { return false };
                self.pairs.data_to_new[a.index()].is_some_and(|p| p.new == *b) && equal
            }
            (None, None) => old.1 == new.1,
            _ => false,
        }
    }

    pub fn targets(&self, old: &Target, new: &Target, site: Site<'_>) -> bool {
        let mut assumed = Assumed::default();
        let same = self.target(old, new, site, &mut assumed);
        // With everything true that it rests on. (At fixed addresses a word that isn't the same may be no address, and is left open.)
        if same && !assumed.pairs.is_empty() && self.new.image.kind != ImageKind::Exec {
            self.proven.write().unwrap_or_else(PoisonError::into_inner).extend(assumed.pairs);
        }
        same
    }

    /// Two constants of unknown extent that a comparison before this one found equal, with all that they lead to.
    fn is_proven(&self, pair: &Constants) -> bool {
        self.proven.read().unwrap_or_else(PoisonError::into_inner).contains(pair)
    }

    fn target(&self, old: &Target, new: &Target, site: Site<'_>, assumed: &mut Assumed) -> bool {
        match (old, new) {
            (Target::Func { func: a, part: pa, offset: oa }, Target::Func { func: b, part: pb, offset: ob }) => {
                self.functions(*a, *b) && pa == pb && oa == ob
            }
            (Target::Import(a), Target::Import(b)) => self.imports(*a, *b),
            (Target::Slot(a), Target::Slot(b)) => self.slots(a, b, assumed),
            (Target::Data { data: a, offset: oa }, Target::Data { data: b, offset: ob }) => {
                self.data((*a, *oa), (*b, *ob), site, assumed)
            }
            (
                Target::Tls { symbol: a, offset: oa, from_block: fa },
                Target::Tls { symbol: b, offset: ob, from_block: fb },
            ) => {
                let base = |s: Side<'a>, block: bool| if block { 0 } else { block_size(s) };
                fa == fb && self.variables((*a, *oa + base(self.old, *fa)), (*b, *ob + base(self.new, *fb)))
            }
            (Target::Linker(a), Target::Linker(b)) => a == b,
            (Target::Unknown(a), Target::Unknown(b)) => self.unknown(*a, *b, site, assumed),
            _ => false,
        }
    }

    pub fn slots(&self, old: &Slot, new: &Slot, assumed: &mut Assumed) -> bool {
        match (old, new) {
            (Slot::Import { import: a, addend: x }, Slot::Import { import: b, addend: y }) => {
                self.imports(*a, *b) && x == y
            }
            (Slot::Address(a), Slot::Address(b)) | (Slot::Irelative(a), Slot::Irelative(b)) => {
                self.target(a, b, IN_DATA, assumed)
            }
            (Slot::TpOff(a), Slot::TpOff(b))
            | (Slot::TlsGd(a), Slot::TlsGd(b))
            | (Slot::TlsDesc(a), Slot::TlsDesc(b)) => {
                let same = || match a.import {
                    Some(_) => a.offset == b.offset,
                    None => self.variables((a.symbol, a.offset), (b.symbol, b.offset)),
                };
                self.maybe_imports(a.import, b.import) && same()
            }
            (Slot::Number(a), Slot::Number(b)) => a == b,
            (Slot::TlsLd, Slot::TlsLd) | (Slot::TlsBlockDesc, Slot::TlsBlockDesc) => true,
            _ => false,
        }
    }

    /// An address at which nothing is known: the same only where it can't have been laid out differently.
    fn unknown(&self, old: Svma, new: Svma, site: Site<'_>, assumed: &mut Assumed) -> bool {
        let section = |s: Side<'a>, a: Svma| s.image.section_at(a).map(|id| s.image.section(id));
        // It may be the base, less an index, of what another section of constants shortly behind it begins with.
        let behind = |a: &Section| {
            let near = |c: &Section| c.range.start >= a.range.end && c.range.start.0 - old.0 <= FOLDED;
            let mut constants = self.old.image.sections.iter().filter(|c| c.kind == SectionKind::Rodata);
            constants.all(|c| !near(c) || self.new.image.sections.iter().any(|d| self.equal_sections(c, d)))
        };
        match (section(self.old, old), section(self.new, new)) {
            (Some(a), Some(b)) => old == new && self.equal_sections(a, b) && behind(a),
            (None, None) => self.around(old, new, site, assumed),
            _ => false,
        }
    }

    /// A section of the old image and one of the new with the same name, place and bytes.
    fn equal_sections(&self, a: &Section, b: &Section) -> bool {
        let bytes = |s: Side<'a>, c: &Section| s.image.bytes(c.range.start, c.range.size());
        a.name == b.name && a.range == b.range && bytes(self.old, a) == bytes(self.new, b)
    }

    /// An address between two sections may be the end of what the one ends with, or the base, less an index, of what the other begins with.
    fn around(&self, old: Svma, new: Svma, site: Site<'_>, assumed: &mut Assumed) -> bool {
        let sections = |s: Side<'a>| s.image.sections.iter().filter(|c| c.range.size() > 0);
        let next = |s: Side<'a>, at: Svma| sections(s).filter(|c| c.range.start > at).min_by_key(|c| c.range.start);
        let before = |s: Side<'a>, at: Svma| sections(s).find(|c| c.range.end == at);
        let equal = |a: &Section, b: &Section| self.equal_sections(a, b);
        let ends = match (before(self.old, old), before(self.new, new)) {
            (None, None) => true,
            (Some(a), Some(b)) => equal(a, b),
            _ => false,
        };
        let first = |s: Side<'a>, c: &Section| s.lifted.data.iter().position(|d| d.range.start == c.range.start);
        ends && match (next(self.old, old), next(self.new, new)) {
            (None, None) => old == new && self.old.image.extent == self.new.image.extent,
            (Some(a), Some(b)) if old == new && equal(a, b) => true,
            (Some(a), Some(b)) if a.name == b.name => {
                let less = |at: Svma, c: &Section| at.0.wrapping_sub(c.range.start.0) as i64;
                let (less, too) = (less(old, a), less(new, b));
                match (first(self.old, a), first(self.new, b)) {
                    (Some(x), Some(y)) => {
                        let inside = |s: Side<'a>, i: usize| less.unsigned_abs() <= s.lifted.data[i].range.size();
                        let folded = inside(self.old, x) && inside(self.new, y);
                        folded && self.data((DataId::from(x), less), (DataId::from(y), too), site, assumed)
                    }
                    // Nothing else leads there: all up to what is known to be something.
                    (None, None) => {
                        let head = |s: Side<'a>, c: &Section| {
                            let known =
                                s.lifted.data.iter().map(|d| d.range.start).filter(|d| c.range.contains(*d)).min();
                            let size = known.unwrap_or(c.range.end).0 - c.range.start.0;
                            let range = c.range.start..c.range.start.plus(size);
                            let plain = s.image.dynamic.range(range).next().is_none();
                            s.image.bytes(c.range.start, size).filter(|_| plain && less.unsigned_abs() <= size)
                        };
                        let (x, y) = (head(self.old, a), head(self.new, b));
                        less == too && x.is_some() && x == y
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }

    fn data(&self, old: (DataId, i64), new: (DataId, i64), site: Site<'_>, assumed: &mut Assumed) -> bool {
        let (a, b) = (&self.old.lifted.data[old.0.index()], &self.new.lifted.data[new.0.index()]);
        match (a.kind, b.kind) {
            (DataKind::Named, DataKind::Named) => {
                self.pairs.data_to_new[old.0.index()].is_some_and(|p| p.new == new.0) && old.1 == new.1
            }
            (DataKind::Named, _) | (_, DataKind::Named) => false,
            _ if !is_constant(a) || !is_constant(b) => self.unnamed_variables(a, b, old.1, new.1),
            _ => {
                let direct = matches!(site.access, Access::Direct { .. });
                let blob = a.kind == DataKind::Blob && b.kind == DataKind::Blob;
                let pair = (old.0, new.0, old.1, new.1);
                if direct {
                    return self.literals((old.0, a, old.1), (new.0, b, new.1), site, assumed);
                }
                if blob && self.is_proven(&pair) {
                    return true;
                }
                let before = assumed.order.len();
                if assumed.refuted.contains(&pair) || !assumed.insert(pair) {
                    return !assumed.refuted.contains(&pair);
                }
                assumed.begun += 1;
                if assumed.begun > MOST {
                    assumed.keep(before);
                    return false;
                }
                if self.literals((old.0, a, old.1), (new.0, b, new.1), site, assumed) {
                    return true;
                }
                assumed.keep(before + 1);
                // What has a symbol has a size.
                let nameless = a.kind != DataKind::Literal && b.kind != DataKind::Literal;
                let same =
                    nameless && self.moved_apart(a.range.start.offset(old.1), b.range.start.offset(new.1), assumed);
                if !same {
                    assumed.keep(before);
                    assumed.refuted.insert(pair);
                }
                same
            }
        }
    }

    /// Constants of Rust code, as far as they reach.
    fn moved_apart(&self, old: Svma, new: Svma, assumed: &mut Assumed) -> bool {
        let apart = self.apart.get_or_init(|| Apart::new(self));
        apart.as_ref().is_some_and(|apart| apart.equal(self, (old.0, new.0), false, assumed))
    }

    /// Where the old image has a constant of Rust code without a name that the new one has at `new`, if the same code refers to both.
    pub fn earlier_constant(&self, new: Svma, align: u64) -> Option<Svma> {
        let apart = self.apart.get_or_init(|| Apart::new(self));
        apart.as_ref().and_then(|apart| apart.earlier(self, new.0, align)).map(Svma)
    }

    /// `n` bytes of constants, wherever they belong to.
    pub fn stretch(&self, (from, to): (Svma, Svma), n: u64, assumed: &mut Assumed) -> bool {
        if from.0.checked_add(n).is_none() || to.0.checked_add(n).is_none() {
            return false;
        }
        let plain = |s: Side<'a>, at: Svma| s.image.dynamic.range(at..at.plus(n)).next().is_none();
        if plain(self.old, from) && plain(self.new, to) {
            let (x, y) = (self.old.image.bytes(from, n), self.new.image.bytes(to, n));
            return x.is_some() && x == y;
        }
        let holding = |s: Side<'a>, at: Svma| {
            let before = s.lifted.data_at.range(..=at).next_back().map(|(_, id)| &s.lifted.data[id.index()]);
            before.filter(|d| d.range.contains(at) && at.0 + n <= d.range.end.0)
        };
        match (holding(self.old, from), holding(self.new, to)) {
            (Some(a), Some(b)) => self.bytes((a, from), (b, to), n, assumed),
            _ => false,
        }
    }

    /// The characters in reach behind one of the two addresses are as far behind the other: either may be the base of a text, less a constant part
    /// of the index.
    pub fn texts_behind(&self, old: Svma, new: Svma) -> bool {
        let within = |(one, at): (Side<'a>, Svma), (other, to): (Side<'a>, Svma)| {
            let reach = SvmaRange::new(at.plus(1), REACH);
            let near = one.image.sections.iter().filter(|s| s.kind == SectionKind::Rodata && s.range.overlaps(reach));
            near.map(|s| SvmaRange { start: s.range.start.max(reach.start), end: s.range.end.min(reach.end) }).all(
                |part| {
                    let there = to.plus(part.start.0 - at.0);
                    let Some(bytes) = one.image.bytes(part.start, part.size()) else { return true };
                    if other.image.bytes(there, part.size()) == Some(bytes) {
                        return true;
                    }
                    let characters = Characters::new(one, part);
                    let same = |(k, x): (u64, &u8)| {
                        *x == 0
                            || other.image.bytes(there.plus(k), 1) == Some(&[*x])
                            || !characters.has(part.start.plus(k))
                    };
                    (0..).zip(bytes).all(same)
                },
            )
        };
        within((self.old, old), (self.new, new)) && within((self.new, new), (self.old, old))
    }

    /// A symbol of the linker stands at both addresses.
    pub fn same_label(&self, old: Svma, new: Svma) -> bool {
        let label = |s: &&crate::image::Symbol| crate::lift::is_linker_symbol(&s.name);
        self.old
            .image
            .symbols_at(old)
            .iter()
            .filter(label)
            .any(|a| self.new.image.symbols_at(new).iter().filter(label).any(|b| a.name == b.name))
    }

    /// Writable data without a symbol: the same where the whole section is laid out as before.
    fn unnamed_variables(&self, a: &Data, b: &Data, x: i64, y: i64) -> bool {
        let place = |s: Side<'a>, d: &Data, o: i64| {
            s.image.section_at(d.range.start).map(|id| {
                let sec = s.image.section(id);
                (&sec.name, sec.range.size(), (d.range.start.0 - sec.range.start.0) as i64 + o)
            })
        };
        matches!((place(self.old, a, x), place(self.new, b, y)), (Some(p), Some(q)) if p == q)
    }

    fn literals(
        &self,
        (old_id, a, x): (DataId, &Data, i64),
        (new_id, b, y): (DataId, &Data, i64),
        site: Site<'_>,
        assumed: &mut Assumed,
    ) -> bool {
        if let Access::Direct { width } = site.access {
            let (from, to) = (a.range.start.offset(x), b.range.start.offset(y));
            return self.bytes((a, from), (b, to), u64::from(width), assumed);
        }
        let (Ok(x), Ok(y)) = (u64::try_from(x), u64::try_from(y)) else {
            // Before its object: nothing but the whole says what is meant.
            return x == y && self.whole(a, b, assumed);
        };
        let (left, right) = (a.range.size().saturating_sub(x), b.range.size().saturating_sub(y));
        let (from, to) = (a.range.start.plus(x), b.range.start.plus(y));
        let merged = |s: Side<'a>, at: Svma| merged_text(s.image, at).filter(|_| !site.indexed);
        if let (Some(m), Some(n)) = (merged(self.old, from), merged(self.new, to)) {
            let text = |s: Side<'a>, at: Svma| s.image.bytes(at, m.max(n)).filter(|text| text[0] != 0);
            let old = text(self.old, from);
            if old.is_some() && old == text(self.new, to) || self.stamped((from, m), (to, n)) {
                return true;
            }
        }
        match (a.kind, b.kind) {
            (DataKind::Literal, DataKind::Literal) => x == y && self.whole(a, b, assumed),
            (DataKind::String, DataKind::String) => {
                let text = |s: Side<'a>, at: Svma| s.image.c_str(at).map(<[u8]>::len);
                let (Some(m), Some(n)) = (text(self.old, from), text(self.new, to)) else { return false };
                if m == 0 && n == 0 && (x > 0 || y > 0) {
                    // The NUL of a literal: an empty string, or the end of the literal if the function uses that too.
                    let used = |f: &Function, d: DataId, o: u64| {
                        f.refs.iter().any(
                            |r| matches!(r.target, Target::Data { data, offset } if data == d && offset != o as i64),
                        )
                    };
                    let end = site.functions.is_some_and(|(f, g)| used(f, old_id, x) || used(g, new_id, y));
                    return !end || (x == y && self.whole(a, b, assumed));
                }
                (m == n && self.extents((a, from, left), (b, to, right), assumed))
                    || self.stamped((from, left), (to, right))
            }
            _ => self.extents((a, from, left), (b, to, right), assumed),
        }
    }

    /// Where a nameless literal ends isn't known, only where the next thing starts, and its content may say how far it is read (a wide
    /// string, a list of strings). So all up to there counts, but for filler.
    fn extents(
        &self,
        (a, from, left): (&Data, Svma, u64),
        (b, to, right): (&Data, Svma, u64),
        assumed: &mut Assumed,
    ) -> bool {
        let common = left.min(right);
        let filler =
            |s: Side<'a>, at: Svma, n: u64| n == 0 || s.image.bytes(at, n).is_some_and(|b| b.iter().all(|&b| b == 0));
        let no_refs = |d: &Data, at: Svma| {
            let start = at.0.wrapping_sub(d.range.start.0);
            d.refs.iter().chain(&d.ambiguous).all(|r| u64::from(r.at) < start)
        };
        self.bytes((a, from), (b, to), common, assumed)
            && filler(self.old, from.plus(common), left - common)
            && filler(self.new, to.plus(common), right - common)
            && no_refs(a, from.plus(common))
            && no_refs(b, to.plus(common))
    }

    /// Two texts, and nothing behind them, that differ in a build stamp only.
    fn stamped(&self, (from, left): (Svma, u64), (to, right): (Svma, u64)) -> bool {
        let text = |s: Side<'a>, at: Svma, n: u64| {
            let text = s.image.c_str(at)?;
            let behind = s.image.bytes(at, n)?.get(text.len()..)?;
            behind.iter().all(|b| *b == 0).then_some(text)
        };
        let texts = text(self.old, from, left).zip(text(self.new, to, right));
        texts.is_some_and(|(x, y)| self.stamps.same(x, y))
    }

    fn whole(&self, a: &Data, b: &Data, assumed: &mut Assumed) -> bool {
        a.range.size() == b.range.size() && self.bytes((a, a.range.start), (b, b.range.start), a.range.size(), assumed)
    }

    /// The initial content of two objects of the same size, pointers by what they point to.
    pub fn contents(&self, a: &Data, b: &Data) -> bool {
        if a.range.size() != b.range.size() {
            return false;
        }
        let mut assumed = Assumed::default();
        self.with_ambiguous(a, b, &mut assumed) || {
            let constant = is_constant(a) && is_constant(b) && a.refs.is_empty() && b.refs.is_empty();
            constant && self.stamped((a.range.start, a.range.size()), (b.range.start, b.range.size()))
        }
    }

    /// As [`Self::bytes`] for named objects, where words of a fixed-address executable may be addresses.
    fn with_ambiguous(&self, a: &Data, b: &Data, assumed: &mut Assumed) -> bool {
        // The range of a variable in .tbss overlaps whatever follows the template.
        let empty = |s: Side<'a>, d: &Data| {
            d.section == SectionKind::Tbss || s.image.bytes(d.range.start, d.range.size()).is_none()
        };
        match (empty(self.old, a), empty(self.new, b)) {
            (true, true) => return self.relative_refs(&a.refs, &b.refs, (0, 0), a.range.size(), assumed),
            (false, false) => {}
            // Zeros in the file on one side, .bss on the other: the same initial value.
            _ => return self.is_zero(self.old, a) && self.is_zero(self.new, b),
        }
        self.bytes((a, a.range.start), (b, b.range.start), a.range.size(), assumed)
    }

    fn is_zero(&self, s: Side<'a>, d: &Data) -> bool {
        d.refs.is_empty()
            && (d.section == SectionKind::Tbss
                || s.image.bytes(d.range.start, d.range.size()).is_none_or(|b| b.iter().all(|&b| b == 0)))
    }

    /// `n` bytes from each address are equal, with the words that the dynamic linker fills compared by meaning.
    fn bytes(&self, (a, from): (&Data, Svma), (b, to): (&Data, Svma), n: u64, assumed: &mut Assumed) -> bool {
        let (Some(x), Some(y)) = (self.old.image.bytes(from, n), self.new.image.bytes(to, n)) else { return false };
        let at = (from.0.wrapping_sub(a.range.start.0), to.0.wrapping_sub(b.range.start.0));
        if a.refs.is_empty() && b.refs.is_empty() && a.ambiguous.is_empty() && b.ambiguous.is_empty() {
            return x == y;
        }
        if !self.relative_refs(&a.refs, &b.refs, at, n, assumed) {
            return false;
        }
        let mut skip = vec![false; x.len()];
        for r in a.refs.iter().filter(|r| u64::from(r.at) >= at.0 && u64::from(r.at) < at.0 + n) {
            let k = (u64::from(r.at) - at.0) as usize;
            let end = (k + r.field.size()).min(skip.len());
            skip[k..end].fill(true);
        }
        for r in &a.ambiguous {
            let Some(k) = u64::from(r.at).checked_sub(at.0).filter(|k| k + 8 <= n) else { continue };
            let other = b.ambiguous.iter().find(|s| u64::from(s.at) == at.1 + k);
            let k = k as usize;
            // Different numbers, the same thing: an address. The same number with different meanings stays a difference.
            let paired = other.is_some_and(|s| self.target(&r.target, &s.target, IN_DATA, assumed));
            match (x[k..k + 8] == y[k..k + 8], other.is_some()) {
                // Where it isn't aligned, the same bytes are rather a text's, or a number's.
                (true, true) if !paired && a.range.start.plus(u64::from(r.at)).0.is_multiple_of(8) => return false,
                (false, true) if paired => skip[k..k + 8].fill(true),
                _ => {}
            }
        }
        x.iter().zip(y).zip(&skip).all(|((x, y), skip)| *skip || x == y)
    }

    fn relative_refs(&self, a: &[DataRef], b: &[DataRef], at: (u64, u64), n: u64, assumed: &mut Assumed) -> bool {
        let within = |r: &&DataRef, at: u64| u64::from(r.at) >= at && u64::from(r.at) < at + n;
        let x: Vec<&DataRef> = a.iter().filter(|r| within(r, at.0)).collect();
        let y: Vec<&DataRef> = b.iter().filter(|r| within(r, at.1)).collect();
        x.len() == y.len()
            && x.iter().zip(&y).all(|(r, s)| {
                u64::from(r.at) - at.0 == u64::from(s.at) - at.1
                    && r.field == s.field
                    && self.target(&r.target, &s.target, IN_DATA, assumed)
            })
    }
}

/// How long the text at `at` can be, with the zero behind it, where a linker has merged texts: it puts each of them, or its tail, anywhere, so
/// that nobody can rely on what follows. Wider characters have a wider zero.
fn merged_text(image: &Image, at: Svma) -> Option<u64> {
    let section = image.section(image.section_at(at)?);
    let rest = image.bytes(at, section.range.end.0 - at.0)?;
    let text = |width: usize| {
        let units = rest.chunks_exact(width);
        let length = units.clone().position(|unit| unit.iter().all(|&b| b == 0))?;
        // No character has such a number.
        let none = |unit: &[u8]| width == 4 && (unit[2] > 0x10 || unit[3] != 0);
        let possible = width == 1 || !units.take(length).any(none);
        Some(if possible { (length + 1) * width } else { 0 })
    };
    let widths = [1, 2, 4].into_iter().filter(|&width| width <= section.texts && at.0.is_multiple_of(width));
    let longest = widths.map(|width| text(width as usize)).try_fold(0, |longest, text| Some(longest.max(text?)))?;
    (longest > 0).then_some(longest as u64)
}

/// Which bytes of a stretch of constants may belong to a text that nothing names: to no object with a name, number of a compiler's, jump table or
/// address.
struct Characters<'a> {
    side: Side<'a>,
    tables: Vec<SvmaRange>,
}

impl<'a> Characters<'a> {
    fn new(side: Side<'a>, stretch: SvmaRange) -> Characters<'a> {
        let tables = side.lifted.functions.iter().flat_map(|f| &f.tables).map(JumpTable::range);
        Characters { side, tables: tables.filter(|t| t.overlaps(stretch)).collect() }
    }

    fn has(&self, a: Svma) -> bool {
        let Side { image, lifted } = self.side;
        let other = |d: &Data| {
            let at = a.0.wrapping_sub(d.range.start.0);
            let mut refs = d.refs.iter().map(|r| (u64::from(r.at), r.field.size() as u64));
            d.range.contains(a)
                && (matches!(d.kind, DataKind::Named | DataKind::Constant)
                    || refs.any(|(from, size)| (from..from + size).contains(&at)))
        };
        let holding = lifted.data_at.range(..=a).next_back().map(|(_, id)| &lifted.data[id.index()]);
        let word = image.bytes(Svma(a.0 & !7), 8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        !holding.is_some_and(other)
            && word.is_none_or(|word| image.section_at(Svma(word)).is_none())
            && !self.tables.iter().any(|t| t.contains(a))
    }
}

fn is_constant(d: &Data) -> bool {
    matches!(d.section, SectionKind::Rodata | SectionKind::Relro | SectionKind::Text | SectionKind::Other)
}
