//! A walk of the call frames by call frame information, to clear a false alarm of the scan.
//!
//! The scan sees every word, also return addresses that earlier calls left behind. When the frame tables lead from the program
//! counter without a gap to the outermost frame, the words between frames' return slots are known to be left-overs. At the first
//! doubt (no table entry, an unreadable slot, a stack pointer that doesn't grow) nothing is cleared.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EvaluationResult, FrameDescriptionEntry, LittleEndian, Location,
    ParsedEhFrameHdr, Pointer, Register, RegisterRule, UnwindContext, UnwindSection, Value, X86_64,
};

use super::scan::{Hit, Use};
use crate::target::Target;
use crate::target::control::Control;
use crate::target::elf;
use crate::target::maps::{self, Mapping};
use crate::target::mem::Mem;
use crate::target::modules;
use crate::trace::ptrace::Regs;
use crate::trace::stop::{Place, Tracee};

type Slice = gimli::EndianSlice<'static, LittleEndian>;
/// LSB.
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const MAX_FRAMES: usize = 4096;
const MAX_TABLE: u64 = 64 << 20;
/// DWARF numbers of the psABI: rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to r15.
const SP: usize = 7;

/// Frame tables of one module, copied from the target's memory.
#[derive(Debug)]
pub struct Frames {
    start: u64,
    end: u64,
    eh_frame: EhFrame<Slice>,
    header: Option<ParsedEhFrameHdr<Slice>>,
    bases: BaseAddresses,
}

/// Frame tables of a process. Loading them takes milliseconds and happens while the process runs.
#[derive(Debug)]
pub struct Unwinder {
    modules: Vec<Frames>,
}

impl Unwinder {
    pub fn load(target: &Target) -> Self {
        let mut u = Self { modules: Vec::new() };
        let Ok(maps) = target.maps() else { return u };
        u.modules
            .extend(modules::loaded(&target.mem, &maps).iter().filter_map(|m| Frames::load(&target.mem, m, &maps)));
        if let Ok(Some(control)) = Control::find_in(target, &maps) {
            for p in control.records(target).unwrap_or_default() {
                for (unit, _) in p.units.iter().filter(|u| u.0.eh_frame != 0) {
                    u.modules.extend(Frames::payload(&target.mem, unit));
                }
            }
        }
        u
    }

    /// Takes from `hits` what a complete walk shows to be a left-over, provided that nothing but threads has a stack: a suspended one may lie
    /// in a variable of a frame.
    pub fn clear<'a>(&self, hits: &mut Vec<Hit>, threads: impl Iterator<Item = &'a Tracee>, mem: &Mem) {
        for t in threads.filter(|t| t.place == Place::Stopped) {
            if !hits.iter().any(|h| h.tid == t.tid) {
                continue;
            }
            if let Some(walk) = self.walk(&t.regs, mem) {
                hits.retain(|h| h.tid != t.tid || !walk.disproves(h));
            }
        }
    }

    fn module(&self, pc: u64) -> Option<&Frames> {
        self.modules.iter().find(|m| m.start <= pc && pc < m.end)
    }

    /// The frames from `regs` to the outermost one, or `None` when the way is lost.
    fn walk(&self, regs: &Regs, mem: &Mem) -> Option<Walk> {
        let mut r = [
            regs.rax, regs.rdx, regs.rcx, regs.rbx, regs.rsi, regs.rdi, regs.rbp, regs.rsp, regs.r8, regs.r9, regs.r10,
            regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
        ];
        let mut pc = regs.rip;
        let mut exact = true;
        let mut walk = Walk { slots: Vec::new(), stretches: vec![(r[SP].wrapping_sub(128), r[SP])] };
        let mut context = UnwindContext::new();
        for _ in 0..MAX_FRAMES {
            // A return address belongs to the call before it.
            let at = if exact { pc } else { pc.wrapping_sub(1) };
            let module = self.module(at)?;
            match module.step(at, &mut r, mem, &mut context)? {
                Step::Outermost => return Some(walk),
                Step::Caller { slot, pc: next, signal } => {
                    let last = walk.stretches.last_mut()?;
                    if signal {
                        walk.stretches.push((r[SP].wrapping_sub(128), r[SP]));
                    } else if r[SP] <= last.1 {
                        return None;
                    } else {
                        last.1 = r[SP];
                    }
                    walk.slots.push(slot);
                    exact = signal;
                    pc = next;
                    if pc == 0 {
                        return Some(walk);
                    }
                }
            }
        }
        None
    }
}

