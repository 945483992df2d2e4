//! Units of the source, by their whole paths: what has one name in two units is two things.

use super::scopes::Threads;
use super::{Correlation, Scoped, Side, Why, objects};
use crate::addr::{DataId, FuncId, Svma};
use crate::dwarf::{DebugInfo, UnitId, Variable};
use crate::image::Binding;
use crate::lift::Function;
use crate::rust_names::is_rust;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Paths of the units of both builds, by the names of their files.
#[derive(Debug)]
pub struct Units<'a, 'i> {
    old: (&'a DebugInfo<'i>, HashMap<String, BTreeSet<PathBuf>>),
    new: (&'a DebugInfo<'i>, HashMap<String, BTreeSet<PathBuf>>),
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// How many of the last parts of two paths are the same: builds in other directories have other ones in front.
fn common(a: &Path, b: &Path) -> usize {
    a.components().rev().zip(b.components().rev()).take_while(|(x, y)| x == y).count()
}

fn paths(info: &DebugInfo<'_>) -> HashMap<String, BTreeSet<PathBuf>> {
    // Link-time optimisation gives many units one name.
    let mut out: HashMap<String, BTreeSet<PathBuf>> = HashMap::new();
    for path in info.unit_ids().map(|id| info.unit_path(id)) {
        out.entry(file_name(&path)).or_default().insert(path);
    }
    out
}

impl<'a, 'i> Units<'a, 'i> {
    #[must_use]
    pub fn of(old: &'a DebugInfo<'i>, new: &'a DebugInfo<'i>) -> Units<'a, 'i> {
        Units { old: (old, paths(old)), new: (new, paths(new)) }
    }

    /// Whether a unit of the old build is another one than that of the new build, as both builds have another that is nearer to one of them.
    pub fn differ(&self, old: UnitId, new: UnitId) -> bool {
        let (from, to) = (self.old.0.unit_path(old), self.new.0.unit_path(new));
        if from == to {
            return false;
        }
        let alike = common(&from, &to);
        let nearer = |path: &Path, among: &HashMap<String, BTreeSet<PathBuf>>| {
            among.get(&file_name(path)).is_some_and(|list| list.iter().any(|other| common(path, other) > alike))
        };
        nearer(&from, &self.new.1) || nearer(&to, &self.old.1)
    }

    /// Whether code at two places is of units that differ.
    fn apart(&self, old: Svma, new: Svma) -> bool {
        self.old.0.unit_at(old).zip(self.new.0.unit_at(new)).is_some_and(|(old, new)| self.differ(old, new))
    }
}

/// Whether a pair of functions that no other unit knows of is of two units.
#[must_use]
pub fn in_others(old: Side<'_>, new: Side<'_>, units: Option<&Units<'_, '_>>, (a, b): (FuncId, FuncId)) -> bool {
    let (f, g) = (&old.lifted.functions[a.index()], &new.lifted.functions[b.index()]);
    let local = |side: Side<'_>, f: &Function| f.names.iter().all(|&n| side.image.symbol(n).binding == Binding::Local);
    // rustc spreads what it compiles over units as it likes.
    if !local(old, f) || !local(new, g) || is_rust(&f.name) {
        return false;
    }
    // Link-time optimisation makes units up.
    let said = |f: &'_ Function| f.unit.clone().filter(|u| !u.is_empty() && !u.ends_with(".o") && !u.starts_with('<'));
    said(f).zip(said(g)).is_some_and(|(x, y)| x != y)
        || units.is_some_and(|units| units.apart(f.parts[0].start, g.parts[0].start))
}

/// Takes apart pairs of variables that are of two units, where no function says that the one is the other. Gives what was paired.
pub(super) fn part_variables(
    pairs: &mut Correlation,
    (old, old_threads): (Scoped<'_, '_>, &Threads),
    (new, new_threads): (Scoped<'_, '_>, &Threads),
    units: &Units<'_, '_>,
) -> (BTreeSet<DataId>, BTreeSet<DataId>) {
    let unit_of = |side: Scoped<'_, '_>, threads: &Threads| -> BTreeMap<DataId, UnitId> {
        let own = side.variables.iter().filter(|v| !v.external && !is_rust(&v.name));
        let at = |v: &Variable| if v.tls { threads.get(&v.svma) } else { side.lifted.data_at.get(&v.svma) }.copied();
        own.filter_map(|v| Some((at(v)?, v.unit))).collect()
    };
    let (was, is) = (unit_of(old, old_threads), unit_of(new, new_threads));
    let named = pairs.data_to_new.iter().flatten().filter(|p| p.why == Why::LocalName);
    let known = named.filter_map(|p| Some((p.old, p.new, *was.get(&p.old)?, *is.get(&p.new)?)));
    let doubted: Vec<(DataId, DataId)> =
        known.filter(|&(.., from, to)| units.differ(from, to)).map(|(a, b, ..)| (a, b)).collect();
    if doubted.is_empty() {
        return Default::default();
    }
    let (before, after) =
        (Side { image: old.image, lifted: old.lifted }, Side { image: new.image, lifted: new.lifted });
    // A function that may be of the other unit itself is no witness.
    let of_one = |f: &usize| {
        pairs.func_to_new[*f]
            .map(|p| p.new)
            .filter(|&new| !in_others(before, after, Some(units), (FuncId::from(*f), new)))
    };
    let (users, new_users) = (objects::users(before), objects::users(after));
    let mut gone = (BTreeSet::new(), BTreeSet::new());
    for (a, b) in doubted {
        let user = |f: &usize| of_one(f).is_some_and(|new| new_users[b.index()].contains(&new.index()));
        if !users[a.index()].iter().any(user) {
            pairs.data_to_new[a.index()] = None;
            pairs.data_to_old[b.index()] = None;
            gone.0.insert(a);
            gone.1.insert(b);
        }
    }
    gone
}
