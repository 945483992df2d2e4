//! Variables that their names alone don't tell apart, by the scope that DWARF gives them (DWARF 5, 4.1): a static local that lost its
//! state would be a wrong patch.

use super::{Correlation, Pair, Why};
use crate::addr::{DataId, Svma};
use crate::dwarf::{DebugInfo, Variable};
use crate::image::{Image, SectionKind};
use crate::lift::{DataKind, Lifted};
use std::collections::BTreeMap;

/// Unit, scopes, name and whether it is thread-local.
type Key<'a> = (&'a str, &'a [String], &'a str, bool);

/// One build: its code and data, its units and the variables that they have at fixed places.
#[derive(Clone, Copy, Debug)]
pub struct Scoped<'a, 'i> {
    pub image: &'a Image,
    pub lifted: &'a Lifted,
    pub info: &'a DebugInfo<'i>,
    pub variables: &'a [Variable],
}

/// Addresses of the variables with each key, in the order of their declarations.
fn by_scope<'a, 'i: 'a>(side: Scoped<'a, 'i>) -> BTreeMap<Key<'a>, Vec<Svma>> {
    let mut map: BTreeMap<Key<'a>, Vec<(u32, Svma)>> = BTreeMap::new();
    for variable in side.variables.iter().filter(|v| !v.external) {
        let unit = side.info.unit_name(variable.unit);
        let key = (unit, variable.scope.as_slice(), variable.name.as_str(), variable.tls);
        map.entry(key).or_default().push((variable.order, variable.svma));
    }
    let ordered = map.into_iter().map(|(key, mut list)| {
        list.sort_unstable();
        list.dedup_by_key(|(_, at)| *at);
        (key, list.into_iter().map(|(_, at)| at).collect())
    });
    ordered.collect()
}

/// Thread-local variables by their offset in the block.
fn threads(side: Scoped<'_, '_>) -> BTreeMap<Svma, DataId> {
    let Some((template, ..)) = side.image.tls else { return BTreeMap::new() };
    let data = side.lifted.data.iter().enumerate();
    let own = data.filter(|(_, d)| matches!(d.section, SectionKind::Tdata | SectionKind::Tbss));
    own.map(|(i, d)| (Svma(d.range.start.0 - template.start.0), DataId::from(i))).collect()
}

/// Pairs data where both builds have exactly one variable of that unit, scope and name.
pub fn pair_by_scope(pairs: &mut Correlation, old: Scoped<'_, '_>, new: Scoped<'_, '_>) {
    let (old_vars, new_vars) = rayon::join(|| by_scope(old), || by_scope(new));
    let (old_threads, new_threads) = (threads(old), threads(new));
    let (old, new) = (old.lifted, new.lifted);
    for (key, places) in &new_vars {
        let (Some([from]), [to]) = (old_vars.get(key).map(Vec::as_slice), places.as_slice()) else { continue };
        let (was, is) = if key.3 { (&old_threads, &new_threads) } else { (&old.data_at, &new.data_at) };
        let ids: Option<(DataId, DataId)> = was.get(from).copied().zip(is.get(to).copied());
        let Some((from, to)) = ids else { continue };
        let literal = |lifted: &Lifted, id: DataId| lifted.data[id.index()].kind != DataKind::Named;
        if pairs.data_to_new[from.index()].is_some_and(|p| p.new == to) || literal(old, from) || literal(new, to) {
            continue;
        }
        // Names and numbers of a compiler say less than the scope: what was paired by them gives way.
        if let Some(wrong) = pairs.data_to_new[from.index()] {
            pairs.data_to_old[wrong.new.index()] = None;
        }
        if let Some(wrong) = pairs.data_to_old[to.index()] {
            pairs.data_to_new[wrong.old.index()] = None;
        }
        let pair = Pair { old: from, new: to, why: Why::Scope };
        pairs.data_to_new[from.index()] = Some(pair);
        pairs.data_to_old[to.index()] = Some(pair);
    }
}
