//! What an analysis of two builds can't do without: the lower limits that `cargo xtask bench limits` sets `patchgen diff` against.
//!
//! `l0`: hash both files, read their symbols, decode and hash their code. `l1`: also hash the debug files, inflate the debug sections and
//! scan the units' top-level entries. `l2`: also read every entry with its attributes, and every row of the line programs.

use foldhash::fast::{FixedState, FoldHasher};
use gimli::{EndianSlice, LittleEndian, Section as _};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction};
use object::{CompressedData, CompressionFormat, Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind};
use patchgen::image::FileBytes;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::error::Error;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Reader<'a> = EndianSlice<'a, LittleEndian>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Code,
    Units,
    Entries,
}

/// What was counted, so that nothing is optimised away and two runs can be compared.
#[derive(Default)]
struct Counts {
    digest: u64,
    symbols: usize,
    instructions: u64,
    debug_bytes: usize,
    units: usize,
    entries: u64,
    attributes: u64,
    rows: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [level, old, old_debug, new, new_debug] = arguments.as_slice() else {
        eprintln!("usage: limits l0|l1|l2 OLD OLD_DEBUG NEW NEW_DEBUG");
        return ExitCode::from(2);
    };
    let level = match level.as_str() {
        "l0" => Level::Code,
        "l1" => Level::Units,
        _ => Level::Entries,
    };
    let one = |image: &str, debug: &str| {
        let counts = measure(level, Path::new(image), Path::new(debug));
        counts.map_err(|e| eprintln!("error: {image}: {e}")).ok()
    };
    let (old, new) = rayon::join(|| one(old, old_debug), || one(new, new_debug));
    for counts in [&old, &new].into_iter().flatten() {
        println!(
            "{:016x}: {} symbols, {} instructions, {} bytes of entries and strings, {} units, {} entries, {} attributes, {} rows",
            counts.digest,
            counts.symbols,
            counts.instructions,
            counts.debug_bytes,
            counts.units,
            counts.entries,
            counts.attributes,
            counts.rows
        );
    }
    if old.is_some() && new.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(level: Level, image: &Path, debug: &Path) -> Result<Counts> {
    let mut counts = Counts::default();
    let bytes = FileBytes::open(&PathBuf::from(image))?;
    let debug_bytes = FileBytes::open(&PathBuf::from(debug))?;
    let mut hash = FixedState::default().build_hasher();
    hash.write(&Sha256::digest(&bytes[..]));
    let file = object::File::parse(&bytes[..])?;
    let side = object::File::parse(&debug_bytes[..])?;
    code(&file, &side, &mut counts, &mut hash)?;
    if level >= Level::Units {
        hash.write(&Sha256::digest(&debug_bytes[..]));
        dwarf(level, &side, &mut counts)?;
    }
    counts.digest = hash.finish();
    Ok(counts)
}

/// Sorted symbols, then every instruction of the executable sections, with addresses in it masked.
fn code(
    file: &object::File<'_>,
    side: &object::File<'_>,
    counts: &mut Counts,
    hash: &mut FoldHasher<'_>,
) -> Result<()> {
    let from = if file.symbols().next().is_some() { file } else { side };
    let mut symbols = Vec::new();
    for s in from.symbols() {
        symbols.push((s.address(), s.size(), s.name()?.to_owned()));
    }
    symbols.sort_unstable();
    counts.symbols = symbols.len();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let data = section.data()?;
        let mut decoder = Decoder::with_ip(64, data, section.address(), DecoderOptions::NONE);
        let mut i = Instruction::default();
        let mut at = 0;
        let mut buffer = [0u8; 16];
        while decoder.can_decode() {
            decoder.decode_out(&mut i);
            let len = i.len();
            buffer[..len].copy_from_slice(&data[at..at + len]);
            let fields = decoder.get_constant_offsets(&i);
            if i.is_ip_rel_memory_operand() {
                buffer[fields.displacement_offset()..][..fields.displacement_size()].fill(0);
            }
            if i.flow_control() != FlowControl::Next && i.code() != Code::INVALID {
                buffer[fields.immediate_offset()..][..fields.immediate_size()].fill(0);
            }
            hash.write(&buffer[..len]);
            counts.instructions += 1;
            at += len;
        }
    }
    Ok(())
}

fn dwarf(level: Level, side: &object::File<'_>, counts: &mut Counts) -> Result<()> {
    let load = |id: gimli::SectionId| -> Result<Cow<'_, [u8]>> {
        Ok(match side.section_by_name(id.name()) {
            Some(section) => inflate(section.compressed_data()?)?,
            None => Cow::Borrowed(&[]),
        })
    };
    let sections = gimli::DwarfSections::load(load)?;
    let dwarf = sections.borrow(|s| EndianSlice::new(s, LittleEndian));
    counts.debug_bytes = dwarf.debug_info.reader().slice().len() + dwarf.debug_str.reader().slice().len();
    let mut headers = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        headers.push(header);
    }
    counts.units = headers.len();
    let one = |header: gimli::UnitHeader<Reader<'_>>| -> Result<(u64, u64, u64)> {
        let unit = dwarf.unit(header)?;
        match level {
            Level::Entries => every_entry(&unit),
            _ => top_level(&unit),
        }
    };
    let found: Result<Vec<_>> = headers.into_par_iter().map(one).collect();
    for (entries, attributes, rows) in found? {
        counts.entries += entries;
        counts.attributes += attributes;
        counts.rows += rows;
    }
    Ok(())
}

/// By the quickest library there is for the usual method.
fn inflate(data: CompressedData<'_>) -> Result<Cow<'_, [u8]>> {
    if data.format != CompressionFormat::Zlib {
        return Ok(data.decompress()?);
    }
    let mut out = vec![0; usize::try_from(data.uncompressed_size)?];
    let n = libdeflater::Decompressor::new().zlib_decompress(data.data, &mut out)?;
    out.truncate(n);
    Ok(Cow::Owned(out))
}

fn top_level(unit: &gimli::Unit<Reader<'_>>) -> Result<(u64, u64, u64)> {
    let mut tree = unit.entries_tree(None)?;
    let mut children = tree.root()?.children();
    let mut entries = 1;
    while children.next()?.is_some() {
        entries += 1;
    }
    Ok((entries, 0, 0))
}

fn every_entry(unit: &gimli::Unit<Reader<'_>>) -> Result<(u64, u64, u64)> {
    let (mut entries, mut attributes, mut rows) = (0, 0, 0);
    let mut raw = unit.entries_raw(None)?;
    while !raw.is_empty() {
        let Some(abbreviation) = raw.read_abbreviation()? else { continue };
        entries += 1;
        for spec in abbreviation.attributes() {
            std::hint::black_box(raw.read_attribute(*spec)?);
            attributes += 1;
        }
    }
    if let Some(program) = unit.line_program.clone() {
        let mut all = program.rows();
        while let Some((_, row)) = all.next_row()? {
            std::hint::black_box(row.address());
            rows += 1;
        }
    }
    Ok((entries, attributes, rows))
}
