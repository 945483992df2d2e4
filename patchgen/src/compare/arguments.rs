//! Numbers that an instruction puts into a register for the next call's argument.

use super::code::Body;
use crate::correlate::Side;
use crate::lift::{CodeRef, Function, Insn, Target};
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

/// Instructions between an argument's own and the call that takes it, and before it those of the call's other arguments.
pub(super) const MAX_ARGUMENTS: usize = 16;

/// Registers that pass integer arguments (psABI, 3.2.3).
pub(super) const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// What is called with the reference's number as an argument and nothing else done with it before, and which of the registers holds it.
pub fn taken_by<'a>(side: Side<'a>, f: &'a Function, reference: &CodeRef) -> Option<(&'a Target, usize)> {
    let body = Body::new(f, side);
    let here = (reference.part, reference.insn);
    let insn = &f.insns[f.index(here)?];
    let i = body.decode(insn);
    let puts = i.mnemonic() == Mnemonic::Mov && i.op0_kind() == OpKind::Register && i.op1_kind() == OpKind::Immediate32;
    let register = i.op0_register().full_register();
    let position = ARGUMENTS.iter().position(|&r| r == register).filter(|_| puts)?;
    let call = *until_call(&body, insn, register)?.last()?;
    let [callee] = body.refs(call) else { return None };
    Some((&callee.target, position))
}

/// The instructions behind one that fills `register`, up to the call that takes it; None where anything else may become of it.
pub(super) fn until_call<'a>(body: &Body<'a>, insn: &Insn, register: Register) -> Option<Vec<&'a Insn>> {
    let insns = &body.f.insns;
    let (mut at, mut part) = (body.f.index((insn.part, insn.offset))? + 1, insn.part);
    let mut factory = InstructionInfoFactory::new();
    let mut found = Vec::new();
    while found.len() < MAX_ARGUMENTS {
        let next = insns.get(at).filter(|n| n.part == part)?;
        found.push(next);
        let i = body.decode(next);
        at = match (i.flow_control(), next.local()) {
            (FlowControl::Call | FlowControl::IndirectCall, None) => return Some(found),
            (FlowControl::UnconditionalBranch, Some(place)) => {
                part = place.0;
                body.f.index(place)?
            }
            (FlowControl::UnconditionalBranch, None) => {
                return body.refs(next).iter().any(|r| r.branch).then_some(found);
            }
            (FlowControl::Next, _) if !touches(&mut factory, &i, register) => at + 1,
            _ => return None,
        };
    }
    None
}

/// Whether an instruction reads or writes the register, or a part of it.
fn touches(factory: &mut InstructionInfoFactory, i: &Instruction, register: Register) -> bool {
    let used = factory.info(i).used_registers();
    used.iter().any(|used| used.register().full_register() == register.full_register())
}
