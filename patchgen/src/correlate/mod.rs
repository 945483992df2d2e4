//! Pairs functions and data of the old and the new image, with the reason for each pair.

mod content;
mod counted;
mod instances;
mod names;
mod objects;
mod pairing;
mod scopes;
mod units;

pub use instances::pair_instances;
pub use names::{Stem, is_counted_function, own_name, stem};
pub use objects::{Doubtful, doubtful, settle};
pub use scopes::{Scoped, Shared, pair_by_scope};
pub use units::{Units, in_others};

use crate::addr::{DataId, FuncId};
use crate::compare::{ChangeSet, FuncChange};
use crate::image::{Binding, DynReloc, Image};
use crate::lift::{CodeRef, Function, Lifted, Slot, Target};
use crate::rust_names::is_rust;
use content::{ENOUGH, MARGIN, Shapes, similarity};
use counted::Crowded;
use pairing::Pairing;
use patchfmt::codes;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The same global name (and version).
    GlobalName,
    /// The same local name in the same unit, only one on each side.
    LocalName,
    /// The same stem after removal of clone suffixes or hashes, in the same unit.
    Stem,
    /// Several of the same name: paired by order and content.
    Order,
    /// Only one candidate with equal content.
    Content,
    /// Several of one name, whose names count, and clearly the most similar ones.
    Likeness,
    /// The only variable of its name in its scope, as DWARF has it.
    Scope,
    /// Code that is the same otherwise uses it in the same places.
    Use,
}

impl Why {
    /// Says what a function is, not only what any of several may be taken for.
    pub(crate) fn is_sure(self) -> bool {
        !matches!(self, Why::Order | Why::Likeness)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Pair<T> {
    pub old: T,
    pub new: T,
    pub why: Why,
}

/// Indexed both ways; `None` means gone (old) or new (new).
#[derive(Debug, Default)]
pub struct Correlation {
    pub func_to_new: Vec<Option<Pair<FuncId>>>,
    pub func_to_old: Vec<Option<Pair<FuncId>>>,
    /// Named data only; anonymous data are compared by content.
    pub data_to_new: Vec<Option<Pair<DataId>>>,
    pub data_to_old: Vec<Option<Pair<DataId>>>,
    /// Names that could not be paired safely (HP03xx), with the symbol.
    pub ambiguous: Vec<(u16, String)>,
    /// Functions, old and new, that were taken for one another without proof, differ, and are known by their addresses.
    pub parted: Vec<(FuncId, FuncId)>,
}

/// Two images, lifted.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub image: &'a Image,
    pub lifted: &'a Lifted,
}

/// Pairs functions, and the data that their names tell apart. [`pair_by_scope`] and [`settle`] do the rest. What can't be told for sure is in
/// [`Correlation::ambiguous`], unpaired.
pub fn correlate(old: Side<'_>, new: Side<'_>) -> Correlation {
    let mut ambiguous = BTreeSet::new();
    let mut funcs = functions(old, new, &mut ambiguous);
    nameless(old, new, &mut funcs);
    let data = objects::pair(old, new);
    Correlation {
        func_to_new: funcs.to_new,
        func_to_old: funcs.to_old,
        data_to_new: data.to_new,
        data_to_old: data.to_old,
        ambiguous: ambiguous.into_iter().collect(),
        parted: Vec::new(),
    }
}

/// (name, version) of every name that other objects or units see.
fn global_names<'a>(side: Side<'a>, f: &'a Function) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    f.names
        .iter()
        .map(move |&n| side.image.symbol(n))
        .filter(|s| s.binding != Binding::Local)
        .map(|s| (s.name.as_str(), s.version.as_deref()))
}

