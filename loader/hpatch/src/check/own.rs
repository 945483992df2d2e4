//! Modules that move threads to other stacks by code of their own, which no name tells: a library with coroutines in assembly.
//!
//! All code of the process's modules is looked through while it runs. What may be an instruction that gives the stack pointer a value is rare;
//! the functions around (as the frame tables know them) are decoded and judged as a whole.

use hpatch_core::elf::PF_X;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};

use super::unwind::Frames;
use crate::target::maps::Mapping;
use crate::target::mem::Mem;
use crate::target::modules::Module;

/// Code that is read at once, in bytes. Pieces overlap, so that no candidate is cut.
const PIECE: usize = 1 << 20;
const OVERLAP: u64 = 2;
/// Longer functions aren't decoded, in bytes.
const LONGEST: u64 = 4 << 20;
/// Instructions between a switch and where it goes on, at most.
const TAIL: u64 = 24;
/// Parts that a function may have.
const PARTS: usize = 16;

/// avmas, half-open.
type Part = (u64, u64);

/// Whether a function of the module switches stacks. What isn't understood does.
pub fn switches(mem: &Mem, m: &Module, maps: &[Mapping]) -> bool {
    let Some(places) = candidates(mem, m) else { return true };
    if places.is_empty() {
        return false;
    }
    let frames = Frames::load(mem, m, maps);
    let mut judged: Part = (0, 0);
    for place in places {
        if (judged.0..judged.1).contains(&place) {
            continue;
        }
        let Some((frames, part)) = frames.as_ref().and_then(|f| Some((f, f.function(place)?))) else {
            if ends_like_a_switch(mem, m, place) {
                return true;
            }
            continue;
        };
        if function_switches(mem, frames, part).unwrap_or(true) {
            return true;
        }
        judged = part;
    }
    false
}

/// Whether what no frame table covers is code that gives the stack pointer a value, takes registers from there, and goes on elsewhere: tables of
/// numbers that lie between functions look otherwise.
fn ends_like_a_switch(mem: &Mem, m: &Module, place: u64) -> bool {
    // The last page of code may end behind it.
    let Some(code) = [TAIL * 8, TAIL, 2].into_iter().find_map(|len| decode(mem, place, place + len)) else {
        return true;
    };
    let is_code = |addr: u64| {
        let mut segments = m.image.segments().iter().filter(|s| s.flags & PF_X != 0);
        segments.any(|s| addr.wrapping_sub(m.image.bias.wrapping_add(s.svma)) < s.size)
    };
    goes_on_elsewhere(&code, is_code)
}

/// Whether `code` begins with such a write and goes on elsewhere, where `is_code` is what direct calls may lead to.
fn goes_on_elsewhere(code: &[Instruction], is_code: impl Fn(u64) -> bool) -> bool {
    if !code.first().is_some_and(hpatch_stacks::writes_stack) {
        return false;
    }
    use Mnemonic::{
        Add, And, Cld, Endbr64, Fldcw, Incsspd, Incsspq, Ldmxcsr, Lea, Mov, Movaps, Movdqa, Movups, Nop, Pop, Popfq,
        Push, Rdsspd, Rdsspq, Rstorssp, Saveprevssp, Sub, Test, Xchg, Xor,
    };
    let moves = [
        Add,
        And,
        Cld,
        Endbr64,
        Fldcw,
        Incsspd,
        Incsspq,
        Ldmxcsr,
        Lea,
        Mov,
        Movaps,
        Movdqa,
        Movups,
        Nop,
        Pop,
        Popfq,
        Push,
        Rdsspd,
        Rdsspq,
        Rstorssp,
        Saveprevssp,
        Sub,
        Test,
        Xchg,
        Xor,
    ];
    // Where there may be no shadow stack, what is done to it is jumped over.
    let shadow = code.iter().any(|i| matches!(i.mnemonic(), Incsspd | Incsspq | Rstorssp | Saveprevssp));
    let passes = |i: &&Instruction| shadow && i.flow_control() == FlowControl::ConditionalBranch;
    let behind = code.iter().find(|i| !moves.contains(&i.mnemonic()) && !passes(i));
    use FlowControl::{Call, IndirectBranch, IndirectCall, Return, UnconditionalBranch};
    behind.is_none_or(|i| match i.flow_control() {
        Return | IndirectBranch | IndirectCall | UnconditionalBranch => true,
        // One byte makes a call, so a table of numbers has many; where they lead tells them apart.
        Call => is_code(i.near_branch_target()),
        _ => false,
    })
}

