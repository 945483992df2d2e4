//! The executable memory of a process, to compare before and after.

use crate::{Result, check};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Every executable mapping with its bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    regions: Vec<Region>,
}

#[derive(Debug, PartialEq, Eq)]
struct Region {
    start: u64,
    end: u64,
    name: String,
    bytes: Vec<u8>,
}

impl Snapshot {
    pub fn take(pid: u32) -> Result<Snapshot> {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        let mut regions = Vec::new();
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
            let name = words.nth(3).unwrap_or("").to_owned();
            // The kernel's own pages change under everybody's feet and can't be read from outside.
            if !rights.contains('x') || name == "[vsyscall]" || name == "[vdso]" {
                continue;
            }
            let Some((start, end)) = range.split_once('-') else { continue };
            let (Ok(start), Ok(end)) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)) else { continue };
            let mut bytes = vec![0; (end - start) as usize];
            memory.read_exact_at(&mut bytes, start)?;
            regions.push(Region { start, end, name, bytes });
        }
        check!(!regions.is_empty(), "process {pid} has no executable mapping");
        Ok(Snapshot { regions })
    }

    /// What became of the memory of this snapshot: the first byte that differs, in words; `None` when it is all as it was. New
    /// mappings don't count: a reverted patch stays mapped unless it is told otherwise.
    pub fn change(&self, later: &Snapshot) -> Option<String> {
        for region in &self.regions {
            let Some(other) = later.regions.iter().find(|r| r.start == region.start && r.end == region.end) else {
                return Some(format!("mapping {:#x}-{:#x} {} is gone", region.start, region.end, region.name));
            };
            if let Some(at) = region.bytes.iter().zip(&other.bytes).position(|(a, b)| a != b) {
                let address = region.start + at as u64;
                return Some(format!("byte at {address:#x} in {} differs", region.name));
            }
        }
        None
    }

    /// Any difference, also a mapping that was not there before.
    pub fn difference(&self, later: &Snapshot) -> Option<String> {
        let added = || later.regions.iter().find(|r| !self.regions.iter().any(|mine| mine.start == r.start));
        self.change(later)
            .or_else(|| added().map(|r| format!("mapping {:#x}-{:#x} {} is left over", r.start, r.end, r.name)))
    }
}
