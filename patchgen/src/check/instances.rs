//! Whether an instance of a type whose layout changed can be alive, in old code that stays or in data, when the patch is applied.
//!
//! Two proofs. *Unread*: no function and no constant that changed belongs to a unit that declares the type, so that whatever reads an instance
//! afterwards is code that both builds have, with the places that it had. *Frames only*: by the declarations every instance is in the frame of a
//! function that declares one, and all these functions are replaced; the stack check then finds none of them active. Everything else counts
//! as alive.

use crate::addr::{DataId, FuncId, Svma};
use crate::compare::{Cause, DataChange, DataDiff};
use crate::dwarf::{DebugInfo, UnitId};
use crate::image::{DynReloc, Image, ImageError, Import, SectionKind};
use crate::include::{Analysis, Kept, Migration, Migrations};
use crate::lift::{Data, DataKind, DataRef, Function, Lifted, Slot, Target};
use crate::rust_names::{LIBRARY, LIBRARY_SOURCES};
use crate::types::{Frame, Frames, LayoutChange, Reach, Survey, TypeDiff, frames, is_lambda};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of the instances of a type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Code that changed doesn't know the type.
    Unread,
    /// They are in frames of these functions (old, new), which are to be replaced.
    Frames(BTreeSet<(FuncId, FuncId)>),
    /// As `Frames`, and in variables whose value moves along.
    Moved(BTreeSet<(FuncId, FuncId)>),
    /// Only their vtables changed, which are rewritten where they are.
    InPlace,
    /// They may be alive, for these reasons.
    Alive(BTreeSet<String>),
}

impl Fate {
    /// Functions (old, new) that must be replaced so that it holds.
    pub fn holders(&self) -> impl Iterator<Item = (FuncId, FuncId)> + '_ {
        let holders = match self {
            Fate::Frames(holders) | Fate::Moved(holders) => Some(holders),
            Fate::Unread | Fate::InPlace | Fate::Alive(_) => None,
        };
        holders.into_iter().flatten().copied()
    }
}

/// By qualified name of the type.
pub type Instances = BTreeMap<String, Fate>;

/// Functions that others than direct calls may enter, and who calls which directly.
#[derive(Debug)]
pub struct Calls {
    /// By function: known to data, or to code that does more than call it; known to other modules.
    taken: Vec<bool>,
    exported: Vec<bool>,
    /// Called function and caller, ascending.
    direct: Vec<(FuncId, FuncId)>,
}

impl Calls {
    pub fn of(image: &Image, lifted: &Lifted) -> Calls {
        let exported = |f: &Function| f.names.iter().any(|&s| image.symbol(s).exported);
        let exported = lifted.functions.iter().map(exported).collect();
        let (mut taken, mut direct) = (vec![false; lifted.functions.len()], Vec::new());
        let mut take = |func: FuncId| taken[func.index()] = true;
        for (i, function) in lifted.functions.iter().enumerate() {
            let caller = FuncId::from(i);
            for reference in &function.refs {
                match reference.target {
                    Target::Func { func, .. } if reference.branch => direct.push((func, caller)),
                    ref other => other.entry().into_iter().for_each(&mut take),
                }
            }
        }
        for datum in &lifted.data {
            datum.refs.iter().chain(&datum.ambiguous).filter_map(|r| r.target.entry()).for_each(&mut take);
        }
        for reloc in image.dynamic.values() {
            let target = match reloc {
                DynReloc::Relative { target } | DynReloc::Symbol { local: Some(target), .. } => *target,
                _ => continue,
            };
            lifted.func_at.get(&target).copied().into_iter().for_each(&mut take);
        }
        direct.sort_unstable();
        direct.dedup();
        Calls { taken, exported, direct }
    }

    /// Its address is known to data, to another module, or to code that does more than call it.
    pub fn address_taken(&self, func: FuncId) -> bool {
        self.pointed_to(func) || self.exported[func.index()]
    }

    /// A pointer of this module may lead to it.
    pub fn pointed_to(&self, func: FuncId) -> bool {
        self.taken[func.index()]
    }

