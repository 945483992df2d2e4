//! Where values of a type can live.

use super::hash::Memo;
use super::shape::Shapes;
use crate::dwarf::die::is_aggregate;
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Reading};
use crate::image::ImageError;
use gimli::constants as dw;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashSet};

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
    let wanted = Wanted::new(names);
    let of_unit = |unit: u32| -> Result<Holders, ImageError> {
        let table = info.read_table(unit).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
        Ok(Finder::new(View { info, unit, local: &table, reading: Reading::Full }, &wanted).unit())
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

/// Qualified names of types that are looked for.
#[derive(Debug)]
pub(super) struct Wanted<'n> {
    pub names: &'n BTreeSet<String>,
    /// What an entry with one of these names can be called without its scopes. A template's arguments may have scopes too: more than
    /// one reading of a name is possible.
    last: HashSet<&'n [u8]>,
    /// Some have no name of their own.
    nameless: bool,
}

impl<'n> Wanted<'n> {
    pub fn new(names: &'n BTreeSet<String>) -> Wanted<'n> {
        let readings = |name: &'n String| {
            let inner = name.match_indices("::").map(|(at, mark)| &name[at + mark.len()..]);
            std::iter::once(name.as_str()).chain(inner).map(str::as_bytes)
        };
        let nameless = names.iter().any(|name| super::name::is_nameless(name));
        let none: &[u8] = b"";
        let last = names.iter().flat_map(readings).chain(nameless.then_some(none)).collect();
        Wanted { names, last, nameless }
    }

    /// Names of entries, one of which each entry that is looked for has.
    pub fn unqualified(&self) -> impl Iterator<Item = &'n [u8]> + '_ {
        self.last.iter().copied()
    }

    /// The name of the entry at `at`, where it is one of those.
    fn name(&self, view: &View<'_, '_>, at: DieRef) -> Option<&'n str> {
        let Some((_, node)) = view.declared(at) else {
            let name = self.nameless.then(|| super::name::nameless(view, at)).flatten()?;
            return self.names.get(&name).map(String::as_str);
        };
        // A name that isn't UTF-8 was made readable, and is only found in full.
        let last = node.name.bytes();
        if !self.last.contains(last) && std::str::from_utf8(last).is_ok() {
            return None;
        }
        self.names.get(&super::name::qualified(view, at)?).map(String::as_str)
    }
}

/// Some of the wanted names, ascending.
pub(super) type Found<'n> = Vec<&'n str>;

pub(super) fn merge<'n>(into: &mut Found<'n>, more: &[&'n str]) {
    if !more.is_empty() {
        into.extend(more);
        into.sort_unstable();
        into.dedup();
    }
}

/// Finds what a type has in it, or leads to, of some named types.
pub(super) struct Finder<'a, 'i, 'n> {
    pub shapes: Shapes<'a, 'i>,
    pub wanted: &'a Wanted<'n>,
    /// What is in an aggregate: an index in `sets`.
    known: Memo,
    /// What a type was found to hold, and to lead to: two such indexes, the second in the upper half.
    found: Memo,
    /// The first is empty and stands for "not known yet", the second for nothing.
    sets: Vec<Found<'n>>,
}

const NOTHING: u64 = 1;

impl<'a, 'i, 'n> Finder<'a, 'i, 'n> {
    pub fn new(view: View<'a, 'i>, wanted: &'a Wanted<'n>) -> Finder<'a, 'i, 'n> {
        Finder {
            shapes: Shapes::new(view),
            wanted,
            known: Memo::new(&view),
            found: Memo::new(&view),
            sets: vec![Found::new(), Found::new()],
        }
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
                for held in self.by_value(ty, 0).into_iter().map(str::to_owned) {
                    if node.home.is_some() {
                        out.globals.push(Holder { ty: held, name: own.clone(), unit: unit_name.into() });
                    } else if in_function {
                        let function = std::mem::take(&mut scope).join("::");
                        out.locals.push(Holder { ty: held, name: function, unit: unit_name.into() });
                    }
                }
            }
            for held in self.pointed(ty) {
                out.pointers.push(Holder { ty: held.to_owned(), name: own.clone(), unit: unit_name.into() });
            }
        }
        out
    }

    /// As [`Self::by_value`] and [`Self::pointed`], remembered.
    pub fn both(&mut self, ty: Option<DieRef>) -> (Found<'n>, Found<'n>) {
        let Some((at, (_, index))) = ty.and_then(|at| Some((at, self.shapes.view.get(at)?))) else {
            return (self.by_value(ty, 0), self.pointed(ty));
        };
        if let Some(ids) = self.found.get(at, index) {
            return (self.set(ids & u64::from(u32::MAX)), self.set(ids >> 32));
        }
        let (held, pointed) = (self.by_value(ty, 0), self.pointed(ty));
        let ids = [&held, &pointed].map(|set| self.keep(set));
        self.found.set(at, index, ids[0] | ids[1] << 32);
        (held, pointed)
    }

    fn set(&self, id: u64) -> Found<'n> {
        self.sets[id as usize].clone()
    }

    /// The id of a set.
    fn keep(&mut self, set: &Found<'n>) -> u64 {
        if set.is_empty() {
            return NOTHING;
        }
        self.sets.push(set.clone());
        self.sets.len() as u64 - 1
    }

    /// Which of the names are in a value of type `ty`.
    pub fn by_value(&mut self, ty: Option<DieRef>, depth: u32) -> Found<'n> {
        let mut out = Found::new();
        let Some(b) = self.shapes.bare(ty).filter(|_| depth < 64) else { return out };
        let node = b.node();
        if node.tag == dw::DW_TAG_array_type {
            return self.by_value(node.ty, depth + 1);
        }
        if !is_aggregate(node.tag) {
            return out;
        }
        for at in [Some(b.at), b.alias].into_iter().flatten() {
            merge(&mut out, self.wanted.name(&self.shapes.view, at).as_slice());
        }
        if let Some(known) = self.known.get(b.at, b.index) {
            merge(&mut out, &self.sets[known as usize]);
            return out;
        }
        // Ends cycles, which only damaged input has.
        self.known.set(b.at, b.index, NOTHING);
        for ty in self.shapes.types_within(b.at) {
            let inner = self.by_value(ty, depth + 1);
            merge(&mut out, &inner);
        }
        let id = self.keep(&out);
        self.known.set(b.at, b.index, id);
        out
    }

    /// Which of the names a pointer of type `ty` (to any depth) leads to, or one in an array.
    pub fn pointed(&mut self, ty: Option<DieRef>) -> Found<'n> {
        let (mut ty, mut pointer) = (ty, false);
        for _ in 0..16 {
            let Some(b) = self.shapes.bare(ty) else { break };
            match b.node().tag {
                dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                    pointer = true;
                    ty = b.node().ty;
                }
                dw::DW_TAG_array_type => ty = b.node().ty,
                _ => return if pointer { self.by_value(ty, 0) } else { Found::new() },
            }
        }
        Found::new()
    }
}
