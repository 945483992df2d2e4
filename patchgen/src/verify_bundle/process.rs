//! The patched process, simulated: the old image's memory with a payload laid out beside it, relocated, and its detours and edits applied.

use super::image::TLSDESC;
use super::names::Name;
use super::world::{Function, Import, Object, Region, Section, Slot, World};
use goblin::elf::reloc::{
    R_X86_64_32, R_X86_64_32S, R_X86_64_64, R_X86_64_DTPMOD64, R_X86_64_PC32, R_X86_64_PC64, R_X86_64_PLT32,
    R_X86_64_TPOFF64,
};
use goblin::elf::reloc::{R_X86_64_DTPOFF32, R_X86_64_DTPOFF64, R_X86_64_TPOFF32};
use goblin::elf::section_header::{SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS, SHT_RELA};
use goblin::elf::sym::{STT_FUNC, STT_OBJECT, STT_TLS};
use goblin::elf::{Elf, header};
use patchfmt::payload::{self, BIND_IMPORT, BIND_OLD, BIND_WORD, Bind, Edit, Func, Range, State};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const PAGE: u64 = 4096;
/// Room between the image and the payload: nobody shall depend on how close they are.
const GAP: u64 = 16 << 20;

/// Applies `payload` to the old image.
///
/// # Errors
/// What is wrong with the payload.
pub fn apply(world: &mut World, payload: &[u8]) -> Result<(), String> {
    let elf = Elf::parse(payload).map_err(|e| format!("payload: {e}"))?;
    if elf.header.e_type != header::ET_REL || elf.header.e_machine != header::EM_X86_64 {
        return Err("the payload isn't a relocatable object for x86-64".to_owned());
    }
    let places = lay_out(world, &elf, payload)?;
    let binds = table::<Bind>(&elf, payload, payload::BIND)?;
    let values = symbols(world, &elf, &places, binds)?;
    relocate(world, &elf, &places, &values)?;
    let funcs = table::<Func>(&elf, payload, payload::FUNC)?;
    for func in funcs.iter().filter(|f| f.replaced()) {
        let to = *values.get(func.symbol.get() as usize).ok_or("a function record's symbol doesn't exist")?;
        let entry = func.entry.get();
        let names = world.functions.get(&entry).map(|f| f.names.clone()).unwrap_or_default();
        let replacement = world.functions.entry(to).or_default();
        // The names of the entry say the unit too.
        replacement.names.splice(0..0, names);
        world.detours.insert(entry, to);
    }
    world.edited.extend(funcs.iter().filter(|f| f.edited()).map(|f| f.entry.get()));
    let edits = table::<Edit>(&elf, payload, payload::EDIT)?;
    let ranges = table::<Range>(&elf, payload, payload::RANGE)?;
    payload::check_code_edits(funcs, ranges, edits)
        .map_err(|code| format!("code is edited outside of the functions that are held: {code}"))?;
    for edit in edits {
        let from = *values.get(edit.symbol.get() as usize).ok_or("an edit's symbol doesn't exist")?;
        write_bytes(world, (edit.svma.get(), edit.size.get().into(), edit.at_site()), from)?;
    }
    for state in table::<State>(&elf, payload, payload::STATE)? {
        let from = values.get(state.symbol.get() as usize).ok_or("the symbol of a variable doesn't exist")?;
        let from = from.wrapping_add(state.offset.get());
        // What a variable that moves holds then, only the process knows.
        if !state.moved() {
            write_bytes(world, (state.svma.get(), state.size.get().into(), false), from)?;
        }
    }
    world.objects.sort_by_key(|o| o.start);
    Ok(())
}

fn content<'a>(elf: &Elf<'_>, bytes: &'a [u8], name: &str) -> Result<&'a [u8], String> {
    let named = elf.section_headers.iter().find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(name));
    let Some(section) = named else { return Ok(&[]) };
    let range = section.file_range().ok_or_else(|| format!("{name} has no content"))?;
    bytes.get(range).ok_or_else(|| format!("{name} lies outside of the payload"))
}

fn table<'a, T>(elf: &Elf<'_>, bytes: &'a [u8], name: &str) -> Result<&'a [T], String>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    payload::table(content(elf, bytes, name)?).map_err(|code| format!("{name}: {code}"))
}