fn functions(old: Side<'_>, new: Side<'_>, ambiguous: &mut BTreeSet<(u16, String)>) -> Pairing<FuncId> {
    let (of, nf) = (&old.lifted.functions, &new.lifted.functions);
    let mut p: Pairing<FuncId> = Pairing::new(of.len(), nf.len());
    let crowded = Crowded::of(old, new);
    let mut by_name: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    for (i, f) in nf.iter().enumerate().filter(|(i, _)| !crowded.new.contains(i)) {
        for k in global_names(new, f) {
            by_name.entry(k).or_insert(i);
        }
    }
    for (i, f) in of.iter().enumerate().filter(|(i, _)| !crowded.old.contains(i)) {
        let mut hits: Vec<usize> = Vec::new();
        for k in global_names(old, f) {
            if let Some(&n) = by_name.get(&k)
                && !hits.contains(&n)
            {
                hits.push(n);
            }
        }
        if hits.len() > 1 {
            // Folded into one body in the old image, apart in the new: the names no longer move together.
            ambiguous.insert((303, f.name.clone()));
        }
        for &n in &hits {
            match p.to_old[n] {
                None if p.to_new[i].is_none() => p.pair(i, n, Why::GlobalName),
                None => {}
                Some(other) if other.old.index() != i => {
                    ambiguous.insert((303, f.name.clone()));
                }
                Some(_) => {}
            }
        }
    }
    let (mut old_shapes, mut new_shapes) = (Shapes::new(old), Shapes::new(new));
    let (old_held, new_held) = (held(old.image, old.lifted), held(new.image, new.lifted));
    let (was, is) = ((old, &mut old_shapes, &old_held), (new, &mut new_shapes, &new_held));
    counted::pair(&mut p, &crowded, was, is, ambiguous);
    let name = |f: &Function, several: bool| Some(f.name.clone()).filter(|n| !several && !n.is_empty());
    let old_name = |i: usize| name(&of[i], crowded.old.contains(&i));
    let new_name = |i: usize| name(&nf[i], crowded.new.contains(&i));
    p.unique(
        Why::LocalName,
        |i| old_name(i).map(|n| (n, of[i].unit.clone())),
        |i| new_name(i).map(|n| (n, nf[i].unit.clone())),
    );
    p.unique(Why::LocalName, old_name, new_name);
    by_other_names((old, &crowded.old), (new, &crowded.new), &mut p);
    // What thin link-time optimisation shares between units gets a number of the unit.
    let own = |name: Option<String>| {
        let name = name?.split(".llvm.").next().unwrap_or_default().to_owned();
        is_rust(&name).then_some(name)
    };
    p.unique(Why::LocalName, |i| own(old_name(i)), |i| own(new_name(i)));
    let stems = |side: &[Function], crowded: &BTreeSet<usize>| -> Vec<Option<(String, Vec<&'static str>)>> {
        let own = |(i, f): (usize, &Function)| {
            let s = (!f.name.is_empty() && !crowded.contains(&i)).then(|| stem(&f.name))?;
            Some((s.name, s.kinds))
        };
        side.iter().enumerate().map(own).collect()
    };
    let (os, ns) = (stems(of, &crowded.old), stems(nf, &crowded.new));
    p.unique(
        Why::Stem,
        |i| os[i].clone().map(|s| (s, of[i].unit.clone())),
        |i| ns[i].clone().map(|s| (s, nf[i].unit.clone())),
    );
    p.unique(Why::Stem, |i| os[i].clone(), |i| ns[i].clone());
    // The same name in several units, or clones whose numbers moved: by content.
    for with_unit in [true, false] {
        let unit = |side: &[Function], i: usize| with_unit.then(|| side[i].unit.clone());
        for (key, o, n) in
            p.groups(|i| os[i].clone().map(|s| (s, unit(of, i))), |i| ns[i].clone().map(|s| (s, unit(nf, i))))
        {
            by_content(&mut p, &mut old_shapes, &mut new_shapes, &o, &n);
            if !with_unit {
                let is_clone = key.0.1.iter().any(|kind| names::CALLED_ONLY.contains(kind));
                let left_old: Vec<usize> = o.iter().copied().filter(|&i| p.to_new[i].is_none()).collect();
                let left_new: Vec<usize> = n.iter().copied().filter(|&i| p.to_old[i].is_none()).collect();
                // Instances of a generic function, and clones that a compiler made for some callers, whose callers are all known: the new
                // ones are carried, and nobody calls the old ones any more. Neither has an address of its own to be known by.
                let nobody = |list: &[usize], fs: &[Function]| is_clone || list.iter().all(|i| is_rust(&fs[*i].name));
                let called = || {
                    nobody(&left_old, of)
                        && nobody(&left_new, nf)
                        && !left_old.iter().any(|i| old_held.contains(i))
                        && !left_new.iter().any(|i| new_held.contains(i))
                };
                if !left_old.is_empty() && !left_new.is_empty() && !called() {
                    ambiguous.insert((301, key.0.0));
                }
            }
        }
    }
    p
}

/// One side, and its functions whose names say nothing.
type Named<'a> = (Side<'a>, &'a BTreeSet<usize>);

