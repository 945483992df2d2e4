//! The dynamic section and what the dynamic linker does to the image: RELA, REL, RELR and the PLT's relocations.

use super::elf::Elf;
use super::error::{ImageError, codes};
use super::symbols::DynSyms;
use super::{DynReloc, SymbolKind};
use crate::addr::Svma;
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{ProgramHeader as _, Rela as _, SectionHeader as _};
use std::collections::BTreeMap;

/// What `.dynamic` says, as far as it's used.
#[derive(Debug, Default)]
pub(super) struct Dynamic {
    pub present: bool,
    pub soname: Option<String>,
    pub needed: Vec<String>,
    /// DF_1_PIE.
    pub pie: bool,
    /// DF_SYMBOLIC or DT_SYMBOLIC.
    pub symbolic: bool,
    /// DF_TEXTREL or DT_TEXTREL.
    pub textrel: bool,
    /// DT_INIT, DT_FINI.
    pub init: Option<Svma>,
    pub fini: Option<Svma>,
    /// DT_PLTGOT.
    pub pltgot: Option<Svma>,
    rela: (u64, u64),
    rel: (u64, u64),
    relr: (u64, u64),
    plt: (u64, u64),
    plt_is_rel: bool,
}

impl Dynamic {
    pub fn read(elf: &Elf<'_>) -> Result<Dynamic, ImageError> {
        let mut out = Dynamic::default();
        let Some(segment) = elf.segment(elf::PT_DYNAMIC) else { return Ok(out) };
        let bad = |what| elf.blame.with(codes::MALFORMED_ELF, what);
        let Some(entries) = segment.dynamic(LE, elf.data).map_err(bad("dynamic section"))? else { return Ok(out) };
        out.present = true;
        let mut strings = (0, 0);
        let mut names: Vec<(bool, u64)> = Vec::new();
        for d in entries {
            let (tag, value) = (d.d_tag.get(LE), d.d_val.get(LE));
            match tag {
                elf::DT_NULL => break,
                elf::DT_STRTAB => strings.0 = value,
                elf::DT_STRSZ => strings.1 = value,
                elf::DT_SONAME => names.push((true, value)),
                elf::DT_NEEDED => names.push((false, value)),
                elf::DT_RELA => out.rela.0 = value,
                elf::DT_RELASZ => out.rela.1 = value,
                elf::DT_REL => out.rel.0 = value,
                elf::DT_RELSZ => out.rel.1 = value,
                elf::DT_RELR => out.relr.0 = value,
                elf::DT_RELRSZ => out.relr.1 = value,
                elf::DT_JMPREL => out.plt.0 = value,
                elf::DT_PLTRELSZ => out.plt.1 = value,
                elf::DT_PLTREL => out.plt_is_rel = value == 17,
                elf::DT_PLTGOT => out.pltgot = Some(Svma(value)),
                elf::DT_INIT => out.init = Some(Svma(value)),
                elf::DT_FINI => out.fini = Some(Svma(value)),
                elf::DT_SYMBOLIC => out.symbolic = true,
                elf::DT_TEXTREL => out.textrel = true,
                elf::DT_FLAGS => {
                    out.symbolic |= value & elf::DF_SYMBOLIC.0 != 0;
                    out.textrel |= value & elf::DF_TEXTREL.0 != 0;
                }
                elf::DT_FLAGS_1 => out.pie = value & elf::DF_1_PIE.0 != 0,
                _ => {}
            }
        }
        let table = elf.at(strings.0, strings.1).unwrap_or_default();
        for (soname, at) in names {
            let text =
                usize::try_from(at).ok().and_then(|at| table.get(at..)).and_then(|t| t.split(|&b| b == 0).next());
            let text = text.and_then(|t| std::str::from_utf8(t).ok());
            let text = text.ok_or_else(|| {
                elf.blame.err(codes::MALFORMED_ELF, "a name in the dynamic section is outside its string table")
            })?;
            if soname {
                out.soname = Some(text.to_owned());
            } else {
                out.needed.push(text.to_owned());
            }
        }
        Ok(out)
    }
}

/// Relocations by the address that they change, and the order of the PLT's (a lazy stub pushes its index in it).
#[derive(Debug, Default)]
pub(super) struct Relocs {
    pub by_address: BTreeMap<Svma, DynReloc>,
    pub plt_slots: Vec<Svma>,
}

