//! Variables that are constants in all but the keyword: nothing writes to them in either build, so that a live process has the initial value.

use super::walk::{Follows, Walk};
use super::{Pointers, Side, escape, fits, users};
use crate::addr::{DataId, FuncId};
use crate::check::mains;
use crate::compare::DataDiff;
use crate::image::{Image, SectionKind};
use crate::include::Analysis;
use crate::lift::{Function, Insn, Lifted};
use crate::types::{Returned, Signatures};
use std::collections::{BTreeMap, BTreeSet};

/// Of the variables of the new build whose initial value changed: those that only functions know which read them.
pub fn unwritten(analysis: Analysis<'_>) -> BTreeSet<DataId> {
    let writable =
        |d: DataId, lifted: &Lifted| matches!(lifted.data[d.index()].section, SectionKind::Data | SectionKind::Bss);
    let changed = analysis.changes.data_changed.iter().filter(|c| c.diff == DataDiff::Content);
    let changed =
        changed.map(|c| (c.old, c.new)).filter(|c| writable(c.0, analysis.old) && writable(c.1, analysis.new));
    let mut open: Vec<(DataId, DataId)> = changed.collect();
    if open.is_empty() {
        return BTreeSet::new();
    }
    let pointers = (Pointers::of(analysis.old_image, analysis.old), Pointers::of(analysis.new_image, analysis.new));
    open.retain(|&(old, new)| fits(analysis, old, new, &pointers).is_ok());
    let before = users(analysis.old_image, analysis.old, open.iter().map(|c| c.0));
    let after = users(analysis.new_image, analysis.new, open.iter().map(|c| c.1));
    // Who never leaves the stack would have to be waited for, and may have what it read.
    let mains = mains(analysis.old);
    let stays = |f: &FuncId| mains.contains(f) || calls_in_circles(&analysis.old.functions[f.index()]);
    open.retain(|(old, new)| {
        !before.get(old).is_some_and(|users| users.iter().any(stays))
            && only_read((analysis.old_image, analysis.old), *old, &before)
            && only_read((analysis.new_image, analysis.new), *new, &after)
    });
    open.into_iter().map(|(_, new)| new).collect()
}

/// Whether there is a call in a loop: the function may serve requests, or wait for them, as long as the process lives.
fn calls_in_circles(f: &Function) -> bool {
    let calls: Vec<usize> = (0..f.insns.len()).filter(|&n| f.insns[n].is_call()).collect();
    let back = |(n, insn): (usize, &Insn)| Some((f.index(insn.local()?).filter(|&to| to <= n)?, n));
    f.insns.iter().enumerate().filter_map(back).any(|(from, to)| calls.iter().any(|c| (from..=to).contains(c)))
}

fn only_read((image, lifted): (&Image, &Lifted), object: DataId, users: &BTreeMap<DataId, Vec<FuncId>>) -> bool {
    let signatures = Signatures::default();
    let users = users.get(&object).map_or(&[][..], Vec::as_slice);
    let side = Side { image, lifted, signatures: &signatures, calls: None };
    let names = |r: &_| escape::names(r, object);
    let reads = |f: &FuncId| {
        let f = &lifted.functions[f.index()];
        Walk::new(image, f, &names, Follows::Address).run(Returned::More).is_ok()
    };
    !users.is_empty() && users.iter().all(reads) && side.is_named(object, users).is_ok()
}
