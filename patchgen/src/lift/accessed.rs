//! Which object an address means, by what code does with it first.
//!
//! An address may be the end of one object and the start of the next, or the base of an array with a constant index folded in. Code that goes
//! on from it reaches whatever it was compiled for; but what it reads or writes at a constant distance from the address
//! is the object that lies there, since no program accesses what lies outside of an object (C11, 6.5.6).

use super::assemble::displaced;
use super::indexed::{Room, bit, copies, is_conditional};
use super::resolve::Resolver;
use super::{Access, CodeRef, Data, DataKind, Function, Target, ways};
use crate::addr::{DataId, Svma};
use crate::image::Image;
use iced_x86::{
    FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, UsedMemory, UsedRegister,
};
use std::collections::BTreeSet;

/// States that are looked at for one address.
const FAR: usize = 512;

/// What has the address at one place of one path, and nothing else: so that an access through it is one of the very address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    at: usize,
    /// General registers.
    held: u16,
    /// Slots of the frame, by their distance from the frame pointer.
    slots: BTreeSet<i64>,
    /// It was compared, stored or computed with before.
    used: bool,
}

/// Settles which object each address means that may be several objects', as far as what the code does with it first says so.
pub(super) fn mark(resolver: &Resolver<'_>, all: &[Data], f: &mut Function, room: &mut Room) {
    let holding = |a: Svma, size: u64| {
        let (data, offset) = resolver.objects.holding(a)?;
        let here = &all[data.index()];
        let within = here.range.size().checked_sub(offset.cast_unsigned()).is_some_and(|rest| size <= rest);
        (within && here.kind == DataKind::Named).then_some(data)
    };
    for n in 0..f.refs.len() {
        let r = &f.refs[n];
        let (Access::Derived, &Target::Data { data, offset }, None) = (r.access, &r.target, r.stepped) else {
            continue;
        };
        let a = all[data.index()].range.start.offset(offset);
        if r.certain && !r.indexed && resolver.objects.ending_at(a).is_none() {
            continue;
        }
        let Some(data) = accessed(resolver.image, f, (r, a), room, holding) else { continue };
        let here = all[data.index()].range;
        if here.start <= a && a <= here.end {
            let r = &mut f.refs[n];
            r.target = Target::Data { data, offset: (a.0 - here.start.0).cast_signed() };
            (r.meant, r.certain, r.backwards) = (true, true, None);
        }
    }
}

/// The object that the function accesses by the address in the reference, on each path on which it uses the address at all. Behind any other use an
/// access has to follow on all paths, without a call: what follows a comparison on one of them only, may be what happens to another address.
/// `holding`: the object that has all these bytes.
fn accessed(
    image: &Image,
    f: &Function,
    (reference, address): (&CodeRef, Svma),
    room: &mut Room,
    holding: impl Fn(Svma, u64) -> Option<DataId>,
) -> Option<DataId> {
    let at = f.index((reference.part, reference.insn)).filter(|_| !f.opaque)?;
    room.begin(f);
    let (first, _) = room.meet(image, f, at)?;
    let mut frame = None;
    let mut start = State { at, held: 0, slots: BTreeSet::new(), used: false };
    let number = first.op_count() == 2 && first.try_immediate(1).is_ok();
    match (first.mnemonic(), first.op0_kind()) {
        (Mnemonic::Lea, OpKind::Register) if first.is_ip_rel_memory_operand() && first.op0_register().is_gpr64() => {
            start.held = bit(first.op0_register());
        }
        (Mnemonic::Mov, OpKind::Register) if number && first.op0_register().size() >= 4 => {
            start.held = bit(first.op0_register());
        }
        (Mnemonic::Mov, OpKind::Memory) if number && displaced(image, f, reference).is_none() => {
            start.slots.insert(slot(&first).filter(|&s| is_frame(image, f, room, &mut frame, s))?);
        }
        _ => return None,
    }
    let mut factory = InstructionInfoFactory::new();
    let mut todo = on(image, f, &start);
    let mut seen = BTreeSet::new();
    let mut found = None;
    while let Some(mut state) = todo.pop() {
        if !seen.insert(state.clone()) {
            continue;
        }
        if seen.len() > FAR {
            return None;
        }
        if f.insns[state.at].is_nop() {
            todo.extend(on(image, f, &state));
            continue;
        }
        let (i, _) = room.meet(image, f, state.at)?;
        let info = factory.info(&i);
        if let Some(distance) = access(info.used_memory(), state.held) {
            let (by, size) = distance?;
            let object = holding(address.offset(by), size)?;
            if found.replace(object).is_some_and(|before| before != object) {
                return None;
            }
            continue;
        }
        let (reads, writes, perhaps) = registers(info.used_registers());
        if !stays_in_sight(image, f, &i, &state) {
            return None;
        }
        let to = if i.op_count() > 0 { i.op0_register() } else { Register::None };
        let from = if i.op_count() > 1 { i.op1_register() } else { Register::None };
        let has = |r: Register| r.is_gpr64() && state.held & bit(r) != 0;
        if copies(&i) {
            let (source, target) = (has(from), bit(to));
            if is_conditional(&i) {
                todo.extend(on(image, f, &state));
            }
            state.held = if source { state.held | target } else { state.held & !target };
        } else if let Some(here) = slot(&i).filter(|_| i.mnemonic() == Mnemonic::Mov && has(from)) {
            if !is_frame(image, f, room, &mut frame, here) {
                return None;
            }
            state.slots.insert(here);
        } else {
            state.used |= reads & state.held != 0 && !clears(&i);
            if perhaps & state.held != 0 {
                todo.extend(on(image, f, &state));
            }
            state.held &= !writes;
            if writes & bit(Register::RBP) != 0 {
                state.slots.clear();
            }
            match touched(&i, &state.slots) {
                Touch::Nothing => {}
                Touch::Loads if to.is_gpr64() => state.held |= bit(to),
                Touch::Overwrites(slot) => drop(state.slots.remove(&slot)),
                Touch::Loads | Touch::Else => return None,
            }
        }
        if state.held != 0 || !state.slots.is_empty() {
            todo.extend(on(image, f, &state));
        } else if state.used {
            return None;
        }
    }
    found
}

