//! Tables of literals that compilers make of a `switch` over strings.

use super::data::{Place, literals, wide_text};
use super::decode::{self, Piece};
use super::functions::Seed;
use super::rust;
use super::space::Space;
use super::{Data, DataKind};
use crate::addr::{DataId, Svma, SvmaRange};
use crate::image::{Image, SectionKind};
use iced_x86::{Instruction, Mnemonic, OpKind};
use std::collections::HashMap;

/// Instructions behind the address of a table that are looked at for what adds up its distances.
const NEAR: usize = 24;

/// A table of distances from its own start to literals, which clang makes of a `switch` over strings in position-independent code.
#[derive(Debug)]
pub(super) struct Lookup {
    pub range: SvmaRange,
    pub targets: Vec<Svma>,
    /// Nothing but zeros behind the last entry: none can be missing.
    pub whole: bool,
}

/// Tables of at least three entries, each of which leads to a literal; ascending, as `places` are. One that may as well be a text of wide characters is a table
/// where code adds up its distances.
pub(super) fn lookup_tables(
    image: &Image,
    space: &Space,
    seeds: &[Seed],
    tables: &[SvmaRange],
    places: &[Place],
) -> Vec<Lookup> {
    let rust = rust::is_there(image);
    let by_address = std::cell::OnceCell::new();
    let adds_up = |table: Svma| {
        let takers = by_address.get_or_init(|| takers(seeds)).get(&table.0);
        takers.is_some_and(|takers| adds_up(image, takers))
    };
    let mut out = Vec::new();
    let mut groups = places.chunk_by(|a, b| a.at == b.at).peekable();
    while let Some(here) = groups.next() {
        // A table is read with an index, so its address is taken: what is loaded at a known width is a constant, of vectors too.
        if here.iter().any(|p| p.width > 0) {
            continue;
        }
        let at = Svma(here[0].at);
        let Some(span) = space.at(at).filter(|s| s.kind == SectionKind::Rodata && at.0.is_multiple_of(4)) else {
            continue;
        };
        let end = groups.peek().map_or(span.range.end, |next| Svma(next[0].at).min(span.range.end));
        let entry = |k: u64| image.read_u32(at.plus(4 * k)).filter(|&v| v != 0).map(|v| at.offset(i64::from(v as i32)));
        if rust
            && let Some(targets) = rust::distances(image, space, (at, end), entry)
            && adds_up(at)
        {
            let range = SvmaRange::new(at, 4 * targets.len() as u64);
            out.push(Lookup { range, targets, whole: true });
            continue;
        }
        if let Some(targets) = literals(image, space, (0..end.0.saturating_sub(at.0) / 4).map(entry))
            && leads_out(at, &targets)
            && !targets.iter().any(|&t| in_table(tables, t))
            && (wide_text(image.bytes(at, end.0 - at.0).unwrap_or_default(), at.0, |_| false) == 0 || adds_up(at))
        {
            let entries = SvmaRange::new(at, 4 * targets.len() as u64);
            let behind = image.bytes(entries.end, end.0 - entries.end.0).unwrap_or_default();
            let whole = behind.iter().all(|b| *b == 0);
            let range = if whole { entries } else { SvmaRange { start: at, end } };
            out.push(Lookup { range, targets, whole });
        }
    }
    out
}

/// Whether it lies in a jump table.
fn in_table(tables: &[SvmaRange], a: Svma) -> bool {
    let t = tables.partition_point(|t| t.start <= a);
    t > 0 && tables[t - 1].contains(a)
}

/// The instructions that take an address, by that.
fn takers(seeds: &[Seed]) -> HashMap<u64, Vec<(&Piece, Svma)>> {
    let mut all: HashMap<u64, Vec<(&Piece, Svma)>> = HashMap::new();
    for piece in seeds.iter().filter_map(|s| s.piece.as_ref()) {
        for raw in &piece.raws {
            let at = piece.range.start.plus(u64::from(piece.insns[raw.insn as usize].offset));
            all.entry(raw.addr).or_default().push((piece, at));
        }
    }
    all
}

/// Whether code takes a distance out of a table and adds it to the table's address: `lea table, b; movslq (b,i,4), r; add b, r`.
/// `takers`: the instructions that take its address, each in its code.
fn adds_up(image: &Image, takers: &[(&Piece, Svma)]) -> bool {
    takers.iter().any(|&(piece, start)| {
        let code = image.bytes(start, piece.range.end.0 - start.0).unwrap_or_default();
        let near: Vec<Instruction> = decode::decoder(code, start).into_iter().take(NEAR).collect();
        let Some(base) = near.first().filter(|i| i.mnemonic() == Mnemonic::Lea).map(Instruction::op0_register) else {
            return false;
        };
        let loads = |i: &Instruction| {
            i.mnemonic() == Mnemonic::Movsxd && i.memory_base() == base && i.memory_index_scale() == 4
        };
        let Some(load) = near.iter().position(loads) else { return false };
        let distance = near[load].op0_register();
        near[load..].iter().any(|i| {
            i.mnemonic() == Mnemonic::Add
                && i.op1_kind() == OpKind::Register
                && [(base, distance), (distance, base)].contains(&(i.op0_register(), i.op1_register()))
        })
    })
}

/// Small numbers look like distances into the table itself, where no literal is.
fn leads_out(at: Svma, targets: &[Svma]) -> bool {
    let table = SvmaRange::new(at, 4 * targets.len() as u64);
    !targets.iter().any(|&t| table.contains(t))
}

/// The same with a symbol (clang's `words.rel`): every word of the object is such a distance. Of one that has no such name most lead to where a
/// literal starts: close numbers lead into one text.
pub(super) fn named_lookups(
    image: &Image,
    space: &Space,
    tables: &[SvmaRange],
    data: &[Data],
) -> Vec<(DataId, Lookup)> {
    let mut out = Vec::new();
    for (i, d) in data.iter().enumerate() {
        let n = d.range.size() / 4;
        if d.section != SectionKind::Rodata || n == 0 || d.range.size() % 4 != 0 || d.kind == DataKind::String {
            continue;
        }
        // LLVM's own names for such a table.
        let by_name = d.name.ends_with(".rel") || d.name.starts_with("reltable.");
        let entry = |k: u64| {
            let v = image.read_u32(d.range.start.plus(4 * k)).filter(|&v| v != 0)?;
            Some(d.range.start.offset(i64::from(v as i32)))
        };
        let targets = if by_name {
            (0..n).map_while(|k| entry(k).filter(|&target| space.at(target).is_some())).collect()
        } else {
            literals(image, space, (0..n).map(|k| entry(k).filter(|&a| !in_table(tables, a)))).unwrap_or_default()
        };
        if targets.len() as u64 == n && leads_out(d.range.start, &targets) {
            out.push((DataId::from(i), Lookup { range: d.range, targets, whole: true }));
        }
    }
    out
}
