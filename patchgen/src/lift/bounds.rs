//! Ends of lists that the linker knows: an address that is there to be compared with.

use super::resolve::Resolver;
use super::{Access, CodeRef, Data, Function, Slot, Target, Unprovable, instruction, ways};
use crate::addr::Svma;
use crate::image::Image;
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use std::collections::BTreeSet;

/// Where a list ends whose start the function takes, too, its end is meant, whatever object follows it; unless more is done with the address.
pub(super) fn list_ends(resolver: &Resolver<'_>, all: &[Data], f: &mut Function) {
    let object = |target: &Target| match *target {
        Target::Data { data, offset } => Some(all[data.index()].range.start.offset(offset)),
        _ => None,
    };
    let held = |r: &CodeRef| match &r.target {
        Target::Slot(Slot::Address(inner)) => Some((**inner).clone()),
        target => Some(target.clone()).filter(|_| r.access == Access::Derived),
    };
    let at = |a: Svma, target: &Target| match target {
        Target::Linker(name) => resolver.labels.get(&a) == Some(&&**name),
        target => object(target) == Some(a),
    };
    for n in 0..f.refs.len() {
        let here = held(&f.refs[n]).as_ref().and_then(object).and_then(|a| Some((a, resolver.list_end(a)?)));
        let Some((a, (end, start))) = here else { continue };
        if !f.refs.iter().filter_map(held).any(|target| at(start, &target)) {
            continue;
        }
        if f.refs[n].meant {
            continue;
        }
        if is_bound(resolver.image, f, &f.refs[n]) {
            let end = Target::Linker(end.into());
            let in_slot = matches!(f.refs[n].target, Target::Slot(_));
            f.refs[n].target = if in_slot { Target::Slot(Slot::Address(Box::new(end))) } else { end };
        } else {
            let at = f.parts[usize::from(f.refs[n].part)].start.plus(u64::from(f.refs[n].insn));
            f.unprovable.push(Unprovable {
                number: false,
                code: 211,
                at,
                what: format!("refers to {a}, where `{end}` is and an object begins"),
            });
        }
    }
}

/// Whether the function does nothing with the address that the reference gives but compare it, or take its distance from another: where a list
/// ends, there is nothing to read.
fn is_bound(image: &Image, f: &Function, reference: &CodeRef) -> bool {
    let Some(at) = f.index((reference.part, reference.insn)) else { return false };
    let Some(first) = instruction(image, f, &f.insns[at]) else { return false };
    if !matches!(first.mnemonic(), Mnemonic::Lea | Mnemonic::Mov) {
        return matches!(first.mnemonic(), Mnemonic::Cmp | Mnemonic::Sub);
    }
    if first.op0_kind() != OpKind::Register {
        return false;
    }
    let mut factory = InstructionInfoFactory::new();
    let mut seen = BTreeSet::new();
    // With the registers that have it, and whether it has been compared: what is left in a register behind that is no argument.
    let from = bit(first.op0_register());
    let mut todo: Vec<(usize, u32, bool)> = ways(image, f, at).0.into_iter().map(|n| (n, from, false)).collect();
    let mut ever = false;
    while let Some((n, held, compared)) = todo.pop() {
        if !seen.insert((n, held, compared)) {
            continue;
        }
        let Some(i) = instruction(image, f, &f.insns[n]) else { return false };
        let (next, leaves) = ways(image, f, n);
        let calls = matches!(i.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        if !compared && (calls && held & ARGUMENTS != 0 || leaves && held & (ARGUMENTS | bit(Register::RAX)) != 0) {
            return false;
        }
        let (mut reads, mut writes) = (0, 0);
        for used in factory.info(&i).used_registers() {
            let register = bit(used.register());
            match used.access() {
                OpAccess::Read | OpAccess::CondRead => reads |= register,
                OpAccess::Write | OpAccess::CondWrite => writes |= register,
                OpAccess::NoMemAccess => {}
                OpAccess::ReadWrite | OpAccess::ReadCondWrite | OpAccess::None => {
                    reads |= register;
                    writes |= register;
                }
            }
        }
        let (here, copied) = (compares(&i, held), copies(&i, held));
        if reads & held != 0 && !here && copied == 0 && !i.is_stack_instruction() {
            return false;
        }
        ever |= here;
        let lost = if calls { ARGUMENTS | LOST } else { 0 };
        let kept = held & !(writes | lost) | copied;
        if kept != 0 {
            todo.extend(next.into_iter().map(|n| (n, kept, compared || here)));
        }
    }
    ever
}

/// 0 for what isn't a general register.
fn bit(r: Register) -> u32 {
    let full = r.full_register();
    if full.is_gpr64() { 1 << full.number() } else { 0 }
}

/// A comparison or a distance, with the register itself.
fn compares(i: &Instruction, held: u32) -> bool {
    let itself = |n: u32| i.op_kind(n) == OpKind::Register && bit(i.op_register(n)) & held != 0;
    matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Sub)
        && (itself(0) != itself(1))
        && (bit(i.memory_base()) | bit(i.memory_index())) & held == 0
}

/// The register that has it, too, behind the instruction.
fn copies(i: &Instruction, held: u32) -> u32 {
    let moves = i.mnemonic() == Mnemonic::Mov && i.op0_kind() == OpKind::Register && i.op1_kind() == OpKind::Register;
    if moves && i.op0_register().is_gpr64() && bit(i.op1_register()) & held != 0 { bit(i.op0_register()) } else { 0 }
}

/// rdi, rsi, rdx, rcx, r8, r9 (psABI, 3.2.3).
const ARGUMENTS: u32 = 1 << 7 | 1 << 6 | 1 << 2 | 1 << 1 | 1 << 8 | 1 << 9;
/// What calls don't keep besides: rax, r10, r11.
const LOST: u32 = 1 | 1 << 10 | 1 << 11;
