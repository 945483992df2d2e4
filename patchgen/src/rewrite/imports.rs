//! The dynamic symbols that the patch refers to: those of the file, and copies of its tables with more where some are missing.

use super::Refusal;
use super::elf::{Dyn, File, dt};
use hpatch_core::elf::{SHN_UNDEF, STT_TLS, Sym};
use hpatch_core::report::Name;
use patchfmt::codes;
use std::collections::HashMap;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const SHT_DYNSYM: u32 = 11;
const STB_LOCAL: u8 = 0;
const STB_GLOBAL: u8 = 1;
const STB_WEAK: u8 = 2;
/// The version index of a symbol without a version.
const VER_NDX_GLOBAL: u16 = 1;
/// Bit of a version index: not the default version.
const HIDDEN: u16 = 0x8000;
/// Of a needed version: it isn't an error when the library that is named lacks it. The lookup of the symbol still asks for it.
const VER_FLG_WEAK: u16 = 2;
/// Families of versions that the Linux Standard Base gives to one library (Core specification, C++ libraries and `libgcc_s`), and what else brings that
/// library along: whatever is written in C++ has it through its own.
const OWNERS: [(&[u8], &[u8]); 4] = [
    (b"GCC_", b"libgcc_s.so."),
    (b"GCC_", b"libstdc++.so."),
    (b"GLIBCXX_", b"libstdc++.so."),
    (b"CXXABI_", b"libstdc++.so."),
];

/// `Elf64_Verneed`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Verneed {
    version: U16,
    count: U16,
    file: U32,
    aux: U32,
    next: U32,
}

/// `Elf64_Vernaux`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Vernaux {
    hash: U32,
    flags: U16,
    other: U16,
    name: U32,
    next: U32,
}

/// `Elf64_Verdef`.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Verdef {
    version: U16,
    flags: U16,
    index: U16,
    count: U16,
    hash: U32,
    aux: U32,
    next: U32,
}

/// Copies of the tables of dynamic symbols with what was added; `None` where the file has no such table.
#[derive(Debug)]
pub struct Grown {
    pub symbols: Vec<u8>,
    pub strings: Vec<u8>,
    pub versions: Option<Vec<u8>>,
    /// The versions that are needed, where one was added.
    pub needed: Option<Vec<u8>>,
    /// How many libraries these are of.
    pub libraries: u64,
    /// `DT_HASH`. The GNU table holds defined symbols only and stays.
    pub hash: Option<Vec<u8>>,
}

#[derive(Debug)]
pub struct Imports<'a> {
    file: &'a File<'a>,
    symbols: &'a [Sym],
    strings: &'a [u8],
    versym: Option<&'a [U16]>,
    /// Version names by index.
    versions: HashMap<u16, &'a [u8]>,
    added: Vec<(Sym, u16)>,
    more_strings: Vec<u8>,
    /// Versions that the file didn't need so far: index, offset of the name, number of the library.
    more_versions: Vec<(u16, u32, usize)>,
    libraries: Vec<Library<'a>>,
}

/// A library of which versions are needed.
#[derive(Debug, Clone)]
struct Library<'a> {
    need: Verneed,
    /// Entries with the names of their versions.
    versions: Vec<(Vernaux, &'a [u8])>,
}

fn refuse<T>(what: impl std::fmt::Display) -> Result<T, Refusal> {
    Err(Refusal::new(codes::REWRITE_IMPORT, what))
}

fn text(strings: &[u8], at: u32) -> &[u8] {
    let rest = strings.get(at as usize..).unwrap_or_default();
    rest.split(|b| *b == 0).next().unwrap_or_default()
}

