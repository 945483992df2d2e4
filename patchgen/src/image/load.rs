//! Reads an image from its files.

use super::debugfile::{self, DebugSource};
use super::elf::Elf;
use super::error::{ImageError, codes};
use super::map::FileBytes;
use super::symbols::{self, DynSyms};
use super::{Image, ImageKind, SectionKind, Symbol, SymbolKind, dynamic, plt, sections, unwind};
use crate::addr::{SectionId, Svma, SvmaRange};
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use std::path::{Path, PathBuf};

const PAGE: u64 = 4096;

impl Image {
    /// Reads the image at `path`. Its symbols and DWARF come from `debug` where given, else from itself, else from a separate file found
    /// by build-id or debuglink below `debug_dirs` (each a root like `/usr/lib/debug`, or its `.build-id`) and `/usr/lib/debug`.
    pub fn load(path: &Path, debug: Option<&Path>, debug_dirs: &[PathBuf]) -> Result<Image, ImageError> {
        Image::from_bytes(path, FileBytes::open(path)?, debug, debug_dirs)
    }

    /// As [`Image::load`], of content that is already in memory; `path` is used for messages and to look for a debug file.
    pub fn from_bytes(
        path: &Path,
        file: FileBytes,
        debug: Option<&Path>,
        debug_dirs: &[PathBuf],
    ) -> Result<Image, ImageError> {
        let main = Elf::parse(path, &file)?;
        let blame = main.blame;
        let extent = extent(&main)?;
        let sections = sections::read(&main)?;
        let code = |s: &super::Section| s.kind == SectionKind::Text && s.range.size() > 0;
        if sections.iter().any(code) && !sections.iter().any(|s| code(s) && s.has_bytes) {
            return Err(blame.err(codes::NOT_LINKED, "holds debug information only, not the code that it is about"));
        }
        let by_address = sections::by_address(&main, &sections)?;
        let found = debugfile::find(&main, debug, debug_dirs)?;

        let dynamic = dynamic::Dynamic::read(&main)?;
        let mut dynsyms = DynSyms::read(&main)?;
        let relocs = dynamic::relocations(&main, &dynamic, &mut dynsyms)?;

        let mut named = symbols::symtab(&main, &identity(sections.len()))?;
        if let (true, Some(debug_file), DebugSource::Separate(debug_path)) =
            (named.is_empty(), &found.file, &found.source)
        {
            let side = Elf::parse(debug_path, debug_file)?;
            named = symbols::symtab(&side, &section_map(&main, &side)?)?;
        } else if let (true, Some(debug_file), DebugSource::Separate(debug_path)) =
            (named.iter().all(|s| s.file.is_none()), &found.file, &found.source)
        {
            // `strip --strip-unneeded` and the like keep local symbols without the files that they are of.
            let side = Elf::parse(debug_path, debug_file)?;
            symbols::add_files(&mut named, symbols::symtab(&side, &section_map(&main, &side)?)?);
        }
        let symbols = symbols::merge(named, &dynsyms);
        let (symbols, first_tls) = order(symbols, extent);

        let bytes_of = |s: &super::Section| {
            let from = usize::try_from(s.offset.0).ok()?;
            file.get(from..from.checked_add(usize::try_from(s.range.size()).ok()?)?).filter(|_| s.has_bytes)
        };
        let plt = plt::read(&sections, bytes_of, &relocs.by_address, &relocs.plt_slots);
        let mut fdes = Vec::new();
        for s in sections.iter().filter(|s| s.kind == SectionKind::EhFrame) {
            if let Some(bytes) = bytes_of(s) {
                fdes.extend(unwind::read(blame, &sections, bytes, s.range.start)?);
            }
        }
        let init_arrays = sections
            .iter()
            .filter(|s| {
                matches!(s.name.as_str(), ".init_array" | ".fini_array" | ".preinit_array") && s.range.size() != 0
            })
            .map(|s| (s.name.clone(), s.range))
            .collect();
        let tls = main
            .segment(elf::PT_TLS)
            .map(|p| (SvmaRange::new(Svma(p.p_vaddr(LE)), p.p_filesz(LE)), p.p_memsz(LE), p.p_align(LE).max(1)));
        let kind = match main.header.e_type(LE) {
            elf::ET_EXEC => ImageKind::Exec,
            _ if dynamic.pie
                || main.segment(elf::PT_INTERP).is_some()
                    && main.header.e_entry(LE) != 0
                    && dynamic.soname.is_none() =>
            {
                ImageKind::Pie
            }
            _ => ImageKind::Shared,
        };
        Ok(Image {
            path: path.to_path_buf(),
            kind,
            build_id: main.build_id(),
            extent,
            entry: Svma(main.header.e_entry(LE)),
            soname: dynamic.soname,
            needed: dynamic.needed,
            textrel: dynamic.textrel,
            init: dynamic.init,
            fini: dynamic.fini,
            pltgot: dynamic.pltgot,
            symbolic: dynamic.symbolic,
            symbols,
            imports: dynsyms.imports,
            canonical: dynsyms.canonical,
            dynamic: relocs.by_address,
            plt,
            fdes,
            init_arrays,
            tls,
            ibt: main.ibt(),
            debug: found.source,
            sections,
            by_address,
            first_tls,
            debug_file: found.file,
            file,
        })
    }
}

