//! Functions whose names count (lambdas, closures, what is generic over them, nested functions, static ones in link-time optimisation) where there
//! are several: one more in front gives each the name of another. Their content says which is which. Where the address of one is held, by live objects perhaps, a wrong pair would run
//! other code there: what can't be told stays unpaired, so that the old one stays and the new one is carried.

use super::content::{ENOUGH, MARGIN, Shapes, similarity};
use super::pairing::Pairing;
use super::{Side, Stem, Why, names, stem};
use crate::addr::FuncId;
use crate::image::Binding;
use crate::lift::{CodeRef, Function, Target};
use crate::rust_names::is_rust;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// How far calls among such functions are followed to tell them apart.
const ROUNDS: usize = 6;

/// Larger families are compared by equal content and name alone.
const MANY: usize = 4096;

/// A stem, and the unit where names count within one.
type Key = (String, Vec<&'static str>, Option<Arc<str>>);

/// Indices of old and new functions.
type Members = (Vec<usize>, Vec<usize>);

/// Families with several members in one of the builds, by what their names have in common.
#[derive(Debug)]
pub(super) struct Crowded {
    families: BTreeMap<Key, Members>,
    pub old: BTreeSet<usize>,
    pub new: BTreeSet<usize>,
}

impl Crowded {
    pub fn of(old: Side<'_>, new: Side<'_>) -> Crowded {
        let mut families: BTreeMap<Key, Members> = BTreeMap::new();
        let mut add = |side: Side<'_>, which: fn(&mut Members) -> &mut Vec<usize>| {
            for (i, f) in side.lifted.functions.iter().enumerate() {
                if names::is_counted_function(&f.name) {
                    let s = stem(&f.name);
                    which(families.entry((s.name, s.kinds, None)).or_default()).push(i);
                }
            }
        };
        add(old, |f| &mut f.0);
        add(new, |f| &mut f.1);
        numbered(old, new, &mut families);
        families.retain(|_, (o, n)| o.len() > 1 || n.len() > 1);
        let old = families.values().flat_map(|f| &f.0).copied().collect();
        let new = families.values().flat_map(|f| &f.1).copied().collect();
        Crowded { families, old, new }
    }
}

/// Families of local functions, a number in the name of one of which makes the difference to the others.
fn numbered(old: Side<'_>, new: Side<'_>, families: &mut BTreeMap<Key, Members>) {
    let local = |side: Side<'_>, f: &Function| f.names.iter().all(|&n| side.image.symbol(n).binding == Binding::Local);
    let sides = [old, new];
    let all = sides.iter().flat_map(|side| &side.lifted.functions);
    let numbered: BTreeMap<&str, Stem> =
        all.filter(|f| names::is_numbered_function(&f.name)).map(|f| (f.name.as_str(), stem(&f.name))).collect();
    let wanted: BTreeSet<&str> = numbered.values().map(|s| s.name.as_str()).collect();
    if wanted.is_empty() {
        return;
    }
    let members = sides.map(|side| {
        let functions = side.lifted.functions.iter().enumerate();
        let own =
            |f: &'_ Function| numbered.get(f.name.as_str()).map_or(f.name.as_str(), |s| s.name.as_str()).to_owned();
        let found = functions.filter(|(_, f)| local(side, f)).map(|(i, f)| (i, own(f), f.unit.clone()));
        found.filter(|(_, name, _)| wanted.contains(name.as_str())).collect::<Vec<_>>()
    });
    let units = members
        .each_ref()
        .map(|list| list.iter().map(|(_, name, unit)| (name.as_str(), unit.as_deref())).collect::<BTreeSet<_>>());
    for (which, list) in members.iter().enumerate() {
        for (i, name, unit) in list {
            // Link-time optimisation makes units up.
            let kept = units.iter().all(|known| known.contains(&(name.as_str(), unit.as_deref())));
            let unit = unit.clone().filter(|_| kept);
            let family = families.entry((name.clone(), Vec::new(), unit)).or_default();
            if which == 0 { family.0.push(*i) } else { family.1.push(*i) }
        }
    }
}

/// Hash of what each of them does, with what those do that it calls or names.
fn colours(side: Side<'_>, shapes: &mut Shapes<'_>, members: &BTreeSet<usize>) -> HashMap<usize, u64> {
    let functions = &side.lifted.functions;
    let mut colours: HashMap<usize, u64> = members.iter().map(|&i| (i, shapes.exact(i))).collect();
    for _ in 0..ROUNDS {
        let next = |&i: &usize| {
            let mut h = DefaultHasher::new();
            colours[&i].hash(&mut h);
            for CodeRef { target, .. } in &functions[i].refs {
                if let Target::Func { func, .. } = target
                    && let Some(colour) = colours.get(&func.index())
                {
                    colour.hash(&mut h);
                }
            }
            (i, h.finish())
        };
        colours = members.iter().map(next).collect();
    }
    colours
}

