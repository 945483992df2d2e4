//! What a unit declares, as hashes: enough to see what differs without keeping its entries.

use super::described::has_types;
use super::hash::{hash_of, inside, of_bytes};
use super::holders::Wanted;
use super::shape::Shapes;
use crate::addr::Svma;
use crate::dwarf::die::{Home, Node, is_aggregate};
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Reading, Spare, Table, UnitId, Variable};
use crate::image::ImageError;
use foldhash::fast::FixedState;
use gimli::constants as dw;
use patchfmt::codes;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash as _;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Kind {
    /// A struct, class, union or enum with a name or a typedef. One kind, so that a union that was a struct is seen.
    Type,
    /// A struct, class or union without any name, to which a pointer leads. Its layout is its key.
    Nameless,
    /// An enumerator of an enum without a name.
    Constant,
    Function,
    Variable,
}

/// One declaration, wherever it is. Sorts by key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Shaped {
    pub kind: Kind,
    /// Hash of the qualified name.
    pub key: u64,
    /// Hash of all that matters of it.
    pub shape: u64,
    /// Of classes: hash of the vtable's order.
    pub vtable: u64,
}

/// One declaration in one unit. Sorts by key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Entry {
    pub kind: Kind,
    pub key: u64,
    /// Hash of the unit's name.
    pub unit_key: u64,
    pub shape: u64,
    pub vtable: u64,
    pub at: DieRef,
}

/// What the units of one build declare, read in one pass. Headers repeat in unit after unit: each different declaration is kept once.
#[derive(Debug, Default)]
pub struct Survey {
    /// In the order in which they were met first.
    pub(super) shapes: Vec<Shaped>,
    places: Vec<Places>,
    variables: Vec<Variable>,
    parts: Vec<VariablePart>,
    /// Units with code, and where the functions in them begin.
    entries: Vec<(u32, Vec<Svma>)>,
    /// Where functions begin that read bytes of no type in particular, beside something else.
    untyped: Vec<Svma>,
    /// Hashes of the names of all types that a unit declares or defines, ascending. Of each that was read by itself.
    known: Vec<(u32, Vec<u32>)>,
    /// Some type is that of pointers to member functions, which hold places in vtables (Itanium C++ ABI, 2.3).
    methods: bool,
    /// Some type is that of pointers to other members, which hold distances.
    members: bool,
    /// Some unit refers to entries of another.
    entangled: bool,
    /// Compilation units in which nothing has a type.
    bare: HashSet<u32>,
}

/// Where the declarations of one unit are.
#[derive(Debug)]
struct Places {
    /// The compilation unit.
    of: u32,
    /// Itself, or a partial unit that it imports.
    unit: u32,
    /// Index in [`Survey::shapes`], offset of the entry.
    list: Vec<(u32, u32)>,
}

/// A part of a variable that a compiler took apart, at a place of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VariablePart {
    /// Hashes of the unit's name, of the variable's with its scopes, and of its type with its layout.
    pub of: (u64, u64, u64),
    /// In the variable, in bytes.
    pub offset: u64,
    pub size: u64,
    pub svma: Svma,
}

/// What one unit gave, before the declarations that others have as well are merged.
struct Read {
    found: Vec<(u32, Vec<(Shaped, u32)>)>,
    variables: Vec<Variable>,
    parts: Vec<VariablePart>,
    entries: Vec<Svma>,
    untyped: Vec<Svma>,
    known: Vec<u32>,
    methods: bool,
    members: bool,
    elsewhere: bool,
    bare: bool,
}

impl Read {
    fn nothing() -> Read {
        Read {
            found: Vec::new(),
            variables: Vec::new(),
            parts: Vec::new(),
            entries: Vec::new(),
            untyped: Vec::new(),
            known: Vec::new(),
            methods: false,
            members: false,
            elsewhere: true,
            bare: false,
        }
    }

    fn note_pointers_to_members(&mut self, shapes: &mut Shapes<'_, '_>) {
        let table = shapes.view.local;
        for (_, pointer) in table.tagged(|tag| tag == dw::DW_TAG_ptr_to_member_type) {
            let method = shapes.bare(pointer.ty).is_none_or(|b| b.node().tag == dw::DW_TAG_subroutine_type);
            *(if method { &mut self.methods } else { &mut self.members }) = true;
        }
    }
}

/// So many units are read before they are merged: bounds what is in memory.
const BATCH: u32 = 64;