#[derive(Debug)]
struct Walk {
    /// Where return addresses (and interrupted program counters) of live frames lie.
    slots: Vec<u64>,
    /// Stretches of stack that the frames fill without a gap.
    stretches: Vec<(u64, u64)>,
}

impl Walk {
    fn disproves(&self, hit: &Hit) -> bool {
        let slot = match hit.how {
            // A register isn't where any of the frames returns by.
            Use::Returning { slot: 0 } => return true,
            Use::Returning { slot } | Use::Interrupted { slot } => slot,
            Use::Executing | Use::Suspended { .. } | Use::Unreadable | Use::TooLarge => return false,
        };
        !self.slots.contains(&slot) && self.stretches.iter().any(|s| s.0 <= slot && slot < s.1)
    }
}

enum Step {
    Outermost,
    Caller { slot: u64, pc: u64, signal: bool },
}

fn read_table(mem: &Mem, from: u64, to: u64) -> Option<Slice> {
    let bytes = mem.read_vec(from, to.checked_sub(from).filter(|n| *n <= MAX_TABLE)? as usize).ok()?;
    // Kept to the end of the command: one command loads the tables of one process once.
    Some(Slice::new(bytes.leak(), LittleEndian))
}

impl Frames {
    pub fn load(mem: &Mem, m: &modules::Module, maps: &[Mapping]) -> Option<Self> {
        let table = elf::program_headers(mem, m.base)?.into_iter().find(|p| p.kind == PT_GNU_EH_FRAME)?;
        let (hdr_at, size) = (m.image.bias.wrapping_add(table.vaddr), table.size);
        let bases = BaseAddresses::default().set_eh_frame_hdr(hdr_at);
        let hdr = read_table(mem, hdr_at, hdr_at.checked_add(size)?)?;
        let parsed = EhFrameHdr::from(hdr).parse(&bases, 8).ok()?;
        let Pointer::Direct(frame_at) = parsed.eh_frame_ptr() else { return None };
        let frame_end = maps::find(maps, frame_at)?.end.min(m.end);
        let eh_frame = EhFrame::from(read_table(mem, frame_at, frame_end)?);
        let has_table = parsed.table().is_some();
        Some(Self {
            start: m.base,
            end: m.end,
            eh_frame,
            header: has_table.then_some(parsed),
            bases: bases.set_eh_frame(frame_at),
        })
    }

    fn payload(mem: &Mem, unit: &hpatch_core::abi::Unit) -> Option<Self> {
        let end = unit.map.checked_add(unit.map_len)?;
        let eh_frame = EhFrame::from(read_table(mem, unit.eh_frame, end)?);
        let bases = BaseAddresses::default().set_eh_frame(unit.eh_frame);
        Some(Self { start: unit.map, end, eh_frame, header: None, bases })
    }

    fn entry(&self, at: u64) -> Option<FrameDescriptionEntry<Slice>> {
        match self.header.as_ref().and_then(ParsedEhFrameHdr::table) {
            Some(t) => t.fde_for_address(&self.eh_frame, &self.bases, at, EhFrame::cie_from_offset).ok(),
            None => self.eh_frame.fde_for_address(&self.bases, at, EhFrame::cie_from_offset).ok(),
        }
    }

    /// First and last avma (exclusive) of the function around `at`, or of that part of it.
    pub fn function(&self, at: u64) -> Option<(u64, u64)> {
        self.entry(at).map(|fde| (fde.initial_address(), fde.initial_address().wrapping_add(fde.len())))
    }

