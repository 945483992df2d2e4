//! Two pieces of code, walked in step along all their paths.

use super::decode::{Flow, Insn, Operand};
use super::image::TLSDESC;
use super::names;
use super::process::is_new_thread_local;
use super::prover::{Proof, Prover, Use};
use super::world::{Slot, World};
use goblin::elf::reloc::R_X86_64_DTPMOD64;
use std::collections::{HashMap, HashSet};

/// A disagreement, or a number that may be a line number.
#[derive(Debug, Clone)]
pub struct Difference {
    /// In the patched process.
    pub process: u64,
    /// In the new image.
    pub new: u64,
    pub what: String,
    /// Only the immediate of a `mov` or `push`, in code that stays.
    pub line: bool,
}

#[derive(Debug, Default)]
pub struct Walk {
    pub differences: Vec<Difference>,
    /// Instructions of the new image that were reached.
    pub reached: HashSet<u64>,
}

impl Walk {
    pub fn wrong(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|d| !d.line)
    }
}

/// More differences than this say no more.
const ENOUGH: usize = 8;

/// Bytes in front of an address that are looked at, and instructions behind one that has it.
const LONGEST: i64 = -(1 << 16);
const NEAR: usize = 48;

struct Walker<'w, 'a> {
    prover: &'w mut Prover<'a>,
    /// Pairs that are still to be walked.
    queue: Vec<(u64, u64)>,
    visited: HashSet<(u64, u64)>,
    /// The process's instruction by the new image's.
    partner: HashMap<u64, u64>,
    /// Jump tables that were seen.
    tables: HashSet<(u64, u64)>,
    walk: Walk,
    /// Entry of the function in the new image.
    entry: u64,
}

/// Walks from `p` in the process and `n` in the new image.
pub fn walk(prover: &mut Prover<'_>, p: u64, n: u64) -> Walk {
    let entry = prover.n.function(n).map_or(n, |f| f.0);
    let mut walker = Walker {
        prover,
        queue: vec![(p, n)],
        visited: HashSet::new(),
        partner: HashMap::new(),
        tables: HashSet::new(),
        walk: Walk::default(),
        entry,
    };
    walker.drain();
    if n == entry {
        walker.unreached();
    }
    walker.walk
}

impl Walker<'_, '_> {
    fn drain(&mut self) {
        while let Some((p, n)) = self.queue.pop() {
            if self.walk.wrong().count() >= ENOUGH {
                return;
            }
            self.path(p, n);
        }
    }

    fn differ(&mut self, process: u64, new: u64, what: impl Into<String>) {
        self.walk.differences.push(Difference { process, new, what: what.into(), line: false });
    }

    /// The next instruction that does something.
    fn next(&self, world: &World, mut at: u64) -> Option<Insn> {
        loop {
            let insn = self.prover.decoder.decode(world, at)?;
            if !insn.is_nop() {
                return Some(insn);
            }
            at = insn.end();
        }
    }

    fn path(&mut self, mut p: u64, mut n: u64) {
        let mut after_call = false;
        let mut first = true;
        loop {
            if !first {
                let Some(holder) = self.prover.n.function(n) else { return };
                // Into the next function: behind a call that doesn't return that means nothing.
                let enters = holder.0 == n && n != self.entry;
                if enters && (after_call || !names::is_part(&holder.1.names)) {
                    if !after_call && let Err(what) = self.prover.place(p, n, Use::default()) {
                        self.differ(p, n, format!("falls through to {what}"));
                    }
                    return;
                }
            }
            first = false;
            if !self.visited.insert((p, n)) {
                return;
            }
            let (a, b) = (self.next(self.prover.p, p), self.next(self.prover.n, n));
            let (Some(a), Some(b)) = (a, b.as_ref()) else {
                // Behind a call that doesn't return anything may stand, in the new image as well.
                if !after_call || b.is_some() {
                    self.differ(p, n, "bytes that aren't instructions");
                }
                return;
            };
            if b.at != n && b.at != self.entry && self.prover.n.functions.contains_key(&b.at) {
                // Through filler into the next function.
                (p, n) = (a.at, b.at);
                continue;
            }
            self.walk.reached.extend([n, b.at]);
            self.visited.insert((a.at, b.at));
            self.partner.insert(b.at, a.at);
            if let Err(what) = self.instruction(&a, b) {
                let what = format!("{what}: `{}` instead of `{}`", a.text.trim(), b.text.trim());
                self.differ(a.at, b.at, what);
                return;
            }
            match b.flow {
                Flow::Stop | Flow::Indirect => return,
                Flow::Jump { conditional: false, .. } => return,
                Flow::Call => after_call = true,
                _ => after_call = false,
            }
            (p, n) = (a.end(), b.end());
        }
    }

