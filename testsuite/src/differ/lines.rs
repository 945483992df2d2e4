//! Lines of the source that functions consist of, from `.debug_line` alone.

use crate::{Failure, Result};
use gimli::{DebugLine, DebugLineOffset, EndianSlice, LittleEndian};
use object::{Object, ObjectSection};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// For each of the ranges of addresses, by its start, the lines that have code in it.
pub fn read(debug: &Path, wanted: &[Range<u64>]) -> Result<BTreeMap<u64, BTreeSet<u64>>> {
    let failure = |error: String| Failure(format!("{}: {error}", debug.display()));
    let file = std::fs::read(debug)?;
    let elf = object::File::parse(file.as_slice()).map_err(|e| failure(e.to_string()))?;
    let section = elf.section_by_name(".debug_line").ok_or_else(|| failure("no .debug_line".to_owned()))?;
    let bytes = section.uncompressed_data().map_err(|e| failure(e.to_string()))?;
    let mut ranges = wanted.to_vec();
    ranges.sort_by_key(|range| range.start);
    let mut found: BTreeMap<u64, BTreeSet<u64>> = ranges.iter().map(|range| (range.start, BTreeSet::new())).collect();
    let all = DebugLine::from(EndianSlice::new(&bytes, LittleEndian));
    // The programs lie one behind the other: each begins with its length (DWARF 5, 6.2.4).
    let mut at = 0;
    while at < bytes.len() {
        let program = all.program(DebugLineOffset(at), 8, None, None).map_err(|e| failure(e.to_string()))?;
        at += program.header().unit_length() + 4;
        let mut rows = program.rows();
        // A row holds up to the next one.
        let mut last: Option<(u64, u64)> = None;
        while let Some((_, row)) = rows.next_row().map_err(|e| failure(e.to_string()))? {
            if let Some((from, line)) = last {
                let mut n = ranges.partition_point(|range| range.end <= from);
                while let Some(range) = ranges.get(n).filter(|range| range.start < row.address()) {
                    found.entry(range.start).or_default().insert(line);
                    n += 1;
                }
            }
            last = (!row.end_sequence()).then(|| (row.address(), row.line().map_or(0, u64::from)));
        }
    }
    Ok(found)
}