struct Raw {
    at: u64,
    kind: u32,
    symbol: u32,
    addend: i64,
}

pub(super) fn relocations(elf: &Elf<'_>, dynamic: &Dynamic, syms: &mut DynSyms<'_>) -> Result<Relocs, ImageError> {
    let mut out = Relocs::default();
    if !dynamic.present {
        // A static executable: `__rela_iplt_start`..`__rela_iplt_end` lies in a loaded SHT_RELA section.
        for s in
            elf.sections.iter().filter(|s| s.sh_flags(LE).contains(elf::SHF_ALLOC) && s.sh_type(LE) == elf::SHT_RELA)
        {
            for raw in rela(elf, elf.section_data(s)?)? {
                out.plt_slots.push(Svma(raw.at));
                out.add(elf, &raw, syms)?;
            }
        }
        return Ok(out);
    }
    for raw in rela(elf, table(elf, dynamic.rela, "DT_RELA")?)? {
        out.add(elf, &raw, syms)?;
    }
    for raw in rel(elf, table(elf, dynamic.rel, "DT_REL")?)? {
        out.add(elf, &raw, syms)?;
    }
    let plt = table(elf, dynamic.plt, "DT_JMPREL")?;
    for raw in if dynamic.plt_is_rel { rel(elf, plt)? } else { rela(elf, plt)? } {
        out.plt_slots.push(Svma(raw.at));
        out.add(elf, &raw, syms)?;
    }
    for at in relr(elf, table(elf, dynamic.relr, "DT_RELR")?)? {
        let addend = word(elf, at)?;
        out.by_address.insert(Svma(at), DynReloc::Relative { target: Svma(addend) });
    }
    Ok(out)
}

fn table<'a>(elf: &Elf<'a>, (at, size): (u64, u64), name: &str) -> Result<&'a [u8], ImageError> {
    if size == 0 {
        return Ok(&[]);
    }
    elf.at(at, size).ok_or_else(|| elf.blame.err(codes::MALFORMED_ELF, format_args!("{name} lies outside the file")))
}

fn rela(elf: &Elf<'_>, bytes: &[u8]) -> Result<Vec<Raw>, ImageError> {
    let entries = object::pod::slice_from_all_bytes::<elf::Rela64<LE>>(bytes)
        .map_err(|()| elf.blame.err(codes::MALFORMED_ELF, "a relocation table has a broken size or alignment"))?;
    let raw = |r: &elf::Rela64<LE>| Raw {
        at: r.r_offset(LE),
        kind: r.r_type(LE, false).0,
        symbol: r.r_sym(LE, false),
        addend: r.r_addend(LE),
    };
    Ok(entries.iter().map(raw).collect())
}

/// REL tables (`-z rel`) keep the addend in the place itself.
fn rel(elf: &Elf<'_>, bytes: &[u8]) -> Result<Vec<Raw>, ImageError> {
    use object::read::elf::Rel as _;
    let entries = object::pod::slice_from_all_bytes::<elf::Rel64<LE>>(bytes)
        .map_err(|()| elf.blame.err(codes::MALFORMED_ELF, "a relocation table has a broken size or alignment"))?;
    let raw = |r: &elf::Rel64<LE>| {
        let kind = r.r_type(LE);
        // The slot of a lazily bound symbol holds the stub's address, and a copied object's place holds nothing.
        let bare = [elf::R_X86_64_JUMP_SLOT, elf::R_X86_64_GLOB_DAT, elf::R_X86_64_COPY].contains(&kind);
        let addend = if bare { 0 } else { word(elf, r.r_offset(LE))?.cast_signed() };
        Ok(Raw { at: r.r_offset(LE), kind: kind.0, symbol: r.r_sym(LE), addend })
    };
    entries.iter().map(raw).collect()
}

