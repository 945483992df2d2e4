//! New variables of which somebody may have the address, or go on using them, when the bundle that brought them gives way to another one.

use super::lasting::Build;
use super::{LARGEST, Side};
use crate::addr::{DataId, FuncId};
use crate::check::Calls;
use crate::dwarf::DebugInfo;
use crate::image::{ImageError, SectionKind};
use crate::include::{Analysis, PatchSet, Role};
use crate::lift::DataKind;
use std::collections::{BTreeMap, BTreeSet};

/// Of the variables `brought`: why the value of one can't go along, in words.
///
/// # Errors
/// When debug information is damaged.
pub fn strays(
    analysis: Analysis<'_>,
    set: &PatchSet,
    brought: &[DataId],
    debug: Option<&DebugInfo<'_>>,
    calls: &Calls,
) -> Result<BTreeMap<DataId, String>, ImageError> {
    let build = Build::read(analysis.new_image, analysis.new, debug, brought.iter().copied())?;
    let reason = |&id: &DataId| build.stays_at_home(id).and_then(|()| leaves(analysis, set, &build, calls, id)).err();
    Ok(brought.iter().filter_map(|id| Some((*id, reason(id)?))).collect())
}

/// Whoever uses it gives way with the bundle: a function that replaces one is entered by the old entry only, a new one by calls of those, unless
/// somebody may have kept its address.
fn leaves(analysis: Analysis<'_>, set: &PatchSet, build: &Build<'_>, calls: &Calls, id: DataId) -> Result<(), String> {
    let mut todo: Vec<FuncId> = build.users(id).to_vec();
    let mut seen: BTreeSet<FuncId> = todo.iter().copied().collect();
    while let Some(func) = todo.pop() {
        let name = &analysis.new.functions[func.index()].name;
        match set.functions.get(&func) {
            Some(Role::Replaces(..)) => {}
            Some(Role::New) if calls.address_taken(func) => {
                return Err(format!("the address of `{name}`, which comes to it, may be kept"));
            }
            Some(Role::New) => todo.extend(calls.callers(func).filter(|&caller| seen.insert(caller))),
            // Others call the carried one by the old entry of a replaced function.
            None if build.users(id).contains(&func) => return Err(format!("`{name}` uses it, and isn't in the patch")),
            None => {}
        }
    }
    Ok(())
}

impl Build<'_> {
    /// Nobody has the variable's address but functions that name it.
    fn stays_at_home(&self, id: DataId) -> Result<(), String> {
        let datum = &self.lifted.data[id.index()];
        let plain = matches!(datum.section, SectionKind::Data | SectionKind::Bss) && datum.kind == DataKind::Named;
        if !plain || datum.open || datum.range.size() > LARGEST {
            return Err("it isn't a plain variable".to_owned());
        }
        if let Some(at) = self.pointers.leads_into(datum.range) {
            return Err(format!("`{}` holds its address", super::holder(self.lifted, at)));
        }
        let side = Side { image: self.image, lifted: self.lifted, signatures: &self.signatures, calls: None };
        side.keeps_to_itself(id, self.users(id))
    }
}