    /// Blocks that only an unwinder or an unknown jump reaches lie in the same order in both.
    fn unreached(&mut self) {
        let Some(function) = self.prover.n.functions.get(&self.entry) else { return };
        // Zeros that a linker fills up with aren't code, but belong to a function whose symbol has no size.
        let code = self.prover.n.bytes(self.entry, function.size).unwrap_or_default();
        let end = self.entry + code.iter().rposition(|&b| b != 0).map_or(0, |last| last as u64 + 1);
        let mut n = self.entry;
        let mut last = None;
        while n < end && self.walk.wrong().count() == 0 {
            let Some(insn) = self.prover.decoder.decode(self.prover.n, n) else { return };
            if let Some(p) = self.partner.get(&n) {
                last = self.prover.decoder.decode(self.prover.p, *p).map(|i| i.end());
            } else if !insn.is_nop()
                && !insn.verb().starts_with("int3")
                && let Some(p) = last
            {
                self.queue.push((p, n));
                self.drain();
                last = None;
                continue;
            }
            n = insn.end();
        }
    }

    fn instruction(&mut self, a: &Insn, b: &Insn) -> Proof {
        if let (Some(x), Some(y)) = (self.leads(self.prover.p, a), self.leads(self.prover.n, b))
            && (a.direct_target().is_some() || b.direct_target().is_some())
            && (a.verb() == b.verb())
        {
            return self.branch(a, b, &x, &y);
        }
        if a.verb() != b.verb() {
            return match (self.fetched(a).or_else(|| self.load(self.prover.p, a)), self.load(self.prover.n, b)) {
                (Some((r, x)), Some((s, y))) if r == s => {
                    self.prover.references += 1;
                    self.prover.slot(&x, &y)
                }
                _ => Err("another instruction".to_owned()),
            };
        }
        if a.operands.len() != b.operands.len() || a.mnemonic.contains("rep") != b.mnemonic.contains("rep") {
            return Err("other operands".to_owned());
        }
        if a.mnemonic.contains("lock") != b.mnemonic.contains("lock") || !same_encoding(a, b) {
            return Err("another encoding".to_owned());
        }
        for (x, y) in a.operands.iter().zip(&b.operands) {
            match (x, y) {
                (Operand::Reg(x), Operand::Reg(y)) if x == y => {}
                (Operand::Imm(x), Operand::Imm(y)) => self.immediate(a, b, *x, *y)?,
                (Operand::Mem { .. }, Operand::Mem { .. }) => self.memory(a, b, x, y)?,
                _ => return Err("another operand".to_owned()),
            }
        }
        Ok(())
    }