    /// The functions that call it or jump to it.
    pub fn callers(&self, func: FuncId) -> impl Iterator<Item = FuncId> + Clone + '_ {
        let first = self.direct.partition_point(|&(callee, _)| callee < func);
        self.direct[first..].iter().take_while(move |&&(callee, _)| callee == func).map(|&(_, caller)| caller)
    }
}

/// Variables whose value moves to a new place, by the old one, with the functions of either build that name them.
#[derive(Default)]
struct Moving(BTreeMap<Svma, (BTreeSet<FuncId>, BTreeSet<FuncId>)>);

impl Moving {
    fn of(analysis: Analysis<'_>, migrations: &Migrations) -> Moving {
        let users = |lifted: &Lifted, object: DataId| -> BTreeSet<FuncId> {
            let named = |t: &Target| matches!(t, Target::Data { data, .. } if *data == object);
            let all = lifted.functions.iter().enumerate();
            all.filter(|(_, f)| f.refs.iter().any(|r| named(&r.target))).map(|(i, _)| i.into()).collect()
        };
        let place = |m: &Migration| analysis.old.data[m.old.index()].range.start;
        let each = migrations.iter();
        Moving(each.map(|(&id, m)| (place(m), (users(analysis.old, m.old), users(analysis.new, id)))).collect())
    }

    /// Whether a function names the one at that place.
    fn known_to(&self, at: Svma, (old, new): (Option<FuncId>, FuncId)) -> bool {
        let users = self.0.get(&at);
        users.is_some_and(|(before, after)| old.is_some_and(|f| before.contains(&f)) || after.contains(&new))
    }
}

/// Data whose content changed and may say where members lie.
struct Tables(Vec<Table>);

struct Table {
    /// In words.
    what: String,
    old_at: Svma,
    /// Those that declare it; none where that isn't known.
    units: BTreeSet<String>,
}

impl Tables {
    /// Constants, by which code goes that both builds have; and variables whose initial value differs in a number, which keep the old one.
    fn of(analysis: Analysis<'_>, (info, survey): (&DebugInfo<'_>, &Survey), migrations: &Migrations) -> Tables {
        let mut all: BTreeMap<Svma, Table> = BTreeMap::new();
        for change in &analysis.changes.data_changed {
            let (old, new) = (&analysis.old.data[change.old.index()], &analysis.new.data[change.new.index()]);
            let what = match new.section {
                SectionKind::Rodata | SectionKind::Relro => format!("the constant `{}`", new.name),
                SectionKind::Data | SectionKind::Bss if keeps_numbers(analysis, change, migrations) => {
                    format!("the initial value of `{}`, of which the old one stays,", new.name)
                }
                _ => continue,
            };
            if new.kind == DataKind::Named {
                all.insert(new.range.start, Table { what, old_at: old.range.start, units: BTreeSet::new() });
            }
        }
        for variable in survey.variables().iter().filter(|v| !v.tls) {
            if let Some(table) = all.get_mut(&variable.svma) {
                table.units.insert(info.name_at(variable.unit.0).to_owned());
            }
        }
        Tables(all.into_values().collect())
    }

    /// Those that may hold something about a type that only `units` declare. What `holds` one has its own places inside.
    fn about<'a>(
        &'a self,
        units: Option<&'a BTreeSet<&str>>,
        holds: impl Fn(Svma) -> bool + 'a,
    ) -> impl Iterator<Item = &'a str> + 'a {
        let may = move |own: &BTreeSet<String>| {
            own.is_empty() || units.is_none_or(|units| own.iter().any(|u| units.contains(u.as_str())))
        };
        self.0.iter().filter(move |t| may(&t.units) && !holds(t.old_at)).map(|t| t.what.as_str())
    }
}

/// Whether a variable's live value goes on where its initial value differs in more than addresses.
fn keeps_numbers(analysis: Analysis<'_>, change: &DataChange, migrations: &Migrations) -> bool {
    let (old, new) = (&analysis.old.data[change.old.index()], &analysis.new.data[change.new.index()]);
    let kept = match (migrations.get(&change.new), change.diff) {
        (Some(migration), _) => migration.kept.clone(),
        (None, DataDiff::Content) => vec![Kept { from: 0, to: 0, len: new.range.size() }],
        (None, _) => return false,
    };
    // None inside of an address; zero where the file has no bytes.
    let number = |image: &Image, datum: &Data, at: u64| {
        let within = |r: &DataRef| at.checked_sub(u64::from(r.at)).is_some_and(|o| o < r.field.size() as u64);
        let plain = !datum.refs.iter().chain(&datum.ambiguous).any(within);
        plain.then(|| image.bytes(datum.range.start.plus(at), 1).map_or(0, |b| b[0]))
    };
    let differ = |k: &Kept| {
        (0..k.len).any(|i| {
            let both = number(analysis.old_image, old, k.from + i).zip(number(analysis.new_image, new, k.to + i));
            both.is_some_and(|(a, b)| a != b)
        })
    };
    kept.iter().any(differ)
}

