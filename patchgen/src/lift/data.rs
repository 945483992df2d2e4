//! Data objects: those with symbols, and the stretches between them that something refers to.

use super::decode::{Piece, Raw, Use};
use super::functions::{Seed, order_names};
use super::lookups::{Bodies, Lookup, lookup_tables, named_lookups};
use super::resolve::{CodeMap, is_linker_symbol};
use super::rust::{self, Ends, Forms};
use super::space::{Space, Span};
use super::steps;
use super::{Data, DataKind, Field};
use crate::addr::{DataId, Svma, SvmaRange, SymbolId};
use crate::image::{Binding, DynReloc, Image, ImageKind, SectionKind, SymbolKind};
use crate::rust_names::is_rust;
use iced_x86::Register;
use std::collections::{BTreeMap, BTreeSet};

/// An object is sought this many bytes after a reference into a gap: the base of an array with a constant index folded in.
pub(super) const FOLDED: u64 = 256;

/// And so far past an object's end: its end with a member's offset, indexed backwards.
pub(super) const FOLDED_PAST: u64 = 64;

/// Objects that start farther away than this aren't looked at for their end.
const MAX_WALKED: u64 = 1 << 20;

/// An anonymous object is taken to go on to the next symbol, but not farther than this.
const LONGEST: u64 = 16 << 10;

/// Objects by address.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// (start, end, id), ascending by start; named ones.
    named: Vec<(Svma, Svma, DataId)>,
    /// Largest end of `named[..=i]`.
    reach: Vec<Svma>,
    /// Ends of `named`, ascending, with their indexes.
    by_end: Vec<(Svma, u32)>,
    /// Anonymous ones. Blobs may overlap what follows them.
    anon: Vec<(Svma, Svma, DataId, DataKind)>,
    /// Sections with named objects whose unnamed stretches are gaps between them.
    spans: Vec<Span>,
    /// Jump tables, ascending.
    tables: Vec<SvmaRange>,
    /// Tables of literals, with what their entries denote.
    pub lookups: Vec<(DataId, Vec<Svma>)>,
    /// Constants without a symbol whose end their form and what follows agree on.
    pub ends: Ends,
    /// Of them, those that are never part of another constant.
    pub whole: BTreeSet<Svma>,
    /// The image names its arrays.
    pub named_arrays: bool,
    /// Places from which code goes on by an index to words that hold addresses, up to where these may end.
    folded: BTreeMap<u64, u64>,
}

impl Objects {
    fn named_at(&self, a: Svma) -> Option<(usize, DataId, i64)> {
        let mut i = self.named.partition_point(|o| o.0 <= a);
        while i > 0 && self.reach[i - 1] > a {
            let (start, end, id) = self.named[i - 1];
            if a < end {
                return Some((i - 1, id, (a.0 - start.0) as i64));
            }
            i -= 1;
        }
        None
    }

    fn anon_at(&self, a: Svma) -> Option<(DataId, i64)> {
        let upto = self.anon.partition_point(|o| o.0 <= a);
        let mut best: Option<(DataId, i64)> = None;
        for &(start, end, id, kind) in self.anon[..upto].iter().rev().take(64) {
            if a < end {
                let hit = (id, (a.0 - start.0) as i64);
                if start == a || kind != DataKind::Blob {
                    return Some(hit);
                }
                best.get_or_insert(hit);
            }
        }
        best
    }

    /// The object that holds `a`.
    pub fn holding(&self, a: Svma) -> Option<(DataId, i64)> {
        self.named_at(a).map(|(_, id, offset)| (id, offset)).or_else(|| self.anon_at(a))
    }

    /// Whether a byte lies among the constants, and in no jump table.
    pub fn is_constant(&self, a: Svma) -> bool {
        let before = self.tables.partition_point(|t| t.start <= a);
        let in_table = before > 0 && self.tables[before - 1].contains(a);
        !in_table && self.spans.iter().any(|s| s.kind == SectionKind::Rodata && s.range.contains(a))
    }

    /// The named neighbour of a gap: the one that ends exactly here, else the one that follows closely.
    pub fn beside(&self, a: Svma) -> Option<(DataId, i64)> {
        let i = self.named.partition_point(|o| o.0 <= a);
        if let Some((start, _, id)) = self.ending_at(a) {
            return Some((id, (a.0 - start.0) as i64));
        }
        let span = self.spans.iter().find(|s| s.range.contains(a))?;
        let &(start, _, id) = self.named.get(i)?;
        (start.0 - a.0 <= FOLDED && span.range.contains(start)).then(|| (id, a.0.wrapping_sub(start.0) as i64))
    }

