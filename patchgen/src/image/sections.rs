//! Sections and what they hold.

use super::elf::{Elf, SectionHeader};
use super::error::{ImageError, codes};
use super::{Section, SectionKind, Span};
use crate::addr::{FileOffset, Svma, SvmaRange};
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{ProgramHeader as _, SectionHeader as _};

/// All sections in the order of their headers, index 0 (the null section) included, so that ids are section header indexes.
pub(super) fn read(elf: &Elf<'_>) -> Result<Vec<Section>, ImageError> {
    let relro = elf.segment(elf::PT_GNU_RELRO).map(|p| SvmaRange::new(Svma(p.p_vaddr(LE)), p.p_memsz(LE)));
    let mut out = Vec::with_capacity(elf.sections.len());
    for s in elf.sections.iter() {
        let name = elf.section_name(s)?.to_owned();
        let flags = s.sh_flags(LE);
        let alloc = flags.contains(elf::SHF_ALLOC);
        let has_bytes = s.sh_type(LE) != elf::SHT_NOBITS && s.sh_type(LE) != elf::SHT_NULL;
        let (addr, size) = (s.sh_addr(LE), s.sh_size(LE));
        if addr.checked_add(size).is_none() {
            return Err(elf
                .blame
                .err(codes::MALFORMED_ELF, format_args!("section {name} wraps around the address space")));
        }
        if has_bytes {
            elf.section_data(s)?;
        }
        let kind = if alloc { classify(&name, s, relro) } else { SectionKind::NotLoaded };
        if alloc && size != 0 && kind != SectionKind::Tbss {
            check_segment(elf, &name, s, has_bytes)?;
        }
        out.push(Section {
            name,
            kind,
            range: SvmaRange::new(Svma(addr), size),
            offset: FileOffset(s.sh_offset(LE)),
            align: s.sh_addralign(LE).max(1),
            writable: flags.contains(elf::SHF_WRITE),
            has_bytes,
            texts: merged_texts(s, elf.section_name(s)?),
        });
    }
    Ok(out)
}

/// Link editors leave the flags and the width where all that goes into a section has them. lld leaves the flags where anything has, without a width,
/// and mold (before 2.0) gives no width at all, but what it calls so has texts only, of all widths.
fn merged_texts(s: &SectionHeader, name: &str) -> u64 {
    let flags = s.sh_flags(LE);
    let merged = flags.contains(elf::SHF_MERGE | elf::SHF_STRINGS) && !flags.contains(elf::SHF_WRITE);
    match s.sh_entsize(LE) {
        width @ (1 | 2 | 4) if merged => width,
        0 if merged && name == ".rodata.str" => s.sh_addralign(LE).clamp(1, 4),
        _ => 0,
    }
}

/// A loaded section must lie in one PT_LOAD and show the bytes that the segment shows.
fn check_segment(elf: &Elf<'_>, name: &str, s: &SectionHeader, has_bytes: bool) -> Result<(), ImageError> {
    let (addr, end) = (s.sh_addr(LE), s.sh_addr(LE) + s.sh_size(LE));
    let fits = elf.loads().any(|p| {
        let (start, file_end) = (p.p_vaddr(LE), p.p_vaddr(LE).saturating_add(p.p_filesz(LE)));
        let mem_end = start.saturating_add(p.p_memsz(LE));
        if addr < start || end > mem_end {
            return false;
        }
        !has_bytes || (end <= file_end && s.sh_offset(LE).wrapping_sub(p.p_offset(LE)) == addr - start)
    });
    if fits {
        return Ok(());
    }
    Err(elf.blame.err(codes::MALFORMED_ELF, format_args!("section {name} contradicts the program headers")))
}

fn classify(name: &str, s: &SectionHeader, relro: Option<SvmaRange>) -> SectionKind {
    use SectionKind as K;
    let flags = s.sh_flags(LE);
    let kind = s.sh_type(LE);
    let in_relro = relro.is_some_and(|r| s.sh_size(LE) != 0 && r.contains(Svma(s.sh_addr(LE))));
    let nobits = kind == elf::SHT_NOBITS;
    if flags.contains(elf::SHF_TLS) {
        return if nobits { K::Tbss } else { K::Tdata };
    }
    if flags.contains(elf::SHF_EXECINSTR) {
        return if name == ".iplt" || name == ".plt" || name.starts_with(".plt.") { K::Plt } else { K::Text };
    }
    match name {
        ".eh_frame" => return K::EhFrame,
        ".eh_frame_hdr" | ".interp" | ".stapsdt.base" => return K::Other,
        ".got" | ".got.plt" | ".igot" | ".igot.plt" => return K::Got,
        _ => {}
    }
    if name == ".gcc_except_table" || name.starts_with(".gcc_except_table.") {
        return K::Lsda;
    }
    let relro_name = name == ".data.rel.ro"
        || name.starts_with(".data.rel.ro.")
        || matches!(
            name,
            ".init_array"
                | ".fini_array"
                | ".preinit_array"
                | ".ctors"
                | ".dtors"
                | ".jcr"
                | ".dynamic"
                | ".bss.rel.ro"
        );
    let by_loader =
        [elf::SHT_DYNAMIC, elf::SHT_INIT_ARRAY, elf::SHT_FINI_ARRAY, elf::SHT_PREINIT_ARRAY].contains(&kind);
    if by_loader || relro_name || (in_relro && flags.contains(elf::SHF_WRITE)) {
        return K::Relro;
    }
    if nobits {
        return K::Bss;
    }
    // SHT_X86_64_UNWIND is `.eh_frame` only; whatever else isn't PROGBITS belongs to the linker.
    if kind != elf::SHT_PROGBITS {
        return K::Other;
    }
    if flags.contains(elf::SHF_WRITE) { K::Data } else { K::Rodata }
}

/// The sections with an address range of their own, ascending; refuses overlaps. `.tdata` counts (its template has bytes), `.tbss` doesn't.
pub(super) fn by_address(elf: &Elf<'_>, sections: &[Section]) -> Result<Vec<Span>, ImageError> {
    let mut spans: Vec<Span> = sections
        .iter()
        .enumerate()
        .filter(|(_, s)| !matches!(s.kind, SectionKind::NotLoaded | SectionKind::Tbss) && s.range.size() != 0)
        .map(|(i, s)| Span { range: s.range, id: i.into(), file_at: s.has_bytes.then_some(s.offset) })
        .collect();
    spans.sort_by_key(|s| s.range);
    for pair in spans.windows(2) {
        if pair[1].range.start < pair[0].range.end {
            let [a, b] = [&pair[0], &pair[1]].map(|s| &sections[s.id.index()].name);
            return Err(elf.blame.err(codes::MALFORMED_ELF, format_args!("sections {a} and {b} overlap")));
        }
    }
    Ok(spans)
}
