//! What functions of Rust are instances of: debug information writes out what they are generic over, which their symbols only have in a hash; and
//! what each closure of a function catches.

use super::diff::with_unit;
use super::name;
use super::shape::Shapes;
use crate::addr::Svma;
use crate::dwarf::die::{Home, is_aggregate};
use crate::dwarf::vars::{View, text};
use crate::dwarf::{DebugInfo, DieRef, Spare};
use gimli::constants as dw;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A function of Rust, as debug information has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Generic {
    /// With all that it is generic over.
    pub name: String,
    /// What is around it.
    pub scope: String,
}

/// Of functions, by where they begin and what they are called in the symbol table.
pub(crate) fn generics(info: &DebugInfo<'_>, functions: &[(Svma, &str)]) -> BTreeMap<Svma, Generic> {
    let mut by_unit: BTreeMap<u32, BTreeMap<Svma, &str>> = BTreeMap::new();
    for &(entry, symbol) in functions {
        if let Some(unit) = info.unit_at(entry) {
            by_unit.entry(unit.0).or_default().insert(entry, symbol);
        }
    }
    let spare = Spare::default();
    let mut out = BTreeMap::new();
    for (unit, wanted) in by_unit {
        with_unit(info, unit, &spare, |view| {
            for (_, node) in view.local.tagged(|tag| tag == dw::DW_TAG_subprogram).filter(|(_, n)| n.code) {
                let Some(Home::At(at)) = node.home else { continue };
                let Some(symbol) = wanted.get(&at) else { continue };
                let Some((here, declared)) = view.declared(DieRef { unit, offset: node.offset }) else { continue };
                // Equal functions may have been made one, with the names of all and what is said of one.
                if [node, declared].iter().any(|n| n.linkage.bytes() == symbol.as_bytes())
                    && let Some((scope, _)) = view.scope(here)
                {
                    out.insert(at, Generic { name: text(declared.name.bytes()), scope: scope.join("::") });
                }
            }
        });
    }
    out
}

/// What a closure catches: names and types.
type Caught = Vec<(String, String)>;

/// Of the closures of a function, by number: what they catch. One that is generic may catch several things.
pub(crate) type Catches = BTreeMap<String, BTreeSet<Caught>>;

/// The closures of functions, by their paths.
pub(crate) fn closures(info: &DebugInfo<'_>, functions: &BTreeSet<String>) -> BTreeMap<String, Catches> {
    if functions.is_empty() {
        return BTreeMap::new();
    }
    let spare = Spare::default();
    let units = (0..info.units.len() as u32).into_par_iter();
    let found: Vec<_> = units.map(|unit| with_unit(info, unit, &spare, |view| closures_of(view, functions))).collect();
    let mut out: BTreeMap<String, Catches> = BTreeMap::new();
    for (function, number, catches) in found.into_iter().flatten() {
        out.entry(function).or_default().entry(number).or_default().insert(catches);
    }
    out
}

fn closures_of(view: View<'_, '_>, functions: &BTreeSet<String>) -> Vec<(String, String, Caught)> {
    let mut shapes = Shapes::new(view);
    let mut out = Vec::new();
    for (index, node) in view.local.tagged(is_aggregate) {
        let Some(number) = node.name.bytes().strip_prefix(ENV.as_bytes()) else { continue };
        let number = text(number.split(|&b| b == b'}').next().unwrap_or_default());
        let Some((scope, _)) = view.scope(DieRef { unit: view.unit, offset: node.offset }) else { continue };
        let function = scope.join("::");
        if !functions.contains(&function) {
            continue;
        }
        let members = view.local.children(index).map(|child| view.local.node(child));
        let members = members.filter(|n| n.tag == dw::DW_TAG_member);
        let catches = members.map(|n| (text(n.name.bytes()), name::render(&mut shapes, n.ty))).collect();
        out.push((function, number, catches));
    }
    out
}

/// What begins the name of a closure's type.
pub(crate) const ENV: &str = "{closure_env#";