/// Gives every alloc section an address; 0 for the others.
fn lay_out(world: &mut World, elf: &Elf<'_>, bytes: &[u8]) -> Result<Vec<u64>, String> {
    let end = world.regions.iter().map(|r| r.start + r.bytes.len() as u64).max().unwrap_or(0);
    let mut cursor = end.next_multiple_of(PAGE) + GAP;
    world.payload = cursor;
    let mut places = Vec::new();
    for section in &elf.section_headers {
        if section.sh_flags & u64::from(SHF_ALLOC) == 0 {
            places.push(0);
            continue;
        }
        if section.sh_size > 256 << 20 || section.sh_addralign > PAGE {
            return Err("a section of the payload is too large".to_owned());
        }
        cursor = cursor.next_multiple_of(PAGE);
        let mut memory = match section.sh_type {
            SHT_NOBITS => Vec::new(),
            _ => {
                let range = section.file_range().and_then(|r| bytes.get(r));
                range.ok_or("a section lies outside of the payload")?.to_vec()
            }
        };
        memory.resize(section.sh_size as usize, 0);
        let has = |flag: u32| section.sh_flags & u64::from(flag) != 0;
        let name = elf.shdr_strtab.get_at(section.sh_name).unwrap_or_default();
        let (writable, exec) = (has(SHF_WRITE), has(SHF_EXECINSTR));
        let end = cursor + section.sh_size;
        world.sections.push(Section { name: format!("payload {name}"), start: cursor, end, exec });
        world.regions.push(Region { start: cursor, bytes: memory, writable, exec });
        places.push(cursor);
        // A page between sections: running past one's end is seen.
        cursor += section.sh_size + PAGE;
    }
    Ok(places)
}

/// The value of every symbol of the payload; its functions and objects become known by name.
fn symbols(world: &mut World, elf: &Elf<'_>, places: &[u64], binds: &[Bind]) -> Result<Vec<u64>, String> {
    let text = |at: u32| elf.strtab.get_at(at as usize).unwrap_or_default();
    let mut next_import = world.regions.iter().map(|r| r.start + r.bytes.len() as u64).max().unwrap_or(0) + PAGE;
    let mut values = Vec::new();
    for (index, symbol) in elf.syms.iter().enumerate() {
        if symbol.st_shndx != 0 {
            let place = places.get(symbol.st_shndx).copied().unwrap_or(0);
            let value = place.wrapping_add(symbol.st_value);
            let name = Name::new(elf.strtab.get_at(symbol.st_name).unwrap_or_default(), None);
            match symbol.st_type() {
                STT_FUNC => {
                    let function: &mut Function = world.functions.entry(value).or_default();
                    function.size = function.size.max(symbol.st_size);
                    function.names.push(name);
                }
                STT_TLS => {
                    // Reached from the thread pointer, or from the start of its block.
                    let thread = Thread::of(world, value);
                    for offset in [thread.by_pointer + world.tls_block, thread.in_block] {
                        let start = offset.cast_unsigned();
                        world.thread_locals.push(Object { start, size: symbol.st_size, name: name.clone() });
                    }
                }
                STT_OBJECT => world.objects.push(Object { start: value, size: symbol.st_size, name }),
                _ => {}
            }
            values.push(value);
            continue;
        }
        let bind = binds.iter().find(|b| b.symbol.get() as usize == index);
        values.push(match bind {
            None if index == 0 => 0,
            None => return Err(format!("symbol {index} of the payload is not bound")),
            Some(b) if b.kind == BIND_OLD => b.value.get(),
            Some(b) if b.kind == BIND_IMPORT => {
                let version = text(b.version.get());
                let import = Import {
                    name: text(b.name.get()).to_owned(),
                    version: (!version.is_empty()).then(|| version.to_owned()),
                };
                next_import += 16;
                world.imports.insert(next_import, import);
                next_import
            }
            Some(b) if b.kind == BIND_WORD => {
                let at = b.value.get();
                let Some(slot @ Slot::Tls { .. }) = world.slots.get(&at).cloned() else {
                    return Err(format!(
                        "symbol {index} of the payload is the word at 0x{at:x}, of which nothing is known"
                    ));
                };
                next_import += 16;
                world.words.insert(next_import, slot);
                next_import
            }
            Some(_) => return Err(format!("symbol {index} of the payload is bound in an unknown way")),
        });
    }
    Ok(values)
}

