//! Whether code uses an address as that of a table of distances, to its own cases or to data: it adds what it loads there to the address itself
//! (LLVM and GCC, position-independent code). Any other constant may hold numbers that would lead somewhere, too.

use super::decode::decoder;
use super::indexed::{bit, copies, is_conditional, on_stack, writes};
use super::tables::Body;
use crate::addr::{Svma, SvmaRange};
use crate::image::{Image, lsda::landing_pads};
use foldhash::fast::FixedState;
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};
use std::collections::HashMap;

/// Instructions that are looked at for one address, each as often as more registers may hold it there.
const FAR: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    Yes,
    /// On no path.
    No,
    /// The address is kept where it isn't followed: in the frame, in a vector.
    Lost,
}

/// What general registers may hold, a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Held {
    /// The address.
    base: u16,
    /// The address and something added.
    place: u16,
    /// Four bytes from there.
    entry: u16,
}

impl Held {
    fn all(self) -> u16 {
        self.base | self.place | self.entry
    }

    fn without(self, registers: u16) -> Held {
        Held { base: self.base & !registers, place: self.place & !registers, entry: self.entry & !registers }
    }
}

/// `table`: where the entries lie. `cases`: where the function's indirect jumps may lead.
pub(super) fn is_dispatched(image: &Image, body: &Body<'_>, table: SvmaRange, cases: &[(u8, u32)]) -> Seen {
    let walk = Walk { image, body, table, cases, factory: InstructionInfoFactory::new(), held: HashMap::default() };
    walk.run()
}

/// An instruction: part, and index in it.
type Spot = (usize, usize);

struct Walk<'a> {
    image: &'a Image,
    body: &'a Body<'a>,
    table: SvmaRange,
    cases: &'a [(u8, u32)],
    factory: InstructionInfoFactory,
    held: HashMap<Spot, Held, FixedState>,
}