/// Pairs functions by the names that aren't their first: a body that several functions were folded into has the names of all, and which
/// comes first is chance. All names that are in both builds must agree, and each stands for one function in a build. (One without a size
/// may be that of an empty part, in front of whatever follows.) Those whose names count are left alone.
fn by_other_names(old: Named<'_>, new: Named<'_>, p: &mut Pairing<FuncId>) {
    let (of, nf) = (&old.0.lifted.functions, &new.0.lifted.functions);
    let left_old: Vec<usize> = (0..of.len()).filter(|&i| p.to_new[i].is_none()).collect();
    let left_new = || (0..nf.len()).filter(|&j| p.to_old[j].is_none());
    if left_old.iter().all(|&i| of[i].names.len() < 2) && left_new().all(|j| nf[j].names.len() < 2) {
        return;
    }
    fn names<'a>((side, counted): Named<'a>, i: usize) -> impl Iterator<Item = &'a str> {
        let own = side.lifted.functions[i].names.iter().filter(move |_| !counted.contains(&i));
        own.map(move |&n| side.image.symbol(n)).filter(|s| s.size > 0).map(|s| s.name.as_str())
    }
    // None: several functions have the name.
    fn owners(side: Named<'_>) -> HashMap<&str, Option<usize>> {
        let mut found: HashMap<&str, Option<usize>> = HashMap::new();
        for i in 0..side.0.lifted.functions.len() {
            for name in names(side, i) {
                found.entry(name).and_modify(|of| *of = of.filter(|of| *of == i)).or_insert(Some(i));
            }
        }
        found
    }
    /// The one function that all of these names stand for, where they stand for any.
    fn only<'a>(names: impl Iterator<Item = &'a str>, owners: &HashMap<&str, Option<usize>>) -> Option<usize> {
        let mut found: Vec<Option<usize>> = names.filter_map(|name| owners.get(name).copied()).collect();
        found.dedup();
        if let [one] = found[..] { one } else { None }
    }
    let (was, is) = (owners(old), owners(new));
    for i in left_old {
        if let Some(j) = only(names(old, i), &is)
            && p.to_old[j].is_none()
            && only(names(new, j), &was) == Some(i)
        {
            p.pair(i, j, Why::LocalName);
        }
    }
}

/// Functions whose address is taken by code, or held by data or a slot that isn't only called through, or known to other modules.
fn held(image: &Image, lifted: &Lifted) -> BTreeSet<usize> {
    fn function(target: &Target) -> Option<usize> {
        match target {
            Target::Func { func, .. } => Some(func.index()),
            Target::Slot(Slot::Address(inner)) => function(inner),
            _ => None,
        }
    }
    let calls = |f: &Function, r: &CodeRef| r.branch || f.index((r.part, r.insn)).is_some_and(|i| f.insns[i].is_call());
    let taken = |f| move |r: &CodeRef| function(&r.target).filter(|_| !calls(f, r));
    let code = lifted.functions.iter().flat_map(|f| f.refs.iter().filter_map(taken(f)));
    let data = lifted.data.iter().flat_map(|d| d.refs.iter().chain(&d.ambiguous)).filter_map(|r| function(&r.target));
    let exported = |f: &Function| f.names.iter().any(|&s| image.symbol(s).exported);
    let known = lifted.functions.iter().enumerate().filter(|(_, f)| exported(f)).map(|(i, _)| i);
    // What no symbol says is an object may hold addresses, too.
    let words = image.dynamic.values().filter_map(|reloc| match reloc {
        DynReloc::Relative { target } | DynReloc::Symbol { local: Some(target), .. } => lifted.func_at.get(target),
        _ => None,
    });
    code.chain(data).chain(known).chain(words.map(|f| f.index())).collect()
}

/// What stands for the stem of functions that have no names in [`Correlation::ambiguous`].
pub(crate) const NAMELESS: &str = "functions without names";

/// Takes apart the pairs that were made by order, of functions without names or of two units, which turned out to differ, where the address of
/// one is held: what calls it through that would run another one's code. What may be one another is ambiguous. Gives whether there were any.
pub fn part(
    old: Side<'_>,
    new: Side<'_>,
    pairs: &mut Correlation,
    changes: &ChangeSet,
    units: Option<&Units<'_, '_>>,
) -> bool {
    let (of, nf) = (&old.lifted.functions, &new.lifted.functions);
    let guessed = |c: &&FuncChange| {
        let why = pairs.func_to_old[c.new.index()].map(|p| p.why);
        let nameless = of[c.old.index()].name.is_empty() && nf[c.new.index()].name.is_empty();
        why == Some(Why::Order) || nameless || in_others(old, new, units, (c.old, c.new))
    };
    let guessed: Vec<(FuncId, FuncId)> = changes.changed.iter().filter(guessed).map(|c| (c.old, c.new)).collect();
    if guessed.is_empty() {
        return false;
    }
    let (old_held, new_held) = (held(old.image, old.lifted), held(new.image, new.lifted));
    let mut any = false;
    for (a, b) in guessed {
        if !old_held.contains(&a.index()) && !new_held.contains(&b.index()) {
            continue;
        }
        pairs.func_to_new[a.index()] = None;
        pairs.func_to_old[b.index()] = None;
        let name = &nf[b.index()].name;
        let stem = if name.is_empty() { NAMELESS.to_owned() } else { stem(name).name };
        if !pairs.ambiguous.contains(&(codes::AMBIGUOUS_FUNCTIONS.0, stem.clone())) {
            pairs.ambiguous.push((codes::AMBIGUOUS_FUNCTIONS.0, stem));
        }
        pairs.parted.push((a, b));
        any = true;
    }
    any
}

