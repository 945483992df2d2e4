//! Types without names that functions are about: closures, mostly. Nothing pairs them by what they are called; the functions that are their
//! members, take one or are generic over one say which is which, where these are paired.
//!
//! An object that was made before the patch is called through a function of the old build. If that is a pair with one that changed, what it
//! caught is read in the new way.

use super::diff::{layout_change, with_unit};
use super::shape::{Bare, Shapes};
use super::{LayoutChange, TypeDiff, name, storage};
use crate::addr::Svma;
use crate::dwarf::die::{Home, NONE, is_aggregate};
use crate::dwarf::vars::{View, text};
use crate::dwarf::{DebugInfo, DieRef, Spare};
use gimli::constants as dw;
use std::collections::{BTreeMap, BTreeSet};

/// Pointers, templates in templates and scopes that are followed; more is damage.
const DEPTH: u32 = 24;

/// Where a function has them from (a parameter of its template, an argument, a scope), and which it is.
type Slots = BTreeMap<String, DieRef>;

impl TypeDiff {
    /// Adds the closures that are another thing in these changed functions, by the entries of both versions.
    pub fn add_closures(&mut self, old: &DebugInfo<'_>, new: &DebugInfo<'_>, changed: &[(Svma, Svma)]) {
        in_units(old, new, changed, |x, y, pair| self.add_of(x, y, pair));
        self.layouts.sort();
        self.layouts.dedup();
    }

    fn add_of(&mut self, x: &mut Shapes<'_, '_>, y: &mut Shapes<'_, '_>, (was, is): (Svma, Svma)) {
        let (a, b) = (slots(x, was), slots(y, is));
        let met: Vec<(DieRef, DieRef)> = a.iter().filter_map(|(from, at)| Some((*at, *b.get(from)?))).collect();
        // What is called otherwise may be any of these.
        let lone = |a: &Slots, b: &Slots| -> Vec<DieRef> {
            a.iter().filter(|(from, _)| !b.contains_key(*from)).map(|(_, at)| *at).collect()
        };
        let (gone, come) = (lone(&a, &b), lone(&b, &a));
        let rest = gone.iter().flat_map(|&at| come.iter().map(move |&other| (at, other)));
        for (at, other) in met.into_iter().chain(rest) {
            if same(x, at, y, other) {
                continue;
            }
            let Some(change) = described(x, at, y, other) else { continue };
            self.about.entry(change.name.clone()).or_default().insert(was);
            if !self.layouts.iter().any(|l| l.name == change.name && l.detail == change.detail) {
                self.layouts.push(change);
            }
        }
    }
}

/// Shows each of these functions, by their entries, with the units that they are in.
pub(super) fn in_units(
    old: &DebugInfo<'_>,
    new: &DebugInfo<'_>,
    changed: &[(Svma, Svma)],
    mut show: impl FnMut(&mut Shapes<'_, '_>, &mut Shapes<'_, '_>, (Svma, Svma)),
) {
    let mut by_units: BTreeMap<(u32, u32), Vec<(Svma, Svma)>> = BTreeMap::new();
    for &(a, b) in changed {
        if let (Some(x), Some(y)) = (old.unit_at(a), new.unit_at(b)) {
            by_units.entry((x.0, y.0)).or_default().push((a, b));
        }
    }
    let (spare_old, spare_new) = (Spare::default(), Spare::default());
    for ((a, b), pairs) in by_units {
        with_unit(old, a, &spare_old, |x| {
            with_unit(new, b, &spare_new, |y| {
                let (mut x, mut y) = (Shapes::new(x), Shapes::new(y));
                pairs.iter().for_each(|&pair| show(&mut x, &mut y, pair));
            });
        });
    }
}

/// Whether two aggregates are of one form and hold the same.
pub(super) fn same(x: &mut Shapes<'_, '_>, at: DieRef, y: &mut Shapes<'_, '_>, other: DieRef) -> bool {
    let form = |shapes: &Shapes<'_, '_>, at| {
        let (table, index) = shapes.view.get(at)?;
        let node = table.node(index);
        Some((node.tag, node.size(), table.rare(node).alignment))
    };
    form(x, at) == form(y, other) && (x.layout(at, 0) == y.layout(other, 0) || storage::same(x, at, y, other))
}

fn described(x: &mut Shapes<'_, '_>, at: DieRef, y: &mut Shapes<'_, '_>, other: DieRef) -> Option<LayoutChange> {
    let name = name::qualified(&y.view, other).or_else(|| name::nameless(&y.view, other))?;
    let unit = |view: &View<'_, '_>, at: DieRef| view.info.name_at(at.unit).to_owned();
    let units = BTreeSet::from([unit(&x.view, at), unit(&y.view, other)]);
    let all = is_local(&x.view, at) && is_local(&y.view, other) && !units.contains("");
    Some(layout_change(x, at, y, other, name, units.into_iter().collect(), all))
}

