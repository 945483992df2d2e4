//! Pairs the declarations of two builds and says how they differ.

use super::index::{Entry, Kind, Shaped, Survey};
use super::shape::{Bare, Field, Shapes, enumerators};
use super::{
    EnumChange, FieldAt, FieldChange, LayoutChange, ProtoChange, Stored, TypeDiff, TypeKind, VarChange, name, renamed,
    storage,
};
use crate::addr::Svma;
use crate::dwarf::die::Home;
use crate::dwarf::vars::{View, text};
use crate::dwarf::{DebugInfo, DieRef, Reading, Spare, Table};
use gimli::constants as dw;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// One declaration in both builds that differs.
struct Differing {
    kind: Kind,
    old: Entry,
    new: Entry,
    /// Units that declare it so.
    units: BTreeSet<String>,
    ambiguous: bool,
    /// Each unit shows the change by itself.
    by_unit: bool,
}

pub(super) fn diff(old: &DebugInfo<'_>, a: &Survey, new: &DebugInfo<'_>, b: &Survey) -> TypeDiff {
    let mut out = TypeDiff::default();
    let mut keys = Keys::of(a, b);
    keys.add_exchanged((old, a), (new, b));
    out.compared = keys.common;
    let (mut gone, mut come) = (a.entries(old, &keys.gone), b.entries(new, &keys.come));
    keep_own(&mut gone, &mut come);
    let (a, b) = (a.entries(old, &keys.differing), b.entries(new, &keys.differing));
    gone.extend(gone_beside(&a, &b));
    gone.sort_unstable();
    let mut differing: Vec<Differing> = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (ka, kb) = ((a[i].kind, a[i].key), (b[j].kind, b[j].key));
        let end_a = i + a[i..].partition_point(|e| (e.kind, e.key) <= ka);
        let end_b = j + b[j..].partition_point(|e| (e.kind, e.key) <= kb);
        match ka.cmp(&kb) {
            std::cmp::Ordering::Less => i = end_a,
            std::cmp::Ordering::Greater => j = end_b,
            std::cmp::Ordering::Equal => {
                group(&a[i..end_a], new, &b[j..end_b], &mut differing);
                (i, j) = (end_a, end_b);
            }
        }
    }
    let mut constants: BTreeMap<BTreeSet<String>, EnumChange> = BTreeMap::new();
    for change in describe(old, new, differing) {
        match change {
            Change::Layout(change) => out.layouts.push(change),
            Change::Enum(change) => out.enums.push(change),
            Change::Constant(units, ambiguous, values) => constant(units, ambiguous, values, &mut constants),
            Change::Prototype(change) if !only_moved(&change) => out.prototypes.push(change),
            Change::Prototype(_) => {}
            Change::Variable(change) => out.variables.push(change),
        }
    }
    out.enums.extend(constants.into_values());
    renamed::add((old, &gone), (new, &come), &mut out);
    innermost(&mut out.layouts);
    out.layouts.sort();
    out.enums.sort();
    out.prototypes.sort();
    out.variables.sort();
    out
}

/// Whether nothing differs but where lambdas stand in the source, which clang makes part of their names.
fn only_moved(change: &ProtoChange) -> bool {
    let [old, new] = [&change.old, &change.new].map(|text| name::without_places(text));
    old == new && !old.contains("(unnamed)")
}

/// One difference, described.
enum Change {
    Layout(LayoutChange),
    Enum(EnumChange),
    /// Units, whether it is ambiguous, name, old and new value.
    Constant(BTreeSet<String>, bool, (String, i64, i64)),
    Prototype(ProtoChange),
    Variable(VarChange),
}

