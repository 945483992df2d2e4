//! Whether what is in an array that got longer stays where it is. An index that code takes modulo the length, or counts from the end, means another
//! element with another length: of a hash table, of a ring. What only ends at the length means the same ones.

use super::escape::{ARGUMENTS, CALLER_SAVED, RAX, Regs, bit, reads, writes};
use super::{Candidate, Cause};
use crate::addr::FuncId;
use crate::image::Image;
use crate::include::Analysis;
use crate::lift::{Function, Insn, Lifted, instruction};
use crate::types::Longer;
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};
use std::collections::{BTreeMap, BTreeSet};

/// Instructions within which a difference gets to where it is used.
const NEAR: usize = 32;

/// What a function does with a number, apart from comparing it, storing it and giving it to somebody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Use {
    Masks,
    /// Keeps the low 8 or 16 bits, as for any narrow type.
    Narrows,
    Shifts,
    Multiplies,
    Divides,
    Adds,
    /// It is subtracted from, for an index.
    CountsFrom,
}

type Numbers = BTreeMap<(Use, u64), usize>;

/// Looks at the functions that use the variable, those that they call and those that call them, as far as they changed.
///
/// # Errors
/// In words, where an index may depend on a length.
pub(super) fn keep_places(analysis: Analysis<'_>, c: &Candidate, longer: &BTreeSet<Longer>) -> Result<(), String> {
    if longer.is_empty() {
        return Ok(());
    }
    let near = (around(analysis.old, &c.users_old), around(analysis.new, &c.users_new));
    let bytes = longer.iter().all(|l| l.sizes.0 == 1);
    let restrided = longer.iter().any(|l| l.sizes.0 != l.sizes.1);
    for change in analysis.changes.changed.iter().filter(|c| c.cause != Cause::LineNumber) {
        let user = c.users_old.contains(&change.old) || c.users_new.contains(&change.new);
        if !user && !near.0.contains(&change.old) && !near.1.contains(&change.new) {
            continue;
        }
        let (f, g) = (&analysis.old.functions[change.old.index()], &analysis.new.functions[change.new.index()]);
        let was = Code::new(analysis.old_image, f, bytes).numbers();
        let is = Code::new(analysis.new_image, g, bytes).numbers();
        let (gone, come) = (only(&was, &is), only(&is, &was));
        // Where the elements' size changed as well, other numbers go with that.
        let all = user && !restrided;
        if changes_places(&gone, &come, longer, all) {
            return Err(format!(
                "`{}` computes with its length: what is in it may belong to another place of the longer one",
                g.name
            ));
        }
    }
    Ok(())
}

/// The functions that these call, and that call them.
fn around(lifted: &Lifted, users: &[FuncId]) -> BTreeSet<FuncId> {
    let mut found = BTreeSet::new();
    for (i, f) in lifted.functions.iter().enumerate() {
        let called = || f.refs.iter().filter(|r| r.branch).filter_map(|r| r.target.func());
        if users.contains(&i.into()) {
            found.extend(called());
        } else if called().any(|callee| users.contains(&callee)) {
            found.insert(i.into());
        }
    }
    found
}

/// What is in one of them more often than in the other.
fn only(one: &Numbers, other: &Numbers) -> Vec<(Use, u64)> {
    let more = one.iter().filter(|(number, count)| other.get(number).is_none_or(|n| n < *count));
    more.map(|(&number, _)| number).collect()
}

/// `all`: any number that changed counts, not just those that tell of the length.
fn changes_places(gone: &[(Use, u64)], come: &[(Use, u64)], longer: &BTreeSet<Longer>, all: bool) -> bool {
    let plain = |numbers: &[(Use, u64)]| {
        numbers
            .iter()
            .any(|(u, _)| matches!(u, Use::Masks | Use::Shifts | Use::Multiplies | Use::Divides | Use::CountsFrom))
    };
    let both = |l: &Longer, of: Use| {
        gone.iter().any(|&(u, n)| u == of && tells(u, n, l.old))
            && come.iter().any(|&(u, n)| u == of && tells(u, n, l.new))
    };
    let surely = |u: Use| matches!(u, Use::Masks | Use::Narrows | Use::Divides | Use::Multiplies);
    let alone = |l: &Longer| {
        gone.iter().any(|&(u, n)| surely(u) && tells(u, n, l.old))
            || come.iter().any(|&(u, n)| surely(u) && tells(u, n, l.new))
    };
    let any_length = |l: &Longer| {
        alone(l) || both(l, Use::Shifts) || both(l, Use::CountsFrom) || l.sizes.0 > 1 && both(l, Use::Adds)
    };
    all && plain(gone) && plain(come) || longer.iter().any(any_length)
}

