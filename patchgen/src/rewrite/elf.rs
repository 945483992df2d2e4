//! The file that is rewritten: headers, segments, dynamic section, read once and checked for forms that can't be rewritten.

use super::Refusal;
use hpatch_core::elf::{EM_X86_64, Ehdr, PT_DYNAMIC, PT_LOAD, Phdr, Shdr};
use hpatch_core::image::Memory;
use patchfmt::codes;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub const PAGE: u64 = 4096;
pub const ET_EXEC: u16 = 2;
pub const ET_DYN: u16 = 3;
pub const PT_PHDR: u32 = 6;
pub const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
pub const SHT_NOBITS: u32 = hpatch_core::elf::SHT_NOBITS;

/// Tags of the dynamic section (gABI, GNU).
pub mod dt {
    pub const NULL: u64 = 0;
    pub const NEEDED: u64 = 1;
    pub const PLTRELSZ: u64 = 2;
    pub const HASH: u64 = 4;
    pub const STRTAB: u64 = 5;
    pub const SYMTAB: u64 = 6;
    pub const RELA: u64 = 7;
    pub const RELASZ: u64 = 8;
    pub const RELAENT: u64 = 9;
    pub const STRSZ: u64 = 10;
    pub const JMPREL: u64 = 23;
    pub const RELRSZ: u64 = 35;
    pub const RELR: u64 = 36;
    pub const GNU_PRELINKED: u64 = 0x6fff_fdf5;
    pub const GNU_CONFLICT: u64 = 0x6fff_fef8;
    pub const GNU_LIBLIST: u64 = 0x6fff_fef9;
    pub const VERSYM: u64 = 0x6fff_fff0;
    pub const RELACOUNT: u64 = 0x6fff_fff9;
    pub const VERDEF: u64 = 0x6fff_fffc;
    pub const VERDEFNUM: u64 = 0x6fff_fffd;
    pub const VERNEED: u64 = 0x6fff_fffe;
    pub const VERNEEDNUM: u64 = 0x6fff_ffff;
}

/// `Elf64_Dyn`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Dyn {
    pub tag: U64,
    pub value: U64,
}

/// An executable or shared object for x86-64.
#[derive(Debug)]
pub struct File<'a> {
    pub data: &'a [u8],
    pub head: Ehdr,
    pub segments: Vec<Phdr>,
    pub sections: Vec<Shdr>,
    /// The section names' table.
    pub names: &'a [u8],
    /// Up to the first null entry, and how many of these there are.
    pub dynamic: Vec<Dyn>,
    pub spare: usize,
    /// File offset of the dynamic section.
    pub dynamic_at: u64,
}

fn form(what: &str) -> Refusal {
    Refusal::new(codes::REWRITE_FORM, what)
}

fn records<T: FromBytes + Immutable + KnownLayout + Unaligned + Copy>(
    data: &[u8],
    at: u64,
    count: u64,
) -> Option<Vec<T>> {
    let from = usize::try_from(at).ok()?;
    let size = usize::try_from(count).ok()?.checked_mul(size_of::<T>())?;
    let bytes = data.get(from..from.checked_add(size)?)?;
    Some(<[T]>::ref_from_bytes(bytes).ok()?.to_vec())
}