    /// How far in front of the address that the instruction takes another one lies that the next ones compute of it.
    fn steps_back(&self, take: &Insn) -> Option<i64> {
        const PLAIN: [&str; 14] = [
            "lea", "mov", "movabs", "movzx", "movsx", "movsxd", "add", "sub", "and", "or", "xor", "cmp", "test", "push",
        ];
        let Some(Operand::Reg(taken)) = take.operands.first().filter(|_| take.verb() == "lea") else { return None };
        let mut at = take.end();
        for _ in 0..NEAR {
            let insn = self.prover.decoder.decode(self.prover.n, at)?;
            match insn.operands.as_slice() {
                [_, Operand::Mem { base, index: 0, disp: disp @ LONGEST..0, .. }]
                    if insn.verb() == "lea" && base == taken =>
                {
                    return Some(*disp);
                }
                [Operand::Reg(to), ..] if whole(*to) == *taken && insn.verb() != "push" => return None,
                _ => {}
            }
            let vector = ["movd", "movq", "movu", "mova", "movh"].iter().any(|v| insn.verb().starts_with(v));
            let runs_on = matches!(insn.flow, Flow::Call | Flow::Jump { conditional: true, .. });
            if !(PLAIN.contains(&insn.verb()) || insn.is_nop() || vector || runs_on && is_kept(*taken)) {
                return None;
            }
            at = insn.end();
        }
        None
    }

    /// Whether the next instruction reads an element of less than four bytes from where this one takes the address of: no entry of a jump table.
    fn reads_halves(&self, take: &Insn) -> bool {
        let next = self.prover.decoder.decode(self.prover.n, take.end());
        let (Some(Operand::Reg(taken)), Some(next)) = (take.operands.first(), next) else { return false };
        let read = |o: &Operand| matches!(o, Operand::Mem { base, index: 1.., size: 1..4, .. } if base == taken);
        take.verb() == "lea" && next.verb() != "lea" && next.operands.iter().any(read)
    }

    /// Two addresses that code goes on from to what lies so far in front: what begins there, and all between, is the same, if it is constant.
    fn in_front(&mut self, p: u64, n: u64, back: i64) -> Proof {
        let between = |world: &World, at: u64| {
            let (from, len) = (at.wrapping_add_signed(back), back.unsigned_abs());
            let plain = !world.writable(from) && !world.executable(from);
            let number = plain && !(from..at).any(|word| world.slots.contains_key(&word));
            world.bytes(from, len).filter(|_| number).map(<[u8]>::to_vec)
        };
        match (between(self.prover.p, p), between(self.prover.n, n)) {
            (Some(x), Some(y)) if x != y => Err("other bytes in front of an address".to_owned()),
            (Some(_), Some(_)) => {
                let [from, to] = [p, n].map(|at| at.wrapping_add_signed(back));
                self.prover.place(from, to, Use::default()).or_else(|_| self.prover.place(p, n, Use::default()))
            }
            _ => self.prover.place(p, n, Use::default()),
        }
    }

    /// Where a branch or call goes: directly, or through a slot that can't change.
    fn leads(&self, world: &World, insn: &Insn) -> Option<Slot> {
        if let Some(to) = insn.direct_target() {
            return Some(self.prover.as_slot(world, to));
        }
        match (insn.flow, insn.operands.first()) {
            (Flow::Call | Flow::Indirect, Some(Operand::Mem { disp, .. })) if insn.rip_relative() => {
                world.slots.get(&insn.end().wrapping_add_signed(*disp)).cloned()
            }
            _ => None,
        }
    }

    fn branch(&mut self, a: &Insn, b: &Insn, x: &Slot, y: &Slot) -> Proof {
        let inside = |to: u64| {
            let holder = self.prover.n.function(to);
            holder.is_some_and(|(start, f)| start == self.entry || start != to || names::is_part(&f.names))
        };
        if let (Flow::Jump { to: p, .. }, Flow::Jump { to: n, .. }) = (a.flow, b.flow)
            && inside(n)
        {
            self.queue.push((self.prover.p.arrival(p), n));
            return Ok(());
        }
        // Nothing is meant to come there: clang's unreachable blocks, left empty at the end of a function.
        if let (Some(p), Some(n)) = (a.direct_target(), b.direct_target())
            && ends(self.prover.n, b.at, n)
            && ends(self.prover.p, a.at, p)
        {
            return Ok(());
        }
        self.prover.references += 1;
        self.prover.slot(x, y)
    }

