//! Reads an ELF64 relocatable object (System V gABI) from a byte slice. Every table is bounds-checked once, here; names are
//! looked up in their string table when asked for.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Why the bytes aren't an object that the loader links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// `Elf64_Ehdr`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ehdr {
    pub ident: [u8; 16],
    pub kind: U16,
    pub machine: U16,
    pub version: U32,
    pub entry: U64,
    pub phoff: U64,
    pub shoff: U64,
    pub flags: U32,
    pub ehsize: U16,
    pub phentsize: U16,
    pub phnum: U16,
    pub shentsize: U16,
    pub shnum: U16,
    pub shstrndx: U16,
}

/// `Elf64_Phdr`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Phdr {
    pub kind: U32,
    pub flags: U32,
    pub offset: U64,
    pub vaddr: U64,
    pub paddr: U64,
    pub filesz: U64,
    pub memsz: U64,
    pub align: U64,
}

/// `Elf64_Shdr`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Shdr {
    pub name: U32,
    pub kind: U32,
    pub flags: U64,
    pub addr: U64,
    pub offset: U64,
    pub size: U64,
    pub link: U32,
    pub info: U32,
    pub align: U64,
    pub entsize: U64,
}

/// `Elf64_Sym`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Sym {
    pub name: U32,
    pub info: u8,
    pub other: u8,
    pub shndx: U16,
    pub value: U64,
    pub size: U64,
}

/// `Elf64_Rela`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Rela {
    pub offset: U64,
    pub kind: U32,
    pub symbol: U32,
    pub addend: I64,
}

pub const EM_X86_64: u16 = 62;
pub const ET_REL: u16 = 1;
pub const PT_LOAD: u32 = 1;
pub const PT_DYNAMIC: u32 = 2;
pub const PT_NOTE: u32 = 4;
pub const PF_X: u32 = 1;
pub const PF_W: u32 = 2;
pub const SHT_SYMTAB: u32 = 2;
pub const SHT_STRTAB: u32 = 3;
pub const SHT_RELA: u32 = 4;
pub const SHT_NOBITS: u32 = 8;
pub const SHT_REL: u32 = 9;
pub const SHF_WRITE: u64 = 1;
pub const SHF_ALLOC: u64 = 2;
pub const SHF_EXECINSTR: u64 = 4;
pub const SHF_TLS: u64 = 0x400;
pub const SHF_COMPRESSED: u64 = 0x800;
pub const SHN_UNDEF: u16 = 0;
pub const SHN_LORESERVE: u16 = 0xff00;
pub const SHN_ABS: u16 = 0xfff1;
pub const STT_TLS: u8 = 6;
pub const STT_GNU_IFUNC: u8 = 10;

impl Shdr {
    pub fn has(&self, flag: u64) -> bool {
        self.flags.get() & flag != 0
    }
}

impl Sym {
    pub fn kind(&self) -> u8 {
        self.info & 15
    }

    pub fn bind(&self) -> u8 {
        self.info >> 4
    }
}

/// An ET_REL file for x86-64.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    data: &'a [u8],
    sections: &'a [Shdr],
    names: &'a [u8],
    symbols: &'a [Sym],
    strings: &'a [u8],
}

fn part(data: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    data.get(start..end)
}

/// The NUL-terminated string at `offset`.
fn string(table: &[u8], offset: u32) -> Option<&[u8]> {
    let tail = table.get(offset as usize..)?;
    let end = tail.iter().position(|&b| b == 0)?;
    Some(&tail[..end])
}

impl<'a> Object<'a> {
    pub fn parse(data: &'a [u8]) -> Result<Object<'a>, Malformed> {
        let (head, _) = Ehdr::ref_from_prefix(data).map_err(|_| Malformed("file header"))?;
        if head.ident[..7] != *b"\x7fELF\x02\x01\x01" || head.kind.get() != ET_REL || head.machine.get() != EM_X86_64 {
            return Err(Malformed("not an ELF64 relocatable object for x86-64"));
        }
        if usize::from(head.shentsize.get()) != size_of::<Shdr>() {
            return Err(Malformed("section header size"));
        }
        let count = u64::from(head.shnum.get());
        let table =
            part(data, head.shoff.get(), count * size_of::<Shdr>() as u64).ok_or(Malformed("section header table"))?;
        let sections = <[Shdr]>::ref_from_bytes(table).map_err(|_| Malformed("section header table"))?;
        let mut object = Object { data, sections, names: &[], symbols: &[], strings: &[] };
        let names = sections.get(usize::from(head.shstrndx.get())).ok_or(Malformed("section name table"))?;
        object.names = object.bytes(names).ok_or(Malformed("section name table"))?;
        let mut symtabs = sections.iter().filter(|s| s.kind.get() == SHT_SYMTAB);
        let symtab = symtabs.next().ok_or(Malformed("no symbol table"))?;
        if symtabs.next().is_some() {
            return Err(Malformed("two symbol tables"));
        }
        let strtab = sections
            .get(symtab.link.get() as usize)
            .filter(|s| s.kind.get() == SHT_STRTAB)
            .ok_or(Malformed("string table"))?;
        object.strings = object.bytes(strtab).ok_or(Malformed("string table"))?;
        object.symbols = object.records(symtab).ok_or(Malformed("symbol table"))?;
        Ok(object)
    }

    pub fn sections(&self) -> &'a [Shdr] {
        self.sections
    }

    /// File offset of the section headers.
    pub fn sections_at(&self) -> u64 {
        Ehdr::ref_from_prefix(self.data).map_or(0, |(head, _)| head.shoff.get())
    }

    pub fn symbols(&self) -> &'a [Sym] {
        self.symbols
    }

    /// The bytes of a section in the file: empty for `SHT_NOBITS`.
    pub fn bytes(&self, section: &Shdr) -> Option<&'a [u8]> {
        if section.kind.get() == SHT_NOBITS {
            return Some(&[]);
        }
        part(self.data, section.offset.get(), section.size.get())
    }

    /// A section as a table of fixed-size records; `None` when its size isn't a multiple of theirs.
    pub fn records<T: FromBytes + Immutable + KnownLayout + Unaligned>(&self, section: &Shdr) -> Option<&'a [T]> {
        <[T]>::ref_from_bytes(self.bytes(section)?).ok()
    }

    pub fn section_name(&self, section: &Shdr) -> &'a [u8] {
        string(self.names, section.name.get()).unwrap_or_default()
    }

    /// The non-alloc section `name`, as a table. An absent one is an empty table.
    pub fn table<T: FromBytes + Immutable + KnownLayout + Unaligned>(&self, name: &[u8]) -> Result<&'a [T], Malformed> {
        match self.sections.iter().find(|s| self.section_name(s) == name) {
            None => Ok(&[]),
            Some(s) if s.has(SHF_ALLOC) || s.has(SHF_COMPRESSED) || s.kind.get() == SHT_NOBITS => {
                Err(Malformed("a table that isn't plain data"))
            }
            Some(s) => self.records(s).ok_or(Malformed("a table's size")),
        }
    }

    /// A name in `.strtab`, as the tables give it.
    pub fn name(&self, offset: u32) -> &'a [u8] {
        string(self.strings, offset).unwrap_or_default()
    }
}
