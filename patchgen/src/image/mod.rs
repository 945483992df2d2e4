//! One linked ELF image and its separate debug file, parsed and checked, nothing interpreted.
//!
//! Sources: System V gABI (sections, symbols, dynamic section), x86-64 psABI (relocations, PLT), GNU extensions (symbol versions,
//! `.gnu_debuglink`, build-id note, RELR).

mod debugfile;
mod dynamic;
pub(crate) mod elf;
mod error;
mod load;
pub(crate) mod lsda;
mod map;
mod plt;
mod query;
mod sections;
mod symbols;
mod unwind;

pub use debugfile::DebugSource;
pub(crate) use debugfile::build_id_path;
pub use error::ImageError;
pub use map::FileBytes;

use crate::addr::{FileOffset, ImportId, SectionId, Svma, SvmaRange};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

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
    /// Bytes of the widest characters, if the section has nothing but texts that end in a zero and that a linker merged; else 0.
    pub texts: u64,
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
    /// None: absolute (SHN_ABS), but inside the image.
    pub section: Option<SectionId>,
    /// Name of the STT_FILE symbol before it (local symbols only).
    pub file: Option<Arc<str>>,
    /// Version of an exported symbol, without `@`.
    pub version: Option<Arc<str>>,
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
    Relative {
        target: Svma,
    },
    /// R_X86_64_64 and GLOB_DAT: the symbol's address + addend. `local` is where this image defines it, if it does.
    Symbol {
        import: ImportId,
        addend: i64,
        local: Option<Svma>,
    },
    JumpSlot {
        import: ImportId,
        local: Option<Svma>,
    },
    /// Result of the resolver at `resolver`.
    Irelative {
        resolver: Svma,
    },
    Copy {
        import: ImportId,
    },
    /// Offset of a TLS variable from the thread pointer; `import` None means this image's own block at `offset`, otherwise `offset` is
    /// added to the symbol's, and `local` is its offset in this image's block where this image defines it (also below).
    TpOff {
        import: Option<ImportId>,
        offset: i64,
        local: Option<Svma>,
    },
    DtpMod {
        import: Option<ImportId>,
    },
    DtpOff {
        import: Option<ImportId>,
        offset: i64,
        local: Option<Svma>,
    },
    TlsDesc {
        import: Option<ImportId>,
        offset: i64,
        local: Option<Svma>,
    },
    Other {
        kind: u32,
    },
}

/// A stub that jumps through a GOT slot. A slot of an executable with IBT and lazy binding has two: in `.plt` and in `.plt.sec`.
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

/// What looking up an address needs of a section.
#[derive(Clone, Copy, Debug)]
struct Span {
    range: SvmaRange,
    id: SectionId,
    /// None where the file has no bytes for it.
    file_at: Option<FileOffset>,
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
    /// DT_TEXTREL: the dynamic linker changes code.
    pub textrel: bool,
    /// DT_INIT, DT_FINI: called beside the arrays.
    pub init: Option<Svma>,
    pub fini: Option<Svma>,
    /// DT_PLTGOT: the first of three words that the dynamic linker keeps for itself (x86-64 psABI, 5.2).
    pub pltgot: Option<Svma>,
    /// DF_SYMBOLIC: its own definitions win.
    pub symbolic: bool,
    /// In the order of the section headers; index 0 is the null section.
    pub sections: Vec<Section>,
    /// .symtab of the image, or of its debug file, merged with .dynsym; sorted by (svma, size, name), those of TLS
    /// behind all others. No section, file or undefined symbols.
    pub symbols: Vec<Symbol>,
    pub imports: Vec<Import>,
    /// Stubs that are the address of their function for all modules: its undefined symbol has this value (psABI, 5.2, "function addresses").
    pub canonical: BTreeMap<ImportId, Svma>,
    /// Every dynamic relocation (RELA, RELR, PLT) by the address that it changes.
    pub dynamic: BTreeMap<Svma, DynReloc>,
    /// Ascending by range.
    pub plt: Vec<PltStub>,
    /// Ascending by range.
    pub fdes: Vec<Fde>,
    /// Address of `.init_array`, `.fini_array`, `.preinit_array` where present.
    pub init_arrays: Vec<(String, SvmaRange)>,
    /// PT_TLS: template, memory size, alignment.
    pub tls: Option<(SvmaRange, u64, u64)>,
    /// PT_GNU_PROPERTY says IBT.
    pub ibt: bool,
    pub debug: DebugSource,
    /// Sections with an address range of their own, ascending.
    by_address: Vec<Span>,
    /// Index in `symbols` of the first of TLS.
    first_tls: usize,
    file: FileBytes,
    debug_file: Option<FileBytes>,
}
