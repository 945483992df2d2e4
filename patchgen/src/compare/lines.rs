//! Numbers in code that are lines of the source: `__LINE__`, passed with `__FILE__` by assertions and log calls.
//!
//! A function that differs in nothing else may stay as it is, and a real change must never hide behind that. A number is a line only if
//! - an instruction puts it into a register in which the next call takes an argument, and nothing comes between;
//! - the line table has the call, or that instruction, on that line or a few lines above (a statement may go over several), equally far in
//!   both builds;
//! - the same call is given the address of a text that names the file of that row (`__FILE__`);
//! - no other argument of the call differs.
//!
//! So a number that is compared or computed with never is one, nor is an argument of a function that isn't told the file.

use super::arguments::{ARGUMENTS, MAX_ARGUMENTS, until_call};
use super::code::{Body, Diff, instruction, is_immediate};
use super::same::Same;
use crate::addr::{FuncId, Svma};
use crate::dwarf::Place;
use crate::lift::{Insn, Target};
use iced_x86::{Mnemonic, OpKind};
use std::collections::BTreeSet;

/// Where an instruction stands in the source.
pub type Source<'s> = dyn Fn(Svma) -> Option<Place> + Sync + 's;

/// Lines that a statement goes over, at most.
const MAX_STATEMENT_LINES: u64 = 8;

/// Every difference of the two is such a line.
pub(super) fn only_line_numbers(
    same: &Same<'_>,
    old: FuncId,
    new: FuncId,
    old_source: &Source<'_>,
    new_source: &Source<'_>,
) -> bool {
    let a = Body::new(&same.old.lifted.functions[old.index()], same.old);
    let b = Body::new(&same.new.lifted.functions[new.index()], same.new);
    let (xs, ys) = (a.f.insns.iter().filter(|i| !i.is_nop()), b.f.insns.iter().filter(|i| !i.is_nop()));
    let mut calls = BTreeSet::new();
    let code = xs.zip(ys).all(|(x, y)| match instruction(same, &a, &b, x, y) {
        None => true,
        Some(Diff::Immediate) => {
            let (Some(p), Some(q)) = (argument(&a, x, old_source), argument(&b, y, new_source)) else { return false };
            // Two numbers of one call: one of them may be another thing, and is a line by chance.
            calls.insert(p.call) && p.lines.iter().zip(&q.lines).any(|(s, t)| s.is_some() && s == t)
        }
        Some(_) => false,
    });
    code && a.f.tables.len() == b.f.tables.len()
        && super::unwind::same_unwind(same, a.f, b.f, &|s, t| a.place(s) == b.place(t))
}

/// A number that a call gets together with the name of a file.
struct Argument {
    call: (u8, u32),
    /// How far behind its own instruction's line, and the call's, it is, where that is a statement's length.
    lines: [Option<u64>; 2],
}

fn argument(body: &Body<'_>, insn: &Insn, source: &Source<'_>) -> Option<Argument> {
    let i = body.decode(insn);
    let puts = i.mnemonic() == Mnemonic::Mov && i.op0_kind() == OpKind::Register && is_immediate(i.op1_kind());
    let register = i.op0_register();
    if !puts || register.size() < 4 || !ARGUMENTS.contains(&register.full_register()) || !body.refs(insn).is_empty() {
        return None;
    }
    let behind = until_call(body, insn, register)?;
    let call = *behind.last()?;
    let number = match register.size() {
        4 => u64::from(i.immediate32()),
        _ => i.immediate(1),
    };
    let rows = [source(body.at(insn)), source(body.at(call))];
    let is_file = |text: &[u8]| rows.iter().flatten().any(|row| names_file(text, &row.file));
    let mut texts = before(body, insn).chain(behind.iter().copied()).flat_map(|n| body.refs(n));
    if !texts.any(|r| text(body, &r.target).is_some_and(is_file)) {
        return None;
    }
    let distance = |row: &Option<Place>| {
        let line = row.as_ref().map(|row| u64::from(row.line)).filter(|&line| line != 0)?;
        number.checked_sub(line).filter(|&d| d < MAX_STATEMENT_LINES)
    };
    Some(Argument { call: (call.part, call.offset), lines: [distance(&rows[0]), distance(&rows[1])] })
}

/// The instructions before one, back to the call before, the nearest first.
fn before<'a>(body: &Body<'a>, insn: &Insn) -> impl Iterator<Item = &'a Insn> {
    let insns = &body.f.insns;
    let here = insns.partition_point(|i| (i.part, i.offset) < (insn.part, insn.offset));
    let part = insn.part;
    insns[..here].iter().rev().take(MAX_ARGUMENTS).take_while(move |n| n.part == part && !n.is_call())
}

/// The text that an address leads to.
fn text<'a>(body: &Body<'a>, target: &Target) -> Option<&'a [u8]> {
    let Target::Data { data, offset } = *target else { return None };
    body.image.c_str(body.datum(data).range.start.offset(offset))
}

/// Whether a text is the path of a file, or ends with its last component.
fn names_file(text: &[u8], file: &str) -> bool {
    let last = |path: &[u8]| path.rsplit(|&b| b == b'/').next().map(<[u8]>::to_vec);
    !text.is_empty() && last(text) == last(file.as_bytes())
}
