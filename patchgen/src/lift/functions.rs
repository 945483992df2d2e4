//! Finds functions: symbols, aliases, FDEs, and the parts that a compiler split off.

use super::decode::{Piece, Room, Use, decode};
use super::space::Space;
use crate::addr::{Svma, SvmaRange, SymbolId};
use crate::image::{Binding, Image, SectionKind, SymbolKind};
use foldhash::fast::FixedState;
use rayon::prelude::*;
use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};

/// A stretch of code with an entry: a function, or a part of one.
#[derive(Debug)]
pub(super) struct Seed {
    pub range: SvmaRange,
    pub names: Vec<SymbolId>,
    pub fde: Option<u32>,
    pub opaque: bool,
    /// Decoded content; None where the file has no bytes.
    pub piece: Option<Piece>,
    /// Index of the seed whose part this is.
    pub parent: Option<usize>,
    pub padding: u32,
}

/// Every seed, ascending by address.
pub(super) fn discover(image: &Image, space: &Space) -> Vec<Seed> {
    let mut seeds = entries(image, space);
    bound(image, space, &mut seeds);
    seeds.par_iter_mut().for_each_init(Room::default, |room, s| {
        s.piece = decode(image, space, s.range, room);
        s.opaque |= s.piece.as_ref().is_none_or(|p| p.falls_out);
    });
    join(image, &mut seeds);
    seeds
}

fn is_text(space: &Space, a: Svma) -> bool {
    space.at(a).is_some_and(|s| s.kind == SectionKind::Text)
}

fn entries(image: &Image, space: &Space) -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let new = |range, names, fde, opaque| Seed { range, names, fde, opaque, piece: None, parent: None, padding: 0 };
    for pass in [false, true] {
        // Untyped labels come second: only where no function covers them.
        let known = seeds.len();
        for (i, s) in image.symbols.iter().enumerate() {
            let wanted = if pass {
                s.kind == SymbolKind::NoType
            } else {
                matches!(s.kind, SymbolKind::Func | SymbolKind::IFunc)
            };
            if !wanted || !is_text(space, s.svma) || super::resolve::is_linker_symbol(&s.name) {
                continue;
            }
            if pass {
                let at = seeds[..known].partition_point(|x| x.range.start <= s.svma);
                if at > 0 && (seeds[at - 1].range.contains(s.svma) || seeds[at - 1].range.start == s.svma) {
                    continue;
                }
            }
            match seeds[if pass { known } else { 0 }..].last_mut() {
                Some(last) if last.range.start == s.svma => {
                    last.names.push(i.into());
                    last.range.end = last.range.end.max(s.svma.plus(s.size));
                }
                _ => seeds.push(new(SvmaRange::new(s.svma, s.size), vec![i.into()], None, pass)),
            }
        }
        seeds.sort_by_key(|s| s.range.start);
    }
    let starts: Vec<Svma> = seeds.iter().map(|s| s.range.start).collect();
    for (i, f) in image.fdes.iter().enumerate() {
        if f.range.size() == 0 || !is_text(space, f.range.start) {
            continue;
        }
        let at = starts.partition_point(|&s| s <= f.range.start);
        if at > 0 && starts[at - 1] == f.range.start {
            let s = &mut seeds[at - 1];
            s.fde.get_or_insert(i as u32);
            if s.range.size() == 0 {
                s.range.end = f.range.end;
            }
        } else if at == 0 || !seeds[at - 1].range.contains(f.range.start) {
            seeds.push(new(f.range, Vec::new(), Some(i as u32), false));
        }
    }
    seeds.sort_by_key(|s| s.range.start);
    seeds.dedup_by(|b, a| a.range.start == b.range.start);
    seeds
}

/// Gives sizes to those without, marks those that overlap, measures the filler behind each.
fn bound(image: &Image, space: &Space, seeds: &mut [Seed]) {
    let n = seeds.len();
    for i in 0..n {
        let section_end = space.at(seeds[i].range.start).map_or(seeds[i].range.end, |s| s.range.end);
        let next = seeds.get(i + 1).map_or(section_end, |s| s.range.start.min(section_end));
        if seeds[i].range.size() == 0 {
            seeds[i].range.end = next;
            seeds[i].opaque = true;
        }
        if seeds[i].range.end > section_end {
            seeds[i].range.end = section_end;
            seeds[i].opaque = true;
        }
        let end = seeds[i].range.end;
        if end > next {
            seeds[i].opaque = true;
            let mut j = i + 1;
            while j < n && seeds[j].range.start < end {
                seeds[j].opaque = true;
                j += 1;
            }
        } else if end < next {
            seeds[i].padding = filler(image, end, next);
        }
    }
}

