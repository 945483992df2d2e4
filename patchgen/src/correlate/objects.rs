//! Pairs data. A wrong pair loses or mixes up live state, so the evidence must be stronger than for functions.

use super::pairing::Pairing;
use super::{Side, Stem, Why, names, stem};
use crate::addr::{DataId, FuncId, SymbolId};
use crate::image::{Binding, SectionKind};
use crate::lift::{Data, DataKind, Slot, Target};
use std::collections::{BTreeMap, BTreeSet};

/// The functions that refer to each object, ascending.
fn users(side: Side<'_>) -> Vec<Vec<usize>> {
    let threads = thread_variables(side);
    let mut users = vec![Vec::new(); side.lifted.data.len()];
    for (i, f) in side.lifted.functions.iter().enumerate() {
        for r in &f.refs {
            let others = r.alternatives.iter().map(|(data, _)| data.index());
            for data in object(&r.target, &threads).into_iter().chain(others) {
                if users[data].last() != Some(&i) {
                    users[data].push(i);
                }
            }
        }
    }
    users
}

/// Thread-local variables by their symbols.
fn thread_variables(side: Side<'_>) -> BTreeMap<SymbolId, usize> {
    let variables = side.lifted.data.iter().enumerate().filter(|(_, d)| is_thread(d));
    variables.flat_map(|(i, d)| d.names.iter().map(move |&n| (n, i))).collect()
}

/// The object that a target denotes or holds the address of.
fn object(t: &Target, threads: &BTreeMap<SymbolId, usize>) -> Option<usize> {
    match t {
        Target::Data { data, .. } => Some(data.index()),
        Target::Slot(Slot::Address(inner)) => object(inner, threads),
        Target::Tls { symbol, .. }
        | Target::Slot(Slot::TpOff { symbol, .. } | Slot::TlsGd { symbol, .. } | Slot::TlsDesc { symbol, .. }) => {
            threads.get(&(*symbol)?).copied()
        }
        _ => None,
    }
}

/// The objects that data point to.
fn held(side: Side<'_>) -> BTreeSet<usize> {
    let refs = side.lifted.data.iter().flat_map(|d| d.refs.iter().chain(&d.ambiguous));
    refs.filter_map(|r| object(&r.target, &BTreeMap::new())).collect()
}

/// One side's candidates, who uses each object of that side in code, and which of them data point to.
type Used<'a> = (&'a [usize], &'a [Vec<usize>], &'a BTreeSet<usize>);

/// Pairs objects of the same stem and unit to which nothing refers, in their order: nobody could tell if they were mixed up.
fn unused(p: &mut Pairing<DataId>, (o, old_users, old_held): Used<'_>, (n, new_users, new_held): Used<'_>) {
    let idle = |list: &[usize], users: &[Vec<usize>], held: &BTreeSet<usize>| -> Vec<usize> {
        list.iter().copied().filter(|&i| users[i].is_empty() && !held.contains(&i)).collect()
    };
    let (a, b) = (idle(o, old_users, old_held), idle(n, new_users, new_held));
    if a.len() == b.len() {
        a.into_iter().zip(b).for_each(|(a, b)| p.pair(a, b, Why::Order));
    }
}

fn is_thread(d: &Data) -> bool {
    matches!(d.section, SectionKind::Tdata | SectionKind::Tbss)
}