    /// An address in a register: `mov` from the GOT, and what linkers relax it to.
    fn load(&self, world: &World, insn: &Insn) -> Option<(u16, Slot)> {
        let [Operand::Reg(to), source] = insn.operands.as_slice() else { return None };
        let at = |disp: &i64| insn.end().wrapping_add_signed(*disp);
        let slot = match (insn.verb(), source) {
            ("mov", Operand::Mem { disp, .. }) if insn.rip_relative() => world.slots.get(&at(disp)).cloned()?,
            ("lea", Operand::Mem { disp, .. }) if insn.rip_relative() => self.prover.as_slot(world, at(disp)),
            ("mov" | "movabs", Operand::Imm(value)) if world.mapped(*value as u64) => {
                return Some((whole(*to), self.prover.as_slot(world, *value as u64)));
            }
            _ => return None,
        };
        Some((*to, slot))
    }

    /// What a call in the payload of a function like `mov slot(%rip),%register; ret` puts into that register: it does nothing else.
    fn fetched(&self, call: &Insn) -> Option<(u16, Slot)> {
        let to = call.direct_target().filter(|&to| call.flow == Flow::Call && to >= self.prover.p.payload)?;
        let load = self.prover.decoder.decode(self.prover.p, to)?;
        let back = self.prover.decoder.decode(self.prover.p, load.end())?;
        let plain = load.verb() == "mov" && load.rip_relative() && back.verb() == "ret" && back.operands.is_empty();
        if plain { self.load(self.prover.p, &load) } else { None }
    }

    /// Whether a relocation of the payload fills a field of the instruction.
    fn filled(&self, insn: &Insn, field: Option<(u8, u8)>) -> bool {
        field.is_some_and(|(offset, _)| self.prover.p.fields.contains(&(insn.at + u64::from(offset))))
    }

    fn immediate(&mut self, a: &Insn, b: &Insn, x: i64, y: i64) -> Proof {
        let (p, n) = (x as u64, y as u64);
        let filled = self.filled(a, a.imm);
        if filled && self.new_thread_local(x, y) {
            return Ok(());
        }
        if filled || (self.prover.n.fixed && self.prover.n.mapped(n)) {
            // Code makes numbers of many bits that are the same in both; the middle of a function isn't meant by one.
            if !filled && x == y && self.prover.n.executable(n) && !self.prover.n.begins(n) {
                return Ok(());
            }
            self.prover.references += 1;
            let result = self.prover.place(p, n, Use::default());
            // A number that only looks like an address.
            let number = !filled && x == y && !self.prover.n.begins(n);
            return if number { Ok(()) } else { result };
        }
        if x == y || self.relative_to_thread(x, y) {
            return Ok(());
        }
        // As an argument: in a register, pushed, or stored in the frame.
        let argument = matches!((b.verb(), b.operands.as_slice()), ("mov", [_, Operand::Imm(_)]) | ("push", [_]));
        let plausible = |v: i64| (1..1 << 20).contains(&v);
        if argument && plausible(x) && plausible(y) && a.at < self.prover.p.payload {
            let what = format!("{x} instead of {y}, which may be a line number");
            self.walk.differences.push(Difference { process: a.at, new: b.at, what, line: true });
            return Ok(());
        }
        Err(format!("immediate 0x{x:x} instead of 0x{y:x}"))
    }

    fn relative_to_thread(&self, x: i64, y: i64) -> bool {
        let (p, n) = (self.prover.p, self.prover.n);
        let by_pointer = || x < 0 && y < 0 && self.prover.thread_locals(x + p.tls_block, y + n.tls_block);
        by_pointer() || (x >= 0 && y >= 0 && self.prover.thread_locals(x, y))
    }

    /// One that the payload brings: no address of the process is as low, or as high, as its made-up distances.
    fn new_thread_local(&self, x: i64, y: i64) -> bool {
        is_new_thread_local(x) && self.relative_to_thread(x, y)
    }