/// The same order as in `differing`; what can't be found again is left out. Units are read two at a time.
fn describe(old: &DebugInfo<'_>, new: &DebugInfo<'_>, differing: Vec<Differing>) -> Vec<Change> {
    let mut by_units: BTreeMap<(u32, u32), Vec<(usize, Differing)>> = BTreeMap::new();
    for (i, d) in differing.into_iter().enumerate() {
        by_units.entry((d.old.at.unit, d.new.at.unit)).or_default().push((i, d));
    }
    let (spare_old, spare_new) = (Spare::default(), Spare::default());
    let of_units = |((a, b), group): ((u32, u32), Vec<(usize, Differing)>)| {
        with_unit(old, a, &spare_old, |x| {
            with_unit(new, b, &spare_new, |y| {
                let (mut x, mut y) = (Shapes::new(x), Shapes::new(y));
                let one = |(i, d)| Some((i, describe_one(&mut x, &mut y, d)?));
                group.into_iter().filter_map(one).collect::<Vec<_>>()
            })
        })
    };
    let mut all: Vec<(usize, Change)> = by_units.into_par_iter().flat_map_iter(of_units).collect();
    all.sort_unstable_by_key(|(i, _)| *i);
    all.into_iter().map(|(_, change)| change).collect()
}

pub(super) fn with_unit<'i, T>(
    info: &DebugInfo<'i>,
    unit: u32,
    spare: &Spare<'i>,
    f: impl FnOnce(View<'_, 'i>) -> T,
) -> T {
    if info.is_entangled() {
        return f(View::kept(info, unit, Reading::Full));
    }
    spare.with(|table| {
        if info.read_into(unit, Reading::Full, table).is_err() {
            // The survey read it, and reported what is wrong with it.
            *table = Table::default();
        }
        let out = f(View { info, unit, local: table, reading: Reading::Full });
        info.give_back(unit);
        out
    })
}

fn describe_one(x: &mut Shapes<'_, '_>, y: &mut Shapes<'_, '_>, d: Differing) -> Option<Change> {
    match d.kind {
        Kind::Type | Kind::Nameless => describe_type(x, y, d),
        Kind::Constant => {
            let (a, b) = (x.view.node(d.old.at)?, y.view.node(d.new.at)?);
            let [was, is] = [a.value(), b.value()].map(|v| v.unwrap_or(0).cast_signed());
            Some(Change::Constant(d.units, d.ambiguous, (text(b.name.bytes()), was, is)))
        }
        Kind::Function => Some(Change::Prototype(prototype(x, y, d))),
        Kind::Variable => Some(Change::Variable(variable(x, y, (d.old.at, d.new.at), d.units, d.ambiguous))),
    }
}

/// Names of declarations.
#[derive(Default)]
struct Keys {
    /// How many both builds have.
    common: usize,
    /// Those of them whose declarations aren't all the same.
    differing: HashSet<(Kind, u64)>,
    /// Others with several declarations: which unit has which may differ.
    several: HashSet<(Kind, u64)>,
    /// Types that only the old build has, and only the new one; all without a name: whether a unit has them in one build only, the units say.
    gone: HashSet<(Kind, u64)>,
    come: HashSet<(Kind, u64)>,
}

impl Keys {
    fn of(a: &Survey, b: &Survey) -> Keys {
        let sorted = |s: &Survey| -> Vec<Shaped> {
            let mut all = s.shapes.clone();
            all.sort_unstable();
            all
        };
        let (a, b) = rayon::join(|| sorted(a), || sorted(b));
        let name = |s: &Shaped| (s.kind, s.key);
        let mut rest = b.as_slice();
        let mut out = Keys::default();
        let of_types = |k: &(Kind, u64)| matches!(k.0, Kind::Type | Kind::Nameless);
        let types_in = |passed: &[Shaped]| passed.iter().map(name).filter(of_types).collect::<Vec<_>>();
        for mine in a.chunk_by(|x, y| name(x) == name(y)) {
            let key = name(&mine[0]);
            let (passed, left) = rest.split_at(rest.partition_point(|s| name(s) < key));
            out.come.extend(types_in(passed));
            let (theirs, left) = left.split_at(left.partition_point(|s| name(s) == key));
            rest = left;
            if theirs.is_empty() {
                out.gone.extend(Some(key).filter(of_types));
                continue;
            }
            if key.0 == Kind::Nameless {
                out.gone.insert(key);
                out.come.insert(key);
            }
            out.common += 1;
            if mine != theirs {
                out.differing.insert(key);
            } else if mine.len() > 1 {
                out.several.insert(key);
            }
        }
        out.come.extend(types_in(rest));
        out
    }

