//! Which functions and data are the same, changed, new or gone, and why.

use crate::addr::{DataId, FuncId, Svma};

/// Cause of a difference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// Instructions differ.
    Code,
    /// Only literals (immediates, strings, constants).
    Literal,
    /// Only immediates that are the line of their own site in both builds.
    LineNumber,
    /// Only displacements of memory operands.
    Displacement,
    /// A reference now denotes something else.
    Retarget,
    /// Exception tables or unwind data differ.
    Unwind,
    /// Its code is the same, but it reads a constant that can't be changed in place, or it inherits a part that changed.
    Reader,
    /// Could not be proven the same.
    Unproven,
}

#[derive(Clone, Debug)]
pub struct FuncChange {
    pub old: FuncId,
    pub new: FuncId,
    pub cause: Cause,
    /// First differing instruction in both images, where there is one.
    pub first: Option<(Svma, Svma)>,
    pub detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataDiff {
    /// Initial bytes or pointers differ, same size.
    Content,
    Size { old: u64, new: u64 },
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
