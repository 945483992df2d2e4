//! Whether a function moves the thread that runs it to another stack.
//!
//! Compilers write the stack pointer from what was computed from it in the same function: a frame that grows and shrinks, an array of variable
//! length, a stack that is aligned, the caller's frame when an exception is caught. A switch of fibers takes it from elsewhere: an argument, or
//! memory that is no part of the frame. `lea` isn't looked at: cryptographic assembly ends frames with it in pieces of code that others jump to,
//! and no switch is known that is made so.

use std::collections::HashMap;

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

/// Whether the instruction gives the stack pointer another value than calls, `leave`, and frames of a constant size do.
#[must_use]
pub fn writes_stack(i: &Instruction) -> bool {
    let first = i.op_count() > 0 && i.op0_kind() == OpKind::Register && i.op0_register() == Register::RSP;
    let second = i.op_count() > 1 && i.op1_kind() == OpKind::Register && i.op1_register() == Register::RSP;
    match i.mnemonic() {
        Mnemonic::Mov => first && !(i.op1_kind() == OpKind::Register && i.op1_register() == Register::RBP),
        Mnemonic::Add => first && matches!(i.op1_kind(), OpKind::Register | OpKind::Memory),
        Mnemonic::Xchg => first || second,
        _ => false,
    }
}

/// Offsets in `code` at which an instruction that [`writes_stack`] may begin: a quick look at bytes that passes over none but those that write a
/// constant, which is no address of a stack. They are collected here, so that an unoptimised caller doesn't make the look slow.
#[must_use]
pub fn candidates(code: &[u8]) -> Vec<usize> {
    let may = |w: &[u8]| {
        let (rex, opcode, operands) = (w[0], w[1], w[2]);
        let (register, other) = ((operands >> 3) & 7, operands & 7);
        let plain = operands >> 6 == 3;
        // REX.W, and the stack pointer (4, without REX.R or REX.B) as what is written. From the frame pointer (5) is how frames end.
        let first = plain && other == 4 && rex & 0xf9 == 0x48;
        let second = register == 4 && rex & 0xfc == 0x48;
        match opcode {
            0x01 => first,
            0x03 => second,
            0x87 => first || second,
            0x89 => first && !(register == 5 && rex & 4 == 0),
            0x8b => second && !(plain && other == 5 && rex & 1 == 0),
            0x94 => rex & 0xf9 == 0x48,
            _ => false,
        }
    };
    // The shortest such instruction has two bytes.
    let last = code.len().checked_sub(2).map(|at| [code[at], code[at + 1], 0]);
    let tail = last.filter(|w| may(w)).map(|_| code.len() - 2);
    code.windows(3).enumerate().filter(|(_, w)| may(w)).map(|(at, _)| at).chain(tail).collect()
}

/// Whether the function whose instructions are `code` switches stacks.
#[must_use]
pub fn switches(code: &[Instruction]) -> bool {
    if !code.iter().any(writes_stack) {
        return false;
    }
    let stores = Stores::of(code);
    // Registers that hold an address in the frame somewhere in the function.
    let mut own: u16 = bit(Register::RSP) | bit(Register::RBP);
    loop {
        let more = code.iter().filter(|i| from_frame(i, own, &stores)).fold(own, |all, i| all | bit(i.op0_register()));
        if more == own {
            break;
        }
        own = more;
    }
    code.iter().enumerate().filter(|(_, i)| writes_stack(i)).any(|(at, i)| match i.mnemonic() {
        Mnemonic::Mov if i.op1_kind() == OpKind::Register => match written_before(&code[..at], i.op1_register()) {
            Some(writer) => !from_frame(writer, own, &stores),
            None => own & bit(i.op1_register()) == 0,
        },
        Mnemonic::Xchg if i.op0_kind() == OpKind::Register && i.op1_kind() == OpKind::Register => {
            let frame = bit(Register::RSP);
            own & !frame & (bit(i.op0_register()) | bit(i.op1_register())) == 0
        }
        Mnemonic::Mov => !stores.kept(i, own),
        _ => true,
    })
}

/// The instruction that gives a register the value that it has behind `code`, if that is a copy, a load or an address, and no jump can come in
/// between: a register may hold an address in the frame elsewhere.
fn written_before(code: &[Instruction], register: Register) -> Option<&Instruction> {
    let straight = code.iter().rev().take_while(|i| i.flow_control() == FlowControl::Next);
    let mut writes =
        straight.filter(|i| i.op_count() > 0 && i.op0_kind() == OpKind::Register && i.op0_register() == register);
    writes.next().filter(|i| matches!(i.mnemonic(), Mnemonic::Mov | Mnemonic::Lea))
}

fn on_frame(i: &Instruction) -> bool {
    matches!(i.memory_base(), Register::RSP | Register::RBP)
}

