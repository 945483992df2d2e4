//! Pairs data. A wrong pair loses or mixes up live state, so the evidence must be stronger than for functions.

use super::pairing::Pairing;
use super::scopes::Shared;
use super::{Correlation, Pair, Side, Stem, Why, names, stem};
use crate::addr::{DataId, FuncId, ImportId, SymbolId};
use crate::image::{Binding, SectionKind};
use crate::lift::{Data, DataKind, DataRef, Slot, Target, describes_class};
use crate::rust_names::is_rust;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem::take;
use std::sync::Arc;

/// The functions that refer to each object, ascending.
pub(super) fn users(side: Side<'_>) -> Vec<Vec<usize>> {
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
        Target::Tls { symbol, .. } => threads.get(&(*symbol)?).copied(),
        Target::Slot(Slot::TpOff(of) | Slot::TlsGd(of) | Slot::TlsDesc(of)) => threads.get(&of.symbol?).copied(),
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

/// Pairs what its name says, where it doesn't count.
pub(super) fn pair(old: Side<'_>, new: Side<'_>) -> Pairing<DataId> {
    let (od, nd) = (&old.lifted.data, &new.lifted.data);
    let mut p = Pairing::new(od.len(), nd.len());
    let crowded = crowded(old, new);
    let counted = |side: Side<'_>, d: &Data| family(side, d).is_some_and(|key| crowded.contains(&key));
    // (name, version, thread-local) of the object's preferred global name.
    let global = |side: Side<'_>, i: usize| {
        let d = &side.lifted.data[i];
        if d.kind != DataKind::Named || counted(side, d) {
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
    // A number in the name isn't part of it.
    let plain = |side: Side<'_>, d: &Data| local(d).filter(|_| !numbered(&d.name) && !counted(side, d));
    p.unique(Why::LocalName, |i| plain(old, &od[i]), |i| plain(new, &nd[i]));
    // Units are lost in link-time optimisation: then the name alone, with the same size and section.
    let unitless = |side: Side<'_>, d: &Data| {
        let lost = d.unit.as_deref().is_none_or(|u| u.ends_with(".o") || u.starts_with('<'));
        plain(side, d).filter(|_| lost).map(|(n, _, t)| (n, t, d.range.size(), d.section as u8))
    };
    p.unique(Why::LocalName, |i| unitless(old, &od[i]), |i| unitless(new, &nd[i]));
    // rustc spreads what it compiles over units as it likes; its names are those of the whole crate.
    let rust = |side: Side<'_>, d: &Data| plain(side, d).filter(|_| is_rust(&d.name)).map(|(n, _, t)| (n, t));
    p.unique(Why::LocalName, |i| rust(old, &od[i]), |i| rust(new, &nd[i]));
    p
}

/// Name, unit and whether it is thread-local.
type Local = (String, Option<Arc<str>>, bool);

fn local(d: &Data) -> Option<Local> {
    (d.kind == DataKind::Named).then(|| (d.name.clone(), d.unit.clone(), is_thread(d)))
}

/// What objects have in common that a compiler tells apart by a number, a hash or the lack of one.
fn family(side: Side<'_>, d: &Data) -> Option<Local> {
    let (name, unit, thread) = local(d).filter(|(name, ..)| names::may_be_counted(name))?;
    let global = d.names.first().is_some_and(|&n| side.image.symbol(n).binding != Binding::Local);
    let unit = unit.filter(|_| !global && !is_rust(&name));
    Some((stem(&name).name, unit, thread))
}

/// Families with several members in one of the builds.
fn crowded(old: Side<'_>, new: Side<'_>) -> BTreeSet<Local> {
    let mut out = BTreeSet::new();
    for side in [old, new] {
        let mut met = BTreeSet::new();
        for key in side.lifted.data.iter().filter_map(|d| family(side, d)) {
            if !met.insert(key.clone()) {
                out.insert(key);
            }
        }
    }
    out
}

/// Objects without a pair whose names don't say which they are, with the number of what they have in common.
#[derive(Debug, Default)]
pub struct Doubtful {
    pub old: HashMap<DataId, u32>,
    pub new: HashMap<DataId, u32>,
    /// Those of which code that changed says nothing, because they are parts of one variable.
    pub parts: BTreeSet<u32>,
}

/// Those that may be one of the other build's.
pub fn doubtful(old: Side<'_>, new: Side<'_>, pairs: &Correlation, shared: &Shared) -> Doubtful {
    let mut numbers: HashMap<(String, bool), u32> = HashMap::new();
    let mut of = |side: Side<'_>, paired: &[Option<Pair<DataId>>], told: &BTreeSet<DataId>| -> HashMap<DataId, u32> {
        let unsaid = |i: usize| paired[i].is_none() && !told.contains(&i.into());
        let open = side.lifted.data.iter().enumerate().filter(|(i, _)| unsaid(*i));
        let keys = open.filter_map(|(i, d)| local(d).map(|(n, _, t)| (i, (stem(&n).name, t))));
        keys.map(|(i, key)| {
            let next = numbers.len() as u32;
            (DataId::from(i), *numbers.entry(key).or_insert(next))
        })
        .collect()
    };
    let was = of(old, &pairs.data_to_new, &shared.old_told);
    let is = of(new, &pairs.data_to_old, &shared.new_told);
    let of_parts = |map: &HashMap<DataId, u32>, parts: &BTreeSet<DataId>| -> BTreeSet<u32> {
        parts.iter().filter_map(|id| map.get(id)).copied().collect()
    };
    let parts = &of_parts(&was, &shared.old_parts) | &of_parts(&is, &shared.new_parts);
    let mut out = Doubtful { old: was, new: is, parts };
    let (was, is): (BTreeSet<u32>, BTreeSet<u32>) =
        (out.old.values().copied().collect(), out.new.values().copied().collect());
    out.old.retain(|_, n| is.contains(n));
    out.new.retain(|_, n| was.contains(n));
    out
}

