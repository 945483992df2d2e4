//! Objects of the old build that lie where new code can't use them: some instructions fault unless their operand is aligned (Intel SDM, vol. 1,
//! 4.1.1; vol. 2, "aligned" moves), and a compiler uses them once it knows that an object is.
//!
//! What it may know is bounded by where the new build has the object: the largest power of two that divides the address.

use super::{Analysis, Binder, PatchSet};
use crate::addr::{DataId, FuncId, Svma};
use crate::lift::{Access, CodeRef, DataKind, Function, Target};
use foldhash::fast::FixedState;
use iced_x86::{Decoder, DecoderOptions, EncodingKind, Instruction, Mnemonic, OpKind, Register};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Instructions at a function's entry among which it sets a frame pointer up.
const PROLOGUE: usize = 8;

/// What a function does with aligned operands.
#[derive(Debug, Default)]
struct Demands {
    /// Operands in an object that is named: the object, and its alignment in bytes.
    named: Vec<(DataId, u64)>,
    /// Objects whose address it takes.
    taken: BTreeSet<DataId>,
    /// The largest alignment of an operand that a pointer leads to, which isn't one into the stack.
    pointed: u64,
    callees: Vec<FuncId>,
}

/// What functions demand, each looked at once.
#[derive(Default)]
pub(super) struct Alignments(HashMap<FuncId, Demands, FixedState>);

impl Alignments {
    /// Objects of the new build whose old counterpart the code of `set` would find at an address that isn't aligned as it needs: that alignment,
    /// in bytes.
    pub fn misplaced(&mut self, analysis: Analysis<'_>, binder: &Binder<'_>, set: &PatchSet) -> BTreeMap<DataId, u64> {
        let carried: BTreeSet<FuncId> =
            set.functions.keys().copied().chain(set.in_place.iter().map(|f| f.new)).collect();
        for &id in &carried {
            self.0.entry(id).or_insert_with(|| of(analysis, id));
        }
        misplaced(analysis, binder, &carried, &self.0)
    }
}

fn misplaced(
    analysis: Analysis<'_>,
    binder: &Binder<'_>,
    carried: &BTreeSet<FuncId>,
    demands: &HashMap<FuncId, Demands, FixedState>,
) -> BTreeMap<DataId, u64> {
    let pointed = pointed(carried, demands);
    let mut out = BTreeMap::new();
    let mut demand = |new: DataId, needed: u64| {
        let Some(old) = binder.old_data(new).filter(|_| !binder.moved.contains(&new)) else { return };
        let at = analysis.old.data[old.index()].range.start;
        if !at.0.is_multiple_of(needed) {
            out.entry(new).and_modify(|n: &mut u64| *n = (*n).max(needed)).or_insert(needed);
        }
    };
    let known = |id: DataId| 1u64 << analysis.new.data[id.index()].range.start.0.trailing_zeros().min(12);
    // No operand goes beyond the object that its pointer leads into (C11, 6.5.6).
    let fits = |id: DataId, operand: u64| {
        let object = &analysis.new.data[id.index()];
        object.kind != DataKind::Named || object.range.size() == 0 || object.range.size() >= operand
    };
    for (id, own) in carried.iter().filter_map(|id| Some((*id, demands.get(id)?))) {
        own.named.iter().for_each(|&(data, needed)| demand(data, needed.min(known(data))));
        if let Some(&needed) = pointed.get(&id) {
            own.taken
                .iter()
                .filter(|data| fits(**data, needed))
                .for_each(|&data| demand(data, needed.min(known(data))));
        }
    }
    out
}

