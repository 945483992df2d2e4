//! Writes a [`PatchImage`] as an ET_REL file (System V gABI; psABI relocations) with the `.hpatch.*` tables of `docs/format.md`.

use crate::link::{Definition, Out, OutSection, PatchImage, RelocKind};
use object::elf;
use object::write::StringId;
use object::write::elf::{FileHeader, Rel, SectionHeader, SectionIndex, Sym, Writer};
use patchfmt::payload::{self, Bind, Edit, Func, Guard, Keep, PayloadSite, Range, Site, State};
use std::collections::BTreeMap;
use zerocopy::IntoBytes;

/// Sections of records refer to symbols by their final index: defined ones first, as the gABI wants local symbols.
struct SymbolOrder {
    /// New index by index in `PatchImage::symbols`.
    index: Vec<u32>,
    defined: Vec<usize>,
    undefined: Vec<usize>,
}

fn order(image: &PatchImage) -> SymbolOrder {
    let is_undefined = |i: &usize| {
        matches!(image.symbols[*i].definition, Definition::Old(_) | Definition::Word(_) | Definition::Import { .. })
    };
    let (undefined, defined): (Vec<usize>, Vec<usize>) = (0..image.symbols.len()).partition(is_undefined);
    let mut index = vec![0; image.symbols.len()];
    for (position, &i) in defined.iter().chain(&undefined).enumerate() {
        index[i] = u32::try_from(position + 1).unwrap_or(u32::MAX);
    }
    SymbolOrder { index, defined, undefined }
}

fn reloc_type(kind: RelocKind) -> elf::RelocationType {
    match kind {
        RelocKind::Abs64 => elf::R_X86_64_64,
        RelocKind::Pc32 => elf::R_X86_64_PC32,
        RelocKind::Plt32 => elf::R_X86_64_PLT32,
        RelocKind::Abs32 => elf::R_X86_64_32,
        RelocKind::Abs32S => elf::R_X86_64_32S,
        RelocKind::Tpoff32 => elf::R_X86_64_TPOFF32,
        RelocKind::Tpoff64 => elf::R_X86_64_TPOFF64,
        RelocKind::Dtpmod64 => elf::R_X86_64_DTPMOD64,
        RelocKind::Dtpoff64 => elf::R_X86_64_DTPOFF64,
        RelocKind::Dtpoff32 => elf::R_X86_64_DTPOFF32,
    }
}

fn rela_name(out: Out) -> &'static str {
    match out {
        Out::Text => ".rela.text",
        Out::Rodata => ".rela.rodata",
        Out::Got => ".rela.got",
        Out::Data => ".rela.data",
        Out::Bss => ".rela.bss",
        Out::Tdata => ".rela.tdata",
        Out::Tbss => ".rela.tbss",
        Out::New => ".rela.hpatch.new",
        Out::Lsda => ".rela.gcc_except_table",
        Out::EhFrame => ".rela.eh_frame",
    }
}

fn header(out: Out, section: &OutSection) -> SectionHeader {
    let (kind, flags) = match out {
        Out::Text => (elf::SHT_PROGBITS, elf::SHF_ALLOC | elf::SHF_EXECINSTR),
        Out::Data => (elf::SHT_PROGBITS, elf::SHF_ALLOC | elf::SHF_WRITE),
        Out::Bss => (elf::SHT_NOBITS, elf::SHF_ALLOC | elf::SHF_WRITE),
        Out::Tdata => (elf::SHT_PROGBITS, elf::SHF_ALLOC | elf::SHF_WRITE | elf::SHF_TLS),
        Out::Tbss => (elf::SHT_NOBITS, elf::SHF_ALLOC | elf::SHF_WRITE | elf::SHF_TLS),
        _ => (elf::SHT_PROGBITS, elf::SHF_ALLOC),
    };
    SectionHeader {
        sh_type: kind,
        sh_flags: flags,
        sh_size: section.size,
        sh_addralign: section.align.max(1),
        ..table_header()
    }
}

fn table_header() -> SectionHeader {
    SectionHeader {
        sh_name: 0,
        sh_type: elf::SHT_PROGBITS,
        sh_flags: elf::SectionFlags::default(),
        sh_addr: 0,
        sh_offset: 0,
        sh_size: 0,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: 1,
        sh_entsize: 0,
    }
}