/// Pairs what can be told apart. A stem in `ambiguous` has members of both builds left that could be one another and whose address is held.
pub(super) fn pair(
    p: &mut Pairing<FuncId>,
    crowded: &Crowded,
    (old, shapes, old_held): (Side<'_>, &mut Shapes<'_>, &BTreeSet<usize>),
    (new, new_shapes, new_held): (Side<'_>, &mut Shapes<'_>, &BTreeSet<usize>),
    ambiguous: &mut BTreeSet<(u16, String)>,
) {
    let (was, is) = (colours(old, shapes, &crowded.old), colours(new, new_shapes, &crowded.new));
    for ((stem, ..), (o, n)) in &crowded.families {
        let mut unmoved = o.len() == n.len();
        let mut buckets: BTreeMap<u64, Members> = BTreeMap::new();
        o.iter().for_each(|i| buckets.entry(was[i]).or_default().0.push(*i));
        n.iter().for_each(|i| buckets.entry(is[i]).or_default().1.push(*i));
        for (mut a, mut b) in buckets.into_values() {
            if a.len() != b.len() {
                // Equal code, but another lambda's: what it names may be told apart by who looks at it. Rust's functions don't look.
                let own = |side: Side<'_>, i: &usize| is_rust(name(side, *i));
                a.retain(|i| own(old, i) || !old_held.contains(i));
                b.retain(|i| own(new, i) || !new_held.contains(i));
                by_name(p, (old, &mut a), (new, &mut b), Why::Order);
                continue;
            }
            by_name(p, (old, &mut a), (new, &mut b), Why::Content);
            unmoved &= a.is_empty();
            a.into_iter().zip(b).for_each(|(a, b)| p.pair(a, b, Why::Content));
        }
        let mut a: Vec<usize> = o.iter().copied().filter(|&i| p.to_new[i].is_none()).collect();
        let mut b: Vec<usize> = n.iter().copied().filter(|&i| p.to_old[i].is_none()).collect();
        if a.is_empty() || b.is_empty() {
            continue;
        }
        if let (&[x], &[y]) = (a.as_slice(), b.as_slice())
            && unmoved
            && name(old, x) == name(new, y)
        {
            // All others are where they were: this one changed.
            p.pair(x, y, Why::Stem);
            continue;
        }
        alike(p, (old, shapes, &a, old_held), (new, new_shapes, &b, new_held), unmoved);
        a.retain(|&i| p.to_new[i].is_none());
        b.retain(|&i| p.to_old[i].is_none());
        // Whose address nobody holds is only called, by code that is carried or proven the same: any pair will do.
        let (mut x, mut y) = (a.clone(), b.clone());
        x.retain(|i| !old_held.contains(i));
        y.retain(|i| !new_held.contains(i));
        by_name(p, (old, &mut x), (new, &mut y), Why::Order);
        let left = |i: &&usize| p.to_new[**i].is_none() && old_held.contains(*i);
        let colours: BTreeSet<u64> = b.iter().filter(|&&i| p.to_old[i].is_none()).map(|i| is[i]).collect();
        let equal = |i: &usize| colours.contains(&was[i]) && shapes.is_whole(*i);
        if !colours.is_empty() && !a.iter().filter(left).all(equal) {
            ambiguous.insert((301, stem.clone()));
        }
    }
}

/// The whole name, without the number of a unit that thin link-time optimisation gives.
fn name(side: Side<'_>, i: usize) -> &str {
    side.lifted.functions[i].name.split(".llvm.").next().unwrap_or_default()
}

/// Pairs those of the same whole name, and takes them out of the lists.
fn by_name<'a>(
    p: &mut Pairing<FuncId>,
    (old, a): (Side<'a>, &mut Vec<usize>),
    (new, b): (Side<'a>, &mut Vec<usize>),
    why: Why,
) {
    let names = |side: Side<'a>, list: &[usize]| {
        let mut map: BTreeMap<&'a str, Vec<usize>> = BTreeMap::new();
        list.iter().for_each(|&i| map.entry(name(side, i)).or_default().push(i));
        map
    };
    let (x, y) = (names(old, a), names(new, b));
    for (name, list) in x {
        if let (&[i], Some(&[j])) = (list.as_slice(), y.get(name).map(Vec::as_slice)) {
            p.pair(i, j, why);
        }
    }
    a.retain(|&i| p.to_new[i].is_none());
    b.retain(|&i| p.to_old[i].is_none());
}

/// Pairs those that are each other's clearly most similar ones; where an address is held, only if the name says so, too, and no other
/// member of the family has moved.
fn alike(
    p: &mut Pairing<FuncId>,
    (old, shapes, a, old_held): (Side<'_>, &mut Shapes<'_>, &[usize], &BTreeSet<usize>),
    (new, new_shapes, b, new_held): (Side<'_>, &mut Shapes<'_>, &[usize], &BTreeSet<usize>),
    unmoved: bool,
) {
    if a.len() * b.len() > MANY {
        return;
    }
    let x: Vec<_> = a.iter().map(|&i| shapes.features(i)).collect();
    let y: Vec<_> = b.iter().map(|&i| new_shapes.features(i)).collect();
    let best = |one: &BTreeSet<u64>, of: &[BTreeSet<u64>]| -> Option<usize> {
        let mut scores: Vec<(f64, usize)> = of.iter().enumerate().map(|(i, s)| (similarity(one, s), i)).collect();
        scores.sort_by(|l, r| r.0.total_cmp(&l.0));
        let lead = scores.get(1).map_or(1.0, |s| scores[0].0 - s.0);
        (scores[0].0 >= ENOUGH && lead >= MARGIN).then_some(scores[0].1)
    };
    for (i, features) in x.iter().enumerate() {
        let Some(j) = best(features, &y).filter(|&j| best(&y[j], &x) == Some(i)) else { continue };
        let held = old_held.contains(&a[i]) || new_held.contains(&b[j]);
        if !held || (unmoved && name(old, a[i]) == name(new, b[j])) {
            p.pair(a[i], b[j], Why::Likeness);
        }
    }
}
