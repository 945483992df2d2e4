//! Pairs data. A wrong pair loses or mixes up live state, so the evidence must be stronger than for functions.

use super::pairing::Pairing;
use super::{Side, Stem, Why, stem};
use crate::addr::{DataId, FuncId};
use crate::image::{Binding, SectionKind};
use crate::lift::{Data, DataKind, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The functions that refer to each object.
fn users(side: Side<'_>) -> Vec<BTreeSet<usize>> {
    let mut users = vec![BTreeSet::new(); side.lifted.data.len()];
    for (i, f) in side.lifted.functions.iter().enumerate() {
        for r in &f.refs {
            if let Target::Data { data, .. } = r.target {
                users[data.index()].insert(i);
            }
        }
    }
    users
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
    let global = |side: Side<'_>, i: usize| {
        let d = &side.lifted.data[i];
        if d.kind != DataKind::Named {
            return None;
        }
        match d.names.first().map(|&n| side.image.symbol(n)) {
            None => Some((d.name.clone(), None, is_thread(d))),
            Some(s) if s.binding != Binding::Local => Some((s.name.clone(), s.version.clone(), is_thread(d))),
            Some(_) => None,
        }
    };
    p.unique(Why::GlobalName, |i| global(old, i), |i| global(new, i));
    aliases(old, new, &mut p);
    let local = |d: &Data| (d.kind == DataKind::Named).then(|| (d.name.clone(), d.unit.clone(), is_thread(d)));
    // A number in the name isn't part of it.
    let plain = |d: &Data| local(d).filter(|_| !numbered(&d.name));
    p.unique(Why::LocalName, |i| plain(&od[i]), |i| plain(&nd[i]));
    // Units are lost in link-time optimisation: then the name alone, with the same size and section.
    let unitless = |d: &Data| {
        let lost = d.unit.as_deref().is_none_or(|u| u.ends_with(".o") || u.starts_with('<'));
        plain(d).filter(|_| lost).map(|(n, _, t)| (n, t, d.range.size(), d.section as u8))
    };
    p.unique(Why::LocalName, |i| unitless(&od[i]), |i| unitless(&nd[i]));

    let (old_users, new_users) = (users(old), users(new));
    // Users in the old image's numbers, None for a function that isn't paired.
    let seen_new = |i: usize| -> BTreeSet<usize> {
        new_users[i].iter().filter_map(|&f| funcs.to_old[f].map(|q| q.old.index())).collect()
    };
    let seen_old =
        |i: usize| -> BTreeSet<usize> { old_users[i].iter().copied().filter(|&f| funcs.to_new[f].is_some()).collect() };
    let key = |d: &Data| -> Option<(Stem, Option<Arc<str>>, bool)> {
        local(d).map(|(n, u, t)| (Stem { number: 0, ..stem(&n) }, u, t))
    };
    {
        let p = &mut p;
        for ((s, ..), mut o, mut n) in p.groups(|i| key(&od[i]), |i| key(&nd[i])) {
            o.sort_by_key(|&i| stem(&od[i].name).number);
            n.sort_by_key(|&i| stem(&nd[i].name).number);
            if !group(p, &o, &n, od, nd, &seen_old, &seen_new) {
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

/// Pairs objects of the same stem and unit. False where some of them could be one another.
fn group(
    p: &mut Pairing<DataId>,
    o: &[usize],
    n: &[usize],
    od: &[Data],
    nd: &[Data],
    seen_old: &dyn Fn(usize) -> BTreeSet<usize>,
    seen_new: &dyn Fn(usize) -> BTreeSet<usize>,
) -> bool {
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
        if users.is_empty() && (o.len() > 1 || n.len() > 1) {
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
