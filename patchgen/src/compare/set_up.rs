//! What an object is set up with at its first use: the code between `__cxa_guard_acquire` and `__cxa_guard_release` (Itanium C++ ABI, 3.3.3), and
//! what only runs where the guard of a thread's objects was set.

use super::code::{Body, is_immediate};
use super::same::{Same, Site};
use super::stamps::Stamps;
use crate::addr::{DataId, FuncId, SymbolId};
use crate::correlate::{Correlation, Side};
use crate::lift::{Access, CodeRef, Function, Slot, Target, ways};
use iced_x86::{ConditionCode, FlowControl, Mnemonic, OpKind, Register};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Instructions in front of the call within which the guard's address is made.
const NEAR: usize = 16;

/// The guard of an object, in one build.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Guard<'a> {
    Own(DataId),
    /// Found by the dynamic linker.
    Named(&'a str),
}

/// A place that sets one up.
#[derive(Clone, Debug)]
pub struct SetUp {
    pub function: FuncId,
    /// Instructions, as indexes, ascending.
    insns: Vec<usize>,
}

impl SetUp {
    /// Whether a reference of the function stands in it.
    pub fn has(&self, f: &Function, r: &CodeRef) -> bool {
        f.index((r.part, r.insn)).is_some_and(|i| self.insns.binary_search(&i).is_ok())
    }
}

