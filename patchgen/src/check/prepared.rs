//! New variables that start-up code sets and other code reads: `main` of a live process has called the old start-up code already, and comes never
//! again to the new one.

use super::instances::Calls;
use super::paths::Paths;
use super::{Context, Findings};
use crate::addr::{DataId, FuncId};
use crate::diag::Severity;
use crate::image::SectionKind;
use crate::lift::{Access, DataKind, Target, displaced};
use crate::migrate::{ARGUMENTS, CALLER_SAVED, RAX, Regs, bit, reads, through, writes};
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind};
use patchfmt::codes;
use std::collections::{BTreeMap, BTreeSet};

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let exported = |id: DataId| a.new.data[id.index()].names.iter().any(|&s| a.new_image.symbol(s).exported);
    let fresh = |id: &DataId| {
        let datum = &a.new.data[id.index()];
        let state = matches!(datum.section, SectionKind::Data | SectionKind::Bss) && datum.kind == DataKind::Named;
        state && a.pairs.data_to_old[id.index()].is_none() && !exported(*id)
    };
    let mut candidates: BTreeSet<DataId> = context.set.data.iter().copied().filter(fresh).collect();
    if candidates.is_empty() {
        return;
    }
    // What data point to, anybody may set.
    for reference in a.new.data.iter().flat_map(|d| d.refs.iter().chain(&d.ambiguous)) {
        reference.target.data().map(|id| candidates.remove(&id));
    }
    let mut users: BTreeMap<DataId, BTreeSet<FuncId>> = BTreeMap::new();
    for &func in context.set.functions.keys() {
        for id in a.new.functions[func.index()].refs.iter().filter_map(|r| r.target.data()) {
            if candidates.contains(&id) {
                users.entry(id).or_default().insert(func);
            }
        }
    }
    // A writer and a reader.
    users.retain(|_, users| users.len() > 1);
    if users.is_empty() {
        return;
    }
    let calls = Calls::of(a.new_image, a.new);
    let mut paths = Paths::of(a.new_image, a.new, &calls);
    for (id, users) in users {
        let (early, late): (Vec<FuncId>, Vec<FuncId>) = users.into_iter().partition(|&f| paths.runs_once(f));
        if early.is_empty() || late.is_empty() {
            continue;
        }
        let datum = &a.new.data[id.index()];
        let zero = a.new_image.bytes(datum.range.start, datum.range.size()).is_none_or(|b| b.iter().all(|&b| b == 0));
        let mut uses = |funcs: Vec<FuncId>| -> Vec<(FuncId, Use)> {
            funcs.into_iter().map(|f| (f, Use::of(&mut paths, f, id))).collect()
        };
        let (early, late) = (uses(early), uses(late));
        if late.iter().any(|(_, u)| u.given) {
            continue;
        }
        let sets = |u: &Use, bytes: &Bytes| u.given && zero || u.written.iter().any(|w| meet(w, bytes));
        let set_later = |bytes: &Bytes| late.iter().any(|(_, u)| u.written.iter().any(|w| meet(w, bytes)));
        let reads = late.iter().flat_map(|(f, u)| u.read.iter().map(move |bytes| (f, bytes)));
        let writer = |bytes: &Bytes| early.iter().find(|(_, u)| sets(u, bytes)).map(|(f, _)| f);
        let found = reads.filter(|(_, bytes)| !set_later(bytes)).find_map(|(f, bytes)| Some((f, writer(bytes)?)));
        if let Some((reader, writer)) = found {
            let name = |f: &FuncId| &a.new.functions[f.index()].name;
            let message = format!(
                "`{}` is new, `{}` reads it, and only `{}` sets it, which a live process has left behind at its start",
                datum.name,
                name(reader),
                name(writer)
            );
            findings.add(Severity::Start, codes::INIT_ARRAY, &datum.name, message);
        }
    }
}

/// Bytes of a variable, from its start.
type Bytes = std::ops::Range<i64>;

fn meet(a: &Bytes, b: &Bytes) -> bool {
    a.start < b.end && b.start < a.end
}

