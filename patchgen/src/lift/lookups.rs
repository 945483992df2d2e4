//! Tables of distances that compilers make of arrays of addresses and of a `switch` over them.

use super::data::{Objects, Place, literals, wide_text};
use super::decode::Use;
use super::dispatch::{Seen, is_dispatched};
use super::space::Space;
use super::tables::{Body, Found};
use super::{Data, DataKind};
use crate::addr::{DataId, Svma, SvmaRange};
use crate::image::{Image, SectionKind};

/// A table of distances from its own start, which clang makes of an array of addresses in position-independent code, and rustc of a `match`.
#[derive(Debug)]
pub(super) struct Lookup {
    pub range: SvmaRange,
    pub targets: Vec<Svma>,
    /// Nothing but zeros behind the last entry, or what is no distance: none can be missing.
    pub whole: bool,
}

/// All functions, with what was found in each.
pub(super) struct Bodies<'a> {
    pub bodies: Vec<Body<'a>>,
    pub found: &'a [Vec<Found>],
}

impl Bodies<'_> {
    /// Which of these addresses (ascending) some code takes as such a table's.
    fn tables(&self, image: &Image, candidates: &[SvmaRange]) -> Vec<Svma> {
        let mut out = Vec::new();
        if candidates.is_empty() {
            return out;
        }
        for (body, found) in self.bodies.iter().zip(self.found) {
            let raws = body.parts.iter().filter_map(|s| s.piece.as_ref()).flat_map(|p| &p.raws);
            let mut taken: Vec<&SvmaRange> = raws
                .filter(|r| r.how == Use::Derived)
                .filter_map(|r| candidates.binary_search_by_key(&r.addr, |c| c.start.0).ok().map(|i| &candidates[i]))
                .collect();
            taken.sort_unstable();
            taken.dedup();
            for &table in taken {
                let cases: Vec<(u8, u32)> = found.iter().flat_map(|f| f.table.entries.iter().copied()).collect();
                if is_dispatched(image, body, table, &cases) == Seen::Yes {
                    out.push(table.start);
                }
            }
        }
        out.sort_unstable();
        out
    }
}

/// Tables whose distances code adds to their address, whatever they lead to; others, if at least three entries lead to literals. `places` and
/// `tables` (jump tables) are ascending.
pub(super) fn lookup_tables(
    image: &Image,
    space: &Space,
    code: &Bodies<'_>,
    tables: &[SvmaRange],
    places: &[Place],
    objects: &Objects,
) -> Vec<Lookup> {
    let mut stretches = Vec::new();
    let mut groups = places.chunk_by(|a, b| a.at == b.at).peekable();
    while let Some(here) = groups.next() {
        let at = Svma(here[0].at);
        let span = space.at(at).filter(|s| s.kind == SectionKind::Rodata && at.0.is_multiple_of(4));
        if let Some(span) = span
            && !in_table(tables, at)
        {
            let end = groups.peek().map_or(span.range.end, |next| Svma(next[0].at).min(span.range.end));
            // A table is read with an index, so its address is taken: what is loaded at a known width is a constant, of vectors too.
            stretches.push((SvmaRange { start: at, end }, here.iter().all(|p| p.width == 0)));
        }
    }
    let distances = |r: &SvmaRange| distances(image, space, objects.up_to_named(*r));
    let candidates: Vec<SvmaRange> =
        stretches.iter().filter_map(|(r, _)| Some(SvmaRange::new(r.start, 4 * distances(r)?.len() as u64))).collect();
    let used = code.tables(image, &candidates);
    let mut out = Vec::new();
    for (stretch, taken) in stretches {
        let SvmaRange { start: at, end } = stretch;
        if used.binary_search(&at).is_ok()
            && let Some(targets) = distances(&stretch)
        {
            out.push(Lookup { range: SvmaRange::new(at, 4 * targets.len() as u64), targets, whole: true });
        } else if taken
            && let Some(targets) = literals(image, space, (0..stretch.size() / 4).map(|k| entry(image, at, k)))
            && leads_out(at, &targets)
            && !targets.iter().any(|&t| in_table(tables, t))
            && wide_text(image.bytes(at, stretch.size()).unwrap_or_default(), at.0, |_| false) == 0
        {
            let entries = SvmaRange::new(at, 4 * targets.len() as u64);
            let behind = image.bytes(entries.end, end.0 - entries.end.0).unwrap_or_default();
            let whole = behind.iter().all(|b| *b == 0);
            out.push(Lookup { range: if whole { entries } else { stretch }, targets, whole });
        }
    }
    out
}