/// The functions of the ABI, by what a reference to one denotes.
struct Runtime(HashMap<FuncId, &'static str>);

impl Runtime {
    const NAMES: [&'static str; 2] = ["__cxa_guard_acquire", "__cxa_guard_release"];

    /// None where the build has nothing that calls them.
    fn of(side: Side<'_>) -> Option<Runtime> {
        let known = |name: &str| Self::NAMES.into_iter().find(|n| *n == name);
        let linked = side.lifted.functions.iter().enumerate().filter_map(|(i, f)| Some((i.into(), known(&f.name)?)));
        let linked: HashMap<FuncId, _> = linked.collect();
        let imported = side.image.imports.iter().any(|i| known(&i.name).is_some());
        (imported || !linked.is_empty()).then_some(Runtime(linked))
    }

    fn name(&self, side: Side<'_>, r: &CodeRef) -> Option<&'static str> {
        match &r.target {
            Target::Func { func, .. } => self.0.get(func).copied(),
            Target::Import(id) | Target::Slot(Slot::Import { import: id, .. }) => {
                let name = &side.image.import(*id).name;
                Self::NAMES.into_iter().find(|n| n == name)
            }
            _ => None,
        }
    }
}

/// The guard of the objects that a unit has in each thread, as compilers name it.
const OF_THREAD: &str = "__tls_guard";

/// All places of a build that set objects up at their first use, by the objects' guards.
pub fn set_ups(side: Side<'_>) -> BTreeMap<Guard<'_>, Vec<SetUp>> {
    let mut found: BTreeMap<Guard<'_>, Vec<SetUp>> = BTreeMap::new();
    let of_threads = side.image.tls_symbol_ids();
    if (of_threads.start.0..of_threads.end.0).any(|s| side.image.symbol(SymbolId(s)).name == OF_THREAD) {
        for (i, f) in side.lifted.functions.iter().enumerate() {
            let insns = in_thread(side, f);
            if !insns.is_empty() {
                found.entry(Guard::Named(OF_THREAD)).or_default().push(SetUp { function: i.into(), insns });
            }
        }
    }
    let Some(runtime) = Runtime::of(side) else { return found };
    for (i, f) in side.lifted.functions.iter().enumerate() {
        let called = |r: &CodeRef| runtime.name(side, r);
        if !f.refs.iter().any(|r| called(r) == Some(Runtime::NAMES[0])) {
            continue;
        }
        let body = Body::new(f, side);
        let calls = |name| -> BTreeSet<usize> {
            let is =
                |n: &usize| f.insns[*n].is_call() && body.refs(&f.insns[*n]).iter().any(|r| called(r) == Some(name));
            (0..f.insns.len()).filter(is).collect()
        };
        let [begins, ends] = Runtime::NAMES.map(calls);
        for &begin in &begins {
            let Some(guard) = guard(&body, begin) else { continue };
            let insns = between(&body, begin, &begins, &ends);
            found.entry(guard).or_default().push(SetUp { function: i.into(), insns });
        }
    }
    found
}

/// What the call is given: the last variable of which the code in front of it has the address.
fn guard<'a>(body: &Body<'a>, call: usize) -> Option<Guard<'a>> {
    let before = body.f.insns[..call].iter().rev().take(NEAR).take_while(|i| i.part == body.f.insns[call].part);
    let targets = before.flat_map(|i| body.refs(i)).filter_map(|r| match &r.target {
        Target::Slot(Slot::Import { import, .. }) => Some(Guard::Named(&body.image.import(*import).name)),
        other => other.data().map(Guard::Own),
    });
    let all: Vec<Guard<'a>> = targets.collect();
    let named = |guard: &&Guard<'a>| match **guard {
        Guard::Own(id) => body.datum(id).name.starts_with("_ZGV"),
        Guard::Named(name) => name.starts_with("_ZGV"),
    };
    // A stripped file has no names.
    all.iter().find(named).or(all.first()).copied()
}

/// What of a function only runs once it has set the guard of a thread's objects.
fn in_thread(side: Side<'_>, f: &Function) -> Vec<usize> {
    let of_thread = |r: &CodeRef| match &r.target {
        Target::Tls { symbol: Some(symbol), .. } => side.image.symbol(*symbol).name == OF_THREAD,
        _ => false,
    };
    if !f.refs.iter().any(of_thread) {
        return Vec::new();
    }
    let body = Body::new(f, side);
    let sets = |n: &usize| {
        let i = body.decode(&f.insns[*n]);
        i.mnemonic() == Mnemonic::Mov
            && i.op0_kind() == OpKind::Memory
            && is_immediate(i.op1_kind())
            && body.refs(&f.insns[*n]).iter().any(of_thread)
    };
    let starts: BTreeSet<usize> = (0..f.insns.len()).filter(sets).collect();
    let reached = |from: Vec<usize>, apart: &BTreeSet<usize>| {
        let (mut seen, mut todo) = (BTreeSet::new(), from);
        while let Some(at) = todo.pop() {
            if !apart.contains(&at) && seen.insert(at) {
                todo.extend(ways(body.image, f, at).0);
            }
        }
        seen
    };
    let otherwise = reached(vec![0], &starts);
    let within = reached(starts.iter().flat_map(|&start| ways(body.image, f, start).0).collect(), &starts);
    within.difference(&otherwise).copied().collect()
}

/// What comes behind one of the calls and in front of the end.
fn between(body: &Body<'_>, begin: usize, begins: &BTreeSet<usize>, ends: &BTreeSet<usize>) -> Vec<usize> {
    let mut into: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut todo = vec![begin];
    let mut seen = BTreeSet::new();
    while let Some(at) = todo.pop() {
        for next in ways(body.image, body.f, at).0 {
            into.entry(next).or_default().push(at);
            if !begins.contains(&next) && seen.insert(next) && !ends.contains(&next) {
                todo.push(next);
            }
        }
    }
    let mut found = BTreeSet::new();
    let mut todo: Vec<usize> = seen.iter().copied().filter(|n| ends.contains(n)).collect();
    while let Some(at) = todo.pop() {
        let from = into.get(&at).into_iter().flatten().copied();
        todo.extend(from.filter(|&n| n != begin && !ends.contains(&n) && found.insert(n)));
    }
    found.into_iter().collect()
}

/// What one of the instructions is about, apart from which registers and slots of the frame the compiler chose.
#[derive(Clone, Copy, Debug)]
enum Item<'a> {
    Computes(Mnemonic),
    Number(u64),
    Refers(&'a CodeRef),
}

fn items<'a>(body: &Body<'a>, id: FuncId, insns: &[usize]) -> Vec<Item<'a>> {
    use Mnemonic::{
        Add, And, Cmp, Lea, Mov, Movaps, Movq, Movups, Movzx, Nop, Or, Pop, Punpcklqdq, Push, Sub, Test, Xor,
    };
    let mut found = Vec::new();
    for insn in insns.iter().map(|&n| &body.f.insns[n]).filter(|i| !i.is_nop()) {
        let i = body.decode(insn);
        // The frame is as large as the compiler needs.
        if i.flow_control() != FlowControl::Next && !insn.is_call() || i.op0_register() == Register::RSP {
            continue;
        }
        let own = |r: &&CodeRef| matches!(r.target, Target::Func { func, .. } if func == id);
        found.extend(body.refs(insn).iter().filter(|r| !own(r)).map(Item::Refers));
        let moves = matches!(
            i.mnemonic(),
            Mov | Lea | Push | Pop | Movzx | Movq | Movaps | Movups | Punpcklqdq | Nop | Test | Cmp
        );
        // What a comparison gives, by whatever means.
        let chooses = i.condition_code() != ConditionCode::None;
        // `xor %eax,%eax` and its like are numbers.
        let itself = matches!(i.mnemonic(), Xor | Sub | And | Or) && i.op0_register() == i.op1_register();
        if !(insn.is_call() || moves || chooses || itself && i.op0_register() != Register::None) {
            found.push(Item::Computes(i.mnemonic()));
        }
        let refers = body.refs(insn).iter().any(|r| r.access == Access::Derived);
        let numbers = (0..i.op_count()).filter(|&n| !refers && is_immediate(i.op_kind(n))).map(|n| i.immediate(n));
        let frame = i.memory_base() == Register::RSP && i.mnemonic() == Add;
        found.extend(numbers.filter(|_| !frame).map(Item::Number));
    }
    found
}

