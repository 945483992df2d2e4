//! A linked image as a [`World`], read with goblin.

use super::decode::{Decoder, Operand};
use super::names::Name;
use super::world::{Import, Object, Region, Section, Slot, World};
use goblin::elf::program_header::{PF_W, PF_X, PT_GNU_RELRO, PT_LOAD, PT_TLS};
use goblin::elf::reloc::*;
use goblin::elf::sym::{STT_FILE, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT, STT_TLS};
use goblin::elf::{Elf, header, section_header as sh};
use std::collections::HashMap;

/// psABI: a packed table of relative relocations.
const DT_RELR: u64 = 36;
const DT_RELRSZ: u64 = 35;
/// goblin has no name for it.
pub const TLSDESC: u32 = 36;

/// Reads an image, and its separate debug file's symbols.
///
/// # Errors
/// What is wrong with the file.
pub fn read(bytes: &[u8], debug: Option<&[u8]>, decoder: &Decoder) -> Result<World, String> {
    let elf = Elf::parse(bytes).map_err(|e| e.to_string())?;
    if elf.header.e_machine != header::EM_X86_64 || !elf.is_64 || !elf.little_endian {
        return Err("not an ELF image for x86-64".to_owned());
    }
    let mut world = World { fixed: elf.header.e_type == header::ET_EXEC, payload: u64::MAX, ..World::default() };
    segments(&elf, bytes, &mut world)?;
    for section in elf.section_headers.iter().filter(|s| s.sh_flags & u64::from(sh::SHF_ALLOC) != 0) {
        // .tbss takes no room.
        if section.sh_size > 0 && section.sh_flags & u64::from(sh::SHF_TLS) == 0 || section.sh_type != sh::SHT_NOBITS {
            let name = elf.shdr_strtab.get_at(section.sh_name).unwrap_or_default().to_owned();
            let end = section.sh_addr.saturating_add(section.sh_size);
            let exec = section.sh_flags & u64::from(sh::SHF_EXECINSTR) != 0;
            world.sections.push(Section { name, start: section.sh_addr, end, exec });
        }
    }
    symbols(&elf, &mut world);
    if let Some(debug) = debug {
        symbols(&Elf::parse(debug).map_err(|e| format!("debug file: {e}"))?, &mut world);
    }
    world.objects.sort_by(|a, b| (a.start, a.size, &a.name.name).cmp(&(b.start, b.size, &b.name.name)));
    world.objects.dedup_by(|a, b| (a.start, a.size, &a.name.name) == (b.start, b.size, &b.name.name));
    dynamic(&elf, &mut world);
    frames(&mut world);
    sizes(&mut world);
    stubs(&mut world, decoder);
    Ok(world)
}

/// The image's GNU build-id.
#[must_use]
pub fn build_id(bytes: &[u8]) -> Option<Vec<u8>> {
    let elf = Elf::parse(bytes).ok()?;
    let notes = elf.iter_note_headers(bytes).into_iter().chain(elf.iter_note_sections(bytes, None));
    let found = notes.flatten().flatten().find(|n| n.n_type == 3 && n.name == "GNU");
    found.map(|n| n.desc.to_vec())
}