    /// Adds names of which a unit has one declaration in the old build and another in the new one, though each is in both builds.
    fn add_exchanged(&mut self, (old, a): (&DebugInfo<'_>, &Survey), (new, b): (&DebugInfo<'_>, &Survey)) {
        if self.several.is_empty() {
            return;
        }
        let (was, is) = (a.spread(old, &self.several), b.spread(new, &self.several));
        self.differing.extend(self.several.iter().filter(|&key| was.get(key) != is.get(key)));
    }
}

/// Drops types without a name of which the unit has as many in the other build.
fn keep_own(gone: &mut Vec<Entry>, come: &mut Vec<Entry>) {
    let counts = |entries: &mut Vec<Entry>| {
        // One for each pointer that leads there.
        entries.dedup();
        let mut counts: HashMap<(u64, u64), usize> = HashMap::new();
        for e in entries.iter().filter(|e| e.kind == Kind::Nameless) {
            *counts.entry((e.key, e.unit_key)).or_default() += 1;
        }
        counts
    };
    let (was, is) = (counts(gone), counts(come));
    let more = |e: &Entry, here: &HashMap<_, usize>, there: &HashMap<_, usize>| {
        let key = (e.key, e.unit_key);
        e.kind != Kind::Nameless || here.get(&key) > there.get(&key)
    };
    gone.retain(|e| more(e, &was, &is));
    come.retain(|e| more(e, &is, &was));
}

/// Types that a unit has no more, of whose name others have and keep another one.
fn gone_beside(a: &[Entry], b: &[Entry]) -> Vec<Entry> {
    let shape = |e: &Entry| (e.key, e.shape, e.vtable);
    let (was, is): (HashSet<_>, HashSet<_>) = (a.iter().map(shape).collect(), b.iter().map(shape).collect());
    let changed: HashSet<u64> = b.iter().filter(|&e| !was.contains(&shape(e))).map(|e| e.key).collect();
    let mut left: HashMap<(u64, u64), usize> = HashMap::new();
    b.iter().for_each(|e| *left.entry((e.key, e.unit_key)).or_default() += 1);
    for e in a.iter().filter(|&e| is.contains(&shape(e))) {
        left.entry((e.key, e.unit_key)).and_modify(|left| *left = left.saturating_sub(1));
    }
    let another = |e: &&Entry| left.get(&(e.key, e.unit_key)).is_some_and(|&left| left > 0);
    let gone = a.iter().filter(|&e| e.kind == Kind::Type && !is.contains(&shape(e)) && !changed.contains(&e.key));
    gone.filter(|e| !another(e)).copied().collect()
}

type Shape = (u64, u64);

fn shapes_of(entries: &[Entry]) -> BTreeMap<Shape, Entry> {
    let mut out = BTreeMap::new();
    for e in entries {
        out.entry((e.shape, e.vtable)).or_insert(*e);
    }
    out
}

