//! Symbol tables: `.symtab` (of the image or of its debug file), `.dynsym`, versions.

use super::elf::{Elf, Header};
use super::error::{ImageError, codes};
use super::{Binding, Import, Symbol, SymbolKind};
use crate::addr::{ImportId, SectionId, Svma};
use object::elf;
use object::read::elf::{SectionHeader as _, Sym as _, SymbolTable};
use object::{LittleEndian as LE, SymbolIndex};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One entry of `.dynsym`.
#[derive(Debug)]
pub(super) struct DynSym<'a> {
    pub name: &'a str,
    pub version: Option<Arc<str>>,
    pub value: Svma,
    pub size: u64,
    pub kind: SymbolKind,
    pub binding: Binding,
    pub section: Option<SectionId>,
    pub defined: bool,
    /// Binding and visibility let another object's definition win.
    pub default_visibility: bool,
    pub exported: bool,
    /// Section symbols and the null symbol.
    pub nameless: bool,
}

/// `.dynsym` with what relocations need: indexes are the file's.
#[derive(Debug, Default)]
pub(super) struct DynSyms<'a> {
    pub syms: Vec<DynSym<'a>>,
    pub imports: Vec<Import>,
    /// Functions that others define, which have an address here.
    pub canonical: BTreeMap<ImportId, Svma>,
    ids: HashMap<Import, ImportId>,
}

impl<'a> DynSyms<'a> {
    pub fn read(elf: &Elf<'a>) -> Result<DynSyms<'a>, ImageError> {
        let bad = |what| elf.blame.with(codes::MALFORMED_ELF, what);
        let table = elf.sections.symbols(LE, elf.data, elf::SHT_DYNSYM).map_err(bad(".dynsym"))?;
        let versions = elf.sections.versions(LE, elf.data).map_err(bad("symbol versions"))?;
        let mut names: HashMap<u16, Arc<str>> = HashMap::new();
        let mut out = DynSyms::default();
        for (index, s) in table.enumerate() {
            let name = symbol_name(elf, &table, s)?;
            let mut version = None;
            if let Some(v) = &versions {
                let at = v.version_index(LE, index).index();
                if let Some(found) = v.version(at).map_err(bad("symbol versions"))? {
                    let text = std::str::from_utf8(found.name())
                        .map_err(elf.blame.with(codes::MALFORMED_ELF, "version name"))?;
                    version = Some(names.entry(at.0).or_insert_with(|| text.into()).clone());
                }
            }
            let binding = binding(s.st_bind());
            let visibility = s.st_visibility();
            let open = visibility == elf::STV_DEFAULT || visibility == elf::STV_PROTECTED;
            let defined = s.st_shndx(LE) != elf::SHN_UNDEF;
            let sym = DynSym {
                name,
                version,
                value: Svma(s.st_value(LE)),
                size: s.st_size(LE),
                kind: kind(s.st_type()),
                binding,
                section: section(elf, &table, s, index)?,
                defined,
                default_visibility: visibility == elf::STV_DEFAULT && binding != Binding::Local,
                exported: defined && open && binding != Binding::Local,
                nameless: index.0 == 0 || s.st_type() == elf::STT_SECTION || name.is_empty(),
            };
            if !defined && !sym.nameless {
                let id = out.intern(&sym);
                if sym.value != Svma(0) && sym.kind == SymbolKind::Func {
                    out.canonical.insert(id, sym.value);
                }
            }
            out.syms.push(sym);
        }
        Ok(out)
    }

    fn intern(&mut self, s: &DynSym<'_>) -> ImportId {
        let import = Import {
            name: s.name.to_owned(),
            version: s.version.as_deref().map(str::to_owned),
            weak: !s.defined && s.binding == Binding::Weak,
            tls: s.kind == SymbolKind::Tls,
        };
        if let Some(&id) = self.ids.get(&import) {
            return id;
        }
        let id = ImportId::from(self.imports.len());
        self.imports.push(import.clone());
        self.ids.insert(import, id);
        id
    }

    /// What a relocation against entry `index` makes the dynamic linker look up. None for an index out of bounds.
    pub fn import(&mut self, index: usize) -> Option<ImportId> {
        if index >= self.syms.len() {
            return None;
        }
        // The entry is moved out for the call, as both belong to `self`.
        let sym = std::mem::replace(&mut self.syms[index], NOTHING);
        let id = self.intern(&sym);
        self.syms[index] = sym;
        Some(id)
    }
}

const NOTHING: DynSym<'static> = DynSym {
    name: "",
    version: None,
    value: Svma(0),
    size: 0,
    kind: SymbolKind::NoType,
    binding: Binding::Local,
    section: None,
    defined: false,
    default_visibility: false,
    exported: false,
    nameless: true,
};

