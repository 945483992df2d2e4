//! Lays the patch out: sections with bytes, relocations against symbols, and the tables that the loader works from.
//!
//! Code and data are copied from the new image with every reference turned into a relocation; nothing is re-encoded, so offsets inside
//! a function are those of the new image.

mod data;
mod eh;
mod fetch;
mod guards;
mod symbols;
mod text;

use crate::addr::{DataId, FuncId, Svma, SvmaRange};
use crate::diag::{Finding, Severity};
use crate::include::{Analysis, Binder, PatchSet, Place};
use crate::keep::Keep;
use crate::lift;
use patchfmt::codes::Code;
use std::collections::BTreeMap;

pub use symbols::{Definition, OutSymbol, Symbols};

/// Sections of the payload, in the order in which they are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Out {
    Text,
    Rodata,
    /// Slots: pointers that the loader fills and then write-protects.
    Got,
    Data,
    Bss,
    /// The template of new thread-local variables, and those of them that begin as zeros.
    Tdata,
    Tbss,
    /// Bytes that go into the old image.
    New,
    Lsda,
    EhFrame,
}

impl Out {
    /// Has no bytes in the file.
    pub fn is_zeros(self) -> bool {
        matches!(self, Out::Bss | Out::Tbss)
    }

    pub fn name(self) -> &'static str {
        match self {
            Out::Text => ".text",
            Out::Rodata => ".rodata",
            Out::Got => ".got",
            Out::Data => ".data",
            Out::Bss => ".bss",
            Out::Tdata => ".tdata",
            Out::Tbss => ".tbss",
            Out::New => ".hpatch.new",
            Out::Lsda => ".gcc_except_table",
            Out::EhFrame => ".eh_frame",
        }
    }
}

/// Relocation types of the payload (psABI, table 4.9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RelocKind {
    Abs64,
    Pc32,
    Plt32,
    Abs32,
    Abs32S,
    /// Offset of a new thread-local variable from the thread pointer.
    Tpoff32,
    Tpoff64,
    /// Id of the module that new thread-local variables are in, and their offset in its block.
    Dtpmod64,
    Dtpoff64,
    Dtpoff32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reloc {
    pub offset: u64,
    pub kind: RelocKind,
    /// Index in [`PatchImage::symbols`].
    pub symbol: u32,
    pub addend: i64,
}

#[derive(Clone, Debug, Default)]
pub struct OutSection {
    pub bytes: Vec<u8>,
    /// Size in memory; more than the bytes only for `.bss` and `.tbss`.
    pub size: u64,
    pub align: u64,
    pub relocs: Vec<Reloc>,
}

impl OutSection {
    /// Pads to `align` with `fill` and gives the offset.
    fn align_to(&mut self, align: u64, fill: u8) -> u64 {
        let align = align.max(1);
        self.align = self.align.max(align);
        self.pad_to(self.size.next_multiple_of(align), fill);
        self.size
    }

    fn pad_to(&mut self, size: u64, fill: u8) {
        self.size = self.size.max(size);
        self.bytes.resize(usize::try_from(self.size).unwrap_or(usize::MAX), fill);
    }

    fn append(&mut self, bytes: &[u8]) -> u64 {
        let at = self.size;
        self.bytes.extend_from_slice(bytes);
        self.size += bytes.len() as u64;
        at
    }
}

/// One function that is replaced, edited in place or idle in the stop, as `.hpatch.func` says it.
#[derive(Clone, Debug)]
pub struct FuncRecord {
    pub name: String,
    pub entry: Svma,
    pub site: Svma,
    pub window: u32,
    /// The replacement, in [`PatchImage::symbols`]; None when it stays where it is.
    pub symbol: Option<u32>,
    pub ranges: Vec<SvmaRange>,
    pub return_sites: Vec<Svma>,
    pub main_like: bool,
    /// Nothing of it changes.
    pub idle: bool,
    pub preimage: [u8; 16],
}

/// One stretch of the old image that stays and must be as it was.
#[derive(Clone, Debug)]
pub struct GuardRecord {
    pub name: String,
    pub range: SvmaRange,
    pub preimage: [u8; 16],
}

/// One stretch of the old image that is overwritten.
#[derive(Clone, Debug)]
pub struct EditRecord {
    pub name: String,
    pub at: Svma,
    pub size: u32,
    pub symbol: u32,
    /// Zero where the dynamic linker relocated the old bytes.
    pub preimage: [u8; 16],
    /// Inside a function that is edited in place.
    pub code: bool,
}

/// Bytes of a variable that change places in the stop, as `.hpatch.state` says it.
#[derive(Clone, Debug)]
pub struct StateRecord {
    pub name: String,
    pub at: Svma,
    pub size: u32,
    /// In [`PatchImage::symbols`], and the distance from it.
    pub symbol: u32,
    pub offset: u64,
    /// The live bytes move to the payload; else the payload's replace them.
    pub moved: bool,
}

/// A variable that the patch brings, as `.hpatch.keep` says it.
#[derive(Clone, Debug)]
pub struct KeepRecord {
    pub name: String,
    pub keep: Keep,
    pub size: u32,
    /// In [`PatchImage::symbols`], and the distance from it.
    pub symbol: u32,
    pub offset: u64,
}

