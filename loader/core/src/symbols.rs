//! Finds imports in a running process: the dynamic linker's list of modules (`r_debug`, `link_map` of <link.h>), their dynamic symbol
//! tables, hash tables (System V gABI, GNU hash) and symbol versions (LSB, `.gnu.version*`).

use crate::elf::{STT_GNU_IFUNC, STT_TLS, Sym};
use crate::image::Memory;
use zerocopy::{FromZeros, IntoBytes};

const DT_NULL: u64 = 0;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;
const DT_INIT: u64 = 12;
const DT_INIT_ARRAYSZ: u64 = 27;
const DT_PREINIT_ARRAYSZ: u64 = 33;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELACOUNT: u64 = 0x6fff_fff9;
const DT_PLTRELSZ: u64 = 2;
const DT_DEBUG: u64 = 21;
const DT_JMPREL: u64 = 23;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const DT_VERSYM: u64 = 0x6fff_fff0;
const DT_VERDEF: u64 = 0x6fff_fffc;
const DT_VERDEFNUM: u64 = 0x6fff_fffd;
const VERSYM_HIDDEN: u16 = 0x8000;
const VERSYM_BASE: u16 = 1;
/// No process has more; a damaged list must end.
const MAX_MODULES: usize = 4096;
const MAX_CHAIN: usize = 1 << 16;
const MAX_DYNAMIC: u64 = 512;
const MAX_RELOCATIONS: u64 = 1 << 16;
const MAX_NAME: usize = 2048;

/// Which of the definitions of one name.
#[derive(Debug, Clone, Copy)]
enum Version<'a> {
    Default,
    Named(&'a [u8]),
    Any,
}

impl<'a> Version<'a> {
    /// Empty for the default one.
    fn of(name: &'a [u8]) -> Version<'a> {
        if name.is_empty() { Version::Default } else { Version::Named(name) }
    }
}

/// What an import is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// avma.
    Address(u64),
    /// avma of a resolver that returns the address (`STT_GNU_IFUNC`).
    Resolver(u64),
    /// A thread-local variable has no address.
    ThreadLocal,
}

/// The dynamic section of a loaded module, addresses as avma, 0 for absent.
#[derive(Debug, Clone, Copy, Default)]
struct Dynamic {
    bias: u64,
    strings: u64,
    strings_size: u64,
    symbols: u64,
    hash: u64,
    gnu_hash: u64,
    versym: u64,
    verdef: u64,
    verdef_count: u64,
    debug: u64,
    /// Relocations of the procedure linkage table and others: avma and size in bytes.
    jmprel: (u64, u64),
    rela: (u64, u64),
    /// How many of the others come first and name no symbol.
    relative: u64,
    /// It has constructors; such that run before those of all other modules.
    init: bool,
    preinit: bool,
}

impl Dynamic {
    fn read(mem: &dyn Memory, bias: u64, at: u64) -> Option<Dynamic> {
        let mut d = Dynamic { bias, ..Dynamic::default() };
        // glibc turns the addresses into avma in place, other dynamic linkers leave them as svma.
        let avma = |v: u64| if v < bias { v.wrapping_add(bias) } else { v };
        for n in 0..MAX_DYNAMIC {
            let entry = at.checked_add(n * 16)?;
            let value = mem.u64_at(entry + 8)?;
            match mem.u64_at(entry)? {
                DT_NULL => break,
                DT_HASH => d.hash = avma(value),
                DT_STRTAB => d.strings = avma(value),
                DT_SYMTAB => d.symbols = avma(value),
                DT_STRSZ => d.strings_size = value,
                DT_DEBUG => d.debug = value,
                DT_JMPREL => d.jmprel.0 = avma(value),
                DT_PLTRELSZ => d.jmprel.1 = value,
                DT_RELA => d.rela.0 = avma(value),
                DT_RELASZ => d.rela.1 = value,
                DT_RELACOUNT => d.relative = value,
                DT_INIT => d.init = true,
                DT_INIT_ARRAYSZ => d.init |= value != 0,
                DT_PREINIT_ARRAYSZ => d.preinit = value != 0,
                DT_GNU_HASH => d.gnu_hash = avma(value),
                DT_VERSYM => d.versym = avma(value),
                DT_VERDEF => d.verdef = avma(value),
                DT_VERDEFNUM => d.verdef_count = value,
                _ => {}
            }
        }
        Some(d)
    }

    fn string_is(&self, mem: &dyn Memory, offset: u32, text: &[u8]) -> bool {
        u64::from(offset) < self.strings_size && mem.string_is(self.strings + u64::from(offset), text)
    }