/// All declarations of one name. Same-named types of different units are told apart by their unit.
fn group(a: &[Entry], new: &DebugInfo<'_>, b: &[Entry], out: &mut Vec<Differing>) {
    let (all_a, all_b) = (shapes_of(a), shapes_of(b));
    let mut found: HashMap<(Shape, Shape), Differing> = HashMap::new();
    let mut add = |old: &Entry, new: &Entry, unit: String, ambiguous: bool, by_unit: bool| {
        let key = ((old.shape, old.vtable), (new.shape, new.vtable));
        let d = found.entry(key).or_insert_with(|| Differing {
            kind: old.kind,
            old: *old,
            new: *new,
            units: BTreeSet::new(),
            ambiguous: false,
            by_unit,
        });
        d.ambiguous |= ambiguous;
        d.by_unit &= by_unit;
        d.units.insert(unit);
    };
    let by_unit = |entries: &[Entry]| {
        let mut units: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
        for e in entries {
            units.entry(e.unit_key).or_default().push(*e);
        }
        units
    };
    let (units_a, units_b) = (by_unit(a), by_unit(b));
    // A unit that declares it in one build only doesn't show how it changed there.
    let everywhere = units_a.keys().eq(units_b.keys());
    let mut paired = false;
    for (unit, in_a) in &units_a {
        let Some(in_b) = units_b.get(unit) else { continue };
        let (a, b) = (shapes_of(in_a), shapes_of(in_b));
        // Counted: several units may have one name.
        let count = |entries: &[Entry], shape: &Shape| entries.iter().filter(|e| (e.shape, e.vtable) == *shape).count();
        let gone: Vec<&Entry> = a.iter().filter(|(k, _)| count(in_a, k) > count(in_b, k)).map(|(_, e)| e).collect();
        let come: Vec<&Entry> = b.iter().filter(|(k, _)| count(in_b, k) > count(in_a, k)).map(|(_, e)| e).collect();
        paired |= !gone.is_empty() && !come.is_empty();
        // Several of one name in one unit (in different blocks of a function, say): paired in order, and said so.
        let ambiguous = gone.len() > 1 || come.len() > 1 || gone.len() != come.len();
        for (x, y) in gone.iter().zip(&come) {
            add(x, y, new.name_at(y.at.unit).to_owned(), ambiguous, everywhere);
        }
    }
    if !paired {
        // No unit shows the change by itself. When a shape is common to both builds, another one merely came or went with its unit, unless
        // the one that came has no unit of the old build that could say so.
        let common = all_a.keys().any(|k| all_b.contains_key(k));
        let gone = all_a.iter().find(|(k, _)| !all_b.contains_key(k)).map(|(_, e)| e);
        let come = all_b.iter().find(|(k, _)| !all_a.contains_key(k)).map(|(_, e)| e);
        let first = all_a.values().next();
        if let (Some(come), Some(from)) = (come, gone.or(first)) {
            let local = come.kind != Kind::Type && common;
            if !local {
                let several = common || all_a.len() > 1 || all_b.len() > 1;
                add(from, come, new.name_at(come.at.unit).to_owned(), several, false);
            }
        }
    }
    let mut found: Vec<Differing> = found.into_values().collect();
    found.sort_by_key(|d| (d.old, d.new));
    out.extend(found);
}

pub(super) fn kind_of(b: &Bare<'_, '_>) -> TypeKind {
    match b.node().tag {
        dw::DW_TAG_class_type | dw::DW_TAG_interface_type => TypeKind::Class,
        dw::DW_TAG_union_type => TypeKind::Union,
        dw::DW_TAG_enumeration_type => TypeKind::Enum,
        _ => TypeKind::Struct,
    }
}

pub(super) fn place(view: &View<'_, '_>, at: DieRef) -> Option<String> {
    let node = view.node(at)?;
    if node.line == 0 {
        return None;
    }
    let file = view.info.file_name(at.unit, node.file)?;
    Some(format!("{file}:{}", node.line))
}

fn describe_type(x: &mut Shapes<'_, '_>, y: &mut Shapes<'_, '_>, d: Differing) -> Option<Change> {
    let (a, b) = (x.bare(Some(d.old.at))?, y.bare(Some(d.new.at))?);
    let (old_kind, new_kind) = (kind_of(&a), kind_of(&b));
    let name = name::qualified(&y.view, d.new.at).unwrap_or_default();
    // Type units have no name.
    let nameless = d.units.contains("");
    let units: Vec<String> = d.units.into_iter().collect();
    let place = place(&y.view, b.at).or_else(|| place(&y.view, d.new.at));
    if old_kind == TypeKind::Enum && new_kind == TypeKind::Enum {
        let mut e = EnumChange {
            name,
            units,
            place,
            old_size: a.node().size(),
            new_size: b.node().size(),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
            ambiguous: d.ambiguous,
        };
        compare_constants(&enumerators(&a), &enumerators(&b), &mut e);
        return Some(Change::Enum(e));
    }
    let mut change = layout_change(x, a.at, y, b.at, name, units, d.by_unit && !nameless);
    change.place = place;
    change.only_vtable = d.old.shape == d.new.shape;
    change.vtable = (d.old.vtable != d.new.vtable).then(|| {
        let names = |v: Vec<(u64, String)>| v.into_iter().map(|(_, n)| n).collect();
        (names(x.virtuals(a.at)), names(y.virtuals(b.at)))
    });
    change.ambiguous = d.ambiguous;
    change.same_storage &= !d.ambiguous && change.vtable.is_none();
    change.detail = detail(&change);
    Some(Change::Layout(change))
}

