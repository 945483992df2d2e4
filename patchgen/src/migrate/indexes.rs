//! Rows of a table of constants that get another index, where code reads the table by an index that lasts: a variable, or something on the heap, has
//! the number of a row, and would mean another one.

use super::escape::{ARGUMENTS, CALLER_SAVED, Regs, bit, reads, writes};
use super::lasting::Build;
use super::rows::contents_of_both;
use crate::addr::{DataId, FuncId};
use crate::include::Analysis;
use crate::lift::{Function, instruction, ways};
use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};
use std::collections::{BTreeMap, BTreeSet};

/// The fewest bytes that are a row.
const ROW: usize = 4;

/// Whether rows came or went in one place of the table, in front of others that are the same.
pub(super) fn rows_shift(analysis: Analysis<'_>, old: DataId, new: DataId) -> bool {
    let Some((before, after)) = contents_of_both(analysis, old, new) else { return false };
    let shorter = before.len().min(after.len());
    let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let behind = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    let tail = &before[before.len() - (shorter - same)..];
    let rows = before.len().abs_diff(after.len());
    // What ends a table begins with a null pointer, or is zero.
    let ends = |tail: &[u8]| tail.iter().all(|b| *b == 0) || tail.len() <= rows && tail.iter().take(8).all(|b| *b == 0);
    rows >= ROW && tail.len() >= ROW && same + behind >= shorter && !ends(tail)
}

/// Who reads the table by an index that was in lasting memory.
pub(super) fn lasting_index(build: &Build<'_>, table: DataId) -> Option<FuncId> {
    build.users(table).iter().copied().find(|&user| {
        let given =
            build.callers(user).fold(0, |all, caller| all | Flow::new(build, caller, table, 0).run(Some(user)).1);
        Flow::new(build, user, table, given & ARGUMENTS).run(None).0
    })
}

/// What may be in registers, and in the frame.
#[derive(Clone, Default, PartialEq, Eq)]
struct State {
    /// What was loaded from memory that lasts, or computed from that.
    loaded: Regs,
    /// An address in the table.
    table: Regs,
    /// Slots of the frame with something loaded.
    slots: BTreeSet<(u32, u64)>,
}

struct Flow<'b, 'a> {
    build: &'b Build<'a>,
    function: &'a Function,
    table: DataId,
    /// `%rbp` is the frame's.
    framed: bool,
    given: Regs,
    factory: InstructionInfoFactory,
}

impl<'b, 'a> Flow<'b, 'a> {
    fn new(build: &'b Build<'a>, func: FuncId, table: DataId, given: Regs) -> Flow<'b, 'a> {
        let function = &build.lifted.functions[func.index()];
        let frame = |i: &Instruction| {
            i.mnemonic() == Mnemonic::Mov && i.op0_register() == Register::RBP && i.op1_register() == Register::RSP
        };
        let mut head = function.insns.iter().take(8).filter_map(|n| instruction(build.image, function, n));
        let framed = head.any(|i| frame(&i));
        Flow { build, function, table, framed, given, factory: InstructionInfoFactory::new() }
    }

    /// Whether the table is read by something loaded, and in which registers such goes to `callee`.
    fn run(mut self, callee: Option<FuncId>) -> (bool, Regs) {
        let (mut states, mut todo) = (BTreeMap::from([(0, State { loaded: self.given, ..State::default() })]), vec![0]);
        let mut given = 0;
        while let Some(at) = todo.pop() {
            let Some(insn) = self.function.insns.get(at) else { continue };
            let mut state = states[&at].clone();
            if insn.is_call() {
                let calls = |f: FuncId| self.function.refs[insn.refs()].iter().any(|r| r.target.func() == Some(f));
                given |= callee.filter(|&f| calls(f)).map_or(0, |_| state.loaded & ARGUMENTS);
                state.loaded &= !CALLER_SAVED;
                state.table &= !CALLER_SAVED;
            } else if let Some(i) = instruction(self.build.image, self.function, insn).filter(|_| !insn.is_nop()) {
                let names = self.function.refs[insn.refs()].iter().any(|r| super::escape::names(r, self.table));
                if self.step(&i, names, !insn.refs().is_empty(), &mut state) {
                    return (true, given);
                }
            }
            for next in ways(self.build.image, self.function, at).0 {
                let known = states.get(&next);
                let mut joined = known.cloned().unwrap_or_default();
                joined.loaded |= state.loaded;
                joined.table |= state.table;
                joined.slots.extend(state.slots.iter().copied());
                if known != Some(&joined) {
                    states.insert(next, joined);
                    todo.push(next);
                }
            }
        }
        (false, given)
    }

    fn step(&mut self, i: &Instruction, names: bool, refers: bool, state: &mut State) -> bool {
        let of = |regs: Regs, r: Register| bit(r).is_some_and(|b| regs & b != 0);
        let (base, index) = (i.memory_base(), i.memory_index());
        let table = of(state.table, base) || of(state.table, index) || names;
        let loaded = of(state.loaded, base) || of(state.loaded, index);
        let memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
        let lea = i.mnemonic() == Mnemonic::Lea;
        if memory && !lea && table && loaded {
            return true;
        }
        let frame = base == Register::RSP || self.framed && base == Register::RBP;
        let slot = (base as u32, i.memory_displacement64());
        // What another read of the table gave isn't an index that lasts.
        let lasts = match (memory && !lea, frame) {
            (true, true) => state.slots.contains(&slot),
            (true, false) => !table && (base != Register::RIP || refers),
            (false, _) => lea && loaded,
        };
        let info = self.factory.info(i);
        let operands = || (0..i.op_count()).filter(|&n| i.op_kind(n) == OpKind::Register && reads(info.op_access(n)));
        let zeroes = i.mnemonic() == Mnemonic::Xor && i.op0_register() == i.op1_register();
        let any = |regs: Regs| !zeroes && operands().any(|n| of(regs, i.op_register(n)));
        let implicit = i.op_count() == 0;
        let value = lasts || any(state.loaded) || implicit && state.loaded & 1 != 0;
        let address = any(state.table) || table && lea || names && !memory || implicit && state.table & 1 != 0;
        if matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Test) {
            return false;
        }
        if i.op0_kind() == OpKind::Memory && writes(info.op_access(0)) {
            if frame && any(state.loaded) {
                state.slots.insert(slot);
            } else if frame {
                state.slots.remove(&slot);
            }
            return false;
        }
        for used in info.used_registers().iter().filter(|u| writes(u.access())) {
            let Some(own) = bit(used.register()) else { continue };
            state.loaded = if value { state.loaded | own } else { state.loaded & !own };
            state.table = if address { state.table | own } else { state.table & !own };
        }
        false
    }
}