    /// A descriptor, or arguments of `__tls_get_addr`, in the sequence for a variable, or for the start of a block, which has no prefix (psABI, 4.4.6). What is
    /// reached from there is compared where it is used.
    fn thread_pair(&mut self, lea: &Insn, p: u64, n: u64) -> Option<Proof> {
        let own = |world: &World, at: u64| match world.slots.get(&at) {
            Some(slot @ Slot::Tls { kind: R_X86_64_DTPMOD64 | TLSDESC, import: None, .. }) => Some(slot.clone()),
            _ => None,
        };
        let (x, y) = (own(self.prover.p, p)?, own(self.prover.n, n)?);
        let start = |slot: &Slot| matches!(slot, Slot::Tls { kind: R_X86_64_DTPMOD64, offset: 0, .. });
        if lea.verb() == "lea" && lea.bytes.first() != Some(&0x66) && start(&x) && start(&y) {
            return Some(Ok(()));
        }
        Some(self.prover.slot(&x, &y))
    }

    fn memory(&mut self, a: &Insn, b: &Insn, x: &Operand, y: &Operand) -> Proof {
        let (
            Operand::Mem { segment: s, base, index, scale, disp: d, size },
            Operand::Mem { segment: t, base: base2, index: index2, scale: scale2, disp: e, size: size2 },
        ) = (x, y)
        else {
            return Err("another operand".to_owned());
        };
        if (s, base, index, scale) != (t, base2, index2, scale2) || (size != size2 && b.verb() != "lea") {
            return Err("another address".to_owned());
        }
        let load = b.verb() != "lea" && *index == 0;
        let how = Use { width: load.then_some(u64::from(*size)) };
        if b.rip_relative() {
            let (p, n) = (a.end().wrapping_add_signed(*d), b.end().wrapping_add_signed(*e));
            self.prover.references += 1;
            if let Some(proof) = self.thread_pair(b, p, n) {
                return proof;
            }
            if let Some(back) = self.steps_back(b) {
                return self.in_front(p, n, back);
            }
            let jumps = !self.reads_halves(b) && self.table(p, n);
            return if jumps { Ok(()) } else { self.prover.place(p, n, how) };
        }
        if Insn::thread_relative(y) && *base == 0 && *e < 0 {
            let known = self.prover.n.thread_local(*e + self.prover.n.tls_block).next().is_some();
            let equal = if known { self.relative_to_thread(*d, *e) } else { d == e };
            self.prover.references += 1;
            return if equal { Ok(()) } else { Err("another thread-local variable".to_owned()) };
        }
        let absolute = self.prover.n.fixed && self.prover.n.mapped(*e as u64);
        if self.filled(a, a.disp) && self.new_thread_local(*d, *e) {
            return Ok(());
        }
        if self.filled(a, a.disp) || absolute {
            let (p, n) = (*d as u64, *e as u64);
            self.prover.references += 1;
            let how = Use { width: how.width.filter(|_| *base == 0) };
            let result = if self.table(p, n) { Ok(()) } else { self.prover.place(p, n, how) };
            let number = !self.filled(a, a.disp) && d == e && *base != 0 && !self.prover.n.begins(n);
            return if number { Ok(()) } else { result };
        }
        if d == e || self.relative_to_thread(*d, *e) {
            return Ok(());
        }
        Err(format!("displacement 0x{d:x} instead of 0x{e:x}"))
    }