    fn symbol(&self, mem: &dyn Memory, index: u32) -> Option<Sym> {
        let mut s = Sym::new_zeroed();
        mem.read(self.symbols.checked_add(u64::from(index) * 24)?, s.as_mut_bytes()).then_some(s)
    }

    /// Index of the version `name` among the module's definitions.
    fn version_index(&self, mem: &dyn Memory, name: &[u8]) -> Option<u16> {
        let mut at = self.verdef;
        for _ in 0..self.verdef_count.min(4096) {
            // Elf64_Verdef: vd_version, vd_flags, vd_ndx, vd_cnt u16; vd_hash, vd_aux, vd_next u32. Elf64_Verdaux: vda_name u32.
            let aux = at.checked_add(u64::from(mem.u32_at(at + 12)?))?;
            if self.string_is(mem, mem.u32_at(aux)?, name) {
                return mem.u16_at(at + 4);
            }
            match mem.u32_at(at + 16)? {
                0 => return None,
                next => at = at.checked_add(u64::from(next))?,
            }
        }
        None
    }

    /// The dynamic linker's rule: with a version, that definition (a module without versions satisfies any); without, the default one.
    fn version_fits(&self, mem: &dyn Memory, index: u32, version: Version<'_>) -> bool {
        if self.versym == 0 {
            return true;
        }
        let Some(have) = mem.u16_at(self.versym + u64::from(index) * 2) else { return false };
        match version {
            Version::Any => true,
            Version::Default => have & VERSYM_HIDDEN == 0,
            Version::Named(version) => match self.version_index(mem, version) {
                Some(want) => have & !VERSYM_HIDDEN == want,
                None => self.verdef == 0 && have & !VERSYM_HIDDEN <= VERSYM_BASE,
            },
        }
    }

    fn candidate(&self, mem: &dyn Memory, index: u32, name: &[u8], version: Version<'_>) -> Option<Found> {
        let s = self.symbol(mem, index)?;
        let global = matches!(s.bind(), 1 | 2 | 10);
        if s.shndx.get() == 0
            || !global
            || !self.string_is(mem, s.name.get(), name)
            || !self.version_fits(mem, index, version)
        {
            return None;
        }
        let avma = self.bias.wrapping_add(s.value.get());
        match s.kind() {
            STT_TLS => Some(Found::ThreadLocal),
            STT_GNU_IFUNC => Some(Found::Resolver(avma)),
            0..=2 | 5 if s.value.get() != 0 || s.shndx.get() == crate::elf::SHN_ABS => Some(Found::Address(avma)),
            _ => None,
        }
    }

    fn find(&self, mem: &dyn Memory, name: &[u8], version: &[u8]) -> Option<Found> {
        let version = Version::of(version);
        self.candidate(mem, self.index(mem, name, version)?, name, version)
    }

    /// Index of the symbol that defines `name`.
    fn index(&self, mem: &dyn Memory, name: &[u8], version: Version<'_>) -> Option<u32> {
        if self.symbols == 0 || self.strings == 0 {
            return None;
        }
        if self.gnu_hash != 0 { self.find_gnu(mem, name, version) } else { self.find_sysv(mem, name, version) }
    }

    /// The undefined symbols that its relocations name, one for each such relocation.
    fn imported<'m>(&'m self, mem: &'m dyn Memory) -> impl Iterator<Item = Sym> + 'm {
        [(self.jmprel, 0), (self.rela, self.relative)].into_iter().flat_map(move |((table, size), first)| {
            (first..(size / 24).min(first.saturating_add(MAX_RELOCATIONS))).filter_map(move |n| {
                // Elf64_Rela: the upper half of r_info is the symbol.
                let symbol = mem.u32_at(table.checked_add(n * 24 + 12)?).filter(|&s| s != 0)?;
                self.symbol(mem, symbol).filter(|s| s.shndx.get() == 0)
            })
        })
    }

    /// Whether one of its relocations is for the symbol `name`.
    fn imports(&self, mem: &dyn Memory, name: &[u8]) -> bool {
        self.imported(mem).any(|s| self.string_is(mem, s.name.get(), name))
    }

    /// Whether it imports a name that `other` defines, in whatever version and wherever it is bound to. So does what can't be told.
    fn may_import_from(&self, mem: &dyn Memory, other: &Dynamic) -> bool {
        let all = [self.jmprel.1 / 24, (self.rela.1 / 24).saturating_sub(self.relative)];
        let mut name = [0u8; MAX_NAME];
        all.into_iter().any(|count| count > MAX_RELOCATIONS)
            || self.imported(mem).any(|s| {
                let at = self.strings.wrapping_add(u64::from(s.name.get()));
                mem.string(at, &mut name).is_none_or(|name| other.index(mem, name, Version::Any).is_some())
            })
    }

