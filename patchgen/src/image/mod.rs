//! One linked ELF image and its separate debug file, parsed and checked, nothing interpreted.
//!
//! Sources: System V gABI (sections, symbols, dynamic section), x86-64 psABI (relocations, PLT), GNU extensions (symbol versions,
//! `.gnu_debuglink`, build-id note, RELR).

use crate::addr::{FileOffset, ImportId, SectionId, Svma, SvmaRange, SymbolId};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageKind {
    /// ET_EXEC: fixed addresses.
    Exec,
    /// ET_DYN with an entry point and DF_1_PIE or an interpreter.
    Pie,
    Shared,
}

/// What a section holds at run time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionKind {
    Text,
    /// Read-only, not touched by the dynamic linker.
    Rodata,
    /// Written by the dynamic linker, then read-only (inside PT_GNU_RELRO), but not the GOT.
    Relro,
    Data,
    Bss,
    Tdata,
    Tbss,
    Got,
    Plt,
    EhFrame,
    Lsda,
    /// Allocated, of no use to a patch (hash tables, dynamic symbols, notes ...).
    Other,
    NotLoaded,
}

#[derive(Clone, Debug)]
pub struct Section {
    pub name: String,
    pub kind: SectionKind,
    pub range: SvmaRange,
    pub offset: FileOffset,
    pub align: u64,
    pub writable: bool,
    pub has_bytes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SymbolKind {
    Func,
    IFunc,
    Object,
    /// `svma` is the offset in the TLS block's template, not an address.
    Tls,
    NoType,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    Local,
    Global,
    Weak,
    /// STB_GNU_UNIQUE.
    Unique,
}

/// A defined symbol. Undefined ones are [`Import`]s.
#[derive(Clone, Debug)]
pub struct Symbol {
    pub name: String,
    pub svma: Svma,
    pub size: u64,
    pub kind: SymbolKind,
    pub binding: Binding,
    /// STV_DEFAULT or STV_PROTECTED and in .dynsym.
    pub exported: bool,
    pub section: Option<SectionId>,
    /// Name of the STT_FILE symbol before it (local symbols only).
    pub file: Option<String>,
    /// Version of an exported symbol, without `@`.
    pub version: Option<String>,
}

/// A symbol that another object defines, or that may be preempted: what the dynamic linker looks up.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Import {
    pub name: String,
    pub version: Option<String>,
    pub weak: bool,
    pub tls: bool,
}

/// What the dynamic linker puts at an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DynReloc {
    /// `bias + addend` (RELATIVE, RELR).
    Relative { target: Svma },
    /// R_X86_64_64 and GLOB_DAT: the symbol's address + addend. `local` is where this image defines it, if it does.
    Symbol { import: ImportId, addend: i64, local: Option<Svma> },
    JumpSlot { import: ImportId, local: Option<Svma> },
    /// Result of the resolver at `resolver`.
    Irelative { resolver: Svma },
    Copy { import: ImportId },
    /// Offset of a TLS variable from the thread pointer; `import` None means this image's own block at `offset`.
    TpOff { import: Option<ImportId>, offset: i64 },
    DtpMod { import: Option<ImportId> },
    DtpOff { import: Option<ImportId>, offset: i64 },
    TlsDesc { import: Option<ImportId>, offset: i64 },
    Other { kind: u32 },
}

/// A stub that jumps through a GOT slot.
#[derive(Clone, Debug)]
pub struct PltStub {
    pub range: SvmaRange,
    pub slot: Svma,
}

/// One FDE of `.eh_frame`.
#[derive(Clone, Debug)]
pub struct Fde {
    pub range: SvmaRange,
    /// Where the FDE's own bytes start in `.eh_frame`.
    pub at: Svma,
    pub cie: Svma,
    pub lsda: Option<Svma>,
}

#[derive(Debug)]
pub struct Image {
    pub path: PathBuf,
    pub kind: ImageKind,
    pub build_id: Vec<u8>,
    /// Lowest page-aligned p_vaddr and the end of the highest PT_LOAD.
    pub extent: SvmaRange,
    pub entry: Svma,
    pub soname: Option<String>,
    pub needed: Vec<String>,
    pub sections: Vec<Section>,
    /// .symtab of the image, or of its debug file, merged with .dynsym; sorted by (svma, size, name). No section, file or undefined symbols.
    pub symbols: Vec<Symbol>,
    pub imports: Vec<Import>,
    /// Every dynamic relocation (RELA, RELR, PLT) by the address that it changes.
    pub dynamic: BTreeMap<Svma, DynReloc>,
    pub plt: Vec<PltStub>,
    /// Ascending by range.
    pub fdes: Vec<Fde>,
    /// Address of `.init_array`, `.fini_array`, `.preinit_array` where present.
    pub init_arrays: Vec<(String, SvmaRange)>,
    /// PT_TLS: template, memory size, alignment.
    pub tls: Option<(SvmaRange, u64, u64)>,
    /// PT_GNU_PROPERTY says IBT.
    pub ibt: bool,
}

impl Image {
    /// The section that holds `a`; TLS sections and those not loaded never do.
    pub fn section_at(&self, _a: Svma) -> Option<SectionId> {
        None
    }
    /// `size` bytes of file content at `a`, None where they aren't all in one section with bytes.
    pub fn bytes(&self, _a: Svma, _size: u64) -> Option<&[u8]> {
        None
    }
    pub fn symbols_at(&self, _a: Svma) -> &[Symbol] {
        &[]
    }
    pub fn symbol(&self, id: SymbolId) -> &Symbol {
        &self.symbols[id.index()]
    }
}
