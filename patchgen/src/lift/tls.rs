//! Finds displacements that are offsets of thread-local variables, by following the registers that hold the thread pointer
//! or the address of the module's TLS block.

use super::decode::{Piece, Raw, Use, decoder, is_filler};
use super::functions::Seed;
use super::indexed::bit;
use super::offsets::{self, Meaning};
use super::resolve::TlsMap;
use super::{Field, Unprovable};
use crate::addr::Svma;
use crate::image::{DynReloc, Image, ImageKind};
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use rayon::prelude::*;

/// Bit sets of the sixteen general registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State {
    /// Hold the thread pointer.
    tp: u16,
    /// Hold the address of the module's block.
    block: u16,
    /// Hold its distance from the thread pointer.
    distance: u16,
}

impl State {
    fn any(&self, registers: u16) -> bool {
        (self.block | self.distance) & registers != 0
    }
}

/// What an instruction does.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    /// Registers whose content stays.
    keep: u16,
    /// What it puts into some.
    gain: State,
    /// From where to where it copies.
    copy: Option<(u16, u16)>,
    /// Registers that it adds the thread pointer to.
    raised: u16,
}

/// Where code asks for the start of the block: instructions that load the address of the module's pair, or of a descriptor for offset 0.
#[derive(Debug)]
struct Sources {
    pairs: Vec<u32>,
    descriptors: Vec<u32>,
}

/// Within so many instructions a function sets up its frame.
const PROLOGUE: usize = 64;

/// rsp and rbp.
const FRAME: u16 = 1 << 4 | 1 << 5;

const NONE: State = State { tp: 0, block: 0, distance: 0 };

/// Address of the module's own pair of GOT words, as the `lea` before `__tls_get_addr` names it.
fn is_block_pair(image: &Image, a: Svma) -> bool {
    matches!(image.dynamic_at(a), Some(DynReloc::DtpMod { import: None }))
        && image.dynamic_at(a.plus(8)).is_none()
        && image.read_u64(a.plus(8)) == Some(0)
}

/// Whether the `lea` at `a` begins the sequence of a variable's own pair. Linkers tell it by its `66` prefix from that of the module's (psABI,
/// 4.4.6: general dynamic and local dynamic).
pub(super) fn names_variable(image: &Image, a: Svma) -> bool {
    image.bytes(a, 1) == Some(&[0x66])
}

/// What the first part of a function says of the others, into which registers come as they are.
#[derive(Clone, Copy, Default, Debug)]
struct Entry {
    /// It reads the thread pointer.
    reads: bool,
    /// rbp points into the frame.
    frame: bool,
}

/// Adds references for thread-local operands that have no relocation-like form of their own.
pub(super) fn track_all(image: &Image, tls: &TlsMap, seeds: &mut [Seed]) {
    if tls.block == 0 {
        return;
    }
    let entries: Vec<Entry> = seeds
        .par_iter()
        .map(|s| s.parent.and_then(|p| seeds[p].piece.as_ref()).map(|p| entry(image, p)).unwrap_or_default())
        .collect();
    seeds.par_iter_mut().zip(entries).for_each(|(s, entry)| {
        if let Some(piece) = &mut s.piece {
            track(image, tls, piece, entry);
        }
    });
}

fn entry(image: &Image, piece: &Piece) -> Entry {
    let reads = piece.reads_tp || piece.fs_register;
    let code = || image.bytes(piece.range.start, piece.range.size()).unwrap_or_default();
    let frame = || decoder(code(), piece.range.start).into_iter().take(PROLOGUE).any(|i| makes_frame(&i));
    Entry { reads, frame: reads && frame() }
}

fn makes_frame(i: &Instruction) -> bool {
    let of_stack = i.op1_kind() == OpKind::Register && i.op1_register() == Register::RSP
        || i.mnemonic() == Mnemonic::Lea && i.memory_base() == Register::RSP;
    matches!(i.mnemonic(), Mnemonic::Mov | Mnemonic::Lea) && i.op0_register() == Register::RBP && of_stack
}

