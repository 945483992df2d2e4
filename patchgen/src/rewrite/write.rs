//! Puts the new file together: the old bytes, what is added, and the headers and dynamic entries that lead to it.

use super::elf::{Dyn, File, PAGE, PT_GNU_EH_FRAME, PT_PHDR, SHT_NOBITS, dt};
use super::frames::Frames;
use super::layout::{Group, Item, Layout, Part};
use super::relocs::Table;
use super::{Refusal, loads};
use hpatch_core::elf::{
    Ehdr, PF_W, PF_X, PT_LOAD, PT_NOTE, Phdr, Rela, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_RELA, SHT_STRTAB, Shdr,
};
use hpatch_core::payload::Payload;
use patchfmt::codes;
use zerocopy::{FromZeros, IntoBytes};

const PF_R: u32 = 4;
const SHT_PROGBITS: u32 = 1;
const SHT_NOTE: u32 = 7;
const PHDR: u64 = size_of::<Phdr>() as u64;

/// Program headers of the rewritten file.
pub fn header_count(file: &File<'_>, items: &[Item], frames: &Frames) -> u64 {
    let groups = super::layout::GROUPS.iter().filter(|g| items.iter().any(|i| i.group == **g && i.size != 0));
    let search = items.iter().any(|i| i.part == Part::Search) && frames.header.is_none();
    // One more for the note.
    (file.segments.len() + groups.count() + 1 + usize::from(search)) as u64
}

/// Everything that the new file is made from.
#[derive(Debug)]
pub struct Written<'a> {
    pub layout: &'a Layout,
    pub parts: &'a [(Part, Vec<u8>)],
    /// svma and new bytes of what is overwritten.
    pub writes: &'a [(u64, Vec<u8>)],
    pub table: &'a Option<Table>,
    /// In the copy of the needed versions.
    pub libraries: u64,
}

fn put(out: &mut [u8], at: u64, bytes: &[u8]) -> Result<(), Refusal> {
    let from = usize::try_from(at).unwrap_or(usize::MAX);
    let place = from.checked_add(bytes.len()).and_then(|end| out.get_mut(from..end));
    place.ok_or_else(|| Refusal::new(codes::INTERNAL, "a part outside of the file"))?.copy_from_slice(bytes);
    Ok(())
}