impl Survey {
    /// Reads all units.
    ///
    /// # Errors
    /// When debug information is damaged.
    pub fn read(info: &DebugInfo<'_>) -> Result<Survey, ImageError> {
        let mut out = Survey::default();
        let mut ids: HashMap<Shaped, u32, FixedState> = HashMap::default();
        let (count, tables) = (info.units.len() as u32, Spare::default());
        for start in (0..count).step_by(BATCH as usize) {
            let units = start..count.min(start + BATCH);
            let batch: Vec<Result<Read, ImageError>> =
                units.clone().into_par_iter().map(|u| unit(info, u, &tables)).collect();
            for (of, read) in units.zip(batch) {
                let read = read?;
                out.variables.extend(read.variables);
                out.parts.extend(read.parts);
                out.entries.push((of, read.entries));
                out.untyped.extend(read.untyped);
                out.known.push((of, read.known));
                out.methods |= read.methods;
                out.members |= read.members;
                out.entangled |= read.elsewhere;
                out.bare.extend(read.bare.then_some(of));
                for (unit, found) in read.found {
                    let list = found.into_iter().map(|(shaped, offset)| {
                        let next = out.shapes.len() as u32;
                        let id = *ids.entry(shaped).or_insert_with(|| {
                            out.shapes.push(shaped);
                            next
                        });
                        (id, offset)
                    });
                    let list = list.collect();
                    out.places.push(Places { of, unit, list });
                }
            }
        }
        Ok(out)
    }

    /// All variables at fixed places, in order of unit and entry.
    #[must_use]
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Whether nothing in the compilation unit has a type.
    pub(super) fn is_bare(&self, unit: u32) -> bool {
        self.bare.contains(&unit)
    }

    /// The parts of variables that were taken apart.
    #[must_use]
    pub fn parts(&self) -> &[VariablePart] {
        &self.parts
    }

    /// A type of the program is that of pointers to member functions.
    pub(crate) fn has_pointers_to_methods(&self) -> bool {
        self.methods
    }

    /// A type of the program is that of pointers to members that are no functions.
    pub(crate) fn has_pointers_to_members(&self) -> bool {
        self.members
    }

    /// Where functions begin that read bytes of no type in particular, beside something else: they may keep them.
    pub(crate) fn untyped(&self) -> impl Iterator<Item = Svma> + '_ {
        self.untyped.iter().copied()
    }

    pub(crate) fn is_entangled(&self) -> bool {
        self.entangled
    }

    /// Gives back the memory of what only [`super::surveyed_changes`] asks for.
    pub(crate) fn forget_declarations(&mut self) {
        (self.shapes, self.places) = (Vec::new(), Vec::new());
    }

    /// Units that may know one of the types, and the others. A type can only be in what a unit declares where it has a name for it, unless
    /// units refer to each other's types.
    pub(super) fn units_knowing(&self, info: &DebugInfo<'_>, wanted: &Wanted<'_>) -> (Vec<u32>, HashSet<u32>) {
        let readable = wanted.names.iter().all(|name| !name.contains(char::REPLACEMENT_CHARACTER));
        if self.entangled || !readable {
            return ((0..info.units.len() as u32).collect(), HashSet::new());
        }
        let hashes: Vec<u32> = wanted.unqualified().map(short_hash).collect();
        let mut knowing = Vec::new();
        let mut others = HashSet::new();
        for (unit, names) in &self.known {
            if hashes.iter().any(|hash| names.binary_search(hash).is_ok()) {
                knowing.push(*unit);
            } else {
                others.insert(*unit);
            }
        }
        (knowing, others)
    }

    /// Units that declare or define a type that may be the one of this qualified name.
    pub(crate) fn units_naming(&self, name: &str) -> impl Iterator<Item = u32> + '_ {
        let names = BTreeSet::from([name.to_owned()]);
        // Nobody declares what has no name.
        let named = !super::name::is_nameless(name);
        let hashes: Vec<u32> = Wanted::new(&names).unqualified().filter(|_| named).map(short_hash).collect();
        let names_one = move |known: &[u32]| hashes.iter().any(|hash| known.binary_search(hash).is_ok());
        self.known.iter().filter(move |(_, known)| names_one(known)).map(|(unit, _)| *unit)
    }

    /// Units with a function that begins at one of `entries`, and those that are inlined into it.
    pub(super) fn units_with(&self, info: &DebugInfo<'_>, entries: &BTreeSet<Svma>) -> HashSet<u32> {
        if self.entangled {
            return (0..info.units.len() as u32).collect();
        }
        let with = self.entries.iter().filter(|(_, own)| own.iter().any(|entry| entries.contains(entry)));
        with.map(|(unit, _)| *unit).collect()
    }

    /// Where functions of these units begin, with the unit.
    pub(super) fn entries_in(&self, units: &HashSet<u32>) -> impl Iterator<Item = (Svma, u32)> {
        let of_units = self.entries.iter().filter(|(unit, _)| units.contains(unit));
        of_units.flat_map(|(unit, entries)| entries.iter().map(|&entry| (entry, *unit)))
    }

    /// Of each of these names: a hash of which unit has which declarations of it. Units of Rust's are parts of a crate that change with what is
    /// used; a name has one meaning in all of them.
    pub(super) fn spread(
        &self,
        info: &DebugInfo<'_>,
        keys: &HashSet<(Kind, u64)>,
    ) -> HashMap<(Kind, u64), u64, FixedState> {
        let wanted: Vec<bool> = self.shapes.iter().map(|s| keys.contains(&(s.kind, s.key))).collect();
        let mut out: HashMap<(Kind, u64), u64, FixedState> = HashMap::default();
        for places in self.places.iter().filter(|p| !info.producer(UnitId(p.of)).contains("rustc")) {
            let unit_key = of_bytes(info.name_at(places.of).as_bytes());
            for &(id, _) in places.list.iter().filter(|(id, _)| wanted[*id as usize]) {
                let shaped = self.shapes[id as usize];
                let sum = out.entry((shaped.kind, shaped.key)).or_default();
                *sum = sum.wrapping_add(hash_of(|h| (unit_key, shaped.shape, shaped.vtable).hash(h)));
            }
        }
        out
    }

    /// The declarations with these keys, unit by unit, sorted.
    pub(super) fn entries(&self, info: &DebugInfo<'_>, keys: &HashSet<(Kind, u64)>) -> Vec<Entry> {
        let wanted: Vec<bool> = self.shapes.iter().map(|s| keys.contains(&(s.kind, s.key))).collect();
        let mut out = Vec::new();
        for places in &self.places {
            let unit_key = of_bytes(info.name_at(places.of).as_bytes());
            for &(id, offset) in places.list.iter().filter(|(id, _)| wanted[*id as usize]) {
                let Shaped { kind, key, shape, vtable } = self.shapes[id as usize];
                let at = DieRef { unit: places.unit, offset };
                out.push(Entry { kind, key, unit_key, shape, vtable, at });
            }
        }
        out.sort_unstable();
        out
    }
}

