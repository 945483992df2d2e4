//! Constants that get another place although old code and live pointers may know the one that they had, and such that are overwritten so that
//! something in them gets another place.
//!
//! An old constant that stays has its old bytes and its old length. New code that meets its address somewhere else than in its own references
//! would read it by the new length, or take it for another object than the one that it names. Where a row of a table goes to the place of another
//! one, a pointer to the row leads to the other one.

use super::indexes::{lasting_index, rows_shift};
use super::rows::change_places;
use super::{Pointers, Side, users};
use crate::addr::{DataId, FuncId, Svma};
use crate::check::Calls;
use crate::dwarf::DebugInfo;
use crate::image::{Image, ImageError, SectionKind};
use crate::include::{Analysis, PatchSet};
use crate::lift::{DataKind, Lifted};
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
    let reason = |(a, b): (DataId, DataId)| {
        let stays = set.moved.contains(&b);
        let kept = old.keeps(a, stays).and_then(|()| new.keeps(b, stays));
        let reader = || lasting_index(&new, b).filter(|_| stays && rows_shift(analysis, a, b));
        let by_index = || reader().map(|f| by_index(&new.lifted.functions[f.index()].name));
        kept.err().or_else(by_index).map(|why| (b, why))
    };
    Ok(moved.into_iter().filter_map(reason).collect())
}

fn by_index(reader: &str) -> String {
    format!("`{reader}` reads it by an index that lasts, and rows get another one")
}

/// One build, with what its functions do with some objects.
pub(super) struct Build<'a> {
    pub image: &'a Image,
    pub lifted: &'a Lifted,
    pub pointers: Pointers,
    users: BTreeMap<DataId, Vec<FuncId>>,
    pub signatures: Signatures,
    calls: Calls,
}

/// How far what a function returns is followed: callers of callers.
const RETURNS: u32 = 3;

impl<'a> Build<'a> {
    pub fn read(
        image: &'a Image,
        lifted: &'a Lifted,
        info: Option<&DebugInfo<'_>>,
        objects: impl Iterator<Item = DataId>,
    ) -> Result<Build<'a>, ImageError> {
        let users = users(image, lifted, objects);
        let calls = Calls::of(image, lifted);
        let mut known: BTreeSet<FuncId> = users.values().flatten().copied().collect();
        for _ in 0..RETURNS {
            let hidden: Vec<FuncId> = known.iter().copied().filter(|&f| !calls.address_taken(f)).collect();
            known.extend(hidden.into_iter().flat_map(|f| calls.callers(f)));
        }
        let entries: BTreeSet<Svma> = known.iter().map(|f| lifted.functions[f.index()].parts[0].start).collect();
        let signatures = match info {
            Some(info) => types::signatures_at(info, &entries)?,
            None => Signatures::default(),
        };
        Ok(Build { image, lifted, pointers: Pointers::of(image, lifted), users, signatures, calls })
    }

    /// Nobody has the constant's address but functions that name it, and, where the old one `stays` as it was, callers that forget it.
    fn keeps(&self, id: DataId, stays: bool) -> Result<(), String> {
        let datum = &self.lifted.data[id.index()];
        if datum.names.iter().any(|&s| self.image.symbol(s).exported) {
            return Err("it is exported: other modules may have its address".to_owned());
        }
        // An address behind it is that of the next object, if there is one.
        let next = self.lifted.data_at.contains_key(&datum.range.end);
        if let Some(at) = self.pointers.leads_into(datum.range).filter(|_| !next || self.pointers.inside(datum.range)) {
            return Err(format!("`{}` holds its address", super::holder(self.lifted, at)));
        }
        let calls = Some(&self.calls).filter(|_| stays);
        let side = Side { image: self.image, lifted: self.lifted, signatures: &self.signatures, calls };
        side.keeps_to_itself(id, self.users(id))
    }

    pub fn callers(&self, func: FuncId) -> impl Iterator<Item = FuncId> + '_ {
        self.calls.callers(func)
    }

    /// The functions that name it.
    pub fn users(&self, id: DataId) -> &[FuncId] {
        self.users.get(&id).map_or(&[], Vec::as_slice)
    }
}
