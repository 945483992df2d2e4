//! Reads the payload with goblin and capstone, which share no code with what wrote it (`object`, `iced-x86`).

use super::EmitError;
use crate::link::{Definition, Out, PatchImage, RelocKind};
use capstone::arch::BuildsCapstone;
use goblin::elf::Elf;
use goblin::elf::reloc;

fn fail<T>(what: impl Into<String>) -> Result<T, EmitError> {
    Err(EmitError(what.into()))
}

/// Compares the file with the image that it was written from: section bytes, symbols, relocations, and that all code decodes.
///
/// # Errors
/// The first difference.
pub fn check(image: &PatchImage, bytes: &[u8]) -> Result<(), EmitError> {
    let elf = Elf::parse(bytes).map_err(|e| EmitError(format!("payload can't be read back: {e}")))?;
    for (&out, section) in &image.sections {
        let name = out.name();
        let Some((index, header)) =
            elf.section_headers.iter().enumerate().find(|(_, h)| elf.shdr_strtab.get_at(h.sh_name) == Some(name))
        else {
            return fail(format!("section {name} is missing"));
        };
        if header.sh_size != section.size {
            return fail(format!("section {name} has {} bytes instead of {}", header.sh_size, section.size));
        }
        if !out.is_zeros() {
            let range = header.file_range().and_then(|r| bytes.get(r));
            if range != Some(section.bytes.as_slice()) {
                return fail(format!("section {name} has other bytes"));
            }
        }
        let relocs: Vec<_> = elf
            .shdr_relocs
            .iter()
            .filter(|(at, _)| elf.section_headers.get(*at).is_some_and(|h| h.sh_info as usize == index))
            .flat_map(|(_, relocs)| relocs.iter())
            .collect();
        if relocs.len() != section.relocs.len() {
            return fail(format!(
                "section {name} has {} relocations instead of {}",
                relocs.len(),
                section.relocs.len()
            ));
        }
        for (read, meant) in relocs.iter().zip(&section.relocs) {
            let kind = match meant.kind {
                RelocKind::Abs64 => reloc::R_X86_64_64,
                RelocKind::Pc32 => reloc::R_X86_64_PC32,
                RelocKind::Plt32 => reloc::R_X86_64_PLT32,
                RelocKind::Abs32 => reloc::R_X86_64_32,
                RelocKind::Abs32S => reloc::R_X86_64_32S,
                RelocKind::Tpoff32 => reloc::R_X86_64_TPOFF32,
                RelocKind::Tpoff64 => reloc::R_X86_64_TPOFF64,
                RelocKind::Dtpmod64 => reloc::R_X86_64_DTPMOD64,
                RelocKind::Dtpoff64 => reloc::R_X86_64_DTPOFF64,
                RelocKind::Dtpoff32 => reloc::R_X86_64_DTPOFF32,
            };
            let symbol = &image.symbols[meant.symbol as usize];
            let named =
                elf.syms.get(read.r_sym).and_then(|s| elf.strtab.get_at(s.st_name)) == Some(symbol.name.as_str());
            if (read.r_offset, read.r_addend, read.r_type) != (meant.offset, Some(meant.addend), kind) || !named {
                return fail(format!("relocation at {name}+0x{:x} reads back differently", meant.offset));
            }
        }
    }
    decode(image)
}

/// Every carried function is a gapless run of instructions for the second decoder too.
fn decode(image: &PatchImage) -> Result<(), EmitError> {
    let Some(text) = image.sections.get(&Out::Text) else { return Ok(()) };
    let decoder = capstone::Capstone::new()
        .x86()
        .mode(capstone::arch::x86::ArchMode::Mode64)
        .build()
        .map_err(|e| EmitError(format!("capstone: {e}")))?;
    for symbol in &image.symbols {
        let Definition::Code { offset, size } = symbol.definition else { continue };
        let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
        let Some(code) = range.and_then(|(at, size)| text.bytes.get(at..at.checked_add(size)?)) else {
            return fail(format!("`{}` lies outside of .text", symbol.name));
        };
        let decoded = decoder.disasm_all(code, offset).map_err(|e| EmitError(format!("capstone: {e}")))?;
        let length: usize = decoded.iter().map(|i| i.bytes().len()).sum();
        if length != code.len() {
            return fail(format!("`{}` doesn't decode at +0x{length:x} for the second decoder", symbol.name));
        }
    }
    Ok(())
}
