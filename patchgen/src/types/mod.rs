//! What changed in the types, prototypes and variables of a program, from the DWARF of both builds.
//!
//! Types are compared by structure: neither the order of declarations nor the numbering of what has no name matters. A pointer to a struct
//! that changed doesn't change what holds the pointer; a struct inside another does.

mod arrays;
mod behind;
mod closures;
mod described;
mod diff;
mod frames;
mod generic;
mod hash;
mod holders;
mod index;
mod kept;
mod meaning;
mod name;
mod outline;
mod paired;
mod renamed;
mod returned;
mod shape;
mod storage;
mod words;

pub use arrays::{parts_with_extent, single};
pub use described::{thunk_target, undescribed};
pub use frames::{Frame, Frames, Reach, frames};
pub(crate) use generic::{Catches, ENV as CLOSURE_TYPE, Generic, closures, generics};
pub use holders::{Holder, Holders, holders};
pub use index::{Survey, VariablePart};
pub(crate) use kept::{Longer, kept};
pub(crate) use meaning::meanings;
pub(crate) use name::is_lambda;
pub(crate) use outline::{Aggregate, Outline, TypeName, outline};
pub use returned::{MOST, Returned, Signatures, signatures, signatures_at};
pub use words::{Part, Parts, parts};

use crate::addr::Svma;
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef};
use crate::image::ImageError;
use std::collections::{BTreeMap, BTreeSet};

/// What kind of type a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TypeKind {
    Struct,
    Class,
    Union,
    Enum,
}

impl TypeKind {
    pub fn word(self) -> &'static str {
        match self {
            TypeKind::Struct => "struct",
            TypeKind::Class => "class",
            TypeKind::Union => "union",
            TypeKind::Enum => "enum",
        }
    }
}

/// Where a member is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FieldAt {
    /// Bytes from the start; None for a virtual base.
    pub offset: Option<u64>,
    /// Of a bit-field: bits from `offset`, and width. Else (0, 0).
    pub bits: (u64, u64),
    /// Bytes; None where the type is incomplete (flexible arrays).
    pub size: Option<u64>,
    pub ty: String,
}

/// How one member differs. `old` None: added; `new` None: removed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FieldChange {
    /// Members of unnamed structs inside have their own name here.
    pub name: String,
    pub old: Option<FieldAt>,
    pub new: Option<FieldAt>,
    /// It has the same type by name, whose own layout changed: that is the cause to look at.
    pub by_value: Option<String>,
}

/// A struct, class or union whose bytes mean something else now.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LayoutChange {
    /// Qualified, without `struct`.
    pub name: String,
    pub old_kind: TypeKind,
    pub new_kind: TypeKind,
    /// Names of the units that declare it, sorted.
    pub units: Vec<String>,
    /// Where the new build declares it, `file:line`.
    pub place: Option<String>,
    pub old_size: Option<u64>,
    pub new_size: Option<u64>,
    /// In order of place.
    pub fields: Vec<FieldChange>,
    /// Virtual functions in order, when that order changed: old and new.
    pub vtable: Option<(Vec<String>, Vec<String>)>,
    /// Only the vtable differs, not the layout.
    pub only_vtable: bool,
    /// Declared in another way; every byte of an instance means what it meant.
    pub same_storage: bool,
    /// Types inside it (by value) that are the cause; empty when the cause is its own.
    pub causes: Vec<String>,
    /// Several types have this name, and which of the old ones became which can't be told.
    pub ambiguous: bool,
    /// `units` are all in which it changed. Else it may have changed in others too.
    pub all_units: bool,
    /// One line for a reader.
    pub detail: String,
}

/// An enum whose constants mean something else now.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EnumChange {
    /// Qualified; empty for constants of an enum without a name.
    pub name: String,
    pub units: Vec<String>,
    pub place: Option<String>,
    pub old_size: Option<u64>,
    pub new_size: Option<u64>,
    pub added: Vec<(String, i64)>,
    pub removed: Vec<(String, i64)>,
    /// Name, old value, new value.
    pub changed: Vec<(String, i64, i64)>,
    pub ambiguous: bool,
}