fn symbol_name<'a>(elf: &Elf<'a>, table: &SymbolTable<'a, Header>, s: &elf::Sym64<LE>) -> Result<&'a str, ImageError> {
    let name = table.symbol_name(LE, s).map_err(elf.blame.with(codes::MALFORMED_ELF, "symbol name"))?;
    std::str::from_utf8(name).map_err(elf.blame.with(codes::MALFORMED_ELF, "symbol name"))
}

fn section(
    elf: &Elf<'_>,
    table: &SymbolTable<'_, Header>,
    s: &elf::Sym64<LE>,
    index: SymbolIndex,
) -> Result<Option<SectionId>, ImageError> {
    let found = table.symbol_section(LE, s, index).map_err(elf.blame.with(codes::MALFORMED_ELF, "symbol's section"))?;
    match found {
        None => Ok(None),
        Some(i) if i.0 < elf.sections.len() => Ok((i.0 != 0).then(|| SectionId::from(i.0))),
        Some(i) => Err(elf
            .blame
            .err(codes::MALFORMED_ELF, format_args!("a symbol names section {}, which doesn't exist", i.0))),
    }
}

fn binding(b: elf::SymbolBind) -> Binding {
    match b {
        elf::STB_LOCAL => Binding::Local,
        elf::STB_WEAK => Binding::Weak,
        elf::STB_GNU_UNIQUE => Binding::Unique,
        _ => Binding::Global,
    }
}

fn kind(t: elf::SymbolType) -> SymbolKind {
    match t {
        elf::STT_FUNC => SymbolKind::Func,
        elf::STT_GNU_IFUNC => SymbolKind::IFunc,
        elf::STT_OBJECT | elf::STT_COMMON => SymbolKind::Object,
        elf::STT_TLS => SymbolKind::Tls,
        _ => SymbolKind::NoType,
    }
}

/// Reads the `.symtab` of `elf`, whose section `i` is the image's `section_map[i]`. Empty when there is none.
pub(super) fn symtab(elf: &Elf<'_>, section_map: &[Option<SectionId>]) -> Result<Vec<Symbol>, ImageError> {
    let table =
        elf.sections.symbols(LE, elf.data, elf::SHT_SYMTAB).map_err(elf.blame.with(codes::MALFORMED_ELF, ".symtab"))?;
    let mut file: Option<Arc<str>> = None;
    let mut out = Vec::with_capacity(table.len());
    for (index, s) in table.enumerate().skip(1) {
        let name = symbol_name(elf, &table, s)?;
        let shape = s.st_type();
        if shape == elf::STT_FILE {
            // An empty name ends the last file's locals: what follows is the linker's.
            file = (!name.is_empty()).then(|| name.into());
            continue;
        }
        let shndx = s.st_shndx(LE);
        let common = shndx == elf::SHN_COMMON;
        let marks = mapping_symbol(name) || assembler_label(name);
        if name.is_empty() || shape == elf::STT_SECTION || shndx == elf::SHN_UNDEF || common || marks {
            continue;
        }
        let section = section(elf, &table, s, index)?;
        // What isn't loaded has no address: the value of a symbol of `.debug_info` (GCC's link-time optimisation) only looks like one.
        let loaded = |id: SectionId| {
            let header = elf.sections.section(object::SectionIndex(id.index()));
            header.is_ok_and(|h| h.sh_flags(LE).contains(elf::SHF_ALLOC))
        };
        if section.is_some_and(|id| !loaded(id)) {
            continue;
        }
        let in_section = section.and_then(|id| section_map.get(id.index()).copied().flatten());
        let binding = binding(s.st_bind());
        // GNU ld keeps the version in the names of versioned definitions: `name@VERSION`, `name@@VERSION`.
        let (name, version) = match name.split_once('@') {
            Some((stem, version)) if !stem.is_empty() => (stem, Some(version.trim_start_matches('@').into())),
            _ => (name, None),
        };
        out.push(Symbol {
            name: name.to_owned(),
            svma: Svma(s.st_value(LE)),
            size: s.st_size(LE),
            kind: kind(shape),
            binding,
            exported: false,
            section: in_section,
            file: if binding == Binding::Local { file.clone() } else { None },
            version,
        });
    }
    Ok(out)
}

