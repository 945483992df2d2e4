//! Turns linked code and data back into atoms with symbolic references: what the linker had before it linked.
//!
//! The rule of this phase: a reference is either *proven* (its meaning follows from the instruction form, a relocation or a symbol),
//! or its function is marked with [`Unprovable`] at that place. Nothing is guessed.

mod accessed;
mod assemble;
mod bounds;
mod chosen;
mod data;
mod decode;
mod dispatch;
mod functions;
mod indexed;
mod lookups;
mod offsets;
mod resolve;
mod rust;
mod space;
mod stacks;
mod steps;
mod tables;
mod tls;
mod traps;
mod ways;

pub use assemble::{displaced, is_round, lift};
pub use functions::is_cold_name;
pub(crate) use indexed::{instruction, never_returns};
pub use resolve::is_linker_symbol;
pub use stacks::switches_stacks;
pub(crate) use ways::{Exported, ways};

use crate::addr::{DataId, FuncId, ImportId, Svma, SvmaRange, SymbolId};
use crate::image::Image;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an address in an image denotes. Canonical: two images' targets can be compared after pairing the ids.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// A function; `part`/`offset` is 0/0 for its entry. An interior place of *another* function is allowed here and refused later where it matters.
    Func { func: FuncId, part: u8, offset: u32 },
    /// A symbol of another object (or a preemptible one), called or jumped to through a PLT stub, or its address taken
    /// through one (non-PIC). In data: the word holds the symbol's address.
    Import(ImportId),
    /// The GOT slot that holds something; the instruction reads the slot. With [`CodeRef::branch`], a stub that jumps through
    /// the slot (of an IFUNC of this image). In data: the word itself is such a slot.
    Slot(Slot),
    /// Data of this image, named or not. `offset` may be outside `0..size` (base + constant folded), then the base was proven by other means.
    Data { data: DataId, offset: i64 },
    /// This image's own thread-local variable, reached from the thread pointer (local-exec) or from its block (dtpoff).
    /// `offset` is what the field holds: from the thread pointer (negative), or from the start of the block.
    Tls { symbol: Option<SymbolId>, offset: i64, from_block: bool },
    /// A jump table of this very function: an index in [`Function::tables`].
    Table(u32),
    /// A symbol that the linker defines (`_end`, `__start_X`, `_GLOBAL_OFFSET_TABLE_`, `__dso_handle`, `_DYNAMIC` ...) by name.
    Linker(Box<str>),
    /// In the image, but nothing above.
    Unknown(Svma),
}

/// Content of a GOT slot, as the dynamic relocation there says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Slot {
    /// Address of a symbol looked up by the dynamic linker (GLOB_DAT, JUMP_SLOT, R_X86_64_64). `local` when this image defines it.
    Import {
        import: ImportId,
        addend: i64,
    },
    /// Address within this image (RELATIVE, or a constant in a fixed-address executable).
    Address(Box<Target>),
    Irelative(Box<Target>),
    /// The same number for ever: zero for a weak symbol that nobody defines, settled by the link editor, or an absolute symbol's value.
    Number(u64),
    TpOff(Box<ThreadSlot>),
    /// First word of a general-dynamic pair.
    TlsGd(Box<ThreadSlot>),
    /// First word of the module's local-dynamic pair.
    TlsLd,
    /// First word of a descriptor for the start of the module's block.
    TlsBlockDesc,
    TlsDesc(Box<ThreadSlot>),
}

/// What a slot for a thread-local variable is about. There are few of them, and millions of targets.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ThreadSlot {
    pub import: Option<ImportId>,
    pub symbol: Option<SymbolId>,
    /// Of this image's own variables from the start of its block; with an import an addend.
    pub offset: i64,
}

impl Target {
    /// The datum that is meant, or whose address a slot holds.
    #[must_use]
    pub fn data(&self) -> Option<DataId> {
        match self {
            Target::Data { data, .. } => Some(*data),
            Target::Slot(Slot::Address(inner)) => inner.data(),
            _ => None,
        }
    }

    /// The function of this image that it is, or that a slot leads to, at whatever place in it.
    pub fn func(&self) -> Option<FuncId> {
        match self {
            Target::Func { func, .. } => Some(*func),
            Target::Slot(Slot::Address(inner) | Slot::Irelative(inner)) => inner.func(),
            _ => None,
        }
    }

    /// The function whose entry it is or holds.
    pub fn entry(&self) -> Option<FuncId> {
        match self {
            Target::Func { func, part: 0, offset: 0 } => Some(*func),
            Target::Slot(Slot::Address(inner) | Slot::Irelative(inner)) => inner.entry(),
            _ => None,
        }
    }
}

