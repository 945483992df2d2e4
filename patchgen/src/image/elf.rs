//! The ELF file as `object` reads it: headers and section table, checked to be of a kind that can be used.

use super::error::{Blame, ImageError, codes};
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, SectionTable};
use std::path::Path;

pub(crate) type Header = elf::FileHeader64<LE>;
pub(crate) type SectionHeader = elf::SectionHeader64<LE>;
pub(crate) type ProgramHeader = elf::ProgramHeader64<LE>;

/// Borrowed view of one file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elf<'a> {
    pub blame: Blame<'a>,
    pub data: &'a [u8],
    pub header: &'a Header,
    pub segments: &'a [ProgramHeader],
    pub sections: SectionTable<'a, Header>,
}

impl<'a> Elf<'a> {
    /// A linked executable or shared object, or its debug file.
    pub fn parse(path: &'a Path, data: &'a [u8]) -> Result<Elf<'a>, ImageError> {
        let elf = Elf::parse_any(path, data)?;
        let kind = elf.header.e_type(LE);
        if kind != elf::ET_EXEC && kind != elf::ET_DYN {
            return Err(elf.blame.err(codes::NOT_LINKED, "neither a linked executable nor a shared object"));
        }
        Ok(elf)
    }

    /// An ELF file of any type: `.dwo` files are relocatable objects.
    pub fn parse_any(path: &'a Path, data: &'a [u8]) -> Result<Elf<'a>, ImageError> {
        let blame = Blame(path);
        if !data.starts_with(&elf::ELFMAG) {
            return Err(blame.err(codes::NOT_ELF, "not an ELF file"));
        }
        if data.len() < size_of::<Header>() {
            return Err(blame.err(codes::MALFORMED_ELF, "file is shorter than an ELF header"));
        }
        // EI_CLASS and EI_DATA, gABI chapter 4.
        if data[4] != 2 || data[5] != 1 {
            return Err(blame.err(codes::WRONG_MACHINE, "not a 64-bit little-endian file"));
        }
        let header = Header::parse(data).map_err(blame.with(codes::NOT_ELF, "ELF header"))?;
        let machine = header.e_machine(LE);
        if machine != elf::EM_X86_64 {
            return Err(blame.err(codes::WRONG_MACHINE, format_args!("machine {} is not x86-64", machine.0)));
        }
        let segments = header.program_headers(LE, data).map_err(blame.with(codes::MALFORMED_ELF, "program headers"))?;
        let sections = header.sections(LE, data).map_err(blame.with(codes::MALFORMED_ELF, "section headers"))?;
        if sections.len() < 2 {
            return Err(blame.err(codes::NO_SECTIONS, "the section headers were removed"));
        }
        Ok(Elf { blame, data, header, segments, sections })
    }

    pub fn section_name(&self, s: &SectionHeader) -> Result<&'a str, ImageError> {
        let name = self.sections.section_name(LE, s).map_err(self.blame.with(codes::MALFORMED_ELF, "section name"))?;
        std::str::from_utf8(name).map_err(self.blame.with(codes::MALFORMED_ELF, "section name"))
    }

    pub fn section_by_name(&self, name: &str) -> Option<&'a SectionHeader> {
        self.sections.section_by_name(LE, name.as_bytes()).map(|(_, s)| s)
    }

    /// File content of a section; empty for SHT_NOBITS.
    pub fn section_data(&self, s: &SectionHeader) -> Result<&'a [u8], ImageError> {
        s.data(LE, self.data).map_err(self.blame.with(codes::MALFORMED_ELF, "section content"))
    }

    pub fn loads(&self) -> impl Iterator<Item = &'a ProgramHeader> + use<'a> {
        self.segments.iter().filter(|p| p.p_type(LE) == elf::PT_LOAD)
    }

    pub fn segment(&self, kind: elf::ProgramType) -> Option<&'a ProgramHeader> {
        self.segments.iter().find(|p| p.p_type(LE) == kind)
    }

    /// File content at a stated address, by the program headers, as the dynamic linker sees it.
    pub fn at(&self, addr: u64, size: u64) -> Option<&'a [u8]> {
        self.loads().find_map(|p| {
            let into = addr.checked_sub(p.p_vaddr(LE))?;
            let end = into.checked_add(size)?;
            if end > p.p_filesz(LE) {
                return None;
            }
            let from = usize::try_from(p.p_offset(LE).checked_add(into)?).ok()?;
            self.data.get(from..from.checked_add(usize::try_from(size).ok()?)?)
        })
    }

    /// Build-id note, empty where there is none. Separate debug files keep the note's content.
    pub fn build_id(&self) -> Vec<u8> {
        for s in self.sections.iter() {
            let Ok(Some(mut notes)) = s.notes(LE, self.data) else { continue };
            while let Ok(Some(note)) = notes.next() {
                if note.name() == elf::ELF_NOTE_GNU && note.n_type(LE) == elf::NT_GNU_BUILD_ID {
                    return note.desc().to_vec();
                }
            }
        }
        Vec::new()
    }

    /// GNU_PROPERTY_X86_FEATURE_1_AND says IBT (x86-64 psABI, program property).
    pub fn ibt(&self) -> bool {
        for s in self.sections.iter() {
            let Ok(Some(mut notes)) = s.notes(LE, self.data) else { continue };
            while let Ok(Some(note)) = notes.next() {
                let Some(mut props) = note.gnu_properties(LE) else { continue };
                while let Ok(Some(p)) = props.next() {
                    if p.pr_type() == elf::GNU_PROPERTY_X86_FEATURE_1_AND {
                        let first = p.pr_data().first().copied().unwrap_or(0);
                        return u32::from(first) & elf::GNU_PROPERTY_X86_FEATURE_1_IBT != 0;
                    }
                }
            }
        }
        false
    }
}
