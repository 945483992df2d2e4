//! Whether code computes with an address or only uses it as it is.
//!
//! A constant part of an index can be folded into an address: then the address is computed with, and what lies there means nothing. An
//! address that only goes to a call, into memory or is accessed as it stands is that of the object there (C11, 6.5.6: a pointer
//! outside of its array isn't even formed by the program, only by the compiler for its own use).

use super::decode;
use super::tls::CALLER_SAVED;
use super::{CodeRef, Field, Function, Insn};
use crate::image::Image;
use iced_x86::{
    FlowControl, Instruction, InstructionInfoFactory, InstructionInfoOptions, Mnemonic, OpAccess, OpKind, Register,
};

/// Instructions that are looked at.
const FAR: usize = 48;

/// Whether the address in a reference may be one that the code adds something to. True where that isn't seen.
pub(super) fn is_indexed(image: &Image, f: &Function, reference: &CodeRef) -> bool {
    let Ok(at) = f.insns.binary_search_by_key(&(reference.part, reference.insn), |i| (i.part, i.offset)) else {
        return true;
    };
    let Some(first) = instruction(image, f, &f.insns[at]) else { return true };
    let by_register = first.memory_base() != Register::None || first.memory_index() != Register::None;
    if reference.field == Field::Abs32S && by_register && first.op_kinds().any(|k| k == OpKind::Memory) {
        return true;
    }
    match first.mnemonic() {
        Mnemonic::Lea => {}
        Mnemonic::Mov if first.op0_kind() == OpKind::Register => {}
        // Stored or passed as it is.
        Mnemonic::Mov => return on_stack(&first),
        Mnemonic::Push => return false,
        _ => return true,
    }
    let mut holders = vec![first.op0_register().full_register()];
    let mut factory = InstructionInfoFactory::new();
    let mut next = at + 1;
    for _ in 0..FAR {
        let Some(insn) = f.insns.get(next) else { return true };
        next += 1;
        if insn.nop {
            continue;
        }
        if insn.part != reference.part {
            return true;
        }
        let Some(i) = instruction(image, f, insn) else { return true };
        if computes(&i, &mut factory, &holders) {
            return true;
        }
        match (i.flow_control(), insn.local) {
            (FlowControl::Next, _) => {}
            (FlowControl::Call | FlowControl::IndirectCall, _) => holders.retain(|r| !CALLER_SAVED.contains(r)),
            (FlowControl::Return | FlowControl::Exception, _) | (FlowControl::UnconditionalBranch, None) => {
                return false;
            }
            (FlowControl::UnconditionalBranch, Some(place)) => {
                match f.insns.binary_search_by_key(&place, |i| (i.part, i.offset)) {
                    Ok(there) if place.0 == reference.part => next = there,
                    _ => return true,
                }
            }
            _ => return true,
        }
        overwrite(&i, &mut factory, &mut holders);
        if holders.is_empty() {
            return false;
        }
    }
    true
}

fn instruction(image: &Image, f: &Function, insn: &Insn) -> Option<Instruction> {
    let at = f.parts[usize::from(insn.part)].start.plus(u64::from(insn.offset));
    let bytes = image.bytes(at, u64::from(insn.len))?;
    Some(decode::decoder(bytes, at).decode())
}

/// A slot of the frame may be where a compiler keeps what it computes with.
fn on_stack(i: &Instruction) -> bool {
    matches!(i.memory_base().full_register(), Register::RSP | Register::RBP)
}

/// Whether the instruction does more with a holder than to read or write where it points, to copy it, or to store it.
fn computes(i: &Instruction, factory: &mut InstructionInfoFactory, holders: &[Register]) -> bool {
    let holds = |r: Register| holders.contains(&r.full_register());
    let (base, index) = (i.memory_base(), i.memory_index());
    let memory = i.op_kinds().any(|k| k == OpKind::Memory);
    if memory && (holds(index) || holds(base) && (index != Register::None || i.mnemonic() == Mnemonic::Lea)) {
        return true;
    }
    let operands = (0..i.op_count()).filter(|&n| i.op_kind(n) == OpKind::Register && holds(i.op_register(n)));
    for n in operands {
        let access = factory.info(i).op_access(n);
        if access == OpAccess::Write && i.op_register(n).size() >= 4 {
            continue;
        }
        let copied = i.mnemonic() == Mnemonic::Mov && n == 1 && i.op_register(n).size() == 8;
        let stored = copied && i.op0_kind() == OpKind::Memory && !on_stack(i);
        let moved = copied && i.op0_kind() == OpKind::Register;
        let called = matches!(i.flow_control(), FlowControl::IndirectCall | FlowControl::IndirectBranch);
        if !stored && !moved && !called {
            return true;
        }
    }
    // What it reads without saying so (`rep movs`): as pointers that move on, but not past where they point.
    false
}

/// Follows copies, and forgets what gets another value.
fn overwrite(i: &Instruction, factory: &mut InstructionInfoFactory, holders: &mut Vec<Register>) {
    let copy = i.mnemonic() == Mnemonic::Mov
        && i.op0_kind() == OpKind::Register
        && i.op1_kind() == OpKind::Register
        && holders.contains(&i.op1_register().full_register());
    let to = i.op0_register().full_register();
    let info = factory.info_options(i, InstructionInfoOptions::NO_MEMORY_USAGE);
    let writes = |a: OpAccess| matches!(a, OpAccess::Write | OpAccess::ReadWrite);
    for used in info.used_registers().iter().filter(|u| writes(u.access())) {
        holders.retain(|r| *r != used.register().full_register());
    }
    if copy && !holders.contains(&to) {
        holders.push(to);
    }
}