impl EnumChange {
    /// Only constants with new values were added: worth a note, no more.
    pub fn only_added(&self) -> bool {
        self.removed.is_empty() && self.changed.is_empty() && self.old_size == self.new_size && !self.ambiguous
    }
}

/// A function with code in both builds that takes or gives something else now.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProtoChange {
    /// As the symbol table has it.
    pub symbol: String,
    /// DW_AT_external; whether the image exports it is for `Image` to say.
    pub external: bool,
    pub units: Vec<String>,
    pub place: Option<String>,
    pub old: String,
    pub new: String,
    /// A caller who knows the old one gives and takes the same.
    pub same_call: bool,
    pub ambiguous: bool,
}

/// A variable in both builds whose type, or what the type contains, changed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VarChange {
    /// With the scopes around it.
    pub name: String,
    pub units: Vec<String>,
    pub place: Option<String>,
    pub old_type: String,
    pub new_type: String,
    pub old_size: Option<u64>,
    pub new_size: Option<u64>,
    /// Stated address in each build; offsets in the TLS block where `tls`.
    pub old_at: Svma,
    pub new_at: Svma,
    pub tls: bool,
    pub stored: Stored,
    pub ambiguous: bool,
}

/// What a variable's new type says of the bytes that it holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stored {
    /// The types are called the same; what differs is inside of one that has a name and a [`LayoutChange`] of its own.
    Inside,
    /// Every byte means what it meant.
    Same,
    Otherwise,
}

/// Everything that changed, sorted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TypeDiff {
    /// A unit of either build was made for optimisation at link time (`-flto` in DW_AT_producer).
    pub whole_program: bool,
    pub layouts: Vec<LayoutChange>,
    pub enums: Vec<EnumChange>,
    pub prototypes: Vec<ProtoChange>,
    pub variables: Vec<VarChange>,
    /// Closures of `layouts`, by name: where the changed functions that are about one begin in the old build.
    pub about: BTreeMap<String, BTreeSet<Svma>>,
    /// Declarations compared (names that both builds have).
    pub compared: usize,
}

/// Compares the declarations of two builds.
pub fn changes(old: &DebugInfo<'_>, new: &DebugInfo<'_>) -> Result<TypeDiff, ImageError> {
    let (a, b) = rayon::join(|| Survey::read(old), || Survey::read(new));
    Ok(surveyed_changes((old, &a?), (new, &b?)))
}

/// As [`changes`], of builds that were surveyed.
#[must_use]
pub fn surveyed_changes(old: (&DebugInfo<'_>, &Survey), new: (&DebugInfo<'_>, &Survey)) -> TypeDiff {
    let mut diff = diff::diff(old.0, old.1, new.0, new.1);
    diff.whole_program = link_time(old.0) || link_time(new.0);
    diff
}

/// Whether a unit was compiled for optimisation at link time.
fn link_time(info: &DebugInfo<'_>) -> bool {
    let flag = |word: &str| word == "-flto" || word.starts_with("-flto=");
    info.producers().keys().any(|producer| producer.split(' ').any(flag))
}

/// What a function is called in the symbol table: its linkage name, else its qualified name.
fn function_key(view: &View<'_, '_>, at: DieRef) -> Option<String> {
    match linkage(view, at)? {
        b"" => name::qualified(view, at),
        l => Some(crate::dwarf::vars::text(l)),
    }
}

/// The linkage name of a function or of its declaration; empty where there is none.
fn linkage<'i>(view: &View<'_, 'i>, at: DieRef) -> Option<&'i [u8]> {
    let (_, decl) = view.declared(at)?;
    let own = view.node(at)?.linkage;
    Some(if own.is_empty() { decl.linkage } else { own }.bytes())
}
