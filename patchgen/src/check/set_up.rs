//! What runs once, at a first use: code that sets up static locals of C++, a thread's objects, or is given to `pthread_once` or `std::call_once`. A
//! live process has passed the guard of most, so that what they are set up with in the new build is never used.

use super::instances::Calls;
use super::{Context, Findings};
use crate::addr::FuncId;
use crate::compare::{Guard, SetUp, Stamps, same_set_up, set_ups};
use crate::correlate::Side;
use crate::diag::Severity;
use crate::lift::{CodeRef, Exported, Slot, Target};
use patchfmt::codes;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// References in front of a call within which an argument's is.
const NEAR: usize = 4;

/// What runs a function once (POSIX; C11, 7.26.2), in a static program, too.
const ONCE: [&str; 3] = ["pthread_once", "__pthread_once", "call_once"];

/// libstdc++'s `std::call_once`; where it is inlined, it gives `pthread_once` a function of its own.
const ONCE_CPP: &str = "_ZSt9call_once";
const PROXY: &str = "__once_proxy";

/// What that goes through to the function: lambdas of its own.
const WITHIN_ONCE: [&str; 2] = ["_ZZSt9call_once", "_ZZNSt9once_flag18_Prepare_execution"];

/// References in front of a call of `pthread_once` by it.
const NEAR_PROXY: usize = 8;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let changed: BTreeSet<FuncId> = context.set.changed().map(|(_, new, _)| new).collect();
    if changed.is_empty() {
        return;
    }
    let (before, after) = (Side { image: a.old_image, lifted: a.old }, Side { image: a.new_image, lifted: a.new });
    let is = set_ups(after);
    let once = once(after);
    if is.is_empty() && once.is_empty() {
        return;
    }
    let was = set_ups(before);
    let mut both: Vec<(&Guard<'_>, &Vec<SetUp>, &Vec<SetUp>)> = Vec::new();
    for (guard, now) in &is {
        let counterpart = match guard {
            Guard::Own(id) => a.pairs.data_to_old[id.index()].map(|p| Guard::Own(p.old)),
            Guard::Named(name) => Some(Guard::Named(name)),
        };
        both.extend(counterpart.and_then(|c| Some((guard, was.get(&c)?, now))));
    }
    let stamps = Stamps::default();
    let same = same_set_up(before, after, a.pairs, &stamps);
    for (guard, then, now) in &both {
        let other = |s: &&SetUp| changed.contains(&s.function) && !then.iter().any(|t| same(t, s));
        let Some(place) = now.iter().find(other) else { continue };
        let symbol = match **guard {
            Guard::Own(id) => a.new.data[id.index()].name.as_str(),
            Guard::Named(name) => name,
        };
        let function = &a.new.functions[place.function.index()].name;
        let object = symbol.strip_prefix("_ZGV").map_or_else(|| function.clone(), |name| format!("_Z{name}"));
        let message = format!(
            "`{function}` sets `{object}` up in another way at its first use: a live process may have what the old one set up"
        );
        findings.add(Severity::Start, codes::INIT_ARRAY, &object, message);
    }
    for id in helpers(context, both.iter().flat_map(|(.., now)| now.iter()), once).intersection(&changed) {
        let name = &a.new.functions[id.index()].name;
        let message = format!(
            "`{name}` changed, and only sets things up at their first use: a live process may have what the old one set up"
        );
        findings.add(Severity::Start, codes::INIT_ARRAY, name, message);
    }
}

