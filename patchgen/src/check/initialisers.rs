//! Constructors (gABI, DT_INIT_ARRAY; the objects of C++ with static storage): a live process has run the old ones. A bundle for the start comes
//! before those of its modules (the loader refuses it where it can't), so that changed ones are right in it; but nobody ever calls an entry that
//! only the new array has, and one that only the old array has is called all the same: at exit, or when the file with the patch in it starts.

use super::instances::Calls;
use super::{Context, Findings};
use crate::addr::{FuncId, Svma, SvmaRange};
use crate::diag::Severity;
use crate::image::{DynReloc, Image, ImageKind, SectionKind};
use crate::include::Analysis;
use crate::lift::{Function, Lifted, Target};
use patchfmt::codes;
use std::collections::BTreeSet;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let mut unheard = BTreeSet::new();
    for (section, range) in &a.new_image.init_arrays {
        let of_old = a.old_image.init_arrays.iter().find(|(n, _)| n == section);
        let before: Vec<Entry> = of_old.map(|(_, r)| entries(a.old_image, a.old, *r)).unwrap_or_default();
        for entry in entries(a.new_image, a.new, *range).into_iter().filter(|e| !is_among(a, e, &before)) {
            let name = entry.name(a.new);
            let message = format!(
                "`{name}` is new in {section}: nothing calls it in a patched process, nor with the bundle at start"
            );
            findings.add(Severity::Review, codes::INIT_ARRAY, &name, message);
            unheard.extend(entry.func());
        }
    }
    gone(a, findings);
    let changed: BTreeSet<FuncId> = context.set.changed().map(|(_, new, _)| new).collect();
    if changed.is_empty() && unheard.is_empty() {
        return;
    }
    let first = initialisers(a);
    let at_start = starters(a, &first);
    for &id in at_start.intersection(&changed) {
        let name = &a.new.functions[id.index()].name;
        let message =
            format!("`{name}` changed and runs before all others only: a live process has what the old one set up");
        findings.add(Severity::Start, codes::INIT_ARRAY, name, message);
    }
    let heard = reached(a, first.difference(&unheard), |f| at_start.contains(&f));
    for &id in at_start.difference(&heard) {
        refuse_unprepared(context, id, findings);
    }
}

/// Entries that only the old build has, and what is called beside the arrays.
fn gone(a: Analysis<'_>, findings: &mut Findings) {
    for (section, range) in &a.old_image.init_arrays {
        let of_new = a.new_image.init_arrays.iter().find(|(n, _)| n == section);
        let after: Vec<Entry> = of_new.map(|(_, r)| entries(a.new_image, a.new, *r)).unwrap_or_default();
        let is_left = |e: &Entry| after.iter().any(|other| is_among(a, other, std::slice::from_ref(e)));
        for entry in entries(a.old_image, a.old, *range).into_iter().filter(|e| !is_left(e)) {
            let name = entry.name(a.old);
            let when = match section.as_str() {
                ".fini_array" => "a patched process still calls it when it ends",
                _ => "a live process has run it, and a file with the patch in it would run it",
            };
            findings.add(
                Severity::Review,
                codes::INIT_ARRAY,
                &name,
                format!("`{name}` is gone from {section}: {when}"),
            );
        }
    }
    let both = [("DT_INIT", a.old_image.init, a.new_image.init), ("DT_FINI", a.old_image.fini, a.new_image.fini)];
    for (tag, old, new) in both.into_iter().filter(|(_, old, new)| !is_counterpart(a, *old, *new)) {
        let name = |lifted: &Lifted, at: Option<Svma>| {
            at.map_or("nothing".to_owned(), |at| Entry::at(lifted, at).name(lifted))
        };
        let (old, new) = (name(a.old, old), name(a.new, new));
        let message = format!("{tag} leads to `{new}`, and in a patched process still to `{old}`");
        findings.add(Severity::Review, codes::INIT_ARRAY, &new, message);
    }
}

/// Whether DT_INIT or DT_FINI leads to the same function, or to the whole of the same section.
fn is_counterpart(a: Analysis<'_>, old: Option<Svma>, new: Option<Svma>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return old == new };
    let section = |image: &'_ Image, at: Svma| -> Option<String> {
        let section = image.section(image.section_at(at)?);
        (section.range.start == at).then(|| section.name.clone())
    };
    let whole = section(a.old_image, old);
    (whole.is_some() && whole.as_deref() != Some(".text") && whole == section(a.new_image, new))
        || is_among(a, &Entry::at(a.new, new), &[Entry::at(a.old, old)])
}

