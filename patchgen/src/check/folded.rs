//! Several names at one address in one build that go different ways in the other: identical code folding, aliases, versions of a symbol.
//!
//! A detour at the shared entry would send the callers of all names to one replacement. And who holds the address that a name had in the old
//! build, another module or a pointer, goes on with what becomes of the function there, whichever one has the name now.

use super::{Context, Findings};
use crate::addr::FuncId;
use crate::compare::{Stamps, same_code};
use crate::correlate::{Side, is_counted_function, stem};
use crate::diag::Severity;
use crate::image::{Binding, Image, Symbol, SymbolKind};
use crate::lift::Lifted;
use foldhash::fast::FixedState;
use patchfmt::codes;
use std::cell::LazyCell;
use std::collections::{BTreeSet, HashMap, HashSet};

type Key<'a> = (&'a str, Option<&'a str>);

/// Functions of a build by some of their names.
type Owners<'a> = HashMap<Key<'a>, Vec<FuncId>, FixedState>;

/// A global name, with its version, is one thing in the image; a local one only in its file.
fn key(symbol: &Symbol) -> Key<'_> {
    let within = if symbol.binding == Binding::Local { &symbol.file } else { &symbol.version };
    (symbol.name.as_str(), within.as_deref())
}

fn names<'a>(image: &'a Image, lifted: &'a Lifted, id: FuncId) -> impl Iterator<Item = &'a Symbol> {
    lifted.functions[id.index()].names.iter().map(|&name| image.symbol(name))
}

fn owners<'a>(image: &'a Image, lifted: &'a Lifted, wanted: &HashSet<Key<'_>, FixedState>) -> Owners<'a> {
    let mut owners = Owners::default();
    for id in (0..lifted.functions.len()).map(FuncId::from) {
        for key in names(image, lifted, id).map(key).filter(|k| wanted.contains(k)) {
            owners.entry(key).or_default().push(id);
        }
    }
    owners
}

/// Whether names differ in nothing but which kind of constructor or destructor they are (Itanium C++ ABI, 5.1.4.3).
fn is_one<'a>(names: impl Iterator<Item = &'a String>) -> bool {
    let plain = |name: &String| name.replace("C1", "C2").replace("D1", "D2").replace("D0", "D2");
    names.map(plain).collect::<HashSet<_>>().len() <= 1
}

/// Whether it says by itself which function it is: no clone's, and not one that counts. (One without a size may be that of an empty part.)
fn is_telling(symbol: &Symbol) -> bool {
    let code = matches!(symbol.kind, SymbolKind::Func | SymbolKind::IFunc);
    code && symbol.size > 0 && !is_counted_function(&symbol.name) && stem(&symbol.name).name == symbol.name
}

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let names_of = |old: FuncId| names(a.old_image, a.old, old);
    let changed: BTreeSet<FuncId> = context.set.changed().map(|(old, ..)| old).collect();
    let several = |l: &'_ Lifted| -> Vec<FuncId> {
        l.functions.iter().enumerate().filter(|(_, f)| f.names.len() > 1).map(|(i, _)| i.into()).collect()
    };
    let (shared, joined) = (several(a.old), several(a.new));
    let of_new = joined.iter().flat_map(|&new| names(a.new_image, a.new, new));
    let wanted = shared.iter().chain(&changed).flat_map(|&old| names_of(old)).chain(of_new).map(key).collect();
    let (was, is) = (owners(a.old_image, a.old, &wanted), owners(a.new_image, a.new, &wanted));
    let (before, after) = (Side { image: a.old_image, lifted: a.old }, Side { image: a.new_image, lifted: a.new });
    let stamps = Stamps::default();
    // Most builds have none to compare.
    let same = LazyCell::new(|| same_code(before, after, a.pairs, &stamps));
    let concerned: BTreeSet<FuncId> = was.values().flatten().copied().collect();
    for old in concerned {
        let function = &a.old.functions[old.index()];
        let new = a.pairs.func_to_new[old.index()].map(|p| p.new);
        // One function by all of its names, which went elsewhere because they count: it was paired by what it does.
        if is_counted_function(&function.name) && is_one(names_of(old).map(|s| &s.name)) {
            continue;
        }
        for symbol in names_of(old) {
            let Some(ids) = is.get(&key(symbol)).filter(|ids| new.is_none_or(|new| !ids.contains(&new))) else {
                continue;
            };
            if changed.contains(&old) {
                let message = format!(
                    "`{}` and `{}` are one function in the old build and two in the new one, of which one changed",
                    function.name, symbol.name
                );
                findings.add(Severity::Refuse, codes::FOLDED_SPLIT, &function.name, message);
                continue;
            }
            let known = symbol.exported || context.calls.pointed_to(old);
            let (&[other], true) = (ids.as_slice(), is_telling(symbol) && known && was[&key(symbol)].len() == 1) else {
                continue;
            };
            if same(old, other) {
                continue;
            }
            let stays = match new {
                Some(new) => format!("is `{}`", a.new.functions[new.index()].name),
                None => "has no counterpart".to_owned(),
            };
            let version = symbol.version.as_ref().map(|v| format!("@{v}")).unwrap_or_default();
            let message = format!(
                "`{}{version}` is another function in the new build, and what is at its old address {stays}: who holds that address would stay with it",
                symbol.name
            );
            findings.add(Severity::Refuse, codes::FOLDED_SPLIT, &symbol.name, message);
        }
    }
}
