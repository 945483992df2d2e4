//! The ways through a function, instruction by instruction, and what runs once only.

use super::contexts::saver;
use super::instances::Calls;
use super::main_like::mains;
use crate::addr::FuncId;
use crate::image::{Image, lsda::landing_pads};
use crate::lift::{Function, Insn, Lifted, Slot, Target, instruction, never_returns, ways};
use iced_x86::Instruction;
use std::collections::{BTreeSet, HashMap};

/// Calls that are followed into one another for whether they come back.
const CALLS: u32 = 3;

/// One build's functions.
pub(super) struct Paths<'a> {
    pub image: &'a Image,
    pub lifted: &'a Lifted,
    calls: &'a Calls,
    mains: BTreeSet<FuncId>,
    coming_back: HashMap<FuncId, bool>,
    once: HashMap<FuncId, bool>,
}

impl<'a> Paths<'a> {
    pub fn of(image: &'a Image, lifted: &'a Lifted, calls: &'a Calls) -> Paths<'a> {
        let mains = mains(lifted);
        Paths { image, lifted, calls, mains, coming_back: HashMap::new(), once: HashMap::new() }
    }

    pub fn function(&self, func: FuncId) -> &'a Function {
        &self.lifted.functions[func.index()]
    }

    /// None for filler, and where the file has no bytes.
    pub fn decode(&self, func: FuncId, at: usize) -> Option<Instruction> {
        let function = self.function(func);
        instruction(self.image, function, function.insns.get(at).filter(|i| !i.is_nop())?)
    }

    /// The instructions of the function that may come after number `at`.
    pub fn next(&mut self, func: FuncId, at: usize) -> Vec<usize> {
        self.after(func, at, CALLS).0
    }

    /// Whether the function runs once in the life of a process, before what it is for: `main`, and what is called from there outside of all
    /// loops, if nothing else leads to it.
    pub fn runs_once(&mut self, func: FuncId) -> bool {
        if let Some(&known) = self.once.get(&func) {
            return known;
        }
        // Where it comes back to itself.
        self.once.insert(func, false);
        let function = self.function(func);
        let calls = self.calls;
        let once = if function.opaque || saver(self.image, function).is_some() {
            false
        } else if self.mains.contains(&func) {
            calls.callers(func).next().is_none()
        } else {
            let called = calls.callers(func).next().is_some() && !calls.address_taken(func);
            called && calls.callers(func).all(|caller| self.runs_once(caller) && self.calls_once(caller, func))
        };
        self.once.insert(func, once);
        once
    }

    /// Whether no loop of the caller has a call of that function in it.
    fn calls_once(&mut self, caller: FuncId, callee: FuncId) -> bool {
        let function = self.function(caller);
        let calls = |insn: &Insn| {
            let refs = function.refs.get(insn.refs()).unwrap_or_default();
            refs.iter().any(|r| r.branch && matches!(r.target, Target::Func { func, .. } if func == callee))
        };
        let sites: Vec<usize> = (0..function.insns.len()).filter(|&n| calls(&function.insns[n])).collect();
        let ahead = self.reached(caller, vec![0]);
        let pads = self.pads(caller);
        let caught = self.reached(caller, pads);
        sites.into_iter().all(|site| {
            let behind = self.next(caller, site);
            ahead.contains(&site) && !caught.contains(&site) && !self.reached(caller, behind).contains(&site)
        })
    }

    fn reached(&mut self, func: FuncId, from: Vec<usize>) -> BTreeSet<usize> {
        let mut seen: BTreeSet<usize> = from.iter().copied().collect();
        let mut todo = from;
        while let Some(at) = todo.pop() {
            todo.extend(self.next(func, at).into_iter().filter(|&n| seen.insert(n)));
        }
        seen
    }

    /// Where exceptions land.
    fn pads(&self, func: FuncId) -> Vec<usize> {
        let function = self.function(func);
        let fdes = function.fdes.iter().flatten().filter_map(|&n| self.image.fdes.get(n as usize));
        let pads = fdes.filter_map(|fde| landing_pads(self.image, fde)).flatten();
        let place = |at| {
            let part = function.parts.iter().position(|p| p.contains(at))?;
            let offset = u32::try_from(at.0 - function.parts[part].start.0).ok()?;
            function.index((u8::try_from(part).ok()?, offset))
        };
        pads.filter_map(place).collect()
    }

    /// What may come next, and whether the function may be left there.
    fn after(&mut self, func: FuncId, at: usize, depth: u32) -> (Vec<usize>, bool) {
        let function = self.function(func);
        let insn = function.insns[at];
        match insn.is_call() && !self.may_return(function, &insn, depth) {
            true => (Vec::new(), false),
            false => ways(self.image, function, at),
        }
    }

    /// Whether a call may come back, as far as that is seen.
    fn may_return(&mut self, function: &Function, call: &Insn, depth: u32) -> bool {
        let refs = function.refs.get(call.refs()).unwrap_or_default();
        refs.iter().all(|r| match r.target {
            Target::Import(id) | Target::Slot(Slot::Import { import: id, .. }) => {
                !never_returns(&self.image.imports[id.index()].name)
            }
            Target::Func { func, part: 0, offset: 0 } if depth > 0 => self.comes_back(func, depth - 1),
            _ => true,
        })
    }

    fn comes_back(&mut self, func: FuncId, depth: u32) -> bool {
        if let Some(&known) = self.coming_back.get(&func) {
            return known;
        }
        self.coming_back.insert(func, true);
        let function = self.function(func);
        let mut found = function.opaque || function.insns.is_empty();
        let (mut seen, mut todo) = (BTreeSet::from([0]), vec![0]);
        while let Some(at) = todo.pop().filter(|_| !found) {
            let (next, left) = self.after(func, at, depth);
            found |= left;
            todo.extend(next.into_iter().filter(|&n| seen.insert(n)));
        }
        self.coming_back.insert(func, found);
        found
    }
}