/// Pairs the members of one group: equal bodies first, then the clearly most similar ones, then a lone rest.
fn by_content(p: &mut Pairing<FuncId>, old: &mut Shapes<'_>, new: &mut Shapes<'_>, o: &[usize], n: &[usize]) {
    let mut buckets: BTreeMap<u64, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for &i in o {
        buckets.entry(old.full(i)).or_default().0.push(i);
    }
    for &i in n {
        buckets.entry(new.full(i)).or_default().1.push(i);
    }
    for (a, b) in buckets.into_values() {
        if a.len() == b.len() {
            let why = if a.len() == 1 { Why::Content } else { Why::Order };
            for (a, b) in a.into_iter().zip(b) {
                p.pair(a, b, why);
            }
        }
    }
    let rest = |p: &Pairing<FuncId>| -> (Vec<usize>, Vec<usize>) {
        (
            o.iter().copied().filter(|&i| p.to_new[i].is_none()).collect(),
            n.iter().copied().filter(|&i| p.to_old[i].is_none()).collect(),
        )
    };
    let (a, b) = rest(p);
    if a.is_empty() || b.is_empty() || a.len() * b.len() > 4096 {
        return;
    }
    let features =
        |s: &mut Shapes<'_>, l: &[usize]| -> Vec<BTreeSet<u64>> { l.iter().map(|&i| s.features(i)).collect() };
    let (fa, fb) = (features(old, &a), features(new, &b));
    let best = |x: &BTreeSet<u64>, of: &[BTreeSet<u64>]| -> Option<usize> {
        let mut scores: Vec<(f64, usize)> = of.iter().enumerate().map(|(i, y)| (similarity(x, y), i)).collect();
        scores.sort_by(|l, r| r.0.total_cmp(&l.0));
        let lead = scores.get(1).map_or(1.0, |s| scores[0].0 - s.0);
        (scores[0].0 >= ENOUGH && lead >= MARGIN).then_some(scores[0].1)
    };
    for (i, x) in fa.iter().enumerate() {
        if let Some(j) = best(x, &fb)
            && best(&fb[j], &fa) == Some(i)
        {
            p.pair(a[i], b[j], Why::Content);
        }
    }
    if let (&[i], &[j]) = (rest(p).0.as_slice(), rest(p).1.as_slice()) {
        p.pair(i, j, Why::Order);
    }
}

/// Functions known only by their unwind data: by equal bodies, then by order between two pairs that enclose as many on each side.
fn nameless(old: Side<'_>, new: Side<'_>, p: &mut Pairing<FuncId>) {
    let (of, nf) = (&old.lifted.functions, &new.lifted.functions);
    if of.iter().all(|f| !f.name.is_empty()) || nf.iter().all(|f| !f.name.is_empty()) {
        return;
    }
    let hashes = |side: Side<'_>| -> Vec<Option<u64>> {
        use rayon::prelude::*;
        let fs = &side.lifted.functions;
        (0..fs.len()).into_par_iter().map(|i| fs[i].name.is_empty().then(|| Shapes::new(side).full(i))).collect()
    };
    let (ho, hn) = (hashes(old), hashes(new));
    p.unique(Why::Content, |i| ho[i], |i| hn[i]);
    let free = |fs: &[Function], i: usize, paired: bool| !paired && fs[i].name.is_empty();
    let (mut i, mut j) = (0, 0);
    while i < of.len() && j < nf.len() {
        let next_old = (i..of.len()).find(|&k| p.to_new[k].is_some_and(|q| q.new.index() >= j)).unwrap_or(of.len());
        let next_new = p.to_new.get(next_old).copied().flatten().map_or(nf.len(), |q| q.new.index());
        let a: Vec<usize> = (i..next_old).filter(|&k| free(of, k, p.to_new[k].is_some())).collect();
        let b: Vec<usize> = (j..next_new).filter(|&k| free(nf, k, p.to_old[k].is_some())).collect();
        if a.len() == b.len() {
            for (a, b) in a.into_iter().zip(b) {
                p.pair(a, b, Why::Order);
            }
        }
        (i, j) = (next_old + 1, next_new + 1);
    }
}