    /// A named array shortly after a computed address that lies in a gap or in an object too small to be indexed: the address may be
    /// the array's base less a constant index.
    pub fn folded_base(&self, a: Svma, here: &Data, offset: i64) -> Option<(DataId, i64)> {
        if here.kind != DataKind::Named {
            return None;
        }
        let inside = offset >= 0 && (offset as u64) < here.range.size();
        let i = self.named.partition_point(|o| o.0 <= a);
        if inside {
            return None;
        }
        let &(start, end, id) = self.named.get(i)?;
        let gap = start.0 - a.0;
        let span = self.spans.iter().find(|s| s.range.contains(a))?;
        (gap <= FOLDED && end.0 - start.0 > gap && span.range.contains(start) && start != here.range.start)
            .then(|| (id, a.0.wrapping_sub(start.0) as i64))
    }

    /// The named object that ends at most [`FOLDED_PAST`] bytes before `a`.
    pub fn ending_before(&self, a: Svma) -> Option<(Svma, Svma, DataId)> {
        let i = self.named.partition_point(|o| o.0 < a);
        self.named[..i].last().copied().filter(|o| o.1 <= a && a.0 - o.1.0 <= FOLDED_PAST)
    }

    /// The named objects that end at most `reach` bytes before `a`, the nearest first.
    pub fn ending_shortly_before(&self, a: Svma, reach: u64) -> impl Iterator<Item = (Svma, Svma, DataId)> {
        let first = Svma(a.0.saturating_sub(reach));
        let from = self.by_end.partition_point(|&(end, _)| end < first);
        let near = self.by_end[from..].iter().take_while(|&&(end, _)| end <= a).map(|&(_, i)| i as usize);
        let begins_near = |&i: &usize| self.named[i].0 < a && a.0 - self.named[i].0.0 <= MAX_WALKED;
        let mut near: Vec<usize> = near.filter(begins_near).collect();
        near.sort_unstable_by(|i, j| j.cmp(i));
        near.into_iter().map(|i| self.named[i])
    }

    /// The stretch, without what lies behind the start of the next named object.
    pub fn up_to_named(&self, stretch: SvmaRange) -> SvmaRange {
        let next = self.named.get(self.named.partition_point(|o| o.0 <= stretch.start));
        SvmaRange { end: next.map_or(stretch.end, |o| o.0.min(stretch.end)), ..stretch }
    }

    /// The named object whose last byte is just before `a`.
    pub fn ending_at(&self, a: Svma) -> Option<(Svma, Svma, DataId)> {
        let i = self.named.partition_point(|o| o.0 < a);
        self.named[..i].last().copied().filter(|o| o.1 == a)
    }
}

pub(super) struct Built {
    pub data: Vec<Data>,
    pub objects: Objects,
    pub data_at: BTreeMap<Svma, DataId>,
}

/// A place that something refers to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub at: u64,
    /// Bytes that an instruction accesses exactly there; 0 where the address is taken.
    pub width: u16,
}

/// Every address that code or data holds, ascending and unique, and the starts of all named objects: where a run of table entries or
/// an anonymous object may end.
pub(super) fn marks(image: &Image, seeds: &[Seed]) -> Vec<u64> {
    let mut marks: Vec<u64> = seeds
        .iter()
        .filter_map(|s| s.piece.as_ref())
        .flat_map(|p| &p.raws)
        .filter(|r| matches!(r.how, Use::Direct { .. } | Use::Derived))
        .map(|r| r.addr)
        .collect();
    marks.extend(starts(seeds).map(|at| at.0));
    marks.extend(image.symbols.iter().filter(|s| s.kind != SymbolKind::Tls).map(|s| s.svma.0));
    marks.extend(image.dynamic.values().filter_map(|r| match r {
        DynReloc::Relative { target } => Some(target.0),
        _ => None,
    }));
    marks.sort_unstable();
    marks.dedup();
    marks
}

/// Addresses that code computes of others, at a constant distance behind.
fn starts(seeds: &[Seed]) -> impl Iterator<Item = Svma> {
    let pieces = seeds.iter().filter_map(|s| s.piece.as_ref());
    pieces.flat_map(|p| p.steps.iter().filter(|s| s.distance < 0).map(|s| s.start()))
}