fn segments(elf: &Elf<'_>, bytes: &[u8], world: &mut World) -> Result<(), String> {
    const LIMIT: u64 = 2 << 30;
    for header in elf.program_headers.iter().filter(|h| h.p_type == PT_LOAD) {
        let content = header.file_range();
        let content = bytes.get(content).ok_or("a segment lies outside of the file")?;
        if header.p_memsz > LIMIT || header.p_vaddr.checked_add(header.p_memsz).is_none() {
            return Err("a segment is too large".to_owned());
        }
        let mut memory = content.to_vec();
        memory.resize((header.p_memsz as usize).max(content.len()), 0);
        let exec = header.p_flags & PF_X != 0;
        world.regions.push(Region { start: header.p_vaddr, bytes: memory, writable: header.p_flags & PF_W != 0, exec });
    }
    for header in elf.program_headers.iter().filter(|h| h.p_type == PT_GNU_RELRO) {
        // From here on its pages can't be written: a region of its own.
        let (start, end) = (header.p_vaddr, header.p_vaddr.saturating_add(header.p_memsz));
        let Some(at) = world.regions.iter().position(|r| r.start <= start && start < r.start + r.bytes.len() as u64)
        else {
            continue;
        };
        let region = world.regions.remove(at);
        let from = (start - region.start) as usize;
        let to = ((end - region.start) as usize).clamp(from, region.bytes.len());
        for (range, writable) in
            [(0..from, region.writable), (from..to, false), (to..region.bytes.len(), region.writable)]
        {
            if !range.is_empty() {
                let start = region.start + range.start as u64;
                let bytes = region.bytes[range].to_vec();
                world.regions.push(Region { start, bytes, writable, exec: region.exec });
            }
        }
    }
    if let Some(tls) = elf.program_headers.iter().find(|h| h.p_type == PT_TLS) {
        let size = tls.p_memsz.checked_next_multiple_of(tls.p_align.max(1)).unwrap_or(0);
        world.tls_block = i64::try_from(size).unwrap_or(0);
    }
    Ok(())
}

fn symbols(elf: &Elf<'_>, world: &mut World) {
    let mut file = None;
    // Some linkers put constants into the segment that holds the code.
    let code = |symbol: &goblin::elf::Sym| {
        let section = elf.section_headers.get(symbol.st_shndx);
        let executable = section.filter(|s| s.sh_flags & u64::from(sh::SHF_EXECINSTR) != 0);
        // A linker's name for the end of its code (`_etext`) isn't the name of what comes next.
        executable.is_some_and(|s| symbol.st_value < s.sh_addr.saturating_add(s.sh_size))
    };
    for symbol in elf.syms.iter() {
        let name = elf.strtab.get_at(symbol.st_name).unwrap_or_default();
        if symbol.st_type() == STT_FILE {
            file = (!name.is_empty()).then_some(name);
            continue;
        }
        // In sections that aren't loaded values are no addresses.
        let loaded =
            elf.section_headers.get(symbol.st_shndx).is_none_or(|s| s.sh_flags & u64::from(sh::SHF_ALLOC) != 0);
        if loaded {
            add(world, &symbol, code(&symbol), name, if symbol.st_bind() == 0 { file } else { None });
        }
    }
    for symbol in elf.dynsyms.iter() {
        let name = elf.dynstrtab.get_at(symbol.st_name).unwrap_or_default();
        add(world, &symbol, code(&symbol), name, None);
    }
}

/// `code`: its section holds code.
fn add(world: &mut World, symbol: &goblin::elf::Sym, code: bool, name: &str, file: Option<&str>) {
    let defined = symbol.st_shndx != 0 && (symbol.st_shndx as u32) < sh::SHN_LORESERVE;
    if !defined || name.is_empty() {
        return;
    }
    let name = Name::new(name.split('@').next().unwrap_or(name), file);
    let object = Object { start: symbol.st_value, size: symbol.st_size, name: name.clone() };
    match symbol.st_type() {
        STT_TLS => world.thread_locals.push(object),
        STT_OBJECT => world.objects.push(object),
        STT_FUNC | STT_GNU_IFUNC => function(world, symbol.st_value, symbol.st_size, name),
        // Labels inside of functions are no functions.
        STT_NOTYPE if code && !inside(world, symbol.st_value) => {
            function(world, symbol.st_value, symbol.st_size, name);
        }
        STT_NOTYPE if code => {}
        STT_NOTYPE => world.objects.push(object),
        _ => {}
    }
}

fn inside(world: &World, at: u64) -> bool {
    world.function(at).is_some_and(|(start, _)| start != at)
}

