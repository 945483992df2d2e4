//! Types that take another one's place behind a pointer, where both builds may have both: a function read one through it, and reads another one by
//! the same variable now. What the pointer was made of, an untyped one or one to a part of it, doesn't say which live instances it leads to.

use super::closures::{declaration, in_units, same};
use super::diff::layout_change;
use super::shape::{Bare, Shapes};
use super::{TypeDiff, name};
use crate::addr::Svma;
use crate::dwarf::die::{Home, is_aggregate};
use crate::dwarf::vars::{View, text};
use crate::dwarf::{DebugInfo, DieRef};
use gimli::constants as dw;
use std::collections::{BTreeMap, BTreeSet};

/// What the names of types have that compilers make or count.
const MADE: [char; 3] = ['<', '{', '#'];

/// By name of a variable of a function: the aggregate that it points to, and what that is called. None where there are several of the name.
type Pointers = BTreeMap<String, Option<(DieRef, String)>>;

impl TypeDiff {
    /// Adds those of these changed functions, by the entries of both versions.
    pub fn add_behind(&mut self, old: &DebugInfo<'_>, new: &DebugInfo<'_>, changed: &[(Svma, Svma)]) {
        in_units(old, new, changed, |x, y, (was, is)| {
            let (Some((a, function)), Some((b, _))) = (pointers(x, was), pointers(y, is)) else { return };
            for (variable, before) in a {
                let (Some((at, name)), Some(Some((other, now)))) = (before, b.get(&variable)) else { continue };
                if name == *now || same(x, at, y, *other) {
                    continue;
                }
                let unit = |view: &View<'_, '_>| view.info.name_at(view.unit).to_owned();
                let units = BTreeSet::from([unit(&x.view), unit(&y.view)]);
                let all = !units.contains("");
                let mut change = layout_change(x, at, y, *other, name, units.into_iter().collect(), all);
                if !change.same_storage {
                    change.detail = format!("`{variable}` of `{function}` led to one, and leads to `{now}` now");
                    self.layouts.push(change);
                }
            }
        });
        self.layouts.sort();
        self.layouts.dedup();
    }
}

/// Of the function that begins at `entry`: its parameters and variables, and its name.
fn pointers(shapes: &mut Shapes<'_, '_>, entry: Svma) -> Option<(Pointers, String)> {
    let View { unit, local, .. } = shapes.view;
    let begins = |home| matches!(home, Some(Home::At(at)) if at == entry);
    let mut functions = local.tagged(|tag| tag == dw::DW_TAG_subprogram);
    let (_, node) = functions.find(|(_, n)| n.code && begins(n.home))?;
    let here = DieRef { unit, offset: node.offset };
    let (_, declared) = shapes.view.declared(here)?;
    let name = text(declared.name.bytes());
    let mut out = Pointers::new();
    let origin = declaration(&shapes.view, here);
    let mut todo = BTreeSet::from([here, origin]);
    while let Some(at) = todo.pop_first() {
        let Some((table, index)) = shapes.view.get(at) else { continue };
        for child in table.children(index) {
            let node = table.node(child);
            let inner = DieRef { unit: at.unit, offset: node.offset };
            match node.tag {
                dw::DW_TAG_lexical_block => drop(todo.insert(inner)),
                // A copy says no more than what it is a copy of.
                dw::DW_TAG_formal_parameter | dw::DW_TAG_variable if node.origin.is_none() && !node.name.is_empty() => {
                    let to = pointee(shapes, node.ty);
                    let variable = text(node.name.bytes());
                    out.entry(variable).and_modify(|known| *known = None).or_insert(to);
                }
                _ => {}
            }
        }
    }
    Some((out, name))
}

/// The aggregate with a name that a pointer of this type leads to.
fn pointee(shapes: &mut Shapes<'_, '_>, ty: Option<DieRef>) -> Option<(DieRef, String)> {
    let pointer = shapes.bare(ty)?;
    let leads = matches!(
        pointer.node().tag,
        dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type
    );
    let Bare { at, table, index, .. } = shapes.bare(pointer.node().ty).filter(|_| leads)?;
    let node = table.node(index);
    let name = name::qualified(&shapes.view, at)?;
    (is_aggregate(node.tag) && !node.declaration && !name.contains(MADE)).then_some((at, name))
}