impl<'a> File<'a> {
    /// Reads a file that can be rewritten.
    ///
    /// # Errors
    /// HP0612, with what is in the way.
    pub fn read(data: &'a [u8]) -> Result<File<'a>, Refusal> {
        let (head, _) = Ehdr::read_from_prefix(data).map_err(|_| form("not an ELF file"))?;
        let kind = head.kind.get();
        if head.ident[..7] != *b"\x7fELF\x02\x01\x01"
            || head.machine.get() != EM_X86_64
            || (kind != ET_EXEC && kind != ET_DYN)
        {
            return Err(form("not an executable or shared object for x86-64"));
        }
        let sizes = (usize::from(head.phentsize.get()), usize::from(head.shentsize.get()));
        let sectioned = head.shnum.get() != 0;
        if sizes.0 != size_of::<Phdr>() || (sectioned && sizes.1 != size_of::<Shdr>()) || head.phnum.get() == 0xffff {
            return Err(form("sizes of its headers"));
        }
        if !sectioned && head.shoff.get() != 0 {
            return Err(form("more sections than the header can count"));
        }
        let outside = || form("headers outside of the file");
        let segments: Vec<Phdr> = records(data, head.phoff.get(), head.phnum.get().into()).ok_or_else(outside)?;
        let sections: Vec<Shdr> = match sectioned {
            true => records(data, head.shoff.get(), head.shnum.get().into()).ok_or_else(outside)?,
            false => Vec::new(),
        };
        let mut file =
            File { data, head, segments, sections, names: &[], dynamic: Vec::new(), spare: 0, dynamic_at: 0 };
        file.check_segments()?;
        if sectioned {
            let names = file.sections.get(usize::from(head.shstrndx.get())).ok_or_else(outside)?;
            file.names = file.content(names).ok_or_else(outside)?;
        }
        file.read_dynamic()?;
        file.check_end()?;
        Ok(file)
    }

    fn check_segments(&self) -> Result<(), Refusal> {
        let mut last = None;
        for p in self.loads() {
            let (start, size) = (p.vaddr.get(), p.memsz.get());
            let end = start.checked_add(size).filter(|end| *end < 1 << 47);
            let file_end = p.offset.get().checked_add(p.filesz.get());
            let sound = p.filesz.get() <= size
                && file_end.is_some_and(|end| end <= self.data.len() as u64)
                && (start ^ p.offset.get()) % PAGE == 0
                && last.is_none_or(|last| last <= start);
            last = Some(end.filter(|_| sound).ok_or_else(|| form("segments that contradict each other"))?);
        }
        // The kernel and the dynamic linker find everything else relative to the mapped file header.
        match self.loads().next() {
            Some(p) if p.offset.get() == 0 && p.filesz.get() >= size_of::<Ehdr>() as u64 => Ok(()),
            _ => Err(form("its header isn't mapped first")),
        }
    }

    fn read_dynamic(&mut self) -> Result<(), Refusal> {
        let Some(p) = self.segments.iter().find(|p| p.kind.get() == PT_DYNAMIC) else { return Ok(()) };
        self.dynamic_at = p.offset.get();
        let all: Option<Vec<Dyn>> = records(self.data, p.offset.get(), p.filesz.get() / size_of::<Dyn>() as u64);
        let all = all.ok_or_else(|| form("a dynamic section outside of the file"))?;
        let used = all.iter().position(|d| d.tag == dt::NULL).unwrap_or(all.len());
        self.spare = all[used..].iter().take_while(|d| d.tag == dt::NULL).count();
        self.dynamic = all[..used].to_vec();
        let prelinked = [dt::GNU_PRELINKED, dt::GNU_CONFLICT, dt::GNU_LIBLIST];
        if self.dynamic.iter().any(|d| prelinked.contains(&d.tag.get())) {
            return Err(form("it is prelinked"));
        }
        Ok(())
    }

    /// Programs find data that was put behind their ELF content from the end of the file: nothing may come between.
    fn check_end(&self) -> Result<(), Refusal> {
        let tables = [
            (self.head.phoff.get(), u64::from(self.head.phnum.get()) * size_of::<Phdr>() as u64),
            (self.head.shoff.get(), u64::from(self.head.shnum.get()) * size_of::<Shdr>() as u64),
        ];
        let segments = self.segments.iter().map(|p| (p.offset.get(), p.filesz.get()));
        let filled = self.sections.iter().filter(|s| s.kind.get() != SHT_NOBITS);
        let sections = filled.map(|s| (s.offset.get(), s.size.get()));
        let end = tables.into_iter().chain(segments).chain(sections).map(|(at, size)| at.saturating_add(size)).max();
        let end = usize::try_from(end.unwrap_or(0)).unwrap_or(usize::MAX);
        match self.data.get(end..) {
            Some(rest) if rest.iter().all(|b| *b == 0) => Ok(()),
            Some(_) => Err(form("data behind its last section")),
            None => Err(form("a section or segment outside of the file")),
        }
    }

    pub fn loads(&self) -> impl Iterator<Item = &Phdr> {
        self.segments.iter().filter(|p| p.kind.get() == PT_LOAD)
    }

    /// Whether the dynamic linker, or the program itself, moves it in memory.
    pub fn moves(&self) -> bool {
        self.head.kind.get() == ET_DYN
    }

    /// svma behind the last byte in memory.
    pub fn memory_end(&self) -> u64 {
        self.loads().map(|p| p.vaddr.get() + p.memsz.get()).max().unwrap_or(0)
    }

    /// svma of the file header: also svma − file offset of all that lies in the first segment.
    pub fn base(&self) -> u64 {
        self.loads().next().map_or(0, |p| p.vaddr.get())
    }

    /// File offset of `[svma, svma + size)`, when the file has all of it.
    pub fn offset(&self, svma: u64, size: u64) -> Option<u64> {
        let p = self.loads().find(|p| {
            svma >= p.vaddr.get() && svma.checked_add(size).is_some_and(|e| e <= p.vaddr.get() + p.filesz.get())
        })?;
        Some(svma - p.vaddr.get() + p.offset.get())
    }

    pub fn bytes(&self, svma: u64, size: u64) -> Option<&'a [u8]> {
        let at = usize::try_from(self.offset(svma, size)?).ok()?;
        self.data.get(at..at + usize::try_from(size).ok()?)
    }

    /// A table in memory, as the dynamic section names one.
    pub fn table<T: FromBytes + Immutable + KnownLayout + Unaligned>(&self, svma: u64, count: u64) -> Option<&'a [T]> {
        <[T]>::ref_from_bytes(self.bytes(svma, count.checked_mul(size_of::<T>() as u64)?)?).ok()
    }

    pub fn content(&self, section: &Shdr) -> Option<&'a [u8]> {
        let from = usize::try_from(section.offset.get()).ok()?;
        self.data.get(from..from.checked_add(usize::try_from(section.size.get()).ok()?)?)
    }

    pub fn dynamic(&self, tag: u64) -> Option<u64> {
        self.dynamic.iter().find(|d| d.tag == tag).map(|d| d.value.get())
    }
}

/// The memory as it is before anything has run: load bias 0, dynamic relocations not yet done.
impl Memory for File<'_> {
    fn read(&self, addr: u64, buf: &mut [u8]) -> bool {
        let holds = |p: &&Phdr| {
            let end = addr.checked_add(buf.len() as u64);
            addr >= p.vaddr.get() && end.is_some_and(|e| e <= p.vaddr.get() + p.memsz.get())
        };
        let Some(p) = self.loads().find(holds) else { return false };
        let into = addr - p.vaddr.get();
        let filled = p.filesz.get().saturating_sub(into).min(buf.len() as u64) as usize;
        buf.fill(0);
        let from = (p.offset.get() + into) as usize;
        self.data.get(from..from + filled).map(|b| buf[..filled].copy_from_slice(b)).is_some()
    }
}