/// The states behind an instruction.
fn on(image: &Image, f: &Function, state: &State) -> Vec<State> {
    ways(image, f, state.at).0.into_iter().map(|at| State { at, ..state.clone() }).collect()
}

/// How far from the address, and how many bytes, an instruction accesses in any case. None where it uses no such memory; `Some(None)` where that isn't
/// said exactly.
fn access(memory: &[UsedMemory], held: u16) -> Option<Option<(i64, u64)>> {
    let by = |m: &&UsedMemory| (bit(m.base()) | bit(m.index())) & held != 0;
    let m = memory.iter().find(by)?;
    let plain = m.index() == Register::None && m.base().is_gpr64();
    let flat = matches!(m.segment(), Register::DS | Register::SS | Register::ES);
    let always = matches!(m.access(), OpAccess::Read | OpAccess::Write | OpAccess::ReadWrite | OpAccess::ReadCondWrite);
    let size = m.memory_size().size() as u64;
    Some((plain && flat && always && size > 0).then(|| (m.displacement().cast_signed(), size)))
}

/// The general registers that an instruction reads, those that it writes, and those of them that it may leave as they are.
fn registers(used: &[UsedRegister]) -> (u16, u16, u16) {
    use OpAccess::{CondRead, CondWrite, NoMemAccess, Read, ReadCondWrite, Write};
    let of = |wanted: &dyn Fn(OpAccess) -> bool| {
        used.iter().filter(|u| wanted(u.access())).fold(0, |all, u| all | bit(u.register()))
    };
    (
        of(&|a| !matches!(a, Write | CondWrite | NoMemAccess)),
        of(&|a| !matches!(a, Read | CondRead | NoMemAccess)),
        of(&|a| matches!(a, CondWrite | ReadCondWrite)),
    )
}

/// `xor` of a register with itself reads nothing.
fn clears(i: &Instruction) -> bool {
    matches!(i.mnemonic(), Mnemonic::Xor | Mnemonic::Sub)
        && i.op1_kind() == OpKind::Register
        && i.op0_register() == i.op1_register()
}

