//! Variables whose layout changed and whose live value can go to another place: nobody has their address but functions that name them, which
//! are all replaced, and each member that the old build has is one of the new build, too.
//!
//! The same holds of both builds, so that the value can come back when the patch is reverted.

mod escape;

use crate::addr::{DataId, FuncId, Svma, SvmaRange};
use crate::compare::Cause;
use crate::dwarf::DebugInfo;
use crate::image::{DynReloc, Image, ImageError, SectionKind};
use crate::include::{Analysis, Kept, Migration, Migrations};
use crate::lift::{CodeRef, Data, DataKind, Function, Lifted, Target};
use crate::types::{self, Returned, Survey, TypeDiff, VarChange};
use escape::Address;
use std::collections::{BTreeMap, BTreeSet};

/// Larger variables aren't copied while every thread stands still, in bytes.
const LARGEST: u64 = 16 << 20;

/// A constant part of an index that a compiler folds into an address leads so far, in bytes.
const FOLDED: u64 = 4096;

/// An address so close behind an object's start is that of a member, in bytes.
const MEMBER: i64 = 64;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    pub migrations: Migrations,
    /// Of the others: what forbids it, in words, by the new build's object.
    pub forbidden: BTreeMap<DataId, String>,
}

/// Looks at every variable of both builds whose type changed.
///
/// # Errors
/// When debug information is damaged.
pub fn migrations(
    analysis: Analysis<'_>,
    types: &TypeDiff,
    old: (&DebugInfo<'_>, &Survey),
    new: (&DebugInfo<'_>, &Survey),
) -> Result<Found, ImageError> {
    let mut found = Found::default();
    let candidates: Vec<(DataId, DataId)> = types.variables.iter().filter_map(|v| candidate(analysis, v)).collect();
    let mut open = Vec::new();
    for (a, b) in candidates {
        match fits(analysis, a, b) {
            Ok(()) => open.push((a, b)),
            Err(why) => drop(found.forbidden.insert(b, why)),
        }
    }
    if open.is_empty() {
        return Ok(found);
    }
    let users = |image: &Image, lifted: &Lifted, object| -> Vec<FuncId> {
        let uses = |f: &Function| f.refs.iter().any(|r| escape::names(r, object) && !lifted.means_mark(image, f, r));
        lifted.functions.iter().enumerate().filter(|(_, f)| uses(f)).map(|(i, _)| i.into()).collect()
    };
    let entries = |lifted: &Lifted, ids: &[FuncId]| -> BTreeSet<Svma> {
        ids.iter().map(|f| lifted.functions[f.index()].parts[0].start).collect()
    };
    let of = |(a, b): (DataId, DataId)| {
        (a, b, users(analysis.old_image, analysis.old, a), users(analysis.new_image, analysis.new, b))
    };
    let open: Vec<_> = open.into_iter().map(of).collect();
    let before: BTreeSet<Svma> = open.iter().flat_map(|o| entries(analysis.old, &o.2)).collect();
    let after: BTreeSet<Svma> = open.iter().flat_map(|o| entries(analysis.new, &o.3)).collect();
    let (before, after) = (types::returned(old.0, old.1, &before)?, types::returned(new.0, new.1, &after)?);
    let start = |lifted: &Lifted, id: DataId| lifted.data[id.index()].range.start;
    let wanted: Vec<_> = open.iter().map(|o| (start(analysis.old, o.0), start(analysis.new, o.1))).collect();
    let mut kept = types::kept(old, new, &wanted)?;
    for (a, b, users_old, users_new) in open {
        let checked = replaced(analysis, &users_old, b)
            .and_then(|()| {
                let side = Side { image: analysis.old_image, lifted: analysis.old, returned: &before };
                side.keeps_to_itself(a, &users_old)
            })
            .and_then(|()| {
                let side = Side { image: analysis.new_image, lifted: analysis.new, returned: &after };
                side.keeps_to_itself(b, &users_new)
            })
            .and_then(|()| kept.remove(&start(analysis.old, a)).unwrap_or(Err("its type isn't known".to_owned())))
            .and_then(|kept| within(analysis, a, b, kept));
        match checked {
            Ok(kept) => drop(found.migrations.insert(b, Migration { old: a, kept })),
            Err(why) => drop(found.forbidden.insert(b, why)),
        }
    }
    Ok(found)
}

/// The pair of objects that a variable with another type is.
fn candidate(analysis: Analysis<'_>, change: &VarChange) -> Option<(DataId, DataId)> {
    let old = *analysis.old.data_at.get(&change.old_at)?;
    let new = *analysis.new.data_at.get(&change.new_at)?;
    let pair = analysis.pairs.data_to_old.get(new.index()).copied().flatten()?;
    (!change.tls && !change.ambiguous && pair.old == old).then_some((old, new))
}

/// What can be said of the two objects alone.
fn fits(analysis: Analysis<'_>, old: DataId, new: DataId) -> Result<(), String> {
    for (image, lifted, id) in [(analysis.old_image, analysis.old, old), (analysis.new_image, analysis.new, new)] {
        let datum = &lifted.data[id.index()];
        let writable = matches!(datum.section, SectionKind::Data | SectionKind::Bss);
        if !writable || datum.kind != DataKind::Named || datum.open || datum.range.size() > LARGEST {
            return Err("it isn't a plain variable".to_owned());
        }
        if datum.names.iter().any(|&s| image.symbol(s).exported) {
            return Err("it is exported: other modules may have its address".to_owned());
        }
        // Programs get at the ends of sections with a name of their own (`__start_NAME`).
        let section = image.section_at(datum.range.start).map(|s| image.section(s).name.as_str());
        if !section.is_some_and(|name| name.starts_with(".data") || name.starts_with(".bss")) {
            return Err("it lies in a section of its own".to_owned());
        }
        if let Some(holder) = held(image, lifted, datum.range) {
            return Err(format!("`{holder}` holds its address"));
        }
    }
    Ok(())
}

/// Data that hold an address in `range`; the GOT, which code reads by name, doesn't count.
fn held(image: &Image, lifted: &Lifted, range: SvmaRange) -> Option<String> {
    let inside = |at: Svma| range.start <= at && at <= range.end;
    let leads = |target: &Target| match target {
        Target::Data { data, offset } => inside(lifted.data[data.index()].range.start.offset(*offset)),
        _ => false,
    };
    let holder = |d: &&Data| d.refs.iter().chain(&d.ambiguous).any(|r| leads(&r.target));
    if let Some(datum) = lifted.data.iter().find(holder) {
        return Some(datum.name.clone());
    }
    let found = image.dynamic.iter().find(|(at, reloc)| {
        let leads = match reloc {
            DynReloc::Relative { target } | DynReloc::Symbol { local: Some(target), .. } => inside(*target),
            DynReloc::Copy { .. } => range.contains(**at),
            _ => false,
        };
        leads && image.kind_at(**at) != Some(SectionKind::Got)
    });
    found.map(|(at, _)| at.to_string())
}

/// Each function that names it gives way to a new one: what surely names the new object is carried, and what changed.
fn replaced(analysis: Analysis<'_>, users: &[FuncId], object: DataId) -> Result<(), String> {
    let reads = |id: FuncId| analysis.new.functions[id.index()].refs.iter().any(|r| escape::leads(&r.target, object));
    let changed = |id: FuncId| {
        let mut all = analysis.changes.changed.iter();
        all.any(|c| c.new == id && c.cause != Cause::LineNumber)
    };
    for &id in users {
        let function = &analysis.old.functions[id.index()];
        let pair = analysis.pairs.func_to_new.get(id.index()).copied().flatten();
        if function.opaque || !pair.is_some_and(|p| reads(p.new) || changed(p.new)) {
            return Err(format!("`{}` uses it, and stays", function.name));
        }
    }
    Ok(())
}

struct Side<'a> {
    image: &'a Image,
    lifted: &'a Lifted,
    returned: &'a BTreeMap<Svma, Returned>,
}

impl Side<'_> {
    fn keeps_to_itself(&self, object: DataId, users: &[FuncId]) -> Result<(), String> {
        let range = self.lifted.data[object.index()].range;
        for (i, function) in self.lifted.functions.iter().enumerate() {
            if users.contains(&i.into()) {
                continue;
            }
            if function.insns.is_empty() || function.unprovable.iter().any(|u| u.code == 213) {
                return Err(format!("what `{}` refers to isn't known", function.name));
            }
            if let Some(r) = function.refs.iter().find(|r| self.may_reach(function, r, range)) {
                let at = function.parts[usize::from(r.part)].start.plus(u64::from(r.insn));
                return Err(format!("`{}` at {at} may compute its address from another", function.name));
            }
        }
        let mut address = Address::new(self.image, self.lifted, object);
        users.iter().try_for_each(|&user| {
            let entry = self.lifted.functions[user.index()].parts[0].start;
            address.stays_in(user, self.returned.get(&entry).copied().unwrap_or(Returned::More))
        })
    }

    /// An address that the function computes with, close to the object and not plainly that of another one: with a constant index folded in
    /// it may be the object's.
    fn may_reach(&self, function: &Function, reference: &CodeRef, range: SvmaRange) -> bool {
        let (true, Target::Data { data, offset }) = (reference.indexed, &reference.target) else { return false };
        let here = &self.lifted.data[data.index()];
        let at = here.range.start.offset(*offset);
        let near = at.0 < range.end.0.saturating_add(FOLDED) && range.start.0 < at.0.saturating_add(FOLDED);
        let writable = matches!(here.section, SectionKind::Data | SectionKind::Bss);
        if !near || !writable || self.lifted.is_start(*data, *offset) {
            return false;
        }
        let inside = (0..here.range.size().cast_signed()).contains(offset);
        let another =
            |r: &CodeRef| matches!(&r.target, Target::Data { data: d, offset: o } if d == data && o != offset);
        !inside || (*offset >= MEMBER && !function.refs.iter().any(another))
    }
}

/// The stretches lie in both objects.
fn within(analysis: Analysis<'_>, old: DataId, new: DataId, kept: Vec<Kept>) -> Result<Vec<Kept>, String> {
    let size = |lifted: &Lifted, id: DataId| lifted.data[id.index()].range.size();
    let (old, new) = (size(analysis.old, old), size(analysis.new, new));
    let ends = |start: u64, len: u64, size: u64| start.checked_add(len).is_some_and(|end| end <= size);
    match kept.iter().all(|k| ends(k.from, k.len, old) && ends(k.to, k.len, new)) {
        true if !kept.is_empty() => Ok(kept),
        true => Err("nothing of it is kept".to_owned()),
        false => Err("its type and its size don't agree".to_owned()),
    }
}