fn word(elf: &Elf<'_>, at: u64) -> Result<u64, ImageError> {
    let bytes = elf.at(at, 8).and_then(|b| <[u8; 8]>::try_from(b).ok());
    let bytes = bytes
        .ok_or_else(|| elf.blame.err(codes::MALFORMED_ELF, format_args!("relocation at 0x{at:x}, outside the file")))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Addresses of a RELR table (gABI, SHT_RELR): an even word is an address and starts a run, an odd word is a bitmap of the next 63 words.
fn relr(elf: &Elf<'_>, bytes: &[u8]) -> Result<Vec<u64>, ImageError> {
    if !bytes.len().is_multiple_of(8) {
        return Err(elf.blame.err(codes::MALFORMED_ELF, "DT_RELRSZ isn't a multiple of the word size"));
    }
    let mut out = Vec::new();
    let mut next: Option<u64> = None;
    for entry in bytes.chunks_exact(8) {
        let mut b = [0; 8];
        b.copy_from_slice(entry);
        let entry = u64::from_le_bytes(b);
        if entry & 1 == 0 {
            out.push(entry);
            next = Some(entry.wrapping_add(8));
            continue;
        }
        let Some(base) = next else {
            return Err(elf.blame.err(codes::MALFORMED_ELF, "a RELR table starts with a bitmap"));
        };
        out.extend((0..63).filter(|bit| entry >> (bit + 1) & 1 != 0).map(|bit| base.wrapping_add(bit * 8)));
        next = Some(base.wrapping_add(63 * 8));
    }
    Ok(out)
}

impl Relocs {
    fn add(&mut self, elf: &Elf<'_>, raw: &Raw, syms: &mut DynSyms<'_>) -> Result<(), ImageError> {
        let index = raw.symbol as usize;
        let kind = elf::RelocationType(raw.kind);
        let broken = || {
            elf.blame.err(
                codes::MALFORMED_ELF,
                format_args!("relocation at 0x{:x} names symbol {index}, which doesn't exist", raw.at),
            )
        };
        if raw.kind == 0 {
            return Ok(());
        }
        // `(lookup, this image's definition)`. Definitions that nothing can preempt aren't looked up.
        let mut lookup = |fixed: bool| -> Result<_, ImageError> {
            if index == 0 {
                return Ok((None, Some(Svma(0)), SymbolKind::NoType));
            }
            let s = syms.syms.get(index).ok_or_else(broken)?;
            let local = s.defined.then_some(s.value);
            let kind = s.kind;
            if fixed && s.defined && !s.default_visibility {
                return Ok((None, local, kind));
            }
            Ok((Some(syms.import(index).ok_or_else(broken)?), local, kind))
        };
        let reloc = match kind {
            elf::R_X86_64_RELATIVE | elf::R_X86_64_RELATIVE64 => {
                DynReloc::Relative { target: Svma(raw.addend.cast_unsigned()) }
            }
            elf::R_X86_64_IRELATIVE => DynReloc::Irelative { resolver: Svma(raw.addend.cast_unsigned()) },
            elf::R_X86_64_64 | elf::R_X86_64_GLOB_DAT | elf::R_X86_64_JUMP_SLOT => {
                let addend = if kind == elf::R_X86_64_64 { raw.addend } else { 0 };
                match lookup(true)? {
                    (Some(import), local, _) if kind == elf::R_X86_64_JUMP_SLOT => DynReloc::JumpSlot { import, local },
                    (Some(import), local, _) => DynReloc::Symbol { import, addend, local },
                    (None, Some(at), SymbolKind::IFunc) if addend == 0 => DynReloc::Irelative { resolver: at },
                    (None, Some(at), _) => DynReloc::Relative { target: at.offset(addend) },
                    (None, None, _) => DynReloc::Other { kind: raw.kind },
                }
            }
            elf::R_X86_64_COPY => match lookup(false)? {
                (Some(import), ..) => DynReloc::Copy { import },
                (None, ..) => return Err(broken()),
            },
            elf::R_X86_64_TPOFF64 | elf::R_X86_64_DTPMOD64 | elf::R_X86_64_DTPOFF64 | elf::R_X86_64_TLSDESC => {
                let (import, at, _) = lookup(true)?;
                // A definition that nothing preempts is an offset in this image's block.
                let own = if import.is_none() { at.unwrap_or_default().0.cast_signed() } else { 0 };
                let offset = raw.addend.wrapping_add(own);
                let local = if import.is_some() { at } else { None };
                match kind {
                    elf::R_X86_64_TPOFF64 => DynReloc::TpOff { import, offset, local },
                    elf::R_X86_64_DTPMOD64 => DynReloc::DtpMod { import },
                    elf::R_X86_64_DTPOFF64 => DynReloc::DtpOff { import, offset, local },
                    _ => DynReloc::TlsDesc { import, offset, local },
                }
            }
            _ => DynReloc::Other { kind: raw.kind },
        };
        self.by_address.insert(Svma(raw.at), reloc);
        Ok(())
    }
}
