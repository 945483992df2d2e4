//! The code of one function symbol, with what depends on where it lies masked.

use super::build::{Build, Symbol};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use std::ops::Range;

/// An operand that holds an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Bytes from the start of the instruction.
    pub field: usize,
    /// The address.
    pub target: u64,
    pub branch: bool,
    /// Not PC-relative: a number in an image at fixed addresses that lies in it.
    pub absolute: bool,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub decoded: Instruction,
    /// As in the file.
    pub bytes: Vec<u8>,
    pub references: Vec<Reference>,
}

impl Line {
    pub fn is_filler(&self) -> bool {
        let i = &self.decoded;
        matches!(i.mnemonic(), Mnemonic::Nop | Mnemonic::Int3)
            || i.mnemonic() == Mnemonic::Xchg && i.op0_register() == Register::AX && i.op1_register() == Register::AX
    }

    /// The bytes with PC-relative operands as zeros; with `absolute`, addresses in the image too.
    pub fn masked(&self, absolute: bool) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for r in self.references.iter().filter(|r| absolute || !r.absolute) {
            let to = self.field_end(r);
            bytes.get_mut(r.field..to).unwrap_or_default().fill(0);
        }
        bytes
    }

    fn field_end(&self, r: &Reference) -> usize {
        let short = r.branch && self.bytes.len() == r.field + 1;
        r.field + if short { 1 } else { 4 }
    }
}

#[derive(Debug)]
pub struct Body {
    pub range: Range<u64>,
    pub lines: Vec<Line>,
    /// Behind the last instruction there are bytes that are none.
    pub undecoded: bool,
}

impl Body {
    pub fn read(build: &Build, symbol: &Symbol) -> Body {
        let bytes = build.bytes_up_to(symbol.at, usize::try_from(symbol.size).unwrap_or(usize::MAX));
        let mut decoder = Decoder::with_ip(64, bytes, symbol.at, DecoderOptions::NONE);
        let mut body =
            Body { range: symbol.at..symbol.at.saturating_add(symbol.size), lines: Vec::new(), undecoded: false };
        while decoder.can_decode() {
            let decoded = decoder.decode();
            if decoded.is_invalid() {
                body.undecoded = true;
                break;
            }
            let from = (decoded.ip() - symbol.at) as usize;
            let references = references(build, &decoder, &decoded);
            body.lines.push(Line { decoded, bytes: bytes[from..from + decoded.len()].to_vec(), references });
        }
        body
    }

    pub fn masked(&self, absolute: bool) -> Vec<u8> {
        self.lines.iter().flat_map(|line| line.masked(absolute)).collect()
    }

    /// Instructions that do something.
    pub fn working(&self) -> Vec<&Line> {
        self.lines.iter().filter(|line| !line.is_filler()).collect()
    }

    /// The number of the instruction at an address among those that do something; of filler, that of the next one.
    pub fn ordinal(&self, at: u64) -> Option<usize> {
        let all = self.lines.iter().take_while(|line| line.decoded.ip() < at);
        let exact = self.lines.iter().any(|line| line.decoded.ip() == at);
        exact.then(|| all.filter(|line| !line.is_filler()).count())
    }
}

fn references(build: &Build, decoder: &Decoder<'_>, i: &Instruction) -> Vec<Reference> {
    let at = decoder.get_constant_offsets(i);
    let mut found = Vec::new();
    let branch = i.op_count() > 0 && matches!(i.op0_kind(), OpKind::NearBranch64);
    if branch {
        let branch =
            Reference { field: at.immediate_offset(), target: i.near_branch_target(), branch, absolute: false };
        return vec![branch];
    }
    let memory = i.op_kinds().any(|kind| kind == OpKind::Memory);
    if i.is_ip_rel_memory_operand() {
        let target = i.ip_rel_memory_address();
        found.push(Reference { field: at.displacement_offset(), target, branch: false, absolute: false });
    } else if build.fixed && memory && at.displacement_size() == 4 && i.segment_prefix() == Register::None {
        let target = i.memory_displacement64();
        if build.span.contains(&target) {
            found.push(Reference { field: at.displacement_offset(), target, branch: false, absolute: true });
        }
    }
    if build.fixed && at.immediate_size() == 4 {
        let number = (0..i.op_count()).find(|&n| matches!(i.op_kind(n), OpKind::Immediate32 | OpKind::Immediate32to64));
        if let Some(target) = number.map(|n| i.immediate(n)).filter(|target| build.span.contains(target)) {
            found.push(Reference { field: at.immediate_offset(), target, branch: false, absolute: true });
        }
    }
    found
}

/// Whether two instructions differ in nothing but plain numbers: the same operation on the same registers. Gives what differs.
pub fn numbers(a: &Line, b: &Line) -> Option<Numbers> {
    let (i, j) = (&a.decoded, &b.decoded);
    let alike = i.mnemonic() == j.mnemonic()
        && i.op_count() == j.op_count()
        && i.segment_prefix() == j.segment_prefix()
        && (i.memory_base(), i.memory_index(), i.memory_index_scale())
            == (j.memory_base(), j.memory_index(), j.memory_index_scale())
        && (i.has_lock_prefix(), i.has_rep_prefix(), i.has_repne_prefix())
            == (j.has_lock_prefix(), j.has_rep_prefix(), j.has_repne_prefix());
    if !alike {
        return None;
    }
    let mut found = Numbers::default();
    for n in 0..i.op_count() {
        let (p, q) = (i.op_kind(n), j.op_kind(n));
        match (p, q) {
            (OpKind::Register, OpKind::Register) if i.op_register(n) == j.op_register(n) => {}
            (OpKind::Memory, OpKind::Memory) if i.memory_size() == j.memory_size() => {
                found.displacements |=
                    !i.is_ip_rel_memory_operand() && i.memory_displacement64() != j.memory_displacement64();
            }
            (OpKind::NearBranch64, OpKind::NearBranch64) => {}
            // The fixed operands of string instructions.
            _ if p == q && is_string(p) => {}
            _ if is_immediate(p) && is_immediate(q) => {
                if i.immediate(n) != j.immediate(n) {
                    found.immediates.push((i.immediate(n), j.immediate(n)));
                }
            }
            _ => return None,
        }
    }
    Some(found)
}

/// What differs in two instructions that are else the same.
#[derive(Debug, Default, Clone)]
pub struct Numbers {
    pub immediates: Vec<(u64, u64)>,
    pub displacements: bool,
}

fn is_string(kind: OpKind) -> bool {
    use OpKind::*;
    matches!(
        kind,
        MemorySegSI
            | MemorySegESI
            | MemorySegRSI
            | MemorySegDI
            | MemorySegEDI
            | MemorySegRDI
            | MemoryESDI
            | MemoryESEDI
            | MemoryESRDI
    )
}

fn is_immediate(kind: OpKind) -> bool {
    use OpKind::*;
    matches!(
        kind,
        Immediate8
            | Immediate8_2nd
            | Immediate16
            | Immediate32
            | Immediate64
            | Immediate8to16
            | Immediate8to32
            | Immediate8to64
            | Immediate32to64
    )
}
