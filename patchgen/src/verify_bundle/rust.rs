//! Texts of Rust code have no zero behind them: how long one is stands beside its address.

use super::decode::{Insn, Operand};
use super::world::{Slot, World};
use std::collections::{BTreeMap, BTreeSet};

/// Instructions on either side of the address that may hold the length.
const NEAR: usize = 6;

/// Whether the image has code of rustc's: its library brings this function along.
pub(super) fn is_there(world: &World) -> bool {
    world.functions.values().flat_map(|f| &f.names).any(|n| n.name == "rust_eh_personality")
}

/// Collects what the instructions of one function say of the texts that they refer to.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Lengths that were seen beside an address, for each time that it was taken.
    lengths: BTreeMap<u64, Vec<Vec<u64>>>,
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
                self.lengths.entry(insn.end().wrapping_add_signed(*disp)).or_default().push(lengths);
            }
        }
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