/// Reads a unit. Partial units count as parts of those that import them: a supplementary file has those of other programs too.
fn unit<'i>(info: &DebugInfo<'i>, unit: u32, spare: &Spare<'i>) -> Result<Read, ImageError> {
    if info.units[unit as usize].partial {
        return Ok(Read::nothing());
    }
    let read = info.with_table(unit, Reading::Survey, spare, |table| surveyed(info, unit, table));
    read.map_err(|e| crate::dwarf::malformed(info.path(), e))?
}

/// What the entries of a unit, and of those that it imports, declare.
fn surveyed<'i>(info: &DebugInfo<'i>, unit: u32, table: &Table<'i>) -> Result<Read, ImageError> {
    let mut out = Read::nothing();
    let view = View { info, unit, local: table, reading: Reading::Survey };
    let imported = info.imported(table, Reading::Survey);
    if info.units[unit as usize].full {
        view.variables(unit, &mut out.variables);
        for &part in &imported {
            View::kept(info, part, Reading::Survey).variables(unit, &mut out.variables);
        }
    }
    let mut shapes = Shapes::new(view);
    out.found.push((unit, declarations(&mut shapes)));
    out.parts = variable_parts(&mut shapes);
    let mut broken = shapes.broken;
    out.note_pointers_to_members(&mut shapes);
    out.elsewhere = info.is_entangled() || info.refers_elsewhere(unit);
    out.entries = entries(table).map(|(_, entry)| entry).collect();
    out.untyped = untyped(&mut shapes);
    let parts = imported.iter().map(|&part| info.table(part, Reading::Survey));
    let all = || std::iter::once(table).chain(parts.clone());
    out.known = known(all());
    out.bare = info.units[unit as usize].full && !all().any(has_types);
    for part in imported {
        let mut shapes = Shapes::new(View::kept(info, part, Reading::Survey));
        out.found.push((part, declarations(&mut shapes)));
        broken |= shapes.broken;
        out.note_pointers_to_members(&mut shapes);
    }
    if broken {
        return Err(ImageError {
            code: codes::DWARF_MALFORMED,
            path: info.path().to_path_buf(),
            what: format!("a type of unit {} refers to an entry that isn't there", info.name_at(unit)),
        });
    }
    Ok(out)
}

