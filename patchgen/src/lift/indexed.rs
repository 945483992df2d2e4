//! Whether code computes with an address or only uses it as it is.
//!
//! A constant part of an index can be folded into an address: then the address is computed with, and what lies there means nothing. An
//! address that only goes to a call, into memory or is accessed as it stands is that of the object there (C11, 6.5.6: a pointer
//! outside of its array isn't even formed by the program, only by the compiler for its own use).

use super::assemble::displaced;
use super::decode;
use super::{CodeRef, Function, InFront, Insn, Slot, Target};
use crate::addr::Svma;
use crate::image::{Image, lsda::landing_pads};
use foldhash::fast::FixedState;
use iced_x86::{
    ConditionCode, FlowControl, Instruction, InstructionInfoFactory, InstructionInfoOptions, Mnemonic, OpAccess,
    OpKind, Register,
};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Instructions that are looked at for one address, each as often as more registers may hold it there.
const FAR: usize = 512;

/// How far before an indirect jump the load of its table's address is looked for, in instructions.
const LOOK_BACK: usize = 24;

/// Calls that are followed into one another for what they leave alone.
const CALLS: u32 = 2;

/// C11, 7.22.4 and 7.13.2.1; POSIX `_exit`; Linux Standard Base (assertions, the stack protector, fortification); Itanium C++ ABI, 1.3 and 2.4.
const NEVER_RETURN: [&str; 17] = [
    "abort",
    "exit",
    "quick_exit",
    "_Exit",
    "_exit",
    "longjmp",
    "siglongjmp",
    "__longjmp_chk",
    "__assert_fail",
    "__stack_chk_fail",
    "__chk_fail",
    "__cxa_throw",
    "__cxa_rethrow",
    "__cxa_bad_cast",
    "__cxa_bad_typeid",
    "_Unwind_Resume",
    "_ZSt9terminatev",
];

/// Whether an imported function never comes back to who calls it.
pub(crate) fn never_returns(import: &str) -> bool {
    NEVER_RETURN.contains(&import)
}

/// Whether the address in a reference may be one that the code adds something to. True where that isn't seen.
/// `step`: the instruction that computes another address of it at a constant distance, for which the same is asked.
pub(super) fn is_indexed(
    image: &Image,
    callees: &Callees,
    f: &Function,
    (reference, step): (&CodeRef, Option<usize>),
    room: &mut Room,
) -> bool {
    finds(image, callees, f, (reference, step), room, computes).unwrap_or(true)
}

/// How far in front of an address code goes from it in one step. None where it only goes on. From where a step leads, code may go further.
pub(super) fn goes_back(
    image: &Image,
    callees: &Callees,
    f: &Function,
    reference: &CodeRef,
    room: &mut Room,
) -> Option<InFront> {
    let mut back = None;
    let sum = |i: &Instruction, factory: &mut InstructionInfoFactory, holders: u16| {
        back = back.max(in_front(i, factory, holders));
        back == Some(InFront::Text)
    };
    match finds(image, callees, f, (reference, None), room, sum) {
        Some(_) => back,
        None => Some(InFront::Text),
    }
}

/// Whether `wanted` says so of an instruction that may have the address in the registers that it is given. None where that isn't seen.
fn finds(
    image: &Image,
    callees: &Callees,
    f: &Function,
    (reference, step): (&CodeRef, Option<usize>),
    room: &mut Room,
    wanted: impl FnMut(&Instruction, &mut InstructionInfoFactory, u16) -> bool,
) -> Option<bool> {
    let at = f.insns.binary_search_by_key(&(reference.part, reference.insn), |i| (i.part, i.offset)).ok()?;
    let first = room.decode(image, f, at)?;
    if displaced(image, f, reference).is_some() {
        return None;
    }
    match first.mnemonic() {
        Mnemonic::Lea => {}
        Mnemonic::Mov if first.op0_kind() == OpKind::Register => {}
        // Stored or passed as it is.
        Mnemonic::Mov if !on_stack(&first) => return Some(false),
        Mnemonic::Mov => {}
        Mnemonic::Push => return Some(false),
        _ => return None,
    }
    room.begin(f);
    let mut walk = Walk { image, callees, f, room, step, slots: Vec::new() };
    match first.op0_kind() {
        OpKind::Register => walk.runs_on(at, &first, bit(first.op0_register()))?,
        _ => walk.rests(&first)?,
    }
    walk.finds(wanted)
}