/// Range of all PT_LOAD, which must lie in the file and not overlap.
fn extent(elf: &Elf<'_>) -> Result<SvmaRange, ImageError> {
    let mut last = None;
    let mut range: Option<SvmaRange> = None;
    for p in elf.loads() {
        let (start, file, mem) = (p.p_vaddr(LE), p.p_filesz(LE), p.p_memsz(LE));
        let bad = |what: &str| elf.blame.err(codes::MALFORMED_ELF, format_args!("segment at 0x{start:x} {what}"));
        let end = start.checked_add(mem).ok_or_else(|| bad("wraps around the address space"))?;
        if file > mem {
            return Err(bad("is larger in the file than in memory"));
        }
        let file_end = p.p_offset(LE).checked_add(file).ok_or_else(|| bad("lies outside the file"))?;
        if file_end > elf.data.len() as u64 {
            return Err(bad("lies outside the file: truncated?"));
        }
        if last.is_some_and(|l| start < l) {
            return Err(bad("overlaps the one before or isn't in ascending order"));
        }
        last = Some(end);
        let low = Svma(start - start % PAGE);
        range = Some(range.map_or(SvmaRange { start: low, end: Svma(end) }, |r| SvmaRange {
            start: r.start.min(low),
            end: Svma(end),
        }));
    }
    range.ok_or_else(|| elf.blame.err(codes::MALFORMED_ELF, "nothing to load"))
}

fn identity(n: usize) -> Vec<Option<SectionId>> {
    (0..n).map(|i| Some(SectionId::from(i))).collect()
}

/// Which section of the image each section of the debug file is. Their tables mostly agree, but a strip may have left sections out.
fn section_map(main: &Elf<'_>, side: &Elf<'_>) -> Result<Vec<Option<SectionId>>, ImageError> {
    let mut known = std::collections::HashMap::new();
    for (i, s) in main.sections.enumerate() {
        if s.sh_flags(LE).contains(elf::SHF_ALLOC) {
            known.insert((main.section_name(s)?, s.sh_addr(LE)), SectionId::from(i.0));
        }
    }
    side.sections.iter().map(|s| Ok(known.get(&(side.section_name(s)?, s.sh_addr(LE))).copied())).collect()
}

/// Sorts by (address, size, name), TLS symbols behind all others as their values aren't addresses; absolute ones that lie outside the
/// image (names of versions, numbers) are left out. Also gives the index of the first TLS symbol.
fn order(mut symbols: Vec<Symbol>, extent: SvmaRange) -> (Vec<Symbol>, usize) {
    symbols.retain(|s| s.section.is_some() || (s.kind != SymbolKind::Tls && extent.contains(s.svma)));
    let tls = |s: &Symbol| s.kind == SymbolKind::Tls;
    symbols.sort_by(|a, b| {
        (tls(a), a.svma, a.size, &a.name, &a.version, &a.file).cmp(&(
            tls(b),
            b.svma,
            b.size,
            &b.name,
            &b.version,
            &b.file,
        ))
    });
    let first_tls = symbols.partition_point(|s| !tls(s));
    (symbols, first_tls)
}