    /// Finds the caller of the frame at `at`, and puts its registers in `r`.
    fn step(&self, at: u64, r: &mut [u64; 16], mem: &Mem, context: &mut UnwindContext<usize>) -> Option<Step> {
        let fde = self.entry(at)?;
        let row = fde.unwind_info_for_address(&self.eh_frame, &self.bases, context, at).ok()?;
        let before = *r;
        let reg = |n: Register| before.get(usize::from(n.0)).copied();
        let eval = |e: &gimli::UnwindExpression<usize>, cfa: Option<u64>| {
            evaluate(e.get(&self.eh_frame).ok()?, fde.cie().encoding(), &before, mem, cfa)
        };
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => reg(*register)?.wrapping_add_signed(*offset),
            CfaRule::Expression(e) => eval(e, None)?,
        };
        let value = |rule: &RegisterRule<usize>, same: Option<u64>| -> Option<(u64, u64)> {
            let load = |slot: u64| Some((mem.read_u64(slot).ok()?, slot));
            match rule {
                RegisterRule::SameValue => Some((same?, 0)),
                RegisterRule::Offset(o) => load(cfa.wrapping_add_signed(*o)),
                RegisterRule::ValOffset(o) => Some((cfa.wrapping_add_signed(*o), 0)),
                RegisterRule::Register(n) => Some((reg(*n)?, 0)),
                RegisterRule::Expression(e) => load(eval(e, Some(cfa))?),
                RegisterRule::ValExpression(e) => Some((eval(e, Some(cfa))?, 0)),
                RegisterRule::Constant(c) => Some((*c, 0)),
                _ => None,
            }
        };
        for (n, slot) in r.iter_mut().enumerate() {
            let rule = row.register(Register(n as u16)).unwrap_or(RegisterRule::SameValue);
            *slot = match rule {
                RegisterRule::Undefined => 0,
                RegisterRule::SameValue if n == SP => cfa,
                rule => value(&rule, Some(before[n]))?.0,
            };
        }
        match row.register(X86_64::RA) {
            Some(RegisterRule::Undefined) => Some(Step::Outermost),
            Some(rule) => {
                let (pc, slot) = value(&rule, None)?;
                Some(Step::Caller { slot, pc, signal: fde.is_signal_trampoline() })
            }
            None => None,
        }
    }
}

/// A DWARF expression over registers and memory, as signal trampolines and PLT entries use them.
fn evaluate(
    e: gimli::Expression<Slice>,
    enc: gimli::Encoding,
    r: &[u64; 16],
    mem: &Mem,
    cfa: Option<u64>,
) -> Option<u64> {
    let mut run = e.evaluation(enc);
    if let Some(cfa) = cfa {
        run.set_initial_value(cfa);
    }
    let mut state = run.evaluate().ok()?;
    loop {
        state = match state {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                run.resume_with_register(Value::Generic(*r.get(usize::from(register.0))?)).ok()?
            }
            EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                run.resume_with_memory(Value::Generic(mem.read_u64(address).ok()?)).ok()?
            }
            _ => return None,
        };
    }
    match run.result().first()?.location {
        Location::Address { address } => Some(address),
        Location::Value { value: Value::Generic(v) } => Some(v),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(how: Use) -> Hit {
        Hit { tid: 1, how, addr: 0x10, func: 0 }
    }

    #[test]
    fn only_words_between_frames_are_left_overs() {
        let w = Walk { slots: vec![0x1010, 0x1040], stretches: vec![(0x0f80, 0x1048), (0x9000, 0x9080)] };
        assert!(w.disproves(&hit(Use::Returning { slot: 0x1020 })));
        assert!(w.disproves(&hit(Use::Returning { slot: 0x9008 })));
        assert!(w.disproves(&hit(Use::Interrupted { slot: 0x1000 })));
        assert!(!w.disproves(&hit(Use::Returning { slot: 0x1040 })));
        assert!(!w.disproves(&hit(Use::Returning { slot: 0x2000 })));
        assert!(!w.disproves(&hit(Use::Executing)));
        assert!(!w.disproves(&hit(Use::Unreadable)));
    }
}
