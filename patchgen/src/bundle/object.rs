//! A payload object, read: sections, symbols, relocations and the `.hpatch.*` tables, all indices checked.
//!
//! Read with goblin, because `object` writes it.

use goblin::elf::section_header::{SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS};
use goblin::elf::{Elf, header, sym};
use patchfmt::codes::{self, Code};
use patchfmt::payload::{self, Bind, Edit, Func, Guard, Keep, PayloadSite, Range, Site, State};

/// One section. Sections without a name or content are kept, so that indices are those of the file.
#[derive(Debug)]
pub struct Section<'a> {
    pub name: &'a str,
    /// Empty for SHT_NOBITS.
    pub bytes: &'a [u8],
    /// In memory.
    pub size: u64,
    pub alloc: bool,
    pub write: bool,
    pub exec: bool,
}

#[derive(Debug)]
pub struct Symbol<'a> {
    pub name: &'a str,
    /// Section index; `None` when undefined.
    pub section: Option<usize>,
    /// In bytes from the start of its section.
    pub offset: u64,
    pub size: u64,
    pub is_section: bool,
}

#[derive(Debug)]
pub struct Reloc {
    /// Section that it changes, and where in it.
    pub section: usize,
    pub offset: u64,
    /// `R_X86_64_*`.
    pub kind: u32,
    pub symbol: usize,
    pub addend: i64,
}

#[derive(Debug)]
pub struct Object<'a> {
    pub sections: Vec<Section<'a>>,
    pub symbols: Vec<Symbol<'a>>,
    /// Ascending by section and offset.
    pub relocs: Vec<Reloc>,
    pub binds: &'a [Bind],
    pub funcs: &'a [Func],
    pub ranges: &'a [Range],
    pub sites: &'a [Site],
    pub payload_sites: &'a [PayloadSite],
    pub guards: &'a [Guard],
    pub edits: &'a [Edit],
    pub states: &'a [State],
    pub keeps: &'a [Keep],
    names: &'a [u8],
}

const BAD: Code = codes::PAYLOAD_NOT_OBJECT;

impl<'a> Object<'a> {
    /// Reads and checks a payload.
    ///
    /// # Errors
    /// HP0770 to HP0774.
    pub fn read(bytes: &'a [u8]) -> Result<Object<'a>, Code> {
        let elf = Elf::parse(bytes).map_err(|_| BAD)?;
        if elf.header.e_type != header::ET_REL || elf.header.e_machine != header::EM_X86_64 || !elf.is_64 {
            return Err(BAD);
        }
        let section_names = elf.section_headers.get(usize::from(elf.header.e_shstrndx)).ok_or(BAD)?;
        let section_names = slice(bytes, section_names.sh_offset, section_names.sh_size).ok_or(BAD)?;
        let mut sections = Vec::new();
        let mut names: Option<&[u8]> = None;
        for h in &elf.section_headers {
            let content = if h.sh_type == SHT_NOBITS { Some(&[][..]) } else { slice(bytes, h.sh_offset, h.sh_size) };
            let content = content.ok_or(BAD)?;
            let name = text(section_names, h.sh_name)?;
            if name == ".strtab" {
                names = Some(content);
            }
            let has = |flag: u32| h.sh_flags & u64::from(flag) != 0;
            let (alloc, write, exec) = (has(SHF_ALLOC), has(SHF_WRITE), has(SHF_EXECINSTR));
            sections.push(Section { name, bytes: content, size: h.sh_size, alloc, write, exec });
        }
        let names = names.ok_or(BAD)?;
        let symbols = elf.syms.iter().map(|s| symbol(&s, names, sections.len())).collect::<Result<Vec<_>, _>>()?;
        let relocs = relocs(&elf, &sections, symbols.len())?;
        let mut object = Object {
            relocs,
            binds: table(&sections, payload::BIND)?,
            funcs: table(&sections, payload::FUNC)?,
            ranges: table(&sections, payload::RANGE)?,
            sites: table(&sections, payload::SITE)?,
            payload_sites: table(&sections, payload::PSITE)?,
            guards: table(&sections, payload::GUARD)?,
            edits: table(&sections, payload::EDIT)?,
            states: table(&sections, payload::STATE)?,
            keeps: table(&sections, payload::KEEP)?,
            sections,
            symbols,
            names,
        };
        object.relocs.sort_by_key(|r| (r.section, r.offset));
        object.check()?;
        Ok(object)
    }

    /// A name in a record; empty for 0.
    #[must_use]
    pub fn name(&self, at: u32) -> &'a str {
        text(self.names, at as usize).unwrap_or_default()
    }