fn relocate(world: &mut World, elf: &Elf<'_>, places: &[u64], values: &[u64]) -> Result<(), String> {
    for (table, relocs) in &elf.shdr_relocs {
        let header = elf.section_headers.get(*table).filter(|h| h.sh_type == SHT_RELA);
        let section = header.map(|h| h.sh_info as usize).ok_or("a relocation table that isn't RELA")?;
        let base = places.get(section).copied().unwrap_or(0);
        if base == 0 {
            continue;
        }
        for reloc in relocs.iter() {
            let symbol = *values.get(reloc.r_sym).ok_or("a relocation's symbol doesn't exist")?;
            let addend = reloc.r_addend.unwrap_or(0);
            let place = base.wrapping_add(reloc.r_offset);
            let value = symbol.wrapping_add_signed(addend);
            let narrow = |value: i64| i32::try_from(value).map_err(|_| "a thread-local relocation overflows");
            let thread = Thread::of(world, value);
            let tls = |kind, offset| Slot::Tls { kind, import: None, offset };
            let bytes = match reloc.r_type {
                R_X86_64_TPOFF32 => narrow(thread.by_pointer)?.to_le_bytes().to_vec(),
                R_X86_64_DTPOFF32 => narrow(thread.in_block)?.to_le_bytes().to_vec(),
                R_X86_64_TPOFF64 => {
                    let slot = tls(R_X86_64_TPOFF64, thread.by_pointer + world.tls_block);
                    world.slots.insert(place, slot);
                    thread.by_pointer.to_le_bytes().to_vec()
                }
                R_X86_64_DTPMOD64 => {
                    // The offset stands behind it, if that has a relocation: else it's the start of the block.
                    let pair = relocs.iter().find(|r| {
                        r.r_offset == reloc.r_offset + 8 && r.r_type == R_X86_64_DTPOFF64 && r.r_sym == reloc.r_sym
                    });
                    let offset = pair.map_or(0, |_| thread.in_block);
                    world.slots.insert(place, tls(R_X86_64_DTPMOD64, offset));
                    vec![0; 8]
                }
                R_X86_64_DTPOFF64 => thread.in_block.to_le_bytes().to_vec(),
                R_X86_64_64 => {
                    let slot = match (world.imports.get(&symbol), world.words.get(&symbol)) {
                        (Some(import), _) => Slot::Import { import: import.clone(), addend, own: None },
                        (None, Some(word)) => thread_local(word, addend, world.word(place + 8)),
                        (None, None) => Slot::Addr(value),
                    };
                    world.slots.insert(place, slot);
                    value.to_le_bytes().to_vec()
                }
                R_X86_64_PC32 | R_X86_64_PLT32 => {
                    let distance = i32::try_from(value.wrapping_sub(place) as i64);
                    distance.map_err(|_| "a PC-relative relocation overflows")?.to_le_bytes().to_vec()
                }
                R_X86_64_32 => u32::try_from(value).map_err(|_| "R_X86_64_32 overflows")?.to_le_bytes().to_vec(),
                R_X86_64_32S => {
                    i32::try_from(value as i64).map_err(|_| "R_X86_64_32S overflows")?.to_le_bytes().to_vec()
                }
                R_X86_64_PC64 => value.wrapping_sub(place).to_le_bytes().to_vec(),
                other => return Err(format!("relocation type {other} in the payload")),
            };
            world.fields.insert(place);
            store(world, place, &bytes)?;
        }
    }
    descriptors(world);
    Ok(())
}

/// Where a new thread-local variable is: at a made-up distance from the thread pointer, and in a made-up block of the loader's, both far from
/// those of the image.
struct Thread {
    by_pointer: i64,
    in_block: i64,
}

impl Thread {
    const FAR: i64 = 1 << 30;