/// Functions of the C library that copy bytes of any type to where they last.
const COPYING: &[&str] = &[
    "memcpy",
    "memmove",
    "mempcpy",
    "bcopy",
    "__memcpy_chk",
    "__memmove_chk",
    "__mempcpy_chk",
    "write",
    "pwrite",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev64",
    "fwrite",
    "fwrite_unlocked",
    "send",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "mq_send",
    "mq_timedsend",
    "msgsnd",
    "lsearch",
    "tsearch",
    // Of C++: to a stream, and to a string.
    "_ZNSo5writeEPKcl",
    "_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE9_M_appendEPKcm",
    "_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE10_M_replaceEmmPKcm",
];

/// Compilers that describe only what a unit defines, and what that refers to.
const SILENT: &[&str] = &["clang", "rustc"];

/// Versions of symbols of libraries that have no others which do.
const KNOWN: &[&str] = &["GLIBC_", "GLIBCXX_", "CXXABI_", "GCC_"];

fn is_known(import: &Import) -> bool {
    import.version.as_ref().is_some_and(|v| KNOWN.iter().any(|library| v.starts_with(library)))
}

/// Such, and those of the old image that take a `const void *`, by all their names.
fn copying<'a>(analysis: Analysis<'a>, was: &Survey) -> BTreeSet<&'a str> {
    let (image, old) = (analysis.old_image, analysis.old);
    let own = was.untyped().filter_map(|entry| Some(&old.functions[old.func_at.get(&entry)?.index()]));
    let names = own.flat_map(|f| f.names.iter().map(|&s| image.symbol(s).name.as_str()).chain([f.name.as_str()]));
    names.chain(COPYING.iter().copied()).collect()
}

struct Judge<'a> {
    analysis: Analysis<'a>,
    calls: &'a Calls,
    /// Names of functions that may copy bytes of any type to where they last.
    copying: BTreeSet<&'a str>,
    old: Frames<'a>,
    new: Frames<'a>,
    moving: Moving,
    tables: Tables,
    /// A pointer to a member may hold its distance in an instance.
    by_member: bool,
    /// Units that declare each of the types, by its name, in either build.
    naming: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Units of compilers that say nothing of a type which code only reaches by another unit's variable or function.
    silent: BTreeSet<&'a str>,
    /// Entries of functions that changed or are new, in the builds that have them.
    changed: Vec<(Option<FuncId>, FuncId)>,
}

