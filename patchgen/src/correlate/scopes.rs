//! Variables that their names alone don't tell apart, by the scope that DWARF gives them (DWARF 5, 4.1): a static local that lost its
//! state would be a wrong patch.

use super::objects::numbered;
use super::units::{Units, part_variables};
use super::{Correlation, Pair, Side, Why};
use crate::addr::{DataId, SectionId, Svma};
use crate::dwarf::{DebugInfo, UnitId, Variable};
use crate::image::{Image, SectionKind};
use crate::lift::{Data, DataKind, Lifted};
use crate::types::VariablePart;
use std::collections::{BTreeMap, BTreeSet};

/// Unit, scopes, name and whether it is thread-local.
type Key<'a> = (&'a str, &'a [String], &'a str, bool);

/// One build: its code and data, its units and the variables that they have at fixed places.
#[derive(Clone, Copy, Debug)]
pub struct Scoped<'a, 'i> {
    pub image: &'a Image,
    pub lifted: &'a Lifted,
    pub info: &'a DebugInfo<'i>,
    pub variables: &'a [Variable],
    pub parts: &'a [VariablePart],
}

/// Addresses and units of the variables with each key, in the order of their declarations.
fn by_scope<'a, 'i: 'a>(side: Scoped<'a, 'i>) -> BTreeMap<Key<'a>, Vec<(Svma, UnitId)>> {
    let mut map: BTreeMap<Key<'a>, Vec<(u32, Svma, UnitId)>> = BTreeMap::new();
    for variable in side.variables.iter().filter(|v| !v.external) {
        let unit = side.info.unit_name(variable.unit);
        let key = (unit, variable.scope.as_slice(), variable.name.as_str(), variable.tls);
        map.entry(key).or_default().push((variable.order, variable.svma, variable.unit));
    }
    let ordered = map.into_iter().map(|(key, mut list)| {
        list.sort_unstable();
        list.dedup_by_key(|(_, at, _)| *at);
        (key, list.into_iter().map(|(_, at, unit)| (at, unit)).collect())
    });
    ordered.collect()
}

/// Thread-local variables of a build, by their offset in its block.
pub(super) type Threads = BTreeMap<Svma, DataId>;

fn threads(side: Scoped<'_, '_>) -> Threads {
    let Some((template, ..)) = side.image.tls else { return BTreeMap::new() };
    let data = side.lifted.data.iter().enumerate();
    let own = data.filter(|(_, d)| matches!(d.section, SectionKind::Tdata | SectionKind::Tbss));
    own.map(|(i, d)| (Svma(d.range.start.0 - template.start.0), DataId::from(i))).collect()
}

/// Objects of each build that a name doesn't tell apart.
#[derive(Debug, Default)]
pub struct Shared {
    /// Variables that share unit, scope and name with another: of several blocks, or lambdas, of one function.
    pub old: BTreeSet<DataId>,
    pub new: BTreeSet<DataId>,
    /// Parts of a variable that LLVM took apart and numbered: which member one is, its name doesn't say.
    pub old_parts: BTreeSet<DataId>,
    pub new_parts: BTreeSet<DataId>,
    /// Of which debug information says what they are: parts that are a member, paired with the same one of the other build or with none; and
    /// what another unit has a variable of the same name of.
    pub old_told: BTreeSet<DataId>,
    pub new_told: BTreeSet<DataId>,
}

impl Shared {
    /// Without debug information.
    #[must_use]
    pub fn unknown(old: Side<'_>, new: Side<'_>) -> Shared {
        let llvm = |image: &Image| {
            let comment = image.sections.iter().position(|s| s.name == ".comment");
            comment.is_some_and(|i| is_llvm(&String::from_utf8_lossy(image.section_bytes(SectionId::from(i)))))
        };
        let parts = |side: Side<'_>| parts(llvm(side.image), side.lifted, &BTreeSet::new());
        Shared { old_parts: parts(old), new_parts: parts(new), ..Shared::default() }
    }
}

fn is_llvm(producer: &str) -> bool {
    ["clang", "LLVM", "rustc"].iter().any(|word| producer.contains(word))
}

/// Numbered variables that no variable of the source is at.
fn parts(llvm: bool, lifted: &Lifted, known: &BTreeSet<DataId>) -> BTreeSet<DataId> {
    let writable = [SectionKind::Data, SectionKind::Bss, SectionKind::Tdata, SectionKind::Tbss];
    // The start-up files are GCC's in any case.
    let own = |d: &Data| d.unit.as_deref() != Some("crtstuff.c") && writable.contains(&d.section);
    let numbered = lifted.data.iter().enumerate().filter(|(_, d)| own(d) && numbered(&d.name));
    let ids = numbered.map(|(i, _)| DataId::from(i));
    ids.filter(|id| llvm && !known.contains(id)).collect()
}

/// Objects of a build that share their key.
fn shared(
    lifted: &Lifted,
    vars: &BTreeMap<Key<'_>, Vec<(Svma, UnitId)>>,
    threads: &BTreeMap<Svma, DataId>,
) -> BTreeSet<DataId> {
    let several = vars.iter().filter(|(_, places)| places.len() > 1);
    several
        .flat_map(|(key, p)| p.iter().filter_map(|(at, _)| if key.3 { threads } else { &lifted.data_at }.get(at)))
        .copied()
        .collect()
}

/// [`Shared::old_parts`] of a build.
fn parts_of(side: Scoped<'_, '_>, threads: &BTreeMap<Svma, DataId>) -> BTreeSet<DataId> {
    let at = |v: &Variable| if v.tls { threads.get(&v.svma) } else { side.lifted.data_at.get(&v.svma) }.copied();
    let llvm = side.info.producers().keys().any(|producer| is_llvm(producer));
    parts(llvm, side.lifted, &side.variables.iter().filter_map(at).collect())
}