impl Walk<'_> {
    fn run(mut self) -> Seen {
        let mut open: Vec<Spot> = Vec::new();
        for (part, seed) in self.body.parts.iter().enumerate() {
            let raws = seed.piece.iter().flat_map(|p| &p.raws).filter(|raw| self.table.contains(Svma(raw.addr)));
            for index in raws.map(|raw| raw.insn as usize) {
                self.held.insert((part, index), Held::default());
                open.push((part, index));
            }
        }
        let mut lost = false;
        for _ in 0..FAR {
            let Some(spot) = open.pop() else { return if lost { Seen::Lost } else { Seen::No } };
            let Some(i) = self.instruction(spot) else { continue };
            let before = self.held[&spot];
            if sums_up(&i, before) {
                return Seen::Yes;
            }
            lost |= hides(&i, before);
            let after = self.after(&i, before);
            for next in self.next(spot, &i) {
                let known = self.held.get(&next).copied();
                let known_or = known.unwrap_or_default();
                let joined = Held {
                    base: known_or.base | after.base,
                    place: known_or.place | after.place,
                    entry: known_or.entry | after.entry,
                };
                if joined.all() != 0 && known != Some(joined) {
                    self.held.insert(next, joined);
                    open.push(next);
                }
            }
        }
        Seen::Lost
    }

    fn instruction(&self, (part, index): Spot) -> Option<Instruction> {
        let piece = self.body.parts[part].piece.as_ref()?;
        let insn = piece.insns.get(index)?;
        let at = piece.range.start.plus(u64::from(insn.offset));
        Some(decoder(self.image.bytes(at, u64::from(insn.len))?, at).decode())
    }

    /// What is held behind the instruction.
    fn after(&mut self, i: &Instruction, before: Held) -> Held {
        if i.flow_control() == FlowControl::Call || i.flow_control() == FlowControl::IndirectCall {
            // Whether a callee leaves the others alone, its caller may know (GCC's `-fipa-ra`).
            return before.without(bit(Register::RAX) | bit(Register::RDX));
        }
        let kept = if is_conditional(i) { before } else { before.without(writes(i, &mut self.factory)) };
        let mut after = kept;
        if i.op_count() == 0 || i.op0_kind() != OpKind::Register {
            // `cdqe` widens what was loaded.
            if i.mnemonic() == Mnemonic::Cdqe {
                after.entry |= before.entry & bit(Register::RAX);
            }
            return after;
        }
        let to = bit(i.op0_register());
        let has = |set: u16, r: Register| set & bit(r) != 0;
        let (b, x) = (i.memory_base(), i.memory_index());
        match i.mnemonic() {
            Mnemonic::Lea if i.is_ip_rel_memory_operand() => {
                after.base |= if i.ip_rel_memory_address() == self.table.start.0 { to } else { 0 };
            }
            Mnemonic::Lea => {
                let inside = before.base | before.place;
                after.place |= if has(inside, b) || has(inside, x) { to } else { 0 };
            }
            Mnemonic::Add if i.op1_kind() == OpKind::Register => {
                let inside = before.base | before.place;
                let part = has(inside, i.op0_register()) || has(inside, i.op1_register());
                after.place |= if part { to } else { 0 };
            }
            Mnemonic::Mov | Mnemonic::Movsxd if i.op1_kind() == OpKind::Memory => {
                let inside = before.base | before.place;
                // Where the index is known, the compiler may have folded it into the address.
                let known = i.is_ip_rel_memory_operand() && self.table.contains(Svma(i.ip_rel_memory_address()));
                let entry = known || has(inside, b) || has(inside, x);
                let four = i.memory_size().size() == 4;
                after.entry |= if entry && four { to } else { 0 };
            }
            Mnemonic::Movsxd if has(before.entry, i.op1_register()) => after.entry |= to,
            _ if copies(i) => {
                let from = i.op1_register();
                let copied = |set: u16| if has(set, from) { to } else { 0 };
                after.base |= copied(before.base);
                after.place |= copied(before.place);
                after.entry |= copied(before.entry);
            }
            _ => {}
        }
        after
    }

    /// Where control may be after the instruction.
    fn next(&self, (part, index): Spot, i: &Instruction) -> Vec<Spot> {
        let on = (part, index + 1);
        let spot = |(part, offset): (u8, u32)| {
            let piece = self.body.parts.get(usize::from(part))?.piece.as_ref()?;
            let index = piece.insns.binary_search_by_key(&offset, |i| i.offset).ok()?;
            Some((usize::from(part), index))
        };
        let target = || self.body.place(Svma(i.near_branch_target())).and_then(spot);
        match i.flow_control() {
            FlowControl::UnconditionalBranch => target().into_iter().collect(),
            FlowControl::ConditionalBranch => target().into_iter().chain([on]).collect(),
            FlowControl::IndirectBranch => self.cases.iter().copied().filter_map(spot).collect(),
            FlowControl::Return | FlowControl::Exception => Vec::new(),
            FlowControl::Call | FlowControl::IndirectCall => {
                let fde = self.body.parts[part].fde.and_then(|n| self.image.fdes.get(n as usize));
                let pads = fde.filter(|fde| fde.lsda.is_some()).and_then(|fde| landing_pads(self.image, fde));
                let pads = pads.unwrap_or_default();
                pads.into_iter().filter_map(|pad| self.body.place(pad).and_then(spot)).chain([on]).collect()
            }
            _ => vec![on],
        }
    }
}

/// Adds an entry to the address of the table.
fn sums_up(i: &Instruction, held: Held) -> bool {
    let both = |a: Register, b: Register| {
        let (a, b) = (bit(a), bit(b));
        held.base & a != 0 && held.entry & b != 0 || held.base & b != 0 && held.entry & a != 0
    };
    match i.mnemonic() {
        Mnemonic::Add if i.op0_kind() == OpKind::Register && i.op1_kind() == OpKind::Register => {
            both(i.op0_register(), i.op1_register())
        }
        Mnemonic::Lea => i.memory_index_scale() == 1 && both(i.memory_base(), i.memory_index()),
        _ => false,
    }
}

/// Puts it where it isn't followed and may come back from.
fn hides(i: &Instruction, held: Held) -> bool {
    let holds = |n: u32| i.op_kind(n) == OpKind::Register && held.all() & bit(i.op_register(n)) != 0;
    match i.mnemonic() {
        Mnemonic::Push => holds(0),
        Mnemonic::Mov if i.op0_kind() == OpKind::Memory => on_stack(i) && holds(1),
        _ => {
            let vector = i.op_count() > 1 && i.op0_kind() == OpKind::Register && i.op0_register().is_vector_register();
            vector && (1..i.op_count()).any(holds)
        }
    }
}
