//! The ELF images that are loaded in a process.

use hpatch_core::elf::PF_X;
use hpatch_core::image::Image;

use super::maps::{self, Mapping};
use super::mem::Mem;

/// One loaded image.
#[derive(Debug)]
pub struct Module {
    pub image: Image,
    /// avma of its ELF header.
    pub base: u64,
    /// avma behind its last byte, in whole pages.
    pub end: u64,
    pub path: String,
}

impl Module {
    pub fn contains(&self, addr: u64) -> bool {
        (self.base..self.end).contains(&addr)
    }

    /// Its path without folders.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is the C library or the dynamic linker, by the name of its file.
    pub fn is_libc(&self) -> bool {
        let name = self.file_name();
        ["libc.so", "ld-", "ld."].iter().any(|start| name.starts_with(start)) || name.contains("musl")
    }
}

/// The images whose code is mapped where their headers say, ascending. A small file's segments may all begin with its first page (lld and
/// mold don't pad), so what lies inside of an image isn't the beginning of another one.
pub fn loaded(mem: &Mem, maps: &[Mapping]) -> Vec<Module> {
    let mut found: Vec<Module> = Vec::new();
    for m in maps.iter().filter(|m| m.offset == 0 && m.read && !m.path.is_empty()) {
        if found.last().is_some_and(|last| m.start < last.end) {
            continue;
        }
        let Some(image) = Image::at(mem, m.start) else { continue };
        let mut code = image.segments().iter().filter(|s| s.flags & PF_X != 0).peekable();
        let is_mapped = |svma: u64| maps::find(maps, image.bias.wrapping_add(svma)).is_some_and(|m| m.exec);
        if code.peek().is_some() && code.all(|s| is_mapped(s.svma)) {
            let path = m.file_path().to_owned();
            found.push(Module { image, base: m.start, end: image.extent().1, path });
        }
    }
    found
}
