//! The displacements in which two functions differ that have the same instructions otherwise.

use crate::addr::Svma;
use crate::correlate::Side;
use crate::lift::{Function, Insn};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// One memory operand with another displacement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shift {
    pub at: (Svma, Svma),
    /// In bytes.
    pub old: i64,
    pub new: i64,
    /// Bytes that are read or written; 0 for `lea`.
    pub width: u64,
    pub base: Base,
}

/// What a displacement is added to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// The stack pointer, or the frame pointer of a function that has one.
    Frame,
    /// A register that may hold an address.
    Register,
    /// A `lea` of 32 or 16 bits: a sum, no address.
    Sum,
}

/// All of them, in order. Empty when the instructions don't correspond.
pub fn shifts(old: Side<'_>, f: &Function, new: Side<'_>, g: &Function) -> Vec<Shift> {
    let decode = |s: Side<'_>, f: &Function, i: &Insn| -> (Svma, Instruction) {
        let at = f.parts[usize::from(i.part)].start.plus(u64::from(i.offset));
        let bytes = s.image.bytes(at, u64::from(i.len)).unwrap_or_default();
        (at, Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE).decode())
    };
    let framed = |i: &Instruction| {
        i.mnemonic() == Mnemonic::Mov && i.op0_register() == Register::RBP && i.op1_register() == Register::RSP
    };
    let mut has_frame = false;
    let mut out = Vec::new();
    for (x, y) in f.insns.iter().filter(|i| !i.is_nop()).zip(g.insns.iter().filter(|i| !i.is_nop())) {
        let ((a, i), (b, j)) = (decode(old, f, x), decode(new, g, y));
        if i.mnemonic() != j.mnemonic() {
            return Vec::new();
        }
        has_frame |= framed(&i);
        let memory = i.op_kinds().any(|k| k == OpKind::Memory) && !i.is_ip_rel_memory_operand();
        if !memory || !x.refs().is_empty() || i.memory_displacement64() == j.memory_displacement64() {
            continue;
        }
        let lea = i.mnemonic() == Mnemonic::Lea;
        let base = match i.memory_base() {
            Register::RSP => Base::Frame,
            Register::RBP if has_frame => Base::Frame,
            _ if lea && i.op0_register().size() < 8 => Base::Sum,
            _ => Base::Register,
        };
        out.push(Shift {
            at: (a, b),
            old: i.memory_displacement64().cast_signed(),
            new: j.memory_displacement64().cast_signed(),
            width: if lea { 0 } else { i.memory_size().size() as u64 },
            base,
        });
    }
    out
}