/// Where an entry of a table leads; none where it is zero.
fn entry(image: &Image, table: Svma, k: u64) -> Option<Svma> {
    let distance = image.read_u32(table.plus(4 * k)).filter(|&v| v != 0)?;
    Some(table.offset(i64::from(distance as i32)))
}

/// The leading words that may be distances from the first one: they lead into the image, and something begins behind all of them where one leads
/// forward.
fn distances(image: &Image, space: &Space, stretch: SvmaRange) -> Option<Vec<Svma>> {
    let at = stretch.start;
    let mut end = stretch.end;
    let mut targets = Vec::new();
    while at.plus(4 * (targets.len() as u64 + 1)) <= end {
        let Some(target) = entry(image, at, targets.len() as u64).filter(|&t| space.at(t).is_some()) else { break };
        if target > at {
            end = end.min(target);
        }
        targets.push(target);
    }
    let range = SvmaRange::new(at, 4 * targets.len() as u64);
    (!targets.is_empty() && end >= range.end).then_some(targets)
}

/// Whether it lies in a jump table.
fn in_table(tables: &[SvmaRange], a: Svma) -> bool {
    let t = tables.partition_point(|t| t.start <= a);
    t > 0 && tables[t - 1].contains(a)
}

/// Small numbers look like distances into the table itself, where no literal is.
fn leads_out(at: Svma, targets: &[Svma]) -> bool {
    let table = SvmaRange::new(at, 4 * targets.len() as u64);
    !targets.iter().any(|&t| table.contains(t))
}

/// The same with a symbol (clang's `words.rel`): every word of the object is such a distance. Of one that has no such name, and no code that adds
/// them up, most lead to where a literal starts: close numbers lead into one text.
pub(super) fn named_lookups(
    image: &Image,
    space: &Space,
    code: &Bodies<'_>,
    tables: &[SvmaRange],
    data: &[Data],
) -> Vec<(DataId, Lookup)> {
    let words = |d: &Data| {
        let n = d.range.size() / 4;
        let wanted = d.section == SectionKind::Rodata && d.kind != DataKind::String;
        if wanted && n > 0 && d.range.size().is_multiple_of(4) { n } else { 0 }
    };
    let all = |d: &Data| distances(image, space, d.range).filter(|t| t.len() as u64 == words(d));
    let open = data.iter().filter(|d| !in_table(tables, d.range.start) && all(d).is_some());
    let mut candidates: Vec<SvmaRange> = open.map(|d| d.range).collect();
    candidates.sort_unstable();
    let used = code.tables(image, &candidates);
    let mut out = Vec::new();
    for (i, d) in data.iter().enumerate().filter(|(_, d)| words(d) > 0) {
        // LLVM's own names for such a table.
        let by_name = d.name.ends_with(".rel") || d.name.starts_with("reltable.");
        let targets = if by_name || used.binary_search(&d.range.start).is_ok() {
            all(d)
        } else {
            let entries = (0..words(d)).map(|k| entry(image, d.range.start, k));
            literals(image, space, entries.map(|a| a.filter(|&a| !in_table(tables, a))))
        };
        if let Some(targets) = targets.filter(|t| t.len() as u64 == words(d) && leads_out(d.range.start, t)) {
            out.push((DataId::from(i), Lookup { range: d.range, targets, whole: true }));
        }
    }
    out
}
