//! Which functions and data are the same, changed, new or gone, and why.

mod apart;
mod arguments;
mod code;
mod in_place;
mod lines;
mod lists;
mod same;
mod seen;
mod set_up;
mod shifts;
mod stamps;
pub mod text;
mod unwind;
mod witness;

use crate::addr::{DataId, FuncId, Svma};
use crate::correlate::{Correlation, Side};
use crate::image::SectionKind;
use crate::lift::{Data, DataKind};
pub use arguments::taken_by;
use code::compare_function;
pub(crate) use code::is_immediate;
pub use in_place::CodeEdit;
use in_place::in_place;
use lines::{Source, only_line_numbers};
pub use lists::{elements, list, lists, pair_lists, same_rest};
use rayon::prelude::*;
use same::Same;
pub use seen::{Counterparts, Meaning};
pub use set_up::{Guard, SetUp, same_set_up, set_ups};
pub use shifts::{Base, Shift, shifts};
pub use stamps::{Stamp, Stamps};
pub use witness::witnesses;

/// Cause of a difference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// Instructions differ.
    Code,
    /// Only numbers in instructions.
    Immediate,
    /// Only literals: strings and constants, and perhaps immediates.
    Literal,
    /// Only immediates that are the line of their own site in both builds.
    LineNumber,
    /// Only displacements of memory operands.
    Displacement,
    /// A reference now denotes something else.
    Retarget,
    /// A reference now denotes another clone of the same function, which the compiler numbers as it likes.
    CloneRenumbering,
    /// A jump table leads elsewhere.
    JumpTable,
    /// Exception tables or unwind data differ.
    Unwind,
    /// Its code is the same, but it reads a constant that changes, where it is or at another place, or it inherits a part that changed.
    Reader,
    /// Its code is the same, but an instance of a type whose layout changed may be in its frame.
    Holder,
    /// Only the old build has it, and it calls what changes.
    Caller,
    /// Could not be proven the same.
    Unproven,
}

impl Cause {
    /// As reports have it.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Code => "code",
            Cause::Immediate => "immediate",
            Cause::Literal => "literal",
            Cause::LineNumber => "line number",
            Cause::Displacement => "displacement",
            Cause::Retarget => "retargeted reference",
            Cause::CloneRenumbering => "clone renumbering",
            Cause::JumpTable => "jump table",
            Cause::Unwind => "exception table or unwind data",
            Cause::Reader => "reads data that change",
            Cause::Holder => "may hold a value of a changed type",
            Cause::Caller => "is gone and calls what changes",
            Cause::Unproven => "not proven the same",
        }
    }
}