fn function(world: &mut World, at: u64, size: u64, name: Name) {
    let function = world.functions.entry(at).or_default();
    function.size = function.size.max(size);
    if !function.names.contains(&name) {
        function.names.push(name);
    }
}

fn dynamic(elf: &Elf<'_>, world: &mut World) {
    let versions = versions(elf);
    let lookup = |index: usize| -> Option<(Import, Option<u64>)> {
        let symbol = elf.dynsyms.get(index).filter(|_| index != 0)?;
        let name = elf.dynstrtab.get_at(symbol.st_name)?.to_owned();
        let number = elf.versym.as_ref().and_then(|v| v.get_at(index)).map(|v| v.version());
        let own = (symbol.st_shndx != 0).then_some(symbol.st_value);
        let version = number.and_then(|n| versions.get(&n).cloned()).filter(|_| own.is_none());
        Some((Import { name, version }, own))
    };
    for reloc in elf.dynrelas.iter().chain(elf.dynrels.iter()).chain(elf.pltrelocs.iter()) {
        let addend = reloc.r_addend.unwrap_or_else(|| world.word(reloc.r_offset).unwrap_or(0) as i64);
        let symbol = lookup(reloc.r_sym);
        let slot = match reloc.r_type {
            R_X86_64_RELATIVE => Slot::Addr(addend as u64),
            R_X86_64_IRELATIVE => Slot::Resolved(addend as u64),
            R_X86_64_64 | R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT => match symbol {
                Some((import, own)) => {
                    Slot::Import { import, addend: if reloc.r_type == R_X86_64_64 { addend } else { 0 }, own }
                }
                None => Slot::Addr(addend as u64),
            },
            R_X86_64_COPY => {
                if let Some((import, _)) = symbol {
                    world.copies.insert(reloc.r_offset, import);
                }
                continue;
            }
            R_X86_64_DTPMOD64 | R_X86_64_DTPOFF64 | R_X86_64_TPOFF64 | TLSDESC => {
                let own = symbol.as_ref().and_then(|s| s.1).unwrap_or(0) as i64;
                let import = symbol.and_then(|(import, own)| own.is_none().then_some(import));
                let mut offset = addend.wrapping_add(own);
                if reloc.r_type == R_X86_64_DTPMOD64 {
                    // The second word is the offset, when no relocation says so.
                    offset = offset.wrapping_add(world.word(reloc.r_offset.wrapping_add(8)).unwrap_or(0) as i64);
                }
                Slot::Tls { kind: reloc.r_type, import, offset }
            }
            _ => continue,
        };
        world.slots.insert(reloc.r_offset, slot);
    }
    packed(elf, world);
    if elf.dynamic.is_none() {
        indirect(elf, world);
    }
}

/// The indirect functions of a program that no dynamic linker sees: its start-up code reads these relocations.
fn indirect(elf: &Elf<'_>, world: &mut World) {
    let tables =
        elf.section_headers.iter().filter(|s| s.sh_type == sh::SHT_RELA && s.sh_flags & u64::from(sh::SHF_ALLOC) != 0);
    for at in tables.flat_map(|s| (s.sh_addr..s.sh_addr.saturating_add(s.sh_size)).step_by(24)) {
        let word = |n: u64| world.word(at.checked_add(n)?);
        let (Some(place), Some(info), Some(resolver)) = (word(0), word(8), word(16)) else { return };
        if info == u64::from(R_X86_64_IRELATIVE) {
            world.slots.insert(place, Slot::Resolved(resolver));
        }
    }
}