/// Pairs data where both builds have exactly one variable of that unit, scope and name. Gives those that aren't the only ones.
pub fn pair_by_scope(
    pairs: &mut Correlation,
    old: Scoped<'_, '_>,
    new: Scoped<'_, '_>,
    units: &Units<'_, '_>,
) -> Shared {
    let (old_vars, new_vars) = rayon::join(|| by_scope(old), || by_scope(new));
    let (old_threads, new_threads) = (threads(old), threads(new));
    let (old_scoped, new_scoped) = (old, new);
    let (old, new) = (old.lifted, new.lifted);
    let gone = part_variables(pairs, (old_scoped, &old_threads), (new_scoped, &new_threads), units);
    let told = Told::of(old_scoped, new_scoped);
    told.pair(pairs);
    let shared = Shared {
        old: shared(old, &old_vars, &old_threads),
        new: shared(new, &new_vars, &new_threads),
        old_parts: &parts_of(old_scoped, &old_threads) - &told.old,
        new_parts: &parts_of(new_scoped, &new_threads) - &told.new,
        old_told: &told.old | &gone.0,
        new_told: &told.new | &gone.1,
    };
    for (key, places) in &new_vars {
        let (Some(&[(from, unit)]), &[(to, in_unit)]) = (old_vars.get(key).map(Vec::as_slice), places.as_slice())
        else {
            continue;
        };
        if units.differ(unit, in_unit) {
            continue;
        }
        let (was, is) = if key.3 { (&old_threads, &new_threads) } else { (&old.data_at, &new.data_at) };
        let ids: Option<(DataId, DataId)> = was.get(&from).copied().zip(is.get(&to).copied());
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
    shared
}

/// A variable with its type and layout, and a place in it: offset and size in bytes.
type PartKey = ((u64, u64, u64), u64, u64);

/// Objects that are a part of a variable, as DWARF has it, by its size.
fn by_place(side: Scoped<'_, '_>) -> BTreeMap<PartKey, Vec<DataId>> {
    let mut out: BTreeMap<PartKey, Vec<DataId>> = BTreeMap::new();
    for part in side.parts {
        let Some(&id) = side.lifted.data_at.get(&part.svma) else { continue };
        if side.lifted.data[id.index()].range.size() == part.size {
            let all = out.entry((part.of, part.offset, part.size)).or_default();
            if !all.contains(&id) {
                all.push(id);
            }
        }
    }
    out
}

/// Parts of variables that both builds have in parts, of which DWARF says which member they are.
#[derive(Default)]
struct Told {
    old: BTreeSet<DataId>,
    new: BTreeSet<DataId>,
    same: Vec<(DataId, DataId)>,
}

impl Told {
    fn of(old: Scoped<'_, '_>, new: Scoped<'_, '_>) -> Told {
        let (was, is) = (by_place(old), by_place(new));
        let mut out = Told::default();
        for (key, ids) in &was {
            match (ids.as_slice(), is.get(key).map(Vec::as_slice)) {
                (&[from], Some(&[to])) => {
                    out.old.insert(from);
                    out.new.insert(to);
                    out.same.push((from, to));
                }
                (&[from], None) if is_lacking(new.parts, key) => drop(out.old.insert(from)),
                _ => {}
            }
        }
        let alone =
            is.iter().filter(|(key, ids)| ids.len() == 1 && !was.contains_key(key) && is_lacking(old.parts, key));
        out.new.extend(alone.flat_map(|(_, ids)| ids));
        out
    }

    /// Pairs the parts that are the same, and nothing else with any of them.
    fn pair(&self, pairs: &mut Correlation) {
        for id in &self.old {
            if let Some(wrong) = pairs.data_to_new[id.index()].take() {
                pairs.data_to_old[wrong.new.index()] = None;
            }
        }
        for id in &self.new {
            if let Some(wrong) = pairs.data_to_old[id.index()].take() {
                pairs.data_to_new[wrong.old.index()] = None;
            }
        }
        for &(old, new) in &self.same {
            let pair = Pair { old, new, why: Why::Scope };
            pairs.data_to_new[old.index()] = Some(pair);
            pairs.data_to_old[new.index()] = Some(pair);
        }
    }
}

/// Whether a build has the variable in parts, and none where that one is: it had no use for that member. A part that overlaps holds its value.
fn is_lacking(parts: &[VariablePart], &(of, offset, size): &PartKey) -> bool {
    let mut parts = parts.iter().filter(|p| p.of == of).peekable();
    parts.peek().is_some()
        && parts.all(|p| p.offset.saturating_add(p.size) <= offset || offset.saturating_add(size) <= p.offset)
}

#[cfg(test)]
mod tests {
    use super::is_lacking;
    use crate::addr::Svma;
    use crate::types::VariablePart;

    #[test]
    fn a_part_that_overlaps_is_no_new_one() {
        let of = (1, 2, 3);
        let parts = [VariablePart { of, offset: 8, size: 8, svma: Svma(0x4000) }];
        assert!(is_lacking(&parts, &(of, 0, 8)) && is_lacking(&parts, &(of, 16, 4)));
        assert!(!is_lacking(&parts, &(of, 8, 4)) && !is_lacking(&parts, &(of, 4, 8)));
        // Another variable's, or one that isn't in parts at all.
        assert!(!is_lacking(&parts, &((9, 2, 3), 0, 8)));
    }
}