pub(super) fn pair(
    old: Side<'_>,
    new: Side<'_>,
    funcs: &Pairing<FuncId>,
    ambiguous: &mut BTreeSet<(u16, String)>,
) -> Pairing<DataId> {
    let (od, nd) = (&old.lifted.data, &new.lifted.data);
    let mut p = Pairing::new(od.len(), nd.len());
    // (name, version, thread-local) of the object's preferred global name.
    fn global(side: Side<'_>, i: usize) -> Option<(&str, Option<&str>, bool)> {
        let d = &side.lifted.data[i];
        if d.kind != DataKind::Named {
            return None;
        }
        match d.names.first().map(|&n| side.image.symbol(n)) {
            None => Some((d.name.as_str(), None, is_thread(d))),
            Some(s) if s.binding != Binding::Local => Some((s.name.as_str(), s.version.as_deref(), is_thread(d))),
            Some(_) => None,
        }
    }
    p.unique(Why::GlobalName, |i| global(old, i), |i| global(new, i));
    aliases(old, new, &mut p);
    fn local(d: &Data) -> Option<(&str, Option<&str>, bool)> {
        (d.kind == DataKind::Named).then(|| (d.name.as_str(), d.unit.as_deref(), is_thread(d)))
    }
    // A number in the name isn't part of it.
    fn plain(d: &Data) -> Option<(&str, Option<&str>, bool)> {
        local(d).filter(|_| !numbered(&d.name))
    }
    p.unique(Why::LocalName, |i| plain(&od[i]), |i| plain(&nd[i]));
    // Units are lost in link-time optimisation: then the name alone, with the same size and section.
    fn unitless(d: &Data) -> Option<(&str, bool, u64, u8)> {
        let lost = d.unit.as_deref().is_none_or(|u| u.ends_with(".o") || u.starts_with('<'));
        plain(d).filter(|_| lost).map(|(n, _, t)| (n, t, d.range.size(), d.section as u8))
    }
    p.unique(Why::LocalName, |i| unitless(&od[i]), |i| unitless(&nd[i]));
    // rustc spreads what it compiles over units as it likes; its names are those of the whole crate.
    fn rust(d: &Data) -> Option<(&str, bool)> {
        plain(d).filter(|_| names::is_rust(&d.name)).map(|(n, _, t)| (n, t))
    }
    p.unique(Why::LocalName, |i| rust(&od[i]), |i| rust(&nd[i]));

    let (old_users, new_users) = (users(old), users(new));
    let (old_held, new_held) = (held(old), held(new));
    // Users in the old image's numbers, None for a function that isn't paired.
    let seen_new = |i: usize| -> BTreeSet<usize> {
        new_users[i].iter().filter_map(|&f| funcs.to_old[f].map(|q| q.old.index())).collect()
    };
    let seen_old =
        |i: usize| -> BTreeSet<usize> { old_users[i].iter().copied().filter(|&f| funcs.to_new[f].is_some()).collect() };
    fn key(d: &Data, with_unit: bool) -> Option<(Stem, Option<Option<&str>>, bool)> {
        local(d).map(|(n, u, t)| (Stem { number: 0, ..stem(n) }, with_unit.then_some(u), t))
    }
    // What isn't in its unit any more may have moved to another one with the code that uses it.
    for with_unit in [true, false] {
        let p = &mut p;
        for ((s, ..), mut o, mut n) in p.groups(|i| key(&od[i], with_unit), |i| key(&nd[i], with_unit)) {
            o.sort_by_key(|&i| stem(&od[i].name).number);
            n.sort_by_key(|&i| stem(&nd[i].name).number);
            unused(p, (&o, &old_users, &old_held), (&n, &new_users, &new_held));
            if !group(p, (&o, &n), (od, nd), (&seen_old, &seen_new), with_unit) && !by_content((old, &o), (new, &n), p)
            {
                ambiguous.insert((302, s.name));
            }
        }
    }
    p
}

/// Objects that share any global name, where the preferred names differ.
fn aliases(old: Side<'_>, new: Side<'_>, p: &mut Pairing<DataId>) {
    let mut by_name: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    fn global_names<'a>(side: Side<'a>, i: usize) -> Vec<(&'a str, bool)> {
        let d = &side.lifted.data[i];
        d.names
            .iter()
            .map(|&n| side.image.symbol(n))
            .filter(|s| s.binding != Binding::Local)
            .map(|s| (s.name.as_str(), is_thread(d)))
            .collect()
    }
    for i in (0..p.to_old.len()).filter(|&i| p.to_old[i].is_none()) {
        for k in global_names(new, i) {
            by_name.insert(k, i);
        }
    }
    for i in 0..p.to_new.len() {
        if p.to_new[i].is_some() {
            continue;
        }
        let hit = global_names(old, i).into_iter().find_map(|k| by_name.get(&k).copied());
        if let Some(n) = hit.filter(|&n| p.to_old[n].is_none()) {
            p.pair(i, n, Why::GlobalName);
        }
    }
}

fn numbered(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|t| name.contains('.') && t.bytes().all(|b| b.is_ascii_digit()))
}