/// Of two aggregates, apart from their virtual functions.
pub(super) fn layout_change(
    x: &mut Shapes<'_, '_>,
    a: DieRef,
    y: &mut Shapes<'_, '_>,
    b: DieRef,
    name: String,
    units: Vec<String>,
    all_units: bool,
) -> LayoutChange {
    let of = |shapes: &mut Shapes<'_, '_>, at| {
        let bare = shapes.bare(Some(at));
        bare.map_or((TypeKind::Struct, None, 0), |b| (kind_of(&b), b.node().size(), b.table.rare(b.node()).alignment))
    };
    let ((old_kind, old_size, old_alignment), (new_kind, new_size, new_alignment)) = (of(x, a), of(y, b));
    let fields = compare_fields(x, a, y, b);
    let mut causes: Vec<String> = fields.iter().filter_map(|f| f.by_value.clone()).collect();
    causes.sort();
    causes.dedup();
    let alike = (old_kind, old_size, old_alignment) == (new_kind, new_size, new_alignment);
    let mut change = LayoutChange {
        name,
        old_kind,
        new_kind,
        units,
        place: place(&y.view, b),
        old_size,
        new_size,
        fields,
        vtable: None,
        only_vtable: false,
        same_storage: alike && storage::same(x, a, y, b),
        causes,
        ambiguous: false,
        all_units,
        detail: String::new(),
    };
    change.detail = detail(&change);
    change
}

fn field_at(shapes: &mut Shapes<'_, '_>, f: &Field) -> FieldAt {
    let (offset, bits) = match (f.at, f.bits) {
        (Some(at), 0) => (Some(at / 8), (at % 8, 0)),
        (Some(at), width) => (Some(at / 8), (at % 8, width)),
        (None, width) => (None, (0, width)),
    };
    FieldAt { offset, bits, size: shapes.size(f.ty), ty: name::render(shapes, f.ty) }
}

fn compare_fields(x: &mut Shapes<'_, '_>, a: DieRef, y: &mut Shapes<'_, '_>, b: DieRef) -> Vec<FieldChange> {
    let (old, new) = (x.fields(a, 0), y.fields(b, 0));
    let mut left: BTreeMap<&str, Vec<&Field>> = BTreeMap::new();
    for f in &old {
        left.entry(&f.name).or_default().push(f);
    }
    // Unnamed bit-fields and the like share a name: they pair in order.
    for list in left.values_mut() {
        list.reverse();
    }
    let mut out = Vec::new();
    for f in &new {
        let Some(o) = left.get_mut(f.name.as_str()).and_then(Vec::pop) else {
            out.push(FieldChange { name: f.name.clone(), old: None, new: Some(field_at(y, f)), by_value: None });
            continue;
        };
        let same_type = x.value(o.ty, 0) == y.value(f.ty, 0);
        if same_type && (o.at, o.bits) == (f.at, f.bits) {
            continue;
        }
        let same_mention = !same_type && x.mention(o.ty, 0) == y.mention(f.ty, 0);
        let by_value = same_mention.then(|| innermost_type(y, f.ty)).flatten();
        let (was, is) = (field_at(x, o), field_at(y, f));
        out.push(FieldChange { name: f.name.clone(), old: Some(was), new: Some(is), by_value });
    }
    for f in left.into_values().flatten() {
        out.push(FieldChange { name: f.name.clone(), old: Some(field_at(x, f)), new: None, by_value: None });
    }
    out.sort_by_key(|f| {
        let place = |at: &Option<FieldAt>| at.as_ref().map(|a| (a.offset, a.bits));
        (place(&f.new).or(place(&f.old)), place(&f.old), f.name.clone())
    });
    out
}