/// Whether a number used so may come from a length.
fn tells(of: Use, number: u64, length: u64) -> bool {
    let bits = length.is_power_of_two().then(|| u64::from(length.ilog2()));
    match of {
        // Together with the elements' size.
        Use::Masks | Use::Narrows => length > 1 && (0..8).any(|scale| number == (length - 1) << scale),
        Use::Shifts => bits.is_some_and(|b| [b, 16u64.wrapping_sub(b), 32 - b.min(32), 64 - b].contains(&number)),
        Use::Divides => number == length,
        Use::Multiplies => length > 2 && is_reciprocal(number, length >> length.trailing_zeros()),
        Use::Adds | Use::CountsFrom => number == length || number == length - 1,
    }
}

/// Whether a compiler may multiply by `number` to divide by `odd`, or a power of two of it (Granlund and Montgomery, 1994): it is 2^k / odd rounded up,
/// perhaps without its highest bit.
fn is_reciprocal(number: u64, odd: u64) -> bool {
    let near_power = |n: u128| {
        let product = n * u128::from(odd);
        let power = 1u128 << product.ilog2();
        product - power <= u128::from(odd)
    };
    let number = u128::from(number);
    (2..1 << 40).contains(&odd)
        && number > u128::from(u16::MAX)
        && [0, 1 << 32, 1 << 64].iter().any(|high| near_power(number + high))
}

struct Code<'a> {
    image: &'a Image,
    function: &'a Function,
    /// The elements are bytes: the length is a size as well.
    bytes: bool,
    factory: InstructionInfoFactory,
}