    /// Jump tables: as long as the new image's entries are instructions of this function, both lead to code that is walked in step.
    fn table(&mut self, p: u64, n: u64) -> bool {
        let world = self.prover.n;
        if world.writable(n) || world.executable(n) || world.objects_at(n, false).any(|o| o.size > 0) {
            return false;
        }
        let end = self.prover.cuts.range(n + 1..).next().copied().unwrap_or(u64::MAX);
        let own = |to: u64| {
            let holder = world.function(to);
            let related = holder.is_some_and(|(start, f)| start == self.entry || names::is_part(&f.names));
            related && self.prover.starts.contains(&to)
        };
        // There LLVM lets a case lead that is declared unreachable: nothing runs there.
        let end_of = |to: u64| ends(world, self.entry, to);
        let relative = |w: &World, table: u64, i: u64| Some(table.wrapping_add_signed(w.signed32(table + i * 4)?));
        let absolute = |w: &World, table: u64, i: u64| match w.slots.get(&(table + i * 8)) {
            Some(Slot::Addr(to)) => Some(*to),
            Some(_) => None,
            None => w.word(table + i * 8),
        };
        let leads = |to: u64| own(to) || end_of(to);
        let by_four = relative(world, n, 0).is_some_and(leads);
        if !by_four && !absolute(world, n, 0).is_some_and(leads) {
            return false;
        }
        if !self.tables.insert((p, n)) {
            return true;
        }
        let step = if by_four { 4 } else { 8 };
        let entry = |w: &World, table: u64, i: u64| if by_four { relative(w, table, i) } else { absolute(w, table, i) };
        let mut pairs = Vec::new();
        for i in (0..).take_while(|i| n + i * step < end) {
            match entry(world, n, i) {
                Some(to) if own(to) => pairs.push((entry(self.prover.p, p, i).unwrap_or(0), to)),
                Some(to) if end_of(to) => {}
                _ => break,
            }
        }
        self.prover.references += pairs.len() as u64;
        self.queue.extend(pairs);
        true
    }
}

/// Whether a call leaves the register alone.
fn is_kept(register: u16) -> bool {
    use capstone::arch::x86::X86Reg::*;
    [X86_REG_RBX, X86_REG_RBP, X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15].iter().any(|r| *r as u16 == register)
}

/// The register whose upper half an instruction clears that writes a number to its lower one.
fn whole(register: u16) -> u16 {
    use capstone::arch::x86::X86Reg::*;
    let pairs = [
        (X86_REG_EAX, X86_REG_RAX),
        (X86_REG_EBX, X86_REG_RBX),
        (X86_REG_ECX, X86_REG_RCX),
        (X86_REG_EDX, X86_REG_RDX),
        (X86_REG_ESI, X86_REG_RSI),
        (X86_REG_EDI, X86_REG_RDI),
        (X86_REG_EBP, X86_REG_RBP),
        (X86_REG_ESP, X86_REG_RSP),
        (X86_REG_R8D, X86_REG_R8),
        (X86_REG_R9D, X86_REG_R9),
        (X86_REG_R10D, X86_REG_R10),
        (X86_REG_R11D, X86_REG_R11),
        (X86_REG_R12D, X86_REG_R12),
        (X86_REG_R13D, X86_REG_R13),
        (X86_REG_R14D, X86_REG_R14),
        (X86_REG_R15D, X86_REG_R15),
    ];
    pairs.iter().find(|(half, _)| *half as u16 == register).map_or(register, |(_, full)| *full as u16)
}

/// Whether the function that holds `from` ends at `at`.
fn ends(world: &World, from: u64, at: u64) -> bool {
    world.function(from).is_some_and(|(start, f)| start + f.size == at)
}

/// Equal but for displacements and immediates, when neither linker nor assembler chose another form.
fn same_encoding(a: &Insn, b: &Insn) -> bool {
    if a.bytes.len() != b.bytes.len() || (a.disp, a.imm) != (b.disp, b.imm) {
        // A short and a long form: the operands are compared one by one.
        return true;
    }
    let field = |i: usize| {
        let in_span = |s: Option<(u8, u8)>| {
            s.is_some_and(|(o, n)| (usize::from(o)..usize::from(o) + usize::from(n)).contains(&i))
        };
        in_span(a.disp) || in_span(a.imm)
    };
    a.bytes.iter().zip(&b.bytes).enumerate().all(|(i, (x, y))| x == y || field(i))
}