impl Written<'_> {
    /// The bytes of the rewritten file.
    ///
    /// # Errors
    /// HP0610 when the dynamic section or the header has no room.
    pub fn file(&self, file: &File<'_>, payload: &Payload<'_>, frames: &Frames) -> Result<Vec<u8>, Refusal> {
        let mut out = file.data.to_vec();
        out.resize(usize::try_from(self.layout.end).unwrap_or(usize::MAX), 0);
        for (part, bytes) in self.parts {
            let item = self.layout.item(*part);
            let item = item.ok_or_else(|| Refusal::new(codes::INTERNAL, "a part without a place"))?;
            put(&mut out, item.offset, bytes)?;
        }
        for (svma, bytes) in self.writes {
            let at = file.offset(*svma, bytes.len() as u64);
            put(&mut out, at.ok_or_else(|| Refusal::new(codes::REWRITE_SITE, "an edit"))?, bytes)?;
        }
        put(&mut out, file.dynamic_at, self.dynamic(file)?.as_bytes())?;
        let segments = self.segments(file, frames);
        put(&mut out, self.layout.headers.1, segments.as_bytes())?;
        let mut head = file.head;
        head.phoff = self.layout.headers.1.into();
        head.phnum = u16::try_from(segments.len()).unwrap_or(u16::MAX).into();
        self.sections(file, payload, frames, &mut out, &mut head)?;
        put(&mut out, 0, head.as_bytes())?;
        Ok(out)
    }

    fn svma(&self, part: Part) -> Option<u64> {
        self.layout.item(part).map(|i| i.svma)
    }

    /// The dynamic section with the entries that lead to copied tables.
    fn dynamic(&self, file: &File<'_>) -> Result<Vec<Dyn>, Refusal> {
        let mut changes: Vec<(u64, u64)> = Vec::new();
        let places = [
            (dt::RELA, Part::Rela),
            (dt::SYMTAB, Part::Symbols),
            (dt::STRTAB, Part::Strings),
            (dt::VERSYM, Part::Versions),
            (dt::VERNEED, Part::Needed),
            (dt::HASH, Part::Hash),
        ];
        changes.extend(places.into_iter().filter_map(|(tag, part)| Some((tag, self.svma(part)?))));
        if let Some(table) = self.table {
            changes.push((dt::RELASZ, (table.entries.len() * size_of::<Rela>()) as u64));
            changes.push((dt::RELAENT, size_of::<Rela>() as u64));
            changes.extend(table.relative.map(|n| (dt::RELACOUNT, n)));
        }
        changes.extend(self.layout.item(Part::Strings).map(|i| (dt::STRSZ, i.size)));
        changes.extend(self.layout.item(Part::Needed).map(|_| (dt::VERNEEDNUM, self.libraries)));
        let mut entries = file.dynamic.clone();
        for (tag, value) in changes {
            match entries.iter_mut().find(|d| d.tag == tag) {
                Some(entry) => entry.value = value.into(),
                None => entries.push(Dyn { tag: tag.into(), value: value.into() }),
            }
        }
        // One null entry ends the section.
        if entries.len() > file.dynamic.len() + file.spare.saturating_sub(1) {
            return Err(Refusal::new(codes::REWRITE_NO_ROOM, "its dynamic section has no spare entries"));
        }
        Ok(entries)
    }

    fn segments(&self, file: &File<'_>, frames: &Frames) -> Vec<Phdr> {
        let segment = |kind: u32, flags: u32, item: &Item, align: u64| Phdr {
            kind: kind.into(),
            flags: flags.into(),
            offset: item.offset.into(),
            vaddr: item.svma.into(),
            paddr: item.svma.into(),
            filesz: item.size.into(),
            memsz: item.size.into(),
            align: align.into(),
        };
        let mut all = file.segments.clone();
        let count = self.layout.extents.len() + all.len() + 1;
        if let Some(item) = self.layout.item(Part::Search) {
            let search = segment(PT_GNU_EH_FRAME, PF_R, item, 4);
            match all.iter_mut().find(|p| p.kind.get() == PT_GNU_EH_FRAME && frames.header.is_some()) {
                Some(p) => *p = search,
                None => all.push(search),
            }
        }
        let size = PHDR * (count as u64 + u64::from(all.len() > file.segments.len()));
        let (svma, offset) = self.layout.headers;
        if let Some(p) = all.iter_mut().find(|p| p.kind.get() == PT_PHDR) {
            (p.offset, p.vaddr, p.paddr) = (offset.into(), svma.into(), svma.into());
            (p.filesz, p.memsz) = (size.into(), size.into());
        }
        if self.layout.item(Part::Headers).is_none()
            && let Some(first) = all.iter_mut().find(|p| loads(p))
        {
            let end = offset + size - first.offset.get();
            (first.filesz, first.memsz) = (end.into(), end.into());
        }
        let last = all.iter().rposition(loads).map_or(0, |n| n + 1);
        let new = self.layout.extents.iter().map(|e| Phdr {
            kind: PT_LOAD.into(),
            flags: match e.group {
                Group::Constants => PF_R,
                Group::Code => PF_R | PF_X,
                Group::Data => PF_R | PF_W,
            }
            .into(),
            offset: e.offset.into(),
            vaddr: e.svma.into(),
            paddr: e.svma.into(),
            filesz: e.filled.into(),
            memsz: e.size.into(),
            align: PAGE.into(),
        });
        all.splice(last..last, new.collect::<Vec<_>>());
        all.extend(self.layout.item(Part::Note).map(|item| segment(PT_NOTE, PF_R, item, 4)));
        all
    }

    /// Appends the section names and the section headers, when the file has any.
    fn sections(
        &self,
        file: &File<'_>,
        payload: &Payload<'_>,
        frames: &Frames,
        out: &mut Vec<u8>,
        head: &mut Ehdr,
    ) -> Result<(), Refusal> {
        if file.sections.is_empty() {
            return Ok(());
        }
        let mut sections = file.sections.clone();
        let mut names = file.names.to_vec();
        for item in self.layout.items.iter().filter(|i| i.size != 0) {
            if let Some(old) = moved(&mut sections, file, item.part, frames) {
                (old.addr, old.offset, old.size) = (item.svma.into(), item.offset.into(), item.size.into());
                if item.part == Part::Needed {
                    old.info = u32::try_from(self.libraries).unwrap_or(u32::MAX).into();
                }
                continue;
            }
            let Some(name) = section_name(payload, item.part) else { continue };
            let at = u32::try_from(names.len()).unwrap_or(u32::MAX);
            names.extend(name);
            names.push(0);
            sections.push(new_section(file, payload, item, at));
        }
        let names_at = out.len() as u64;
        out.extend(&names);
        if let Some(table) = sections.get_mut(usize::from(head.shstrndx.get())) {
            (table.offset, table.size) = (names_at.into(), (names.len() as u64).into());
        }
        out.resize(out.len().next_multiple_of(8), 0);
        head.shoff = (out.len() as u64).into();
        let count = u16::try_from(sections.len()).ok().filter(|n| *n < hpatch_core::elf::SHN_LORESERVE);
        head.shnum = count.ok_or_else(|| Refusal::new(codes::REWRITE_NO_ROOM, "too many sections"))?.into();
        out.extend(sections.as_bytes());
        Ok(())
    }
}

