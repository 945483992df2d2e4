//! The dynamic symbols of a module as they are in the target's memory (System V gABI).

use super::maps::Mapping;
use super::mem::Mem;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const DT_HASH: u64 = 4;
const MAX_SYMBOLS: u64 = 1 << 20;

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(b.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(b.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(b.get(at..at + 8)?.try_into().ok()?))
}

/// Address of the dynamic symbol `name` in the module whose ELF header `first` maps; `None` when it isn't there or the image
/// doesn't make sense.
pub fn dynamic_symbol(mem: &Mem, first: &Mapping, name: &str) -> Option<u64> {
    let base = first.start;
    let header = mem.read_vec(base, 64).ok()?;
    if header.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (phoff, phentsize, phnum) = (u64_at(&header, 32)?, u16_at(&header, 54)?, u16_at(&header, 56)?);
    if phentsize != 56 || phnum > 256 {
        return None;
    }
    let phdrs = mem.read_vec(base.checked_add(phoff)?, usize::from(phnum) * 56).ok()?;
    let mut bias = None;
    let mut dynamic = None;
    for p in phdrs.chunks_exact(56) {
        let (kind, offset, vaddr, size) = (u32_at(p, 0)?, u64_at(p, 8)?, u64_at(p, 16)?, u64_at(p, 40)?);
        match kind {
            PT_LOAD if bias.is_none() => bias = Some(base.wrapping_sub(vaddr).wrapping_add(offset)),
            PT_DYNAMIC => dynamic = Some((vaddr, size)),
            _ => {}
        }
    }
    let (bias, (dyn_vaddr, dyn_size)) = (bias?, dynamic?);
    let table = mem.read_vec(bias.wrapping_add(dyn_vaddr), dyn_size.min(64 * 1024) as usize).ok()?;
    // The dynamic linker of glibc adds the bias to these entries in memory, others leave them.
    let absolute = |v: u64| if v < bias || bias == 0 { v.wrapping_add(bias) } else { v };
    let entry = |tag: u64| {
        table
            .chunks_exact(16)
            .take_while(|e| u64_at(e, 0) != Some(0))
            .find_map(|e| (u64_at(e, 0)? == tag).then(|| u64_at(e, 8)).flatten())
    };
    let (symtab, strtab, strsz) = (absolute(entry(DT_SYMTAB)?), absolute(entry(DT_STRTAB)?), entry(DT_STRSZ)?);
    let count = match (entry(DT_HASH), entry(DT_GNU_HASH)) {
        (Some(h), _) => u64::from(u32_at(&mem.read_vec(absolute(h), 8).ok()?, 4)?),
        (None, Some(h)) => gnu_symbol_count(mem, absolute(h))?,
        (None, None) => return None,
    };
    let strings = mem.read_vec(strtab, strsz.min(64 << 20) as usize).ok()?;
    let symbols = mem.read_vec(symtab, count.min(MAX_SYMBOLS) as usize * 24).ok()?;
    symbols.chunks_exact(24).find_map(|s| {
        let (at, section, value) = (u32_at(s, 0)? as usize, u16_at(s, 6)?, u64_at(s, 8)?);
        let text = strings.get(at..)?;
        let end = text.iter().position(|&b| b == 0)?;
        (section != 0 && &text[..end] == name.as_bytes()).then(|| bias.wrapping_add(value))
    })
}

/// The GNU hash table doesn't say how many symbols there are: the last chain's end does.
fn gnu_symbol_count(mem: &Mem, table: u64) -> Option<u64> {
    let head = mem.read_vec(table, 16).ok()?;
    let (buckets, first, bloom) = (u32_at(&head, 0)?, u32_at(&head, 4)?, u32_at(&head, 8)?);
    if u64::from(buckets) > MAX_SYMBOLS || u64::from(bloom) > MAX_SYMBOLS {
        return None;
    }
    let at = table + 16 + u64::from(bloom) * 8;
    let heads = mem.read_vec(at, buckets as usize * 4).ok()?;
    let last = heads.chunks_exact(4).filter_map(|b| u32_at(b, 0)).max()?;
    if last < first {
        return Some(u64::from(first));
    }
    let chains = at + u64::from(buckets) * 4;
    for i in u64::from(last - first)..MAX_SYMBOLS {
        if u32_at(&mem.read_vec(chains + i * 4, 4).ok()?, 0)? & 1 == 1 {
            return Some(u64::from(first) + i + 1);
        }
    }
    None
}
