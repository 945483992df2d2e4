//! The dynamic symbols of a module as they are in the target's memory (System V gABI).

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

/// The dynamic section of a module.
struct Dynamic {
    bias: u64,
    entries: Vec<u8>,
}

impl Dynamic {
    /// Of the module whose ELF header lies at `base`; `None` when it has none or makes no sense.
    fn read(mem: &Mem, base: u64) -> Option<Self> {
        let mut bias = None;
        let mut dynamic = None;
        for p in &program_headers(mem, base)? {
            match p.kind {
                PT_LOAD if bias.is_none() => bias = Some(base.wrapping_sub(p.vaddr).wrapping_add(p.offset)),
                PT_DYNAMIC => dynamic = Some((p.vaddr, p.size)),
                _ => {}
            }
        }
        let (bias, (at, size)) = (bias?, dynamic?);
        Some(Self { bias, entries: mem.read_vec(bias.wrapping_add(at), size.min(64 * 1024) as usize).ok()? })
    }

    fn entry(&self, tag: u64) -> Option<u64> {
        let entries = self.entries.chunks_exact(16).take_while(|e| u64_at(e, 0) != Some(0));
        entries.filter(|e| u64_at(e, 0) == Some(tag)).find_map(|e| u64_at(e, 8))
    }

    /// An entry that is an address: the dynamic linker of glibc adds the bias to these in memory, others leave them.
    fn address(&self, tag: u64) -> Option<u64> {
        let v = self.entry(tag)?;
        Some(if v < self.bias || self.bias == 0 { v.wrapping_add(self.bias) } else { v })
    }

    fn strings(&self, mem: &Mem) -> Option<Vec<u8>> {
        mem.read_vec(self.address(DT_STRTAB)?, self.entry(DT_STRSZ)?.min(64 << 20) as usize).ok()
    }
}

/// One program header, in the units of the file.
#[derive(Debug, Clone, Copy)]
pub struct ProgramHeader {
    pub kind: u32,
    pub offset: u64,
    /// svma.
    pub vaddr: u64,
    /// Bytes in memory.
    pub size: u64,
}

/// Those of the module whose ELF header lies at `base`.
pub fn program_headers(mem: &Mem, base: u64) -> Option<Vec<ProgramHeader>> {
    let header = mem.read_vec(base, 64).ok()?;
    if header.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (phoff, phentsize, phnum) = (u64_at(&header, 32)?, u16_at(&header, 54)?, u16_at(&header, 56)?);
    if phentsize != 56 || phnum > 256 {
        return None;
    }
    let table = mem.read_vec(base.checked_add(phoff)?, usize::from(phnum) * 56).ok()?;
    let one = |p: &[u8]| {
        Some(ProgramHeader { kind: u32_at(p, 0)?, offset: u64_at(p, 8)?, vaddr: u64_at(p, 16)?, size: u64_at(p, 40)? })
    };
    table.chunks_exact(56).map(one).collect()
}

/// The names of all dynamic symbols of the module at `base`, each ended by a NUL. `None` when there is a dynamic section but they can't be
/// read.
pub fn dynamic_names(mem: &Mem, base: u64) -> Option<Vec<u8>> {
    let headers = program_headers(mem, base)?;
    if !headers.iter().any(|p| p.kind == PT_DYNAMIC) {
        return Some(Vec::new());
    }
    Dynamic::read(mem, base)?.strings(mem)
}

/// avma of the dynamic symbol `name` that the module whose ELF header lies at `base` defines; `None` when it doesn't or the image makes no
/// sense.
pub fn dynamic_symbol(mem: &Mem, base: u64, name: &str) -> Option<u64> {
    let dynamic = Dynamic::read(mem, base)?;
    let count = match (dynamic.address(DT_HASH), dynamic.address(DT_GNU_HASH)) {
        (Some(h), _) => u64::from(u32_at(&mem.read_vec(h, 8).ok()?, 4)?),
        (None, Some(h)) => gnu_symbol_count(mem, h)?,
        (None, None) => return None,
    };
    let strings = dynamic.strings(mem)?;
    let symbols = mem.read_vec(dynamic.address(DT_SYMTAB)?, count.min(MAX_SYMBOLS) as usize * 24).ok()?;
    symbols.chunks_exact(24).find_map(|s| {
        let (at, section, value) = (u32_at(s, 0)? as usize, u16_at(s, 6)?, u64_at(s, 8)?);
        let text = strings.get(at..)?;
        let end = text.iter().position(|&b| b == 0)?;
        (section != 0 && &text[..end] == name.as_bytes()).then(|| dynamic.bias.wrapping_add(value))
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
