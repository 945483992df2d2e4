//! Jump tables: proven by their entries, all of which must be instruction starts of the function that jumps through them, and by how the
//! function uses their address.

use super::decode::{Use, decoder};
use super::dispatch::{Seen, is_dispatched};
use super::functions::Seed;
use super::space::Space;
use super::{Field, Insn, JumpTable, Unprovable};
use crate::addr::{Svma, SvmaRange};
use crate::image::{Image, SectionKind, SymbolKind};
use iced_x86::{FlowControl, Mnemonic, OpKind};
use std::collections::BTreeSet;

/// How far back from the indirect jump its bound check is looked for, in instructions.
const LOOK_BACK: usize = 24;

#[derive(Debug)]
pub(super) struct Found {
    pub table: JumpTable,
    /// The run of valid entries was cut at this referenced address though it would have gone on.
    pub cut_at: Option<Svma>,
    /// It may be a table of numbers that lead into the function by chance.
    pub doubtful: bool,
    /// Nothing but filler lies between the last entry and what begins next, or the end of the object that has the name.
    whole: bool,
}

/// Bytes of filler behind a table, less than: what compilers align data to.
const FILLER: u64 = 64;

/// So many numbers in a row don't lead to instructions of one function by chance.
const MANY: usize = 8;

/// For fewer cases compilers compare (GCC 12 `default_case_values_threshold`; LLVM `min-jump-table-entries`).
const SEVERAL: usize = 4;

/// The parts of one function, for address lookup.
pub(super) struct Body<'a> {
    pub parts: Vec<&'a Seed>,
}

impl Body<'_> {
    pub fn place(&self, a: Svma) -> Option<(u8, u32)> {
        let (i, s) = self.parts.iter().enumerate().find(|(_, s)| s.range.contains(a))?;
        Some((i as u8, (a.0 - s.range.start.0) as u32))
    }
    /// `a` is the start of an instruction, or the end of a part: there LLVM lets a case lead that is declared unreachable.
    fn lands(&self, a: Svma) -> Option<(u8, u32)> {
        let Some((part, offset)) = self.place(a) else {
            let i = self.parts.iter().position(|s| s.range.end == a)?;
            return Some((i as u8, self.parts[i].range.size() as u32));
        };
        let piece = self.parts[usize::from(part)].piece.as_ref()?;
        piece.insns.binary_search_by_key(&offset, |i| i.offset).ok()?;
        Some((part, offset))
    }
}

/// Objects that have a name and a size, ascending.
pub(super) fn objects(image: &Image) -> Vec<SvmaRange> {
    let symbols = image.symbols.iter().filter(|s| s.kind == SymbolKind::Object && s.size > 0);
    let mut all: Vec<SvmaRange> = symbols.map(|s| SvmaRange::new(s.svma, s.size)).collect();
    all.sort_unstable();
    all
}