#[derive(Debug, Default)]
pub struct PatchImage {
    pub sections: BTreeMap<Out, OutSection>,
    pub symbols: Vec<OutSymbol>,
    pub funcs: Vec<FuncRecord>,
    pub edits: Vec<EditRecord>,
    pub guards: Vec<GuardRecord>,
    pub states: Vec<StateRecord>,
    /// Ascending by key.
    pub keeps: Vec<KeepRecord>,
    /// The old image moves threads to other stacks by itself.
    pub switches_stacks: bool,
    /// Offsets in `.text` of return addresses.
    pub return_sites: Vec<u32>,
    /// Carried functions that the old image doesn't have.
    pub new_functions: u32,
}

impl PatchImage {
    /// How many functions are replaced.
    pub fn replaced(&self) -> usize {
        self.funcs.iter().filter(|f| f.symbol.is_some()).count()
    }
}

/// Where carried things lie in the payload.
#[derive(Debug, Default)]
struct Layout {
    parts: BTreeMap<(FuncId, u8), u64>,
    tables: BTreeMap<(FuncId, usize), u64>,
    data: BTreeMap<DataId, (Out, u64)>,
    slots: BTreeMap<crate::include::SlotKey, u64>,
    /// Full jumps that stand in for short ones, by function, part and field.
    veneers: BTreeMap<(FuncId, u8, u32), u64>,
    stubs: BTreeMap<crate::addr::ImportId, u64>,
    /// Functions that load a slot into a register, by its number.
    fetchers: BTreeMap<(u8, crate::include::SlotKey), u64>,
    /// The function that TLS descriptors name.
    resolver: Option<u64>,
}

struct Linker<'a, 'b> {
    analysis: Analysis<'a>,
    binder: &'b Binder<'a>,
    set: &'b PatchSet,
    layout: Layout,
    symbols: Symbols<'a>,
    out: PatchImage,
    findings: Vec<Finding>,
}

/// Links the closed patch. Findings are refusals of severity [`Severity::Refuse`]; with any of them the image is not to be used.
pub fn link<'a>(
    analysis: Analysis<'a>,
    binder: &Binder<'a>,
    set: &PatchSet,
    keeps: &BTreeMap<DataId, Keep>,
) -> (PatchImage, Vec<Finding>) {
    let mut linker = Linker {
        analysis,
        binder,
        set,
        layout: Layout::default(),
        symbols: Symbols::new(analysis),
        out: PatchImage::default(),
        findings: Vec::new(),
    };
    linker.lay_out_data();
    linker.lay_out_slots();
    linker.lay_out_text();
    linker.name_payload();
    linker.fill_text();
    linker.fill_tables();
    linker.fill_data();
    linker.fill_slots();
    linker.fill_edits();
    linker.fill_states();
    linker.fill_keeps(keeps);
    linker.fill_eh_frame();
    linker.record_functions();
    linker.record_guards();
    let mut out = linker.out;
    out.switches_stacks = lift::switches_stacks(analysis.old_image, analysis.old);
    out.symbols = linker.symbols.finish();
    out.sections.retain(|_, s| s.size > 0);
    (out, linker.findings)
}

impl Linker<'_, '_> {
    fn section(&mut self, out: Out) -> &mut OutSection {
        self.out.sections.entry(out).or_default()
    }

    fn refuse(&mut self, code: Code, symbol: &str, message: String) {
        self.findings.push(Finding {
            severity: Severity::Refuse,
            code: code.0,
            symbol: symbol.to_owned(),
            place: None,
            message,
            help: None,
        });
    }

    /// Symbol and addend of a place; None for a plain number or something that wasn't laid out.
    fn locate(&mut self, place: &Place) -> Option<(u32, i64)> {
        match place {
            Place::Old(at) => Some(self.symbols.old(*at)),
            Place::Import(import) => Some((self.symbols.import(*import), 0)),
            Place::Func { func, part, offset } => {
                let base = *self.layout.parts.get(&(*func, *part))?;
                if *offset == 0
                    && let Some(symbol) = self.symbols.function(*func, *part)
                {
                    return Some((symbol, 0));
                }
                Some((self.symbols.section(Out::Text), i64::try_from(base + u64::from(*offset)).ok()?))
            }
            Place::Data { data, offset } => {
                let (out, base) = *self.layout.data.get(data)?;
                if let Some(symbol) = self.symbols.datum(*data) {
                    return Some((symbol, *offset));
                }
                Some((self.symbols.section(out), i64::try_from(base).ok()?.checked_add(*offset)?))
            }
            Place::Slot(key) | Place::Loaded(key) => {
                let at = *self.layout.slots.get(key)?;
                Some((self.symbols.section(Out::Got), i64::try_from(at).ok()?))
            }
            Place::Stub(import) => {
                let at = *self.layout.stubs.get(import)?;
                Some((self.symbols.section(Out::Text), i64::try_from(at).ok()?))
            }
            Place::Number(_) | Place::Plain => None,
        }
    }

    fn relocate(&mut self, out: Out, offset: u64, kind: RelocKind, place: &Place, addend: i64) -> bool {
        match self.locate(place) {
            Some((symbol, base)) => {
                let addend = base.wrapping_add(addend);
                self.section(out).relocs.push(Reloc { offset, kind, symbol, addend });
                true
            }
            None => false,
        }
    }
}
