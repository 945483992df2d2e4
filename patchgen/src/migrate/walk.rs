//! What a function does with addresses of its labels, which it may read from a table of them: it may keep them in registers and in its frame.

use super::{ARGUMENTS, CALLER_SAVED, RAX, Regs, bit, through, writes};
use crate::compare::is_immediate;
use crate::image::Image;
use crate::lift::{Access, CodeRef, Function, Insn, Target, instruction, ways};
use crate::types::Returned;
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};
use std::collections::{BTreeMap, BTreeSet};

type Verdict<T> = Result<T, &'static str>;

pub(super) struct Walk<'a, 'n> {
    image: &'a Image,
    f: &'a Function,
    names: &'n dyn Fn(&CodeRef) -> bool,
    /// Where it may go on by one of the addresses: indexes of instructions.
    labels: &'n BTreeSet<usize>,
    factory: InstructionInfoFactory,
    /// By index of the instruction: which registers may have one on the way in.
    states: BTreeMap<usize, Regs>,
    todo: Vec<usize>,
    /// Where in the frame one may be: places by register and distance, and whether anywhere that an index leads to.
    slots: BTreeSet<(Register, u64)>,
    arrays: bool,
    /// It has a frame pointer.
    framed: bool,
}

impl<'a, 'n> Walk<'a, 'n> {
    /// `names`: what a reference is that gives it.
    pub fn new(
        image: &'a Image,
        f: &'a Function,
        names: &'n dyn Fn(&CodeRef) -> bool,
        labels: &'n BTreeSet<usize>,
    ) -> Walk<'a, 'n> {
        let frames = |i: Instruction| {
            i.op0_register() == Register::RBP
                && (i.mnemonic() == Mnemonic::Mov && i.op1_register() == Register::RSP
                    || i.mnemonic() == Mnemonic::Lea && i.memory_base() == Register::RSP)
        };
        let framed = f.insns.iter().filter_map(|n| instruction(image, f, n)).any(frames);
        let (states, todo, slots) = Default::default();
        let factory = InstructionInfoFactory::new();
        Walk { image, f, names, labels, factory, states, todo, slots, arrays: false, framed }
    }

    /// # Errors
    /// In words, how the function gives it away, or writes to it.
    pub fn run(mut self, returned: Returned) -> Verdict<()> {
        let mut known = 0;
        self.reach(0, 0);
        loop {
            while let Some(at) = self.todo.pop() {
                let state = self.states[&at];
                self.step(at, state, returned)?;
            }
            let places = self.slots.len() + usize::from(self.arrays);
            if places > known {
                known = places;
                self.todo.extend(self.states.keys());
                continue;
            }
            // Landing pads, and whatever else no branch leads to.
            let kept = self.states.values().fold(0, |all, s| all | s) & !CALLER_SAVED;
            let Some(next) = (0..self.f.insns.len()).find(|i| !self.states.contains_key(i)) else { return Ok(()) };
            self.reach(next, kept);
        }
    }

    fn reach(&mut self, at: usize, state: Regs) {
        let known = self.states.get(&at).copied();
        if known.is_none_or(|k| k | state != k) {
            self.states.insert(at, known.unwrap_or(0) | state);
            self.todo.push(at);
        }
    }

    fn step(&mut self, at: usize, state: Regs, returned: Returned) -> Verdict<()> {
        let insn = &self.f.insns[at];
        let decoded = if insn.is_nop() { None } else { instruction(self.image, self.f, insn) };
        let after = match decoded {
            None => state,
            Some(i) => match i.flow_control() {
                FlowControl::Next => self.plain(insn, &i, state)?,
                FlowControl::Call | FlowControl::IndirectCall if state & ARGUMENTS != 0 => {
                    return Err("gives it to another function");
                }
                FlowControl::UnconditionalBranch if insn.local().is_none() && state & ARGUMENTS != 0 => {
                    return Err("gives it to another function");
                }
                FlowControl::Return if state & RAX != 0 && returned != Returned::Nothing => {
                    return Err("may return it");
                }
                FlowControl::Call | FlowControl::IndirectCall | FlowControl::IndirectBranch => state & !CALLER_SAVED,
                _ => state,
            },
        };
        for next in ways(self.image, self.f, at).0 {
            self.reach(next, after);
        }
        if decoded.is_some_and(|i| i.flow_control() == FlowControl::IndirectBranch) {
            // Who jumps there has used up what it had at hand.
            self.labels.iter().for_each(|&label| self.reach(label, after));
        }
        Ok(())
    }

