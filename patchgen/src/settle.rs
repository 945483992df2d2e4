//! What the debug information decides that the code alone leaves open.

use crate::addr::{DataId, FuncId, Svma, SymbolId};
use crate::compare::{self, ChangeSet, DataDiff};
use crate::correlate::{Correlation, Side};
use crate::dwarf::DebugInfo;
use crate::image::{Binding, Image, ImageError, SectionKind};
use crate::lift::{
    Access, CodeRef, Data, DataKind, DataRef, Field, Function, Lifted, Shape, Slot, Target, Word, displaced, is_round,
};
use crate::rust_names::is_rust;
use crate::types::{self, Part, Survey};
use std::collections::{BTreeMap, BTreeSet};

/// A build without those of its doubts that its variables' types settle.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    words: BTreeMap<DataId, BTreeMap<u32, Word>>,
    /// References by function and number, with the objects whose end or what follows it isn't meant.
    ends: Vec<(FuncId, usize, BTreeSet<DataId>)>,
    /// References, by function and number, that are addresses and no numbers.
    addresses: Vec<(FuncId, usize)>,
    shapes: BTreeMap<DataId, Shape>,
}

/// Looks at what a patch may have to carry.
///
/// # Errors
/// When debug information is damaged.
pub(crate) fn settle(
    image: &Image,
    (old, pairs): (&Lifted, &Correlation),
    new: &Lifted,
    changes: &ChangeSet,
    debug: Option<(&DebugInfo<'_>, &Survey)>,
) -> Result<Settled, ImageError> {
    let Some(info) = debug else {
        let mut words = words(new, changes, None)?;
        words.extend(made(image, new));
        return Ok(Settled { words, ..Settled::default() });
    };
    let (((words, ends), (addresses, (members, stored))), (pointers, shapes)) = rayon::join(
        || {
            rayon::join(
                || rayon::join(|| words(new, changes, debug), || ends(image, (old, pairs), new, changes, info)),
                || {
                    let members = || rayon::join(|| members(image, new, changes, info), || stored(new, changes, info));
                    rayon::join(|| addresses(new, changes, info), members)
                },
            )
        },
        || rayon::join(|| pointers(image, new, changes, info), || shapes(new, changes, info)),
    );
    let (mut words, mut addresses) = (words?, addresses?);
    words.extend(made(image, new));
    addresses.extend(pointers?);
    addresses.extend(members?);
    addresses.extend(stored?);
    let mut ends = ends?;
    ends.extend(strange(image, new, changes, info));
    Ok(Settled { words, ends, addresses, shapes: shapes? })
}

impl Settled {
    pub fn apply(self, new: &mut Lifted) {
        for (id, words) in self.words {
            let datum = &mut new.data[id.index()];
            for word in std::mem::take(&mut datum.ambiguous) {
                match words.get(&word.at) {
                    Some(Word::Address) => datum.refs.push(word),
                    Some(Word::Number) => {}
                    None => datum.ambiguous.push(word),
                }
            }
            datum.refs.sort_by_key(|r| r.at);
        }
        for (id, n, objects) in self.ends {
            new.functions[id.index()].refs[n].alternatives.retain(|(data, _)| !objects.contains(data));
        }
        for (id, n) in self.addresses {
            new.functions[id.index()].refs[n].certain = true;
        }
        new.shapes = self.shapes;
    }
}

fn units_of(survey: &Survey, wanted: &BTreeSet<Svma>) -> BTreeSet<u32> {
    survey.variables().iter().filter(|v| !v.tls && wanted.contains(&v.svma)).map(|v| v.unit.0).collect()
}

/// Of the data that a patch may have to carry: the words that may be addresses, where the variable's type or its name's meaning says
/// whether they are.
fn words(
    new: &Lifted,
    changes: &ChangeSet,
    debug: Option<(&DebugInfo<'_>, &Survey)>,
) -> Result<BTreeMap<DataId, BTreeMap<u32, Word>>, ImageError> {
    let carried = changes.new_data.iter().copied().chain(changes.data_changed.iter().map(|c| c.new));
    let open: Vec<DataId> = carried.filter(|id| !new.data[id.index()].ambiguous.is_empty()).collect();
    let wanted: BTreeSet<Svma> = open.iter().map(|id| new.data[id.index()].range.start).collect();
    let parts = match debug.filter(|_| !wanted.is_empty()) {
        Some((info, survey)) => types::parts(info, &units_of(survey, &wanted), &wanted)?,
        None => BTreeMap::new(),
    };
    let settle = |id: &DataId| {
        let datum = &new.data[id.index()];
        let typed = parts.get(&datum.range.start);
        let word = |at: u32| {
            let parts = typed?;
            // In packed structures addresses lie anywhere.
            let straddles =
                !datum.range.start.plus(u64::from(at)).0.is_multiple_of(8) && !parts.may_begin(u64::from(at));
            match parts.word(u64::from(at)) {
                Part::Address => Some(Word::Address),
                Part::Number => Some(Word::Number),
                Part::Either => straddles.then_some(Word::Number),
            }
        };
        // An address that lies in nothing that is known may be of another object than the one beside it.
        let known = |r: &DataRef| match r.target {
            Target::Data { data, offset } => {
                u64::try_from(offset).is_ok_and(|o| o <= new.data[data.index()].range.size())
            }
            _ => true,
        };
        let of = |r: &DataRef| {
            let meaning = word(r.at).or_else(|| new.in_class_data(datum, r))?;
            (meaning == Word::Number || known(r)).then_some((r.at, meaning))
        };
        (*id, datum.ambiguous.iter().filter_map(of).collect())
    };
    Ok(open.iter().map(settle).collect())
}

/// Constants that compilers made of what code or other constants say, and that hold nothing but addresses: tables of what a `switch` returns, what
/// local arrays are filled with, literals of arrays. Each word equals where something begins, as a number in code would have to.
fn made(image: &Image, new: &Lifted) -> BTreeMap<DataId, BTreeMap<u32, Word>> {
    let begins = |r: &DataRef| match r.target {
        Target::Func { part: 0, offset: 0, .. } | Target::Import(_) => true,
        Target::Data { data, offset } => {
            let datum = &new.data[data.index()];
            let start = offset == 0 && matches!(datum.kind, DataKind::Named | DataKind::Literal | DataKind::String);
            start || datum.is_class_entry(offset)
        }
        _ => false,
    };
    let of_class = |r: &DataRef| matches!(r.target, Target::Data { data, offset } if new.data[data.index()].is_class_entry(offset));
    let made = |d: &Data| {
        matches!(d.kind, DataKind::Literal | DataKind::Constant | DataKind::Blob) && d.section == SectionKind::Rodata
    };
    let constants = || new.data.iter().enumerate().filter(|(_, d)| made(d) && !d.ambiguous.is_empty());
    // Each up to where the next one begins: what has no symbol may be said to go on.
    let only = |d: &Data| {
        let next = new.data_at.range(d.range.start.plus(1)..).next().map_or(d.range.end, |(&at, _)| at);
        let size = d.range.end.min(next).0 - d.range.start.0;
        let words = image.bytes(d.range.start, size)?.chunks_exact(8);
        let address = |(at, word): (u32, &[u8])| {
            let value = word.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
            value == 0 || !is_round(value) && d.ambiguous.iter().any(|r| r.at == at && begins(r))
        };
        let all = d.range.start.0.is_multiple_of(8)
            && words.remainder().is_empty()
            && (0..).step_by(8).zip(words).all(address);
        all.then_some(d.range.start..d.range.start.plus(size))
    };
    let stretches: BTreeMap<Svma, Svma> = constants().filter_map(|(_, d)| only(d)).map(|r| (r.start, r.end)).collect();
    let word = |d: &Data, r: &DataRef| {
        let at = d.range.start.plus(u64::from(r.at));
        match stretches.range(..=at).next_back().filter(|(_, end)| at.plus(8) <= **end) {
            Some(_) if at.0.is_multiple_of(8) => Some((r.at, Word::Address)),
            // What is read across addresses is none.
            Some(_) => Some((r.at, Word::Number)),
            // Compilers load two addresses at once and store both.
            None => (d.kind == DataKind::Constant && d.range.size().is_multiple_of(8) && of_class(r))
                .then_some((r.at, Word::Address)),
        }
    };
    constants()
        .map(|(i, d)| (DataId::from(i), d.ambiguous.iter().filter_map(|r| word(d, r)).collect::<BTreeMap<u32, Word>>()))
        .filter(|(_, words)| !words.is_empty())
        .collect()
}

/// The objects that a reference names by their end, or a little behind it.
fn ended<'a>(new: &'a Lifted, reference: &'a CodeRef) -> impl Iterator<Item = DataId> + 'a {
    let past =
        |&(data, offset): &(DataId, i64)| u64::try_from(offset).is_ok_and(|o| o >= new.data[data.index()].range.size());
    reference.alternatives.iter().filter(move |a| past(a)).map(|a| a.0)
}

/// References of functions that a patch may have to carry: the changed and the new ones, and those that refer to what has another size.
fn open(new: &Lifted, changes: &ChangeSet, of: impl Fn(&CodeRef) -> bool) -> Vec<(FuncId, usize)> {
    let mut carried: BTreeSet<FuncId> = changes.changed.iter().map(|c| c.new).collect();
    carried.extend(&changes.new_funcs);
    let resized = changes.data_changed.iter().filter(|c| !matches!(c.diff, DataDiff::Content));
    let resized: BTreeSet<DataId> = resized.map(|c| c.new).collect();
    if !resized.is_empty() {
        let reads = |f: &Function| f.refs.iter().filter_map(|r| r.target.data()).any(|id| resized.contains(&id));
        carried.extend(new.functions.iter().enumerate().filter(|(_, f)| reads(f)).map(|(i, _)| FuncId::from(i)));
    }
    let refs = carried
        .into_iter()
        .flat_map(|id| new.functions[id.index()].refs.iter().enumerate().map(move |(n, r)| (id, n, r)));
    refs.filter(|(.., r)| of(r)).map(|(id, n, _)| (id, n)).collect()
}

/// Numbers in an image at fixed addresses that equal the place in a variable where an array, a structure or a union begins: as little a
/// coincidence as the start of the variable.
fn addresses(
    new: &Lifted,
    changes: &ChangeSet,
    (info, survey): (&DebugInfo<'_>, &Survey),
) -> Result<Vec<(FuncId, usize)>, ImageError> {
    let place = |r: &CodeRef| match r.target {
        Target::Data { data, offset } if r.likely && offset > 0 => Some((data, offset)),
        _ => None,
    };
    let open = open(new, changes, |r| place(r).is_some());
    let start = |data: DataId| new.data[data.index()].range.start;
    let of = |&(id, n): &(FuncId, usize)| place(&new.functions[id.index()].refs[n]);
    let wanted: BTreeSet<Svma> = open.iter().filter_map(of).map(|(data, _)| start(data)).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let parts = types::parts_with_extent(info, &units_of(survey, &wanted), &wanted)?;
    let begins = |(data, offset): (DataId, i64)| {
        let aligned = offset % 8 == 0;
        aligned && parts.get(&start(data)).is_some_and(|p| p.contains_key(&offset.unsigned_abs()))
    };
    Ok(open.into_iter().filter(|o| of(o).is_some_and(begins)).collect())
}

/// Numbers in an image at fixed addresses that lead into an object or a text, and that a call takes for a pointer.
fn pointers(
    image: &Image,
    new: &Lifted,
    changes: &ChangeSet,
    (info, survey): (&DebugInfo<'_>, &Survey),
) -> Result<Vec<(FuncId, usize)>, ImageError> {
    let side = Side { image, lifted: new };
    let doubtful = open(new, changes, |r| r.likely && r.target.data().is_some());
    let taken: Vec<_> = doubtful
        .into_iter()
        .filter_map(|(id, n)| {
            let function = &new.functions[id.index()];
            let (callee, position) = compare::taken_by(side, function, &function.refs[n])?;
            Some((id, n, callee, position))
        })
        .collect();
    let entries = taken.iter().map(|&(id, ..)| new.functions[id.index()].parts[0].start).collect();
    let known = types::signatures(info, survey, &entries)?;
    let pointing = |callee: &Target| match callee {
        Target::Import(import) | Target::Slot(Slot::Import { import, addend: 0 }) => {
            known.pointers.get(&image.imports[import.index()].name)
        }
        Target::Func { func, part: 0, offset: 0 } => {
            let function = &new.functions[func.index()];
            let symbols = || function.names.iter().map(|&s| image.symbol(s));
            let shared = symbols().filter(|s| s.binding != Binding::Local).find_map(|s| known.pointers.get(&s.name));
            // A compiler that changes what a local function takes gives it another name (GCC's `f.isra.0`).
            let own = || known.own_pointers.get(&function.parts[0].start);
            shared.or_else(|| symbols().all(|s| !s.name.contains('.')).then(own).flatten())
        }
        _ => None,
    };
    let is_pointer = |(.., callee, position): &(FuncId, usize, &Target, usize)| {
        pointing(callee).is_some_and(|pointing| pointing >> position & 1 == 1)
    };
    Ok(taken.iter().filter(|t| is_pointer(t)).map(|&(id, n, ..)| (id, n)).collect())
}

/// Displacements beside a register, in an image at fixed addresses, through which eight bytes are read or written where by its type a variable has
/// a pointer: a member of the first element of an array (`table[i].call`).
fn members(
    image: &Image,
    new: &Lifted,
    changes: &ChangeSet,
    debug: (&DebugInfo<'_>, &Survey),
) -> Result<Vec<(FuncId, usize)>, ImageError> {
    let place = |r: &CodeRef| match r.target {
        Target::Data { data, offset } if !r.certain && offset > 0 && r.field == Field::Abs32S => Some((data, offset)),
        _ => None,
    };
    let open: Vec<_> = open(new, changes, |r| place(r).is_some())
        .into_iter()
        .filter_map(|(id, n)| {
            let function = &new.functions[id.index()];
            let r = &function.refs[n];
            let (data, offset) = place(r).filter(|_| displaced(image, function, r) == Some(8))?;
            Some((id, n, new.data[data.index()].range.start, offset.unsigned_abs()))
        })
        .collect();
    at_pointers(open, debug)
}

/// Numbers that lead into an object, in an image at fixed addresses, and that an instruction stores where by its type a variable has a pointer
/// (`queue.tail = &queue.head`).
fn stored(
    new: &Lifted,
    changes: &ChangeSet,
    debug: (&DebugInfo<'_>, &Survey),
) -> Result<Vec<(FuncId, usize)>, ImageError> {
    let inside = |r: &CodeRef| match r.target {
        Target::Data { data, offset } if !r.certain && r.access == Access::Derived && offset > 0 => {
            let datum = &new.data[data.index()];
            datum.kind == DataKind::Named && offset.unsigned_abs() < datum.range.size()
        }
        _ => false,
    };
    let to = |&(id, n): &(FuncId, usize)| {
        let refs = &new.functions[id.index()].refs;
        let other = |s: &&CodeRef| (s.part, s.insn) == (refs[n].part, refs[n].insn) && s.field_at != refs[n].field_at;
        let place = refs.iter().find(other)?;
        match (place.access, &place.target) {
            (Access::Direct { width: 8 }, &Target::Data { data, offset }) => {
                Some((id, n, new.data[data.index()].range.start, u64::try_from(offset).ok()?))
            }
            _ => None,
        }
    };
    let open: Vec<_> = open(new, changes, inside).iter().filter_map(to).collect();
    at_pointers(open, debug)
}

/// Those of the references, each with a place in a variable, where the variable has a pointer there.
fn at_pointers(
    open: Vec<(FuncId, usize, Svma, u64)>,
    (info, survey): (&DebugInfo<'_>, &Survey),
) -> Result<Vec<(FuncId, usize)>, ImageError> {
    let wanted: BTreeSet<Svma> = open.iter().map(|o| o.2).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let parts = types::parts(info, &units_of(survey, &wanted), &wanted)?;
    let pointer = |at: Svma, offset: u64| parts.get(&at).is_some_and(|p| p.word(offset) == Part::Address);
    Ok(open.into_iter().filter(|&(.., at, offset)| pointer(at, offset)).map(|(id, n, ..)| (id, n)).collect())
}

/// Addresses of the changed functions that can't be the end of an object in front of them, because that is no array: where the function takes
/// that object's address besides, only if what lies behind is there for nothing else, or in Rust was named as often before the object was there,
/// or the address is farther behind and has nothing added to it.
fn ends(
    image: &Image,
    (old, pairs): (&Lifted, &Correlation),
    new: &Lifted,
    changes: &ChangeSet,
    (info, survey): (&DebugInfo<'_>, &Survey),
) -> Result<Vec<(FuncId, usize, BTreeSet<DataId>)>, ImageError> {
    let open = open(new, changes, |r| ended(new, r).next().is_some());
    let reference = |(id, n): (FuncId, usize)| &new.functions[id.index()].refs[n];
    let wanted: BTreeSet<Svma> =
        open.iter().flat_map(|&o| ended(new, reference(o))).map(|d| new.data[d.index()].range.start).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let single = types::single(info, &units_of(survey, &wanted), &wanted)?;
    let uses = uses(new);
    let settle = |&(id, n): &(FuncId, usize)| {
        let r = reference((id, n));
        let only = matches!(r.target, Target::Data { data, offset: 0 } if uses.get(&data) == Some(&1) && is_private(image, new, data));
        let meant_by_nobody = |data: &DataId| {
            let range = new.data[data.index()].range;
            let function = &new.functions[id.index()];
            let names_both = takes(new, function, *data);
            let behind = |&(d, offset): &(DataId, i64)| d == *data && offset.cast_unsigned() > range.size();
            // Bytes of any object may be walked by an index (C11, 6.3.2.3).
            let farther = !r.indexed && r.alternatives.iter().any(behind);
            single.get(&range.start) == Some(&range.size())
                && (only || farther || !names_both || as_before((old, pairs), new, (id, r), *data))
        };
        (id, n, ended(new, r).filter(meant_by_nobody).collect())
    };
    Ok(open.iter().map(settle).collect())
}

/// Other readings of the changed functions' addresses that their code can't have: objects of another unit's own. Without link-time optimisation a
/// compiler knows a variable without external linkage (C11, 6.2.2) in the unit only that defines it; it makes no address of it elsewhere.
fn strange(
    image: &Image,
    new: &Lifted,
    changes: &ChangeSet,
    (info, survey): (&DebugInfo<'_>, &Survey),
) -> Vec<(FuncId, usize, BTreeSet<DataId>)> {
    let open = open(new, changes, |r| !r.alternatives.is_empty());
    if open.is_empty() || info.is_entangled() || survey.is_entangled() {
        return Vec::new();
    }
    let of = |&(id, n): &(FuncId, usize)| new.functions[id.index()].refs[n].alternatives.iter().map(|a| a.0);
    let asked: BTreeSet<Svma> = open.iter().flat_map(of).map(|d| new.data[d.index()].range.start).collect();
    let mut units: BTreeMap<Svma, Option<BTreeSet<u32>>> = BTreeMap::new();
    for v in survey.variables().iter().filter(|v| !v.tls && asked.contains(&v.svma)) {
        let known = units.entry(v.svma).or_insert_with(|| Some(BTreeSet::new()));
        match known.as_mut().filter(|_| !v.external) {
            Some(known) => drop(known.insert(v.unit.0)),
            None => *known = None,
        }
    }
    let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    // The units that may name the object. A symbol that has no unit's name before it was made by an optimiser of all units.
    let naming = |data: DataId| {
        let datum = &new.data[data.index()];
        let units = units.get(&datum.range.start)?.as_ref()?;
        let names: BTreeSet<String> = units.iter().map(|&u| file(info.name_at(u))).collect();
        let own = |&s: &SymbolId| {
            let symbol = image.symbol(s);
            let made = [".llvm.", ".lto_priv"].iter().any(|m| symbol.name.contains(m));
            symbol.binding == Binding::Local
                && !made
                && symbol.file.as_deref().is_some_and(|f| names.contains(&file(f)))
        };
        (!datum.names.is_empty() && datum.names.iter().all(own)).then_some(units)
    };
    let stranger = |id: FuncId, data: DataId| {
        let function = &new.functions[id.index()];
        let homes: BTreeSet<Option<u32>> =
            function.parts.iter().map(|part| info.unit_at(part.start).map(|unit| unit.0)).collect();
        let mut homes = homes.into_iter();
        let (Some(Some(home)), None) = (homes.next(), homes.next()) else { return false };
        !is_rust(&function.name) && naming(data).is_some_and(|units| !units.contains(&home))
    };
    let strangers = |o: &(FuncId, usize)| (o.0, o.1, of(o).filter(|&data| stranger(o.0, data)).collect());
    open.iter().map(strangers).collect()
}

/// What the variables are inside of which computed addresses lead, and those near these places.
fn shapes(
    new: &Lifted,
    changes: &ChangeSet,
    (info, survey): (&DebugInfo<'_>, &Survey),
) -> Result<BTreeMap<DataId, Shape>, ImageError> {
    let inside = |r: &CodeRef| match r.target {
        Target::Data { data, offset } if r.indexed && r.access == Access::Derived && offset > 0 => {
            let datum = &new.data[data.index()];
            (datum.kind == DataKind::Named).then(|| (data, datum.range.start.offset(offset)))
        }
        _ => None,
    };
    let open = open(new, changes, |r| inside(r).is_some());
    let places: BTreeSet<(DataId, Svma)> =
        open.iter().filter_map(|&(id, n)| inside(&new.functions[id.index()].refs[n])).collect();
    let mut asked: BTreeMap<Svma, DataId> = BTreeMap::new();
    for &(data, at) in &places {
        asked.insert(new.data[data.index()].range.start, data);
        let named = new.near(at).filter(|id| new.data[id.index()].kind == DataKind::Named);
        asked.extend(named.map(|id| (new.data[id.index()].range.start, id)));
    }
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wanted: BTreeSet<Svma> = asked.keys().copied().collect();
    let units = units_of(survey, &wanted);
    let single = types::single(info, &units, &wanted)?;
    let mut parts = types::parts_with_extent(info, &units, &wanted)?;
    let shape = |(at, id): (Svma, DataId)| {
        let whole = single.get(&at) == Some(&new.data[id.index()].range.size());
        (id, Shape { single: whole, parts: parts.remove(&at).unwrap_or_default() })
    };
    Ok(asked.into_iter().map(shape).collect())
}

/// Whether the old version of a function of Rust, when `object` wasn't there, named what now lies behind it as often as the function may do: none of
/// its references is left to be the end of `object`, of which Rust makes an address only in order to walk an array.
fn as_before(
    (old, pairs): (&Lifted, &Correlation),
    new: &Lifted,
    (id, reference): (FuncId, &CodeRef),
    object: DataId,
) -> bool {
    let function = &new.functions[id.index()];
    let Target::Data { data: behind, offset: 0 } = reference.target else { return false };
    let (Some(earlier), Some(was)) = (pairs.func_to_old[id.index()], pairs.data_to_old[behind.index()]) else {
        return false;
    };
    let names = |r: &CodeRef, data: DataId| matches!(r.target, Target::Data { data: d, offset: 0 } if d == data);
    let before = &old.functions[earlier.old.index()].refs;
    // What the compiler has for tables of exceptions and for the module's end, no code walks.
    let own = |data: DataId| !["DW.ref.", "__dso_handle"].iter().any(|n| old.data[data.index()].name.starts_with(n));
    let before = before.iter().filter(|r| names(r, was.old) && !ended(old, r).any(own)).count();
    let now = function.refs.iter().filter(|r| names(r, behind)).count();
    is_rust(&function.name) && pairs.data_to_old[object.index()].is_none() && now <= before
}

/// How often code and data refer to each datum, in any reading.
fn uses(new: &Lifted) -> BTreeMap<DataId, usize> {
    let code = new.functions.iter().flat_map(|f| &f.refs);
    let readings = code.clone().flat_map(|r| r.alternatives.iter().map(|a| a.0));
    let data = new.data.iter().flat_map(|d| d.refs.iter().chain(&d.ambiguous)).map(|r| &r.target);
    let mut uses = BTreeMap::new();
    for id in code.map(|r| &r.target).chain(data).filter_map(Target::data).chain(readings) {
        *uses.entry(id).or_default() += 1;
    }
    uses
}

/// A static variable, which compilers leave out where nothing refers to it. (GCC keeps constants at -O0.)
fn is_private(image: &Image, new: &Lifted, id: DataId) -> bool {
    let datum = &new.data[id.index()];
    datum.kind == DataKind::Named
        && matches!(datum.section, SectionKind::Data | SectionKind::Bss)
        && datum.names.iter().all(|&s| image.symbol(s).binding == Binding::Local)
}

/// Whether the function may take the object's address, or that of a part of it.
fn takes(new: &Lifted, function: &Function, object: DataId) -> bool {
    let size = new.data[object.index()].range.size();
    let within = |&(data, offset): &(DataId, i64)| data == object && u64::try_from(offset).is_ok_and(|o| o < size);
    function.refs.iter().any(|r| {
        let here = matches!(r.target, Target::Data { data, .. } if data == object);
        here && !matches!(r.access, Access::Direct { .. }) || r.alternatives.iter().any(within)
    })
}