/// Inside of a function that no other unit has.
fn is_local(view: &View<'_, '_>, at: DieRef) -> bool {
    let mut outermost = None;
    for_scopes(view, at, |at| {
        outermost = view.node(at).filter(|n| n.tag == dw::DW_TAG_subprogram).and(view.declared(at)).or(outermost);
    });
    outermost.is_some_and(|(_, function)| !function.external)
}

/// What is around an entry, from the inside out.
fn for_scopes(view: &View<'_, '_>, at: DieRef, mut f: impl FnMut(DieRef)) {
    let mut at = at;
    for _ in 0..DEPTH {
        let Some((table, index)) = view.get(at) else { return };
        let parent = table.node(index).parent;
        if parent == NONE {
            return;
        }
        at = declaration(view, DieRef { unit: at.unit, offset: table.node(parent).offset });
        f(at);
    }
}

/// The entry that a copy of it, or its definition, was declared by.
pub(super) fn declaration(view: &View<'_, '_>, at: DieRef) -> DieRef {
    let mut at = at;
    for _ in 0..8 {
        match view.node(at).and_then(|n| n.origin) {
            Some(origin) if view.node(origin).is_some() => at = origin,
            _ => break,
        }
    }
    at
}

/// Of the function that begins at `entry`.
fn slots(shapes: &mut Shapes<'_, '_>, entry: Svma) -> Slots {
    let View { unit, local, .. } = shapes.view;
    let begins = |home| matches!(home, Some(Home::At(at)) if at == entry);
    let mut functions = local.tagged(|tag| tag == dw::DW_TAG_subprogram);
    let Some((_, node)) = functions.find(|(_, n)| n.code && begins(n.home)) else { return Slots::new() };
    let view = shapes.view;
    let at = declaration(&view, DieRef { unit, offset: node.offset });
    let mut out = Slots::new();
    of_entry(shapes, at, "", 0, &mut out);
    let mut around = Vec::new();
    for_scopes(&view, at, |at| around.push(at));
    let mut from = String::new();
    for scope in around {
        let Some(node) = view.node(scope) else { break };
        if is_aggregate(node.tag) {
            from.push('^');
            of_type(shapes, Some(scope), &from, 0, &mut out);
        } else if node.tag == dw::DW_TAG_subprogram {
            from.push('^');
            of_entry(shapes, scope, &from, 0, &mut out);
        }
    }
    out
}

/// Of the arguments of a template, or a function's.
fn of_entry(shapes: &mut Shapes<'_, '_>, at: DieRef, from: &str, depth: u32, out: &mut Slots) {
    let Some((table, index)) = shapes.view.get(at).filter(|_| depth < DEPTH) else { return };
    let (mut arguments, mut parameters) = (0, 0);
    for child in table.children(index) {
        let node = table.node(child);
        let here = DieRef { unit: at.unit, offset: node.offset };
        match node.tag {
            dw::DW_TAG_template_type_parameter => {
                of_type(shapes, node.ty, &format!("{from}<{arguments}"), depth + 1, out);
                arguments += 1;
            }
            dw::DW_TAG_GNU_template_parameter_pack => {
                of_entry(shapes, here, &format!("{from}<{arguments}"), depth + 1, out);
                arguments += 1;
            }
            dw::DW_TAG_formal_parameter => {
                of_type(shapes, node.ty, &format!("{from}({parameters}"), depth + 1, out);
                parameters += 1;
            }
            _ => {}
        }
    }
}

/// Of a type: itself, where it has no name or a closure's, else what it is generic over.
fn of_type(shapes: &mut Shapes<'_, '_>, ty: Option<DieRef>, from: &str, depth: u32, out: &mut Slots) {
    let Some(Bare { at, table, index, alias }) = shapes.bare(ty).filter(|_| depth < DEPTH) else { return };
    let node = table.node(index);
    match node.tag {
        dw::DW_TAG_pointer_type
        | dw::DW_TAG_reference_type
        | dw::DW_TAG_rvalue_reference_type
        | dw::DW_TAG_array_type => of_type(shapes, node.ty, from, depth + 1, out),
        tag if is_aggregate(tag) => {
            let rust = node.name.bytes().starts_with(b"{") && text(node.name.bytes()).contains("_env#");
            let nameless = shapes.view.declared(at).is_none() && alias.is_none();
            if (nameless || rust) && !node.declaration {
                out.insert(from.to_owned(), at);
            } else {
                of_entry(shapes, at, from, depth + 1, out);
            }
        }
        _ => {}
    }
}