    /// `at`: where the payload has what it begins with.
    fn of(world: &World, at: u64) -> Thread {
        let within = at.wrapping_sub(world.payload).cast_signed();
        Thread { by_pointer: within.wrapping_sub(Self::FAR), in_block: within.wrapping_add(Self::FAR) }
    }
}

/// Whether a distance from the thread pointer or in a block is one of those.
pub fn is_new_thread_local(distance: i64) -> bool {
    distance <= -Thread::FAR / 2 || distance >= Thread::FAR
}

/// TLS descriptors of the payload: the function that gives back the word behind its address, and in that the distance from the pointer.
fn descriptors(world: &mut World) {
    const RESOLVER: [u8; 5] = [0x48, 0x8b, 0x40, 0x08, 0xc3];
    let found: Vec<(u64, i64)> = world
        .slots
        .iter()
        .filter_map(|(&at, slot)| match (slot, world.slots.get(&(at + 8))) {
            (&Slot::Addr(to), Some(&Slot::Tls { kind: R_X86_64_TPOFF64, offset, .. })) => {
                (at >= world.payload && world.bytes(to, 5) == Some(RESOLVER.as_slice())).then_some((at, offset))
            }
            _ => None,
        })
        .collect();
    for (at, offset) in found {
        world.slots.insert(at, Slot::Tls { kind: TLSDESC, import: None, offset });
    }
}

/// What a copy of a thread-local slot stands for, with `addend` added and `next` behind it.
fn thread_local(word: &Slot, addend: i64, next: Option<u64>) -> Slot {
    match word {
        // The module's id, which an addend would make another one; the offset stands behind it.
        Slot::Tls { kind: R_X86_64_DTPMOD64, import: None, .. } if addend == 0 => {
            Slot::Tls { kind: R_X86_64_DTPMOD64, import: None, offset: next.unwrap_or(0).cast_signed() }
        }
        Slot::Tls { kind: R_X86_64_TPOFF64, import: None, offset } => {
            Slot::Tls { kind: R_X86_64_TPOFF64, import: None, offset: offset.wrapping_add(addend) }
        }
        // Of no variable: equal to nothing in the new image.
        _ => Slot::Tls { kind: 0, import: None, offset: 0 },
    }
}

fn store(world: &mut World, at: u64, bytes: &[u8]) -> Result<(), String> {
    let region = world.regions.iter_mut().find(|r| r.start <= at && at - r.start < r.bytes.len() as u64);
    let target = region.and_then(|r| {
        let from = (at - r.start) as usize;
        r.bytes.get_mut(from..from + bytes.len())
    });
    target.ok_or_else(|| format!("0x{at:x} lies outside of memory"))?.copy_from_slice(bytes);
    Ok(())
}

/// Copies new bytes into the old image, with the slots in them: where to, how many, and whether they were linked for that place.
fn write_bytes(world: &mut World, (at, size, at_site): (u64, u64, bool), from: u64) -> Result<(), String> {
    let mut bytes = world.bytes(from, size).ok_or("an edit's bytes lie outside of the payload")?.to_vec();
    let moved: Vec<u64> = world.fields.iter().copied().filter(|f| (from..from + size).contains(f)).collect();
    for field in moved {
        let to = at + (field - from);
        match world.slots.get(&field).cloned() {
            Some(slot) => {
                world.slots.insert(to, slot);
            }
            // What was relative to where the bytes lie in the payload is relative to the site once they are there.
            None if at_site => {
                let offset = (field - from) as usize;
                let word = bytes.get_mut(offset..offset + 4).ok_or("a relocation crosses an edit's end")?;
                let value = i32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                let shift = from.wrapping_sub(at) as i64;
                let value = i32::try_from(i64::from(value) + shift).map_err(|_| "an edit's reference overflows")?;
                word.copy_from_slice(&value.to_le_bytes());
            }
            None => {}
        }
        world.fields.insert(to);
    }
    // An old slot below the new bytes is gone.
    let overwritten: Vec<u64> = world.slots.keys().copied().filter(|s| (at..at + size).contains(s)).collect();
    for slot in overwritten {
        if !world.fields.contains(&slot) {
            world.slots.remove(&slot);
        }
    }
    store(world, at, &bytes)
}
