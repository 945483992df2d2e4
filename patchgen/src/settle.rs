//! What the debug information decides that the code alone leaves open.

use crate::addr::{DataId, FuncId, Svma};
use crate::compare::ChangeSet;
use crate::dwarf::DebugInfo;
use crate::image::{Binding, Image, ImageError, SectionKind};
use crate::lift::{Access, CodeRef, DataKind, DataRef, Function, Lifted, Target, Word};
use crate::types::{self, Part, Survey};
use std::collections::{BTreeMap, BTreeSet};

/// A build without those of its doubts that its variables' types settle.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    words: BTreeMap<DataId, BTreeMap<u32, Word>>,
    /// References by function and number, with the objects whose end or what follows it isn't meant.
    ends: Vec<(FuncId, usize, BTreeSet<DataId>)>,
}

/// Looks at what a patch may have to carry.
///
/// # Errors
/// When debug information is damaged.
pub(crate) fn settle(
    image: &Image,
    new: &Lifted,
    changes: &ChangeSet,
    debug: Option<(&DebugInfo<'_>, &Survey)>,
) -> Result<Settled, ImageError> {
    let ends = match debug {
        Some(debug) => ends(image, new, changes, debug)?,
        None => Vec::new(),
    };
    Ok(Settled { words: words(new, changes, debug)?, ends })
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
        let word = |at: u32| match typed.map_or(Part::Either, |parts| parts.word(u64::from(at))) {
            Part::Address => Some(Word::Address),
            Part::Number => Some(Word::Number),
            Part::Either => None,
        };
        let of = |r: &DataRef| Some((r.at, word(r.at).or_else(|| new.in_class_data(datum, r))?));
        (*id, datum.ambiguous.iter().filter_map(of).collect())
    };
    Ok(open.iter().map(settle).collect())
}

/// The objects that a reference names by their end, or a little behind it.
fn ended<'a>(new: &'a Lifted, reference: &'a CodeRef) -> impl Iterator<Item = DataId> + 'a {
    let past =
        |&(data, offset): &(DataId, i64)| u64::try_from(offset).is_ok_and(|o| o >= new.data[data.index()].range.size());
    reference.alternatives.iter().filter(move |a| past(a)).map(|a| a.0)
}

/// Addresses of the changed functions that can't be the end of an object in front of them, because that is no array: where the function takes
/// that object's address besides, only if what lies behind is there for nothing else.
fn ends(
    image: &Image,
    new: &Lifted,
    changes: &ChangeSet,
    (info, survey): (&DebugInfo<'_>, &Survey),
) -> Result<Vec<(FuncId, usize, BTreeSet<DataId>)>, ImageError> {
    let carried = changes.changed.iter().map(|c| c.new).chain(changes.new_funcs.iter().copied());
    let open: Vec<(FuncId, usize)> = carried
        .flat_map(|id| {
            let refs = new.functions[id.index()].refs.iter().enumerate();
            refs.filter(|(_, r)| ended(new, r).next().is_some()).map(move |(n, _)| (id, n))
        })
        .collect();
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
            single.get(&range.start) == Some(&range.size()) && (only || !takes(new, &new.functions[id.index()], *data))
        };
        (id, n, ended(new, r).filter(meant_by_nobody).collect())
    };
    Ok(open.iter().map(settle).collect())
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