/// Names that records refer to, by text.
struct Names<'a> {
    ids: BTreeMap<&'a str, StringId>,
}

impl<'a> Names<'a> {
    fn add(&mut self, writer: &mut Writer<'a>, name: &'a str) {
        if !name.is_empty() && !self.ids.contains_key(name) {
            let id = writer.add_string(name.as_bytes());
            self.ids.insert(name, id);
        }
    }

    fn offset(&self, writer: &Writer<'a>, name: &str) -> u32 {
        self.ids.get(name).map_or(0, |&id| writer.string_offset(Some(id)))
    }
}

/// Records of one image, still by [`PatchImage`] symbol index and with names unresolved, but of known size.
struct Tables<'a> {
    image: &'a PatchImage,
    order: &'a SymbolOrder,
    /// ELF index of `.text`.
    text: u32,
}

impl Tables<'_> {
    /// (section name, size) of every table that isn't empty.
    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let ranges: usize = self.image.funcs.iter().map(|f| f.ranges.len()).sum();
        let sites: usize = self.image.funcs.iter().map(|f| f.return_sites.len()).sum();
        let sizes = [
            (payload::BIND, self.order.undefined.len() * size_of::<Bind>()),
            (payload::FUNC, self.image.funcs.len() * size_of::<Func>()),
            (payload::RANGE, ranges * size_of::<Range>()),
            (payload::SITE, sites * size_of::<Site>()),
            (payload::PSITE, self.image.return_sites.len() * size_of::<PayloadSite>()),
            (payload::GUARD, self.image.guards.len() * size_of::<Guard>()),
            (payload::EDIT, self.image.edits.len() * size_of::<Edit>()),
            (payload::STATE, self.image.states.len() * size_of::<State>()),
            (payload::KEEP, self.image.keeps.len() * size_of::<Keep>()),
        ];
        sizes.into_iter().filter(|(_, size)| *size > 0).collect()
    }

    fn symbol(&self, index: u32) -> u32 {
        self.order.index[index as usize]
    }

    fn bytes(&self, section: &str, name: impl Fn(&str) -> u32) -> Vec<u8> {
        match section {
            payload::BIND => {
                let binds = self.order.undefined.iter().map(|&i| match &self.image.symbols[i].definition {
                    Definition::Import { name: symbol, version, weak, own } => {
                        let version = version.as_deref().map_or(0, &name);
                        match own {
                            Some(at) => Bind::own(self.order.index[i], at.0, name(symbol), version),
                            None => Bind::import(self.order.index[i], name(symbol), version, *weak),
                        }
                    }
                    Definition::Old(at) => Bind::old(self.order.index[i], at.0),
                    Definition::Word(at) => Bind::word(self.order.index[i], at.0),
                    _ => Bind::old(self.order.index[i], 0),
                });
                collect(binds)
            }
            payload::FUNC => {
                let (mut range, mut site) = (0u32, 0u32);
                let funcs = self.image.funcs.iter().map(|f| {
                    let (range_count, site_count) = (f.ranges.len() as u32, f.return_sites.len() as u32);
                    let record = Func {
                        entry: f.entry.0.into(),
                        site: f.site.0.into(),
                        window: f.window.into(),
                        symbol: f.symbol.map_or(0, |s| self.symbol(s)).into(),
                        first_range: range.into(),
                        range_count: range_count.into(),
                        first_site: site.into(),
                        site_count: site_count.into(),
                        name: name(&f.name).into(),
                        flags: flags([
                            (f.main_like, payload::FUNC_MAIN_LIKE),
                            (f.symbol.is_none() && !f.idle, payload::FUNC_EDITED),
                            (f.idle, payload::FUNC_IDLE),
                        ])
                        .into(),
                        preimage: f.preimage,
                    };
                    range += range_count;
                    site += site_count;
                    record
                });
                collect(funcs)
            }
            payload::RANGE => {
                let ranges = self.image.funcs.iter().flat_map(|f| &f.ranges);
                collect(ranges.map(|r| Range { svma: r.start.0.into(), size: r.size().into() }))
            }
            payload::SITE => {
                let sites = self.image.funcs.iter().flat_map(|f| &f.return_sites);
                collect(sites.map(|s| Site { svma: s.0.into() }))
            }
            payload::PSITE => collect(
                self.image
                    .return_sites
                    .iter()
                    .map(|&offset| PayloadSite { section: self.text.into(), offset: offset.into() }),
            ),
            payload::GUARD => collect(self.image.guards.iter().map(|g| Guard {
                svma: g.range.start.0.into(),
                size: g.range.size().into(),
                name: name(&g.name).into(),
                reserved: 0.into(),
                preimage: g.preimage,
            })),
            payload::EDIT => collect(self.image.edits.iter().map(|e| Edit {
                svma: e.at.0.into(),
                size: e.size.into(),
                symbol: self.symbol(e.symbol).into(),
                name: name(&e.name).into(),
                flags: flags([(e.code, payload::EDIT_CODE)]).into(),
                preimage: e.preimage,
                reserved: 0.into(),
            })),
            payload::STATE => collect(self.image.states.iter().map(|s| State {
                svma: s.at.0.into(),
                offset: s.offset.into(),
                size: s.size.into(),
                symbol: self.symbol(s.symbol).into(),
                name: name(&s.name).into(),
                kind: if s.moved { payload::STATE_MOVED } else { payload::STATE_RESET }.into(),
                reserved: 0.into(),
            })),
            payload::KEEP => collect(self.image.keeps.iter().map(|k| Keep {
                key: k.keep.key,
                shape: k.keep.shape,
                size: k.size.into(),
                symbol: self.symbol(k.symbol).into(),
                name: name(&k.name).into(),
                flags: flags([(k.keep.stays.is_none(), payload::KEEP_GOES_ALONG)]).into(),
                offset: k.offset.into(),
            })),
            _ => Vec::new(),
        }
    }
}