/// The name of the aggregate that a member of type `ty` holds by value.
fn innermost_type(shapes: &mut Shapes<'_, '_>, ty: Option<DieRef>) -> Option<String> {
    let mut b = shapes.bare(ty)?;
    while b.node().tag == dw::DW_TAG_array_type {
        b = shapes.bare(b.node().ty)?;
    }
    let at = if shapes.view.declared(b.at).is_some() { b.at } else { b.alias? };
    name::qualified(&shapes.view, at)
}

/// Replaces each cause by what caused it in turn, so that the report names the types that were edited.
fn innermost(layouts: &mut [LayoutChange]) {
    let causes: BTreeMap<String, Vec<String>> = layouts.iter().map(|l| (l.name.clone(), l.causes.clone())).collect();
    for l in layouts {
        let (mut todo, mut seen, mut roots) = (l.causes.clone(), BTreeSet::new(), BTreeSet::new());
        while let Some(name) = todo.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            match causes.get(&name) {
                Some(inner) if !inner.is_empty() => todo.extend(inner.iter().cloned()),
                _ => {
                    roots.insert(name);
                }
            }
        }
        l.causes = roots.into_iter().collect();
        if !l.causes.is_empty() {
            l.detail = format!("{}; because of {}", l.detail, l.causes.join(", "));
        }
    }
}

fn detail(l: &LayoutChange) -> String {
    let size = |s: Option<u64>| s.map_or("?".into(), |n| n.to_string());
    let mut parts = Vec::new();
    if l.old_kind != l.new_kind {
        parts.push(format!("was a {}, is a {}", l.old_kind.word(), l.new_kind.word()));
    }
    if l.old_size != l.new_size {
        parts.push(format!("size {} -> {}", size(l.old_size), size(l.new_size)));
    }
    if let Some(f) = l.fields.first() {
        let at = |a: &FieldAt| a.offset.map_or("?".into(), |o| o.to_string());
        parts.push(match (&f.old, &f.new) {
            (None, Some(n)) => format!("{} added at {} ({})", f.name, at(n), n.ty),
            (Some(o), None) => format!("{} removed from {} ({})", f.name, at(o), o.ty),
            (Some(o), Some(n)) if o.ty != n.ty => format!("{} at {} was {}, is {}", f.name, at(o), o.ty, n.ty),
            (Some(o), Some(n)) if o.offset != n.offset || o.bits != n.bits => {
                format!("{} moved from {} to {}", f.name, at(o), at(n))
            }
            (Some(o), _) => format!("{} at {} ({}) changed inside", f.name, at(o), o.ty),
            (None, None) => f.name.clone(),
        });
        if l.fields.len() > 1 {
            let more = l.fields.len() - 1;
            parts.push(format!("{more} more member{}", if more == 1 { "" } else { "s" }));
        }
    }
    if l.vtable.is_some() {
        parts.push("virtual functions changed".into());
    }
    if parts.is_empty() {
        parts.push("bases or members in another order".into());
    }
    parts.join(", ")
}

pub(super) fn compare_constants(old: &[(&[u8], u64)], new: &[(&[u8], u64)], out: &mut EnumChange) {
    let signed = |v: u64| v.cast_signed();
    let before: BTreeMap<&[u8], u64> = old.iter().copied().collect();
    let after: BTreeMap<&[u8], u64> = new.iter().copied().collect();
    for (name, &value) in &after {
        match before.get(name) {
            None => out.added.push((text(name), signed(value))),
            Some(&was) if was != value => out.changed.push((text(name), signed(was), signed(value))),
            Some(_) => {}
        }
    }
    out.removed = before.iter().filter(|(n, _)| !after.contains_key(*n)).map(|(n, &v)| (text(n), signed(v))).collect();
}

