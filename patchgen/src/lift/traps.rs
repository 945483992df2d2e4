//! Breakpoint instructions that code runs into: where none does they are filler.

use super::{Function, Insn, InsnKind};
use crate::image::Image;
use iced_x86::{Code, FlowControl};
use std::collections::HashSet;

/// `int3`.
const BREAKPOINT: u8 = 0xcc;

/// Makes instructions of those that the one in front runs on to, or that something leads to.
pub(super) fn keep(image: &Image, f: &mut Function) {
    let at = |f: &Function, i: &Insn| f.parts[usize::from(i.part)].start.plus(u64::from(i.offset));
    let traps = |f: &Function, i: &Insn| i.is_nop() && image.bytes(at(f, i), 1) == Some(&[BREAKPOINT]);
    if !f.insns.iter().any(|i| i.len == 1 && traps(f, i)) {
        return;
    }
    let mut led: HashSet<(u8, u32)> = f.insns.iter().filter_map(Insn::local).collect();
    led.extend(f.tables.iter().flat_map(|t| &t.entries));
    let mut before: Option<(u8, bool)> = None;
    for n in 0..f.insns.len() {
        let i = f.insns[n];
        let runs_on = before.is_none_or(|(part, on)| on || part != i.part);
        let reached = runs_on || led.contains(&(i.part, i.offset));
        if reached && i.len == 1 && traps(f, &i) {
            f.insns[n].kind = InsnKind::Plain;
        }
        let on = if i.is_nop() { reached } else { goes_on(image, f, &i) };
        before = Some((i.part, on));
    }
}

fn goes_on(image: &Image, f: &Function, i: &Insn) -> bool {
    let decoded = super::indexed::instruction(image, f, i);
    decoded.is_none_or(|i| {
        let ends = matches!(
            i.flow_control(),
            FlowControl::UnconditionalBranch
                | FlowControl::IndirectBranch
                | FlowControl::Return
                | FlowControl::Exception
        );
        !ends && i.code() != Code::Hlt
    })
}
