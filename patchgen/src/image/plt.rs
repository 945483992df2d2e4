//! PLT stubs: which slot each jumps through.

use super::{DynReloc, PltStub, Section, SectionKind};
use crate::addr::{Svma, SvmaRange};
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use std::collections::BTreeMap;

/// Stubs of all PLT sections, ascending. The shapes of bfd, gold, lld and mold differ, but each stub either loads or jumps through its
/// slot, or (lazy stub of an IBT executable) pushes the index of its relocation.
pub(super) fn read<'a>(
    sections: &[Section],
    bytes: impl Fn(&Section) -> Option<&'a [u8]>,
    relocs: &BTreeMap<Svma, DynReloc>,
    plt_slots: &[Svma],
) -> Vec<PltStub> {
    let mut out = Vec::new();
    for s in sections.iter().filter(|s| s.kind == SectionKind::Plt) {
        if let Some(code) = bytes(s) {
            section(s, code, relocs, plt_slots, &mut out);
        }
    }
    out.sort_by_key(|s| s.range);
    out
}

fn section(s: &Section, code: &[u8], relocs: &BTreeMap<Svma, DynReloc>, plt_slots: &[Svma], out: &mut Vec<PltStub>) {
    let mut decoder = Decoder::with_ip(64, code, s.range.start.0, DecoderOptions::NONE);
    let mut insn = Instruction::default();
    let mut current: Option<(Svma, Option<Svma>)> = None;
    // After an unconditional jump, the next 8-aligned instruction that isn't filler starts a stub.
    let mut ended = true;
    let mut close = |stub: Option<(Svma, Option<Svma>)>, end: Svma| {
        if let Some((start, Some(slot))) = stub {
            out.push(PltStub { range: SvmaRange { start, end }, slot });
        }
    };
    while decoder.can_decode() {
        decoder.decode_out(&mut insn);
        let at = Svma(insn.ip());
        let filler = matches!(insn.mnemonic(), Mnemonic::Nop | Mnemonic::Int3);
        if ended && !filler && at.0.is_multiple_of(8) {
            close(current.take(), at);
            current = Some((at, None));
            ended = false;
        }
        let memory = insn.op_count() > 0 && (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory);
        let slot = (memory && insn.is_ip_rel_memory_operand()).then(|| Svma(insn.ip_rel_memory_address()));
        let through = match insn.mnemonic() {
            Mnemonic::Jmp => slot.filter(|s| relocs.contains_key(s)),
            // The retpoline shape loads the slot into r11 first.
            Mnemonic::Mov if insn.op0_kind() == OpKind::Register && insn.op0_register() == Register::R11 => {
                slot.filter(|s| relocs.contains_key(s))
            }
            Mnemonic::Push if matches!(insn.code(), Code::Pushq_imm32 | Code::Pushq_imm8) => {
                usize::try_from(insn.immediate(0)).ok().and_then(|i| plt_slots.get(i)).copied()
            }
            _ => None,
        };
        if let Some((_, known)) = &mut current {
            *known = known.or(through);
        }
        ended |= insn.mnemonic() == Mnemonic::Jmp || insn.is_invalid();
    }
    close(current, s.range.end);
}