    /// The symbol of a record.
    #[must_use]
    pub fn symbol(&self, index: u32) -> Option<&Symbol<'a>> {
        self.symbols.get(index as usize)
    }

    /// Relocations inside `[start, end)` of a section.
    pub fn relocs_in(&self, section: usize, start: u64, end: u64) -> impl Iterator<Item = &Reloc> {
        let first = self.relocs.partition_point(|r| (r.section, r.offset) < (section, start));
        self.relocs[first..].iter().take_while(move |r| (r.section, r.offset) < (section, end))
    }

    /// Name of what a relocation refers to.
    #[must_use]
    pub fn target(&self, reloc: &Reloc) -> &'a str {
        let symbol = &self.symbols[reloc.symbol];
        match symbol.section {
            Some(section) if symbol.is_section || symbol.name.is_empty() => self.sections[section].name,
            _ => symbol.name,
        }
    }

    fn check(&self) -> Result<(), Code> {
        let mut bound = vec![false; self.symbols.len()];
        for bind in self.binds {
            bind.check()?;
            self.check_names(&[bind.name.get(), bind.version.get()])?;
            let symbol = self.symbol(bind.symbol.get()).ok_or(codes::RECORD_INDEX)?;
            let first = !std::mem::replace(&mut bound[bind.symbol.get() as usize], true);
            if symbol.section.is_some() || !first {
                return Err(codes::RECORD_VALUE);
            }
        }
        // Symbol 0 is the null symbol.
        if self.symbols.iter().zip(&bound).skip(1).any(|(s, bound)| s.section.is_none() && !bound) {
            return Err(codes::RECORD_VALUE);
        }
        for func in self.funcs {
            func.check(self.ranges, self.sites)?;
            self.check_names(&[func.name.get()])?;
            if func.replaced() && !self.defined(func.symbol.get())?.exec {
                return Err(codes::RECORD_VALUE);
            }
        }
        for site in self.payload_sites {
            let section = self.sections.get(site.section.get() as usize).ok_or(codes::RECORD_INDEX)?;
            if !section.exec || u64::from(site.offset.get()) > section.size {
                return Err(codes::RECORD_VALUE);
            }
        }
        for guard in self.guards {
            guard.check()?;
            self.check_names(&[guard.name.get()])?;
        }
        let mut written: Vec<(u64, u64)> = Vec::new();
        for edit in self.edits {
            edit.check()?;
            self.check_names(&[edit.name.get()])?;
            let section = self.defined(edit.symbol.get())?;
            let start = self.symbol(edit.symbol.get()).map_or(u64::MAX, |s| s.offset);
            if start.checked_add(edit.size.get().into()).is_none_or(|end| end > section.bytes.len() as u64) {
                return Err(codes::RECORD_VALUE);
            }
            written.push((edit.svma.get(), edit.svma.get() + u64::from(edit.size.get())));
        }
        for state in self.states {
            state.check()?;
            self.check_names(&[state.name.get()])?;
            let section = self.stretch(state.symbol.get(), state.offset.get(), state.size.get())?;
            if state.moved() && !section.write {
                return Err(codes::RECORD_VALUE);
            }
        }
        payload::check_keeps(self.keeps)?;
        for keep in self.keeps {
            self.check_names(&[keep.name.get()])?;
            if !self.stretch(keep.symbol.get(), keep.offset.get(), keep.size.get())?.write {
                return Err(codes::RECORD_VALUE);
            }
        }
        payload::check_code_edits(self.funcs, self.ranges, self.edits)?;
        let replaced = self.funcs.iter().filter(|f| f.replaced());
        written.extend(replaced.map(|f| (f.site.get(), f.site.get().saturating_add(payload::DETOUR.into()))));
        written.sort_unstable();
        if written.windows(2).any(|w| w[0].1 > w[1].0) {
            return Err(codes::RECORD_ORDER);
        }
        Ok(())
    }

    /// The alloc section that a record's symbol is in.
    fn defined(&self, symbol: u32) -> Result<&Section<'a>, Code> {
        let symbol = self.symbol(symbol).ok_or(codes::RECORD_INDEX)?;
        let section = symbol.section.map(|s| &self.sections[s]).ok_or(codes::RECORD_VALUE)?;
        if section.alloc && symbol.offset <= section.size { Ok(section) } else { Err(codes::RECORD_VALUE) }
    }

    /// The section in which so many bytes lie, at a distance from a record's symbol.
    fn stretch(&self, symbol: u32, distance: u64, size: u32) -> Result<&Section<'a>, Code> {
        let section = self.defined(symbol)?;
        let start = self.symbol(symbol).and_then(|s| s.offset.checked_add(distance));
        let end = start.and_then(|start| start.checked_add(size.into()));
        if end.is_some_and(|end| end <= section.size) { Ok(section) } else { Err(codes::RECORD_VALUE) }
    }

    fn check_names(&self, names: &[u32]) -> Result<(), Code> {
        names.iter().try_for_each(|at| text(self.names, *at as usize).map(|_| ()).map_err(|_| codes::RECORD_INDEX))
    }
}