    /// nbuckets, symoffset, bloom_size, bloom_shift; bloom words; buckets; chain of hashes whose lowest bit marks the end.
    fn find_gnu(&self, mem: &dyn Memory, name: &[u8], version: Version<'_>) -> Option<u32> {
        let hash = name.iter().fold(5381u32, |h, &b| h.wrapping_mul(33).wrapping_add(u32::from(b)));
        let (buckets, first) = (mem.u32_at(self.gnu_hash)?, mem.u32_at(self.gnu_hash + 4)?);
        let (bloom, shift) = (mem.u32_at(self.gnu_hash + 8)?, mem.u32_at(self.gnu_hash + 12)?);
        if buckets == 0 || bloom == 0 {
            return None;
        }
        let word = mem.u64_at(self.gnu_hash + 16 + u64::from(hash / 64 % bloom) * 8)?;
        let bits = 1u64 << (hash % 64) | 1u64 << (hash.checked_shr(shift).unwrap_or(0) % 64);
        if word & bits != bits {
            return None;
        }
        let bucket_table = self.gnu_hash + 16 + u64::from(bloom) * 8;
        let mut index = mem.u32_at(bucket_table + u64::from(hash % buckets) * 4)?;
        let chain = bucket_table + u64::from(buckets) * 4;
        for _ in 0..MAX_CHAIN {
            let entry = mem.u32_at(chain + u64::from(index.checked_sub(first)?) * 4)?;
            if entry | 1 == hash | 1 && self.candidate(mem, index, name, version).is_some() {
                return Some(index);
            }
            if entry & 1 != 0 {
                return None;
            }
            index = index.checked_add(1)?;
        }
        None
    }

    /// nbucket, nchain; buckets; chains of symbol indices that end with 0.
    fn find_sysv(&self, mem: &dyn Memory, name: &[u8], version: Version<'_>) -> Option<u32> {
        if self.hash == 0 {
            return None;
        }
        let hash = name.iter().fold(0u32, |h, &b| {
            let h = (h << 4).wrapping_add(u32::from(b));
            let high = h & 0xf000_0000;
            (h ^ high >> 24) & !high
        });
        let buckets = mem.u32_at(self.hash)?;
        let mut index = mem.u32_at(self.hash + 8 + u64::from(hash.checked_rem(buckets)?) * 4)?;
        for _ in 0..MAX_CHAIN {
            if index == 0 {
                return None;
            }
            if self.candidate(mem, index, name, version).is_some() {
                return Some(index);
            }
            index = mem.u32_at(self.hash + 8 + (u64::from(buckets) + u64::from(index)) * 4)?;
        }
        None
    }
}

/// The modules of one namespace (`dlmopen(3)`), in the dynamic linker's order.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// avma of the first `link_map`.
    first: u64,
}

impl Scope {
    /// The namespace that holds the module with load bias `bias`, else the main one. `dynamic` is the avma of the dynamic section of the
    /// executable, whose `DT_DEBUG` leads to `r_debug`. `None` when there is no dynamic linker, or it is just changing the list.
    pub fn of_module(mem: &dyn Memory, exe_bias: u64, dynamic: u64, bias: u64) -> Option<Scope> {
        let main = Dynamic::read(mem, exe_bias, dynamic)?.debug;
        let mut scope = None;
        let mut at = main;
        // struct r_debug: r_version int, r_map, r_brk, r_state int, r_ldbase; from version 2 on r_next.
        for _ in 0..64 {
            if at == 0 || mem.u32_at(at + 24)? != 0 {
                break;
            }
            let here = Scope { first: mem.u64_at(at + 8)? };
            scope = scope.or(Some(here));
            if here.modules(mem).any(|(b, _)| b == bias) {
                return Some(here);
            }
            if mem.u32_at(at)? < 2 {
                break;
            }
            at = mem.u64_at(at + 40)?;
        }
        scope
    }