/// Whether an instruction doesn't take what has the address to where it isn't looked for: another function, a landing pad, a jump through a
/// pointer.
fn stays_in_sight(image: &Image, f: &Function, i: &Instruction, state: &State) -> bool {
    const KEPT: [Register; 6] =
        [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];
    const RESULTS: [Register; 2] = [Register::RAX, Register::RDX];
    let any = |of: &[Register]| of.iter().fold(0, |all, &r| all | bit(r)) & state.held;
    let insn = &f.insns[state.at];
    let runs_on = || f.insns.get(state.at + 1).is_some_and(|next| next.part == insn.part);
    // To another function only with what no function takes.
    let leads_on = || match insn.local() {
        Some(place) => f.index(place).is_some(),
        None => any(&KEPT) == state.held && !state.used,
    };
    match i.flow_control() {
        FlowControl::Next => runs_on(),
        FlowControl::ConditionalBranch => runs_on() && leads_on(),
        FlowControl::UnconditionalBranch => leads_on(),
        FlowControl::Exception => !state.used,
        FlowControl::Return => any(&RESULTS) == 0 && !state.used,
        FlowControl::Call | FlowControl::IndirectCall => {
            let fde = f.fdes.get(usize::from(insn.part)).copied().flatten();
            let catches = fde.and_then(|n| image.fdes.get(n as usize)).is_some_and(|fde| fde.lsda.is_some());
            any(&KEPT) == state.held && !catches && !state.used
        }
        _ => false,
    }
}

/// The slot of the frame that an instruction stores eight bytes to.
fn slot(i: &Instruction) -> Option<i64> {
    let stores = i.op0_kind() == OpKind::Memory && i.memory_size().size() == 8;
    (stores && i.memory_base() == Register::RBP && i.memory_index() == Register::None)
        .then(|| i.memory_displacement64().cast_signed())
}

/// What an instruction does to the slots.
enum Touch {
    Nothing,
    Loads,
    Overwrites(i64),
    Else,
}

fn touched(i: &Instruction, slots: &BTreeSet<i64>) -> Touch {
    let memory = i.op_kinds().any(|k| k == OpKind::Memory);
    if slots.is_empty() || !memory || i.memory_base() != Register::RBP || i.mnemonic() == Mnemonic::Lea {
        return Touch::Nothing;
    }
    let (here, size) = (i.memory_displacement64().cast_signed(), i.memory_size().size() as i64);
    if i.memory_index() != Register::None {
        return Touch::Else;
    }
    match slots.iter().find(|&&s| here < s + 8 && here + size > s) {
        None => Touch::Nothing,
        Some(&s) if s == here && size == 8 && i.mnemonic() == Mnemonic::Mov => match i.op0_kind() {
            OpKind::Register => Touch::Loads,
            _ => Touch::Overwrites(s),
        },
        Some(_) => Touch::Else,
    }
}

/// Whether the function has a frame pointer, and takes no address from which it may come to the slot.
fn is_frame(image: &Image, f: &Function, room: &mut Room, lowest: &mut Option<Option<i64>>, slot: i64) -> bool {
    let found = match *lowest {
        Some(found) => found,
        None => *lowest.insert(lowest_taken(image, f, room)),
    };
    found.is_some_and(|lowest| slot < lowest)
}

/// The lowest distance from the frame pointer of which the function takes the address. None where it has no such pointer, or uses it in another
/// way.
fn lowest_taken(image: &Image, f: &Function, room: &mut Room) -> Option<i64> {
    let mut factory = InstructionInfoFactory::new();
    let (mut set, mut lowest) = (false, i64::MAX);
    for at in 0..f.insns.len() {
        if f.insns[at].is_nop() {
            continue;
        }
        let (i, _) = room.meet(image, f, at)?;
        let to = if i.op_count() > 0 && i.op0_kind() == OpKind::Register { i.op0_register() } else { Register::None };
        match i.mnemonic() {
            Mnemonic::Push | Mnemonic::Pop | Mnemonic::Leave => continue,
            Mnemonic::Mov if (to, i.op1_register()) == (Register::RBP, Register::RSP) => {
                set = true;
                continue;
            }
            Mnemonic::Lea if i.memory_base() == Register::RBP && i.memory_index() == Register::None => {
                lowest = lowest.min(i.memory_displacement64().cast_signed());
            }
            Mnemonic::Lea if matches!(i.memory_base(), Register::RBP | Register::RSP) && to != Register::RSP => {
                return None;
            }
            _ => {}
        }
        let by_operand = (1..i.op_count())
            .any(|n| i.op_kind(n) == OpKind::Register && matches!(i.op_register(n), Register::RBP | Register::RSP));
        let writes = factory.info(&i).used_registers().iter().any(|u| {
            u.register().full_register() == Register::RBP
                && !matches!(u.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess)
        });
        if by_operand || writes {
            return None;
        }
    }
    set.then_some(lowest)
}
