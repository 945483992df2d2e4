//! Linear decoding of one stretch of code: instructions and the raw places in them that hold an address.

use super::space::Space;
use super::steps::{Held, Step};
use super::{Field, Insn, InsnKind, NO_PART, Unprovable};
use crate::addr::{Svma, SvmaRange};
use crate::image::{Image, ImageKind};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// How an instruction uses the address in a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    Branch {
        short: bool,
        call: bool,
    },
    /// Exactly `width` bytes at the address are accessed.
    Direct {
        width: u16,
    },
    /// The address is computed (`lea`, immediate), or the operand has registers besides.
    Derived,
    /// As before, in an instruction whose immediates are hardly ever addresses.
    Mask,
    /// The address is a signed offset from the thread pointer.
    Tp,
    /// The address is an offset in the module's TLS block.
    Dtp,
    /// The address of a TLS descriptor that stands for the module's block is computed.
    Block,
}

/// An address in an instruction, not yet resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    /// Index in [`Piece::insns`].
    pub insn: u32,
    pub field_at: u32,
    pub field: Field,
    pub addr: u64,
    pub how: Use,
    /// False for a number that could be a plain constant.
    pub certain: bool,
}

/// One decoded stretch.
#[derive(Debug)]
pub(super) struct Piece {
    pub range: SvmaRange,
    pub insns: Vec<Insn>,
    pub raws: Vec<Raw>,
    /// Addresses that are computed of others.
    pub steps: Vec<Step>,
    pub bad: Vec<Unprovable>,
    /// Indirect `jmp`s, as indices in `insns`.
    pub indirect: Vec<u32>,
    /// Reads the thread pointer (`mov %fs:0, reg`, `add %fs:0, reg`).
    pub reads_tp: bool,
    /// Has an operand `%fs:(reg)`.
    pub fs_register: bool,
    /// Gives the stack pointer a value that isn't a constant distance from the one before.
    pub writes_stack: bool,
    /// Control runs on past the last byte.
    pub falls_out: bool,
}

/// Bytes around the image that the base of an array less an index reaches into, as a displacement or a summand (compilers fold less
/// than 16 MiB; what is nearer to zero than [`Space::in_reach`] looks is a number).
const FOLDED_DISPLACEMENT: u64 = 16 << 20;

/// And as any other immediate, or 32 bits wide.
const FOLDED_IMMEDIATE: u64 = 64 << 10;

pub(super) fn decoder<'a>(bytes: &'a [u8], at: Svma) -> Decoder<'a> {
    Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE)
}

pub(super) fn is_filler(i: &Instruction) -> bool {
    matches!(i.mnemonic(), Mnemonic::Nop | Mnemonic::Int3)
        // `xchg %ax,%ax`: the assembler's two-byte filler in some decoders' eyes.
        || (i.mnemonic() == Mnemonic::Xchg && i.op_count() == 2 && i.op0_register() == Register::AX && i.op1_register() == Register::AX)
}

pub(super) fn starts_with_filler(image: &Image, a: Svma) -> bool {
    (1..=15).rev().find_map(|n| image.bytes(a, n)).is_some_and(|b| is_filler(&decoder(b, a).decode()))
}

/// Room for what one stretch gives, whose size is only known afterwards.
#[derive(Default)]
pub(super) struct Room {
    insns: Vec<Insn>,
    raws: Vec<Raw>,
}

/// Decodes `range`. None where the file holds no bytes for it.
pub(super) fn decode(image: &Image, space: &Space, range: SvmaRange, room: &mut Room) -> Option<Piece> {
    let bytes = image.bytes(range.start, range.size())?;
    let exec = image.kind == ImageKind::Exec;
    let mut piece = Piece {
        range,
        insns: std::mem::take(&mut room.insns),
        raws: std::mem::take(&mut room.raws),
        steps: Vec::new(),
        bad: Vec::new(),
        indirect: Vec::new(),
        reads_tp: false,
        fs_register: false,
        writes_stack: false,
        falls_out: true,
    };
    let mut d = decoder(bytes, range.start);
    let mut i = Instruction::default();
    let mut goes_on = true;
    let mut held = Held::default();
    while d.can_decode() {
        d.decode_out(&mut i);
        let offset = (i.ip() - range.start.0) as u32;
        if i.is_invalid() {
            piece.bad.push(Unprovable {
                number: false,
                code: 213,
                at: Svma(i.ip()),
                what: "bytes that are not an instruction".into(),
            });
            break;
        }
        let nop = is_filler(&i);
        let flow = i.flow_control();
        let index = piece.insns.len() as u32;
        piece.insns.push(Insn {
            part: 0,
            len: i.len() as u8,
            kind: match flow {
                _ if nop => InsnKind::Nop,
                FlowControl::Call | FlowControl::IndirectCall => InsnKind::Call,
                _ => InsnKind::Plain,
            },
            local_part: NO_PART,
            local_offset: 0,
            offset,
            refs: 0,
        });
        if nop {
            continue;
        }
        goes_on = matches!(flow, FlowControl::Next | FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend)
            && !faults(&i);
        piece.writes_stack |= hpatch_stacks::writes_stack(&i);
        if flow == FlowControl::IndirectBranch {
            piece.indirect.push(index);
        }
        operands(&mut piece, &d, &i, index, offset, exec, space);
        piece.steps.extend(held.see(&i, index));
    }
    piece.falls_out = goes_on;
    piece.steps.sort_by_key(|s| s.first);
    piece.steps.dedup_by_key(|s| s.first);
    (piece.insns, room.insns) = (piece.insns.as_slice().to_vec(), piece.insns);
    (piece.raws, room.raws) = (piece.raws.as_slice().to_vec(), piece.raws);
    room.insns.clear();
    room.raws.clear();
    Some(piece)
}