fn flags<const N: usize>(set: [(bool, u32); N]) -> u32 {
    set.into_iter().filter(|(on, _)| *on).fold(0, |all, (_, bit)| all | bit)
}

fn collect<T: IntoBytes + zerocopy::Immutable>(records: impl Iterator<Item = T>) -> Vec<u8> {
    records.flat_map(|r| r.as_bytes().to_vec()).collect()
}

/// The object file's bytes.
///
/// # Errors
/// When the file outgrows what ELF fields hold.
pub fn write(image: &PatchImage) -> Result<Vec<u8>, object::write::Error> {
    let mut buffer = Vec::new();
    let order = order(image);
    let mut writer = Writer::new(object::Endianness::Little, true, &mut buffer);
    let mut names = Names { ids: BTreeMap::new() };

    writer.reserve_null_section_index();
    let mut index: BTreeMap<Out, SectionIndex> = BTreeMap::new();
    let mut section_names: Vec<StringId> = Vec::new();
    for &out in image.sections.keys() {
        section_names.push(writer.add_section_name(out.name().as_bytes()));
        index.insert(out, writer.reserve_section_index());
    }
    let related: Vec<Out> = image.sections.iter().filter(|(_, s)| !s.relocs.is_empty()).map(|(&o, _)| o).collect();
    let mut rela_names: Vec<StringId> = Vec::new();
    for &out in &related {
        rela_names.push(writer.add_section_name(rela_name(out).as_bytes()));
        writer.reserve_section_index();
    }
    let text = index.get(&Out::Text).map_or(0, |i| i.0);
    let tables = Tables { image, order: &order, text };
    let sizes = tables.sizes();
    let mut table_names: Vec<StringId> = Vec::new();
    for (name, _) in &sizes {
        table_names.push(writer.add_section_name(name.as_bytes()));
        writer.reserve_section_index();
    }
    let symtab = writer.reserve_symtab_section_index();
    writer.reserve_strtab_section_index();
    writer.reserve_shstrtab_section_index();

    for symbol in &image.symbols {
        names.add(&mut writer, &symbol.name);
        if let Definition::Import { name, version, .. } = &symbol.definition {
            names.add(&mut writer, name);
            names.add(&mut writer, version.as_deref().unwrap_or(""));
        }
    }
    let guarded = image.guards.iter().map(|g| &g.name);
    let changed = image.edits.iter().map(|e| &e.name).chain(image.states.iter().map(|s| &s.name));
    let changed = changed.chain(image.keeps.iter().map(|k| &k.name));
    for name in image.funcs.iter().map(|f| &f.name).chain(changed).chain(guarded) {
        names.add(&mut writer, name);
    }
    for _ in &image.symbols {
        writer.reserve_symbol_index(None);
    }

    writer.reserve_file_header();
    let mut offsets: BTreeMap<Out, u64> = BTreeMap::new();
    for (&out, section) in &image.sections {
        let length = if out.is_zeros() { 0 } else { section.size };
        offsets.insert(out, writer.reserve(length, section.align.max(1)));
    }
    let rela_offsets: Vec<u64> =
        related.iter().map(|out| writer.reserve_relocations(image.sections[out].relocs.len(), true)).collect();
    let table_offsets: Vec<u64> = sizes.iter().map(|&(_, size)| writer.reserve(size as u64, 1)).collect();
    writer.reserve_symtab();
    writer.reserve_strtab()?;
    writer.reserve_shstrtab()?;
    writer.reserve_section_headers();

    writer.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_REL,
        e_machine: elf::EM_X86_64,
        e_entry: 0,
        e_flags: elf::FileFlags::default(),
    })?;
    for (out, section) in image.sections.iter().filter(|(out, _)| !out.is_zeros()) {
        writer.pad_until(offsets[out]);
        writer.write(&section.bytes);
    }
    for out in &related {
        writer.write_align_relocation();
        for reloc in &image.sections[out].relocs {
            writer.write_relocation(
                true,
                &Rel {
                    r_offset: reloc.offset,
                    r_sym: order.index[reloc.symbol as usize],
                    r_type: reloc_type(reloc.kind),
                    r_addend: reloc.addend,
                },
            );
        }
    }
    for (&(name, _), &offset) in sizes.iter().zip(&table_offsets) {
        writer.pad_until(offset);
        let bytes = tables.bytes(name, |n| names.offset(&writer, n));
        writer.write(&bytes);
    }
    writer.write_null_symbol();
    for &i in order.defined.iter().chain(&order.undefined) {
        let symbol = &image.symbols[i];
        let st_name = names.offset(&writer, &symbol.name);
        writer.write_symbol(&sym(symbol, st_name, &index));
    }
    writer.write_strtab();
    writer.write_shstrtab();

    writer.write_null_section_header();
    for ((&out, section), &name) in image.sections.iter().zip(&section_names) {
        let sh_name = writer.section_name_offset(Some(name));
        writer.write_section_header(&SectionHeader { sh_name, sh_offset: offsets[&out], ..header(out, section) });
    }
    for ((out, &name), &offset) in related.iter().zip(&rela_names).zip(&rela_offsets) {
        let count = image.sections[out].relocs.len();
        writer.write_relocation_section_header(name, index[out], symtab, offset, count, true);
    }
    for ((&(_, size), &name), &offset) in sizes.iter().zip(&table_names).zip(&table_offsets) {
        let sh_name = writer.section_name_offset(Some(name));
        writer.write_section_header(&SectionHeader {
            sh_name,
            sh_offset: offset,
            sh_size: size as u64,
            ..table_header()
        });
    }
    let locals = u32::try_from(order.defined.len() + 1).unwrap_or(u32::MAX);
    writer.write_symtab_section_header(locals);
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    Ok(buffer)
}

