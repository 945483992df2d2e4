//! Which of several variables of one name is which, by the code that uses them: where it is the same otherwise, the same places mean the same
//! variable.

use super::code::{Body, masked_equal, paired, reference, same_branch};
use super::same::{Same, block_size, variables};
use super::stamps::Stamps;
use crate::addr::{DataId, FuncId, SymbolId};
use crate::correlate::{Correlation, Doubtful, Side};
use crate::lift::{CodeRef, Insn, Slot, Target};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One build's candidates.
struct Candidates<'a> {
    families: &'a HashMap<DataId, u32>,
    threads: HashMap<SymbolId, DataId>,
    side: Side<'a>,
}

impl Candidates<'_> {
    /// The candidate that a target denotes, with its family and the place in it.
    fn named(&self, target: &Target) -> Option<(DataId, u32, i64)> {
        let in_block = |symbol: &Option<SymbolId>, offset: i64| {
            let symbol = (*symbol)?;
            let at = i64::try_from(self.side.image.symbol(symbol).svma.0).ok()?;
            Some((*self.threads.get(&symbol)?, offset.wrapping_sub(at)))
        };
        let (data, offset) = match target {
            Target::Data { data, offset } => (*data, *offset),
            Target::Slot(Slot::Address(inner)) => return self.named(inner),
            Target::Tls { symbol, offset, from_block: true } => in_block(symbol, *offset)?,
            Target::Tls { symbol, offset, .. } => in_block(symbol, offset + block_size(self.side))?,
            Target::Slot(Slot::TpOff(of) | Slot::TlsGd(of) | Slot::TlsDesc(of)) => in_block(&of.symbol, of.offset)?,
            _ => return None,
        };
        self.families.get(&data).map(|family| (data, *family, offset))
    }

    /// Functions that name candidates, with the families of these.
    fn users(&self) -> BTreeMap<usize, BTreeSet<u32>> {
        let families = |refs: &[CodeRef]| -> BTreeSet<u32> {
            refs.iter().filter_map(|r| self.named(&r.target)).map(|(_, family, _)| family).collect()
        };
        let functions = self.side.lifted.functions.iter().enumerate().map(|(i, f)| (i, families(&f.refs)));
        functions.filter(|(_, families)| !families.is_empty()).collect()
    }
}

/// Two candidates in the same place, and whether nothing else can be meant there.
type Met = (DataId, DataId, bool);

/// What a pair of equal instructions leads to; None where they differ.
fn step(
    same: &Same<'_>,
    (old, new): (&Candidates<'_>, &Candidates<'_>),
    (a, b): (&Body<'_>, &Body<'_>),
    (x, y): (&Insn, &Insn),
) -> Option<Vec<Met>> {
    if x.part != y.part {
        return None;
    }
    match (x.local(), y.local()) {
        (Some(_), Some(_)) => return same_branch(a, b, x, y).then(Vec::new),
        (None, None) => {}
        _ => return None,
    }
    let (p, q) = (a.bytes(x), b.bytes(y));
    let (r, s) = (|| paired(a.refs(x), b.refs(y)), || paired(b.refs(y), a.refs(x)));
    if r().count() != s().count() || !masked_equal(p, q, r(), s()) {
        return None;
    }
    let mut met = Vec::new();
    for (r, s) in r().zip(s()) {
        match (old.named(&r.target), new.named(&s.target)) {
            (Some((d, family, at)), Some((e, other, there))) => {
                if (family, at, r.access) != (other, there, s.access) {
                    return None;
                }
                let plain = |r: &CodeRef| r.certain && r.alternatives.is_empty();
                met.push((d, e, plain(r) && plain(s)));
            }
            (None, None) if reference(same, a, b, (p, r), (q, s)).is_none() => {}
            _ => return None,
        }
    }
    Some(met)
}

