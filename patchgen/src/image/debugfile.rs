//! Where the symbols and DWARF of a stripped image are: by build-id, by `.gnu_debuglink`, next to the file.
//!
//! Sources: GDB manual, "Separate Debug Files"; the order is build-id first, then debuglink, as GDB has it.

use super::elf::Elf;
use super::error::{Blame, ImageError, codes};
use super::map::FileBytes;
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::SectionHeader as _;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Where DWARF and `.symtab` came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DebugSource {
    /// The image itself has `.debug_info`.
    Embedded,
    Separate(PathBuf),
    /// Neither; the places that were looked at, with what was wrong there.
    Missing {
        tried: Vec<String>,
    },
}

pub(super) struct Found {
    pub source: DebugSource,
    pub file: Option<FileBytes>,
}

pub(super) fn has_dwarf(elf: &Elf<'_>) -> bool {
    [".debug_info", ".zdebug_info"]
        .iter()
        .any(|n| elf.section_by_name(n).is_some_and(|s| s.sh_type(LE) != elf::SHT_NOBITS))
}

/// Finds the debug file of `image`. A file that was named by the user must fit; others are passed over when they don't.
pub(super) fn find(image: &Elf<'_>, named: Option<&Path>, dirs: &[PathBuf]) -> Result<Found, ImageError> {
    if let Some(path) = named {
        let file = FileBytes::open(path)?;
        fits(image, path, &file)?;
        return Ok(Found { source: DebugSource::Separate(path.to_path_buf()), file: Some(file) });
    }
    if has_dwarf(image) {
        return Ok(Found { source: DebugSource::Embedded, file: None });
    }
    let mut tried = Vec::new();
    for Candidate { path, crc } in candidates(image, dirs) {
        let file = match FileBytes::open(&path) {
            Ok(f) => f,
            Err(_) => {
                tried.push(format!("{}: no such file", path.display()));
                continue;
            }
        };
        let wrong_sum = crc.is_some_and(|crc| crc32fast::hash(&file) != crc);
        if wrong_sum {
            tried.push(format!("{}: checksum differs from .gnu_debuglink", path.display()));
            continue;
        }
        match fits(image, &path, &file) {
            Ok(()) => return Ok(Found { source: DebugSource::Separate(path), file: Some(file) }),
            Err(e) => tried.push(format!("{}: {}", path.display(), e.what)),
        }
    }
    Ok(Found { source: DebugSource::Missing { tried }, file: None })
}

struct Candidate {
    path: PathBuf,
    crc: Option<u32>,
}

fn candidates(image: &Elf<'_>, dirs: &[PathBuf]) -> Vec<Candidate> {
    let system = PathBuf::from("/usr/lib/debug");
    let roots: Vec<&PathBuf> = dirs.iter().chain([&system]).collect();
    let mut out: Vec<Candidate> = Vec::new();
    if let Some(name) = build_id_path(&image.build_id()) {
        for root in &roots {
            out.push(Candidate { path: root.join(".build-id").join(&name), crc: None });
            if *root != &system {
                out.push(Candidate { path: root.join(&name), crc: None });
            }
        }
    }
    let path = image.blame.0;
    let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let dir = full.parent().unwrap_or(Path::new("/"));
    if let Some((name, crc)) = debuglink(image) {
        let crc = Some(crc);
        out.push(Candidate { path: dir.join(name), crc });
        out.push(Candidate { path: dir.join(".debug").join(name), crc });
        for root in &roots {
            let below = dir.strip_prefix("/").unwrap_or(dir);
            out.push(Candidate { path: root.join(below).join(name), crc });
            if *root != &system {
                out.push(Candidate { path: root.join(name), crc });
            }
        }
    }
    if !image.build_id().is_empty() {
        let mut beside = full.clone().into_os_string();
        beside.push(".debug");
        out.push(Candidate { path: beside.into(), crc: None });
    }
    // A debuglink that names the file itself would find the stripped file again.
    out.retain(|c| c.path != full);
    out
}

/// `xx/yyyy.debug`.
pub(crate) fn build_id_path(id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = id.split_first()?;
    if rest.is_empty() {
        return None;
    }
    let mut name = format!("{first:02x}/");
    for b in rest {
        let _ = write!(name, "{b:02x}");
    }
    name.push_str(".debug");
    Some(name.into())
}

/// Name and CRC-32 of `.gnu_debuglink`. A name with a directory in it is not followed.
fn debuglink<'a>(image: &Elf<'a>) -> Option<(&'a OsStr, u32)> {
    let data = image.section_data(image.section_by_name(".gnu_debuglink")?).ok()?;
    let end = data.iter().position(|&b| b == 0)?;
    let at = (end + 1).next_multiple_of(4);
    let crc = <[u8; 4]>::try_from(data.get(at..at + 4)?).ok()?;
    let name = &data[..end];
    if name.is_empty() || name == b".." || name.contains(&b'/') {
        return None;
    }
    Some((OsStr::from_bytes(name), u32::from_le_bytes(crc)))
}

/// A debug file belongs to an image when their build-ids agree (both may lack one) and each loaded section of the image that the
/// debug file also has lies at the same place.
fn fits(image: &Elf<'_>, path: &Path, file: &FileBytes) -> Result<(), ImageError> {
    let debug = Elf::parse(path, file)?;
    let blame = Blame(path);
    let (want, got) = (image.build_id(), debug.build_id());
    if want != got {
        return Err(blame.err(codes::DEBUG_MISMATCH, "its build-id differs from the image's"));
    }
    for s in image.sections.iter().filter(|s| s.sh_flags(LE).contains(elf::SHF_ALLOC)) {
        let name = image.section_name(s)?;
        let Some(other) = debug.section_by_name(name) else { continue };
        if other.sh_flags(LE).contains(elf::SHF_ALLOC)
            && (other.sh_addr(LE), other.sh_size(LE)) != (s.sh_addr(LE), s.sh_size(LE))
        {
            // Names need not be unique; only a section that is nowhere at this place is a contradiction.
            let there = debug.sections.iter().any(|d| d.sh_addr(LE) == s.sh_addr(LE) && d.sh_size(LE) == s.sh_size(LE));
            if !there {
                return Err(
                    blame.err(codes::DEBUG_MISMATCH, format_args!("section {name} lies elsewhere than in the image"))
                );
            }
        }
    }
    Ok(())
}
