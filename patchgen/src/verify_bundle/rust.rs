//! Texts of Rust code have no zero behind them: how long one is stands beside its address.

use super::decode::{Insn, Operand};
use super::world::{Slot, World};
use std::collections::{BTreeMap, BTreeSet};

/// Instructions on either side of the address that may hold the length.
const NEAR: usize = 6;

/// Instructions behind the address of a table that may use it.
const TABLE: usize = 24;

/// Whether code that begins by taking an address loads a distance from there, by an index, and adds the two.
fn adds_distances(insns: &[Insn], taken: &Insn) -> bool {
    let Some(Operand::Reg(table)) = taken.operands.first() else { return false };
    let load = |insn: &&Insn| {
        insn.verb() == "movsxd"
            && insn.operands.iter().any(|o| matches!(o, Operand::Mem { base, scale: 4, .. } if base == table))
    };
    let Some(loaded) = insns.iter().find(load).and_then(|insn| insn.operands.first()) else { return false };
    let both = [Operand::Reg(*table), loaded.clone()];
    insns.iter().any(|insn| insn.verb() == "add" && both.iter().all(|o| insn.operands.contains(o)))
}

/// Whether the image has code of rustc's: its library brings this function along.
pub(super) fn is_there(world: &World) -> bool {
    world.functions.values().flat_map(|f| &f.names).any(|n| n.name == "rust_eh_personality")
}

/// Collects what the instructions of one function say of the texts that they refer to.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Lengths that were seen beside an address, for each time that it was taken.
    lengths: BTreeMap<u64, Vec<Vec<u64>>>,
    /// Where tables of distances begin: what a `match` is made of that gives texts, and clang's arrays of addresses.
    tables: BTreeSet<u64>,
}

impl Texts {
    pub fn function(&mut self, insns: &[Insn]) {
        // What is loaded is read as far as the instruction says.
        let taken = |insn: &Insn| insn.rip_relative() && insn.verb() == "lea";
        for (i, insn) in insns.iter().enumerate().filter(|(_, insn)| taken(insn)) {
            for operand in &insn.operands {
                let Operand::Mem { disp, .. } = operand else { continue };
                let around = &insns[i.saturating_sub(NEAR)..insns.len().min(i + NEAR + 1)];
                let numbers = around.iter().flat_map(|i| &i.operands).filter_map(|o| match o {
                    Operand::Imm(value) => u64::try_from(*value).ok(),
                    _ => None,
                });
                // A text without placeholders goes along with twice its length, and one.
                let lengths = numbers.flat_map(|n| [Some(n), (n % 2 == 1).then_some(n / 2)]).flatten().collect();
                let at = insn.end().wrapping_add_signed(*disp);
                self.lengths.entry(at).or_default().push(lengths);
                if adds_distances(&insns[i..insns.len().min(i + TABLE)], insn) {
                    self.tables.insert(at);
                }
            }
        }
    }

    /// What each table of distances leads to. Something begins where an entry leads forward.
    pub fn looked_up(&self, world: &World, cuts: &BTreeSet<u64>) -> BTreeMap<u64, Vec<u64>> {
        let of = |&table: &u64| {
            let mut end = cuts.range(table + 1..).next().copied().unwrap_or(table);
            let mut targets = Vec::new();
            for at in (table..).step_by(4) {
                let distance = world.signed32(at).filter(|d| *d != 0 && at + 4 <= end);
                let Some(to) = distance.map(|d| table.wrapping_add_signed(d)).filter(|to| world.mapped(*to)) else {
                    break;
                };
                end = if to > table { end.min(to) } else { end };
                targets.push(to);
            }
            (!targets.is_empty() && table + 4 * targets.len() as u64 <= end).then_some((table, targets))
        };
        self.tables.iter().filter_map(of).collect()
    }

    /// Ends of the texts of which every reference, in code and in data, has a length that leads to where something else begins.
    pub fn ends(mut self, world: &World, cuts: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
        for (&at, slot) in &world.slots {
            if let Slot::Addr(to) = slot {
                let length = if world.slots.contains_key(&(at + 8)) { None } else { world.word(at + 8) };
                self.lengths.entry(*to).or_default().push(length.into_iter().collect());
            }
        }
        let end = |(at, seen): (u64, Vec<Vec<u64>>)| {
            let next = *cuts.range(at + 1..).next()?;
            let bytes = world.bytes(at, next - at)?;
            let length = bytes.iter().rposition(|b| *b != 0)? + 1;
            let text = std::str::from_utf8(&bytes[..length]).is_ok_and(|t| !t.contains('\0'));
            let length = length as u64;
            (text && seen.iter().all(|lengths| lengths.contains(&length))).then_some((at, at + length))
        };
        self.lengths.into_iter().filter_map(end).collect()
    }
}