fn sym(symbol: &crate::link::OutSymbol, st_name: u32, index: &BTreeMap<Out, SectionIndex>) -> Sym {
    let (kind, binding, section, st_value, st_size) = match &symbol.definition {
        Definition::Section(out) => (elf::STT_SECTION, elf::STB_LOCAL, index.get(out), 0, 0),
        Definition::Code { offset, size } => (elf::STT_FUNC, elf::STB_LOCAL, index.get(&Out::Text), *offset, *size),
        Definition::Object { out: out @ (Out::Tdata | Out::Tbss), offset, size } => {
            (elf::STT_TLS, elf::STB_LOCAL, index.get(out), *offset, *size)
        }
        Definition::Object { out, offset, size } => (elf::STT_OBJECT, elf::STB_LOCAL, index.get(out), *offset, *size),
        Definition::Import { weak: true, .. } => (elf::STT_NOTYPE, elf::STB_WEAK, None, 0, 0),
        Definition::Old(_) | Definition::Word(_) | Definition::Import { .. } => {
            (elf::STT_NOTYPE, elf::STB_GLOBAL, None, 0, 0)
        }
    };
    Sym {
        section: section.map(|s| s.0),
        st_name,
        st_info: elf::SymbolInfo::new(binding, kind),
        st_other: elf::SymbolOther::default(),
        st_shndx: elf::SHN_UNDEF,
        st_value,
        st_size,
    }
}