/// Decides for every type of `types.layouts` whose instances changed. `migrations`: variables that move with their value.
///
/// # Errors
/// When debug information is damaged.
pub fn instances(
    analysis: Analysis<'_>,
    calls: &Calls,
    types: &TypeDiff,
    (old, was): (&DebugInfo<'_>, &Survey),
    (new, is): (&DebugInfo<'_>, &Survey),
    migrations: &Migrations,
) -> Result<Instances, ImageError> {
    let mut layouts: BTreeMap<&str, Vec<&LayoutChange>> = BTreeMap::new();
    for change in &types.layouts {
        layouts.entry(&change.name).or_default().push(change);
    }
    if layouts.is_empty() {
        return Ok(Instances::new());
    }
    let names: BTreeSet<String> = layouts.keys().map(|&n| n.to_owned()).collect();
    let edited = analysis.changes.changed.iter().filter(|c| c.cause != Cause::LineNumber);
    let fresh = analysis.changes.new_funcs.iter().map(|&f| (None, f));
    let changed: Vec<(Option<FuncId>, FuncId)> = edited.map(|c| (Some(c.old), c.new)).chain(fresh).collect();
    let entry = |lifted: &Lifted, func: FuncId| lifted.functions[func.index()].parts[0].start;
    let old_entries = changed.iter().filter_map(|(func, _)| Some(entry(analysis.old, (*func)?))).collect();
    let new_entries = changed.iter().map(|(_, func)| entry(analysis.new, *func)).collect();
    let foreign = analysis.old_image.imports.iter().filter(|i| !is_known(i)).map(|i| i.name.as_str()).collect();
    let nobody = BTreeSet::new();
    // Instances that are alive are the old build's.
    let (before, after) = rayon::join(
        || frames(old, was, &names, &old_entries, &foreign, Reach::Everywhere),
        || frames(new, is, &names, &new_entries, &nobody, Reach::Asked),
    );
    let moving = Moving::of(analysis, migrations);
    let tables = Tables::of(analysis, (new, is), migrations);
    let mut before = before?;
    for (name, entries) in &types.about {
        let Some(name) = names.get(name) else { continue };
        for entry in entries {
            if let Some(frame) = before.functions.get_mut(entry) {
                add(&mut frame.pointers, name);
            }
        }
    }
    let naming = |name| (name, naming(old, was, name).chain(naming(new, is, name)).collect());
    let judge = Judge {
        naming: layouts.keys().copied().map(naming).collect(),
        silent: silent(old).chain(silent(new)).collect(),
        analysis,
        calls,
        copying: copying(analysis, was),
        old: before,
        new: after?,
        moving,
        tables,
        by_member: was.has_pointers_to_members(),
        changed,
    };
    let only_vtable = |all: &[&LayoutChange]| all.iter().all(|l| l.only_vtable);
    let by_pointer = layouts.values().any(|all| only_vtable(all)) && was.has_pointers_to_methods();
    let fate = |name: &str, all: &[&LayoutChange]| match only_vtable(all) {
        true => judge.vtables(name, by_pointer),
        false => judge.fate(name, all),
    };
    Ok(layouts.iter().map(|(&name, all)| (name.to_owned(), fate(name, all))).collect())
}

/// Names of units that declare a type of this name.
fn naming<'a>(info: &'a DebugInfo<'_>, survey: &'a Survey, name: &'a str) -> impl Iterator<Item = &'a str> {
    survey.units_naming(name).map(|unit| info.name_at(unit))
}

/// Names of units of [`SILENT`] compilers.
fn silent<'a>(info: &'a DebugInfo<'_>) -> impl Iterator<Item = &'a str> {
    let of_silent = |id: &UnitId| SILENT.iter().any(|name| info.producer(*id).contains(name));
    info.unit_ids().filter(of_silent).map(|id| info.name_at(id.0))
}

/// Keeps the list ascending.
fn add<'n>(types: &mut Vec<&'n str>, name: &'n str) {
    if let Err(at) = types.binary_search(&name) {
        types.insert(at, name);
    }
}

fn has(types: &[&str], name: &str) -> bool {
    types.binary_search(&name).is_ok()
}

fn knows(frame: &Frame<'_>, name: &str) -> bool {
    [&frame.values, &frame.passed, &frame.pointers].iter().any(|types| has(types, name))
}

/// The last part of a name as it stands in a mangled one (Itanium C++ ABI, 5.1.3), without arguments of templates. For what has no name,
/// that of the function around it.
fn mangled(name: &str) -> String {
    let outer = name.split('<').next().unwrap_or(name);
    let base = outer.trim_end_matches("::").rsplit("::").next().unwrap_or(outer);
    format!("{}{base}", base.len())
}

impl Judge<'_> {
    fn old_entry(&self, func: FuncId) -> Svma {
        self.analysis.old.functions[func.index()].parts[0].start
    }

    fn old_name(&self, func: FuncId) -> &str {
        &self.analysis.old.functions[func.index()].name
    }

    fn frames_of(&self, (old, new): (Option<FuncId>, FuncId)) -> (Option<&Frame<'_>>, Option<&Frame<'_>>) {
        let entry = self.analysis.new.functions[new.index()].parts[0].start;
        (old.and_then(|f| self.old.functions.get(&self.old_entry(f))), self.new.functions.get(&entry))
    }

    fn fate(&self, name: &str, changes: &[&LayoutChange]) -> Fate {
        // None: the units that declare the type aren't known.
        let known = changes.iter().all(|c| c.all_units && !c.ambiguous);
        let declaring = || changes.iter().flat_map(|c| &c.units).map(String::as_str);
        let units: Option<BTreeSet<&str>> =
            known.then(|| declaring().chain(self.naming.get(name).into_iter().flatten().copied()).collect());
        // What is written in a source file, not in a header, nobody else knows.
        let file = |path: &str| path.rsplit('/').next().map(str::to_owned);
        let own = |c: &&LayoutChange| {
            let place = c.place.as_deref().and_then(|place| file(place.rsplit_once(':')?.0));
            place.is_some() && c.units.iter().all(|unit| file(unit) == place)
        };
        let private = changes.iter().all(own);
        let silent: BTreeSet<&str> = match private {
            true => BTreeSet::new(),
            // Rust's library knows no types but its own.
            false if LIBRARY.iter().any(|library| name.contains(library)) => self.silent.clone(),
            false => {
                let others = |unit: &&str| !LIBRARY_SOURCES.iter().any(|path| unit.starts_with(path));
                self.silent.iter().copied().filter(others).collect()
            }
        };
        let reaches = |&&pair: &&_| self.may_touch(pair, units.as_ref(), &silent);
        let blind: Vec<_> = self.changed.iter().filter(reaches).collect();
        let holds = |at| self.old.fixed.get(name).is_some_and(|all| all.contains_key(&at));
        let mut tables = self.tables.about(units.as_ref(), holds).peekable();
        if blind.is_empty() && tables.peek().is_none() {
            return Fate::Unread;
        }
        let mut reasons = self.old.elsewhere(name, |at| self.moving.0.contains_key(&at));
        reasons.extend(tables.map(|what| format!("{what} changed and may say where its members lie")));
        if self.by_member {
            reasons.insert("a pointer to a member may hold its old place".to_owned());
        }
        let places: Vec<Svma> = self.old.fixed.get(name).into_iter().flat_map(BTreeMap::keys).copied().collect();
        let moves = !places.is_empty();
        if self.is_thrown(name) {
            reasons.insert("it has type information, with which instances are thrown".to_owned());
        }
        for &&pair in &blind {
            let (old, new) = self.frames_of(pair);
            let declares = [old, new].into_iter().flatten().any(|f| knows(f, name));
            // A closure is called by the functions that are about it.
            if !declares && !is_lambda(name) && !places.iter().any(|&at| self.moving.known_to(at, pair)) {
                let function = &self.analysis.new.functions[pair.1.index()].name;
                reasons.insert(format!("`{function}` changed and may reach one without a variable of the type"));
            }
        }
        let holders = self.holders(name, &mut reasons);
        match (reasons.is_empty(), moves) {
            (true, false) => Fate::Frames(holders),
            (true, true) => Fate::Moved(holders),
            (false, _) => Fate::Alive(reasons),
        }
    }

    /// A changed function that is in one of `units`, or of which no unit is known, or whose unit is `silent` about the type.
    fn may_touch(
        &self,
        pair: (Option<FuncId>, FuncId),
        units: Option<&BTreeSet<&str>>,
        silent: &BTreeSet<&str>,
    ) -> bool {
        let Some(units) = units else { return true };
        let within = |frame: Option<&Frame<'_>>| match frame.and_then(|f| f.units.as_ref()) {
            Some(own) => own.iter().any(|u| units.contains(u) || silent.contains(u)),
            None => true,
        };
        let (old, new) = self.frames_of(pair);
        (pair.0.is_some() && within(old)) || within(new)
    }

    /// Of a class whose virtual functions changed their order: live objects point to the tables of the old image.
    fn vtables(&self, name: &str, by_pointer: bool) -> Fate {
        let a = self.analysis;
        let mut reasons = BTreeSet::new();
        if by_pointer {
            reasons.insert("a pointer to a member function may hold a place in its vtable".to_owned());
        }
        let mangled = mangled(name);
        let of_class = |s: &str| ["_ZTV", "_ZTC", "_ZTT"].iter().any(|p| s.starts_with(p)) && s.contains(&mangled);
        for symbol in a.old_image.symbols.iter().filter(|s| s.exported && of_class(&s.name)) {
            reasons.insert(format!("other modules can call through `{}`", symbol.name));
        }
        for import in a.old_image.imports.iter().chain(&a.new_image.imports).filter(|i| of_class(&i.name)) {
            reasons.insert(format!("`{}` belongs to another module", import.name));
        }
        for (i, datum) in a.old.data.iter().enumerate().filter(|(_, d)| of_class(&d.name)) {
            let new = a.pairs.data_to_new[i].map(|p| &a.new.data[p.new.index()]);
            if new.is_none_or(|n| n.range.size() != datum.range.size()) {
                reasons.insert(format!("`{}` has another size, or is gone", datum.name));
            }
        }
        if reasons.is_empty() { Fate::InPlace } else { Fate::Alive(reasons) }
    }

    /// Exceptions live outside of frames (Itanium C++ ABI, 2.9.1: `typeinfo for` symbols).
    fn is_thrown(&self, name: &str) -> bool {
        let mangled = mangled(name);
        self.analysis.old_image.symbols.iter().any(|s| s.name.starts_with("_ZTI") && s.name.contains(&mangled))
    }

    /// What an old function calls that may copy bytes of any type to where they last: a queue, a pipe.
    fn copier(&self, func: FuncId) -> Option<&str> {
        let old = self.analysis.old;
        let copies = |target: &Target| match *target {
            Target::Func { func, .. } => Some(self.old_name(func)).filter(|name| self.copying.contains(name)),
            Target::Import(import) | Target::Slot(Slot::Import { import, .. }) => {
                let import = &self.analysis.old_image.imports[import.index()];
                Some(import.name.as_str()).filter(|_| self.may_copy(import))
            }
            _ => None,
        };
        old.functions[func.index()].refs.iter().find_map(|r| copies(&r.target))
    }

    /// Of the C library and the compilers' own it is known; of others, what they are declared to take says so.
    fn may_copy(&self, import: &Import) -> bool {
        let takes = || self.old.foreign.get(import.name.as_str()).copied().unwrap_or(true);
        self.copying.contains(import.name.as_str()) || (!is_known(import) && takes())
    }

    /// Functions in whose frames instances are, as (old, new).
    fn holders(&self, name: &str, reasons: &mut BTreeSet<String>) -> BTreeSet<(FuncId, FuncId)> {
        let (mut holders, mut all, mut by_pointer) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (entry, frame) in self.old.functions.iter().filter(|(_, f)| knows(f, name)) {
            let Some(&func) = self.analysis.old.func_at.get(entry) else {
                reasons.insert(format!("a function at {entry} has one"));
                continue;
            };
            all.insert(func);
            let (passed, pointer) = (has(&frame.passed, name), has(&frame.pointers, name));
            if (passed || pointer) && self.calls.address_taken(func) {
                let function = self.old_name(func);
                reasons.insert(format!("`{function}` takes one and may be called from anywhere"));
            }
            if has(&frame.values, name) {
                holders.insert(func);
            }
            let callers = self.calls.callers(func).filter(|&c| c != func);
            if passed {
                // A temporary has no declaration.
                holders.extend(callers.clone());
            }
            if pointer {
                by_pointer.extend(callers.map(|c| (c, func)));
            }
        }
        all.extend(&holders);
        for &func in &all {
            if let Some(callee) = self.copier(func) {
                let function = self.old_name(func);
                reasons.insert(format!("`{function}` calls `{callee}`, which may keep the bytes of one"));
            }
        }
        for (caller, callee) in by_pointer {
            if !all.contains(&caller) {
                let (caller, callee) = (self.old_name(caller), self.old_name(callee));
                reasons.insert(format!("`{caller}` gives one to `{callee}` that it has from elsewhere"));
            }
        }
        let mut out = BTreeSet::new();
        for old in holders {
            let pair = self.analysis.pairs.func_to_new[old.index()].map(|p| p.new);
            match pair.filter(|_| !self.analysis.old.functions[old.index()].opaque) {
                Some(new) => {
                    out.insert((old, new));
                }
                None => {
                    reasons.insert(format!("`{}` holds one and can't be replaced", self.old_name(old)));
                }
            }
        }
        out
    }
}
