//! What an address is for: to be compared with.

use super::{CodeRef, Function, instruction, ways};
use crate::image::Image;
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use std::collections::BTreeSet;

/// Whether the function does nothing with the address that the reference gives but compare it, or take its distance from another: where a list
/// ends, there is nothing to read.
pub(super) fn is_bound(image: &Image, f: &Function, reference: &CodeRef) -> bool {
    let Some(at) = f.index((reference.part, reference.insn)) else { return false };
    let Some(first) = instruction(image, f, &f.insns[at]) else { return false };
    if !matches!(first.mnemonic(), Mnemonic::Lea | Mnemonic::Mov) {
        return matches!(first.mnemonic(), Mnemonic::Cmp | Mnemonic::Sub);
    }
    if first.op0_kind() != OpKind::Register {
        return false;
    }
    let held = first.op0_register().full_register();
    let mut factory = InstructionInfoFactory::new();
    let mut seen = BTreeSet::new();
    // With whether it has been compared: what is left in a register behind that is no argument.
    let mut todo: Vec<(usize, bool)> = ways(image, f, at).0.into_iter().map(|n| (n, false)).collect();
    let mut ever = false;
    while let Some((n, compared)) = todo.pop() {
        if !seen.insert((n, compared)) {
            continue;
        }
        let Some(i) = instruction(image, f, &f.insns[n]) else { return false };
        let (next, leaves) = ways(image, f, n);
        let calls = matches!(i.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        if (calls || leaves) && !compared && (is_argument(held) || leaves && held == Register::RAX) {
            return false;
        }
        let info = factory.info(&i);
        let mut reads = false;
        let mut writes = false;
        for used in info.used_registers().iter().filter(|u| u.register().full_register() == held) {
            reads |= !matches!(used.access(), OpAccess::Write | OpAccess::CondWrite | OpAccess::NoMemAccess);
            writes |= !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
        }
        let here = compares(&i, held);
        if reads && !here && !i.is_stack_instruction() {
            return false;
        }
        ever |= here;
        if !writes && !(calls && is_lost(held)) {
            todo.extend(next.into_iter().map(|n| (n, compared || here)));
        }
    }
    ever
}

/// A comparison or a distance, with the register itself.
fn compares(i: &Instruction, held: Register) -> bool {
    let itself = |n: u32| i.op_kind(n) == OpKind::Register && i.op_register(n).full_register() == held;
    let leads = |r: Register| r.full_register() == held;
    matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Sub)
        && (itself(0) != itself(1))
        && !leads(i.memory_base())
        && !leads(i.memory_index())
}

/// psABI, 3.2.3.
fn is_argument(r: Register) -> bool {
    matches!(r, Register::RDI | Register::RSI | Register::RDX | Register::RCX | Register::R8 | Register::R9)
}

fn is_lost(r: Register) -> bool {
    is_argument(r) || matches!(r, Register::RAX | Register::R10 | Register::R11)
}