fn track(image: &Image, tls: &TlsMap, piece: &mut Piece, entry: Entry) {
    let pair_at: Vec<u32> = piece
        .raws
        .iter()
        .filter(|r| tls.dynamic && r.how == Use::Derived && is_block_pair(image, Svma(r.addr)))
        .map(|r| r.insn)
        .filter(|&n| !names_variable(image, piece.range.start.plus(u64::from(piece.insns[n as usize].offset))))
        .collect();
    let indexed = piece.raws.iter().any(|r| r.how == Use::Tp);
    let first = |a: u64| matches!(image.dynamic_at(Svma(a)), Some(DynReloc::TlsDesc { import: None, offset: 0, .. }));
    let descriptors: Vec<u32> =
        piece.raws.iter().filter(|r| tls.dynamic && r.how == Use::Derived && first(r.addr)).map(|r| r.insn).collect();
    let sources = Sources { pairs: pair_at, descriptors };
    let (pair_at, described) = (&sources.pairs, !sources.descriptors.is_empty());
    let meets_pointer = piece.reads_tp || piece.fs_register || entry.reads;
    if !meets_pointer && pair_at.is_empty() && !indexed && !described {
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
    for &n in pair_at {
        let n = n as usize;
        if !(n + 1..=n + 2).any(|k| code.get(k).is_some_and(|c| takes_block(&code[n], c))) {
            piece.bad.push(Unprovable {
                number: false,
                code: 214,
                at: Svma(code.get(n).map_or(0, |c| c.ip())),
                what: "passes a pair of thread-local storage in a way that doesn't say what it stands for".into(),
            });
        }
    }
    // Without a source of either there is nothing to follow.
    let followed = piece.reads_tp || !pair_at.is_empty() || described;
    let states = if followed { flow(&code, &sources) } else { vec![NONE; code.len()] };
    let by_descriptor = described && describes_block(piece, &sources, &code, &states, tls);
    // No linker lets a library have such offsets as numbers.
    let offset = |v: i64| meets_pointer && image.kind != ImageKind::Shared && tls.is_tp_offset(v);
    let maybe = if entry.reads { u16::MAX } else { offsets::pointers(&code, is_pointer) };
    let frame = if entry.frame || code.iter().any(makes_frame) { FRAME } else { bit(Register::RSP) };
    // A filler's operands mean nothing.
    for (n, i) in code.iter().enumerate().filter(|(_, i)| !is_filler(i)) {
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
                number: true,
                code: 214,
                at: Svma(i.ip()),
                what: "computes the start of the thread-local block from its size".into(),
            });
        }
        let memory = i.op_kinds().any(|k| k == OpKind::Memory);
        let registers = bit(i.memory_base()) | bit(i.memory_index());
        if by_descriptor && memory && states[n].any(registers) {
            if at.displacement_size() == 4 {
                add(at.displacement_offset(), Field::Dtpoff32, i.memory_displacement64() as i64, Use::Dtp);
            } else {
                piece.bad.push(Unprovable {
                    number: false,
                    code: 214,
                    at: Svma(i.ip()),
                    what: "uses a TLS descriptor both for the block and for a variable".into(),
                });
            }
            continue;
        }
        let mut unclear =
            |what: &str| piece.bad.push(Unprovable { code: 214, at: Svma(i.ip()), what: what.into(), number: true });
        if memory && i.segment_prefix() != Register::FS && at.displacement_size() == 4 && !i.is_ip_rel_memory_operand()
        {
            let base = bit(i.memory_base());
            let disp = i.memory_displacement64() as i64;
            let scaled = i.memory_index_scale() != 1;
            let pointer = states[n].tp & (base | if scaled { 0 } else { bit(i.memory_index()) });
            let lea = i.mnemonic() == Mnemonic::Lea && i.op0_register().is_gpr64();
            // Nobody loads a negative number with it, but one times an index less another.
            let alone = lea && (registers == 0 || base == 0 && pointer == 0 && registers & maybe == 0);
            let meaning = match registers {
                0 if alone => Meaning::Offset,
                _ if alone && offset(disp) => offsets::meaning(&code, n, |k| states[k].tp, maybe),
                _ if pointer != 0 => Meaning::Offset,
                _ => Meaning::Unclear,
            };
            if offset(disp) && meaning == Meaning::Offset {
                add(at.displacement_offset(), Field::Tpoff32, disp, Use::Tp);
            } else if base & states[n].block != 0 && !pair_at.is_empty() {
                add(at.displacement_offset(), Field::Dtpoff32, disp, Use::Dtp);
            } else if (offset(disp)
                && meaning == Meaning::Unclear
                && (alone || registers & maybe != 0)
                && base & frame == 0
                && (!lea || i.op0_register().is_gpr64()))
                || (!pair_at.is_empty() && base & !FRAME != 0 && disp >= 0 && disp < tls.block as i64)
            {
                unclear("displacement looks like a thread-local offset, but its base isn't known");
            }
        }
        match relaxed_descriptor(&code, n) {
            Some(0) => unclear("asks for the thread-local block in a way that linkers make of a TLS descriptor"),
            Some(value) if tls.is_tp_offset(value) => {
                add(at.immediate_offset(), Field::Tpoff32, value, Use::Tp);
                continue;
            }
            _ => {}
        }
        if !matches!(i.mnemonic(), Mnemonic::Mov | Mnemonic::Add) || i.op_count() != 2 {
            continue;
        }
        let wide = i.op_kind(1) == OpKind::Immediate32to64;
        if !wide && i.op_kind(1) != OpKind::Immediate64 {
            continue;
        }
        let value = i.immediate(1) as i64;
        let target = if i.op0_kind() == OpKind::Register { bit(i.op0_register()) } else { 0 };
        let whole = |v: i64| tls.starts_at_tp(v);
        let what = "loads a number that looks like a thread-local offset, and its use isn't known";
        if i.mnemonic() == Mnemonic::Add {
            if offset(value) && states[n].tp & target != 0 {
                add(at.immediate_offset(), Field::Tpoff32, value, Use::Tp);
            } else if states[n].block & target != 0 && !pair_at.is_empty() || by_descriptor && states[n].any(target) {
                add(at.immediate_offset(), Field::Dtpoff32, value, Use::Dtp);
            } else if offset(value) && target & maybe & !frame != 0 {
                unclear(what);
            }
        } else if offset(value) {
            let meaning = match target {
                // Stored as it is.
                0 if i.memory_base() == Register::None || bit(i.memory_base()) & FRAME == 0 => Meaning::Number,
                0 => Meaning::Unclear,
                _ => offsets::meaning(&code, n, |k| states[k].tp, maybe),
            };
            match meaning {
                Meaning::Offset if wide && (value != -1 || whole(value)) => {
                    add(at.immediate_offset(), Field::Tpoff32, value, Use::Tp);
                }
                Meaning::Offset => unclear(what),
                Meaning::Unclear if value != -1 || whole(value) => unclear(what),
                _ => {}
            }
        }
    }
    piece.raws.sort_by_key(|r| (r.insn, r.field_at));
}

