//! What becomes of a number that code puts into a register, where it may be an offset from the thread pointer.

use super::decode::is_filler;
use super::indexed::{bit, copies, is_conditional, on_stack, writes};
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};
use std::collections::HashMap;

/// Instructions that are looked at for one number.
const FAR: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// It meets the thread pointer on some path.
    Offset,
    /// On none.
    Number,
    /// It is kept where it isn't followed.
    Unclear,
}

/// `pointer`: before each instruction, the registers that hold the thread pointer. `ever`: those that may anywhere.
pub(super) fn meaning(code: &[Instruction], from: usize, pointer: impl Fn(usize) -> u16, ever: u16) -> Meaning {
    let mut factory = InstructionInfoFactory::new();
    let mut held: HashMap<usize, u16> = HashMap::new();
    let mut open = vec![(from + 1, bit(code[from].op0_register()))];
    let mut unclear = false;
    for _ in 0..FAR {
        let Some((n, holds)) = open.pop() else {
            return if unclear { Meaning::Unclear } else { Meaning::Number };
        };
        let known = held.entry(n).or_default();
        if holds & !*known == 0 {
            continue;
        }
        *known |= holds;
        let holds = *known;
        let Some(i) = code.get(n) else {
            unclear = true;
            continue;
        };
        if is_filler(i) {
            open.push((n + 1, holds));
            continue;
        }
        if meets(i, holds, pointer(n)) {
            return Meaning::Offset;
        }
        let from_memory = i.mnemonic() == Mnemonic::Add && i.op1_kind() == OpKind::Memory;
        unclear |= hides(i, holds) || meets(i, holds, ever) || from_memory && holds & bit(i.op0_register()) != 0;
        let after = after(i, holds, &mut factory);
        let target = || code.binary_search_by_key(&i.near_branch_target(), Instruction::ip);
        match i.flow_control() {
            FlowControl::Return | FlowControl::Exception => {}
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
                if i.op0_kind() == OpKind::NearBranch64 =>
            {
                match target() {
                    Ok(to) => open.push((to, after)),
                    Err(_) => unclear = true,
                }
                if i.flow_control() == FlowControl::ConditionalBranch {
                    open.push((n + 1, after));
                }
            }
            FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => unclear = true,
            _ => open.push((n + 1, after)),
        }
    }
    Meaning::Unclear
}

/// Registers that anywhere hold the thread pointer, or it and something added; all where it is kept where it isn't followed.
pub(super) fn pointers(code: &[Instruction], loads: impl Fn(&Instruction) -> bool) -> u16 {
    let mut factory = InstructionInfoFactory::new();
    let loaded = code.iter().filter(|i| loads(i)).fold(0, |m, i| m | bit(i.op0_register()));
    let mut all = loaded;
    loop {
        let before = all;
        for i in code.iter().filter(|i| !is_filler(i)) {
            // What is pushed is saved, or an argument.
            if i.mnemonic() != Mnemonic::Push && hides(i, all) {
                return u16::MAX;
            }
            all |= after(i, all, &mut factory);
        }
        if all == before {
            return all;
        }
    }
}

/// Adds the two, or uses the sum.
fn meets(i: &Instruction, holds: u16, pointer: u16) -> bool {
    let registers = bit(i.memory_base()) | bit(i.memory_index());
    let memory = i.op_kinds().any(|k| k == OpKind::Memory);
    let of_thread = memory && i.segment_prefix() == Register::FS;
    // One that is negative is the offset itself, and the register an index.
    let distance = i.memory_displacement64().cast_signed();
    let sum = i.mnemonic() == Mnemonic::Add && i.op0_kind() == OpKind::Register;
    let second = if sum && i.op1_kind() == OpKind::Register { bit(i.op1_register()) } else { 0 };
    let first = if sum { bit(i.op0_register()) } else { 0 };
    of_thread && (registers & holds != 0 && distance >= 0 || first & holds != 0 && registers == 0 && distance == 0)
        || memory && registers & holds != 0 && registers & pointer != 0 && distance >= 0
        || first & holds != 0 && second & pointer != 0
        || first & pointer != 0 && second & holds != 0
}

/// Puts it where it isn't followed and may come back from.
fn hides(i: &Instruction, holds: u16) -> bool {
    let held = |n: u32| i.op_kind(n) == OpKind::Register && holds & bit(i.op_register(n)) != 0;
    match i.mnemonic() {
        Mnemonic::Push => held(0),
        Mnemonic::Xchg | Mnemonic::Xadd => held(0) || held(1),
        Mnemonic::Mov if i.op0_kind() == OpKind::Memory => on_stack(i) && held(1),
        _ => {
            let vector = i.op_count() > 1 && i.op0_kind() == OpKind::Register && i.op0_register().is_vector_register();
            vector && (1..i.op_count()).any(held)
        }
    }
}

/// The registers that hold it, or it and something added, behind the instruction.
fn after(i: &Instruction, holds: u16, factory: &mut InstructionInfoFactory) -> u16 {
    if matches!(i.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
        // Whether a callee leaves the others alone, its caller may know (GCC's `-fipa-ra`).
        return holds & !(bit(Register::RAX) | bit(Register::RDX));
    }
    let kept = if is_conditional(i) { holds } else { holds & !writes(i, factory) };
    if i.op_count() == 0 || i.op0_kind() != OpKind::Register || !i.op0_register().is_gpr64() {
        return kept;
    }
    let to = bit(i.op0_register());
    let source = |n: u32| i.op_count() > n && i.op_kind(n) == OpKind::Register && holds & bit(i.op_register(n)) != 0;
    let stays = match i.mnemonic() {
        Mnemonic::Lea => holds & (bit(i.memory_base()) | bit(i.memory_index())) != 0,
        Mnemonic::Add => source(0) || source(1),
        Mnemonic::Sub => source(0),
        Mnemonic::Inc | Mnemonic::Dec => source(0),
        _ => copies(i) && source(1),
    };
    if stays { kept | to } else { kept }
}