/// Where functions with code begin, with their entries in the table.
fn entries<'t>(table: &'t Table<'_>) -> impl Iterator<Item = (u32, Svma)> + 't {
    let functions = table.tagged(|tag| tag == dw::DW_TAG_subprogram).filter(|(_, n)| n.code);
    functions.filter_map(|(i, n)| match n.home? {
        Home::At(entry) => Some((i, entry)),
        Home::Tls(_) => None,
    })
}

/// Where functions begin that [take bytes](takes_bytes).
fn untyped(shapes: &mut Shapes<'_, '_>) -> Vec<Svma> {
    let (table, unit) = (shapes.view.local, shapes.view.unit);
    let all = entries(table).filter(|&(i, _)| takes_bytes(shapes, DieRef { unit, offset: table.node(i).offset }));
    all.map(|(_, entry)| entry).collect()
}

/// Whether a function has several parameters, one of them a `const void *`, or a `void *` that it doesn't take and give back as `realloc` does.
pub(super) fn takes_bytes(shapes: &mut Shapes<'_, '_>, at: DieRef) -> bool {
    let declared = shapes.view.declared(at);
    let Some((of, index)) = declared.and_then(|(at, _)| shapes.view.get(at)) else { return false };
    let parameters: Vec<_> =
        of.children(index).map(|c| of.node(c)).filter(|n| n.tag == dw::DW_TAG_formal_parameter).collect();
    // None: no such pointer; else whether it is to constants.
    let mut to_void = |ty| {
        let pointer = shapes.bare(ty).filter(|b| b.node().tag == dw::DW_TAG_pointer_type)?;
        let target = pointer.node().ty;
        if shapes.bare(target).is_some() {
            return None;
        }
        Some(target.and_then(|at| shapes.view.node(at)).is_some_and(|n| n.tag == dw::DW_TAG_const_type))
    };
    let gives_back = to_void(of.node(index).ty) == Some(false);
    let taken: Vec<bool> = parameters.iter().filter_map(|n| to_void(n.ty)).collect();
    let is_pointer = |n: &&&Node<'_>| shapes.bare(n.ty).is_some_and(|b| b.node().tag == dw::DW_TAG_pointer_type);
    let reallocates = gives_back && taken == [false] && parameters.iter().filter(is_pointer).count() == 1;
    parameters.len() > 1 && !taken.is_empty() && !reallocates
}

fn short_hash(name: &[u8]) -> u32 {
    of_bytes(name) as u32
}

/// Hashes of the names that types have, be they defined there or only declared.
fn known<'t, 'i: 't>(tables: impl Iterator<Item = &'t Table<'i>>) -> Vec<u32> {
    let named = tables.flat_map(|table| table.tagged(|tag| is_aggregate(tag) || tag == dw::DW_TAG_typedef));
    let mut out: Vec<u32> = named.map(|(_, n)| short_hash(n.name.bytes())).collect();
    out.sort_unstable();
    out.dedup();
    out.shrink_to_fit();
    out
}

fn variable_parts(shapes: &mut Shapes<'_, '_>) -> Vec<VariablePart> {
    let (table, unit, info) = (shapes.view.local, shapes.view.unit, shapes.view.info);
    let unit_key = of_bytes(info.name_at(unit).as_bytes());
    let mut out = Vec::new();
    for (_, node) in table.tagged(|tag| tag == dw::DW_TAG_variable) {
        let location = table.rare(node).pieces;
        if location.is_empty() {
            continue;
        }
        let here = DieRef { unit, offset: node.offset };
        let Some((_, decl)) = shapes.view.declared(here) else { continue };
        let Some(key) = shapes.scopes.key(&shapes.view, here) else { continue };
        let of = (unit_key, key, shapes.value(node.ty.or(decl.ty), 0));
        let all = info.pieces(unit, location).into_iter();
        out.extend(all.map(|p| VariablePart { of, offset: p.offset, size: p.size, svma: p.svma }));
    }
    out
}