/// How a field of an instruction or of data holds its target.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Field {
    /// 4 bytes, target − (address of the field + `tail`): `tail` = 4 + bytes after the field within the instruction.
    Pc32 {
        tail: u8,
    },
    /// 1 byte, target − (address of the field + 1): a short tail call to a neighbour.
    Pc8,
    /// 4 bytes absolute, zero-extended / sign-extended (only in fixed-address executables).
    Abs32,
    Abs32S,
    /// 8 bytes absolute.
    Abs64,
    /// 4 bytes: offset from the thread pointer (`%fs:` operand or immediate), sign-extended.
    Tpoff32,
    /// 4 bytes: offset in the module's TLS block (local-dynamic).
    Dtpoff32,
    /// 4 bytes in a jump table, or in a compiler's table of literals: target − start of the table.
    TableRel32,
}

/// What an instruction does with the address in a field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    Branch,
    /// Exactly so many bytes there are read or written: the object at the address is the one that is meant.
    Direct {
        width: u16,
    },
    /// The address is computed, or a register is added: the object meant may be another than the one at the address.
    Derived,
    /// A thread-local offset.
    Thread,
}

impl Field {
    /// Bytes that the field takes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Field::Abs64 => 8,
            Field::Pc8 => 1,
            _ => 4,
        }
    }
}

/// A reference from code.
#[derive(Clone, Debug)]
pub struct CodeRef {
    pub part: u8,
    /// Of the instruction in its part, and of the field in its part, in bytes.
    pub insn: u32,
    pub field_at: u32,
    pub field: Field,
    pub target: Target,
    /// The instruction transfers control there (call, jmp, jcc).
    pub branch: bool,
    pub access: Access,
    /// False for a number in a fixed-address executable that could be a plain constant.
    pub certain: bool,
    /// Such a number, an immediate, that is taken for an address if something is known to begin where it leads.
    pub likely: bool,
    /// Other objects that may be meant: the address is also this object's end, or a little past it, or its base with a constant index
    /// folded in. Whoever re-links this reference must give all readings the same address, or refuse (HP0211).
    pub alternatives: Readings,
    /// What lies in front of a constant without a symbol counts as well: the code may go there from the address, through an index that counts
    /// up to zero, or since it has a text by its end.
    pub backwards: Option<InFront>,
    /// The code also computes another address of the same object at a constant distance, so that it is known which object that is: so many
    /// bytes lie between the lower one of the two and this one.
    pub stepped: Option<u32>,
    /// The code may add something to the address, so that it can be an array's base with a constant part of an index folded in, wherever
    /// that lies.
    pub indexed: bool,
    /// The code accesses the object of the target by the very address: that object is meant, and no other.
    pub meant: bool,
}

/// How far code may go in front of an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum InFront {
    Bytes(u32),
    /// Back to the zero in front of it.
    Text,
}

/// Other readings of a reference: objects, and where in them or beside them. Nearly all references have none.
#[derive(Clone, Default, Debug)]
#[expect(clippy::box_collection, reason = "a list that is empty nearly always takes one word, not three")]
pub struct Readings(Option<Box<Vec<(DataId, i64)>>>);

impl Readings {
    fn push(&mut self, reading: (DataId, i64)) {
        self.0.get_or_insert_default().push(reading);
    }

    pub(crate) fn retain(&mut self, stays: impl FnMut(&(DataId, i64)) -> bool) {
        if let Some(list) = &mut self.0 {
            list.retain(stays);
        }
    }
}

impl std::ops::Deref for Readings {
    type Target = [(DataId, i64)];
    fn deref(&self) -> &Self::Target {
        self.0.as_deref().map(Vec::as_slice).unwrap_or_default()
    }
}

/// A recovered jump table.
#[derive(Clone, Debug)]
pub struct JumpTable {
    pub at: Svma,
    /// `TableRel32` or `Abs64` (or `Abs32` in old non-PIC shapes).
    pub field: Field,
    /// Targets inside the function, as (part, offset).
    pub entries: Vec<(u8, u32)>,
    /// Where those lead that the check before the jump lets through behind the last of them.
    pub beyond: Vec<Svma>,
}

impl JumpTable {
    pub fn range(&self) -> SvmaRange {
        let width = if self.field == Field::TableRel32 { 4 } else { 8 };
        SvmaRange::new(self.at, self.entries.len() as u64 * width)
    }
}

/// One instruction, as comparison needs it. Decoded again with iced-x86 where more is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Insn {
    pub part: u8,
    pub len: u8,
    pub kind: InsnKind,
    /// Where a branch within the function leads. There are millions of instructions: an `Option` would take half as much again.
    local_part: u8,
    local_offset: u32,
    pub offset: u32,
    /// Its first reference and their number, the latter in the lowest bits.
    refs: u32,
}

/// What of an instruction matters where it isn't decoded again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum InsnKind {
    Plain,
    /// Alignment filler: no effect.
    Nop,
    /// `call`: the next address is a return site.
    Call,
}

