//! The closure: everything that must go into the patch so that the replaced functions run as they do in the new image.
//!
//! Starts from the changed functions and constants; each reference of a carried function or datum either binds to the old image
//! ([`Place::Old`]), to another object ([`Place::Import`]), or brings its target along. What can't be bound is a [`Finding`].

mod alignment;
mod bases;
mod bind;
mod closure;
mod idle;
mod labels;
mod literals;
mod neighbours;
mod runs;
mod threads;
mod unwind;

use crate::addr::{DataId, FuncId, ImportId, Svma};
use crate::compare::{Cause, ChangeSet, CodeEdit};
use crate::correlate::Correlation;
use crate::diag::Finding;
use crate::image::Image;
use crate::lift::Lifted;
use std::collections::{BTreeMap, BTreeSet};

pub use bases::spans;
pub use bind::{Binder, LEA, LOAD, SlotKey, ThreadForm, Unbound, follows};
pub use closure::{Choices, close};
pub use idle::Overwritten;
pub use literals::carried_size;
pub use threads::threads;
pub use unwind::{Cie, Lsda, TYPE_ENCODING, Unwind, unwind_of};

/// The two builds and what the phases before found. All ids in `changes` say which side they belong to.
#[derive(Clone, Copy)]
pub struct Analysis<'a> {
    pub old_image: &'a Image,
    pub new_image: &'a Image,
    pub old: &'a Lifted,
    pub new: &'a Lifted,
    pub pairs: &'a Correlation,
    pub changes: &'a ChangeSet,
    /// Changed functions of the new image whose old code stays, on request.
    pub left: &'a BTreeSet<FuncId>,
}

impl std::fmt::Debug for Analysis<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.old_image.path.display(), self.new_image.path.display())
    }
}

/// Where a reference of carried code or data leads in the patched process.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Place {
    /// A place of the old image, which stays.
    Old(Svma),
    /// A carried function, at an offset into one of its parts.
    Func { func: FuncId, part: u8, offset: u32 },
    /// A carried datum; of a thread-local one the offset, from the thread pointer or its block as the field has it.
    Data { data: DataId, offset: i64 },
    /// Another object's symbol, jumped to or called: through a stub of the patch's own.
    Stub(ImportId),
    /// Another object's symbol by address.
    Import(ImportId),
    /// A pointer-sized slot of the patch's own.
    Slot(SlotKey),
    /// What such a slot holds, for a `lea` or `mov` of an address that becomes a load: it may be out of its reach.
    Loaded(SlotKey),
    /// Nowhere: the field holds a number and stays as it is.
    Plain,
    /// A constant known now: offset of a thread-local variable from the thread pointer or its block.
    Number(i64),
}

/// Why a function is carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Takes the place of this old function.
    Replaces(FuncId, Cause),
    /// Only in the new image.
    New,
}

/// One datum of the old image whose bytes become those of the new one, in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edit {
    pub old: DataId,
    pub new: DataId,
}

/// Bytes of a variable that both builds have, with their distance from its start in each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Kept {
    pub from: u64,
    pub to: u64,
    pub len: u64,
}

/// A variable whose live value goes to a carried object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Migration {
    pub old: DataId,
    /// Ascending, without overlap.
    pub kept: Vec<Kept>,
}

/// By the new build's object.
pub type Migrations = BTreeMap<DataId, Migration>;

/// One function of the old image that becomes the new one by overwriting operands in place.
#[derive(Clone, Debug)]
pub struct InPlace {
    pub old: FuncId,
    pub new: FuncId,
    pub cause: Cause,
    pub edits: Vec<CodeEdit>,
}

/// One function of the old image that stays as it is, and must not be active when the patch is applied or reverted.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    pub old: FuncId,
    /// [`Cause::Reader`], [`Cause::Holder`] or [`Cause::Caller`].
    pub cause: Cause,
}

#[derive(Debug, Default)]
pub struct PatchSet {
    /// Carried ones.
    pub functions: BTreeMap<FuncId, Role>,
    /// Ascending by new id; none of them is in `functions`.
    pub in_place: Vec<InPlace>,
    /// Ascending by old id; none of them is in `functions` or `in_place`.
    pub idle: Vec<Idle>,
    pub data: BTreeSet<DataId>,
    pub edits: Vec<Edit>,
    pub slots: BTreeSet<SlotKey>,
    pub stubs: BTreeSet<ImportId>,
    /// New-image data that replace their old counterpart at another address: every reader is carried.
    pub moved: BTreeSet<DataId>,
    /// Those of them whose live value moves along.
    pub migrations: Migrations,
    /// Variables that get their new initial value, whatever they hold.
    pub resets: Vec<Edit>,
    pub findings: Vec<Finding>,
    pub references: References,
}

/// Addresses in the code of the carried functions.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize)]
pub struct References {
    /// Their meaning in the patched process is proven.
    pub proven: usize,
    /// Each is a finding of severity `Refuse`.
    pub refused: usize,
}

impl PatchSet {
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.edits.is_empty() && self.in_place.is_empty() && self.resets.is_empty()
    }

    /// (old, new, cause) of every function whose code changes in the process: replaced, or edited in place.
    pub fn changed(&self) -> impl Iterator<Item = (FuncId, FuncId, Cause)> + '_ {
        self.replaced().chain(self.in_place.iter().map(|f| (f.old, f.new, f.cause)))
    }

    /// (old, new, cause) of every replaced function.
    pub fn replaced(&self) -> impl Iterator<Item = (FuncId, FuncId, Cause)> + '_ {
        self.functions.iter().filter_map(|(&new, role)| match role {
            Role::Replaces(old, cause) => Some((*old, new, *cause)),
            Role::New => None,
        })
    }
}