/// What a function does with a variable.
#[derive(Clone, Default, Debug)]
struct Use {
    read: Vec<Bytes>,
    written: Vec<Bytes>,
    /// Its address goes to where it isn't followed.
    given: bool,
}

impl Use {
    fn of(paths: &mut Paths<'_>, func: FuncId, variable: DataId) -> Use {
        let mut factory = InstructionInfoFactory::new();
        let mut found = Use::default();
        let function = paths.function(func);
        let whole = 0..paths.lifted.data[variable.index()].range.size().cast_signed();
        // Behind an instruction: registers that may hold an address in it, and those of them through which nothing was read yet.
        let mut states: BTreeMap<usize, (Regs, Regs)> = BTreeMap::new();
        let mut todo = Vec::new();
        for reference in function.refs.iter().filter(|r| !r.branch && r.target.data() == Some(variable)) {
            let at = function.index((reference.part, reference.insn));
            let Some((at, i)) = at.and_then(|at| Some((at, paths.decode(func, at)?))) else { continue };
            let direct = matches!(reference.access, Access::Direct { .. }) || i.is_ip_rel_memory_operand();
            let accesses = direct || displaced(paths.image, function, reference).is_some();
            let slot = matches!(reference.target, Target::Slot(_));
            if accesses && !slot && i.mnemonic() != Mnemonic::Lea {
                let info = factory.info(&i);
                let memory = (0..i.op_count()).filter(|&n| i.op_kind(n) == OpKind::Memory);
                let access: Vec<_> = memory.map(|n| info.op_access(n)).collect();
                let bytes = match (reference.access, &reference.target) {
                    (Access::Direct { width }, Target::Data { offset, .. }) => *offset..*offset + i64::from(width),
                    _ => whole.clone(),
                };
                found.read.extend(access.iter().any(|&a| reads(a)).then(|| bytes.clone()));
                found.written.extend(access.iter().any(|&a| writes(a)).then_some(bytes));
                continue;
            }
            match through(&mut factory, &i, true, 0) {
                Ok(held) => {
                    states.insert(at, (held, held));
                    todo.push(at);
                }
                Err(_) => found.given = true,
            }
        }
        while let Some(at) = todo.pop() {
            let before = states.get(&at).copied().unwrap_or_default();
            for next in paths.next(func, at) {
                let after = match paths.decode(func, next) {
                    Some(i) => found.step(&mut factory, (&i, function.insns[next].local().is_some()), before, &whole),
                    None => before,
                };
                let known = states.entry(next).or_default();
                let all = (known.0 | after.0, known.1 | after.1);
                if all != *known {
                    *known = all;
                    todo.push(next);
                }
            }
        }
        found
    }

    /// Follows the address through one instruction.
    fn step(
        &mut self,
        factory: &mut InstructionInfoFactory,
        (i, local): (&Instruction, bool),
        (held, unread): (Regs, Regs),
        whole: &Bytes,
    ) -> (Regs, Regs) {
        let mut unread = unread;
        for memory in factory.info(i).used_memory() {
            let by = [memory.base(), memory.index()].into_iter().filter_map(bit).fold(0, |all, b| all | b) & held;
            if by != 0 && (reads(memory.access()) || writes(memory.access())) {
                self.read.extend(reads(memory.access()).then(|| whole.clone()));
                self.written.extend(writes(memory.access()).then(|| whole.clone()));
                unread &= !by;
            }
        }
        match i.flow_control() {
            // What is left in a register through which something was read is no argument.
            FlowControl::Call | FlowControl::IndirectCall => {
                self.given |= unread & ARGUMENTS != 0;
                (held & !CALLER_SAVED, unread & !CALLER_SAVED)
            }
            FlowControl::Return => {
                self.given |= unread & RAX != 0;
                (0, 0)
            }
            FlowControl::UnconditionalBranch | FlowControl::IndirectBranch if !local => {
                self.given |= unread & ARGUMENTS != 0;
                (held, unread)
            }
            FlowControl::Next => match through(factory, i, false, held) {
                Ok(after) => (after, after & (unread | !held)),
                Err(_) => {
                    self.given = true;
                    (0, 0)
                }
            },
            _ => (held, unread),
        }
    }
}
