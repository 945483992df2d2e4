//! One image with the symbols of its debug file.

use crate::{Failure, Result, check};
use goblin::elf::header::ET_EXEC;
use goblin::elf::program_header::PT_LOAD;
use goblin::elf::sym::{STT_FILE, STT_FUNC, STT_GNU_IFUNC, STT_SECTION, STT_TLS};
use goblin::elf::{Elf, section_header::SHN_UNDEF};
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// A place that has a name. Addresses are svma: as the file states them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    pub name: String,
    pub at: u64,
    /// Bytes.
    pub size: u64,
    pub function: bool,
}

#[derive(Debug)]
pub struct Build {
    /// Loaded ranges with their bytes in the file.
    segments: Vec<(Range<u64>, Vec<u8>)>,
    /// From the first to the last loaded address.
    pub span: Range<u64>,
    /// Linked at fixed addresses.
    pub fixed: bool,
    /// By address, then size.
    symbols: Vec<Symbol>,
    /// The largest end of any symbol up to each.
    reach: Vec<u64>,
    /// What the dynamic linker puts where, by name.
    slots: BTreeMap<u64, String>,
}

impl Build {
    /// Reads the code from the image, the symbols from its debug file.
    ///
    /// # Errors
    /// When a file isn't there or isn't ELF.
    pub fn read(image: &Path, debug: &Path) -> Result<Build> {
        let parse = |path: &Path, bytes: &[u8]| -> Result<()> {
            check!(bytes.starts_with(b"\x7fELF"), "{} is no ELF file", path.display());
            Ok(())
        };
        let damaged = |path: &Path| {
            let path = path.display().to_string();
            move |error: goblin::error::Error| Failure(format!("{path}: {error}"))
        };
        let bytes = std::fs::read(image)?;
        parse(image, &bytes)?;
        let elf = Elf::parse(&bytes).map_err(damaged(image))?;
        let mut segments = Vec::new();
        for header in elf.program_headers.iter().filter(|h| h.p_type == PT_LOAD) {
            let file =
                bytes.get(header.file_range()).ok_or_else(|| Failure(format!("{} is cut off", image.display())))?;
            segments.push((header.p_vaddr..header.p_vaddr.saturating_add(header.p_memsz), file.to_vec()));
        }
        let start = segments.iter().map(|(range, _)| range.start).min().unwrap_or(0);
        let end = segments.iter().map(|(range, _)| range.end).max().unwrap_or(0);
        let fixed = elf.header.e_type == ET_EXEC;
        let relocations = elf.pltrelocs.iter().chain(elf.dynrelas.iter());
        let slots = relocations.filter_map(|r| {
            let symbol = elf.dynsyms.get(r.r_sym)?;
            let name = elf.dynstrtab.get_at(symbol.st_name).filter(|name| !name.is_empty())?;
            Some((r.r_offset, name.to_owned()))
        });
        let slots = slots.collect();

        let bytes = std::fs::read(debug)?;
        parse(debug, &bytes)?;
        let elf = Elf::parse(&bytes).map_err(damaged(debug))?;
        let mut symbols = Vec::new();
        for symbol in &elf.syms {
            let kind = symbol.st_type();
            if symbol.st_shndx == SHN_UNDEF as usize || matches!(kind, STT_FILE | STT_SECTION | STT_TLS) {
                continue;
            }
            let name = elf.strtab.get_at(symbol.st_name).unwrap_or_default().to_owned();
            if name.is_empty() {
                continue;
            }
            let function = matches!(kind, STT_FUNC | STT_GNU_IFUNC);
            symbols.push(Symbol { name, at: symbol.st_value, size: symbol.st_size, function });
        }
        check!(!symbols.is_empty(), "{} has no symbols", debug.display());
        symbols.sort_by(|a, b| (a.at, a.size, &a.name).cmp(&(b.at, b.size, &b.name)));
        symbols.dedup();
        let mut furthest = 0;
        let reach = symbols.iter().map(|s| {
            furthest = furthest.max(s.at.saturating_add(s.size));
            furthest
        });
        let reach = reach.collect();
        Ok(Build { segments, span: start..end, fixed, symbols, reach, slots })
    }

    /// Bytes of the file at an address, at most `most`.
    pub fn bytes_up_to(&self, at: u64, most: usize) -> &[u8] {
        let found = self.segments.iter().find(|(range, _)| range.contains(&at));
        let bytes = found.and_then(|(range, bytes)| bytes.get((at - range.start) as usize..)).unwrap_or_default();
        &bytes[..bytes.len().min(most)]
    }

    /// The name of what a slot at this address holds, or of what a stub there jumps to through a slot.
    pub fn import(&self, at: u64) -> Option<&str> {
        let slot = || {
            let mut decoder = Decoder::with_ip(64, self.bytes_up_to(at, 16), at, DecoderOptions::NONE);
            let jump = decoder.iter().take(2).find(|i| i.mnemonic() == Mnemonic::Jmp)?;
            jump.is_ip_rel_memory_operand().then(|| jump.ip_rel_memory_address())
        };
        self.slots.get(&at).or_else(|| self.slots.get(&slot()?)).map(String::as_str)
    }

    /// Whether a function that begins further in front reaches over the address.
    pub fn inside_another(&self, at: u64) -> bool {
        let before = self.symbols.partition_point(|s| s.at < at);
        let reaching = (0..before).rev().take_while(|&i| self.reach[i] > at).map(|i| &self.symbols[i]);
        reaching.into_iter().any(|s| s.function && at - s.at < s.size)
    }

    /// Whether a name at an address says that it is the cold part of the function that begins at another.
    pub fn is_cold_part(&self, at: u64, whole: u64) -> bool {
        let names = |at: u64| self.symbols.iter().filter(move |s| s.at == at && s.function).map(|s| s.name.as_str());
        names(at).filter_map(|name| name.strip_suffix(".cold")).any(|stem| names(whole).any(|name| name == stem))
    }

    /// Functions with a size, by name.
    pub fn functions(&self) -> BTreeMap<&str, Vec<&Symbol>> {
        let mut found: BTreeMap<&str, Vec<&Symbol>> = BTreeMap::new();
        for symbol in self.symbols.iter().filter(|s| s.function && s.size > 0) {
            found.entry(&symbol.name).or_default().push(symbol);
        }
        found
    }

    /// The symbols that begin nearest before an address and hold it, and how far into them it lies; else those without a size that are there.
    pub fn holding(&self, at: u64) -> Option<(Vec<&Symbol>, u64)> {
        let upto = self.symbols.partition_point(|s| s.at <= at);
        let mut end = upto;
        while end > 0 && self.reach[end - 1] > at {
            let start = self.symbols[end - 1].at;
            let first = self.symbols[..end].partition_point(|s| s.at < start);
            let here: Vec<&Symbol> = self.symbols[first..end].iter().filter(|s| at - s.at < s.size).collect();
            if !here.is_empty() {
                return Some((here, at - start));
            }
            end = first;
        }
        let first = self.symbols.partition_point(|s| s.at < at);
        (first < upto).then(|| (self.symbols[first..upto].iter().collect(), 0))
    }
}