/// Whether code may use two addresses with each other: has both at one place, or puts one where it finds it later. The code computes with
/// neither.
pub(super) fn meet(image: &Image, callees: &Callees, f: &Function, pair: [&CodeRef; 2], room: &mut Room) -> bool {
    let [one, other] = pair.map(|r| held_at(image, callees, f, r, room));
    let (Some(one), Some(other)) = (one, other) else { return true };
    // A register has but one of the two, and an instruction pushes but one of them.
    let both = |at, registers: u16| other.held.get(at).is_some_and(|&o| o != registers || o.count_ones() != 1);
    one.pushed != other.pushed || one.held.iter().any(|(at, &registers)| both(at, registers))
}

/// Where a function has an address.
struct Places {
    /// The registers that may have it, by instruction.
    held: BTreeMap<usize, u16>,
    /// The instructions that push it, for a call.
    pushed: BTreeSet<usize>,
}

/// None where it may be elsewhere too.
fn held_at(image: &Image, callees: &Callees, f: &Function, reference: &CodeRef, room: &mut Room) -> Option<Places> {
    let at = f.insns.binary_search_by_key(&(reference.part, reference.insn), |i| (i.part, i.offset)).ok()?;
    let first = room.decode(image, f, at)?;
    if reference.indexed
        || !matches!(first.mnemonic(), Mnemonic::Lea | Mnemonic::Mov)
        || !first.op0_register().is_gpr64()
    {
        return None;
    }
    room.begin(f);
    let mut walk = Walk { image, callees, f, room, step: None, slots: Vec::new() };
    walk.runs_on(at, &first, bit(first.op0_register()))?;
    let pushed = walk.follows_plainly()?;
    let held = room.entered.iter().map(|&at| (at, room.held[at])).collect();
    Some(Places { held, pushed })
}

/// Registers that a call may change (psABI, 3.2.1).
const CALLER_SAVED: [Register; 9] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];

/// A bit for each general register.
pub(super) fn bit(register: Register) -> u16 {
    let full = register.full_register();
    if full.is_gpr64() { 1 << full.number() } else { 0 }
}

/// What a walk remembers, lent to one after the other.
#[derive(Debug)]
pub(super) struct Room {
    factory: InstructionInfoFactory,
    /// By instruction: the registers that may hold the address before it.
    held: Vec<u16>,
    /// Where that isn't zero.
    entered: Vec<usize>,
    open: Vec<usize>,
    /// What walks through the function at hand have met, and by instruction where it is there, counted from one: they often meet the same.
    met: Vec<Instruction>,
    index: Vec<u32>,
    /// Whether `held` and `index` are those of the function at hand.
    ready: bool,
    /// Instructions decoded since [`Room::end`].
    decoded: Cell<u64>,
}

impl Room {
    pub fn new() -> Room {
        Room {
            factory: InstructionInfoFactory::new(),
            held: Vec::new(),
            entered: Vec::new(),
            open: Vec::new(),
            met: Vec::new(),
            index: Vec::new(),
            ready: false,
            decoded: Cell::new(0),
        }
    }

    /// Forgets the last walk.
    pub fn begin(&mut self, f: &Function) {
        self.open.clear();
        if self.ready {
            self.entered.drain(..).for_each(|at| self.held[at] = 0);
            return;
        }
        self.entered.clear();
        self.met.clear();
        self.held.clear();
        self.held.resize(f.insns.len(), 0);
        self.index.clear();
        self.index.resize(f.insns.len(), 0);
        self.ready = true;
    }

    /// Forgets the function; gives how many instructions were decoded for it.
    pub fn end(&mut self) -> u64 {
        self.ready = false;
        self.decoded.take()
    }

    /// The instruction `at` of `f`, and what may hold the address before it.
    pub fn meet(&mut self, image: &Image, f: &Function, at: usize) -> Option<(Instruction, u16)> {
        if self.index[at] == 0 {
            self.met.push(self.decode(image, f, at)?);
            self.index[at] = u32::try_from(self.met.len()).ok()?;
        }
        Some((self.met[self.index[at] as usize - 1], self.held[at]))
    }