/// Bits of [`Insn::refs`] with the number of references, of which no instruction has more than two.
const REF_COUNT: u32 = 2;

/// In `Insn::local_part`: no such branch.
const NO_PART: u8 = u8::MAX;

impl Insn {
    #[must_use]
    pub fn is_nop(&self) -> bool {
        self.kind == InsnKind::Nop
    }

    #[must_use]
    pub fn is_call(&self) -> bool {
        self.kind == InsnKind::Call
    }

    /// Its references, as a range of [`Function::refs`].
    #[must_use]
    pub fn refs(&self) -> std::ops::Range<usize> {
        let first = (self.refs >> REF_COUNT) as usize;
        first..first + (self.refs & ((1 << REF_COUNT) - 1)) as usize
    }

    /// It has one more reference, the number `next` of its function's.
    fn add_ref(&mut self, next: usize) {
        if self.refs().is_empty() {
            self.refs = (next as u32) << REF_COUNT;
        }
        self.refs += 1;
    }

    /// Local branch target (part, offset), for jmp/jcc/call within the function.
    #[must_use]
    pub fn local(&self) -> Option<(u8, u32)> {
        (self.local_part != NO_PART).then_some((self.local_part, self.local_offset))
    }
}

/// Why a function can't be re-linked. It can still be proven equal, byte for byte.
#[derive(Clone, Debug)]
pub struct Unprovable {
    /// HP02xx.
    pub code: u16,
    pub at: Svma,
    pub what: String,
    /// It is about a number in an instruction, which stands for the same where no thread-local variable moved.
    pub number: bool,
}

#[derive(Clone, Debug)]
pub struct Function {
    /// All names of the entry, the preferred one first (global before local, longest-lived name: no clone suffix).
    pub names: Vec<SymbolId>,
    pub name: String,
    /// Source file of the unit, from STT_FILE or DWARF.
    pub unit: Option<Arc<str>>,
    /// The part with the entry first, then `.cold` and others.
    pub parts: Vec<SvmaRange>,
    pub insns: Vec<Insn>,
    /// Ascending by (part, insn, field_at). Branches within the function aren't references unless they go to another part.
    pub refs: Vec<CodeRef>,
    pub tables: Vec<JumpTable>,
    /// Index in `Image::fdes` for each part, where there is one.
    pub fdes: Vec<Option<u32>>,
    /// Places that can't be proven; empty for most functions.
    pub unprovable: Vec<Unprovable>,
    /// Not decoded as a unit with a known size: compared byte for byte, never replaced.
    pub opaque: bool,
    /// Gives the stack pointer a value that isn't a constant distance from the one before.
    pub writes_stack: bool,
    /// Bytes at the end of the first part up to the next function: filler (nop, int3), usable by a detour.
    pub padding: u32,
}