/// Functions that as a whole run once, in the process or in each thread.
fn once(side: Side<'_>) -> BTreeSet<FuncId> {
    let functions = side.lifted.functions.iter().enumerate();
    let as_a_whole = |name: &str| {
        name == "__tls_init" || name.starts_with("_ZTH") || WITHIN_ONCE.iter().any(|within| name.starts_with(within))
    };
    let mut found: BTreeSet<FuncId> =
        functions.clone().filter(|(_, f)| as_a_whole(&f.name)).map(|(i, _)| i.into()).collect();
    let name = |r: &CodeRef| match &r.target {
        Target::Import(id) | Target::Slot(Slot::Import { import: id, .. }) => side.image.import(*id).name.as_str(),
        Target::Func { func, .. } => side.lifted.functions[func.index()].name.as_str(),
        _ => "",
    };
    let is_once = |r: &CodeRef| ONCE.contains(&name(r)) || r.branch && name(r).starts_with(ONCE_CPP);
    // The function's address is the last that is made before the call, which is nowhere else.
    let (mut given, mut others): (BTreeMap<FuncId, usize>, BTreeMap<FuncId, usize>) = Default::default();
    for (_, f) in functions.filter(|(_, f)| f.refs.iter().any(is_once)) {
        for call in (0..f.refs.len()).filter(|&n| is_once(&f.refs[n])) {
            let before = |near| f.refs[..call].iter().rev().take(near).filter(|r| !r.branch);
            let by_proxy = before(NEAR_PROXY).any(|r| name(r) == PROXY);
            let (near, most) = if by_proxy { (NEAR_PROXY, NEAR_PROXY) } else { (NEAR, 1) };
            let functions = before(near).filter_map(|r| r.target.entry()).take(most);
            functions.for_each(|func| *given.entry(func).or_default() += 1);
        }
    }
    if !given.is_empty() {
        let code = side.lifted.functions.iter().flat_map(|f| &f.refs).map(|r| &r.target);
        let data = side.lifted.data.iter().flat_map(|d| d.refs.iter().chain(&d.ambiguous)).map(|r| &r.target);
        code.chain(data).filter_map(Target::entry).for_each(|func| *others.entry(func).or_default() += 1);
    }
    found.extend(given.into_iter().filter(|(func, times)| others.get(func) == Some(times)).map(|(func, _)| func));
    found
}

/// Functions that run once, and those that nothing but them and these places calls.
fn helpers<'a>(
    context: Context<'_>,
    places: impl Iterator<Item = &'a SetUp>,
    once: BTreeSet<FuncId>,
) -> BTreeSet<FuncId> {
    let functions = &context.analysis.new.functions;
    let image = context.analysis.new_image;
    let exported = Exported::of(image, context.analysis.new);
    let callee = |r: &CodeRef| exported.func(&r.target);
    let mut within: BTreeMap<FuncId, Vec<&SetUp>> = BTreeMap::new();
    places.for_each(|place| within.entry(place.function).or_default().push(place));
    let calls = |caller: FuncId, inside: Option<bool>| -> Vec<FuncId> {
        let f = &functions[caller.index()];
        let here = within.get(&caller);
        let is_inside = |r: &CodeRef| here.is_some_and(|places| places.iter().any(|p| p.has(f, r)));
        let wanted = f.refs.iter().filter(|r| r.branch && inside.is_none_or(|wanted| wanted == is_inside(r)));
        wanted.filter_map(callee).filter(|&func| func != caller).collect()
    };
    let mut todo: Vec<FuncId> = within.keys().flat_map(|&caller| calls(caller, Some(true))).collect();
    todo.extend(once.iter().flat_map(|&caller| calls(caller, None)));
    let mut found = once;
    if todo.is_empty() {
        return found;
    }
    let mut callers: HashMap<FuncId, BTreeSet<FuncId>> = HashMap::new();
    for (i, f) in functions.iter().enumerate() {
        let called = f.refs.iter().filter(|r| r.branch).filter_map(callee);
        called.filter(|c| c.index() != i).for_each(|c| _ = callers.entry(c).or_default().insert(i.into()));
    }
    let known = Calls::of(image, context.analysis.new);
    while let Some(callee) = todo.pop() {
        let only = |caller: &FuncId| found.contains(caller) || !calls(*caller, Some(false)).contains(&callee);
        if !known.pointed_to(callee) && callers[&callee].iter().all(only) && found.insert(callee) {
            todo.extend(calls(callee, None));
        }
    }
    found
}
