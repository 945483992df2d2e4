//! Identical code folding: several old names at one address that go different ways in the new build.
//!
//! A detour at the shared entry would send the callers of all names to one replacement.

use super::{Context, Findings};
use crate::addr::FuncId;
use crate::correlate::is_counted_function;
use crate::diag::Severity;
use crate::image::{Binding, Symbol};
use foldhash::fast::FixedState;
use patchfmt::codes;
use std::collections::{HashMap, HashSet};

type Key<'a> = (&'a str, Option<&'a str>);

/// A global name is one thing in the image; a local one only in its file.
fn key(symbol: &Symbol) -> Key<'_> {
    let file = if symbol.binding == Binding::Local { symbol.file.as_deref() } else { None };
    (symbol.name.as_str(), file)
}

/// Whether names differ in nothing but which kind of constructor or destructor they are (Itanium C++ ABI, 5.1.4.3).
fn is_one<'a>(names: impl Iterator<Item = &'a String>) -> bool {
    let plain = |name: &String| name.replace("C1", "C2").replace("D1", "D2").replace("D0", "D2");
    names.map(plain).collect::<HashSet<_>>().len() <= 1
}

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let names_of = |old: FuncId| a.old.functions[old.index()].names.iter().map(|&name| key(a.old_image.symbol(name)));
    // Of the names that changed functions have.
    let mut owners: HashMap<Key<'_>, Vec<FuncId>, FixedState> = HashMap::default();
    owners.extend(context.set.changed().flat_map(|(old, ..)| names_of(old)).map(|name| (name, Vec::new())));
    for (index, function) in a.new.functions.iter().enumerate() {
        for &name in &function.names {
            if let Some(ids) = owners.get_mut(&key(a.new_image.symbol(name))) {
                ids.push(FuncId::from(index));
            }
        }
    }
    for (old, new, _) in context.set.changed() {
        let function = &a.old.functions[old.index()];
        // One function by all of its names, which went elsewhere because they count: it was paired by what it does.
        if is_counted_function(&function.name) && is_one(function.names.iter().map(|&n| &a.old_image.symbol(n).name)) {
            continue;
        }
        for &name in &function.names {
            let symbol = a.old_image.symbol(name);
            let elsewhere = owners.get(&key(symbol)).is_some_and(|ids| !ids.is_empty() && !ids.contains(&new));
            if elsewhere {
                let message = format!(
                    "`{}` and `{}` are one function in the old build and two in the new one, of which one changed",
                    function.name, symbol.name
                );
                findings.add(Severity::Refuse, codes::FOLDED_SPLIT, &function.name, message);
            }
        }
    }
}