/// Reads or writes the page at address zero, which nothing is ever mapped at (`vm.mmap_min_addr`): how C ends a path for good that
/// it declares unreachable, with the next function right behind.
fn faults(i: &Instruction) -> bool {
    let absolute = i.memory_base() == Register::None && i.memory_index() == Register::None;
    let segment = matches!(i.segment_prefix(), Register::FS | Register::GS);
    let accesses = i.op_kinds().any(|k| k == OpKind::Memory) && i.mnemonic() != Mnemonic::Lea && !is_hint(i.mnemonic());
    absolute && !segment && accesses && i.memory_displacement64() < 4096
}

fn operands(piece: &mut Piece, d: &Decoder<'_>, i: &Instruction, index: u32, offset: u32, exec: bool, space: &Space) {
    let len = i.len() as u32;
    let memory = i.op_kinds().any(|k| k == OpKind::Memory);
    let branch =
        i.op_count() > 0 && matches!(i.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32 | OpKind::NearBranch16);
    let imm =
        exec && i.op_kinds().any(|k| matches!(k, OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64));
    if !memory && !branch && !imm {
        return;
    }
    let at = d.get_constant_offsets(i);
    let mut push = |at: usize, field: Field, addr: u64, how: Use, certain: bool| {
        piece.raws.push(Raw { insn: index, field_at: offset + at as u32, field, addr, how, certain });
    };
    if branch {
        let tail = (len - at.immediate_offset() as u32) as u8;
        let how = Use::Branch { short: at.immediate_size() != 4, call: i.is_call_near() };
        push(at.immediate_offset(), Field::Pc32 { tail }, i.near_branch_target(), how, true);
        return;
    }
    if memory {
        let fs = i.segment_prefix() == Register::FS;
        let disp = i.memory_displacement64();
        let free = i.memory_base() == Register::None && i.memory_index() == Register::None;
        piece.fs_register |= fs && !free;
        let size = i.memory_size().size();
        let sized = i.mnemonic() != Mnemonic::Lea && size > 0 && !i.is_vsib() && !is_hint(i.mnemonic());
        let direct = if sized { Use::Direct { width: size as u16 } } else { Use::Derived };
        if i.is_ip_rel_memory_operand() {
            let tail = (len - at.displacement_offset() as u32) as u8;
            push(at.displacement_offset(), Field::Pc32 { tail }, i.ip_rel_memory_address(), direct, !fs);
        } else if fs {
            if free && disp == 0 && matches!(i.mnemonic(), Mnemonic::Mov | Mnemonic::Add) {
                piece.reads_tp = true;
            } else if (disp as i64) < 0 && at.displacement_size() == 4 {
                push(at.displacement_offset(), Field::Tpoff32, disp, Use::Tp, true);
            }
        } else if exec && at.displacement_size() == 4 && i.segment_prefix() != Register::GS {
            let near = space.addressable(disp) || (!free && space.in_front_of_data(disp, super::data::FOLDED));
            if near || (!free && space.in_reach(disp, FOLDED_DISPLACEMENT)) {
                let certain = near && i.memory_base() == Register::None;
                push(at.displacement_offset(), Field::Abs32S, disp, if free { direct } else { Use::Derived }, certain);
            }
        } else if exec && at.displacement_size() == 8 && space.addressable(disp) {
            push(at.displacement_offset(), Field::Abs64, disp, direct, true);
        }
    }
    if imm {
        let Some((field, value, reach)) = immediate(i) else { return };
        if space.addressable(value) || space.in_reach(value, reach) {
            // Whether it is an address is settled when the place it would denote is known.
            let how = if is_mask(i) { Use::Mask } else { Use::Derived };
            push(at.immediate_offset(), field, value, how, false);
        }
    }
}

/// Instructions whose memory operand isn't an access of its stated width.
fn is_hint(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        m,
        Prefetcht0
            | Prefetcht1
            | Prefetcht2
            | Prefetchnta
            | Prefetchw
            | Clflush
            | Clflushopt
            | Clwb
            | Fxsave
            | Fxrstor
            | Xsave
            | Xrstor
    )
}

/// A 32-bit or 64-bit immediate, which a compiler may have put an address into, and how far from all objects that may lie.
fn immediate(i: &Instruction) -> Option<(Field, u64, u64)> {
    // Pointers are added up 64 bits wide.
    let sum = if i.mnemonic() == Mnemonic::Add { FOLDED_DISPLACEMENT } else { FOLDED_IMMEDIATE };
    (0..i.op_count()).find_map(|n| match i.op_kind(n) {
        OpKind::Immediate32 => Some((Field::Abs32, i.immediate(n), FOLDED_IMMEDIATE)),
        OpKind::Immediate32to64 => Some((Field::Abs32S, i.immediate(n), sum)),
        OpKind::Immediate64 => Some((Field::Abs64, i.immediate(n), sum)),
        _ => None,
    })
}

/// Computes with bits or narrows the operand: seldom with an address (`(uintptr_t)&x ^ key`), mostly with a number.
fn is_mask(i: &Instruction) -> bool {
    use Mnemonic::{And, Imul, Or, Test, Xor};
    let wide = i.op_kinds().any(|k| matches!(k, OpKind::Immediate32to64 | OpKind::Immediate64));
    matches!(i.mnemonic(), And | Imul | Or | Test | Xor)
        || (i.mnemonic() != Mnemonic::Mov && !wide)
        || (i.op0_kind() == OpKind::Memory && !wide)
}