impl Function {
    /// The number of the instruction at a place (part, offset).
    pub fn index(&self, place: (u8, u32)) -> Option<usize> {
        self.insns.binary_search_by_key(&place, |i| (i.part, i.offset)).ok()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataKind {
    /// Has a symbol: its identity matters.
    Named,
    /// Read-only, with a symbol that the compiler numbers as it likes (`CSWTCH.3`, `__func__.0`): the extent is exact, and only
    /// the content matters.
    Literal,
    /// NUL-terminated, referenced at its start (or in a tail). Goes on to the next referenced literal, so that one with NULs
    /// inside is whole.
    String,
    /// Read by instructions of known width only.
    Constant,
    /// Anything else without a symbol; extent is an upper bound.
    Blob,
}

#[derive(Clone, Debug)]
pub struct DataRef {
    pub at: u32,
    pub field: Field,
    pub target: Target,
}

/// An object in a data section, or a stretch of one that code refers to.
#[derive(Clone, Debug)]
pub struct Data {
    pub names: Vec<SymbolId>,
    /// Empty for anonymous data.
    pub name: String,
    pub unit: Option<Arc<str>>,
    pub range: SvmaRange,
    /// The object may go on past the end of `range`: it has no symbol, and nothing bounds it. Can be compared, not carried.
    pub open: bool,
    pub kind: DataKind,
    pub section: crate::image::SectionKind,
    pub align: u32,
    /// Pointers inside, from dynamic relocations. In fixed-address executables: see `Unprovable` HP0217.
    pub refs: Vec<DataRef>,
    /// Named objects of fixed-address executables: aligned words that would denote something if they were addresses, with what.
    pub ambiguous: Vec<DataRef>,
}

/// Names of what describes a class: its vtables, tables of tables, type information and names (Itanium C++ ABI, 5.1.4.1).
#[must_use]
pub fn describes_class(symbol: &str) -> bool {
    is_class_table(symbol) || ["_ZTI", "_ZTS"].iter().any(|prefix| symbol.starts_with(prefix))
}

/// Tables that objects point into.
fn is_class_table(symbol: &str) -> bool {
    ["_ZTV", "_ZTT", "_ZTC"].iter().any(|prefix| symbol.starts_with(prefix))
}

impl Data {
    /// Whether a place in it is one that objects of a class point to: of a vtable, behind the distance to the whole object and the type
    /// information (Itanium C++ ABI, 2.5.2); of a table of tables, each entry (2.6.2).
    #[must_use]
    pub fn is_class_entry(&self, offset: i64) -> bool {
        let least = if self.name.starts_with("_ZTT") { 0 } else { 16 };
        let within = u64::try_from(offset).is_ok_and(|o| o >= least && o < self.range.size() && o.is_multiple_of(8));
        within && is_class_table(&self.name)
    }

    /// Whether nobody can write to it and it holds no addresses: it has no state, and a copy of it says the same.
    #[must_use]
    pub fn is_plain_constant(&self) -> bool {
        self.section == crate::image::SectionKind::Rodata && self.refs.is_empty() && self.ambiguous.is_empty()
    }
}

/// What a word of data turned out to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    Address,
    Number,
}

#[derive(Debug)]
pub struct Lifted {
    pub functions: Vec<Function>,
    pub data: Vec<Data>,
    pub func_at: BTreeMap<Svma, FuncId>,
    pub data_at: BTreeMap<Svma, DataId>,
    /// What types say of variables, where a patch had to know it.
    pub shapes: BTreeMap<DataId, Shape>,
    /// Data that are longer than 1 MiB.
    pub large: Vec<DataId>,
    /// Where constants of Rust code begin whose form says what they are; empty in an image without such code.
    pub forms: BTreeSet<Svma>,
    /// Instructions that were decoded for it. Code is read about once; a test holds this against how much there is.
    pub decoded: u64,
}

/// Within so many bytes of an array a constant part of an index into it is looked for.
const NEAR: u64 = 4096;

/// What is larger is looked for by a list of its own.
const LARGEST: u64 = 1 << 20;

/// What a variable is by its type.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// No array and without one, so that nobody walks through it.
    pub single: bool,
    /// Where arrays, structures and unions begin in it that aren't inside of an array, with the size of the largest there; in bytes.
    pub parts: BTreeMap<u64, u64>,
}

impl Lifted {
    /// Whether a place in data is where something begins that can be indexed from there: an object with a name, a constant that doesn't
    /// lie inside of another one, or where a class's objects point to.
    #[must_use]
    pub fn is_start(&self, data: DataId, offset: i64) -> bool {
        let here = &self.data[data.index()];
        let inside = || {
            let before = self.data_at.range(..here.range.start).next_back();
            before.is_some_and(|(_, id)| {
                let other = &self.data[id.index()];
                other.range.end > here.range.start && other.kind != DataKind::Blob
            })
        };
        here.is_class_entry(offset)
            || offset == 0 && (matches!(here.kind, DataKind::Named | DataKind::Literal) || !inside())
    }

    /// Data of which some byte is within 4 KiB of an address.
    pub fn near(&self, at: Svma) -> impl Iterator<Item = DataId> + '_ {
        let from = Svma(at.0.saturating_sub(NEAR));
        let first = Svma(from.0.saturating_sub(LARGEST));
        let begun = self.data_at.range(first..=at.plus(NEAR)).map(|(_, &id)| id);
        let large = self.large.iter().copied().filter(move |id| self.data[id.index()].range.start < first);
        begun.chain(large).filter(move |id| self.data[id.index()].range.end >= from)
    }

    /// Whether a reference is the compiler's start-up code asking for a place that its own files mark (`crtstuff.c`, the end of a table that
    /// hardly any program has), whatever object the linker put there.
    #[must_use]
    pub fn means_mark(&self, image: &Image, function: &Function, reference: &CodeRef) -> bool {
        let Target::Data { data, offset } = reference.target else { return false };
        let at = self.data[data.index()].range.start.offset(offset);
        function.unit.as_deref() == Some("crtstuff.c") && image.symbols_at(at).iter().any(|s| s.name == "__TMC_END__")
    }

    /// Whether a word of a class's tables is an address: they hold small offsets, and the addresses of functions, of type information,
    /// of its names and of other such tables (Itanium C++ ABI, 2.5 and 2.9.5).
    #[must_use]
    pub fn in_class_data(&self, datum: &Data, word: &DataRef) -> Option<Word> {
        let fits = match &word.target {
            Target::Func { part: 0, offset: 0, .. } | Target::Import(_) => true,
            Target::Data { data, .. } => describes_class(&self.data[data.index()].name),
            _ => false,
        };
        (describes_class(&datum.name) && !datum.name.starts_with("_ZTS") && fits).then_some(Word::Address)
    }
}