/// The data that are referred to, in order, each once.
fn taken<'a, 'b>(items: &'b [Item<'a>]) -> Vec<&'b Item<'a>> {
    let mut seen = BTreeSet::new();
    let once = |item: &&Item<'_>| match item {
        Item::Refers(r) => match r.target {
            Target::Data { data, offset } => seen.insert((data, offset)),
            _ => false,
        },
        _ => false,
    };
    items.iter().filter(once).collect()
}

/// Says whether two places set up an object in the same way.
pub fn same_set_up<'a>(
    old: Side<'a>,
    new: Side<'a>,
    pairs: &'a Correlation,
    stamps: &'a Stamps,
) -> impl Fn(&SetUp, &SetUp) -> bool + 'a {
    let same = Same::new(old, new, pairs, stamps);
    move |was, is| {
        let f = &same.old.lifted.functions[was.function.index()];
        let g = &same.new.lifted.functions[is.function.index()];
        let (a, b) = (Body::new(f, same.old), Body::new(g, same.new));
        let (xs, ys) = (items(&a, was.function, &was.insns), items(&b, is.function, &is.insns));
        let alike = |x: &Item<'_>, y: &Item<'_>| match (x, y) {
            (Item::Refers(r), Item::Refers(s)) => {
                let site = Site { access: s.access, functions: Some((f, g)), indexed: s.indexed };
                r.access == s.access && same.targets(&r.target, &s.target, site)
            }
            (Item::Computes(x), Item::Computes(y)) => x == y,
            (Item::Number(x), Item::Number(y)) => x == y,
            _ => false,
        };
        // Compilers repeat the ends of blocks and exchange what doesn't depend on one another, but for what an object is made of.
        let (was, is) = (taken(&xs), taken(&ys));
        // Most are where they were.
        let found = |at: usize, ys: &[Item<'_>], alike: &dyn Fn(&Item<'_>) -> bool| {
            let (before, behind) = ys.split_at(at.min(ys.len()));
            behind.iter().any(alike) || before.iter().any(alike)
        };
        xs.iter().enumerate().all(|(n, x)| found(n, &ys, &|y| alike(x, y)))
            && ys.iter().enumerate().all(|(n, y)| found(n, &xs, &|x| alike(x, y)))
            && was.len() == is.len()
            && was.iter().zip(&is).all(|(x, y)| alike(x, y))
    }
}
