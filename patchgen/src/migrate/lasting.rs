//! Constants that get another place although old code and live pointers may know the one that they had, and such that are overwritten so that
//! something in them gets another place.
//!
//! An old constant that stays has its old bytes and its old length. New code that meets its address somewhere else than in its own references
//! would read it by the new length, or take it for another object than the one that it names. Where a row of a table goes to the place of another
//! one, a pointer to the row leads to the other one.

use super::rows::change_places;
use super::{Pointers, Side, users};
use crate::addr::{DataId, FuncId, Svma, SvmaRange};
use crate::dwarf::DebugInfo;
use crate::image::{Image, ImageError, SectionKind};
use crate::include::{Analysis, PatchSet};
use crate::lift::{DataKind, Lifted, Slot, Target};
use crate::types::{self, Signatures};
use std::collections::{BTreeMap, BTreeSet};

/// Of the constants that `set` moves, or whose rows it moves: why somebody may have an address in the old one, in words, by the new build's object.
/// The same is looked for in the new build, since a revert gives the old place back its meaning.
///
/// # Errors
/// When debug information is damaged.
pub fn lasting(
    analysis: Analysis<'_>,
    set: &PatchSet,
    debug: (Option<&DebugInfo<'_>>, Option<&DebugInfo<'_>>),
) -> Result<BTreeMap<DataId, String>, ImageError> {
    let constant = |lifted: &Lifted, id: DataId| {
        let datum = &lifted.data[id.index()];
        datum.kind == DataKind::Named && matches!(datum.section, SectionKind::Rodata | SectionKind::Relro)
    };
    let pair = |&id: &DataId| Some((analysis.pairs.data_to_old.get(id.index()).copied().flatten()?.old, id));
    let known = |&(old, new): &(DataId, DataId)| constant(analysis.old, old) && constant(analysis.new, new);
    let overwritten = set.edits.iter().map(|e| (e.old, e.new)).filter(|e| !set.moved.contains(&e.1));
    let reordered = overwritten.filter(known).filter(|&(old, new)| change_places(analysis, old, new));
    let moved: Vec<(DataId, DataId)> = set.moved.iter().filter_map(pair).filter(known).chain(reordered).collect();
    if moved.is_empty() {
        return Ok(BTreeMap::new());
    }
    let old = Build::read(analysis.old_image, analysis.old, debug.0, moved.iter().map(|m| m.0))?;
    let new = Build::read(analysis.new_image, analysis.new, debug.1, moved.iter().map(|m| m.1))?;
    let reason = |(a, b): (DataId, DataId)| old.keeps(a).and_then(|()| new.keeps(b)).err().map(|why| (b, why));
    Ok(moved.into_iter().filter_map(reason).collect())
}

/// One build, with what its functions do with some objects.
pub(super) struct Build<'a> {
    pub image: &'a Image,
    pub lifted: &'a Lifted,
    pub pointers: Pointers,
    users: BTreeMap<DataId, Vec<FuncId>>,
    pub signatures: Signatures,
    /// Of the users that nobody else can call, and of their callers.
    pub callers: BTreeMap<FuncId, Vec<FuncId>>,
}

/// How far what a function returns is followed.
const RETURNS: u32 = 3;

/// The callers of those of these functions that nobody else can call, and so on for the callers.
fn callers(
    image: &Image,
    lifted: &Lifted,
    pointers: &Pointers,
    of: &BTreeSet<FuncId>,
) -> BTreeMap<FuncId, Vec<FuncId>> {
    let hidden = |&id: &FuncId| {
        let f = &lifted.functions[id.index()];
        !f.names.iter().any(|&s| image.symbol(s).exported) && !pointers.inside(SvmaRange::new(f.parts[0].start, 1))
    };
    let mut found: BTreeMap<FuncId, Vec<FuncId>> = BTreeMap::new();
    let mut wanted: BTreeSet<FuncId> = of.iter().copied().filter(hidden).collect();
    let address = |target: &Target| match target {
        Target::Func { func, .. } => Some(*func),
        Target::Slot(Slot::Address(inner) | Slot::Irelative(inner)) => match **inner {
            Target::Func { func, .. } => Some(func),
            _ => None,
        },
        _ => None,
    };
    for _ in 0..RETURNS {
        let words = lifted.data.iter().flat_map(|d| d.refs.iter().chain(&d.ambiguous)).map(|r| &r.target);
        let mut taken: BTreeSet<FuncId> = words.filter_map(address).filter(|func| wanted.contains(func)).collect();
        let mut next: BTreeMap<FuncId, Vec<FuncId>> = wanted.iter().map(|&id| (id, Vec::new())).collect();
        for (i, f) in lifted.functions.iter().enumerate() {
            for r in &f.refs {
                match address(&r.target).and_then(|func| Some((func, next.get_mut(&func)?))) {
                    Some((_, all)) if r.branch && matches!(r.target, Target::Func { part: 0, offset: 0, .. }) => {
                        all.push(i.into());
                    }
                    Some((func, _)) if func.index() != i => drop(taken.insert(func)),
                    _ => {}
                }
            }
        }
        next.retain(|id, _| !taken.contains(id));
        next.values_mut().for_each(Vec::dedup);
        wanted = next.values().flatten().copied().filter(|id| !found.contains_key(id)).filter(hidden).collect();
        found.extend(next);
        if wanted.is_empty() {
            break;
        }
    }
    found
}

impl<'a> Build<'a> {
    pub fn read(
        image: &'a Image,
        lifted: &'a Lifted,
        info: Option<&DebugInfo<'_>>,
        objects: impl Iterator<Item = DataId>,
    ) -> Result<Build<'a>, ImageError> {
        let users = users(image, lifted, objects);
        let pointers = Pointers::of(image, lifted);
        let callers = callers(image, lifted, &pointers, &users.values().flatten().copied().collect());
        let entry = |f: &FuncId| lifted.functions[f.index()].parts[0].start;
        let entries: BTreeSet<Svma> = users.values().chain(callers.values()).flatten().map(entry).collect();
        let signatures = match info {
            Some(info) => types::signatures_at(info, &entries)?,
            None => Signatures::default(),
        };
        Ok(Build { image, lifted, pointers, users, signatures, callers })
    }

    /// Nobody has the constant's address but functions that name it.
    fn keeps(&self, id: DataId) -> Result<(), String> {
        let datum = &self.lifted.data[id.index()];
        if datum.names.iter().any(|&s| self.image.symbol(s).exported) {
            return Err("it is exported: other modules may have its address".to_owned());
        }
        // An address behind it is that of the next object, if there is one.
        let next = self.lifted.data_at.contains_key(&datum.range.end);
        if let Some(at) = self.pointers.leads_into(datum.range).filter(|_| !next || self.pointers.inside(datum.range)) {
            return Err(format!("`{}` holds its address", super::holder(self.lifted, at)));
        }
        let (signatures, callers) = (&self.signatures, &self.callers);
        let side = Side { image: self.image, lifted: self.lifted, signatures, callers };
        side.keeps_to_itself(id, self.users(id))
    }

    /// The functions that name it.
    pub fn users(&self, id: DataId) -> &[FuncId] {
        self.users.get(&id).map_or(&[], Vec::as_slice)
    }
}
