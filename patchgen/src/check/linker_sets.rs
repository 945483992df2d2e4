//! Sections that a program walks from `__start_NAME` to `__stop_NAME`, which the link editor defines for sections whose names are C
//! identifiers (GNU ld, "Input Section Example"; lld, mold alike): what lies in them is a list that no patch can lengthen or reorder.
//!
//! With the same objects at the same distances in both builds, an address at either end means the same place whether the label or the
//! object there is meant.

use super::{Context, Findings};
use crate::addr::{DataId, Svma, SvmaRange};
use crate::compare::{elements, list, lists};
use crate::diag::Severity;
use crate::image::{DynReloc, Image};
use crate::include::Analysis;
use crate::lift::{DataKind, Lifted};
use patchfmt::codes;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    for name in lists(a.old_image).union(&lists(a.new_image)) {
        if let Err(why) = same_list(context, name) {
            let message = format!("`{name}`, which runs from `__start_{name}` to `__stop_{name}`: {why}");
            findings.add(Severity::Refuse, codes::LINKER_SET, name, message);
        }
    }
}

fn same_list(context: Context<'_>, name: &str) -> Result<(), String> {
    let a = context.analysis;
    let (old, new) = match (list(a.old_image, name), list(a.new_image, name)) {
        (Some(old), Some(new)) => (old, new),
        (Some(_), None) => return Err("the new build has no such section".to_owned()),
        (None, _) => return Err("the old build has no such section".to_owned()),
    };
    let (was, is) = (elements(a.old, old), elements(a.new, new));
    let text = |lifted: &Lifted, id: DataId| lifted.data[id.index()].name.clone();
    let paired = |id: DataId| a.pairs.data_to_old.get(id.index()).copied().flatten().map(|p| p.old);
    for &(_, id) in &is {
        if !paired(id).is_some_and(|p| was.iter().any(|w| w.1 == p)) {
            return Err(format!("`{}` is new in it", text(a.new, id)));
        }
        if context.set.moved.contains(&id) {
            return Err(format!("`{}` would get a place outside of it", text(a.new, id)));
        }
    }
    if let Some(&(_, gone)) = was.iter().find(|w| !is.iter().any(|i| paired(i.1) == Some(w.1))) {
        return Err(format!("`{}` is gone from it", text(a.old, gone)));
    }
    let size = |lifted: &Lifted, id: DataId| lifted.data[id.index()].range.size();
    let mut sides = was.iter().zip(&is);
    let other = sides.find(|(w, i)| w.0 != i.0 || paired(i.1) != Some(w.1) || size(a.old, w.1) != size(a.new, i.1));
    if let Some((_, &(_, id))) = other {
        return Err(format!("`{}` has another size or place in it", text(a.new, id)));
    }
    let covered = |at: u64| is.iter().any(|&(start, id)| at >= start && at - start < size(a.new, id));
    match old.size() == new.size() && same_rest(a, old.start, new, &covered) {
        true => Ok(()),
        false => Err("what lies between its named objects differs".to_owned()),
    }
}

/// Whether what no named object covers is the same, byte for byte and address for address. Both ranges have one size.
fn same_rest(a: Analysis<'_>, old: Svma, new: SvmaRange, covered: &dyn Fn(u64) -> bool) -> bool {
    let mut at = 0;
    while at < new.size() {
        if covered(at) {
            at += 1;
            continue;
        }
        let (x, y) = (old.plus(at), new.start.plus(at));
        match (a.old_image.dynamic_at(x), a.new_image.dynamic_at(y)) {
            (None, None) if a.old_image.bytes(x, 1) == a.new_image.bytes(y, 1) => at += 1,
            (Some(DynReloc::Relative { target: p }), Some(DynReloc::Relative { target: q }))
                if same_place(a, *p, *q) =>
            {
                at += 8;
            }
            _ => return false,
        }
    }
    true
}

/// The same distance into functions or objects that are paired.
fn same_place(a: Analysis<'_>, old: Svma, new: Svma) -> bool {
    let function = |lifted: &Lifted, at: Svma| {
        let (start, &id) = lifted.func_at.range(..=at).next_back()?;
        Some((id, at.0 - start.0)).filter(|_| lifted.functions[id.index()].parts[0].contains(at))
    };
    let object = |lifted: &Lifted, at: Svma| {
        let (start, &id) = lifted.data_at.range(..=at).next_back()?;
        Some((id, at.0 - start.0)).filter(|_| lifted.data[id.index()].range.contains(at))
    };
    match (function(a.old, old), function(a.new, new), object(a.old, old), object(a.new, new)) {
        (Some((f, x)), Some((g, y)), ..) => x == y && a.pairs.func_to_old[g.index()].is_some_and(|p| p.old == f),
        (None, None, Some((c, x)), Some((d, y))) => {
            x == y && a.pairs.data_to_old[d.index()].is_some_and(|p| p.old == c) || same_layout(a, old, new)
        }
        (None, None, None, None) => same_layout(a, old, new),
        _ => false,
    }
}

/// The same distance into sections of one name, size and content: there, what has no name is what it was.
fn same_layout(a: Analysis<'_>, old: Svma, new: Svma) -> bool {
    let named = |lifted: &Lifted, at: Svma| {
        let object = lifted.data_at.range(..=at).next_back().map(|(_, id)| &lifted.data[id.index()]);
        object.is_some_and(|d| d.range.contains(at) && d.kind == DataKind::Named)
    };
    let place = |image: &Image, at: Svma| {
        let id = image.section_at(at)?;
        let section = image.section(id);
        Some((
            section.name.clone(),
            section.range.size(),
            at.0 - section.range.start.0,
            image.section_bytes(id).to_vec(),
        ))
    };
    let unnamed = !named(a.old, old) && !named(a.new, new);
    unnamed && place(a.old_image, old).is_some_and(|p| Some(p) == place(a.new_image, new))
}