/// Gives local symbols the source files that the same ones of another table of the same image have.
pub(super) fn add_files(symbols: &mut [Symbol], others: Vec<Symbol>) {
    let with_file = others.into_iter().filter_map(|s| Some(((s.svma, s.name), s.file?)));
    let mut files: HashMap<(Svma, String), Option<Arc<str>>> = HashMap::new();
    for (key, file) in with_file {
        // Two of one name at one place (folded into one) are of both files: then of none.
        let one = |of: &mut Option<Arc<str>>| *of = of.take().filter(|of| *of == file);
        files.entry(key).and_modify(one).or_insert(Some(file.clone()));
    }
    for symbol in symbols.iter_mut().filter(|s| s.binding == Binding::Local) {
        if let Some(file) = files.get(&(symbol.svma, symbol.name.clone())) {
            symbol.file.clone_from(file);
        }
    }
}

/// `.L.str.1`, `.LCPI3_0`: what an assembler drops, unless a relocation that stays in the file needs it. The same image has no
/// such symbols when it's linked without `--emit-relocs`.
fn assembler_label(name: &str) -> bool {
    name.starts_with(".L")
}

/// `$d`, `$x`, `$x.1`: marks of what follows, not names of it.
fn mapping_symbol(name: &str) -> bool {
    let mut rest = name.chars();
    rest.next() == Some('$')
        && matches!(rest.next(), Some('a' | 'd' | 't' | 'x'))
        && matches!(rest.next(), None | Some('.'))
}

/// Adds what `.dynsym` knows: which symbols are exported with which version, and those that `.symtab` lacks.
pub(super) fn merge(mut symbols: Vec<Symbol>, dynsyms: &DynSyms<'_>) -> Vec<Symbol> {
    let mut known: HashMap<(Svma, &str), Vec<usize>> = HashMap::new();
    for (i, d) in dynsyms.syms.iter().enumerate() {
        if d.defined && !d.nameless {
            known.entry((d.value, d.name)).or_default().push(i);
        }
    }
    for s in symbols.iter_mut().filter(|s| s.binding != Binding::Local) {
        let Some(entries) = known.get_mut(&(s.svma, s.name.as_str())) else { continue };
        let same = entries.iter().position(|&i| s.version.is_none() || s.version == dynsyms.syms[i].version);
        let Some(at) = same else { continue };
        let d = &dynsyms.syms[entries.remove(at)];
        s.exported = d.exported;
        s.version.clone_from(&d.version);
        if s.section.is_none() {
            s.section = d.section;
        }
    }
    let mut left: Vec<usize> = known.into_values().flatten().collect();
    left.sort_unstable();
    symbols.extend(left.into_iter().map(|i| &dynsyms.syms[i]).map(|d| Symbol {
        name: d.name.to_owned(),
        svma: d.value,
        size: d.size,
        kind: d.kind,
        binding: d.binding,
        exported: d.exported,
        section: d.section,
        file: None,
        version: d.version.clone(),
    }));
    symbols
}