    fn decode(&self, image: &Image, f: &Function, at: usize) -> Option<Instruction> {
        self.decoded.set(self.decoded.get() + 1);
        instruction(image, f, f.insns.get(at)?)
    }
}

/// Goes along all paths that may begin at one place. Its functions give None where a path leads out of sight.
struct Walk<'a> {
    image: &'a Image,
    callees: &'a Callees,
    f: &'a Function,
    room: &'a mut Room,
    step: Option<usize>,
    /// Slots of the frame that hold the address, by their distance from the stack pointer.
    slots: Vec<u64>,
}

impl Walk<'_> {
    /// Whether `wanted` says so of an instruction on one of the paths.
    fn finds(
        &mut self,
        mut wanted: impl FnMut(&Instruction, &mut InstructionInfoFactory, u16) -> bool,
    ) -> Option<bool> {
        for _ in 0..FAR {
            let Some(at) = self.room.open.pop() else { return Some(false) };
            let (i, holders) = self.room.meet(self.image, self.f, at)?;
            if self.f.insns[at].is_nop() {
                self.runs_on(at, &i, holders)?;
                continue;
            }
            if spills(&i, holders) {
                self.rests(&i)?;
            } else if self.step != Some(at) && wanted(&i, &mut self.room.factory, holders) {
                return Some(true);
            }
            let mut left = overwrite(&i, &mut self.room.factory, holders);
            if self.step == Some(at) {
                left |= bit(i.op0_register());
            }
            self.goes_on(at, &i, left)?;
        }
        None
    }

    /// Goes along all paths, and gives the instructions that push the address. None where one stores it, computes with it, or uses what lies
    /// in front of it.
    fn follows_plainly(&mut self) -> Option<BTreeSet<usize>> {
        let mut pushed = BTreeSet::new();
        for _ in 0..FAR {
            let Some(at) = self.room.open.pop() else { return Some(pushed) };
            let (i, holders) = self.room.meet(self.image, self.f, at)?;
            let left = if self.f.insns[at].is_nop() {
                holders
            } else {
                let memory = i.op_kinds().any(|k| k == OpKind::Memory);
                let holds = |register: Register| holders & bit(register) != 0;
                let stored = memory && i.op1_kind() == OpKind::Register && holds(i.op1_register());
                if i.mnemonic() == Mnemonic::Push && holds(i.op0_register()) {
                    pushed.insert(at);
                }
                let in_front =
                    memory && holders & bit(i.memory_base()) != 0 && i.memory_displacement64().cast_signed() < 0;
                if stored || in_front || computes(&i, &mut self.room.factory, holders) {
                    return None;
                }
                overwrite(&i, &mut self.room.factory, holders)
            };
            self.goes_on(at, &i, left)?;
        }
        None
    }

    /// Goes on wherever the slot of the frame that the instruction writes to may be read. Where the stack pointer moves on the way, it isn't known
    /// which slot one is.
    fn rests(&mut self, spill: &Instruction) -> Option<()> {
        let slot = slot(spill)?;
        if self.slots.contains(&slot) {
            return Some(());
        }
        self.slots.push(slot);
        let mut entry = true;
        for at in 0..self.f.insns.len() {
            let (i, _) = self.room.meet(self.image, self.f, at)?;
            if self.f.insns[at].is_nop() {
                continue;
            }
            entry &= i.flow_control() == FlowControl::Next;
            match i.mnemonic() {
                Mnemonic::Pop | Mnemonic::Leave => continue,
                Mnemonic::Push if entry => continue,
                Mnemonic::Push => return None,
                _ => {}
            }
            match i.op0_kind() {
                OpKind::Register if i.op0_register() == Register::RSP => match (i.mnemonic(), i.try_immediate(1)) {
                    // At the end the slot is gone.
                    (Mnemonic::Add, Ok(by)) if by.cast_signed() > 0 => continue,
                    (Mnemonic::Add | Mnemonic::Sub, Ok(_)) if entry => continue,
                    _ => return None,
                },
                _ if (1..i.op_count()).any(|n| i.op_register(n) == Register::RSP) => return None,
                _ if i.memory_base() != Register::RSP => continue,
                OpKind::Register if i.op0_register() == Register::RBP && i.mnemonic() == Mnemonic::Lea => return None,
                _ => {}
            }
            let here = i.memory_displacement64();
            let size = i.memory_size().size() as u64;
            let apart = here.wrapping_sub(slot).cast_signed();
            if i.memory_index() != Register::None || apart >= 8 || apart + size.cast_signed() <= 0 {
                continue;
            }
            match (i.mnemonic(), i.op0_kind()) {
                (Mnemonic::Mov, OpKind::Memory) | (Mnemonic::Lea, _) => {}
                (Mnemonic::Mov, OpKind::Register) if apart == 0 && size == 8 => {
                    self.runs_on(at, &i, bit(i.op0_register()))?;
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// Enters the places where control may be after the instruction, with what may hold the address then.
    fn goes_on(&mut self, at: usize, i: &Instruction, holders: u16) -> Option<()> {
        let insn = self.f.insns[at];
        match i.flow_control() {
            FlowControl::Next => self.runs_on(at, i, holders),
            FlowControl::Call | FlowControl::IndirectCall => {
                let kept = if holders & caller_saved() == 0 { holders } else { holders & !self.lost(at, i) };
                self.lands(insn.part, kept)?;
                if self.ends(at) { Some(()) } else { self.runs_on(at, i, kept) }
            }
            FlowControl::Return | FlowControl::Exception => Some(()),
            FlowControl::UnconditionalBranch => insn.local().map_or(Some(()), |place| self.enter(place, holders)),
            FlowControl::ConditionalBranch => {
                insn.local().map_or(Some(()), |place| self.enter(place, holders))?;
                self.runs_on(at, i, holders)
            }
            FlowControl::IndirectBranch => match self.entries(at, i)? {
                Some(entries) => entries.into_iter().try_for_each(|place| self.enter(place, holders)),
                None => Some(()),
            },
            _ => None,
        }
    }

    /// Whether a call goes to one of the functions of the system's libraries that never return.
    fn ends(&self, call: usize) -> bool {
        let import = match self.target(call) {
            Some(Target::Import(import) | Target::Slot(Slot::Import { import, .. })) => import,
            _ => return false,
        };
        never_returns(&self.image.imports[import.index()].name)
    }

    /// The registers that don't hold it any more after a call. A compiler may know which ones a function of the same unit leaves alone (GCC's
    /// `-fipa-ra`), that of the result among them where there is none.
    fn lost(&self, at: usize, call: &Instruction) -> u16 {
        let near = self.f.insns[at].local().is_some() || matches!(self.target(at), Some(Target::Func { .. }));
        if call.flow_control() == FlowControl::Call && near {
            return self.callees.clobbered(self.image, Svma(call.near_branch_target()), CALLS);
        }
        caller_saved()
    }

    /// What an instruction refers to.
    fn target(&self, at: usize) -> Option<&Target> {
        self.f.refs.get(self.f.insns[at].refs())?.first().map(|r| &r.target)
    }

    /// Enters the next instruction. Behind the call at a part's end, which doesn't return, there is none.
    fn runs_on(&mut self, at: usize, i: &Instruction, holders: u16) -> Option<()> {
        let part = self.f.insns[at].part;
        match self.f.insns.get(at + 1) {
            Some(next) if next.part == part => self.add(at + 1, holders),
            _ if matches!(i.flow_control(), FlowControl::Call | FlowControl::IndirectCall) => {}
            _ => return None,
        }
        Some(())
    }

    fn enter(&mut self, place: (u8, u32), holders: u16) -> Option<()> {
        let at = self.f.index(place)?;
        self.add(at, holders);
        Some(())
    }

    fn add(&mut self, at: usize, holders: u16) {
        let held = &mut self.room.held[at];
        if holders & !*held == 0 {
            return;
        }
        if *held == 0 {
            self.room.entered.push(at);
        }
        *held |= holders;
        self.room.open.push(at);
    }

    /// Enters where an exception that a call throws may land.
    fn lands(&mut self, part: u8, holders: u16) -> Option<()> {
        if holders == 0 {
            return Some(());
        }
        let Some(fde) = self.f.fdes.get(usize::from(part))?.and_then(|n| self.image.fdes.get(n as usize)) else {
            return Some(());
        };
        if fde.lsda.is_none() {
            return Some(());
        }
        for pad in landing_pads(self.image, fde)? {
            let place = self.f.parts.iter().position(|p| p.contains(pad))?;
            let offset = u32::try_from(pad.0 - self.f.parts[place].start.0).ok()?;
            self.enter((u8::try_from(place).ok()?, offset), holders)?;
        }
        Some(())
    }

    /// Where an indirect jump may lead to in the function: `Some(None)` where it leaves it through a slot of the linker's.
    ///
    /// A jump through a table says so by how its target comes about. Which of the function's tables it is isn't asked: all of them are taken.
    fn entries(&self, at: usize, jump: &Instruction) -> Option<Option<Vec<(u8, u32)>>> {
        let table = |n: usize| matches!(self.target(n), Some(Target::Table(_)));
        let by_table = match jump.op0_kind() {
            OpKind::Memory if jump.is_ip_rel_memory_operand() => {
                return matches!(self.target(at), Some(Target::Slot(Slot::Import { .. } | Slot::Address(_))))
                    .then_some(None);
            }
            OpKind::Memory => table(at),
            _ => match self.writer(at, jump.op0_register())? {
                (n, i) if i.mnemonic() == Mnemonic::Add && i.op1_kind() == OpKind::Register => {
                    let base = |r| self.writer(n, r).is_some_and(|(n, i)| i.mnemonic() == Mnemonic::Lea && table(n));
                    base(i.op0_register()) || base(i.op1_register())
                }
                (n, i) => i.mnemonic() == Mnemonic::Mov && table(n),
            },
        };
        by_table.then(|| Some(self.f.tables.iter().flat_map(|t| t.entries.iter().copied()).collect()))
    }

    /// The last instruction before `at` in a row that writes the register.
    fn writer(&self, at: usize, register: Register) -> Option<(usize, Instruction)> {
        let part = self.f.insns[at].part;
        let mut factory = InstructionInfoFactory::new();
        for n in (at.saturating_sub(LOOK_BACK)..at).rev() {
            let insn = self.f.insns.get(n).filter(|i| i.part == part)?;
            let i = self.room.decode(self.image, self.f, n)?;
            if is_conditional(&i) && bit(i.op0_register()) == bit(register) {
                return None;
            }
            if !insn.is_nop() && writes(&i, &mut factory) & bit(register) != 0 {
                return Some((n, i));
            }
            if !matches!(i.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch) {
                return None;
            }
        }
        None
    }
}

fn caller_saved() -> u16 {
    CALLER_SAVED.iter().fold(0, |h, &r| h | bit(r))
}

/// What the code of one function does to the registers that a call may change.
#[derive(Debug, Default)]
struct Effects {
    /// Written by its own code, or by calls of what its compiler couldn't see.
    written: u16,
    /// Saved at one place and loaded at another.
    saved: u16,
    /// The functions that it calls besides.
    calls: Vec<Svma>,
}

/// Functions by what they leave of their callers' registers. Each is read once, when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Callees {
    effects: RwLock<HashMap<Svma, Arc<Effects>, FixedState>>,
    /// By function and the calls that are followed.
    clobbered: RwLock<HashMap<(Svma, u32), u16, FixedState>>,
    /// Instructions decoded, for [`super::Lifted::decoded`].
    pub decoded: AtomicU64,
}

impl Callees {
    /// Registers that a function leaves in another state on some path, so that no caller relies on them: those that its code writes and
    /// doesn't save, and all that a call may change if it calls what its compiler couldn't see. 0 where that isn't seen here.
    fn clobbered(&self, image: &Image, start: Svma, depth: u32) -> u16 {
        let key = (start, depth);
        let known = self.clobbered.read().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        known.unwrap_or_else(|| {
            let own = self.effects(image, start);
            let deeper = depth.checked_sub(1).filter(|_| own.written != caller_saved());
            let calls = deeper.into_iter().flat_map(|depth| own.calls.iter().map(move |&to| (to, depth)));
            let written = calls.fold(own.written, |w, (to, depth)| w | self.clobbered(image, to, depth));
            let clobbered = written & !own.saved;
            self.clobbered.write().unwrap_or_else(PoisonError::into_inner).insert(key, clobbered);
            clobbered
        })
    }

    fn effects(&self, image: &Image, start: Svma) -> Arc<Effects> {
        let known = self.effects.read().unwrap_or_else(PoisonError::into_inner).get(&start).cloned();
        known.unwrap_or_else(|| {
            let mut decoded = 0;
            let own = Arc::new(effects(image, start, &mut decoded).unwrap_or_default());
            self.decoded.fetch_add(decoded, Ordering::Relaxed);
            self.effects.write().unwrap_or_else(PoisonError::into_inner).insert(start, own.clone());
            own
        })
    }
}

/// None where the code isn't seen.
fn effects(image: &Image, start: Svma, decoded: &mut u64) -> Option<Effects> {
    let (_, fde) = image.fde_at(start).filter(|(_, f)| f.range.start == start)?;
    let code = image.bytes(start, fde.range.size())?;
    let mut factory = InstructionInfoFactory::new();
    let (mut written, mut pushed, mut popped, mut calls) = (0, 0, 0, Vec::new());
    for i in &mut decode::decoder(code, start) {
        *decoded += 1;
        let one = if i.op_count() > 0 && i.op0_kind() == OpKind::Register { bit(i.op0_register()) } else { 0 };
        match (i.mnemonic(), i.flow_control()) {
            (Mnemonic::INVALID, _) => return None,
            (Mnemonic::Push, _) => pushed |= one,
            (Mnemonic::Pop, _) => popped |= one,
            (Mnemonic::Mov, _)
                if i.op1_kind() == OpKind::Register && i.op0_kind() == OpKind::Memory && on_stack(&i) =>
            {
                pushed |= bit(i.op1_register());
            }
            (Mnemonic::Mov, _) if one != 0 && i.op1_kind() == OpKind::Memory && on_stack(&i) => popped |= one,
            (_, FlowControl::IndirectCall) => written |= caller_saved(),
            (_, FlowControl::Call) => {
                let target = Svma(i.near_branch_target());
                match image.plt_at(target) {
                    Some(_) => written |= caller_saved(),
                    None => calls.push(target),
                }
            }
            _ => written |= plainly_writes(&i).unwrap_or_else(|| writes(&i, &mut factory)),
        }
    }
    calls.sort_unstable();
    calls.dedup();
    Some(Effects { written: (written | popped) & caller_saved(), saved: pushed & popped, calls })
}

/// As [`writes`], of the instructions that most code consists of: asking for all that one does takes long.
fn plainly_writes(i: &Instruction) -> Option<u16> {
    use Mnemonic::{Add, And, Cmp, Lea, Mov, Movsx, Movsxd, Movzx, Or, Sub, Test, Xor};
    match i.mnemonic() {
        Cmp | Test => Some(0),
        _ if i.is_jcc_short_or_near() => Some(0),
        Add | And | Lea | Mov | Movsx | Movsxd | Movzx | Or | Sub | Xor => match i.op0_kind() {
            OpKind::Register => Some(bit(i.op0_register())),
            _ => Some(0),
        },
        _ => None,
    }
}

pub(crate) fn instruction(image: &Image, f: &Function, insn: &Insn) -> Option<Instruction> {
    let at = f.parts[usize::from(insn.part)].start.plus(u64::from(insn.offset));
    let bytes = image.bytes(at, u64::from(insn.len))?;
    Some(decode::decoder(bytes, at).decode())
}

/// A slot of the frame may be where a compiler keeps what it computes with.
pub(super) fn on_stack(i: &Instruction) -> bool {
    matches!(i.memory_base().full_register(), Register::RSP | Register::RBP)
}

/// The distance from the stack pointer of a place that an instruction stores to.
fn slot(i: &Instruction) -> Option<u64> {
    let at_stack = i.memory_base() == Register::RSP && i.memory_index() == Register::None;
    (at_stack && i.op0_kind() == OpKind::Memory).then(|| i.memory_displacement64())
}

/// Whether an instruction stores a holder in the frame.
fn spills(i: &Instruction, holders: u16) -> bool {
    let register = i.op1_kind() == OpKind::Register && i.op1_register().size() == 8;
    i.mnemonic() == Mnemonic::Mov && register && holders & bit(i.op1_register()) != 0 && slot(i).is_some()
}

/// `mov` between registers, or `cmovcc`, which leaves one of two values.
pub(super) fn copies(i: &Instruction) -> bool {
    let moves = i.mnemonic() == Mnemonic::Mov || is_conditional(i);
    moves && i.op0_kind() == OpKind::Register && i.op1_kind() == OpKind::Register && i.op0_register().is_gpr64()
}

pub(super) fn is_conditional(i: &Instruction) -> bool {
    i.condition_code() != ConditionCode::None && i.op_count() == 2
}

const ONLY_OPERANDS: u32 = InstructionInfoOptions::NO_MEMORY_USAGE | InstructionInfoOptions::NO_REGISTER_USAGE;

/// Whether the instruction does more with a holder than to read or write where it points, to copy it, or to store it.
fn computes(i: &Instruction, factory: &mut InstructionInfoFactory, holders: u16) -> bool {
    let holds = |r: Register| holders & bit(r) != 0;
    let (base, index) = (i.memory_base(), i.memory_index());
    let memory = i.op_kinds().any(|k| k == OpKind::Memory);
    if memory && (holds(index) || holds(base) && (index != Register::None || i.mnemonic() == Mnemonic::Lea)) {
        return true;
    }
    if copies(i) {
        return false;
    }
    let operands = (0..i.op_count()).filter(|&n| i.op_kind(n) == OpKind::Register && holds(i.op_register(n)));
    for n in operands {
        let access = factory.info_options(i, ONLY_OPERANDS).op_access(n);
        // `xor` of a register with itself reads nothing.
        if access == OpAccess::None || access == OpAccess::Write && i.op_register(n).size() >= 4 {
            continue;
        }
        let copied = i.mnemonic() == Mnemonic::Mov && n == 1 && i.op_register(n).size() == 8;
        let stored = copied && i.op0_kind() == OpKind::Memory && !on_stack(i);
        let called = matches!(i.flow_control(), FlowControl::IndirectCall | FlowControl::IndirectBranch);
        // As an argument: nobody takes it from there again but the callee.
        if i.mnemonic() == Mnemonic::Push {
            continue;
        }
        if !stored && !called {
            return true;
        }
    }
    // What it reads without saying so (`rep movs`): as pointers that move on, but not past where they point.
    false
}

/// How far in front of the address that a holder has an instruction goes, if it does. It may be done again with what takes the address's place.
fn in_front(i: &Instruction, factory: &mut InstructionInfoFactory, holders: u16) -> Option<InFront> {
    let holds = |r: Register| holders & bit(r) != 0;
    let memory = i.op_kinds().any(|k| k == OpKind::Memory);
    if memory && i.memory_index() != Register::None && (holds(i.memory_base()) || holds(i.memory_index())) {
        return Some(InFront::Text);
    }
    let to_holder = i.op0_kind() == OpKind::Register && holds(i.op0_register());
    if memory && holds(i.memory_base()) {
        let by = i.memory_displacement64().cast_signed();
        return match u32::try_from(by.unsigned_abs()) {
            _ if by >= 0 => None,
            Ok(by) if !(to_holder && i.mnemonic() == Mnemonic::Lea) => Some(InFront::Bytes(by)),
            _ => Some(InFront::Text),
        };
    }
    let goes_on = match (i.mnemonic(), i.try_immediate(1)) {
        (Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Inc, _) => true,
        // The distance from something.
        (Mnemonic::Sub, _) if !to_holder => true,
        (Mnemonic::Add, Ok(by)) => by.cast_signed() > 0,
        (Mnemonic::Sub, Ok(by)) => by.cast_signed() < 0,
        _ => false,
    };
    (!goes_on && computes(i, factory, holders)).then_some(InFront::Text)
}

/// The registers that the instruction writes to in any case.
pub(super) fn writes(i: &Instruction, factory: &mut InstructionInfoFactory) -> u16 {
    let info = factory.info_options(i, InstructionInfoOptions::NO_MEMORY_USAGE);
    let written = |a: OpAccess| matches!(a, OpAccess::Write | OpAccess::ReadWrite);
    info.used_registers().iter().filter(|u| written(u.access())).fold(0, |m, u| m | bit(u.register()))
}

/// Follows copies, and forgets what gets another value.
fn overwrite(i: &Instruction, factory: &mut InstructionInfoFactory, holders: u16) -> u16 {
    // One that is written under a condition is still a holder.
    let mut written = || plainly_writes(i).unwrap_or_else(|| writes(i, factory));
    let kept = if is_conditional(i) { holders } else { holders & !written() };
    if copies(i) && holders & bit(i.op1_register()) != 0 { kept | bit(i.op0_register()) } else { kept }
}