fn slice(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(offset).ok()?..)?.get(..usize::try_from(size).ok()?)
}

fn text(table: &[u8], at: usize) -> Result<&str, Code> {
    let rest = table.get(at..).ok_or(BAD)?;
    let end = rest.iter().position(|b| *b == 0).ok_or(BAD)?;
    std::str::from_utf8(&rest[..end]).map_err(|_| BAD)
}

fn symbol<'a>(s: &sym::Sym, names: &'a [u8], sections: usize) -> Result<Symbol<'a>, Code> {
    let section = if s.st_shndx == 0 { None } else { Some(s.st_shndx) };
    // Absolute and common symbols have no place in a payload, but a file symbol is absolute and harmless.
    let is_file = s.st_type() == sym::STT_FILE;
    if section.is_some_and(|n| n >= sections) && !is_file {
        return Err(BAD);
    }
    Ok(Symbol {
        name: text(names, s.st_name)?,
        section: if is_file { Some(0) } else { section },
        offset: s.st_value,
        size: s.st_size,
        is_section: s.st_type() == sym::STT_SECTION,
    })
}

fn relocs(elf: &Elf<'_>, sections: &[Section<'_>], symbols: usize) -> Result<Vec<Reloc>, Code> {
    let mut out = Vec::new();
    for (table, entries) in &elf.shdr_relocs {
        let section = elf.section_headers.get(*table).ok_or(BAD)?.sh_info as usize;
        let size = sections.get(section).ok_or(BAD)?.size;
        for r in entries.iter() {
            let addend = r.r_addend.ok_or(BAD)?;
            if r.r_offset >= size || r.r_sym >= symbols {
                return Err(BAD);
            }
            out.push(Reloc { section, offset: r.r_offset, kind: r.r_type, symbol: r.r_sym, addend });
        }
    }
    Ok(out)
}

fn table<'a, T>(sections: &[Section<'a>], name: &str) -> Result<&'a [T], Code>
where
    T: zerocopy::FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned,
{
    let mut found = sections.iter().filter(|s| s.name == name);
    let Some(section) = found.next() else { return Ok(&[]) };
    // Two tables of one name: two readers could take different ones.
    if found.next().is_some() || section.alloc {
        return Err(BAD);
    }
    payload::table(section.bytes)
}

/// The psABI's name of a relocation type.
#[must_use]
pub fn reloc_name(kind: u32) -> String {
    format!("R_{}", goblin::elf::reloc::r_to_str(kind, header::EM_X86_64))
}
