//! Variables whose layout changed and whose live value can go to another place: nobody has their address but functions that name them, which
//! are all replaced, and each member that the old build has is one of the new build, too.
//!
//! The same holds of both builds, so that the value can come back when the patch is reverted.

mod escape;
mod indexes;
mod labels;
mod lasting;
mod lengths;
mod rows;
mod strays;
mod walk;

pub(crate) use escape::{ARGUMENTS, CALLER_SAVED, RAX, Regs, bit, reads, through, writes};
pub use labels::labels;
pub use lasting::lasting;
pub use strays::strays;

use crate::addr::{DataId, FuncId, Svma, SvmaRange};
use crate::check::Calls;
use crate::compare::Cause;
use crate::dwarf::DebugInfo;
use crate::image::{DynReloc, Image, ImageError, SectionKind};
use crate::include::{Analysis, Kept, Migration, Migrations, spans};
use crate::lift::{CodeRef, Data, DataKind, Function, Lifted, Target};
use crate::types::{self, Returned, Signatures, Survey, TypeDiff, VarChange};
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

/// One variable that is looked at.
struct Candidate {
    old: DataId,
    new: DataId,
    users_old: Vec<FuncId>,
    users_new: Vec<FuncId>,
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
    let pairs: Vec<(DataId, DataId)> = types.variables.iter().filter_map(|v| candidate(analysis, v)).collect();
    let mut open: Vec<Candidate> = Vec::new();
    let pointers = (!pairs.is_empty()).then(|| {
        let of = |image, lifted| Pointers::of(image, lifted);
        (of(analysis.old_image, analysis.old), of(analysis.new_image, analysis.new))
    });
    for (a, b) in pairs {
        let Some(pointers) = &pointers else { continue };
        match fits(analysis, a, b, pointers) {
            Ok(()) => open.push(Candidate { old: a, new: b, users_old: Vec::new(), users_new: Vec::new() }),
            Err(why) => drop(found.forbidden.insert(b, why)),
        }
    }
    let (mut before, mut after) = (
        users(analysis.old_image, analysis.old, open.iter().map(|c| c.old)),
        users(analysis.new_image, analysis.new, open.iter().map(|c| c.new)),
    );
    open.retain_mut(|c| {
        c.users_old = before.remove(&c.old).unwrap_or_default();
        c.users_new = after.remove(&c.new).unwrap_or_default();
        replaced(analysis, &c.users_old, c.new).map_err(|why| found.forbidden.insert(c.new, why)).is_ok()
    });
    if open.is_empty() {
        return Ok(found);
    }
    let entry = |lifted: &Lifted, f: FuncId| lifted.functions[f.index()].parts[0].start;
    let before = open.iter().flat_map(|c| &c.users_old).map(|&f| entry(analysis.old, f)).collect();
    let after = open.iter().flat_map(|c| &c.users_new).map(|&f| entry(analysis.new, f)).collect();
    let (before, after) = (types::signatures(old.0, old.1, &before)?, types::signatures(new.0, new.1, &after)?);
    open.retain(|c| {
        let side = Side { image: analysis.old_image, lifted: analysis.old, signatures: &before, calls: None };
        let other = Side { image: analysis.new_image, lifted: analysis.new, signatures: &after, calls: None };
        let kept = side.keeps_to_itself(c.old, &c.users_old).and_then(|()| other.keeps_to_itself(c.new, &c.users_new));
        kept.map_err(|why| found.forbidden.insert(c.new, why)).is_ok()
    });
    let start = |lifted: &Lifted, id: DataId| lifted.data[id.index()].range.start;
    let wanted: Vec<_> = open.iter().map(|c| (start(analysis.old, c.old), start(analysis.new, c.new))).collect();
    let mut kept = types::kept(old, new, &wanted)?;
    for c in open {
        let of = kept.remove(&start(analysis.old, c.old)).unwrap_or_else(|| Err("its type isn't known".to_owned()));
        let of = of.and_then(|common| lengths::keep_places(analysis, &c, &common.longer).map(|()| common.kept));
        match of.and_then(|kept| within(analysis, c.old, c.new, kept)) {
            Ok(kept) => drop(found.migrations.insert(c.new, Migration { old: c.old, kept })),
            Err(why) => drop(found.forbidden.insert(c.new, why)),
        }
    }
    Ok(found)
}

/// The functions that name each of these objects.
fn users(image: &Image, lifted: &Lifted, objects: impl Iterator<Item = DataId>) -> BTreeMap<DataId, Vec<FuncId>> {
    let mut out: BTreeMap<DataId, Vec<FuncId>> = objects.map(|id| (id, Vec::new())).collect();
    if out.is_empty() {
        return out;
    }
    for (i, function) in lifted.functions.iter().enumerate() {
        for reference in &function.refs {
            for object in escape::objects(reference) {
                let Some(all) = out.get_mut(&object) else { continue };
                if all.last() != Some(&i.into()) && !lifted.means_mark(image, function, reference) {
                    all.push(i.into());
                }
            }
        }
    }
    out
}

/// The pair of objects that a variable with another type is.
fn candidate(analysis: Analysis<'_>, change: &VarChange) -> Option<(DataId, DataId)> {
    let old = *analysis.old.data_at.get(&change.old_at)?;
    let new = *analysis.new.data_at.get(&change.new_at)?;
    let pair = analysis.pairs.data_to_old.get(new.index()).copied().flatten()?;
    (!change.tls && !change.ambiguous && pair.old == old).then_some((old, new))
}

