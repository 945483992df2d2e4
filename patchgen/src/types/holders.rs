//! Where values of a type can live.

use super::shape::Shapes;
use crate::dwarf::die::is_aggregate;
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Reading};
use crate::image::ImageError;
use gimli::constants as dw;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap};

/// A variable or parameter of one of the types that were asked for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Holder {
    /// The type that it holds, as asked for.
    pub ty: String,
    /// Name of the variable with its scopes; for stack variables, of the function.
    pub name: String,
    pub unit: String,
}

/// What holds values of some types, sorted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Holders {
    /// Variables at fixed places (and thread-local ones) with such a value in them.
    pub globals: Vec<Holder>,
    /// Functions with such a value on their stack or as an argument.
    pub locals: Vec<Holder>,
    /// Variables, parameters and members that point to one: values on the heap, or anywhere.
    pub pointers: Vec<Holder>,
}

/// Finds what holds a value of the types in `names` (qualified, as [`super::LayoutChange::name`] has them).
pub fn holders(info: &DebugInfo<'_>, names: &BTreeSet<String>) -> Result<Holders, ImageError> {
    let of_unit = |unit: u32| -> Result<Holders, ImageError> {
        let table = info.read_table(unit).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
        Ok(Finder::new(View { info, unit, local: &table, reading: Reading::Full }, names).unit())
    };
    let found: Result<Vec<Holders>, ImageError> = (0..info.units.len() as u32).into_par_iter().map(of_unit).collect();
    let mut out = Holders::default();
    for h in found? {
        out.globals.extend(h.globals);
        out.locals.extend(h.locals);
        out.pointers.extend(h.pointers);
    }
    for list in [&mut out.globals, &mut out.locals, &mut out.pointers] {
        list.sort();
        list.dedup();
    }
    Ok(out)
}

/// Whether a type of the program is that of pointers to member functions, which hold places in vtables (Itanium C++ ABI, 2.3).
pub fn points_to_methods(info: &DebugInfo<'_>) -> Result<bool, ImageError> {
    let in_unit = |unit: u32| -> Result<bool, ImageError> {
        let table = info.read_table(unit).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
        let mut shapes = Shapes::new(View { info, unit, local: &table, reading: Reading::Full });
        let mut pointers = table.nodes.iter().filter(|n| n.tag == dw::DW_TAG_ptr_to_member_type);
        Ok(pointers.any(|n| shapes.bare(n.ty).is_none_or(|b| b.node().tag == dw::DW_TAG_subroutine_type)))
    };
    let found: Result<Vec<bool>, ImageError> = (0..info.units.len() as u32).into_par_iter().map(in_unit).collect();
    Ok(found?.contains(&true))
}

/// Finds what a type has in it, or leads to, of some named types.
pub(super) struct Finder<'a, 'i, 'n> {
    pub shapes: Shapes<'a, 'i>,
    pub names: &'n BTreeSet<String>,
    known: HashMap<DieRef, BTreeSet<String>>,
}

impl<'a, 'i, 'n> Finder<'a, 'i, 'n> {
    pub fn new(view: View<'a, 'i>, names: &'n BTreeSet<String>) -> Finder<'a, 'i, 'n> {
        Finder { shapes: Shapes::new(view), names, known: HashMap::new() }
    }

    fn unit(&mut self) -> Holders {
        let view = self.shapes.view;
        let unit_name = view.info.name_at(view.unit);
        let mut out = Holders::default();
        for node in &view.local.nodes {
            if !matches!(node.tag, dw::DW_TAG_variable | dw::DW_TAG_formal_parameter | dw::DW_TAG_member) {
                continue;
            }
            let at = DieRef { unit: view.unit, offset: node.offset };
            let ty = node.ty.or_else(|| view.declared(at).and_then(|(_, n)| n.ty));
            let Some((mut scope, in_function)) = view.scope(at) else { continue };
            let own = super::name::qualified(&view, at).unwrap_or_default();
            if node.tag != dw::DW_TAG_member {
                for held in self.by_value(ty, 0) {
                    if node.home.is_some() {
                        out.globals.push(Holder { ty: held, name: own.clone(), unit: unit_name.into() });
                    } else if in_function {
                        let function = std::mem::take(&mut scope).join("::");
                        out.locals.push(Holder { ty: held, name: function, unit: unit_name.into() });
                    }
                }
            }
            for held in self.pointed(ty) {
                out.pointers.push(Holder { ty: held, name: own.clone(), unit: unit_name.into() });
            }
        }
        out
    }

    /// Which of the names are in a value of type `ty`.
    pub fn by_value(&mut self, ty: Option<DieRef>, depth: u32) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        let Some(b) = self.shapes.bare(ty).filter(|_| depth < 64) else { return out };
        let node = b.node();
        if node.tag == dw::DW_TAG_array_type {
            return self.by_value(node.ty, depth + 1);
        }
        if !is_aggregate(node.tag) {
            return out;
        }
        let named = [Some(b.at), b.alias].into_iter().flatten();
        out.extend(
            named.filter_map(|at| super::name::qualified(&self.shapes.view, at)).filter(|n| self.names.contains(n)),
        );
        if let Some(known) = self.known.get(&b.at) {
            out.extend(known.iter().cloned());
            return out;
        }
        self.known.insert(b.at, BTreeSet::new());
        for f in self.shapes.fields(b.at, 0) {
            let inner = self.by_value(f.ty, depth + 1);
            out.extend(inner);
        }
        self.known.insert(b.at, out.clone());
        out
    }

    /// Which of the names a pointer of type `ty` (to any depth) leads to, or one in an array.
    pub fn pointed(&mut self, ty: Option<DieRef>) -> BTreeSet<String> {
        let (mut ty, mut pointer) = (ty, false);
        for _ in 0..16 {
            let Some(b) = self.shapes.bare(ty) else { break };
            match b.node().tag {
                dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                    pointer = true;
                    ty = b.node().ty;
                }
                dw::DW_TAG_array_type => ty = b.node().ty,
                _ => return if pointer { self.by_value(ty, 0) } else { BTreeSet::new() },
            }
        }
        BTreeSet::new()
    }
}
