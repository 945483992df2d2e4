//! Whether code of an image moves the thread that runs it to another stack.
//!
//! Compilers write the stack pointer from what was computed from it in the same function: a frame that grows and shrinks, an array of variable
//! length, a stack that is aligned. A switch of fibers takes it from elsewhere: an argument, or memory that is no part of the frame. Users of
//! the C library's contexts are known by their imports, so the library itself doesn't count. `lea` isn't looked at: cryptographic assembly ends
//! frames with it in pieces of code that others jump to, and no switch is known that is made so.

use super::{Function, Lifted, decode};
use crate::image::Image;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// Whether a function of the image switches stacks by itself.
#[must_use]
pub fn switches_stacks(image: &Image, lifted: &Lifted) -> bool {
    let mut candidates = lifted.functions.iter().filter(|f| f.writes_stack);
    let is_libc = image.soname.as_ref().is_some_and(|name| name.starts_with("libc.so"));
    !is_libc && candidates.any(|f| switches(image, f))
}

/// Whether the instruction gives the stack pointer another value than calls, `leave`, and frames of a constant size do.
pub(super) fn writes_stack(i: &Instruction) -> bool {
    let first = i.op_count() > 0 && i.op0_kind() == OpKind::Register && i.op0_register() == Register::RSP;
    let second = i.op_count() > 1 && i.op1_kind() == OpKind::Register && i.op1_register() == Register::RSP;
    match i.mnemonic() {
        Mnemonic::Mov => first && !(i.op1_kind() == OpKind::Register && i.op1_register() == Register::RBP),
        Mnemonic::Add => first && matches!(i.op1_kind(), OpKind::Register | OpKind::Memory),
        Mnemonic::Xchg => first || second,
        _ => false,
    }
}

fn on_frame(i: &Instruction) -> bool {
    matches!(i.memory_base(), Register::RSP | Register::RBP)
}

fn switches(image: &Image, f: &Function) -> bool {
    let code: Vec<Instruction> = f
        .parts
        .iter()
        .filter_map(|&p| Some((p.start, image.bytes(p.start, p.size())?)))
        .flat_map(|(start, bytes)| decode::decoder(bytes, start).into_iter().collect::<Vec<_>>())
        .collect();
    // Registers that hold an address in the frame somewhere in the function.
    let mut own: u16 = bit(Register::RSP) | bit(Register::RBP);
    loop {
        let more = code.iter().filter(|i| from_frame(i, own, &code)).fold(own, |all, i| all | bit(i.op0_register()));
        if more == own {
            break;
        }
        own = more;
    }
    code.iter().filter(|i| writes_stack(i)).any(|i| match i.mnemonic() {
        Mnemonic::Mov if i.op1_kind() == OpKind::Register => own & bit(i.op1_register()) == 0,
        Mnemonic::Xchg if i.op0_kind() == OpKind::Register && i.op1_kind() == OpKind::Register => {
            let frame = bit(Register::RSP);
            own & !frame & (bit(i.op0_register()) | bit(i.op1_register())) == 0
        }
        Mnemonic::Mov => !kept(i, own, &code),
        _ => true,
    })
}

/// Whether the instruction computes a register from the frame's address, or reads it from the frame.
fn from_frame(i: &Instruction, own: u16, code: &[Instruction]) -> bool {
    if i.op_count() < 2 || i.op0_kind() != OpKind::Register {
        return false;
    }
    match (i.mnemonic(), i.op1_kind()) {
        (Mnemonic::Mov, OpKind::Register) => own & bit(i.op1_register()) != 0,
        (Mnemonic::Mov, OpKind::Memory) => kept(i, own, code),
        (Mnemonic::Lea, _) => own & (bit(i.memory_base()) | bit(i.memory_index())) != 0,
        _ => false,
    }
}

/// Whether the instruction reads what the function itself has put into a place of its frame, an address in the frame.
fn kept(i: &Instruction, own: u16, code: &[Instruction]) -> bool {
    let same = |s: &Instruction| {
        s.mnemonic() == Mnemonic::Mov
            && s.op0_kind() == OpKind::Memory
            && s.op1_kind() == OpKind::Register
            && own & bit(s.op1_register()) != 0
            && (s.memory_base(), s.memory_index()) == (i.memory_base(), i.memory_index())
            && s.memory_displacement64() == i.memory_displacement64()
    };
    on_frame(i) && code.iter().any(same)
}

fn bit(register: Register) -> u16 {
    if register.is_gpr64() { 1 << register.number() } else { 0 }
}
