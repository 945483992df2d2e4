//! Addresses of labels in functions that are replaced (GNU C, labels as values). A table of them is carried with its function; what a function
//! stores elsewhere, as an interpreter does that translates programs into its own addresses, leads into the code that the patch replaces.
//!
//! Each function that names a table or a label is followed, with what it reads from the table counting as the address does. It may keep one in
//! registers and in its frame, and jump there.

use super::walk::Walk;
use crate::addr::{DataId, FuncId, Svma};
use crate::dwarf::DebugInfo;
use crate::image::{Image, ImageError};
use crate::include::{Analysis, PatchSet, Role};
use crate::lift::{CodeRef, Lifted, Slot, Target};
use crate::types::{self, Returned, Signatures};
use std::collections::{BTreeMap, BTreeSet};

/// Of the replaced functions whose labels somebody may know: how, in words, by the new build's function.
///
/// # Errors
/// When debug information is damaged.
pub fn labels(
    analysis: Analysis<'_>,
    set: &PatchSet,
    debug: (Option<&DebugInfo<'_>>, Option<&DebugInfo<'_>>),
) -> Result<BTreeMap<FuncId, String>, ImageError> {
    let replaced = || {
        set.functions.iter().filter_map(|(&new, role)| match *role {
            Role::Replaces(old, _) => Some((old, new)),
            Role::New => None,
        })
    };
    let was = kept(analysis.old_image, analysis.old, debug.0, &replaced().map(|(old, _)| old).collect())?;
    // A revert gives the old code back.
    let is = kept(analysis.new_image, analysis.new, debug.1, &replaced().map(|(_, new)| new).collect())?;
    Ok(replaced().filter_map(|(old, new)| Some((new, was.get(&old).or_else(|| is.get(&new))?.clone()))).collect())
}

/// What of `wanted` has labels whose addresses get out of the functions that name them.
fn kept(
    image: &Image,
    lifted: &Lifted,
    debug: Option<&DebugInfo<'_>>,
    wanted: &BTreeSet<FuncId>,
) -> Result<BTreeMap<FuncId, String>, ImageError> {
    let label = |t: &Target| match *t {
        Target::Func { func, part, offset } if (part, offset) != (0, 0) => Some(func).filter(|f| wanted.contains(f)),
        _ => None,
    };
    let tables: BTreeMap<DataId, FuncId> = lifted
        .data
        .iter()
        .enumerate()
        .filter_map(|(i, d)| Some((DataId::from(i), d.refs.iter().find_map(|r| label(&r.target))?)))
        .collect();
    let names = |r: &CodeRef| match &r.target {
        Target::Slot(Slot::Address(inner)) => inner.data().and_then(|id| tables.get(&id).copied()),
        other => other.data().and_then(|id| tables.get(&id).copied()).or_else(|| label(other).filter(|_| !r.branch)),
    };
    let mut users: Vec<(FuncId, FuncId)> = Vec::new();
    for (i, f) in lifted.functions.iter().enumerate() {
        let whose: BTreeSet<FuncId> = f.refs.iter().filter_map(names).collect();
        users.extend(whose.into_iter().map(|owner| (i.into(), owner)));
    }
    let entries: BTreeSet<Svma> = users.iter().map(|(f, _)| lifted.functions[f.index()].parts[0].start).collect();
    let signatures = match debug {
        Some(info) if !entries.is_empty() => types::signatures_at(info, &entries)?,
        _ => Signatures::default(),
    };
    let mut found: BTreeMap<FuncId, String> = BTreeMap::new();
    for (user, owner) in users {
        let f = &lifted.functions[user.index()];
        let leads = |r: &CodeRef| names(r) == Some(owner);
        let inner = |t: &Target| match *t {
            Target::Func { func, part, offset } if func == user => f.index((part, offset)),
            _ => None,
        };
        let in_code = f.refs.iter().filter(|r| leads(r)).filter_map(|r| inner(&r.target));
        let of_tables = tables.iter().filter(|(_, of)| **of == user).flat_map(|(id, _)| &lifted.data[id.index()].refs);
        let labels: BTreeSet<usize> = in_code.chain(of_tables.filter_map(|r| inner(&r.target))).collect();
        let returned = signatures.returned.get(&f.parts[0].start).copied().unwrap_or(Returned::More);
        if let Err(how) = Walk::new(image, f, &leads, &labels).run(returned) {
            found.entry(owner).or_insert_with(|| format!("`{}` {how}", f.name));
        }
    }
    let held = lifted.data.iter().flat_map(|d| d.refs.iter().map(move |r| (d, r)));
    for (datum, r) in held {
        if let Some(&owner) = r.target.data().and_then(|id| tables.get(&id)) {
            found.entry(owner).or_insert_with(|| format!("`{}` holds the address of their table", datum.name));
        }
    }
    Ok(found)
}