/// `DT_RELR` (gABI): an address, then bitmaps of the 63 words behind the last one.
fn packed(elf: &Elf<'_>, world: &mut World) {
    let Some(dynamic) = &elf.dynamic else { return };
    let value = |tag| dynamic.dyns.iter().find(|d| d.d_tag == tag).map(|d| d.d_val);
    let (Some(table), Some(size)) = (value(DT_RELR), value(DT_RELRSZ)) else { return };
    let entries: Vec<u64> = (0..size / 8).map_while(|n| world.word(table.checked_add(n * 8)?)).collect();
    let mut next = 0u64;
    let mut places = Vec::new();
    for entry in entries {
        if entry & 1 == 0 {
            places.push(entry);
            next = entry.wrapping_add(8);
        } else {
            places.extend((0..63).filter(|bit| entry >> (bit + 1) & 1 != 0).map(|bit| next.wrapping_add(bit * 8)));
            next = next.wrapping_add(63 * 8);
        }
    }
    for place in places {
        if let Some(value) = world.word(place) {
            world.slots.insert(place, Slot::Addr(value));
        }
    }
}

fn versions(elf: &Elf<'_>) -> HashMap<u16, String> {
    let mut found = HashMap::new();
    for need in elf.verneed.iter().flat_map(|v| v.iter()) {
        for aux in need.iter() {
            if let Some(name) = elf.dynstrtab.get_at(aux.vna_name) {
                found.insert(aux.vna_other & 0x7fff, name.to_owned());
            }
        }
    }
    found
}

/// Functions without a symbol, from the search table of `.eh_frame_hdr` (LSB): 32-bit offsets from the table's start.
fn frames(world: &mut World) {
    let Some(hdr) = world.sections.iter().find(|s| s.name == ".eh_frame_hdr").map(|s| s.start) else { return };
    if world.bytes(hdr, 4).is_none_or(|b| b != [1, 0x1b, 0x03, 0x3b]) {
        return;
    }
    let count = world.signed32(hdr + 8).unwrap_or(0).max(0) as u64;
    let mut found = Vec::new();
    for n in 0..count {
        let entry = hdr + 12 + 8 * n;
        let (Some(start), Some(fde)) = (world.signed32(entry), world.signed32(entry + 4)) else { break };
        let (start, fde) = (hdr.wrapping_add_signed(start), hdr.wrapping_add_signed(fde));
        let Some(size) = world.signed32(fde.wrapping_add(12)) else { break };
        found.push((start, size.max(0) as u64));
    }
    for (start, size) in found {
        let stub = world.section(start).is_none_or(Section::is_plt);
        // A signal trampoline's entry begins a byte early, since unwinders look for the byte before a return address.
        let trampoline = world.functions.contains_key(&(start + 1));
        if world.function(start).is_none() && !stub && !trampoline {
            world.functions.entry(start).or_default().size = size;
        }
    }
}

/// A function whose symbol has no size goes on to the next one, or to its section's end.
fn sizes(world: &mut World) {
    let starts: Vec<u64> = world.functions.keys().copied().collect();
    for (n, &start) in starts.iter().enumerate() {
        let end = world.section(start).map_or(start, |s| s.end);
        let next = starts.get(n + 1).map_or(end, |&next| next.min(end));
        if let Some(function) = world.functions.get_mut(&start)
            && function.size == 0
        {
            function.size = next - start;
        }
    }
}

/// PLT entries: whatever jumps through a slot there, counted from the last 16-byte boundary, with or without an `endbr64`.
fn stubs(world: &mut World, decoder: &Decoder) {
    let mut found = Vec::new();
    for section in world.sections.iter().filter(|s| s.is_plt()) {
        let step = if section.name == ".plt.got" { 8 } else { 16 };
        let mut at = section.start;
        while at < section.end {
            let mut pc = at;
            for _ in 0..3 {
                let Some(insn) = decoder.decode(world, pc) else { break };
                if insn.jumps()
                    && let Some(Operand::Mem { disp, .. }) = insn.operands.first()
                    && insn.rip_relative()
                {
                    let slot = insn.end().wrapping_add_signed(*disp);
                    if world.slots.contains_key(&slot) {
                        found.push((at, slot));
                    }
                    break;
                }
                pc = insn.end();
            }
            at += step;
        }
    }
    world.stubs.extend(found);
}
