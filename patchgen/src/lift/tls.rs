//! Finds displacements that are offsets of thread-local variables, by following the registers that hold the thread pointer
//! or the address of the module's TLS block.

use super::decode::{Piece, Raw, Use, decoder};
use super::resolve::TlsMap;
use super::{Field, Unprovable};
use crate::addr::Svma;
use crate::image::{DynReloc, Image};
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

/// Bit sets of the sixteen general registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State {
    /// Hold the thread pointer.
    tp: u16,
    /// Hold the address of the module's block.
    block: u16,
}

/// What an instruction does: the registers that it keeps, what it puts into some, and from where to where it copies.
type Transfer = (u16, State, Option<(u16, u16)>);

/// rsp and rbp.
const FRAME: u16 = 1 << 4 | 1 << 5;

const NONE: State = State { tp: 0, block: 0 };

fn bit(r: Register) -> u16 {
    let full = r.full_register();
    if full.is_gpr64() { 1 << full.number() } else { 0 }
}

/// Registers that a call may change (psABI).
const CALLER_SAVED: [Register; 9] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];

/// Address of the module's own pair of GOT words, as the `lea` before `__tls_get_addr` names it.
fn is_block_pair(image: &Image, a: Svma) -> bool {
    matches!(image.dynamic_at(a), Some(DynReloc::DtpMod { import: None }))
        && image.dynamic_at(a.plus(8)).is_none()
        && image.read_u64(a.plus(8)) == Some(0)
}

/// Adds references for thread-local operands that have no relocation-like form of their own.
/// `tables`: targets of jump tables, by instruction offset, where nothing is known of the registers.
pub(super) fn track(image: &Image, tls: &TlsMap, piece: &mut Piece) {
    let pair_at: Vec<u32> = piece
        .raws
        .iter()
        .filter(|r| r.how == Use::Derived && is_block_pair(image, Svma(r.addr)))
        .map(|r| r.insn)
        .collect();
    let indexed = piece.raws.iter().any(|r| r.how == Use::Tp);
    if tls.block == 0 || (!piece.reads_tp && pair_at.is_empty() && !indexed && !piece.fs_register) {
        return;
    }
    let Some(bytes) = image.bytes(piece.range.start, piece.range.size()) else { return };
    let mut code: Vec<Instruction> = Vec::with_capacity(piece.insns.len());
    let mut offsets = Vec::with_capacity(piece.insns.len());
    let mut d = decoder(bytes, piece.range.start);
    while d.can_decode() && code.len() < piece.insns.len() {
        let i = d.decode();
        offsets.push(d.get_constant_offsets(&i));
        code.push(i);
    }
    // Without a source of either there is nothing to follow.
    let states = if piece.reads_tp || !pair_at.is_empty() { flow(&code, &pair_at) } else { vec![NONE; code.len()] };
    let ever = states.iter().fold(NONE, |a, s| State { tp: a.tp | s.tp, block: a.block | s.block });
    let fs_bases = code
        .iter()
        .filter(|i| i.segment_prefix() == Register::FS)
        .fold(0u16, |m, i| m | bit(i.memory_base()) | bit(i.memory_index()));
    for (n, i) in code.iter().enumerate() {
        let at = offsets[n];
        let mut add = |field_at: usize, field: Field, value: i64, how: Use| {
            piece.raws.push(Raw {
                insn: n as u32,
                field_at: piece.insns[n].offset + field_at as u32,
                field,
                addr: value as u64,
                how,
                certain: true,
            });
        };
        if n > 0 && finds_block(&code[n - 1], i, tls) {
            piece.bad.push(Unprovable {
                code: 214,
                at: Svma(i.ip()),
                what: "computes the start of the thread-local block from its size".into(),
            });
        }
        let memory = i.op_kinds().any(|k| k == OpKind::Memory);
        if memory && i.segment_prefix() != Register::FS && at.displacement_size() == 4 && !i.is_ip_rel_memory_operand()
        {
            let base = bit(i.memory_base());
            let disp = i.memory_displacement64() as i64;
            // An assembler writes a short displacement where it knows the value: four bytes for a small one mean a relocation.
            let relocated = i8::try_from(disp).is_ok();
            if base & states[n].tp != 0 {
                if tls.is_tp_offset(disp) {
                    add(at.displacement_offset(), Field::Tpoff32, disp, Use::Tp);
                }
            } else if base & states[n].block != 0 {
                add(at.displacement_offset(), Field::Dtpoff32, disp, Use::Dtp);
            } else if (relocated && base & ever.tp != 0 && tls.is_tp_offset(disp))
                || (!pair_at.is_empty() && base & !FRAME != 0 && disp >= 0 && disp < tls.block as i64)
            {
                piece.bad.push(Unprovable {
                    code: 214,
                    at: Svma(i.ip()),
                    what: "displacement looks like a thread-local offset, but its base isn't known".into(),
                });
            }
        }
        if at.immediate_size() == 4
            && matches!(i.mnemonic(), Mnemonic::Mov | Mnemonic::Add)
            && i.op0_kind() == OpKind::Register
        {
            let value = i64::from(i.immediate(1) as u32 as i32);
            let target = bit(i.op0_register());
            let wide = i.op_kind(1) == OpKind::Immediate32to64;
            let used = match i.mnemonic() {
                Mnemonic::Mov => fs_bases & target != 0,
                _ => states[n].tp & target != 0,
            };
            if wide && used && tls.is_tp_offset(value) {
                add(at.immediate_offset(), Field::Tpoff32, value, Use::Tp);
            } else if wide && i.mnemonic() == Mnemonic::Add && states[n].block & target != 0 {
                add(at.immediate_offset(), Field::Dtpoff32, value, Use::Dtp);
            }
        }
    }
    piece.raws.sort_by_key(|r| (r.insn, r.field_at));
}