/// avmas at which the stack pointer may be written, ascending.
fn candidates(mem: &Mem, m: &Module) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    let mut piece = vec![0; PIECE];
    for s in m.image.segments().iter().filter(|s| s.flags & PF_X != 0) {
        let mut at = m.image.bias.wrapping_add(s.svma);
        let end = at.checked_add(s.size)?;
        while at < end {
            let here = &mut piece[..(end - at).min(PIECE as u64) as usize];
            mem.read(at, here).ok()?;
            found.extend(hpatch_stacks::candidates(here).into_iter().map(|offset| at + offset as u64));
            at += here.len() as u64;
            if at < end {
                at -= OVERLAP;
            }
        }
    }
    found.dedup();
    Some(found)
}

/// The function with this part, and with others that it jumps into the middle of: where the stack pointer's new value comes from may be there.
fn function_switches(mem: &Mem, frames: &Frames, part: Part) -> Option<bool> {
    let mut parts = vec![part];
    let mut code = Vec::new();
    let mut next = 0;
    while let Some(&(start, end)) = parts.get(next) {
        next += 1;
        let here = decode(mem, start, end)?;
        for target in here.iter().filter(|i| is_jump(i)).map(Instruction::near_branch_target) {
            let known = parts.iter().any(|p| (p.0..p.1).contains(&target));
            match frames.function(target).filter(|p| !known && p.0 != target) {
                Some(_) if parts.len() == PARTS => return None,
                Some(other) => parts.push(other),
                None => {}
            }
        }
        code.extend(here);
        if !hpatch_stacks::switches(&code) {
            return Some(false);
        }
    }
    Some(true)
}

fn is_jump(i: &Instruction) -> bool {
    let jumps = matches!(i.flow_control(), FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch);
    jumps && i.near_branch_target() != 0
}

fn decode(mem: &Mem, start: u64, end: u64) -> Option<Vec<Instruction>> {
    let len = end.checked_sub(start).filter(|len| *len <= LONGEST)?;
    let bytes = mem.read_vec(start, len as usize).ok()?;
    Some(Decoder::with_ip(64, &bytes, start, DecoderOptions::NONE).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code at 0x1000 of a module that has code up to 0x2000.
    fn judged(code: &[u8]) -> bool {
        let all: Vec<_> = Decoder::with_ip(64, code, 0x1000, DecoderOptions::NONE).into_iter().collect();
        goes_on_elsewhere(&all, |addr| (0x1000..0x2000).contains(&addr))
    }

    #[test]
    fn code_without_frames_is_told_from_numbers() {
        // mov rsp, rsi; pop rbp; ret
        assert!(judged(&[0x48, 0x89, 0xf4, 0x5d, 0xc3]));
        // mov rsp, rdi; and rsp, -16; call 0x1100; ud2: a first function on a new stack.
        assert!(judged(&[0x48, 0x89, 0xfc, 0x48, 0x83, 0xe4, 0xf0, 0xe8, 0xf4, 0, 0, 0, 0x0f, 0x0b]));
        // The same, leading out of the module.
        assert!(!judged(&[0x48, 0x89, 0xfc, 0x48, 0x83, 0xe4, 0xf0, 0xe8, 0xf4, 0, 0, 0x40, 0x0f, 0x0b]));
        // mov rsp, rsi; rdsspq rcx; test rcx, rcx; jz +5; incsspq rdx; pop rbp; ret
        let shadow = [0x48, 0x89, 0xf4, 0xf3, 0x48, 0x0f, 0x1e, 0xc9, 0x48, 0x85, 0xc9, 0x74, 0x05];
        assert!(judged(&[&shadow[..], &[0xf3, 0x48, 0x0f, 0xae, 0xea, 0x5d, 0xc3]].concat()));
        // mov rsp, rsi; jz +5; ret
        assert!(!judged(&[0x48, 0x89, 0xf4, 0x74, 0x05, 0xc3]));
    }
}
