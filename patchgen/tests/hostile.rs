//! Damaged files: an error or some answer, never a panic, never an endless loop.

mod support;

use patchgen::addr::{Svma, SvmaRange};
use patchgen::dwarf::{DebugData, DebugInfo};
use patchgen::image::{FileBytes, Image};
use patchgen::types;
use std::path::Path;
use support::{Bench, PROGRAM};

/// xorshift64*, so that a failure comes back.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Everything that the later phases ask.
fn exercise(bytes: Vec<u8>) -> bool {
    let Ok(image) = Image::from_bytes(Path::new("damaged"), FileBytes::from(bytes), None, &[]) else { return false };
    for s in &image.symbols {
        let _ = (image.bytes(s.svma, s.size), image.section_at(s.svma), image.fde_at(s.svma), image.c_str(s.svma));
        let _ = (image.symbols_at(s.svma).len(), image.symbols_in(SvmaRange::new(s.svma, s.size)).len());
    }
    for p in &image.plt {
        let _ = (image.plt_at(p.range.start), image.dynamic_at(p.slot));
    }
    for a in [0, 1, u64::MAX, u64::MAX - 7, 1 << 63] {
        let _ = (image.bytes(Svma(a), u64::MAX), image.read_u64(Svma(a)), image.plt_at(Svma(a)), image.is_bss(Svma(a)));
        let _ = (image.dynamic_in(SvmaRange::new(Svma(a), 16)).count(), image.symbols_at(Svma(a)).len());
    }
    let Ok(data) = DebugData::load(&image, &[]) else { return false };
    let Ok(info) = DebugInfo::open(&image, &data) else { return false };
    for s in image.symbols.iter().take(200) {
        let _ = (info.unit_of(s.svma), info.line_of(s.svma), info.lines_in(SvmaRange::new(s.svma, s.size)));
    }
    let (variables, diff) = (info.variables(), types::changes(&info, &info));
    if let Ok(diff) = &diff {
        assert_eq!((diff.layouts.len(), diff.variables.len()), (0, 0), "a file differs from itself");
    }
    variables.is_ok() && diff.is_ok()
}

fn subject() -> (Vec<u8>, Vec<(usize, usize)>) {
    use object::{Object as _, ObjectSection as _};
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    bench.run("gcc", "-g -O1 t.c -fPIE -pie -o whole");
    let bytes = std::fs::read(bench.path("whole")).expect("image");
    let elf: object::read::elf::ElfFile64<'_> = object::read::elf::ElfFile64::parse(&*bytes).expect("image");
    // Where damage does most: headers, tables, debug entries; all but code.
    let mut targets = vec![(0, 64), (64, 13 * 56)];
    let headers = elf.elf_header().e_shoff.get(object::Endianness::Little) as usize;
    targets.push((headers, bytes.len() - headers));
    for s in elf.sections() {
        let name = s.name().expect("name");
        let code = name == ".text" || name == ".comment" || name == ".strtab";
        if let (false, Some((at, size))) = (code, s.file_range()) {
            targets.push((at as usize, size as usize));
        }
    }
    targets.retain(|t| t.1 > 0);
    (bytes, targets)
}

#[test]
fn flipped_bytes() {
    let (bytes, targets) = subject();
    assert!(exercise(bytes.clone()), "the undamaged file is read to its end");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut refused = 0;
    const ROUNDS: usize = 1500;
    for _ in 0..ROUNDS {
        let mut damaged = bytes.clone();
        for _ in 0..1 + random.below(4) {
            let (start, size) = targets[random.below(targets.len())];
            let at = start + random.below(size);
            damaged[at] = match random.below(4) {
                0 => 0xff,
                1 => 0,
                2 => damaged[at] ^ (1 << random.below(8)),
                _ => random.next() as u8,
            };
        }
        refused += usize::from(!exercise(damaged));
    }
    assert!(refused > ROUNDS / 20, "damage is noticed: {refused}");
}

#[test]
fn wide_values() {
    let (bytes, targets) = subject();
    let mut random = Random(77);
    for _ in 0..800 {
        let mut damaged = bytes.clone();
        let (start, size) = targets[random.below(targets.len())];
        let at = (start + random.below(size)) & !7;
        let value: u64 = match random.below(5) {
            0 => u64::MAX,
            1 => 1 << 63,
            2 => bytes.len() as u64 - 1,
            3 => random.next() >> random.below(64),
            _ => 0,
        };
        if let Some(place) = damaged.get_mut(at..at + 8) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        exercise(damaged);
    }
}

#[test]
fn cut_off() {
    let (bytes, _) = subject();
    let mut random = Random(4);
    for _ in 0..150 {
        let mut damaged = bytes.clone();
        damaged.truncate(random.below(bytes.len()));
        assert!(!exercise(damaged), "a file whose section headers are cut off is refused");
    }
    for n in 0..80 {
        assert!(!exercise(bytes[..n].to_vec()));
    }
}