/// Whether the instruction computes a register from the frame's address, or reads it from the frame.
fn from_frame(i: &Instruction, own: u16, stores: &Stores) -> bool {
    if i.op_count() < 2 || i.op0_kind() != OpKind::Register {
        return false;
    }
    match (i.mnemonic(), i.op1_kind()) {
        (Mnemonic::Mov, OpKind::Register) => own & bit(i.op1_register()) != 0,
        (Mnemonic::Mov, OpKind::Memory) => stores.kept(i, own),
        (Mnemonic::Lea, _) => own & (bit(i.memory_base()) | bit(i.memory_index())) != 0,
        _ => false,
    }
}

/// Which registers a function puts into which places of its frame.
struct Stores(HashMap<(Register, Register, u64), u16>);

impl Stores {
    fn of(code: &[Instruction]) -> Stores {
        let mut all = HashMap::new();
        let puts = |i: &&Instruction| {
            i.mnemonic() == Mnemonic::Mov && i.op0_kind() == OpKind::Memory && i.op1_kind() == OpKind::Register
        };
        for i in code.iter().filter(puts).filter(|i| on_frame(i)) {
            *all.entry(place(i)).or_insert(0) |= bit(i.op1_register());
        }
        Stores(all)
    }

    /// Whether the instruction reads what the function itself has put into a place of its frame, an address in the frame.
    fn kept(&self, i: &Instruction, own: u16) -> bool {
        on_frame(i) && self.0.get(&place(i)).is_some_and(|registers| registers & own != 0)
    }
}

fn place(i: &Instruction) -> (Register, Register, u64) {
    (i.memory_base(), i.memory_index(), i.memory_displacement64())
}

fn bit(register: Register) -> u16 {
    if register.is_gpr64() { 1 << register.number() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions};

    fn judged(code: &[u8]) -> (bool, bool) {
        let all: Vec<Instruction> = Decoder::new(64, code, DecoderOptions::NONE).into_iter().collect();
        (!candidates(code).is_empty(), switches(&all))
    }

    #[test]
    fn switches_are_told_from_frames() {
        // mov [rdi], rsp; mov rsp, rsi; ret
        assert_eq!(judged(&[0x48, 0x89, 0x27, 0x48, 0x89, 0xf4, 0xc3]), (true, true));
        // mov rsp, [rdi]; ret
        assert_eq!(judged(&[0x48, 0x8b, 0x27, 0xc3]), (true, true));
        // xchg rsp, rax; mov rsp, r9; xchg rcx, rsp; add rsp, rdx
        assert_eq!(judged(&[0x48, 0x94]), (true, true));
        assert_eq!(judged(&[0x4c, 0x89, 0xcc]), (true, true));
        assert_eq!(judged(&[0x48, 0x87, 0xe1]), (true, true));
        assert_eq!(judged(&[0x48, 0x01, 0xd4]), (true, true));
        // mov rax, rsp; mov [rdi], rax; mov rax, [rsi]; mov rsp, rax; ret: one register for both stacks.
        let both = [0x48, 0x89, 0xe0, 0x48, 0x89, 0x07, 0x48, 0x8b, 0x06, 0x48, 0x89, 0xc4, 0xc3];
        assert_eq!(judged(&both), (true, true));
        // mov r12, rsp; mov rsp, r12: an array of variable length ends.
        assert_eq!(judged(&[0x49, 0x89, 0xe4, 0x4c, 0x89, 0xe4, 0xc3]), (true, false));
        // lea rcx, [rbp + rcx + 8]; mov rsp, rcx: an exception is caught.
        assert_eq!(judged(&[0x48, 0x8d, 0x4c, 0x0d, 0x08, 0x48, 0x89, 0xcc]), (true, false));
        // mov rsp, rbp; sub rsp, 64; mov rax, rsp; push r12; pop r12
        assert!(!judged(&[0x48, 0x89, 0xec, 0x48, 0x83, 0xec, 0x40]).1);
        assert_eq!(judged(&[0x41, 0x54, 0x41, 0x5c, 0xc3]), (false, false));
    }

    /// The quick look passes over nothing that the decoder finds.
    #[test]
    fn no_instruction_is_passed_over() {
        for rex in 0x40..0x50u8 {
            for opcode in [0x01, 0x03, 0x87, 0x89, 0x8b, 0x94] {
                for operands in 0..=255u8 {
                    let code = [rex, opcode, operands, 0x24, 0, 0, 0, 0];
                    let i = Decoder::new(64, &code, DecoderOptions::NONE).decode();
                    assert!(!writes_stack(&i) || candidates(&code).first() == Some(&0), "{i}: {code:02x?}");
                }
            }
        }
    }
}