/// `lea pair(%rip),%rdi` and, behind it, `call __tls_get_addr`.
fn takes_block(lea: &Instruction, call: &Instruction) -> bool {
    lea.op0_register() == Register::RDI && (call.is_call_near() || call.is_call_near_indirect())
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

/// Whether the descriptor for offset 0 stands for the block, and not for the variable there: code then adds offsets that it leaves to the linker,
/// in four bytes however small they are, and beyond that variable. Marks the instructions that load its address.
fn describes_block(piece: &mut Piece, sources: &Sources, code: &[Instruction], states: &[State], tls: &TlsMap) -> bool {
    let reaches = |value: i64| i8::try_from(value).is_ok() || (value as u64) >= tls.size_at_start();
    let relocated = code.iter().zip(states).filter(|(i, _)| !is_filler(i)).any(|(i, s)| {
        let registers = bit(i.memory_base()) | bit(i.memory_index());
        let memory = i.op_kinds().any(|k| k == OpKind::Memory) && s.any(registers);
        let sum = i.mnemonic() == Mnemonic::Add
            && i.op0_kind() == OpKind::Register
            && i.op_kind(1) == OpKind::Immediate32to64
            && s.any(bit(i.op0_register()));
        (memory && has_long_displacement(i) && reaches(i.memory_displacement64() as i64))
            || (sum && reaches(i.immediate(1) as i64))
    });
    if relocated {
        for raw in piece.raws.iter_mut().filter(|r| r.how == Use::Derived && sources.descriptors.contains(&r.insn)) {
            raw.how = Use::Block;
        }
    }
    relocated
}

/// Forward data flow: what each register holds before each instruction, on every path.
fn flow(code: &[Instruction], sources: &Sources) -> Vec<State> {
    let top = State { tp: u16::MAX, block: u16::MAX, distance: u16::MAX };
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
        code.iter().enumerate().map(|(k, c)| effect(&mut info, code, sources, k, c)).collect();
    let mut states = vec![top; n];
    let mut work: Vec<usize> = Vec::new();
    let mut ends = true;
    for k in 0..n {
        // Entered from somewhere unknown: the start, and what follows an unconditional transfer without a visible predecessor. Nobody runs
        // through the filler there.
        if ends && is_filler(&code[k]) && !targeted[k] && k > 0 {
            continue;
        }
        if k == 0 || (ends && !targeted[k]) {
            states[k] = NONE;
            work.push(k);
        }
        ends = matches!(
            code[k].flow_control(),
            FlowControl::UnconditionalBranch
                | FlowControl::IndirectBranch
                | FlowControl::Return
                | FlowControl::Exception
        );
    }
    while let Some(k) = work.pop() {
        let Transfer { keep, gain, copy, raised } = transfer[k];
        let s = states[k];
        let mut out = State {
            tp: (s.tp & keep) | gain.tp,
            block: (s.block & keep) | gain.block | (s.distance & raised),
            distance: (s.distance & keep) | gain.distance,
        };
        if let Some((from, to)) = copy {
            for (had, has) in [(s.tp, &mut out.tp), (s.block, &mut out.block), (s.distance, &mut out.distance)] {
                if had & from != 0 {
                    *has |= to;
                }
            }
        }
        let c = &code[k];
        let mut next = |t: usize| {
            let joined = State {
                tp: states[t].tp & out.tp,
                block: states[t].block & out.block,
                distance: states[t].distance & out.distance,
            };
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
    sources: &Sources,
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
    let mut raised = 0;
    if c.mnemonic() == Mnemonic::Add && c.op0_kind() == OpKind::Register && is_pointer(c) {
        raised = bit(c.op0_register());
    }
    if c.mnemonic() == Mnemonic::Mov && c.op0_kind() == OpKind::Register && c.op0_register().is_gpr64() {
        if c.op1_kind() == OpKind::Register {
            copy = Some((bit(c.op1_register()), bit(c.op0_register())));
        } else if is_pointer(c) {
            gain.tp = bit(c.op0_register());
        }
    }
    if calls_descriptor(code, sources, k) {
        // It changes no other register (psABI, TLS descriptors).
        kill = bit(Register::RAX);
        gain.distance = bit(Register::RAX);
    } else if c.is_call_near() || c.is_call_near_indirect() {
        // What else is read behind it, the callee leaves alone (GCC's `-fipa-ra`).
        kill |= bit(Register::RAX) | bit(Register::RDX);
        // Nothing but filler stands between the two.
        if (1..=2).any(|d| k >= d && sources.pairs.contains(&((k - d) as u32)) && takes_block(&code[k - d], c)) {
            gain.block = bit(Register::RAX);
        }
    }
    Transfer { keep: !kill, gain, copy, raised }
}

/// The second operand is the thread pointer.
fn is_pointer(c: &Instruction) -> bool {
    c.op_count() == 2
        && c.op1_kind() == OpKind::Memory
        && c.segment_prefix() == Register::FS
        && c.memory_base() == Register::None
        && c.memory_index() == Register::None
        && c.memory_displacement64() == 0
}

/// `call *(%rax)`, with the address of a descriptor for offset 0 put into that register a few instructions before.
fn calls_descriptor(code: &[Instruction], sources: &Sources, k: usize) -> bool {
    const NEAR: usize = 6;
    let c = &code[k];
    let plain = c.memory_index() == Register::None && c.memory_displacement64() == 0;
    if !c.is_call_near_indirect() || c.memory_base() != Register::RAX || !plain {
        return false;
    }
    let before = (k.saturating_sub(NEAR)..k).rev();
    let writes = |n: &usize| code[*n].op0_register().full_register() == Register::RAX;
    before.into_iter().find(writes).is_some_and(|n| sources.descriptors.contains(&(n as u32)))
}

/// The number that a linker puts in the place of a TLS descriptor: `mov $number,%rax`, and `xchg %ax,%ax` where the call was (psABI, TLS descriptors:
/// GD to LE). Zero stands for the start of the block.
fn relaxed_descriptor(code: &[Instruction], n: usize) -> Option<i64> {
    const NEAR: usize = 6;
    let mov = code[n].mnemonic() == Mnemonic::Mov
        && code[n].op0_register() == Register::RAX
        && code[n].op_kind(1) == OpKind::Immediate32to64;
    if !mov {
        return None;
    }
    let call = |c: &&Instruction| c.mnemonic() == Mnemonic::Nop && c.len() == 2 || c.op0_register() == Register::RAX;
    let first = code.iter().skip(n + 1).take(NEAR).find(call)?;
    (first.mnemonic() == Mnemonic::Nop || first.mnemonic() == Mnemonic::Xchg).then(|| code[n].immediate(1) as i64)
}

/// A displacement of four bytes, which an assembler writes for a small value only where the linker fills it in.
fn has_long_displacement(i: &Instruction) -> bool {
    i.memory_displ_size() >= 4 && !i.is_ip_rel_memory_operand()
}
