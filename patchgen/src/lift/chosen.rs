//! Numbers of which one is an address because another is: both are values of one conditional expression.

use super::indexed;
use super::{CodeRef, DataKind, Field, Function, Target};
use crate::image::Image;
use iced_x86::{ConditionCode, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

/// Instructions between a number and its use.
const NEAR: usize = 24;

/// Whether a conditional move of eight bytes takes either the tail of a text that the reference's number would be, or what is known to be an
/// address: an expression has one type (C11, 6.5.15).
pub(super) fn is_chosen(
    image: &Image,
    f: &Function,
    reference: &CodeRef,
    text: impl Fn(&Target) -> Option<DataKind>,
) -> bool {
    if !reference.likely || reference.field != Field::Abs32 || text(&reference.target) != Some(DataKind::String) {
        return false;
    }
    let Some(at) = f.index((reference.part, reference.insn)) else { return false };
    let walk = Row { image, f, part: reference.part };
    let Some(register) = walk.number(at) else { return false };
    for n in at + 1..=at + NEAR {
        let Some(i) = walk.instruction(n).filter(runs_on) else { return false };
        let [to, from] = [i.op0_register(), i.op1_register()].map(|r| r.full_register());
        let moves = i.condition_code() != ConditionCode::None
            && i.op1_kind() == OpKind::Register
            && i.op0_register().is_gpr64();
        if moves && (to == register || from == register) {
            let other = if to == register { from } else { to };
            return walk.is_address(n, other);
        }
        if writes(&i, register) {
            return false;
        }
    }
    false
}

/// One part of a function, in the order of its addresses.
struct Row<'a> {
    image: &'a Image,
    f: &'a Function,
    part: u8,
}

impl Row<'_> {
    fn instruction(&self, n: usize) -> Option<Instruction> {
        let insn = self.f.insns.get(n).filter(|i| i.part == self.part)?;
        indexed::instruction(self.image, self.f, insn)
    }

    /// The whole register that the instruction puts a number into.
    fn number(&self, n: usize) -> Option<Register> {
        let i = self.instruction(n)?;
        let moves = i.mnemonic() == Mnemonic::Mov && i.op0_register().is_gpr32() && i.op1_kind() == OpKind::Immediate32;
        moves.then(|| i.op0_register().full_register())
    }

    /// Whether the last instruction before `at` that writes the register puts a known address there.
    fn is_address(&self, at: usize, register: Register) -> bool {
        for n in (at.saturating_sub(NEAR)..at).rev() {
            let Some(i) = self.instruction(n).filter(runs_on) else { return false };
            if writes(&i, register) {
                let insn = &self.f.insns[n];
                let refs = self.f.refs.get(insn.refs());
                return self.number(n).is_some() && refs.is_some_and(|r| r.first().is_some_and(|r| r.certain));
            }
        }
        false
    }
}

/// Behind it comes the next one, with the registers that this one leaves.
fn runs_on(i: &Instruction) -> bool {
    matches!(i.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch)
}

fn writes(i: &Instruction, register: Register) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let written =
        |a: OpAccess| !matches!(a, OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
    factory.info(i).used_registers().iter().any(|u| u.register().full_register() == register && written(u.access()))
}