impl<'a> Code<'a> {
    fn new(image: &'a Image, function: &'a Function, bytes: bool) -> Code<'a> {
        Code { image, function, bytes, factory: InstructionInfoFactory::new() }
    }

    fn numbers(&mut self) -> Numbers {
        let mut found = Numbers::new();
        for (n, insn) in self.function.insns.iter().enumerate() {
            let Some(i) = self.decode(insn) else { continue };
            let mut all = Vec::new();
            self.uses(n, insn, &i, &mut all);
            all.into_iter().for_each(|number| *found.entry(number).or_default() += 1);
        }
        found
    }

    fn decode(&self, insn: &Insn) -> Option<Instruction> {
        if insn.is_nop() || insn.local().is_some() { None } else { instruction(self.image, self.function, insn) }
    }

    fn uses(&mut self, at: usize, insn: &Insn, i: &Instruction, found: &mut Vec<(Use, u64)>) {
        use Mnemonic::{Add, And, Imul, Lea, Mov, Movzx, Push, Rol, Ror, Rorx, Sar, Shl, Shr, Sub, Xor};
        let in_memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
        let address = !insn.refs().is_empty() && !in_memory;
        let stack = i.op0_register() == Register::RSP;
        let immediate = (0..i.op_count()).find_map(|n| i.try_immediate(n).ok()).filter(|_| !address && !stack);
        let width = match i.op0_kind() {
            OpKind::Register => i.op0_register().size(),
            _ => i.memory_size().size(),
        };
        let number = immediate.map(|n| if width < 8 { n & ((1 << (8 * width)) - 1) } else { n });
        let magnitude = |n: i64| n.unsigned_abs();
        match (i.mnemonic(), number) {
            (And | Xor, Some(n)) => found.push((Use::Masks, n)),
            (Shl | Shr | Sar | Rol | Ror | Rorx, Some(n)) => found.push((Use::Shifts, n)),
            (Imul, Some(n)) => found.push((Use::Multiplies, n)),
            (Add | Sub, Some(_)) => {
                found.extend(immediate.map(|n| (Use::Adds, magnitude(n.cast_signed()))));
            }
            (Movzx, None) if i.op1_kind() == OpKind::Register => {
                found.push((Use::Narrows, (1 << (8 * i.op1_register().size())) - 1));
            }
            (Lea, None) if insn.refs().is_empty() && !matches!(i.memory_base(), Register::RSP | Register::RBP) => {
                found.push((Use::Adds, magnitude(i.memory_displacement64().cast_signed())));
            }
            (Mov, Some(n)) if width >= 4 => found.extend(bit(i.op0_register()).and_then(|r| self.used(at, r, n))),
            (Push, Some(n)) => {
                let next = self.function.insns.get(at + 1).and_then(|next| self.decode(next));
                let register = next.filter(|i| i.mnemonic() == Mnemonic::Pop).and_then(|i| bit(i.op0_register()));
                found.extend(register.and_then(|r| self.used(at + 1, r, n)));
            }
            _ => {}
        }
    }

    /// What is done with a number that is in a register behind instruction `at`.
    fn used(&mut self, at: usize, register: Regs, number: u64) -> Option<(Use, u64)> {
        use Mnemonic::{Add, And, Div, Idiv, Imul, Lea, Mul, Mulx, Sub, Xor};
        let insns = &self.function.insns;
        let part = insns[at].part;
        for (n, insn) in insns.iter().enumerate().skip(at + 1).take_while(|(_, i)| i.part == part) {
            if insn.is_call() && register & CALLER_SAVED != 0 {
                return None;
            }
            let Some(i) = self.decode(insn) else { continue };
            let info = self.factory.info(&i);
            let own = info.used_registers().iter().filter(|u| bit(u.register()) == Some(register));
            let (read, written) =
                own.fold((false, false), |(r, w), u| (r || reads(u.access()), w || writes(u.access())));
            let is = |r: Register| bit(r) == Some(register);
            let how = match i.mnemonic() {
                _ if !read => None,
                Mul | Imul | Mulx => Some(Use::Multiplies),
                Div | Idiv if is(i.op0_register()) => Some(Use::Divides),
                And | Xor => Some(Use::Masks),
                Sub if is(i.op0_register()) && i.op0_register() != i.op1_register() => {
                    self.is_index(n, register).then_some(Use::CountsFrom)
                }
                Sub | Add | Lea => Some(Use::Adds),
                _ => None,
            };
            if let Some(how) = how {
                return Some((how, number));
            }
            if written {
                return None;
            }
        }
        None
    }

    /// Whether a difference that instruction `at` leaves in a register is an index, as far as can be seen; else it is a count of what is left.
    fn is_index(&mut self, at: usize, register: Regs) -> bool {
        let mut holds = register;
        for insn in self.function.insns.iter().skip(at + 1).take(NEAR) {
            if insn.is_call() {
                if holds & ARGUMENTS != 0 {
                    return false;
                }
                holds &= !CALLER_SAVED;
                continue;
            }
            let Some(i) = self.decode(insn) else { continue };
            let has = |r: Register| bit(r).is_some_and(|b| holds & b != 0);
            let through = has(i.memory_base()) || has(i.memory_index());
            if through && i.mnemonic() != Mnemonic::Lea {
                return true;
            }
            let stores = i.op0_kind() == OpKind::Memory && has(i.op1_register()) && i.mnemonic() == Mnemonic::Mov;
            if stores {
                return !self.bytes;
            }
            match i.flow_control() {
                FlowControl::Next => {}
                FlowControl::Return => return holds & RAX != 0 && !self.bytes,
                _ => return false,
            }
            let info = self.factory.info(&i);
            let source = through || i.op_count() > 1 && has(i.op1_register());
            for used in info.used_registers().iter().filter(|u| writes(u.access())) {
                let Some(own) = bit(used.register()) else { continue };
                match source || i.op_count() < 2 && holds & own != 0 {
                    true => holds |= own,
                    false if !reads(used.access()) => holds &= !own,
                    false => {}
                }
            }
            if holds == 0 {
                return false;
            }
        }
        false
    }
}