/// `mov %fs:(reg),reg; sub $SIZE,reg`: how mold relaxes a call for the address of the executable's own block. Offsets from there, and the
/// size, are those of one build.
fn finds_block(load: &Instruction, i: &Instruction, tls: &TlsMap) -> bool {
    let reads_tp = load.mnemonic() == Mnemonic::Mov
        && load.segment_prefix() == Register::FS
        && load.op0_kind() == OpKind::Register
        && load.memory_displacement64() == 0;
    let size = i.mnemonic() == Mnemonic::Sub
        && matches!(i.op1_kind(), OpKind::Immediate8to64 | OpKind::Immediate32to64)
        && i.immediate(1) == tls.block;
    reads_tp && size && i.op0_register() == load.op0_register()
}

/// Forward data flow: what each register holds before each instruction, on every path.
fn flow(code: &[Instruction], pair_at: &[u32]) -> Vec<State> {
    let top = State { tp: u16::MAX, block: u16::MAX };
    let n = code.len();
    let index = |ip: u64| code.binary_search_by_key(&ip, |c| c.ip()).ok();
    let mut targeted = vec![false; n];
    for c in code {
        if matches!(c.op_kind(0), OpKind::NearBranch64)
            && !c.is_call_near()
            && let Some(t) = index(c.near_branch_target())
        {
            targeted[t] = true;
        }
    }
    let mut info = InstructionInfoFactory::new();
    let transfer: Vec<Transfer> =
        code.iter().enumerate().map(|(k, c)| effect(&mut info, code, pair_at, k, c)).collect();
    let mut states = vec![top; n];
    let mut work: Vec<usize> = Vec::new();
    for k in 0..n {
        // Entered from somewhere unknown: the start, and what follows an unconditional transfer without a visible predecessor.
        let ends = k > 0
            && matches!(
                code[k - 1].flow_control(),
                FlowControl::UnconditionalBranch
                    | FlowControl::IndirectBranch
                    | FlowControl::Return
                    | FlowControl::Exception
            );
        if k == 0 || (ends && !targeted[k]) {
            states[k] = NONE;
            work.push(k);
        }
    }
    while let Some(k) = work.pop() {
        let (keep, gain, copy) = transfer[k];
        let s = states[k];
        let mut out = State { tp: (s.tp & keep) | gain.tp, block: (s.block & keep) | gain.block };
        if let Some((from, to)) = copy {
            if s.tp & from != 0 {
                out.tp |= to;
            }
            if s.block & from != 0 {
                out.block |= to;
            }
        }
        let c = &code[k];
        let mut next = |t: usize| {
            let joined = State { tp: states[t].tp & out.tp, block: states[t].block & out.block };
            if joined != states[t] {
                states[t] = joined;
                work.push(t);
            }
        };
        let flow = c.flow_control();
        if matches!(
            flow,
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend
        ) && c.op_kind(0) == OpKind::NearBranch64
            && let Some(t) = index(c.near_branch_target())
        {
            next(t);
        }
        let through = !matches!(
            flow,
            FlowControl::UnconditionalBranch
                | FlowControl::IndirectBranch
                | FlowControl::Return
                | FlowControl::Exception
        );
        if through && k + 1 < n {
            next(k + 1);
        }
    }
    // Never reached: nothing is known.
    for s in &mut states {
        if *s == top {
            *s = NONE;
        }
    }
    states
}

fn effect(
    info: &mut InstructionInfoFactory,
    code: &[Instruction],
    pair_at: &[u32],
    k: usize,
    c: &Instruction,
) -> Transfer {
    let mut kill = 0u16;
    for r in info.info(c).used_registers() {
        if matches!(r.access(), OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite) {
            kill |= bit(r.register());
        }
    }
    let mut gain = NONE;
    let mut copy = None;
    if c.mnemonic() == Mnemonic::Mov && c.op0_kind() == OpKind::Register && c.op0_register().is_gpr64() {
        if c.op1_kind() == OpKind::Register {
            copy = Some((bit(c.op1_register()), bit(c.op0_register())));
        } else if c.op1_kind() == OpKind::Memory
            && c.segment_prefix() == Register::FS
            && c.memory_base() == Register::None
            && c.memory_index() == Register::None
            && c.memory_displacement64() == 0
        {
            gain.tp = bit(c.op0_register());
        }
    }
    if c.is_call_near() || c.is_call_near_indirect() {
        kill |= CALLER_SAVED.iter().fold(0, |m, &r| m | bit(r));
        // `lea pair(%rip),%rdi; call __tls_get_addr`: nothing but filler stands between the two.
        let near = (1..=2)
            .any(|d| k >= d && pair_at.contains(&((k - d) as u32)) && code[k - d].op0_register() == Register::RDI);
        if near {
            gain.block = bit(Register::RAX);
        }
    }
    (!kill, gain, copy)
}
