//! Constants that may hold distances between the labels of a function: they are numbers of one layout of its code.

use super::Analysis;
use crate::addr::{DataId, FuncId};
use crate::compare::DataDiff;
use crate::image::{Image, SectionKind};
use crate::lift::{Function, Insn, instruction};
use iced_x86::{FlowControl, Instruction};
use std::collections::BTreeSet;

/// The functions (old, new) that read a changed one, jump to what they compute, and whose code lies otherwise than in the old build: the new numbers
/// would lead the old code astray.
pub(super) fn readers(analysis: Analysis<'_>) -> Vec<(FuncId, FuncId)> {
    let numbers = |id: DataId| {
        let datum = &analysis.new.data[id.index()];
        datum.refs.is_empty() && matches!(datum.section, SectionKind::Rodata | SectionKind::Relro)
    };
    let changed = analysis.changes.data_changed.iter().filter(|c| matches!(c.diff, DataDiff::Content));
    let tables: BTreeSet<DataId> = changed.map(|c| c.new).filter(|&id| numbers(id)).collect();
    if tables.is_empty() {
        return Vec::new();
    }
    let reads = |f: &Function| f.refs.iter().filter_map(|r| r.target.data()).any(|id| tables.contains(&id));
    let functions = analysis.new.functions.iter().zip(&analysis.pairs.func_to_old).enumerate();
    let paired = functions.filter_map(|(i, (f, pair))| Some((pair.as_ref()?.old, FuncId::from(i), f)));
    let astray = |&(old, _, f): &(FuncId, FuncId, &Function)| {
        reads(f) && !lies_alike(&analysis.old.functions[old.index()], f) && jumps(analysis.new_image, f)
    };
    paired.filter(astray).map(|(old, new, _)| (old, new)).collect()
}

/// Whether their instructions lie at the same distances.
fn lies_alike(old: &Function, new: &Function) -> bool {
    let places = |f: &Function| f.insns.iter().filter(|i| !i.is_nop()).map(|i| (i.part, i.offset)).collect::<Vec<_>>();
    places(old) == places(new)
}

/// Whether it has a jump to where a register says.
fn jumps(image: &Image, f: &Function) -> bool {
    let leads = |i: &Insn| {
        let jump = |i: &Instruction| i.flow_control() == FlowControl::IndirectBranch && !i.is_ip_rel_memory_operand();
        instruction(image, f, i).as_ref().is_some_and(jump)
    };
    f.insns.iter().any(leads)
}
