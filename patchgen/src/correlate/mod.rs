//! Pairs functions and data of the old and the new image, with the reason for each pair.

use crate::addr::{DataId, FuncId};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The same global name (and version).
    GlobalName,
    /// The same local name in the same unit, only one on each side.
    LocalName,
    /// The same stem after removal of clone suffixes or hashes, in the same unit.
    Stem,
    /// Several of the same name: paired by order and content.
    Order,
    /// Only one candidate with equal content.
    Content,
}

#[derive(Clone, Copy, Debug)]
pub struct Pair<T> {
    pub old: T,
    pub new: T,
    pub why: Why,
}

/// Indexed both ways; `None` means gone (old) or new (new).
#[derive(Debug, Default)]
pub struct Correlation {
    pub func_to_new: Vec<Option<Pair<FuncId>>>,
    pub func_to_old: Vec<Option<Pair<FuncId>>>,
    /// Named data only; anonymous data are compared by content.
    pub data_to_new: Vec<Option<Pair<DataId>>>,
    pub data_to_old: Vec<Option<Pair<DataId>>>,
    /// Names that could not be paired safely (HP03xx), with the symbol.
    pub ambiguous: Vec<(u16, String)>,
}