/// What can be said of the two objects alone.
fn fits(analysis: Analysis<'_>, old: DataId, new: DataId, pointers: &(Pointers, Pointers)) -> Result<(), String> {
    let (was, is) = ((analysis.old_image, analysis.old, old), (analysis.new_image, analysis.new, new));
    for ((image, lifted, id), pointers) in [(was, &pointers.0), (is, &pointers.1)] {
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
        if let Some(at) = pointers.leads_into(datum.range) {
            return Err(format!("`{}` holds its address", holder(lifted, at)));
        }
    }
    Ok(())
}

/// What lies at `at`, by name where it has one.
fn holder(lifted: &Lifted, at: Svma) -> String {
    let holder = lifted.data_at.range(..=at).next_back().map(|(_, id)| &lifted.data[id.index()]);
    let named = holder.filter(|d| d.range.contains(at) && !d.name.is_empty());
    named.map_or_else(|| at.to_string(), |d| d.name.clone())
}

/// Addresses that data hold: what they lead to, and where they stand. The GOT, which code reads by name, doesn't count.
struct Pointers {
    held: BTreeMap<Svma, Svma>,
    /// Copies of other modules' objects, which have their own way to them.
    copies: BTreeSet<Svma>,
}

impl Pointers {
    fn of(image: &Image, lifted: &Lifted) -> Pointers {
        let (mut all, mut copies) = (BTreeMap::new(), BTreeSet::new());
        for datum in &lifted.data {
            for reference in datum.refs.iter().chain(&datum.ambiguous) {
                if let Target::Data { data, offset } = &reference.target {
                    let to = lifted.data[data.index()].range.start.offset(*offset);
                    all.insert(to, datum.range.start.plus(u64::from(reference.at)));
                }
            }
        }
        for (&at, reloc) in &image.dynamic {
            match reloc {
                DynReloc::Relative { target } | DynReloc::Symbol { local: Some(target), .. }
                    if image.kind_at(at) != Some(SectionKind::Got) =>
                {
                    all.insert(*target, at);
                }
                DynReloc::Copy { .. } => drop(copies.insert(at)),
                _ => {}
            }
        }
        Pointers { held: all, copies }
    }

    /// Where an address in `range`, or of its end, is held.
    fn leads_into(&self, range: SvmaRange) -> Option<Svma> {
        let held = self.held.range(range.start..=range.end).next().map(|(_, &at)| at);
        held.or_else(|| self.copies.range(range.start..range.end).next().copied())
    }

    /// Whether an address in `range` is held, before its end.
    fn inside(&self, range: SvmaRange) -> bool {
        self.held.range(range.start..range.end).next().is_some()
            || self.copies.range(range.start..range.end).next().is_some()
    }
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
    signatures: &'a Signatures,
    /// Where callers may get the address.
    calls: Option<&'a Calls>,
}

impl Side<'_> {
    fn keeps_to_itself(&self, object: DataId, users: &[FuncId]) -> Result<(), String> {
        for (i, function) in self.lifted.functions.iter().enumerate() {
            let unseen = function.insns.is_empty() || function.unprovable.iter().any(|u| u.code == 213);
            if unseen && !users.contains(&i.into()) {
                return Err(format!("what `{}` refers to isn't known", function.name));
            }
            let other = |r: &&CodeRef| self.may_reach(function, r, object) && !escape::names(r, object);
            if let Some(r) = function.refs.iter().find(other) {
                let at = function.parts[usize::from(r.part)].start.plus(u64::from(r.insn));
                return Err(format!("`{}` at {at} may compute its address from another", function.name));
            }
        }
        let mut address = Address::new(self.image, self.lifted, &self.signatures.taken, object);
        let returned = |func: FuncId| {
            let entry = self.lifted.functions[func.index()].parts[0].start;
            self.signatures.returned.get(&entry).copied().unwrap_or(Returned::More)
        };
        address.stays_in(users, returned, self.calls)
    }

    /// An address that the function computes with, close to the object and not plainly that of another one: with a constant index folded in
    /// it may be the object's.
    fn may_reach(&self, function: &Function, reference: &CodeRef, object: DataId) -> bool {
        let (true, Target::Data { data, offset }) = (reference.indexed, &reference.target) else { return false };
        let (here, Data { range, section, .. }) = (&self.lifted.data[data.index()], &self.lifted.data[object.index()]);
        let at = here.range.start.offset(*offset);
        let near = at.0 < range.end.0.saturating_add(FOLDED) && range.start.0 < at.0.saturating_add(FOLDED);
        let writable = |section: SectionKind| matches!(section, SectionKind::Data | SectionKind::Bss);
        if !near || writable(here.section) != writable(*section) || self.lifted.is_start(*data, *offset) {
            return false;
        }
        let inside = (0..here.range.size().cast_signed()).contains(offset);
        let another =
            |r: &CodeRef| matches!(&r.target, Target::Data { data: d, offset: o } if d == data && o != offset);
        let folded = at < range.start && spans(range.size(), range.start.0 - at.0);
        !inside || folded || (*offset >= MEMBER && !function.refs.iter().any(another))
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