/// Where a pointer leads: the largest alignment that a function, or a carried one that it leads to by calls, needs there. None needs less.
fn pointed(carried: &BTreeSet<FuncId>, demands: &HashMap<FuncId, Demands, FixedState>) -> HashMap<FuncId, u64> {
    let own: Vec<(FuncId, &Demands)> = carried.iter().filter_map(|id| Some((*id, demands.get(id)?))).collect();
    let mut callers: HashMap<FuncId, Vec<FuncId>, FixedState> = HashMap::default();
    for (id, demands) in &own {
        demands.callees.iter().for_each(|callee| callers.entry(*callee).or_default().push(*id));
    }
    let mut by_need: BTreeMap<u64, Vec<FuncId>> = BTreeMap::new();
    own.iter().filter(|(_, d)| d.pointed > 1).for_each(|(id, d)| by_need.entry(d.pointed).or_default().push(*id));
    let mut out = HashMap::new();
    for (need, mut todo) in by_need.into_iter().rev() {
        while let Some(id) = todo.pop() {
            if let Entry::Vacant(e) = out.entry(id) {
                e.insert(need);
                todo.extend(callers.get(&id).into_iter().flatten());
            }
        }
    }
    out
}

fn of(analysis: Analysis<'_>, id: FuncId) -> Demands {
    let function = &analysis.new.functions[id.index()];
    let mut out = Demands { pointed: 1, ..Demands::default() };
    for r in &function.refs {
        match r.target {
            Target::Func { func, .. } if r.branch => out.callees.push(func),
            _ if matches!(r.access, Access::Direct { .. }) && !matches!(r.target, Target::Slot(_)) => {}
            _ => out.taken.extend(r.target.data()),
        }
    }
    let framed = |(i, _): (Instruction, &[CodeRef])| {
        i.mnemonic() == Mnemonic::Mov && i.op0_register() == Register::RBP && i.op1_register() == Register::RSP
    };
    let framed = decoded(analysis, function).take(PROLOGUE).any(framed);
    for (i, refs) in decoded(analysis, function) {
        let needed = alignment(&i);
        if needed == 1 {
            continue;
        }
        let named: Vec<DataId> = refs
            .iter()
            .filter_map(|r| match r.target {
                Target::Data { data, .. } => Some(data),
                _ => None,
            })
            .collect();
        let stack = i.memory_base() == Register::RSP || framed && i.memory_base() == Register::RBP;
        match named.is_empty() {
            true if !stack => out.pointed = out.pointed.max(needed),
            _ => out.named.extend(named.into_iter().map(|data| (data, needed))),
        }
    }
    out
}

fn decoded<'a>(
    analysis: Analysis<'a>,
    function: &'a Function,
) -> impl Iterator<Item = (Instruction, &'a [CodeRef])> + 'a {
    let decode = move |insn: &crate::lift::Insn| {
        let at: Svma = function.parts[usize::from(insn.part)].start.plus(u64::from(insn.offset));
        let bytes = analysis.new_image.bytes(at, u64::from(insn.len))?;
        let refs = function.refs.get(insn.refs()).unwrap_or_default();
        Some((Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE).decode(), refs))
    };
    function.insns.iter().filter_map(decode)
}

/// What the address of an instruction's operand in memory must be a multiple of, in bytes: 1 where it need not be aligned.
fn alignment(i: &Instruction) -> u64 {
    use Mnemonic as M;
    if !(0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory) {
        return 1;
    }
    let size = i.memory_size().size() as u64;
    match i.mnemonic() {
        M::Lea | M::Movups | M::Movupd | M::Movdqu | M::Lddqu => 1,
        M::Pcmpistri | M::Pcmpistrm | M::Pcmpestri | M::Pcmpestrm => 1,
        M::Cmpxchg16b | M::Fxsave | M::Fxsave64 | M::Fxrstor | M::Fxrstor64 => 16,
        M::Vmovaps | M::Vmovapd | M::Vmovdqa | M::Vmovdqa32 | M::Vmovdqa64 => size,
        M::Vmovntps | M::Vmovntpd | M::Vmovntdq | M::Vmovntdqa => size,
        // All other 16-byte operands of SSE instructions without a VEX prefix.
        _ if i.code().encoding() == EncodingKind::Legacy && size == 16 => 16,
        _ => 1,
    }
}