    /// Load bias and dynamic section of each module.
    fn modules(self, mem: &dyn Memory) -> impl Iterator<Item = (u64, u64)> + '_ {
        // struct link_map: l_addr, l_name, l_ld, l_next, l_prev.
        let mut at = self.first;
        core::iter::from_fn(move || {
            if at == 0 {
                return None;
            }
            let item = (mem.u64_at(at)?, mem.u64_at(at + 16)?);
            at = mem.u64_at(at + 24)?;
            Some(item)
        })
        .take(MAX_MODULES)
    }

    /// Load bias of the module that was added last.
    pub fn last(self, mem: &dyn Memory) -> Option<u64> {
        self.modules(mem).last().map(|(bias, _)| bias)
    }

    /// The first definition of `name` in `version` (empty for the default one).
    pub fn find(self, mem: &dyn Memory, name: &[u8], version: &[u8]) -> Option<Found> {
        self.modules(mem).find_map(|(bias, at)| Dynamic::read(mem, bias, at)?.find(mem, name, version))
    }

    /// avma and bytes of the function that `name` is found to be.
    pub fn function(self, mem: &dyn Memory, name: &[u8]) -> Option<(u64, u64)> {
        self.modules(mem).find_map(|(bias, at)| {
            let module = Dynamic::read(mem, bias, at)?;
            let symbol = module.symbol(mem, module.index(mem, name, Version::Default)?)?;
            Some((bias.wrapping_add(symbol.value.get()), symbol.size.get()))
        })
    }

    /// The first definition of `name` that isn't at `own`: what it would be without the module that holds `own`.
    pub fn find_beyond(self, mem: &dyn Memory, name: &[u8], own: u64) -> Option<u64> {
        self.modules(mem).find_map(|(bias, at)| match Dynamic::read(mem, bias, at)?.find(mem, name, b"") {
            Some(Found::Address(avma)) if avma != own => Some(avma),
            _ => None,
        })
    }

    /// Whether any module imports `other` and doesn't define `name`.
    pub fn any_imports_without(self, mem: &dyn Memory, other: &[u8], name: &[u8]) -> bool {
        let read = |(bias, at)| Dynamic::read(mem, bias, at);
        self.modules(mem).filter_map(read).any(|d| d.imports(mem, other) && d.find(mem, name, b"").is_none())
    }

    /// Whether the module that defines `name` imports `other`.
    pub fn definer_imports(self, mem: &dyn Memory, name: &[u8], other: &[u8]) -> bool {
        let owner = |(bias, at): (u64, u64)| Dynamic::read(mem, bias, at).filter(|d| d.find(mem, name, b"").is_some());
        self.modules(mem).find_map(owner).is_some_and(|d| d.imports(mem, other))
    }

    /// Load biases of the modules whose constructors run without a call of the function `hook` before them, which the C start-up files
    /// (`crti.o`) of a module that imports it make. The executable, whose constructors run last, counts for its `.preinit_array`.
    pub fn unannounced<'m>(self, mem: &'m dyn Memory, hook: &'m [u8]) -> impl Iterator<Item = u64> + 'm {
        self.modules(mem).enumerate().filter_map(move |(n, (bias, at))| {
            let calls_none = |d: Dynamic| if n == 0 { d.preinit } else { d.init && !d.imports(mem, hook) };
            Dynamic::read(mem, bias, at).is_none_or(calls_none).then_some(bias)
        })
    }

    /// The load bias of a module whose code may have run into a module of which nothing may have run yet, against the order in which the
    /// dynamic linker begins them: `begun` knows modules by their load bias. One whose constructors run without a call of `hook` before them may
    /// have begun unseen.
    pub fn ran_ahead(self, mem: &dyn Memory, hook: &[u8], begun: &dyn Fn(u64) -> bool) -> Option<u64> {
        let unseen = |d: &Dynamic| d.init && !d.imports(mem, hook);
        let read = |(bias, at)| Dynamic::read(mem, bias, at).ok_or(bias);
        self.modules(mem).find_map(|module| {
            let from = match read(module) {
                Ok(from) if begun(from.bias) || unseen(&from) => from,
                Ok(_) => return None,
                Err(bias) => return Some(bias),
            };
            let runs_into = |to: Dynamic| to.bias != from.bias && !begun(to.bias) && from.may_import_from(mem, &to);
            self.modules(mem).any(|other| read(other).map_or(true, runs_into)).then_some(from.bias)
        })
    }

    /// Whether the module with load bias `bias` defines `name`.
    pub fn defines(self, mem: &dyn Memory, bias: u64, name: &[u8]) -> bool {
        let module = self.modules(mem).find(|m| m.0 == bias).and_then(|(bias, at)| Dynamic::read(mem, bias, at));
        module.is_some_and(|d| d.find(mem, name, b"").is_some())
    }

    /// Whether the module with load bias `bias` imports `name`.
    pub fn imports(self, mem: &dyn Memory, bias: u64, name: &[u8]) -> bool {
        let module = self.modules(mem).find(|m| m.0 == bias).and_then(|(bias, at)| Dynamic::read(mem, bias, at));
        module.is_some_and(|d| d.imports(mem, name))
    }

    /// Whether a module that defines `name` also defines the symbol version `version`.
    pub fn defines_version(self, mem: &dyn Memory, name: &[u8], version: &[u8]) -> bool {
        let owner = |(bias, at): (u64, u64)| Dynamic::read(mem, bias, at).filter(|d| d.find(mem, name, b"").is_some());
        self.modules(mem).find_map(owner).is_some_and(|d| d.version_index(mem, version).is_some())
    }
}
