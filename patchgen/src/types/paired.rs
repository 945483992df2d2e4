//! Variables that are called otherwise in the new build, or are in another scope: paired by the code that uses them, so that the declarations of one
//! name don't show that the type changed.

use super::diff::{type_of, variable, with_unit};
use super::kept::variable_at;
use super::shape::Shapes;
use super::{Survey, TypeDiff};
use crate::addr::Svma;
use crate::dwarf::{DebugInfo, Spare, Variable};
use std::collections::{BTreeMap, BTreeSet, HashMap};

impl TypeDiff {
    /// Adds those of these pairs of addresses whose types differ.
    pub fn add_renamed_variables(
        &mut self,
        (old, was): (&DebugInfo<'_>, &Survey),
        (new, is): (&DebugInfo<'_>, &Survey),
        pairs: impl Iterator<Item = (Svma, Svma)>,
    ) {
        let (before, after) = (by_address(was), by_address(is));
        let mut by_units: BTreeMap<(u32, u32), Vec<(Svma, Svma)>> = BTreeMap::new();
        for (a, b) in pairs {
            let (Some(x), Some(y)) = (before.get(&a), after.get(&b)) else { continue };
            let same = |v: &Variable, w: &Variable| (&v.scope, &v.name) == (&w.scope, &w.name);
            if !x.iter().any(|v| y.iter().any(|w| same(v, w))) {
                by_units.entry((x[0].unit.0, y[0].unit.0)).or_default().push((a, b));
            }
        }
        let (spare_old, spare_new) = (Spare::default(), Spare::default());
        for ((unit, other), pairs) in by_units {
            with_unit(old, unit, &spare_old, |x| {
                with_unit(new, other, &spare_new, |y| {
                    let (mut x, mut y) = (Shapes::new(x), Shapes::new(y));
                    for (a, b) in pairs {
                        let (Some(a), Some(b)) = (variable_at(&x.view, a), variable_at(&y.view, b)) else { continue };
                        if x.value(type_of(&x.view, a), 0) != y.value(type_of(&y.view, b), 0) {
                            let units = BTreeSet::from([y.view.info.name_at(other).to_owned()]);
                            self.variables.push(variable(&mut x, &mut y, (a, b), units, false));
                        }
                    }
                });
            });
        }
        self.variables.sort();
    }
}

/// Of variables that aren't thread-local.
fn by_address(survey: &Survey) -> HashMap<Svma, Vec<&Variable>> {
    let mut out: HashMap<Svma, Vec<&Variable>> = HashMap::new();
    for v in survey.variables().iter().filter(|v| !v.tls) {
        out.entry(v.svma).or_default().push(v);
    }
    out
}
