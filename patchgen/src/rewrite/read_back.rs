//! Reads the rewritten file with goblin, which shares no code with what wrote it.

use super::elf::{File, PAGE, PT_PHDR};
use super::layout::Part;
use super::write::Written;
use goblin::elf::program_header::PT_LOAD;
use goblin::elf::{Elf, ProgramHeader};

/// Compares the new file with what it was made from.
///
/// # Errors
/// The first difference.
pub fn check(file: &File<'_>, bytes: &[u8], written: &Written<'_>) -> Result<(), String> {
    let elf = Elf::parse(bytes).map_err(|e| format!("the rewritten file can't be read back: {e}"))?;
    let old = Elf::parse(file.data).map_err(|e| format!("the old file can't be read: {e}"))?;
    old_content(file, bytes, written)?;
    segments(&elf, &old, bytes, written)?;
    dynamic(&elf, &old, written)?;
    let note = elf.iter_note_headers(bytes).into_iter().flatten();
    let mut note = note.filter_map(Result::ok);
    match note.any(|n| n.name.trim_end_matches('\0') == "hpatch") {
        true => Ok(()),
        false => Err("its note isn't found".to_owned()),
    }
}

/// The old bytes are where they were, but for those that are meant to change.
fn old_content(file: &File<'_>, bytes: &[u8], written: &Written<'_>) -> Result<(), String> {
    let header = size_of::<hpatch_core::elf::Ehdr>();
    let mut changed = vec![(0, header)];
    let mut spare = |at: u64, size: usize| changed.push((at as usize, at as usize + size));
    spare(file.dynamic_at, (file.dynamic.len() + file.spare) * size_of::<super::elf::Dyn>());
    if written.layout.item(Part::Headers).is_none() {
        spare(written.layout.headers.1, usize::from(u16::from_le_bytes([bytes[56], bytes[57]])) * 56);
    }
    for (svma, new) in written.writes {
        let at = file.offset(*svma, new.len() as u64).ok_or("a write outside of the file")?;
        spare(at, new.len());
        let there = bytes.get(at as usize..at as usize + new.len());
        if there != Some(new.as_slice()) {
            return Err(format!("the bytes at 0x{svma:x} are others"));
        }
    }
    changed.sort_unstable();
    let mut at = 0;
    for (start, stop) in changed.into_iter().chain(std::iter::once((file.data.len(), file.data.len()))) {
        let end = start.max(at);
        if file.data.get(at..end) != bytes.get(at..end) {
            return Err(format!("old bytes between offsets 0x{at:x} and 0x{end:x} changed"));
        }
        at = at.max(stop);
    }
    for (part, content) in written.parts {
        let item = written.layout.item(*part).ok_or("a part without a place")?;
        let from = item.offset as usize;
        if bytes.get(from..from + content.len()) != Some(content.as_slice()) {
            return Err(format!("{part:?} has other bytes"));
        }
    }
    Ok(())
}

fn segments(elf: &Elf<'_>, old: &Elf<'_>, bytes: &[u8], written: &Written<'_>) -> Result<(), String> {
    let loads = |elf: &Elf<'_>| -> Vec<ProgramHeader> {
        elf.program_headers.iter().filter(|p| p.p_type == PT_LOAD).cloned().collect()
    };
    let (new, before) = (loads(elf), loads(old));
    if new.len() != before.len() + written.layout.extents.len() {
        return Err("it has another number of segments".to_owned());
    }
    for (n, (a, b)) in new.iter().zip(&before).enumerate() {
        let same = (a.p_offset, a.p_vaddr, a.p_flags, a.p_align) == (b.p_offset, b.p_vaddr, b.p_flags, b.p_align);
        let size = (a.p_filesz, a.p_memsz) == (b.p_filesz, b.p_memsz);
        // The first one may have grown over filler.
        if !same || !(size || (n == 0 && a.p_filesz > b.p_filesz && a.p_filesz == a.p_memsz)) {
            return Err(format!("segment {n} changed"));
        }
    }
    for pair in new.windows(2) {
        let end = (pair[0].p_vaddr + pair[0].p_memsz).next_multiple_of(PAGE);
        if pair[1].p_vaddr < pair[0].p_vaddr + pair[0].p_memsz
            || (pair[1].p_vaddr & !(PAGE - 1) < end && !before.contains(&pair[1]))
        {
            return Err("segments overlap in memory".to_owned());
        }
    }
    for p in &new {
        if (p.p_vaddr ^ p.p_offset) % PAGE != 0 || p.p_offset + p.p_filesz > bytes.len() as u64 {
            return Err("a segment can't be mapped".to_owned());
        }
    }
    let (at, size) = (elf.header.e_phoff, u64::from(elf.header.e_phnum) * u64::from(elf.header.e_phentsize));
    let first = new.first().ok_or("nothing to load")?;
    // The kernel looks for them at the distance from the file header that they have in the file.
    let seen = new.iter().any(|p| {
        p.p_offset <= at
            && at + size <= p.p_offset + p.p_filesz
            && p.p_vaddr - p.p_offset == first.p_vaddr - first.p_offset
    });
    if !seen {
        return Err("its program headers aren't mapped".to_owned());
    }
    match elf.program_headers.iter().find(|p| p.p_type == PT_PHDR) {
        Some(p) if (p.p_offset, p.p_filesz) != (at, size) => Err("PT_PHDR leads elsewhere".to_owned()),
        _ => Ok(()),
    }
}

fn dynamic(elf: &Elf<'_>, old: &Elf<'_>, written: &Written<'_>) -> Result<(), String> {
    if let Some(table) = written.table {
        let found: Vec<_> =
            elf.dynrelas.iter().map(|r| (r.r_offset, r.r_type, r.r_sym as u64, r.r_addend.unwrap_or(0))).collect();
        let meant: Vec<_> = table
            .entries
            .iter()
            .map(|r| (r.offset.get(), r.kind.get(), u64::from(r.symbol.get()), r.addend.get()))
            .collect();
        if found != meant {
            return Err("its dynamic relocations read back differently".to_owned());
        }
    } else if elf.dynrelas.len() != old.dynrelas.len() {
        return Err("its dynamic relocations changed".to_owned());
    }
    let same = |n: usize| {
        let (a, b) = (elf.dynsyms.get(n)?, old.dynsyms.get(n)?);
        let names = elf.dynstrtab.get_at(a.st_name) == old.dynstrtab.get_at(b.st_name);
        Some(names && (a.st_value, a.st_info, a.st_shndx) == (b.st_value, b.st_info, b.st_shndx))
    };
    match (0..old.dynsyms.len()).find(|n| same(*n) != Some(true)) {
        Some(n) => Err(format!("dynamic symbol {n} changed")),
        None => Ok(()),
    }
}