/// `marks`: every address that is referenced or starts a named object, ascending. `named`: objects that have a name and a size, ascending.
pub(super) fn find(image: &Image, space: &Space, body: &Body<'_>, marks: &[u64], named: &[SvmaRange]) -> Vec<Found> {
    if body.parts.iter().filter_map(|s| s.piece.as_ref()).all(|p| p.indirect.is_empty()) {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for raw in body.parts.iter().filter_map(|s| s.piece.as_ref()).flat_map(|p| &p.raws) {
        let field = match (raw.how, raw.field) {
            (Use::Derived | Use::Direct { .. }, Field::Pc32 { .. }) => Field::TableRel32,
            (Use::Derived, Field::Abs32 | Field::Abs32S | Field::Abs64) => Field::Abs64,
            _ => continue,
        };
        let at = Svma(raw.addr);
        let holds = space
            .at(at)
            .is_some_and(|s| matches!(s.kind, SectionKind::Rodata | SectionKind::Text | SectionKind::Relro));
        if matches!(raw.how, Use::Direct { .. }) || !holds || body.place(at).is_some() || !seen.insert(at) {
            continue;
        }
        // The last that begins there or before: objects seldom lie in one another.
        let before = &named[..named.partition_point(|o| o.start <= at)];
        let object = before.last().filter(|o| o.contains(at)).copied();
        if let Some(f) = extent(image, space, body, at, field, marks, object) {
            found.push((f, object));
        }
    }
    let cases: Vec<(u8, u32)> = found.iter().flat_map(|(f, _)| f.table.entries.iter().copied()).collect();
    found.into_iter().filter_map(|(f, object)| proven(image, body, f, object, &cases)).collect()
}

/// The table if it is one.
fn proven(
    image: &Image,
    body: &Body<'_>,
    mut found: Found,
    object: Option<SvmaRange>,
    cases: &[(u8, u32)],
) -> Option<Found> {
    let count = found.table.entries.len();
    // A function's own address is that of a function; no case of a switch begins before the switch.
    if found.table.entries.iter().all(|&entry| entry == (0, 0)) {
        return None;
    }
    if found.table.field != Field::TableRel32 {
        // Addresses in the middle of a function are labels; those of a whole array are, or it isn't one of labels.
        return (object.is_none() || found.whole).then_some(found);
    }
    let table = SvmaRange::new(found.table.at, 4 * count as u64);
    match (is_dispatched(image, body, table, cases), object) {
        (Seen::Yes, _) => Some(found),
        // Compilers give tables no name,
        (Seen::No, Some(_)) => None,
        (Seen::Lost, Some(_)) => (found.whole && count >= SEVERAL).then_some(found),
        // and make none for so few cases.
        (Seen::No, None) if count < SEVERAL => None,
        (_, None) => {
            found.doubtful = !found.whole && count < MANY;
            Some(found)
        }
    }
}

fn entry(image: &Image, at: Svma, k: u64, field: Field) -> Option<Svma> {
    if field == Field::TableRel32 {
        let b = image.bytes(at.plus(4 * k), 4)?;
        Some(at.offset(i64::from(i32::from_le_bytes(b.try_into().ok()?))))
    } else {
        let b = image.bytes(at.plus(8 * k), 8)?;
        Some(Svma(u64::from_le_bytes(b.try_into().ok()?)))
    }
}

fn extent(
    image: &Image,
    space: &Space,
    body: &Body<'_>,
    at: Svma,
    field: Field,
    marks: &[u64],
    object: Option<SvmaRange>,
) -> Option<Found> {
    let width = if field == Field::TableRel32 { 4 } else { 8 };
    let end = space.at(at)?.range.end;
    let next = marks.get(marks.partition_point(|&m| m <= at.0)).map_or(end, |&m| Svma(m).min(end));
    let mut entries = Vec::new();
    loop {
        let k = entries.len() as u64;
        if at.plus((k + 1) * width) > next {
            break;
        }
        let Some(place) = entry(image, at, k, field).and_then(|t| body.lands(t)) else { break };
        entries.push(place);
    }
    if entries.is_empty() {
        return None;
    }
    let stop = at.plus(entries.len() as u64 * width);
    let cut = stop == next
        && next < end
        && entry(image, at, entries.len() as u64, field).is_some_and(|t| body.lands(t).is_some());
    let gap = next.0 - stop.0;
    let filler = || image.bytes(stop, gap).is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0));
    let whole = object.map_or_else(|| gap < FILLER && filler(), |o| o.start == at && o.end == stop);
    let table = JumpTable { at, field, entries, beyond: Vec::new() };
    Some(Found { table, cut_at: cut.then_some(next), doubtful: false, whole })
}

/// Compares each recovered table with the bound check before the jump that uses it. `insns`: what was decoded of each part.
pub(super) fn check_bounds(
    image: &Image,
    body: &Body<'_>,
    insns: &[Option<Vec<Insn>>],
    tables: &mut [JumpTable],
) -> Vec<Unprovable> {
    let mut bad = Vec::new();
    for (seed, insns) in body.parts.iter().zip(insns) {
        let (Some(piece), Some(insns)) = (&seed.piece, insns) else { continue };
        for &jump in &piece.indirect {
            let jump = jump as usize;
            let from = jump.saturating_sub(LOOK_BACK);
            let raws = &piece.raws;
            let lo = raws.partition_point(|r| (r.insn as usize) < from);
            let hi = raws.partition_point(|r| r.insn as usize <= jump);
            let found = raws[lo..hi].iter().rev().find_map(|r| tables.iter().position(|t| t.at.0 == r.addr));
            let Some(table) = found.map(|n| &mut tables[n]) else { continue };
            let start = insns[from].offset;
            let stop = insns[jump].offset;
            let Some(bytes) = image.bytes(piece.range.start.plus(u64::from(start)), u64::from(stop - start)) else {
                continue;
            };
            if let Some(bound) = bound(bytes, piece.range.start.plus(u64::from(start)))
                && (table.entries.len() as u64) < bound
            {
                let code = |a: &Svma| image.kind_at(*a) == Some(SectionKind::Text);
                let behind = (table.entries.len() as u64..bound).map_while(|k| entry(image, table.at, k, table.field));
                table.beyond = behind.take_while(code).collect();
                bad.push(Unprovable {
                    number: false,
                    code: 210,
                    at: piece.range.start.plus(u64::from(stop)),
                    what: format!(
                        "jump table at {} has {} provable entries, its bound check allows {bound}",
                        table.at,
                        table.entries.len()
                    ),
                });
            }
        }
    }
    bad
}

/// Number of entries that the last `cmp $n; ja` in these bytes lets through.
fn bound(bytes: &[u8], at: Svma) -> Option<u64> {
    let mut compared = None;
    let mut bound = None;
    for i in &mut decoder(bytes, at) {
        match i.mnemonic() {
            Mnemonic::Cmp if i.op1_kind() != OpKind::Register && i.op1_kind() != OpKind::Memory => {
                compared = Some(i.immediate(1) & 0xffff_ffff);
            }
            Mnemonic::Ja => bound = compared.map(|n| n + 1),
            Mnemonic::Jae => bound = compared,
            _ if matches!(
                i.flow_control(),
                FlowControl::UnconditionalBranch | FlowControl::Return | FlowControl::IndirectBranch
            ) =>
            {
                (compared, bound) = (None, None);
            }
            _ => {}
        }
    }
    bound
}