/// Pairs what `seen` witnesses, and what else can be told of what is [`doubtful`]. The rest is ambiguous (HP0302).
pub fn settle(old: Side<'_>, new: Side<'_>, pairs: &mut Correlation, shared: &Shared, seen: &[(DataId, DataId)]) {
    let (od, nd) = (&old.lifted.data, &new.lifted.data);
    let doubt = doubtful(old, new, pairs, shared);
    let mut p = Pairing { to_new: take(&mut pairs.data_to_new), to_old: take(&mut pairs.data_to_old) };
    let (old_users, new_users) = (users(old), users(new));
    let (old_held, new_held) = (held(old), held(new));
    let parts = &doubt.parts;
    let lone = |doubt: &HashMap<DataId, u32>, users: &[Vec<usize>], shared: &BTreeSet<DataId>| -> BTreeSet<usize> {
        let mut met: HashMap<(u32, usize), u32> = HashMap::new();
        for (id, family) in doubt {
            users[id.index()].iter().for_each(|user| *met.entry((*family, *user)).or_default() += 1);
        }
        let only = |(id, family): &(&DataId, &u32)| users[id.index()].iter().all(|user| met[&(**family, *user)] == 1);
        let known = doubt.iter().filter(|(id, family)| !shared.contains(id) && !parts.contains(family));
        known.filter(only).map(|(id, _)| id.index()).collect()
    };
    let (old_lone, new_lone) = (lone(&doubt.old, &old_users, &shared.old), lone(&doubt.new, &new_users, &shared.new));
    seen.iter().for_each(|(a, b)| p.pair(a.index(), b.index(), Why::Use));
    // Users in the old image's numbers, None for a function that isn't paired by what it is.
    let sure = |pair: Option<Pair<FuncId>>| pair.filter(|pair| pair.why.is_sure());
    let seen_new = |i: usize| -> BTreeSet<usize> {
        new_users[i].iter().filter_map(|&f| sure(pairs.func_to_old[f]).map(|q| q.old.index())).collect()
    };
    let seen_old = |i: usize| -> BTreeSet<usize> {
        old_users[i].iter().copied().filter(|&f| sure(pairs.func_to_new[f]).is_some()).collect()
    };
    let key = |d: &Data| -> Option<(Stem, Option<Arc<str>>, bool)> {
        local(d).map(|(n, u, t)| (Stem { number: 0, ..stem(&n) }, u, t))
    };
    held_alike(old, new, &mut p, &key);
    let mut ambiguous = BTreeSet::new();
    let mut describing = Vec::new();
    // What isn't in its unit any more may have moved to another one with the code that uses it.
    for with_unit in [true, false] {
        let unit = |(s, u, t): (Stem, Option<Arc<str>>, bool)| (s, with_unit.then_some(u), t);
        let p = &mut p;
        let told = |told: &BTreeSet<DataId>, i: usize| told.contains(&i.into());
        let old_key = |i: usize| key(&od[i]).filter(|_| !told(&shared.old_told, i)).map(unit);
        let new_key = |i: usize| key(&nd[i]).filter(|_| !told(&shared.new_told, i)).map(unit);
        for ((s, ..), o, n) in p.groups(old_key, new_key) {
            let describe = |list: &[usize], data: &[Data]| list.iter().all(|&i| describes_class(&data[i].name));
            if describe(&o, od) && describe(&n, nd) {
                describing.push((o, n));
                continue;
            }
            let mut single = (o.clone(), n.clone());
            single.0.retain(|i| old_lone.contains(i));
            single.1.retain(|i| new_lone.contains(i));
            unused(p, (&o, &old_users, &old_held), (&n, &new_users, &new_held));
            group(p, (&single.0, &single.1), (&seen_old, &seen_new), with_unit && o.len() == 1 && n.len() == 1);
            let left = o.iter().any(|&i| p.to_new[i].is_none()) && n.iter().any(|&i| p.to_old[i].is_none());
            if left && !by_content((old, &o), (new, &n), p) {
                ambiguous.insert((302, s.name));
            }
        }
    }
    // Vtables tell whose type information they hold, and that whose it is built of.
    while describing.iter().any(|(o, n)| classes((old, new), &mut p, (o, n), &pairs.func_to_new)) {}
    held_alike(old, new, &mut p, &key);
    guards(od, nd, &mut p);
    (pairs.data_to_new, pairs.data_to_old) = (p.to_new, p.to_old);
    let known: BTreeSet<(u16, String)> = take(&mut pairs.ambiguous).into_iter().collect();
    pairs.ambiguous = known.into_iter().chain(ambiguous).collect();
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

pub(super) fn numbered(name: &str) -> bool {
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

/// Pairs objects of the same stem, each the only one of it that its users use: those with the same users, then those whose users overlap if
/// that is mutual and only. `alone` is enough where no function uses them that both images have.
fn group(
    p: &mut Pairing<DataId>,
    (o, n): (&[usize], &[usize]),
    (seen_old, seen_new): (Seen<'_>, Seen<'_>),
    alone: bool,
) {
    let o: Vec<usize> = o.iter().copied().filter(|&i| p.to_new[i].is_none()).collect();
    let n: Vec<usize> = n.iter().copied().filter(|&i| p.to_old[i].is_none()).collect();
    let so: Vec<_> = o.iter().map(|&i| seen_old(i)).collect();
    let sn: Vec<_> = n.iter().map(|&i| seen_new(i)).collect();
    let mut by_users: BTreeMap<&BTreeSet<usize>, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (k, s) in so.iter().enumerate() {
        by_users.entry(s).or_default().0.push(k);
    }
    for (k, s) in sn.iter().enumerate() {
        by_users.entry(s).or_default().1.push(k);
    }
    for (users, (a, b)) in by_users {
        if let (&[a], &[b]) = (a.as_slice(), b.as_slice())
            && (alone || !users.is_empty())
        {
            p.pair(o[a], n[b], Why::Stem);
        }
    }
    for (a, s) in so.iter().enumerate().filter(|(a, _)| p.to_new[o[*a]].is_none()).collect::<Vec<_>>() {
        let hits: Vec<usize> = (0..n.len()).filter(|&b| p.to_old[n[b]].is_none() && !sn[b].is_disjoint(s)).collect();
        if let &[b] = hits.as_slice() {
            let back = (0..o.len()).filter(|&x| p.to_new[o[x]].is_none() && !so[x].is_disjoint(&sn[b])).count();
            if back == 1 {
                p.pair(o[a], n[b], Why::Stem);
            }
        }
    }
}

/// What compilers call compound literals outside of functions.
const COMPOUND: [&str; 2] = ["__compound_literal", ".compoundliteral"];

/// Pairs objects of the same stem and unit that only data tell apart (compound literals, what describes classes) to which the same word of an object that
/// both images have points, where all its words do so, and which hold the same.
fn held_alike(
    old: Side<'_>,
    new: Side<'_>,
    p: &mut Pairing<DataId>,
    key: &impl Fn(&Data) -> Option<(Stem, Option<Arc<str>>, bool)>,
) {
    let (od, nd) = (&old.lifted.data, &new.lifted.data);
    // Which nameless objects the words of another one lead to, by the words' places, and how far into them.
    let words = |data: &[Data], holder: usize, paired: &[Option<Pair<DataId>>]| -> BTreeMap<u32, (usize, i64)> {
        let nameless = |name: &str| COMPOUND.iter().any(|c| name.starts_with(c)) || describes_class(name);
        let open = |held: DataId| paired[held.index()].is_none() && nameless(&data[held.index()].name);
        let refs = data[holder].refs.iter().chain(&data[holder].ambiguous);
        let held = refs.filter_map(|r| match r.target {
            Target::Data { data: held, offset } if open(held) => Some((r.at, (held.index(), offset))),
            _ => None,
        });
        held.collect()
    };
    let mut holders: Vec<usize> = (0..od.len()).filter(|&i| !words(od, i, &p.to_new).is_empty()).collect();
    let mut new_holders: Vec<usize> = (0..nd.len()).filter(|&j| !words(nd, j, &p.to_old).is_empty()).collect();
    loop {
        // What each may be in the other build, by the words that lead there; None where these disagree.
        let mut votes: BTreeMap<usize, Option<usize>> = BTreeMap::new();
        for &i in &holders {
            let was = words(od, i, &p.to_new);
            let same_size = |j: &usize| nd[*j].range.size() == od[i].range.size();
            let is = p.to_new[i].map(|pair| pair.new.index()).filter(same_size).map(|j| words(nd, j, &p.to_old));
            let is = is.filter(|is| was.keys().eq(is.keys()) && was.values().zip(is.values()).all(|(a, b)| a.1 == b.1));
            match is {
                Some(is) => was.values().zip(is.values()).for_each(|(a, b)| {
                    votes.entry(a.0).and_modify(|vote| *vote = vote.filter(|v| *v == b.0)).or_insert(Some(b.0));
                }),
                None => votes.extend(was.values().map(|w| (w.0, None))),
            }
        }
        let alone: BTreeSet<usize> = new_holders.iter().copied().filter(|&j| p.to_old[j].is_none()).collect();
        let doubted: BTreeSet<usize> =
            alone.iter().flat_map(|&j| words(nd, j, &p.to_old).into_values().map(|w| w.0)).collect();
        let mut claims: BTreeMap<usize, u32> = BTreeMap::new();
        votes.values().flatten().for_each(|b| *claims.entry(*b).or_default() += 1);
        let sure = |(a, b): &(usize, usize)| {
            claims[b] == 1 && !doubted.contains(b) && key(&od[*a]) == key(&nd[*b]) && alike(old, new, (*a, *b))
        };
        let found: Vec<(usize, usize)> = votes.iter().filter_map(|(a, b)| Some((*a, (*b)?))).filter(sure).collect();
        if found.is_empty() {
            return;
        }
        found.into_iter().for_each(|(a, b)| p.pair(a, b, Why::Use));
        holders.retain(|&i| !words(od, i, &p.to_new).is_empty());
        new_holders.retain(|&j| !words(nd, j, &p.to_old).is_empty());
    }
}

/// Whether two objects have the same bytes but for addresses, and addresses in the same places.
fn alike(old: Side<'_>, new: Side<'_>, (a, b): (usize, usize)) -> bool {
    let (a, b) = (&old.lifted.data[a], &new.lifted.data[b]);
    let addresses = |d: &Data| d.refs.iter().chain(&d.ambiguous).map(|r| (r.at, r.field)).collect::<Vec<_>>();
    let bytes = |side: Side<'_>, d: &Data| -> Option<Vec<u8>> {
        let mut bytes = match side.image.bytes(d.range.start, d.range.size()) {
            Some(bytes) => bytes.to_vec(),
            None => vec![0; usize::try_from(d.range.size()).ok()?],
        };
        for (at, field) in addresses(d) {
            bytes.get_mut(at as usize..at as usize + field.size())?.fill(0);
        }
        Some(bytes)
    };
    a.section == b.section
        && a.range.size() == b.range.size()
        && addresses(a) == addresses(b)
        && bytes(old, a).zip(bytes(new, b)).is_some_and(|(x, y)| x == y)
}

/// Pairs what describes classes whose names don't say which they are (of lambdas, or generic over them, or in unnamed namespaces of several
/// units), by their names where none came or went and what is known of what they refer to is the same. What is left is carried, and the old
/// stays for the objects that point to it: it has no state. Whether something was paired.
fn classes(
    (old, new): (Side<'_>, Side<'_>),
    p: &mut Pairing<DataId>,
    (o, n): (&[usize], &[usize]),
    functions: &[Option<Pair<FuncId>>],
) -> bool {
    let (od, nd) = (&old.lifted.data, &new.lifted.data);
    if o.len() != n.len() {
        return false;
    }
    let words = |d: &Data| -> Vec<DataRef> {
        let mut words: Vec<DataRef> = d.refs.iter().chain(&d.ambiguous).cloned().collect();
        words.sort_by_key(|r| r.at);
        words
    };
    let import = |f: ImportId, g: ImportId| old.image.import(f).name == new.image.import(g).name;
    let mut paired = false;
    for &i in o {
        let same = |j: &usize| {
            let (a, b) = (&od[i], &nd[*j]);
            let known = |r: &DataRef, s: &DataRef| match (&r.target, &s.target) {
                (Target::Func { func: f, .. }, Target::Func { func: g, .. }) => {
                    functions[f.index()].map(|pair| pair.new) == Some(*g)
                }
                (Target::Data { data: f, offset: x }, Target::Data { data: g, offset: y }) => {
                    let pair = p.to_new[f.index()];
                    x == y && pair.map_or(p.to_old[g.index()].is_none(), |pair| pair.new == *g)
                }
                (Target::Import(f), Target::Import(g)) => import(*f, *g),
                (
                    Target::Slot(Slot::Import { import: f, addend: x }),
                    Target::Slot(Slot::Import { import: g, addend: y }),
                ) => import(*f, *g) && x == y,
                _ => false,
            };
            let (was, is) = (words(a), words(b));
            a.name == b.name && was.len() == is.len() && was.iter().zip(&is).all(|(r, s)| r.at == s.at && known(r, s))
        };
        // The last one left is no proof: what it was may be gone, and this one new.
        let fit: Vec<usize> = n.iter().copied().filter(same).collect();
        if let [j] = fit[..]
            && p.to_new[i].is_none()
            && p.to_old[j].is_none()
        {
            p.pair(i, j, Why::LocalName);
            paired = true;
        }
    }
    paired
}

/// Pairs the guards of what is paired and set up at its first use (Itanium C++ ABI, 3.3.3).
fn guards(od: &[Data], nd: &[Data], p: &mut Pairing<DataId>) {
    let by_name = |data: &'_ [Data]| -> HashMap<String, Vec<usize>> {
        let mut map: HashMap<String, Vec<usize>> = HashMap::new();
        let named = data.iter().enumerate().filter(|(_, d)| d.name.starts_with("_Z"));
        named.for_each(|(i, d)| map.entry(d.name.clone()).or_default().push(i));
        map
    };
    let (was, is) = (by_name(od), by_name(nd));
    let only = |map: &HashMap<String, Vec<usize>>, name: String| match map.get(&name).map(Vec::as_slice) {
        Some(&[i]) => Some(i),
        _ => None,
    };
    for j in (0..nd.len()).filter(|&j| p.to_old[j].is_none()).collect::<Vec<_>>() {
        let Some(guarded) = nd[j].name.strip_prefix("_ZGV") else { continue };
        let variable = only(&is, format!("_Z{guarded}")).and_then(|v| p.to_old[v]);
        let old = variable.and_then(|v| only(&was, format!("_ZGV{}", od[v.old.index()].name.strip_prefix("_Z")?)));
        if let Some(i) = old.filter(|&i| p.to_new[i].is_none()) {
            p.pair(i, j, Why::Stem);
        }
    }
}