impl<'a> Imports<'a> {
    /// Reads the tables; of a file without a dynamic section they are empty.
    ///
    /// # Errors
    /// HP0612 for tables that aren't in the file.
    pub fn read(file: &'a File<'a>) -> Result<Imports<'a>, Refusal> {
        let broken = || Refusal::new(codes::REWRITE_FORM, "tables of dynamic symbols outside of the file");
        let mut imports = Imports {
            file,
            symbols: &[],
            strings: &[],
            versym: None,
            versions: HashMap::new(),
            added: Vec::new(),
            more_strings: Vec::new(),
            more_versions: Vec::new(),
            libraries: Vec::new(),
        };
        let (Some(symtab), Some(strtab)) = (file.dynamic(dt::SYMTAB), file.dynamic(dt::STRTAB)) else {
            return Ok(imports);
        };
        let Some(count) = count(file, symtab) else { return Ok(imports) };
        imports.symbols = file.table(symtab, count).ok_or_else(broken)?;
        imports.strings = file.bytes(strtab, file.dynamic(dt::STRSZ).unwrap_or(0)).ok_or_else(broken)?;
        imports.versym = file.dynamic(dt::VERSYM).map(|at| file.table(at, count).ok_or_else(broken)).transpose()?;
        imports.needed_versions().ok_or_else(broken)?;
        imports.defined_versions().ok_or_else(broken)?;
        Ok(imports)
    }

    fn needed_versions(&mut self) -> Option<()> {
        let Some(mut at) = self.file.dynamic(dt::VERNEED) else { return Some(()) };
        for _ in 0..self.file.dynamic(dt::VERNEEDNUM)?.min(0xffff) {
            let need = self.file.table::<Verneed>(at, 1)?[0];
            let mut aux = at.checked_add(need.aux.get().into())?;
            let mut versions = Vec::new();
            for _ in 0..need.count.get() {
                let entry = self.file.table::<Vernaux>(aux, 1)?[0];
                let name = text(self.strings, entry.name.get());
                self.versions.insert(entry.other.get() & !HIDDEN, name);
                versions.push((entry, name));
                aux = aux.checked_add(entry.next.get().into())?;
            }
            self.libraries.push(Library { need, versions });
            at = at.checked_add(need.next.get().into())?;
        }
        Some(())
    }

    fn defined_versions(&mut self) -> Option<()> {
        let Some(mut at) = self.file.dynamic(dt::VERDEF) else { return Some(()) };
        for _ in 0..self.file.dynamic(dt::VERDEFNUM)?.min(0xffff) {
            let def = self.file.table::<Verdef>(at, 1)?[0];
            // The first auxiliary entry begins with the version's own name.
            let name = self.file.table::<U32>(at.checked_add(def.aux.get().into())?, 1)?[0];
            if def.index.get() > VER_NDX_GLOBAL {
                self.versions.insert(def.index.get(), text(self.strings, name.get()));
            }
            at = at.checked_add(def.next.get().into())?;
        }
        Some(())
    }

    /// Name of the version of a symbol, empty for none.
    fn version(&self, index: usize) -> &'a [u8] {
        let version = self.versym.and_then(|v| v.get(index)).map_or(VER_NDX_GLOBAL, |v| v.get() & !HIDDEN);
        self.versions.get(&version).copied().unwrap_or_default()
    }

    /// Index of the dynamic symbol with this name and version; it is added where there is none.
    ///
    /// # Errors
    /// HP0613.
    pub fn index(&mut self, name: &[u8], version: &[u8], weak: bool) -> Result<u32, Refusal> {
        let serves = |(n, s): &(usize, &Sym)| {
            text(self.strings, s.name.get()) == name
                && self.version(*n) == version
                && s.bind() != STB_LOCAL
                && (weak || s.bind() != STB_WEAK || s.shndx.get() != SHN_UNDEF)
        };
        if let Some((n, symbol)) = self.symbols.iter().enumerate().skip(1).find(serves) {
            if symbol.kind() == STT_TLS {
                return refuse(format_args!("{} is a thread-local variable", Name(name)));
            }
            return u32::try_from(n).or_else(|_| refuse("too many dynamic symbols"));
        }
        if self.symbols.is_empty() {
            return refuse(format_args!("{}: the file has no dynamic symbols", Name(name)));
        }
        let wanted = if version.is_empty() { VER_NDX_GLOBAL } else { self.version_index(version)? };
        let known = self.added.iter().position(|(s, v)| {
            *v == wanted && text(&self.more_strings, s.name.get() - self.strings.len() as u32) == name
        });
        let place = match known {
            Some(place) => place,
            None => {
                let at = self.string(name)?;
                let info = if weak { STB_WEAK } else { STB_GLOBAL } << 4;
                let symbol =
                    Sym { name: at.into(), info, other: 0, shndx: SHN_UNDEF.into(), value: 0.into(), size: 0.into() };
                self.added.push((symbol, wanted));
                self.added.len() - 1
            }
        };
        u32::try_from(self.symbols.len() + place).or_else(|_| refuse("too many dynamic symbols"))
    }

    /// Index of a version; one that the file doesn't need yet is added.
    fn version_index(&mut self, version: &[u8]) -> Result<u16, Refusal> {
        if let Some(index) = self.versions.iter().filter(|(_, n)| **n == version).map(|(v, _)| *v).min() {
            return Ok(index);
        }
        let name_of = |at: u32| text(&self.more_strings, at - self.strings.len() as u32);
        if let Some((index, ..)) = self.more_versions.iter().find(|(_, at, _)| name_of(*at) == version) {
            return Ok(*index);
        }
        let last = self.versions.keys().copied().chain(self.more_versions.iter().map(|v| v.0)).max();
        let index = last.unwrap_or(VER_NDX_GLOBAL) + 1;
        if self.libraries.is_empty() || self.versym.is_none() || index >= HIDDEN {
            return refuse(format_args!("version {}: the file has no table for it", Name(version)));
        }
        let library = self.library(version)?;
        let at = self.string(version)?;
        self.more_versions.push((index, at, library));
        Ok(index)
    }

    /// The number of the library that has a version which the file doesn't need yet: that with versions called alike; else, among those that the
    /// file needs but no version of, the one that is known for such versions or the only one.
    fn library(&mut self, version: &[u8]) -> Result<usize, Refusal> {
        let alike = |l: &Library<'_>| l.versions.iter().any(|v| family(v.1) == family(version));
        if let Some(known) = self.libraries.iter().position(alike) {
            return Ok(known);
        }
        let added = |at: u32| text(&self.more_strings, at - self.strings.len() as u32);
        if let Some((.., known)) = self.more_versions.iter().find(|(_, at, _)| family(added(*at)) == family(version)) {
            return Ok(*known);
        }
        let name = |at: u32| text(self.strings, at);
        let mut others: Vec<u32> = self.file.dynamic.iter().filter(|d| d.tag == dt::NEEDED).map(file).collect();
        others.retain(|&at| !self.libraries.iter().any(|l| name(l.need.file.get()) == name(at)));
        for (_, owner) in OWNERS.iter().filter(|(versions, _)| *versions == family(version)) {
            if let Some(known) = others.iter().find(|&&at| name(at).starts_with(owner)) {
                others = vec![*known];
                break;
            }
            if let Some(known) = self.libraries.iter().position(|l| name(l.need.file.get()).starts_with(owner)) {
                return Ok(known);
            }
        }
        let &[other] = others.as_slice() else {
            return refuse(format_args!(
                "version {}: which of the libraries that the file needs has it isn't known",
                Name(version)
            ));
        };
        let need = Verneed { version: 1.into(), count: 0.into(), file: other.into(), aux: 0.into(), next: 0.into() };
        self.libraries.push(Library { need, versions: Vec::new() });
        Ok(self.libraries.len() - 1)
    }

    /// Adds a string to the dynamic ones and gives its offset.
    fn string(&mut self, text: &[u8]) -> Result<u32, Refusal> {
        let Ok(at) = u32::try_from(self.strings.len() + self.more_strings.len()) else {
            return refuse("too many strings");
        };
        self.more_strings.extend_from_slice(text);
        self.more_strings.push(0);
        Ok(at)
    }

    /// The table of needed versions with those that were added, as weak ones: the dynamic linker compares the names of versions when it looks a
    /// symbol up, and what is bound lazily may never be.
    fn needed(&self) -> Option<Vec<u8>> {
        if self.more_versions.is_empty() {
            return None;
        }
        let mut libraries = self.libraries.clone();
        for (index, name, library) in &self.more_versions {
            let version = text(&self.more_strings, name - self.strings.len() as u32);
            let (hash, flags) = (hash(version).into(), VER_FLG_WEAK.into());
            let entry = Vernaux { hash, flags, other: (*index).into(), name: (*name).into(), next: 0.into() };
            libraries.get_mut(*library)?.versions.push((entry, &[]));
        }
        let mut table = Vec::new();
        for (n, library) in libraries.iter().enumerate() {
            let count = library.versions.len();
            let size = size_of::<Verneed>() + count * size_of::<Vernaux>();
            let next = if n + 1 < libraries.len() { size } else { 0 };
            let need = Verneed {
                count: u16::try_from(count).ok()?.into(),
                aux: (size_of::<Verneed>() as u32).into(),
                next: u32::try_from(next).ok()?.into(),
                ..library.need
            };
            table.extend_from_slice(need.as_bytes());
            for (n, (entry, _)) in library.versions.iter().enumerate() {
                let next = if n + 1 < count { size_of::<Vernaux>() as u32 } else { 0 };
                table.extend_from_slice(Vernaux { next: next.into(), ..*entry }.as_bytes());
            }
        }
        Some(table)
    }

    /// How many symbols were added.
    pub fn added(&self) -> usize {
        self.added.len()
    }

    /// The tables with what was added; `None` when nothing was.
    pub fn grown(&self) -> Result<Option<Grown>, Refusal> {
        if self.added.is_empty() {
            return Ok(None);
        }
        let symbols: Vec<Sym> = self.symbols.iter().copied().chain(self.added.iter().map(|a| a.0)).collect();
        let more = self.added.iter().map(|a| U16::new(a.1));
        let versions = self.versym.map(|v| v.iter().copied().chain(more).collect::<Vec<_>>().as_bytes().to_vec());
        let hash = match self.file.dynamic(dt::HASH) {
            Some(at) => Some(self.hash(at).ok_or_else(|| Refusal::new(codes::REWRITE_FORM, "its hash table"))?),
            None => None,
        };
        Ok(Some(Grown {
            symbols: symbols.as_bytes().to_vec(),
            strings: [self.strings, &self.more_strings].concat(),
            versions,
            needed: self.needed(),
            libraries: self.libraries.len() as u64,
            hash,
        }))
    }

    /// `DT_HASH` says how many symbols there are; what isn't defined needs no chain.
    fn hash(&self, at: u64) -> Option<Vec<u8>> {
        let head = self.file.table::<U32>(at, 2)?;
        let (buckets, chains) = (u64::from(head[0].get()), u64::from(head[1].get()));
        let mut words = self.file.table::<U32>(at, 2 + buckets + chains)?.to_vec();
        words[1] = U32::new(u32::try_from(self.symbols.len() + self.added.len()).ok()?);
        words.extend(self.added.iter().map(|_| U32::new(0)));
        (chains == self.symbols.len() as u64).then(|| words.as_bytes().to_vec())
    }
}

/// The string with the name of a library that the file needs.
fn file(entry: &Dyn) -> u32 {
    u32::try_from(entry.value.get()).unwrap_or(u32::MAX)
}

/// `GLIBC_` of `GLIBC_2.34`.
fn family(version: &[u8]) -> &[u8] {
    version.iter().rposition(|b| *b == b'_').map_or(version, |end| &version[..=end])
}

/// The hash of the System V gABI, which version tables carry.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |h: u32, byte| {
        let h = (h << 4).wrapping_add(u32::from(*byte));
        let high = h & 0xf000_0000;
        (h ^ high >> 24) & !high
    })
}

/// How many dynamic symbols there are, as the section header or the hash table says.
fn count(file: &File<'_>, symtab: u64) -> Option<u64> {
    let section = file.sections.iter().find(|s| s.kind.get() == SHT_DYNSYM && s.addr.get() == symtab);
    match section {
        Some(s) => Some(s.size.get() / size_of::<Sym>() as u64),
        None => file.table::<U32>(file.dynamic(dt::HASH)?, 2).map(|head| head[1].get().into()),
    }
}