/// What is set up by a function that doesn't run must not be in the patch: it would be used as it lies in the file.
fn refuse_unprepared(context: Context<'_>, id: FuncId, findings: &mut Findings) {
    let a = context.analysis;
    let function = &a.new.functions[id.index()];
    let written: BTreeSet<_> = function.refs.iter().filter_map(|r| r.target.data()).collect();
    for data in written.into_iter().filter(|d| context.set.data.contains(d)) {
        let datum = &a.new.data[data.index()];
        if matches!(datum.section, SectionKind::Data | SectionKind::Bss) {
            let message = format!("`{}` is new, and `{}`, which sets it up, would not run", datum.name, function.name);
            findings.add(Severity::Refuse, codes::INIT_ARRAY, &datum.name, message);
        }
    }
}

/// The new image's constructors.
fn initialisers(a: Analysis<'_>) -> BTreeSet<FuncId> {
    let arrays = a.new_image.init_arrays.iter().filter(|(name, _)| name != ".fini_array");
    arrays.flat_map(|(_, range)| entries(a.new_image, a.new, *range)).filter_map(|e| e.func()).collect()
}

/// Functions of the new image that nothing but those in `first` leads to.
pub(super) fn starters(a: Analysis<'_>, first: &BTreeSet<FuncId>) -> BTreeSet<FuncId> {
    if first.is_empty() {
        return BTreeSet::new();
    }
    let calls = Calls::of(a.new_image, a.new);
    let mut found = first.clone();
    let mut todo: Vec<FuncId> = found.iter().copied().collect();
    while let Some(caller) = todo.pop() {
        for callee in called(&a.new.functions[caller.index()]) {
            let only = !calls.address_taken(callee) && calls.callers(callee).all(|c| found.contains(&c));
            if only && found.insert(callee) {
                todo.push(callee);
            }
        }
    }
    found
}

/// What the calls of `from` lead to in the new image, as far as it is `within`.
pub(super) fn reached<'a>(
    a: Analysis<'_>,
    from: impl Iterator<Item = &'a FuncId>,
    within: impl Fn(FuncId) -> bool,
) -> BTreeSet<FuncId> {
    let mut found: BTreeSet<FuncId> = from.copied().collect();
    let mut todo: Vec<FuncId> = found.iter().copied().collect();
    while let Some(caller) = todo.pop() {
        let next = called(&a.new.functions[caller.index()]).filter(|&c| within(c));
        todo.extend(next.filter(|&c| found.insert(c)));
    }
    found
}

fn called(function: &Function) -> impl Iterator<Item = FuncId> + '_ {
    function.refs.iter().filter_map(|r| match r.target {
        Target::Func { func, .. } if r.branch => Some(func),
        _ => None,
    })
}

/// An entry of an array.
enum Entry {
    Func(FuncId),
    /// No function starts there.
    Place(Svma),
}

impl Entry {
    fn at(lifted: &Lifted, at: Svma) -> Entry {
        lifted.func_at.get(&at).map_or(Entry::Place(at), |&id| Entry::Func(id))
    }

    fn func(&self) -> Option<FuncId> {
        match self {
            Entry::Func(id) => Some(*id),
            Entry::Place(_) => None,
        }
    }

    fn name(&self, lifted: &Lifted) -> String {
        match self {
            Entry::Func(id) => lifted.functions[id.index()].name.clone(),
            Entry::Place(at) => at.to_string(),
        }
    }
}

/// Whether the old array has the function that a new entry is.
fn is_among(a: Analysis<'_>, entry: &Entry, old: &[Entry]) -> bool {
    let func = match *entry {
        Entry::Func(func) => func,
        Entry::Place(at) => return old.iter().any(|e| matches!(e, Entry::Place(was) if *was == at)),
    };
    let Some(pair) = a.pairs.func_to_old.get(func.index()).copied().flatten() else { return false };
    old.iter().any(|e| e.func() == Some(pair.old))
}

fn entries(image: &Image, lifted: &Lifted, range: SvmaRange) -> Vec<Entry> {
    let words = (0..range.size() / 8).map(|i| range.start.plus(i * 8));
    words
        .filter_map(|at| match image.dynamic.get(&at) {
            Some(DynReloc::Relative { target } | DynReloc::Symbol { local: Some(target), .. }) => Some(*target),
            None if image.kind == ImageKind::Exec => {
                let word = image.bytes(at, 8)?.try_into().ok().map(u64::from_le_bytes)?;
                Some(Svma(word))
            }
            _ => None,
        })
        // The ends of a list of the old form.
        .filter(|at| at.0 != 0 && at.0 != u64::MAX)
        .map(|at| Entry::at(lifted, at))
        .collect()
}
