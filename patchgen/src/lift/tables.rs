//! Jump tables: proven by their entries, all of which must be instruction starts of the function that jumps through them.

use super::decode::{Use, decoder};
use super::functions::Seed;
use super::space::Space;
use super::{Field, Insn, JumpTable, Unprovable};
use crate::addr::Svma;
use crate::image::{Image, SectionKind};
use iced_x86::{FlowControl, Mnemonic, OpKind};
use std::collections::BTreeSet;

/// How far back from the indirect jump its bound check is looked for, in instructions.
const LOOK_BACK: usize = 24;

#[derive(Debug)]
pub(super) struct Found {
    pub table: JumpTable,
    /// The run of valid entries was cut at this referenced address though it would have gone on.
    pub cut_at: Option<Svma>,
}

/// The parts of one function, for address lookup.
pub(super) struct Body<'a> {
    pub parts: Vec<&'a Seed>,
}

impl Body<'_> {
    pub fn place(&self, a: Svma) -> Option<(u8, u32)> {
        let (i, s) = self.parts.iter().enumerate().find(|(_, s)| s.range.contains(a))?;
        Some((i as u8, (a.0 - s.range.start.0) as u32))
    }
    /// `a` is the start of an instruction.
    fn lands(&self, a: Svma) -> Option<(u8, u32)> {
        let (part, offset) = self.place(a)?;
        let piece = self.parts[usize::from(part)].piece.as_ref()?;
        piece.insns.binary_search_by_key(&offset, |i| i.offset).ok()?;
        Some((part, offset))
    }
}

/// `marks`: every address that is referenced or starts a named object, ascending.
pub(super) fn find(image: &Image, space: &Space, body: &Body<'_>, marks: &[u64]) -> Vec<Found> {
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
        if let Some(f) = extent(image, space, body, at, field, marks) {
            found.push(f);
        }
    }
    found
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

fn extent(image: &Image, space: &Space, body: &Body<'_>, at: Svma, field: Field, marks: &[u64]) -> Option<Found> {
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
    Some(Found { table: JumpTable { at, field, entries }, cut_at: cut.then_some(next) })
}

/// Compares each recovered table with the bound check before the jump that uses it. `insns`: what was decoded of each part.
pub(super) fn check_bounds(
    image: &Image,
    body: &Body<'_>,
    insns: &[Option<Vec<Insn>>],
    tables: &[JumpTable],
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
            let Some(table) = raws[lo..hi].iter().rev().find_map(|r| tables.iter().find(|t| t.at.0 == r.addr)) else {
                continue;
            };
            let start = insns[from].offset;
            let stop = insns[jump].offset;
            let Some(bytes) = image.bytes(piece.range.start.plus(u64::from(start)), u64::from(stop - start)) else {
                continue;
            };
            if let Some(bound) = bound(bytes, piece.range.start.plus(u64::from(start)))
                && (table.entries.len() as u64) < bound
            {
                bad.push(Unprovable {
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