#[derive(Clone, Debug)]
pub struct FuncChange {
    pub old: FuncId,
    pub new: FuncId,
    pub cause: Cause,
    /// First differing instruction in both images, where there is one.
    pub first: Option<(Svma, Svma)>,
    pub detail: String,
    /// What makes the old function the new one where it is, when only operands differ.
    pub edits: Option<Vec<CodeEdit>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataDiff {
    /// Initial bytes or pointers differ, same size.
    Content,
    Size {
        old: u64,
        new: u64,
    },
    /// Moved between sections of different kind (for instance const to writable).
    Section,
}

#[derive(Clone, Debug)]
pub struct DataChange {
    pub old: DataId,
    pub new: DataId,
    pub diff: DataDiff,
}

#[derive(Debug, Default)]
pub struct ChangeSet {
    /// Ascending by new id.
    pub changed: Vec<FuncChange>,
    pub new_funcs: Vec<FuncId>,
    pub gone_funcs: Vec<FuncId>,
    pub data_changed: Vec<DataChange>,
    pub new_data: Vec<DataId>,
    pub gone_data: Vec<DataId>,
    /// Pairs proven equal.
    pub same: usize,
}

/// Compares all pairs. Equality of two functions rests on the identity of pairs, never on the equality of what they refer to, so
/// cycles are no matter: a function that calls a changed one is the same function.
pub fn compare(old: Side<'_>, new: Side<'_>, pairs: &Correlation, stamps: &Stamps) -> ChangeSet {
    let same = Same::new(old, new, pairs, stamps);
    let function = |old, new| {
        let mut change = compare_function(&same, old, new)?;
        if matches!(change.cause, Cause::Immediate | Cause::Displacement) {
            change.edits = in_place(&same, old, new);
        }
        Some(change)
    };
    let verdicts: Vec<Option<FuncChange>> =
        pairs.func_to_old.par_iter().map(|p| p.and_then(|p| function(p.old, p.new))).collect();
    let data: Vec<Option<DataChange>> =
        pairs.data_to_old.par_iter().map(|p| p.and_then(|p| compare_data(&same, p.old, p.new))).collect();
    let paired = pairs.func_to_old.iter().flatten().count();
    let changed: Vec<FuncChange> = verdicts.into_iter().flatten().collect();
    let unpaired = |to: &[Option<crate::correlate::Pair<FuncId>>]| -> Vec<FuncId> {
        to.iter().enumerate().filter(|(_, p)| p.is_none()).map(|(i, _)| i.into()).collect()
    };
    let lone = |to: &[Option<crate::correlate::Pair<DataId>>], data: &[Data]| -> Vec<DataId> {
        let named = |i: usize| data[i].kind == DataKind::Named;
        to.iter().enumerate().filter(|(i, p)| p.is_none() && named(*i)).map(|(i, _)| i.into()).collect()
    };
    ChangeSet {
        same: paired - changed.len(),
        changed,
        new_funcs: unpaired(&pairs.func_to_old),
        gone_funcs: unpaired(&pairs.func_to_new),
        data_changed: data.into_iter().flatten().collect(),
        new_data: lone(&pairs.data_to_old, &new.lifted.data),
        gone_data: lone(&pairs.data_to_new, &old.lifted.data),
    }
}

/// Says whether a function of the new build does what one of the old build does, be they a pair or not.
pub fn same_code<'a>(
    old: Side<'a>,
    new: Side<'a>,
    pairs: &'a Correlation,
    stamps: &'a Stamps,
) -> impl Fn(FuncId, FuncId) -> bool + 'a {
    let same = Same::new(old, new, pairs, stamps);
    move |a, b| compare_function(&same, a, b).is_none()
}

fn compare_data(same: &Same<'_>, old: DataId, new: DataId) -> Option<DataChange> {
    let (a, b) = (&same.old.lifted.data[old.index()], &same.new.lifted.data[new.index()]);
    let change = |diff| Some(DataChange { old, new, diff });
    if a.range.size() != b.range.size() {
        return change(DataDiff::Size { old: a.range.size(), new: b.range.size() });
    }
    let group = |k: SectionKind| match k {
        SectionKind::Data | SectionKind::Bss => SectionKind::Data,
        SectionKind::Tdata | SectionKind::Tbss => SectionKind::Tdata,
        SectionKind::Rodata | SectionKind::Relro => SectionKind::Rodata,
        other => other,
    };
    if group(a.section) != group(b.section) {
        return change(DataDiff::Section);
    }
    if same.contents(a, b) { None } else { change(DataDiff::Content) }
}

impl ChangeSet {
    /// Tells apart those functions in which only numbers differ that are the lines of their own places in the source
    /// (`__LINE__` in assertions and log calls), given the place of an address in the source of each build.
    pub fn mark_line_numbers(
        &mut self,
        old: Side<'_>,
        new: Side<'_>,
        pairs: &Correlation,
        stamps: &Stamps,
        old_source: &Source<'_>,
        new_source: &Source<'_>,
    ) {
        let same = Same::new(old, new, pairs, stamps);
        self.changed.par_iter_mut().filter(|c| c.cause == Cause::Immediate).for_each(|c| {
            if only_line_numbers(&same, c.old, c.new, old_source, new_source) {
                c.cause = Cause::LineNumber;
            }
        });
    }

    /// Nothing to patch.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
            && self.new_funcs.is_empty()
            && self.gone_funcs.is_empty()
            && self.data_changed.is_empty()
            && self.new_data.is_empty()
            && self.gone_data.is_empty()
    }
}