/// The candidates that two versions of a function have in the same places: all, where nothing else differs; else those between the entry
/// and the first difference, or between the last one and the end, as far as all is the same from the call before to the call behind. Gives also
/// whether nothing else differs.
fn compared(
    same: &Same<'_>,
    both: (&Candidates<'_>, &Candidates<'_>),
    old: FuncId,
    new: FuncId,
) -> (bool, Vec<(DataId, DataId)>) {
    let a = Body::new(&same.old.lifted.functions[old.index()], same.old);
    let b = Body::new(&same.new.lifted.functions[new.index()], same.new);
    let xs: Vec<&Insn> = a.f.insns.iter().filter(|i| !i.is_nop()).collect();
    let ys: Vec<&Insn> = b.f.insns.iter().filter(|i| !i.is_nop()).collect();
    let pairs = xs.iter().zip(&ys);
    let front: Vec<Vec<Met>> = pairs.map_while(|(x, y)| step(same, both, (&a, &b), (x, y))).collect();
    if front.len() == xs.len() && xs.len() == ys.len() && a.f.tables.len() == b.f.tables.len() {
        return (true, front.into_iter().flatten().map(|(d, e, _)| (d, e)).collect());
    }
    let pairs = xs.iter().rev().zip(ys.iter().rev());
    let back: Vec<Vec<Met>> = pairs.map_while(|(x, y)| step(same, both, (&a, &b), (x, y))).collect();
    let calls = |x: &Insn| x.is_call() || a.refs(x).iter().any(|r| r.branch);
    let last = xs.iter().take(front.len()).rposition(|x| calls(x)).map_or(0, |n| n + 1);
    let first = xs.iter().rev().take(back.len()).rposition(|x| calls(x)).map_or(0, |n| n + 1);
    let met = front.into_iter().take(last).chain(back.into_iter().take(first)).flatten();
    (false, met.filter(|(.., plain)| *plain).map(|(d, e, _)| (d, e)).collect())
}

/// Pairs of candidates that every use which says something agrees on.
#[must_use]
pub fn witnesses(
    old: Side<'_>,
    new: Side<'_>,
    pairs: &Correlation,
    stamps: &Stamps,
    doubtful: &Doubtful,
) -> Vec<(DataId, DataId)> {
    if doubtful.old.is_empty() {
        return Vec::new();
    }
    let same = Same::new(old, new, pairs, stamps);
    let was = Candidates { families: &doubtful.old, threads: variables(old), side: old };
    let is = Candidates { families: &doubtful.new, threads: variables(new), side: new };
    let (users, new_users) = (was.users(), is.users());
    let both: Vec<(FuncId, FuncId)> = users
        .keys()
        .filter_map(|&f| pairs.func_to_new[f])
        .filter(|p| p.why.is_sure() && new_users.contains_key(&p.new.index()))
        .map(|p| (p.old, p.new))
        .collect();
    let met: Vec<(bool, Vec<(DataId, DataId)>)> =
        both.par_iter().map(|&(f, g)| compared(&same, (&was, &is), f, g)).collect();
    // Parts of a variable are what they are taken for only where no code that uses one changed: whoever does may use another part now.
    let whole = |side: fn(&(FuncId, FuncId)) -> FuncId| -> BTreeSet<usize> {
        both.iter().zip(&met).filter(|(_, (whole, _))| *whole).map(|(pair, _)| side(pair).index()).collect()
    };
    let (old_whole, new_whole) = (whole(|p| p.0), whole(|p| p.1));
    let changed = |users: &BTreeMap<usize, BTreeSet<u32>>, whole: &BTreeSet<usize>| -> BTreeSet<u32> {
        users.iter().filter(|(f, _)| !whole.contains(f)).flat_map(|(_, families)| families).copied().collect()
    };
    let open = &(&changed(&users, &old_whole) | &changed(&new_users, &new_whole)) & &doubtful.parts;
    let (mut there, mut back): (BTreeMap<DataId, BTreeSet<DataId>>, BTreeMap<DataId, BTreeSet<DataId>>) =
        Default::default();
    for &(d, e) in met.iter().flat_map(|(_, met)| met).filter(|(d, _)| !open.contains(&doubtful.old[d])) {
        there.entry(d).or_default().insert(e);
        back.entry(e).or_default().insert(d);
    }
    let only = there.iter().filter_map(|(d, list)| if list.len() == 1 { Some((*d, *list.first()?)) } else { None });
    only.filter(|(_, e)| back[e].len() == 1).collect()
}