/// Constants of enums without a name, gathered by the units that have them.
fn constant(
    units: BTreeSet<String>,
    ambiguous: bool,
    values: (String, i64, i64),
    out: &mut BTreeMap<BTreeSet<String>, EnumChange>,
) {
    let change = out.entry(units.clone()).or_insert_with(|| EnumChange {
        name: String::new(),
        units: units.into_iter().collect(),
        place: None,
        old_size: None,
        new_size: None,
        added: Vec::new(),
        removed: Vec::new(),
        changed: Vec::new(),
        ambiguous: false,
    });
    change.ambiguous |= ambiguous;
    change.changed.push(values);
    change.changed.sort();
}

fn prototype(x: &mut Shapes<'_, '_>, y: &mut Shapes<'_, '_>, d: Differing) -> ProtoChange {
    let external =
        y.view.node(d.new.at).is_some_and(|n| n.external) || y.view.declared(d.new.at).is_some_and(|(_, n)| n.external);
    let declared = y.view.declared(d.new.at).map_or(d.new.at, |(at, _)| at);
    let calls = x.call(d.old.at).zip(y.call(d.new.at));
    ProtoChange {
        symbol: super::function_key(&y.view, d.new.at).unwrap_or_default(),
        external,
        units: d.units.into_iter().collect(),
        place: place(&y.view, d.new.at).or_else(|| place(&y.view, declared)),
        old: name::prototype(x, d.old.at),
        new: name::prototype(y, d.new.at),
        same_call: !d.ambiguous && calls.is_some_and(|(was, is)| was == is) && !x.broken && !y.broken,
        ambiguous: d.ambiguous,
    }
}

pub(super) fn variable(
    x: &mut Shapes<'_, '_>,
    y: &mut Shapes<'_, '_>,
    (a, b): (DieRef, DieRef),
    units: BTreeSet<String>,
    ambiguous: bool,
) -> VarChange {
    let side = |shapes: &mut Shapes<'_, '_>, at: DieRef| {
        let ty = type_of(&shapes.view, at);
        let (home, tls) = match shapes.view.node(at).and_then(|n| n.home) {
            Some(Home::At(a)) => (a, false),
            Some(Home::Tls(offset)) => (Svma(offset), true),
            None => (Svma(0), false),
        };
        let name = name::qualified(&shapes.view, at).unwrap_or_default();
        (name, name::render(shapes, ty), shapes.size(ty), home, tls)
    };
    let (_, old_type, old_size, old_at, _) = side(x, a);
    let (name, new_type, new_size, new_at, tls) = side(y, b);
    let stored = stored(x, a, y, b);
    let declared = y.view.declared(b).map_or(b, |(at, _)| at);
    VarChange {
        name,
        units: units.into_iter().collect(),
        place: place(&y.view, b).or_else(|| place(&y.view, declared)),
        old_type,
        new_type,
        old_size,
        new_size,
        old_at,
        new_at,
        tls,
        stored,
        ambiguous,
    }
}

fn stored(x: &mut Shapes<'_, '_>, a: DieRef, y: &mut Shapes<'_, '_>, b: DieRef) -> Stored {
    let (was, is) = (type_of(&x.view, a), type_of(&y.view, b));
    if x.mention(was, 0) == y.mention(is, 0) {
        return Stored::Inside;
    }
    let (Some(was), Some(is)) = (x.bare(was), y.bare(is)) else { return Stored::Otherwise };
    let same = was.node().size() == is.node().size() && storage::same(x, was.at, y, is.at);
    if same { Stored::Same } else { Stored::Otherwise }
}

/// Of a variable.
pub(super) fn type_of(view: &View<'_, '_>, at: DieRef) -> Option<DieRef> {
    view.node(at).and_then(|n| n.ty).or_else(|| view.declared(at).and_then(|(_, n)| n.ty))
}