/// `tables`: address ranges of proven jump tables, ascending.
pub(super) fn build(
    image: &Image,
    space: &Space,
    seeds: &[Seed],
    (code, bodies): (&CodeMap, &Bodies<'_>),
    tables: &[SvmaRange],
) -> Built {
    let mut data = Vec::new();
    named(image, space, &mut data);
    arrays(image, space, &mut data);
    let mut objects = Objects { tables: tables.to_vec(), ..Objects::default() };
    for (i, d) in data.iter().enumerate() {
        objects.named.push((d.range.start, d.range.end, i.into()));
    }
    objects.named.sort_by_key(|o| (o.0, std::cmp::Reverse(o.1)));
    let mut reach = Svma(0);
    for o in &objects.named {
        reach = reach.max(o.1);
        objects.reach.push(reach);
    }
    objects.by_end = objects.named.iter().enumerate().map(|(i, o)| (o.1, i as u32)).collect();
    objects.by_end.sort_unstable();
    objects.spans = space.spans().iter().filter(|s| holds_data(s.kind)).copied().collect();
    anonymous(image, space, seeds, (code, bodies), tables, &mut data, &mut objects);
    let mut data_at = BTreeMap::new();
    for (i, d) in data.iter().enumerate() {
        data_at.entry(d.range.start).or_insert_with(|| DataId::from(i));
    }
    thread_local(image, &mut data);
    Built { data, objects, data_at }
}

fn holds_data(k: SectionKind) -> bool {
    matches!(k, SectionKind::Rodata | SectionKind::Relro | SectionKind::Data | SectionKind::Bss)
}

fn object(image: &Image, names: Vec<SymbolId>, range: SvmaRange, kind: DataKind, section: SectionKind) -> Data {
    let mut names = names;
    order_names(image, &mut names);
    let first = names.first().map(|&n| image.symbol(n));
    // The linker keeps an object's alignment, and the address shows at least that much.
    let align = 1u32 << range.start.0.trailing_zeros().min(6);
    Data {
        name: first.map(|s| s.name.clone()).unwrap_or_default(),
        unit: first.and_then(|s| s.file.clone()),
        names,
        range,
        open: false,
        kind,
        section,
        align,
        refs: Vec::new(),
        ambiguous: Vec::new(),
    }
}

fn named(image: &Image, space: &Space, data: &mut Vec<Data>) {
    let mut groups: BTreeMap<Svma, (Vec<SymbolId>, u64)> = BTreeMap::new();
    let mut labels: Vec<(Svma, SymbolId)> = Vec::new();
    for (i, s) in image.symbols.iter().enumerate() {
        let Some(span) = space.at(s.svma) else { continue };
        let wanted = matches!(s.kind, SymbolKind::Object | SymbolKind::NoType);
        let here = holds_data(span.kind) || (span.kind == SectionKind::Text && s.kind == SymbolKind::Object);
        if !wanted || !here || is_linker_symbol(&s.name) {
            continue;
        }
        if s.size == 0 {
            // A value without bytes has no place of its own: what lies there is something else.
            if s.kind != SymbolKind::Object || !is_rust(&s.name) {
                labels.push((s.svma, i.into()));
            }
            continue;
        }
        let end = span.range.end.0;
        let g = groups.entry(s.svma).or_default();
        g.0.push(i.into());
        g.1 = g.1.max(s.size.min(end - s.svma.0));
    }
    // Labels without a size (assembly): up to the next symbol.
    for (a, id) in labels {
        if let Some(g) = groups.get_mut(&a) {
            g.0.push(id);
            continue;
        }
        if groups.range(..a).next_back().is_some_and(|(s, g)| s.plus(g.1) > a) {
            continue;
        }
        let Some(span) = space.at(a) else { continue };
        let next = groups.range(a.plus(1)..).next().map_or(span.range.end, |(s, _)| (*s).min(span.range.end));
        groups.insert(a, (vec![id], next.0 - a.0));
    }
    for (start, (names, size)) in groups {
        let kind = space.at(start).map_or(SectionKind::Other, |s| s.kind);
        let mut d = object(image, names, SvmaRange::new(start, size), DataKind::Named, kind);
        let constant = matches!(kind, SectionKind::Rodata | SectionKind::Relro);
        if constant && d.names.iter().all(|&n| is_literal(&image.symbol(n).name)) {
            d.kind = DataKind::Literal;
        }
        data.push(d);
    }
}

/// Names that compilers make up for constants: the number says nothing, and no program can depend on the address.
fn is_literal(name: &str) -> bool {
    let rest = |p: &str| name.strip_prefix(p).is_some_and(|r| r.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    rest("CSWTCH.")
        || rest("C.")
        || rest("__func__.")
        || rest("__FUNCTION__.")
        || rest("__PRETTY_FUNCTION__.")
        || rest("__compound_literal.")
        || rest(".compoundliteral.")
        || name == ".compoundliteral"
        || name.starts_with("switch.table.")
        || name.starts_with("reltable.")
        || name.starts_with("__const.")
        || rest(".str.")
        || name == ".str"
        || promoted(name)
        || hashed(name)
}

/// Constants that rustc and LLVM name after a hash (`alloc_…`, `anon.….3`). Whoever writes C may call one of his own `alloc_ops`.
fn hashed(name: &str) -> bool {
    let name = name.split(".llvm.").next().unwrap_or_default();
    let hash = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let anonymous = name.strip_prefix("anon.").and_then(|rest| rest.split_once('.'));
    name.strip_prefix("alloc_").is_some_and(hash)
        || anonymous.is_some_and(|(text, n)| hash(text) && n.bytes().all(|b| b.is_ascii_digit()))
}

/// A literal that thin link-time optimisation shares between units: `.str.llvm.123`, `.str.4.llvm.123`.
fn promoted(name: &str) -> bool {
    let stem = name.strip_prefix('.').unwrap_or(name).split_once(".llvm.").map(|(stem, _)| stem);
    stem.and_then(|s| s.strip_prefix("str")).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// Arrays of constructors and destructors, named by their section.
fn arrays(image: &Image, space: &Space, data: &mut Vec<Data>) {
    for (name, range) in &image.init_arrays {
        if range.size() == 0 || data.iter().any(|d| d.range.start == range.start) {
            continue;
        }
        let kind = space.at(range.start).map_or(SectionKind::Relro, |s| s.kind);
        data.push(Data { name: name.clone(), ..object(image, Vec::new(), *range, DataKind::Named, kind) });
    }
}

/// Thread-local variables; their range is in the template, and they aren't found by address.
fn thread_local(image: &Image, data: &mut Vec<Data>) {
    let Some((template, ..)) = image.tls else { return };
    let mut groups: BTreeMap<Svma, (Vec<SymbolId>, u64)> = BTreeMap::new();
    for (i, s) in image.symbols.iter().enumerate() {
        if s.kind == SymbolKind::Tls && !is_linker_symbol(&s.name) {
            let g = groups.entry(s.svma).or_default();
            g.0.push(i.into());
            g.1 = g.1.max(s.size);
        }
    }
    for (at, (names, size)) in groups {
        let section = if at.0 < template.size() { SectionKind::Tdata } else { SectionKind::Tbss };
        data.push(object(image, names, SvmaRange::new(template.start.plus(at.0), size), DataKind::Named, section));
    }
}

fn anonymous(
    image: &Image,
    space: &Space,
    seeds: &[Seed],
    (code, bodies): (&CodeMap, &Bodies<'_>),
    tables: &[SvmaRange],
    data: &mut Vec<Data>,
    objects: &mut Objects,
) {
    let mut places: Vec<Place> = Vec::new();
    for p in seeds.iter().filter_map(|s| s.piece.as_ref()) {
        for r in &p.raws {
            match r.how {
                Use::Direct { width } => places.push(Place { at: r.addr, width }),
                // Inside of what begins where another address is computed of it, or its end.
                Use::Derived if steps::from(p, r.insn).is_some_and(|s| s.distance < 0) => {}
                Use::Derived => places.push(Place { at: r.addr, width: 0 }),
                _ => {}
            }
        }
    }
    places.extend(starts(seeds).map(|at| Place { at: at.0, width: 0 }));
    places.extend(image.dynamic.values().filter_map(|r| match r {
        DynReloc::Relative { target } => Some(Place { at: target.0, width: 0 }),
        _ => None,
    }));
    let labels: std::collections::HashSet<u64> =
        image.symbols.iter().filter(|s| is_linker_symbol(&s.name)).map(|s| s.svma.0).collect();
    if image.kind == ImageKind::Exec {
        pointers(image, space, &mut places);
    }
    places.sort_unstable();
    places.dedup();
    let mut lookups = lookup_tables(image, space, bodies, tables, &places, objects);
    let own = named_lookups(image, space, bodies, tables, data);
    places.extend(own.iter().flat_map(|(_, l)| &l.targets).map(|t| Place { at: t.0, width: 0 }));
    objects.lookups.extend(own.into_iter().map(|(id, l)| (id, l.targets)));
    lookups.sort_by_key(|l| l.range.start);
    places.extend(lookups.iter().flat_map(|l| &l.targets).map(|t| Place { at: t.0, width: 0 }));
    places.sort_unstable();
    places.dedup();
    places.retain(|p| {
        let a = Svma(p.at);
        if labels.contains(&p.at) && space.at(a).is_none_or(|s| s.kind != SectionKind::Rodata) {
            return false;
        }
        let t = tables.partition_point(|t| t.start <= a);
        let in_table = t > 0 && tables[t - 1].contains(a);
        let here =
            space.at(a).is_some_and(|s| holds_data(s.kind) || (s.kind == SectionKind::Text && code.at(a).is_none()));
        here && !in_table && objects.named_at(a).is_none()
    });
    // Without local symbols there is nothing that bounds an object but the next reference.
    let stripped = !image.symbols.iter().any(|s| s.binding == Binding::Local && s.size > 0);
    objects.named_arrays = !stripped;
    if stripped && image.kind == ImageKind::Exec {
        objects.folded = folded((image, space), seeds, tables, &places);
    }
    // Where no anonymous object can go on: named objects, code, tables, the section's end.
    let mut hard: Vec<u64> = objects.named.iter().filter(|o| !may_be_tail(image, o)).map(|o| o.0.0).collect();
    hard.extend(tables.iter().map(|t| t.start.0));
    hard.extend(lookups.iter().map(|l| l.range.start.0));
    hard.extend(seeds.iter().map(|s| s.range.start.0));
    hard.sort_unstable();
    if rust::is_there(image) {
        let mut starts: Vec<u64> = places.iter().map(|p| p.at).chain(objects.named.iter().map(|o| o.0.0)).collect();
        starts.extend(&hard);
        starts.sort_unstable();
        starts.dedup();
        let forms = Forms { image, space, code, starts: &starts };
        (objects.whole, objects.ends) = forms.ends(seeds.iter().filter_map(|s| s.piece.as_ref()));
        hard.extend(objects.whole.iter().map(|at| at.0));
        hard.sort_unstable();
    }
    let mut i = 0;
    while i < places.len() {
        let Some(span) = space.at(Svma(places[i].at)) else {
            i += 1;
            continue;
        };
        let n = places[i..].partition_point(|p| p.at < span.range.end.0);
        let mut sweep = Sweep {
            image,
            space,
            exec: image.kind == ImageKind::Exec,
            rust: rust::is_there(image),
            span,
            hard: &hard,
            lookups: &lookups,
            places: &places[i..i + n],
            string: None,
            out: Vec::new(),
            objects,
        };
        for p in &places[i..i + n] {
            sweep.place(*p);
        }
        let found = sweep.finish();
        for (k, &(mut range, mut kind)) in found.iter().enumerate() {
            let mut open = false;
            let lookup = lookups.binary_search_by_key(&range.start, |l| l.range.start).ok().map(|l| &lookups[l]);
            if let Some(l) = lookup {
                range = l.range;
                open = !l.whole;
                kind = DataKind::Blob;
            } else if let Some(&end) = objects.folded.get(&range.start.0).filter(|_| kind == DataKind::Blob) {
                (range.end, open) = (Svma(end), true);
            } else if let Some(&end) = objects.ends.get(&range.start.0).filter(|_| kind == DataKind::Blob) {
                range.end = Svma(end);
            } else if kind == DataKind::Blob {
                let writable = matches!(span.kind, SectionKind::Data | SectionKind::Bss);
                let next = found.get(k + 1).map_or(range.end, |n| n.0.start.min(range.end));
                // A longer one that nothing refers into the middle of is whole.
                let far = range.start.plus(LONGEST);
                let after = places[i..i + n].partition_point(|p| p.at < far.0);
                let limit = places[i..i + n].get(after).map_or(range.end, |p| range.end.min(Svma(p.at)));
                range.end = if stripped || writable { next } else { limit };
                open = range.end == next && next < limit || limit < found[k].0.end;
            }
            objects.anon.push((range.start, range.end, DataId::from(data.len()), kind));
            if let Some(l) = lookup {
                objects.lookups.push((DataId::from(data.len()), l.targets.clone()));
            }
            data.push(Data { open, ..object(image, Vec::new(), range, kind, span.kind) });
        }
        i += n;
    }
    objects.anon.sort_by_key(|o| (o.0, o.1));
}

/// Bases of arrays of addresses, less a constant part of the index, in an image at fixed addresses that doesn't name its arrays: where the operand
/// leads lies a text or filler, shortly in front of a word that holds an address. Each with the first place behind it that the array may end at.
fn folded(
    (image, space): (&Image, &Space),
    seeds: &[Seed],
    tables: &[SvmaRange],
    places: &[Place],
) -> BTreeMap<u64, u64> {
    let holds = |a: u64| image.read_u64(Svma(a)).is_some_and(|word| word != 0 && space.at(Svma(word)).is_some());
    let base = |p: &Piece, r: &Raw| {
        let a = r.addr;
        let constant = space.at(Svma(a)).is_some_and(|s| s.kind == SectionKind::Rodata);
        if r.how != Use::Derived || r.field != Field::Abs32S || !constant || holds(a) {
            return false;
        }
        let mut words = (a.next_multiple_of(8)..=a + FOLDED_PAST).step_by(8);
        words.find(|&w| holds(w)).is_some_and(|w| !tables.iter().any(|t| t.contains(Svma(w))))
            && loads(image, p, r) == Some(8)
    };
    let bases = seeds.iter().filter_map(|s| s.piece.as_ref()).flat_map(|p| p.raws.iter().filter(move |r| base(p, r)));
    let end = |a: u64| {
        let section = space.at(Svma(a)).map_or(a, |s| s.range.end.0);
        let place = places.get(places.partition_point(|p| p.at <= a + FOLDED_PAST)).map_or(section, |p| p.at);
        let table = tables.get(tables.partition_point(|t| t.start.0 <= a)).map_or(section, |t| t.start.0);
        place.min(table).min(section).min(a + LONGEST)
    };
    bases.map(|r| (r.addr, end(r.addr))).collect()
}

/// How many bytes an instruction accesses by an operand that is a register and the address in a reference of it.
fn loads(image: &Image, piece: &Piece, raw: &Raw) -> Option<usize> {
    let insn = piece.insns.get(raw.insn as usize)?;
    let at = piece.range.start.plus(u64::from(insn.offset));
    let bytes = image.bytes(at, u64::from(insn.len))?;
    let i = super::assemble::with_displacement(bytes, at, raw.field_at - insn.offset)?;
    (i.memory_base() != Register::None || i.memory_index() != Register::None).then(|| i.memory_size().size())
}

/// Whether a named object (start, end) may be the tail of a text without a name, with which the linker merged it: it ends in its only zero, and
/// something else stands before it.
fn may_be_tail(image: &Image, &(start, end, _): &(Svma, Svma, DataId)) -> bool {
    let wide = |unit: u64| {
        let size = end.0 - start.0;
        let zero = |at: u64| image.bytes(Svma(at), unit).is_none_or(|b| b.iter().all(|b| *b == 0));
        size.is_multiple_of(unit)
            && (0..size / unit).all(|k| zero(start.0 + k * unit) == (k == size / unit - 1))
            && !zero(start.0.wrapping_sub(unit))
    };
    image.kind_at(start) == Some(SectionKind::Rodata) && [1, 2, 4].into_iter().any(wide)
}

/// Words of a fixed-address executable that hold the start of a literal.
fn pointers(image: &Image, space: &Space, places: &mut Vec<Place>) {
    let constants = || space.spans().iter().filter(|s| s.kind == SectionKind::Rodata).map(|s| s.range);
    let first = constants().next().map_or(0, |r| r.start.0);
    let texts = first..constants().next_back().map_or(0, |r| r.end.0);
    for span in
        space.spans().iter().filter(|s| matches!(s.kind, SectionKind::Rodata | SectionKind::Relro | SectionKind::Data))
    {
        let skew = span.range.start.0.wrapping_neg() % 8;
        let Some(bytes) = image.bytes(span.range.start, span.range.size()) else { continue };
        let mut run: Vec<u64> = Vec::new();
        let words = bytes.get(skew as usize..).unwrap_or_default().chunks_exact(8);
        for word in words.map(|w| u64::from_le_bytes(w.try_into().unwrap_or_default())).chain([0]) {
            if word != 0 && is_text_at(image, space, Svma(word)) {
                run.push(word);
                continue;
            }
            // In an array of literals those count as well that follow something else than a NUL.
            let all = literals(image, space, run.iter().map(|&v| Some(Svma(v)))).is_some();
            run.retain(|&v| all || is_literal_start(image, space, Svma(v)));
            places.extend(run.drain(..).map(|at| Place { at, width: 0 }));
        }
        // In packed structures they lie anywhere.
        let anywhere =
            bytes.windows(8).enumerate().filter(|(at, _)| !span.range.start.plus(*at as u64).0.is_multiple_of(8));
        let values = anywhere.map(|(_, w)| u64::from_le_bytes(w.try_into().unwrap_or_default()));
        let literal = |v: &u64| texts.contains(v) && is_literal_start(image, space, Svma(*v));
        places.extend(values.filter(literal).map(|at| Place { at, width: 0 }));
    }
}

/// A non-empty text with a NUL, in read-only data.
fn is_text_at(image: &Image, space: &Space, a: Svma) -> bool {
    space.at(a).is_some_and(|s| s.kind == SectionKind::Rodata)
        && image.c_str(a).is_some_and(|t| !t.is_empty() && t.len() < 1 << 16 && t.iter().all(|&b| is_text(b)))
}

/// Such a text before which no other text stands, so that it isn't a tail.
fn is_literal_start(image: &Image, space: &Space, a: Svma) -> bool {
    let first = space.at(a).is_some_and(|s| s.range.start == a);
    let after_text = || image.bytes(Svma(a.0.wrapping_sub(1)), 1).is_none_or(|b| is_text(b[0]) && b[0].is_ascii());
    (first || !after_text()) && is_text_at(image, space, a)
}

/// The leading ones of these that are addresses of literals, of which some may be tails of others. None below three.
pub(super) fn literals(image: &Image, space: &Space, found: impl Iterator<Item = Option<Svma>>) -> Option<Vec<Svma>> {
    let run: Vec<Svma> = found.map_while(|a| a.filter(|&a| is_text_at(image, space, a))).collect();
    let starts = run.iter().filter(|&&a| is_literal_start(image, space, a)).count();
    (run.len() >= 3 && 2 * starts >= run.len()).then_some(run)
}

/// One pass over the referenced places of one section, ascending.
struct Sweep<'a> {
    image: &'a Image,
    space: &'a Space,
    exec: bool,
    /// Rust's texts end with nothing: a zero behind one is something else.
    rust: bool,
    span: &'a Span,
    hard: &'a [u64],
    lookups: &'a [Lookup],
    /// All referenced places of the section, ascending.
    places: &'a [Place],
    /// The last string.
    string: Option<Open>,
    out: Vec<(SvmaRange, DataKind)>,
    objects: &'a Objects,
}

/// A string that goes on to the next place.
#[derive(Clone, Copy)]
struct Open {
    /// In `Sweep::out`.
    index: usize,
    /// The address of the NUL that ends its first run.
    nul: u64,
    /// It ends here at the least: behind the terminator that it has if its characters are wide.
    least: Svma,
}

impl Sweep<'_> {
    fn hard_end(&self, a: u64) -> Svma {
        let i = self.hard.partition_point(|&h| h <= a);
        self.hard.get(i).map_or(self.span.range.end, |&h| Svma(h).min(self.span.range.end))
    }

    fn place(&mut self, p: Place) {
        let a = Svma(p.at);
        let end = self.hard_end(p.at);
        if matches!(self.span.kind, SectionKind::Data | SectionKind::Bss) {
            // Writable: an object of its own only where it can't be a neighbour's end or folded base.
            if p.width > 0 || self.objects.beside(a).is_none() {
                self.push(a, end, DataKind::Blob);
            }
            return;
        }
        if p.width > 0 {
            let to = a.plus(u64::from(p.width)).min(end);
            if self.string.is_some_and(|s| p.at <= s.nul) {
                return;
            }
            self.cut_string(a);
            // Constants of known width have sections of their own.
            if p.width >= 4 {
                self.cut_blob(a);
            }
            match self.out.last_mut() {
                // Taken for an object of its own only because it is also the end of the one before it.
                Some((r, k)) if *k == DataKind::Blob && r.start == a && self.objects.ending_at(a).is_some() => {
                    (*r, *k) = (SvmaRange { start: a, end: to }, DataKind::Constant);
                }
                Some((r, DataKind::Constant)) if r.end > a => r.end = r.end.max(to),
                _ => self.push(a, to, DataKind::Constant),
            }
            return;
        }
        if let Some(&end) = self.objects.ends.get(&p.at).or_else(|| self.objects.folded.get(&p.at)) {
            // One of its own, whatever it lies in.
            return self.push(a, Svma(end), DataKind::Blob);
        }
        if let Ok(i) = self.lookups.binary_search_by_key(&a, |l| l.range.start) {
            // Distances of some bytes look like text.
            self.cut_string(a);
            self.push(a, self.lookups[i].range.end, DataKind::Blob);
            return;
        }
        if self.string.is_some_and(|s| p.at <= s.nul) {
            return;
        }
        let bytes = self.image.bytes(a, end.0 - a.0).unwrap_or_default();
        let run = bytes.iter().take_while(|&&b| is_text(b)).count();
        let before = p.at > self.span.range.start.0
            && self.image.bytes(Svma(p.at - 1), 1).is_some_and(|b| is_text(b[0]) && b[0].is_ascii())
            && self.hard.binary_search(&p.at).is_err();
        // The low bytes of a pointer may look like text.
        let pointer = self.image.dynamic.contains_key(&a)
            || self.exec
                && p.at.is_multiple_of(8)
                && self.image.read_u64(a).is_some_and(|v| v != 0 && self.space.at(Svma(v)).is_some());
        if run > 0 && bytes.get(run) == Some(&0) && !pointer {
            self.cut_string(a);
            // A blob can't contain what is plainly a literal of its own: it follows a NUL, and its own start is referenced. Behind any
            // other byte it may be the tail of a constant that the linker merged with a longer one.
            let after_nul = self.image.bytes(Svma(p.at.wrapping_sub(1)), 1).is_none_or(|b| b[0] == 0);
            if after_nul || self.hard.binary_search(&p.at).is_ok() {
                self.cut_blob(a);
            }
            let referenced = |at: u64| self.places.binary_search_by_key(&at, |p| p.at).is_ok();
            let least = a.plus(wide_text(bytes, p.at, referenced));
            self.string = Some(Open { index: self.out.len(), nul: p.at + run as u64, least });
            self.push(a, end, DataKind::String);
        } else if run == 0 && bytes.first() == Some(&0) && before && self.objects.ending_at(a).is_none() {
            // The end of a string to which nothing else refers: the empty string, merged into its tail, or that string's end.
            match self.text_ending_at(a).filter(|_| !self.rust) {
                Some(start) => self.place(Place { at: start.0, width: 0 }),
                None => self.push(a, a.plus(1), DataKind::String),
            }
        } else {
            self.cut_string(a);
            self.push(a, end, DataKind::Blob);
        }
    }

    /// Where the text starts whose NUL is at `a`, if all of it lies behind what starts last.
    fn text_ending_at(&self, a: Svma) -> Option<Svma> {
        let hard = self.hard.partition_point(|&h| h < a.0).checked_sub(1).map_or(0, |i| self.hard[i]);
        let last =
            self.out.last().map_or(0, |(r, kind)| if *kind == DataKind::Constant { r.end.0 } else { r.start.0 + 1 });
        let floor = self.span.range.start.0.max(hard).max(last);
        let before = self.image.bytes(Svma(floor), a.0.checked_sub(floor)?)?;
        let text = before.rsplit(|b| *b == 0).next().filter(|text| text.iter().all(|b| is_text(*b)))?;
        let whole = text.len() < before.len() || floor == hard || floor == self.span.range.start.0;
        (whole && !text.is_empty()).then(|| a.offset(-(text.len() as i64)))
    }

    fn push(&mut self, from: Svma, to: Svma, kind: DataKind) {
        if let Some((r, k)) = self.out.last()
            && r.start == from
            && (*k == DataKind::Blob || kind == DataKind::Constant)
        {
            return;
        }
        self.out.push((SvmaRange { start: from, end: to.max(from.plus(1)) }, kind));
    }

    fn cut_string(&mut self, at: Svma) {
        if let Some(open) = self.string.take() {
            let end = &mut self.out[open.index].0.end;
            *end = (*end).min(at.max(open.least));
        }
    }

    fn cut_blob(&mut self, at: Svma) {
        for (r, k) in self.out.iter_mut().rev().take(64) {
            if *k == DataKind::Blob {
                if r.end <= at {
                    break;
                }
                if r.start < at {
                    r.end = at;
                }
            }
        }
    }

    fn finish(self) -> Vec<(SvmaRange, DataKind)> {
        let mut out = self.out;
        for (r, kind) in &mut out {
            if *kind == DataKind::String
                && let Some(bytes) = self.image.bytes(r.start, r.size())
            {
                // Without the filler behind a text, but with one NUL. A constant with NULs inside, or one that is no longer than a
                // number, may be of wide characters or numbers: the zeros behind it can be its own.
                let used = bytes.iter().rposition(|&b| b != 0).map_or(1, |i| i + 2);
                let first = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
                if first + 1 == used && first > 8 {
                    r.end = r.start.plus(used.min(bytes.len()) as u64);
                }
            }
        }
        out
    }
}

/// Bytes of the text at the start of `bytes`, which lie at `at`, with its terminator, if its characters take two or four bytes (`char16_t`,
/// `wchar_t`); 0 where they don't. Another text may be its tail, merged into it by the linker. Texts of one character in a row look like
/// one of two-byte characters, but are all referenced.
pub(super) fn wide_text(bytes: &[u8], at: u64, referenced: impl Fn(u64) -> bool) -> u64 {
    let of_width = |width: usize| {
        let zero = |unit: &[u8]| unit.iter().all(|&b| b == 0);
        let character = |unit: &[u8]| {
            let value = unit.iter().rev().fold(0u32, |v, &b| v << 8 | u32::from(b));
            // Two texts side by side would be characters of two bytes, were they not all of Latin-1.
            value != 0 && value < 0x11_0000 && (if value > 0xff { width == 4 } else { is_text(value as u8) })
        };
        let fits = at.is_multiple_of(width as u64) && bytes.get(1..width).is_some_and(zero);
        let characters = bytes.chunks_exact(width).take_while(|unit| character(unit)).count();
        let end = characters * width;
        let ended = bytes.get(end..end + width).is_some_and(zero);
        let short = width == 2 && characters > 1 && (1..characters as u64).all(|k| referenced(at + 2 * k));
        if fits && characters > 0 && ended && !short { (end + width) as u64 } else { 0 }
    };
    match of_width(4) {
        0 => of_width(2),
        long => long,
    }
}

/// A byte of a text literal: printable ASCII, the usual control characters, and any byte of a multi-byte character.
fn is_text(b: u8) -> bool {
    matches!(b, 0x20..=0x7e | 0x07..=0x0d | 0x1b | 0x80..=0xff)
}
