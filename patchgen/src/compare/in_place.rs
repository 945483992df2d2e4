//! Changes of operands only: the old code becomes the new by overwriting immediates and displacements where they are.

use super::code::{Body, Diff, instruction, reference};
use super::same::Same;
use crate::addr::FuncId;
use crate::lift::{CodeRef, Insn};
use iced_x86::{Decoder, DecoderOptions};

/// Gaps of equal bytes up to this long don't split an edit: a record costs more than that.
const GAP: usize = 24;

/// New bytes for a stretch of an old function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodeEdit {
    pub part: u8,
    /// In bytes from the start of the part.
    pub offset: u32,
    pub bytes: Vec<u8>,
}

/// The edits that make the old function the new one. None where more differs than operands that are plain numbers: then the old code
/// can't become the new one in place.
///
/// Proven is the same as for a function that stays (instructions agree, references denote the same, jump tables and unwind data say
/// the same), but for the bytes that are edited, and in addition that each instruction keeps its place and length.
pub(super) fn in_place(same: &Same<'_>, old: FuncId, new: FuncId) -> Option<Vec<CodeEdit>> {
    let (f, g) = (&same.old.lifted.functions[old.index()], &same.new.lifted.functions[new.index()]);
    let sizes = |f: &crate::lift::Function| f.parts.iter().map(|p| p.size()).collect::<Vec<_>>();
    let doubtful = [f, g].iter().any(|f| f.opaque || !f.unprovable.is_empty());
    if doubtful || sizes(f) != sizes(g) || f.insns.len() != g.insns.len() || f.tables.len() != g.tables.len() {
        return None;
    }
    let (a, b) = (Body::new(f, same.old), Body::new(g, same.new));
    let mut changes: Vec<Vec<(usize, u8)>> = vec![Vec::new(); f.parts.len()];
    for (x, y) in f.insns.iter().zip(&g.insns) {
        let place = |i: &Insn| (i.part, i.offset, i.len, i.kind, i.local());
        if place(x) != place(y) {
            return None;
        }
        if x.is_nop() {
            continue;
        }
        match instruction(same, &a, &b, x, y) {
            None => {}
            Some(Diff::Immediate | Diff::Displacement) => {
                let at = x.offset as usize;
                let bytes = operand_bytes(same, &a, &b, x, y)?;
                changes.get_mut(usize::from(x.part))?.extend(bytes.into_iter().map(|(i, byte)| (at + i, byte)));
            }
            Some(_) => return None,
        }
    }
    if !super::unwind::same_unwind(same, f, g, &|s, t| s == t) {
        return None;
    }
    let edits: Option<Vec<Vec<CodeEdit>>> =
        changes.iter().enumerate().map(|(part, changes)| edits_of(&a, part, changes)).collect();
    edits.map(|parts| parts.concat()).filter(|edits| !edits.is_empty())
}

/// The bytes of the old instruction that become others. None when they aren't all in an immediate or a displacement, or when a reference
/// of the instruction isn't the same in both.
fn operand_bytes(same: &Same<'_>, a: &Body<'_>, b: &Body<'_>, x: &Insn, y: &Insn) -> Option<Vec<(usize, u8)>> {
    let (p, q) = (a.bytes(x), b.bytes(y));
    let (r, s) = (a.refs(x), b.refs(y));
    let field = |r: &CodeRef| (r.field_at - r.insn) as usize;
    let agree = |(r, s): (&CodeRef, &CodeRef)| {
        (field(r), r.field) == (field(s), s.field) && reference(same, a, b, (p, r), (q, s)).is_none()
    };
    // A number of the new code that may be an address of the new image has no meaning in the old one.
    if p.len() != q.len() || r.len() != s.len() || !r.iter().zip(s).all(agree) {
        return None;
    }
    let operands = operands_of(p);
    if operands != operands_of(q) {
        return None;
    }
    let hidden = |i: usize| r.iter().any(|r| (field(r)..field(r) + r.field.size()).contains(&i));
    let differing: Vec<usize> = (0..p.len()).filter(|&i| p[i] != q[i] && !hidden(i)).collect();
    let plain = differing.iter().all(|&i| operands.iter().any(|&(at, size)| (at..at + size).contains(&i)));
    (plain && !differing.is_empty()).then(|| differing.into_iter().map(|i| (i, q[i])).collect())
}

/// (offset, size) of the displacement and the immediates of an instruction, 0 for none.
fn operands_of(bytes: &[u8]) -> [(usize, usize); 3] {
    let mut decoder = Decoder::new(64, bytes, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let at = decoder.get_constant_offsets(&instruction);
    [
        (at.displacement_offset(), at.displacement_size()),
        (at.immediate_offset(), at.immediate_size()),
        (at.immediate_offset2(), at.immediate_size2()),
    ]
}

/// Joins changed bytes (offset in the part, ascending) over short gaps, with the old bytes between them.
fn edits_of(a: &Body<'_>, part: usize, changes: &[(usize, u8)]) -> Option<Vec<CodeEdit>> {
    let range = a.f.parts[part];
    let old = a.image.bytes(range.start, range.size())?;
    let mut edits: Vec<CodeEdit> = Vec::new();
    for &(at, byte) in changes {
        let end = edits.last().map_or(0, |e| e.offset as usize + e.bytes.len());
        match edits.last_mut().filter(|_| at - end <= GAP) {
            Some(edit) => edit.bytes.extend_from_slice(old.get(end..at)?),
            None => edits.push(CodeEdit {
                part: u8::try_from(part).ok()?,
                offset: u32::try_from(at).ok()?,
                bytes: Vec::new(),
            }),
        }
        edits.last_mut()?.bytes.push(byte);
    }
    Some(edits)
}