    fn plain(&mut self, insn: &Insn, i: &Instruction, state: Regs) -> Verdict<Regs> {
        let refs = self.f.refs.get(insn.refs()).unwrap_or_default();
        let mut named = refs.iter().filter(|r| (self.names)(r) && r.access != Access::Branch).peekable();
        let holds = |r: Register| bit(r).is_some_and(|b| state & b != 0);
        let works = i.mnemonic() != Mnemonic::Lea;
        let memory = (0..i.op_count()).find(|&n| works && i.op_kind(n) == OpKind::Memory);
        let number = (0..i.op_count()).any(|n| is_immediate(i.op_kind(n)));
        // In a slot, or as a number, it is the value; else the place that is read or written.
        let value = named.peek().is_some()
            && (memory.is_none() || number && i.op_count() > 1 && self.is_number(insn, i))
            || named.any(|r| matches!(r.target, Target::Slot(_)));
        let place = memory.is_some() && !value && refs.iter().any(|r| (self.names)(r));
        let there = place || memory.is_some() && (holds(i.memory_base()) || holds(i.memory_index()));
        let written = memory.is_some_and(|n| writes(self.factory.info(i).op_access(n)));
        let frame = memory.is_some() && self.in_frame(i);
        let read = memory.is_some() && !(written && memory == Some(0) && i.mnemonic() == Mnemonic::Mov);
        let loaded = read && (frame || there);
        let compares = matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Test);
        match through(&mut self.factory, i, !compares && (value || loaded), state) {
            Ok(after) => Ok(after),
            Err("writes to memory") if written => self.store(i).map(|()| state),
            Err("writes to memory") => Err("stores it"),
            Err("fills a vector register") => self.vector(i.op0_register().full_register()).map(|()| state),
            Err(_) => Err("computes with it"),
        }
    }

    /// Whether the reference of an instruction with a place in memory and a number is the number.
    fn is_number(&self, insn: &Insn, i: &Instruction) -> bool {
        let refs = self.f.refs.get(insn.refs()).unwrap_or_default();
        let last = u32::from(insn.len) + insn.offset;
        i.op0_kind() == OpKind::Memory
            && refs.iter().any(|r| (self.names)(r) && r.field_at + r.field.size() as u32 == last)
    }

    fn is_frame(&self, i: &Instruction) -> bool {
        i.memory_base() == Register::RSP || self.framed && i.memory_base() == Register::RBP
    }

    fn in_frame(&self, i: &Instruction) -> bool {
        let place = (i.memory_base(), i.memory_displacement64());
        self.is_frame(i)
            && match i.memory_index() {
                Register::None => self.slots.contains(&place),
                _ => self.arrays || !self.slots.is_empty(),
            }
    }

    fn store(&mut self, i: &Instruction) -> Verdict<()> {
        if !self.is_frame(i) {
            return Err("stores it");
        }
        match i.memory_index() {
            Register::None => drop(self.slots.insert((i.memory_base(), i.memory_displacement64()))),
            _ => self.arrays = true,
        }
        Ok(())
    }

    /// A vector register takes some along, which must go into the frame.
    fn vector(&mut self, register: Register) -> Verdict<()> {
        let decoded = self.f.insns.iter().filter_map(|n| instruction(self.image, self.f, n));
        let mut stores = decoded.filter(|i| {
            i.op0_kind() == OpKind::Memory
                && (1..i.op_count())
                    .any(|n| i.op_kind(n) == OpKind::Register && i.op_register(n).full_register() == register)
        });
        if stores.all(|i| self.is_frame(&i)) {
            self.arrays = true;
            return Ok(());
        }
        Err("stores it")
    }
}
