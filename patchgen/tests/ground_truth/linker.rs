//! The relocations that a linker kept in the image (`--emit-relocs`), read with goblin, which lifting doesn't use.

use goblin::elf::section_header::{SHF_ALLOC, SHF_EXECINSTR, SHN_UNDEF, SHT_NOBITS};
use goblin::elf::sym::{STT_FUNC, STT_GNU_IFUNC, STT_OBJECT, STT_SECTION, STT_TLS};
use goblin::elf::{Elf, reloc};

/// What a relocation asks for, without how the field holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// The symbol's address plus addend, in a field relative to itself.
    Relative,
    /// The symbol's address plus addend.
    Absolute,
    /// The GOT slot of the symbol; relaxation may have made it the symbol itself.
    Slot,
    /// A thread-local variable, however the linker relaxed the access.
    Thread,
    /// The module's own block of thread-local variables.
    ThreadBlock,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SymbolKind {
    Section,
    Function,
    IFunc,
    Object,
    Thread,
    Label,
    Undefined,
}

/// One relocation; `at` and `value` are svma (`value` of a thread-local symbol: the offset in its block).
#[derive(Clone, Debug)]
pub struct Reloc {
    pub at: u64,
    pub want: Want,
    pub code: bool,
    /// Bytes of the field.
    pub size: u8,
    pub addend: i64,
    pub name: String,
    pub kind: SymbolKind,
    pub value: u64,
}

/// Every relocation of a loaded section, and how many are of kinds that have no reference of their own.
pub fn relocations(bytes: &[u8]) -> Result<Vec<Reloc>, String> {
    let elf = Elf::parse(bytes).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    for (index, list) in &elf.shdr_relocs {
        let own = elf.section_headers.get(*index).ok_or("a relocation section")?;
        let of = elf.section_headers.get(own.sh_info as usize).ok_or("a relocated section")?;
        let loaded = of.sh_flags & u64::from(SHF_ALLOC) != 0 && of.sh_type != SHT_NOBITS;
        if own.sh_flags & u64::from(SHF_ALLOC) != 0 || !loaded {
            continue;
        }
        for r in list {
            let Some((want, size)) = want(r.r_type) else { continue };
            let s = elf.syms.get(r.r_sym).ok_or("a relocation's symbol")?;
            let kind = match s.st_type() {
                _ if r.r_sym == 0 || s.st_shndx == SHN_UNDEF as usize => SymbolKind::Undefined,
                STT_SECTION => SymbolKind::Section,
                STT_FUNC => SymbolKind::Function,
                STT_GNU_IFUNC => SymbolKind::IFunc,
                // A label of a literal, which an assembler drops where nothing keeps it.
                STT_OBJECT if elf.strtab.get_at(s.st_name).is_some_and(|n| n.starts_with(".L")) => SymbolKind::Label,
                STT_OBJECT => SymbolKind::Object,
                STT_TLS => SymbolKind::Thread,
                _ => SymbolKind::Label,
            };
            let name = elf.strtab.get_at(s.st_name).unwrap_or_default();
            let value = if kind == SymbolKind::Section {
                elf.section_headers.get(s.st_shndx).ok_or("a section symbol's section")?.sh_addr
            } else {
                s.st_value
            };
            out.push(Reloc {
                at: r.r_offset,
                want,
                code: of.sh_flags & u64::from(SHF_EXECINSTR) != 0,
                size,
                addend: r.r_addend.unwrap_or(0),
                name: name.split('@').next().unwrap_or(name).to_owned(),
                kind,
                value,
            });
        }
    }
    out.sort_by_key(|r| r.at);
    Ok(out)
}

/// What a relocation type asks for (psABI, table 4.9), with the size of its field. None where nothing is stored that is an address: the
/// marks of TLS sequences, sizes, and distances to the GOT's base, which no reference stands for.
fn want(kind: u32) -> Option<(Want, u8)> {
    Some(match kind {
        reloc::R_X86_64_PC32 | reloc::R_X86_64_PLT32 => (Want::Relative, 4),
        reloc::R_X86_64_PC8 => (Want::Relative, 1),
        reloc::R_X86_64_32 | reloc::R_X86_64_32S => (Want::Absolute, 4),
        reloc::R_X86_64_64 => (Want::Absolute, 8),
        reloc::R_X86_64_GOTPCREL | reloc::R_X86_64_GOTPCRELX | reloc::R_X86_64_REX_GOTPCRELX => (Want::Slot, 4),
        reloc::R_X86_64_TPOFF32
        | reloc::R_X86_64_DTPOFF32
        | reloc::R_X86_64_GOTTPOFF
        | reloc::R_X86_64_TLSGD
        | reloc::R_X86_64_GOTPC32_TLSDESC => (Want::Thread, 4),
        reloc::R_X86_64_TLSLD => (Want::ThreadBlock, 4),
        _ => return None,
    })
}