/// Length of the run of filler instructions from `from`.
fn filler(image: &Image, from: Svma, to: Svma) -> u32 {
    let Some(bytes) = image.bytes(from, to.0 - from.0) else { return 0 };
    let mut n = 0;
    for i in &mut super::decode::decoder(bytes, from) {
        if i.is_invalid() || !super::decode::is_filler(&i) {
            break;
        }
        n += i.len() as u32;
    }
    n
}

/// `foo.cold`, `foo.cold.3` → `foo`.
pub(super) fn cold_stem(name: &str) -> Option<&str> {
    // As most names have none, and a byte is found sooner than a text.
    let (stem, rest) = if name.contains('.') { name.rsplit_once(".cold")? } else { return None };
    (rest.is_empty() || (rest.starts_with('.') && rest[1..].bytes().all(|b| b.is_ascii_digit()) && rest.len() > 1))
        .then_some(stem)
}

/// The name of a split-off part that isn't a function (`foo.cold`).
pub fn is_cold_name(name: &str) -> bool {
    cold_stem(name).is_some()
}

/// Gives each split-off part its parent.
fn join(image: &Image, seeds: &mut [Seed]) {
    let cold: Vec<bool> = seeds.par_iter().map(|s| is_cold(image, s)).collect();
    let starts: Vec<Svma> = seeds.iter().map(|s| s.range.start).collect();
    let find = |a: Svma| {
        let i = starts.partition_point(|&s| s <= a);
        (i > 0 && seeds[i - 1].range.contains(a)).then(|| i - 1)
    };
    // (split-off part, function) pairs that a jump connects.
    let links: Vec<(usize, usize)> = seeds
        .par_iter()
        .enumerate()
        .flat_map_iter(|(i, s)| {
            let mut found = Vec::new();
            for r in s.piece.iter().flat_map(|p| &p.raws) {
                let Use::Branch { call: false, .. } = r.how else { continue };
                let target = Svma(r.addr);
                if s.range.contains(target) {
                    continue;
                }
                let Some(t) = find(target) else { continue };
                if cold[t] {
                    found.push((t, i));
                }
                let interior = seeds[t].range.start != target;
                if interior && (cold[i] || s.names.is_empty()) {
                    found.push((i, t));
                }
            }
            found.sort_unstable();
            found.dedup();
            found
        })
        .collect();
    let mut by_part: HashMap<usize, Vec<usize>> = HashMap::new();
    for (part, f) in links.into_iter().chain(landing_links(image, seeds, &cold, &find)) {
        if !cold[f] {
            by_part.entry(part).or_default().push(f);
        }
    }
    // Functions by name, of those names that a split-off part has.
    let stems = seeds.iter().flat_map(|s| &s.names).filter_map(|&n| cold_stem(&image.symbol(n).name));
    let mut by_name: HashMap<&str, Vec<usize>, FixedState> = stems.map(|stem| (stem, Vec::new())).collect();
    if !by_name.is_empty() {
        for (i, s) in seeds.iter().enumerate() {
            for &n in &s.names {
                if let Some(list) = by_name.get_mut(image.symbol(n).name.as_str()) {
                    list.push(i);
                }
            }
        }
    }
    let mut parents: Vec<(usize, usize)> = Vec::new();
    for (i, s) in seeds.iter().enumerate() {
        let mut linked = by_part.remove(&i).unwrap_or_default();
        linked.sort_unstable();
        linked.dedup();
        if !cold[i] {
            if s.names.is_empty() && linked.len() == 1 {
                parents.push((i, linked[0]));
            }
            continue;
        }
        let stems: Vec<&str> = s.names.iter().filter_map(|&n| cold_stem(&image.symbol(n).name)).collect();
        let file = s.names.first().and_then(|&n| image.symbol(n).file.as_deref());
        let named: Vec<usize> = linked
            .iter()
            .copied()
            .filter(|&f| seeds[f].names.iter().any(|&n| stems.contains(&image.symbol(n).name.as_str())))
            .collect();
        let parent = match (named.as_slice(), linked.as_slice()) {
            (&[f], _) | (&[], &[f]) => Some(f),
            (&[], &[]) => {
                // Reached only by an exception's landing pad, or not at all.
                let mut same: Vec<usize> = stems.iter().filter_map(|s| by_name.get(s)).flatten().copied().collect();
                same.sort_unstable();
                same.dedup();
                if same.len() > 1 {
                    same.retain(|&f| seeds[f].names.iter().any(|&n| image.symbol(n).file.as_deref() == file));
                }
                // A part that is called is a function of its own (clang's hot/cold splitting).
                match same.as_slice() {
                    &[f] if !is_called(seeds, s.range.start) => Some(f),
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(p) = parent {
            parents.push((i, p));
        }
    }
    for (i, p) in parents {
        if i != p {
            seeds[i].parent = Some(p);
        }
    }
    // A parent is never a part itself.
    for i in 0..seeds.len() {
        let mut root = seeds[i].parent;
        for _ in 0..4 {
            match root.and_then(|r| seeds[r].parent) {
                Some(up) if up != i => root = Some(up),
                Some(_) => root = None,
                None => break,
            }
        }
        if let Some(r) = root
            && seeds[r].parent.is_none()
        {
            seeds[i].parent = root;
        } else {
            seeds[i].parent = None;
        }
    }
}

/// (split-off part, function) pairs where an exception from the one lands in the other.
fn landing_links(
    image: &Image,
    seeds: &[Seed],
    cold: &[bool],
    find: &dyn Fn(Svma) -> Option<usize>,
) -> Vec<(usize, usize)> {
    let called: LazyCell<HashSet<u64, FixedState>, _> = LazyCell::new(|| {
        let raws = seeds.iter().filter_map(|s| s.piece.as_ref()).flat_map(|p| &p.raws);
        raws.filter(|r| matches!(r.how, Use::Branch { call: true, .. })).map(|r| r.addr).collect()
    });
    let mut links = Vec::new();
    for (i, s) in seeds.iter().enumerate() {
        let Some(fde) = s.fde.and_then(|f| image.fdes.get(f as usize)) else { continue };
        let pads = crate::image::lsda::landing_pads(image, fde).unwrap_or_default();
        for pad in pads.into_iter().filter(|&p| !s.range.contains(p)) {
            let Some(t) = find(pad).filter(|&t| t != i) else { continue };
            // A part has no name, or one that says what it is; of two without a name nobody calls the part, and compilers put it first.
            let part_like = |n: usize| seeds[n].names.is_empty() || cold[n];
            let called = |n: usize| called.contains(&seeds[n].range.start.0);
            links.push(match (part_like(i), part_like(t)) {
                (true, false) => (i, t),
                (false, true) => (t, i),
                (false, false) => continue,
                (true, true) => match (called(i), called(t)) {
                    (true, false) => (t, i),
                    (false, true) => (i, t),
                    _ => (i.min(t), i.max(t)),
                },
            });
        }
    }
    links.sort_unstable();
    links.dedup();
    links
}

fn is_called(seeds: &[Seed], entry: Svma) -> bool {
    seeds.par_iter().any(|s| {
        s.piece
            .iter()
            .flat_map(|p| &p.raws)
            .any(|r| r.addr == entry.0 && matches!(r.how, Use::Branch { call: true, .. }))
    })
}

fn is_cold(image: &Image, s: &Seed) -> bool {
    !s.names.is_empty() && s.names.iter().all(|&n| cold_stem(&image.symbol(n).name).is_some())
}

/// The names of an entry, the one that lives longest first: global before local, without a clone suffix.
pub(super) fn order_names(image: &Image, names: &mut [SymbolId]) {
    names.sort_by(|&a, &b| {
        let key = |n: SymbolId| {
            let s = image.symbol(n);
            let rank = match s.binding {
                Binding::Global => 0,
                Binding::Unique => 1,
                Binding::Weak => 2,
                Binding::Local => 3,
            };
            (rank, s.name.contains('.'), &s.name, n)
        };
        key(a).cmp(&key(b))
    });
}
