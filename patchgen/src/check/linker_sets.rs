//! Sections that a program walks from `__start_NAME` to `__stop_NAME`, which the link editor defines for sections whose names are C
//! identifiers (GNU ld, "Input Section Example"; lld, mold alike): what lies in them is a list that no patch can lengthen or reorder.
//!
//! With the same objects at the same distances in both builds, an address at either end means the same place whether the label or the
//! object there is meant.

use super::{Context, Findings};
use crate::addr::DataId;
use crate::compare::{elements, list, lists, same_rest};
use crate::correlate::Side;
use crate::diag::Severity;
use crate::lift::Lifted;
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
    let sides = (Side { image: a.old_image, lifted: a.old }, Side { image: a.new_image, lifted: a.new });
    match old.size() == new.size() && same_rest(sides, a.pairs, (old, new), &covered) {
        true => Ok(()),
        false => Err("what lies between its named objects differs".to_owned()),
    }
}
