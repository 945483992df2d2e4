//! Variables that their names alone don't tell apart, by the scope that DWARF gives them (DWARF 5, 4.1): a static local that lost its
//! state would be a wrong patch.

use super::{Correlation, Pair, Why};
use crate::addr::{DataId, Svma};
use crate::dwarf::{DebugInfo, Variable};
use crate::lift::{DataKind, Lifted};
use std::collections::BTreeMap;

/// Unit, scopes and name.
type Key<'a> = (&'a str, &'a [String], &'a str);

/// One build: its code and data, its units and the variables that they have at fixed places.
#[derive(Clone, Copy, Debug)]
pub struct Scoped<'a, 'i> {
    pub lifted: &'a Lifted,
    pub info: &'a DebugInfo<'i>,
    pub variables: &'a [Variable],
}

/// Addresses of the variables with each key, in the order of their declarations.
fn by_scope<'a, 'i: 'a>(side: Scoped<'a, 'i>) -> BTreeMap<Key<'a>, Vec<Svma>> {
    let mut map: BTreeMap<Key<'a>, Vec<(u32, Svma)>> = BTreeMap::new();
    for variable in side.variables.iter().filter(|v| !v.tls && !v.external) {
        let key = (side.info.unit_name(variable.unit), variable.scope.as_slice(), variable.name.as_str());
        map.entry(key).or_default().push((variable.order, variable.svma));
    }
    let ordered = map.into_iter().map(|(key, mut list)| {
        list.sort_unstable();
        list.dedup_by_key(|(_, at)| *at);
        (key, list.into_iter().map(|(_, at)| at).collect())
    });
    ordered.collect()
}

/// Pairs data where both builds have exactly one variable of that unit, scope and name.
pub fn pair_by_scope(pairs: &mut Correlation, old: Scoped<'_, '_>, new: Scoped<'_, '_>) {
    let (old_vars, new_vars) = rayon::join(|| by_scope(old), || by_scope(new));
    let (old, new) = (old.lifted, new.lifted);
    for (key, places) in &new_vars {
        let (Some([from]), [to]) = (old_vars.get(key).map(Vec::as_slice), places.as_slice()) else { continue };
        let ids: Option<(DataId, DataId)> = old.data_at.get(from).copied().zip(new.data_at.get(to).copied());
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
