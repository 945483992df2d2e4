//! Questions to an image.

use super::{
    DebugSource, DynReloc, Fde, FileBytes, Image, ImageKind, Import, PltStub, Section, SectionKind, Span, Symbol,
};
use crate::addr::{ImportId, SectionId, Svma, SvmaRange, SymbolId};
use std::path::Path;

impl Image {
    pub fn section(&self, id: SectionId) -> &Section {
        &self.sections[id.index()]
    }

    pub fn section_by_name(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// The section that holds `a`; TLS sections and those not loaded never do.
    pub fn section_at(&self, a: Svma) -> Option<SectionId> {
        self.placed(a).filter(|&id| self.section(id).kind != SectionKind::Tdata)
    }

    /// As `section_at`, with the template of TLS variables.
    fn placed(&self, a: Svma) -> Option<SectionId> {
        self.span(a).map(|s| s.id)
    }

    fn span(&self, a: Svma) -> Option<&Span> {
        let after = self.by_address.partition_point(|s| s.range.start <= a);
        self.by_address.get(after.checked_sub(1)?).filter(|s| s.range.contains(a))
    }

    /// What kind of section holds `a`.
    pub fn kind_at(&self, a: Svma) -> Option<SectionKind> {
        self.section_at(a).map(|id| self.section(id).kind)
    }

    /// `a` is in a section without file content: zero at start.
    pub fn is_bss(&self, a: Svma) -> bool {
        self.section_at(a).is_some_and(|id| !self.section(id).has_bytes)
    }

    /// `size` bytes of file content at `a`, None where they aren't all in one section with bytes. The template of TLS variables counts.
    pub fn bytes(&self, a: Svma, size: u64) -> Option<&[u8]> {
        let s = self.span(a)?;
        let into = a.0 - s.range.start.0;
        if into.checked_add(size)? > s.range.size() {
            return None;
        }
        let from = usize::try_from(s.file_at?.0.checked_add(into)?).ok()?;
        self.file.get(from..from.checked_add(usize::try_from(size).ok()?)?)
    }

    /// File content of a section that is loaded; empty where it has none.
    pub fn section_bytes(&self, id: SectionId) -> &[u8] {
        let s = self.section(id);
        let from = usize::try_from(s.offset.0).unwrap_or(usize::MAX);
        let end = from.saturating_add(usize::try_from(s.range.size()).unwrap_or(usize::MAX));
        if s.has_bytes { self.file.get(from..end).unwrap_or_default() } else { &[] }
    }

    /// File content from the first to the last of sections that lie in the file as they lie in memory, with what is between them; None where
    /// they don't.
    pub fn run_bytes(&self, first: &Section, last: &Section) -> Option<&[u8]> {
        let size = last.range.end.0.checked_sub(first.range.start.0)?;
        let same = last.offset.0.wrapping_sub(first.offset.0) == last.range.start.0.wrapping_sub(first.range.start.0);
        let from = usize::try_from(first.offset.0).ok()?;
        let end = from.checked_add(usize::try_from(size).ok()?)?;
        self.file.get(from..end).filter(|_| same && first.has_bytes && last.has_bytes)
    }

    /// The file that holds DWARF and, for a stripped image, `.symtab`: the separate one, or the image itself.
    pub fn debug_file(&self) -> (&Path, &FileBytes) {
        match (&self.debug, &self.debug_file) {
            (DebugSource::Separate(path), Some(file)) => (path, file),
            _ => (&self.path, &self.file),
        }
    }

    pub fn read_u64(&self, a: Svma) -> Option<u64> {
        self.bytes(a, 8)?.first_chunk().map(|b| u64::from_le_bytes(*b))
    }

    pub fn read_u32(&self, a: Svma) -> Option<u32> {
        self.bytes(a, 4)?.first_chunk().map(|b| u32::from_le_bytes(*b))
    }

    /// The NUL-terminated bytes at `a`, without the NUL; None where the section ends first.
    pub fn c_str(&self, a: Svma) -> Option<&[u8]> {
        let s = self.section(self.placed(a)?);
        let rest = self.bytes(a, s.range.end.0 - a.0)?;
        rest.split(|&b| b == 0).next().filter(|t| t.len() < rest.len())
    }

    pub fn symbol(&self, id: SymbolId) -> &Symbol {
        &self.symbols[id.index()]
    }

    /// Symbols whose value is exactly the address `a`, smallest first; none of TLS.
    pub fn symbols_at(&self, a: Svma) -> &[Symbol] {
        let ids = self.symbol_ids_in(SvmaRange::new(a, 1));
        &self.symbols[ids.start.index()..ids.end.index()]
    }

    /// Symbols whose value lies in `range`; none of TLS.
    pub fn symbols_in(&self, range: SvmaRange) -> &[Symbol] {
        let ids = self.symbol_ids_in(range);
        &self.symbols[ids.start.index()..ids.end.index()]
    }

    /// As `symbols_in`, as the half-open range of ids.
    pub fn symbol_ids_in(&self, range: SvmaRange) -> std::ops::Range<SymbolId> {
        let addressed = &self.symbols[..self.first_tls];
        let start = addressed.partition_point(|s| s.svma < range.start);
        let end = addressed.partition_point(|s| s.svma < range.end).max(start);
        SymbolId::from(start)..SymbolId::from(end)
    }

    /// TLS symbols: `svma` is their offset in the block.
    pub fn tls_symbols(&self) -> &[Symbol] {
        &self.symbols[self.first_tls..]
    }

    /// Ids of the TLS symbols.
    pub fn tls_symbol_ids(&self) -> std::ops::Range<SymbolId> {
        SymbolId::from(self.first_tls)..SymbolId::from(self.symbols.len())
    }

    pub fn dynamic_at(&self, a: Svma) -> Option<&DynReloc> {
        self.dynamic.get(&a)
    }

    /// Dynamic relocations of the places in `range`, ascending.
    pub fn dynamic_in(&self, range: SvmaRange) -> impl Iterator<Item = (Svma, &DynReloc)> {
        // BTreeMap::range panics on an inverted range.
        let end = range.end.max(range.start);
        self.dynamic.range(range.start..end).map(|(&a, r)| (a, r))
    }

    /// A program that needs no library and so has no dynamic linker.
    pub fn is_static(&self) -> bool {
        self.kind != ImageKind::Shared && self.needed.is_empty()
    }

    /// The number that a GOT word holds for ever: zero for a weak symbol that nobody defines, or the value of an absolute symbol (the C
    /// library counts with such ones, in static programs, which locale categories are used). The dynamic linker writes to such words only
    /// for a relocation, for the second half of what a TLS relocation is for, and to its own three (x86-64 psABI, 5.2). In a program at
    /// fixed addresses a word that leads into the image is an address.
    pub fn number_in_slot(&self, a: Svma) -> Option<u64> {
        if self.kind_at(a) != Some(SectionKind::Got) || self.dynamic.contains_key(&a) {
            return None;
        }
        let word = self.read_u64(a)?;
        let before = self.dynamic.get(&Svma(a.0.wrapping_sub(8)));
        let half = match before {
            Some(DynReloc::TlsDesc { .. }) => true,
            Some(DynReloc::DtpMod { .. }) => word != 0,
            _ => false,
        };
        let reserved = self.pltgot.is_some_and(|first| (first.0..first.0.saturating_add(24)).contains(&a.0));
        let address = self.kind == ImageKind::Exec && word != 0 && self.section_at(Svma(word)).is_some();
        // The id of the program's own module, which a link editor may store at once.
        let module = word == 1 && self.tls.is_some();
        (!half && !reserved && !address && !module).then_some(word)
    }

    pub fn import(&self, id: ImportId) -> &Import {
        &self.imports[id.index()]
    }

    /// `name@VERSION`, for messages.
    pub fn import_name(&self, id: ImportId) -> String {
        let i = self.import(id);
        match &i.version {
            Some(v) => format!("{}@{v}", i.name),
            None => i.name.clone(),
        }
    }

    /// The PLT stub that `a` lies in.
    pub fn plt_at(&self, a: Svma) -> Option<&PltStub> {
        let after = self.plt.partition_point(|p| p.range.start <= a);
        self.plt.get(after.checked_sub(1)?).filter(|p| p.range.contains(a))
    }

    /// The FDE that covers `a`, with its index.
    pub fn fde_at(&self, a: Svma) -> Option<(usize, &Fde)> {
        let after = self.fdes.partition_point(|f| f.range.start <= a);
        let at = after.checked_sub(1)?;
        self.fdes.get(at).filter(|f| f.range.contains(a)).map(|f| (at, f))
    }
}