/// The header of the file's own section that the part is a copy of.
fn moved<'s>(sections: &'s mut [Shdr], file: &File<'_>, part: Part, frames: &Frames) -> Option<&'s mut Shdr> {
    let at = match part {
        Part::Rela => file.dynamic(dt::RELA),
        Part::Symbols => file.dynamic(dt::SYMTAB),
        Part::Strings => file.dynamic(dt::STRTAB),
        Part::Versions => file.dynamic(dt::VERSYM),
        Part::Needed => file.dynamic(dt::VERNEED),
        Part::Hash => file.dynamic(dt::HASH),
        Part::Search => frames.header,
        _ => None,
    }?;
    sections.iter_mut().find(|s| s.has(SHF_ALLOC) && s.addr.get() == at && s.size.get() != 0)
}

fn section_name(payload: &Payload<'_>, part: Part) -> Option<Vec<u8>> {
    Some(match part {
        Part::Headers => return None,
        Part::Note => b".note.hpatch".to_vec(),
        Part::Search => b".eh_frame_hdr".to_vec(),
        Part::Rela => b".rela.dyn".to_vec(),
        Part::Symbols | Part::Strings | Part::Versions | Part::Needed | Part::Hash => return None,
        Part::Stubs => b".hpatch.plt".to_vec(),
        Part::Slots => b".hpatch.slots".to_vec(),
        Part::Section(n) => {
            let name = payload.object.section_name(&payload.object.sections()[n]);
            if name.starts_with(b".hpatch") { name.to_vec() } else { [b".hpatch", name].concat() }
        }
    })
}

fn new_section(file: &File<'_>, payload: &Payload<'_>, item: &Item, name: u32) -> Shdr {
    let mut section = Shdr::new_zeroed();
    let kind = match item.part {
        Part::Note => SHT_NOTE,
        Part::Rela => SHT_RELA,
        Part::Section(_) if item.zeros => SHT_NOBITS,
        Part::Section(n) => payload.object.sections()[n].kind.get(),
        _ => SHT_PROGBITS,
    };
    let access = match item.group {
        Group::Constants => 0,
        Group::Code => SHF_EXECINSTR,
        Group::Data => SHF_WRITE,
    };
    (section.name, section.kind) = (name.into(), kind.into());
    section.flags = (SHF_ALLOC | access).into();
    (section.addr, section.offset, section.size) = (item.svma.into(), item.offset.into(), item.size.into());
    section.align = item.align.into();
    if kind == SHT_RELA {
        let symbols = file.dynamic(dt::SYMTAB);
        let link = file.sections.iter().position(|s| s.kind.get() != SHT_STRTAB && Some(s.addr.get()) == symbols);
        section.link = u32::try_from(link.unwrap_or(0)).unwrap_or(0).into();
        section.entsize = (size_of::<Rela>() as u64).into();
    }
    section
}
