//! Virtual tables that changed their size: live objects keep pointing to the old one (Itanium C++ ABI, 2.5). And those of Rust's traits, in which
//! anything changed: nothing says where the pointers to them are.

use super::{Context, Findings};
use crate::addr::{FuncId, Svma};
use crate::compare::DataDiff;
use crate::diag::{Finding, Severity};
use crate::dwarf::{DebugInfo, Variable};
use crate::image::{DynReloc, Image, ImageError};
use crate::include::Analysis;
use crate::lift::Lifted;
use crate::rust_names::LIBRARY;
use crate::types::{Survey, parts_with_extent};
use patchfmt::codes;
use std::collections::{BTreeMap, BTreeSet};

/// How rustc names the variable that is a type's table for a trait: `<TYPE as TRAIT>::{vtable}`.
const OF_TRAIT: &str = "::{vtable}";

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    for change in &a.changes.data_changed {
        let name = &a.new.data[change.new.index()].name;
        if let (true, DataDiff::Size { old, new }) = (name.starts_with("_ZTV"), change.diff) {
            let message =
                format!("the vtable `{name}` was {old} bytes and is now {new}; live objects point to the old one");
            findings.add(Severity::Start, codes::VTABLE, name, message);
        }
    }
}

/// Tables of Rust's traits that live objects may point to, and in which not every place has the function that it had.
///
/// # Errors
/// When debug information is damaged.
pub fn of_traits(
    a: Analysis<'_>,
    old: (&DebugInfo<'_>, &Survey),
    new: (&DebugInfo<'_>, &Survey),
) -> Result<Vec<Finding>, ImageError> {
    let (before, after) = (tables(old)?, tables(new)?);
    let mut found = Vec::new();
    for (name, was) in &before {
        let Some(is) = after.get(name) else { continue };
        let slots = |(image, lifted): (&Image, &Lifted), all: &[(Svma, u64)]| -> BTreeSet<Vec<Slot>> {
            all.iter().filter_map(|&table| slots(image, lifted, table)).collect()
        };
        let (was, is) = (slots((a.old_image, a.old), was), slots((a.new_image, a.new), is));
        let other = was.iter().flat_map(|w| is.iter().map(move |i| changed(a, w, i))).collect::<Option<Vec<String>>>();
        let Some(why) = other.and_then(|all| all.into_iter().next()) else { continue };
        let message = format!("`{name}` {why}; live objects point to the old one");
        found.push(Finding {
            severity: Severity::Start,
            code: codes::VTABLE.0,
            symbol: name.clone(),
            place: None,
            message,
            help: None,
        });
    }
    Ok(found)
}

/// Place and size of the tables of each name, of traits and types that aren't counted.
fn tables((info, survey): (&DebugInfo<'_>, &Survey)) -> Result<BTreeMap<String, Vec<(Svma, u64)>>, ImageError> {
    let of_trait = |v: &&Variable| {
        let of = v.name.strip_suffix(OF_TRAIT).and_then(|name| name.rsplit_once(" as ")).map(|(_, of)| of);
        !v.tls
            && !v.name.contains('#')
            // Traits of the library, whose functions have the order that they always had.
            && of.is_some_and(|of| !LIBRARY.iter().any(|library| of.starts_with(library)))
    };
    let all: Vec<&Variable> = survey.variables().iter().filter(of_trait).collect();
    if all.is_empty() {
        return Ok(BTreeMap::new());
    }
    let units = all.iter().map(|v| v.unit.0).collect();
    let sizes = parts_with_extent(info, &units, &all.iter().map(|v| v.svma).collect())?;
    let mut tables: BTreeMap<String, Vec<(Svma, u64)>> = BTreeMap::new();
    for variable in all {
        let size = sizes.get(&variable.svma).and_then(|parts| parts.get(&0));
        tables.entry(variable.name.clone()).or_default().extend(size.map(|&size| (variable.svma, size)));
    }
    Ok(tables)
}

/// What a word of a table holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Slot {
    Func(FuncId),
    /// Another table.
    Place,
    Nothing,
}

/// What ends an object, and the functions. Between them are its size and its alignment, which belong to its type.
fn slots(image: &Image, lifted: &Lifted, (at, size): (Svma, u64)) -> Option<Vec<Slot>> {
    let word = |at: Svma| {
        let to = match image.dynamic.get(&at) {
            Some(DynReloc::Relative { target } | DynReloc::Symbol { local: Some(target), .. }) => *target,
            _ => Svma(u64::from_le_bytes(image.bytes(at, 8)?.try_into().ok()?)),
        };
        Some(match lifted.func_at.get(&to) {
            Some(&func) => Slot::Func(func),
            None if to.0 == 0 => Slot::Nothing,
            None => Slot::Place,
        })
    };
    let functions = (3..size / 8).map(|n| at.plus(n * 8));
    std::iter::once(at).chain(functions).map(word).collect()
}

/// In which way the new one isn't the old one.
fn changed(a: Analysis<'_>, was: &[Slot], is: &[Slot]) -> Option<String> {
    if is.len() > was.len() {
        return Some("has more functions".to_owned());
    }
    let same = |(was, is): (&Slot, &Slot)| match (was, is) {
        (Slot::Func(was), Slot::Func(is)) => a.pairs.func_to_old[is.index()].is_some_and(|pair| pair.old == *was),
        _ => was == is,
    };
    let other = was.iter().zip(is).position(|pair| !same(pair))?;
    let name = match is[other] {
        Slot::Func(func) => format!("`{}`", a.new.functions[func.index()].name),
        Slot::Place | Slot::Nothing => "nothing that it had".to_owned(),
    };
    Some(format!("has {name} in another place"))
}