/// Pairs what is left of constants of the same stem and unit by their bytes: whoever reads one can't tell it from another with the
/// same. A constant that is left over then is new, or gone: it has no state to lose. True when nothing else is left that could be one
/// of several.
fn by_content((old, o): (Side<'_>, &[usize]), (new, n): (Side<'_>, &[usize]), p: &mut Pairing<DataId>) -> bool {
    let mut groups: BTreeMap<&[u8], (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    let (mut variables, mut new_variables) = (false, false);
    for &i in o.iter().filter(|&&i| p.to_new[i].is_none()) {
        match constant(old, i) {
            Some(content) => groups.entry(content).or_default().0.push(i),
            None => variables = true,
        }
    }
    for &i in n.iter().filter(|&&i| p.to_old[i].is_none()) {
        match constant(new, i) {
            Some(content) => groups.entry(content).or_default().1.push(i),
            None => new_variables = true,
        }
    }
    for (a, b) in groups.into_values() {
        a.into_iter().zip(b).for_each(|(a, b)| p.pair(a, b, Why::Content));
    }
    !(variables && new_variables)
}

/// The bytes of an object that nobody can write to and that holds no addresses.
fn constant<'a>(side: Side<'a>, i: usize) -> Option<&'a [u8]> {
    let d = &side.lifted.data[i];
    if d.is_plain_constant() { side.image.bytes(d.range.start, d.range.size()) } else { None }
}

/// The functions that are in both images and use an object, in the old image's numbers.
type Seen<'a> = &'a dyn Fn(usize) -> BTreeSet<usize>;

/// Pairs objects of the same stem, and unit if `alone` is enough where no function uses them that both images have. False where some of them
/// could be one another.
fn group(
    p: &mut Pairing<DataId>,
    (o, n): (&[usize], &[usize]),
    (od, nd): (&[Data], &[Data]),
    (seen_old, seen_new): (Seen<'_>, Seen<'_>),
    alone: bool,
) -> bool {
    let o: Vec<usize> = o.iter().copied().filter(|&i| p.to_new[i].is_none()).collect();
    let n: Vec<usize> = n.iter().copied().filter(|&i| p.to_old[i].is_none()).collect();
    let so: Vec<_> = o.iter().map(|&i| seen_old(i)).collect();
    let sn: Vec<_> = n.iter().map(|&i| seen_new(i)).collect();
    // Used by the same functions: static variables of one function stay in the order of their numbers.
    let mut by_users: BTreeMap<&BTreeSet<usize>, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (k, s) in so.iter().enumerate() {
        by_users.entry(s).or_default().0.push(k);
    }
    for (k, s) in sn.iter().enumerate() {
        by_users.entry(s).or_default().1.push(k);
    }
    let mut clear = true;
    for (users, (a, b)) in by_users {
        if users.is_empty() && (!alone || o.len() > 1 || n.len() > 1) {
            continue;
        }
        if a.len() == b.len() {
            let same_size = a.iter().zip(&b).all(|(&a, &b)| od[o[a]].range.size() == nd[n[b]].range.size());
            if a.len() > 1 && !same_size {
                clear = false;
                continue;
            }
            for (&a, &b) in a.iter().zip(&b) {
                p.pair(o[a], n[b], if a == b && o.len() == 1 { Why::Stem } else { Why::Order });
            }
        }
    }
    // The rest: pairs whose users overlap, if that is mutual and only.
    for (a, s) in so.iter().enumerate() {
        if p.to_new[o[a]].is_some() {
            continue;
        }
        let hits: Vec<usize> = (0..n.len()).filter(|&b| p.to_old[n[b]].is_none() && !sn[b].is_disjoint(s)).collect();
        if let &[b] = hits.as_slice() {
            let back = (0..o.len()).filter(|&x| p.to_new[o[x]].is_none() && !so[x].is_disjoint(&sn[b])).count();
            if back == 1 {
                p.pair(o[a], n[b], Why::Stem);
                continue;
            }
        }
        // Whoever has no user in common with any candidate may still be the same variable, moved into another function.
        if (0..n.len()).any(|b| p.to_old[n[b]].is_none()) {
            clear = false;
        }
    }
    clear
}