/// Declarations in the unit of `shapes`, with their offsets.
fn declarations(shapes: &mut Shapes<'_, '_>) -> Vec<(Shaped, u32)> {
    let (table, unit) = (shapes.view.local, shapes.view.unit);
    let here = |i: u32| DieRef { unit, offset: table.node(i).offset };
    let mut out = Vec::new();
    let mut push = |kind, key, shape, vtable, at: DieRef| out.push((Shaped { kind, key, shape, vtable }, at.offset));

    let mut aliased: HashSet<DieRef, FixedState> = HashSet::default();
    let declares = |tag| {
        let others = [dw::DW_TAG_typedef, dw::DW_TAG_enumeration_type, dw::DW_TAG_subprogram, dw::DW_TAG_variable];
        is_aggregate(tag) || others.contains(&tag)
    };
    for (i, node) in table.tagged(declares) {
        match node.tag {
            dw::DW_TAG_typedef => {
                let Some(b) = shapes.bare(Some(here(i))) else { continue };
                let named = shapes.view.declared(b.at).is_some();
                let of_types = is_aggregate(b.node().tag) || b.node().tag == dw::DW_TAG_enumeration_type;
                // Only the typedef that names the type itself: a typedef of a typedef adds nothing.
                if named || !of_types || b.node().declaration || b.alias != Some(here(i)) {
                    continue;
                }
                aliased.insert(b.at);
                if let Some(name) = shapes.scopes.key(&shapes.view, here(i)) {
                    let (shape, vtable) = type_shape(shapes, b.at);
                    push(Kind::Type, name, shape, vtable, here(i));
                }
            }
            tag if (is_aggregate(tag) || tag == dw::DW_TAG_enumeration_type) && !node.declaration => {
                if let Some(name) = shapes.scopes.key(&shapes.view, here(i)) {
                    let (shape, vtable) = type_shape(shapes, here(i));
                    push(Kind::Type, name, shape, vtable, here(i));
                }
            }
            dw::DW_TAG_subprogram if node.code => {
                let name = match super::linkage(&shapes.view, here(i)) {
                    None => continue,
                    Some(b"") => shapes.scopes.key(&shapes.view, here(i)),
                    Some(linkage) => Some(of_bytes(linkage)),
                };
                if let (Some(name), Some(shape)) = (name, shapes.prototype(here(i))) {
                    push(Kind::Function, name, shape, 0, here(i));
                }
            }
            dw::DW_TAG_variable if matches!(node.home, Some(Home::At(_) | Home::Tls(_))) => {
                let Some((_, decl)) = shapes.view.declared(here(i)) else { continue };
                let ty = node.ty.or(decl.ty);
                if let Some(name) = shapes.scopes.key(&shapes.view, here(i)) {
                    let shape = shapes.value(ty, 0);
                    push(Kind::Variable, name, shape, 0, here(i));
                }
            }
            _ => {}
        }
    }
    // What has no name is found by its layout, where a pointer leads to one: a unit has it in both builds, or in one of them.
    for (_, pointer) in table.tagged(|tag| tag == dw::DW_TAG_pointer_type) {
        let Some(b) = shapes.bare(pointer.ty).filter(|b| b.at.unit == unit && is_aggregate(b.node().tag)) else {
            continue;
        };
        let named = b.alias.is_some() || aliased.contains(&b.at) || shapes.view.declared(b.at).is_some();
        if named || b.node().declaration || super::name::is_closure(table, b.index) {
            continue;
        }
        let scope = shapes.scopes.around(&shapes.view, b.at, 0).unwrap_or(super::hash::TOP);
        let (shape, vtable) = type_shape(shapes, b.at);
        push(Kind::Nameless, hash_of(|h| (32u8, scope, shape, vtable).hash(h)), shape, vtable, b.at);
    }
    for (i, _) in table.tagged(|tag| tag == dw::DW_TAG_enumeration_type) {
        if aliased.contains(&here(i)) {
            continue;
        }
        if shapes.view.declared(here(i)).is_some() {
            continue;
        }
        let scope = shapes.scopes.around(&shapes.view, here(i), 0).unwrap_or(super::hash::TOP);
        for c in table.children(i).filter(|&c| table.node(c).tag == dw::DW_TAG_enumerator) {
            let constant = table.node(c);
            let key = inside(scope, of_bytes(constant.name.bytes()));
            push(Kind::Constant, key, hash_of(|h| constant.value().hash(h)), 0, here(c));
        }
    }
    out
}

fn type_shape(shapes: &mut Shapes<'_, '_>, at: DieRef) -> (u64, u64) {
    let Some(b) = shapes.bare(Some(at)) else { return (0, 0) };
    if b.node().tag == dw::DW_TAG_enumeration_type {
        let values = shapes.enumerators_hash(&b);
        return (hash_of(|h| (30u8, b.node().size(), values).hash(h)), 0);
    }
    let layout = shapes.layout(at, 0);
    (hash_of(|h| (31u8, layout).hash(h)), shapes.vtable(at, 0))
}
