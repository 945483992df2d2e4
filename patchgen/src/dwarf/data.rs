//! The bytes of the debug sections, decompressed once, of all files that hold DWARF of one image.

use crate::image::elf::{Elf, SectionHeader};
use crate::image::{FileBytes, Image, ImageError};
use gimli::{DwarfPackageSections, DwarfSections, Section as _, SectionId};
use libdeflater::Decompressor;
use memmap2::{Advice, MmapMut};
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{CompressionHeader as _, SectionHeader as _};
use object::read::{CompressedData, CompressionFormat};
use patchfmt::codes;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Content of one section: a part of the mapped file, or decompressed.
#[derive(Debug)]
pub enum SectionBytes {
    Mapped(FileBytes, Range<usize>),
    Owned(Vec<u8>),
    /// Pages of its own: hundreds of megabytes would otherwise be faulted in 4 KiB at a time.
    Inflated(MmapMut),
}

impl std::ops::Deref for SectionBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            SectionBytes::Mapped(file, range) => file.get(range.clone()).unwrap_or_default(),
            SectionBytes::Owned(v) => v,
            SectionBytes::Inflated(pages) => pages,
        }
    }
}

/// A section as large as this is set aside, and units that were read are given back.
const LARGE: usize = 64 << 20;

impl SectionBytes {
    fn inflated(pages: MmapMut) -> SectionBytes {
        let aside = if pages.len() < LARGE { None } else { FileBytes::set_aside(&pages).ok() };
        match aside {
            Some(file) => SectionBytes::Mapped(file, 0..pages.len()),
            // Small, or there is no room for it.
            None => SectionBytes::Inflated(pages),
        }
    }

    /// Takes a part of a large section out of memory until it is read again.
    pub(super) fn give_back(&self, part: Range<usize>) {
        if let SectionBytes::Mapped(file, range) = self
            && range.len() >= LARGE
        {
            file.give_back(range.start + part.start..range.start + part.end);
        }
    }
}

/// All debug sections of one image. Owned apart from [`super::DebugInfo`], which borrows from it.
#[derive(Debug)]
pub struct DebugData {
    pub(super) path: PathBuf,
    pub(super) main: DwarfSections<SectionBytes>,
    /// The file that dwz moved common entries to.
    pub(super) sup: Option<DwarfSections<SectionBytes>>,
    /// `.dwo` files.
    pub(super) dwos: Vec<DwarfSections<SectionBytes>>,
    pub(super) package: Option<DwarfPackageSections<SectionBytes>>,
    /// What could not be found.
    pub(super) missing: Vec<ImageError>,
}

/// Sections that nothing here reads: they stay compressed.
fn unused(id: SectionId) -> bool {
    use SectionId as S;
    matches!(id, S::DebugMacinfo | S::DebugMacro | S::DebugAranges | S::DebugNames | S::DebugLoc | S::DebugLocLists)
}

impl DebugData {
    /// Reads the debug sections of `image`. Fails when there are none, or where they are damaged; what is merely missing is noted.
    pub fn load(image: &Image, debug_dirs: &[PathBuf]) -> Result<DebugData, ImageError> {
        let (path, file) = image.debug_file();
        let file = &file.apart();
        let elf = Elf::parse(path, file)?;
        let main = sections(&elf, file, false)?;
        if main.borrow(super::borrow).debug_info.reader().is_empty() {
            return Err(elf.blame.err(codes::NO_DEBUG_INFO, "no debug information"));
        }
        let mut data = DebugData {
            path: path.to_path_buf(),
            main,
            sup: None,
            dwos: Vec::new(),
            package: None,
            missing: Vec::new(),
        };
        if let Some((name, id)) = altlink(&elf) {
            match supplementary(path, &name, &id, debug_dirs) {
                Some((sup_path, sup_file)) => {
                    let sup = Elf::parse_any(&sup_path, &sup_file)?;
                    data.sup = Some(sections(&sup, &sup_file, false)?);
                }
                None => {
                    let what = format_args!("{} is not there, or of another build", name.display());
                    return Err(elf.blame.err(codes::DWZ_MISSING, what));
                }
            }
        }
        data.load_split(image)?;
        data.give_back();
        Ok(data)
    }

    /// Takes the units out of memory until they are read again. The heads of all of them are on most pages.
    pub(super) fn give_back(&self) {
        self.main.debug_info.borrow(|section| section.give_back(0..section.len()));
    }

    /// Finds what skeleton units refer to: `IMAGE.dwp` beside the image or its debug file, else each unit's `.dwo`.
    fn load_split(&mut self, image: &Image) -> Result<(), ImageError> {
        let wanted = super::skeletons(&self.main).map_err(|e| super::malformed(&self.path, e))?;
        if wanted.is_empty() {
            return Ok(());
        }
        for beside in [&image.path, &self.path] {
            let mut name = beside.clone().into_os_string();
            name.push(".dwp");
            let dwp_path = PathBuf::from(name);
            let Ok(file) = FileBytes::open(&dwp_path) else { continue };
            let elf = Elf::parse_any(&dwp_path, &file)?;
            let load = |id: SectionId| package_section(&elf, &file, id);
            self.package = Some(DwarfPackageSections::load(load).map_err(|e: Failure| e.0)?);
            return Ok(());
        }
        for path in wanted {
            let beside = path.file_name().and_then(|n| Some(image.path.parent()?.join(n)));
            let found =
                [Some(path.clone()), beside].into_iter().flatten().find_map(|p| Some((FileBytes::open(&p).ok()?, p)));
            match found {
                Some((file, found)) => {
                    let elf = Elf::parse_any(&found, &file)?;
                    self.dwos.push(sections(&elf, &file, true)?);
                }
                None => self.missing.push(ImageError {
                    code: codes::SPLIT_MISSING,
                    path: self.path.clone(),
                    what: format!("split debug object {} is not there", path.display()),
                }),
            }
        }
        Ok(())
    }
}

fn sections(elf: &Elf<'_>, file: &FileBytes, dwo: bool) -> Result<DwarfSections<SectionBytes>, ImageError> {
    DwarfSections::load(|id| {
        let name = if dwo { id.dwo_name() } else { Some(id.name()) };
        match name {
            Some(name) if !unused(id) => section(elf, file, name),
            _ => Ok(SectionBytes::Owned(Vec::new())),
        }
    })
}

/// gimli wants an error that it can make from its own.
struct Failure(ImageError);

impl From<gimli::Error> for Failure {
    fn from(e: gimli::Error) -> Self {
        Failure(super::malformed(Path::new(""), e))
    }
}

fn package_section(elf: &Elf<'_>, file: &FileBytes, id: SectionId) -> Result<SectionBytes, Failure> {
    let index = matches!(id, SectionId::DebugCuIndex | SectionId::DebugTuIndex);
    let name = if index { Some(id.name()) } else { id.dwo_name() };
    name.map_or(Ok(SectionBytes::Owned(Vec::new())), |n| section(elf, file, n)).map_err(Failure)
}

/// Content of the section `name`, or of its old GNU form (`.zdebug_*`), decompressed; empty where there is none.
fn section(elf: &Elf<'_>, file: &FileBytes, name: &str) -> Result<SectionBytes, ImageError> {
    if let Some(s) = elf.section_by_name(name) {
        return match s.sh_type(LE) {
            elf::SHT_NOBITS => Ok(SectionBytes::Owned(Vec::new())),
            _ => content(elf, file, s, name),
        };
    }
    let old = format!(".z{}", name.trim_start_matches('.'));
    match elf.section_by_name(&old) {
        Some(s) => {
            let raw = elf.section_data(s)?;
            let bad = || elf.blame.err(codes::COMPRESSED_SECTION, format_args!("section {old} is damaged"));
            let rest = raw.strip_prefix(b"ZLIB").ok_or_else(bad)?;
            let (size, data) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
            inflate(elf, &old, CompressionFormat::Zlib, data, u64::from_be_bytes(*size))
        }
        None => Ok(SectionBytes::Owned(Vec::new())),
    }
}

fn content(elf: &Elf<'_>, file: &FileBytes, s: &SectionHeader, name: &str) -> Result<SectionBytes, ImageError> {
    let bad = elf.blame.with(codes::COMPRESSED_SECTION, "compressed section");
    let Some((header, offset, size)) = s.compression(LE, elf.data).map_err(&bad)? else {
        elf.section_data(s)?;
        let from = usize::try_from(s.sh_offset(LE)).unwrap_or(usize::MAX);
        let to = from.saturating_add(usize::try_from(s.sh_size(LE)).unwrap_or(usize::MAX));
        return Ok(SectionBytes::Mapped(file.clone(), from..to));
    };
    let format = match header.ch_type(LE) {
        elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
        elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
        other => {
            let what = format_args!("section {name} is compressed by unknown method {}", other.0);
            return Err(elf.blame.err(codes::COMPRESSED_SECTION, what));
        }
    };
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let to = from.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
    let data = elf.data.get(from..to).ok_or_else(|| {
        elf.blame.err(codes::COMPRESSED_SECTION, format_args!("section {name} lies outside the file"))
    })?;
    inflate(elf, name, format, data, header.ch_size(LE))
}

fn inflate(
    elf: &Elf<'_>,
    name: &str,
    format: CompressionFormat,
    data: &[u8],
    size: u64,
) -> Result<SectionBytes, ImageError> {
    // Deflate can't do better than 1032:1, and real debug sections stay far below that by either method.
    if size > (data.len() as u64).saturating_mul(1100).saturating_add(4096) {
        let what = format_args!("section {name} claims to hold {size} bytes, which its compressed size can't");
        return Err(elf.blame.err(codes::COMPRESSED_SECTION, what));
    }
    let bad =
        |what: &dyn std::fmt::Display| elf.blame.err(codes::COMPRESSED_SECTION, format_args!("section {name}: {what}"));
    if format == CompressionFormat::Zlib && size > 0 {
        let mut pages =
            usize::try_from(size).map_err(|e| bad(&e)).and_then(|size| MmapMut::map_anon(size).map_err(|e| bad(&e)))?;
        // Only a hint, which not every kernel takes.
        let _ = pages.advise(Advice::HugePage);
        return match Decompressor::new().zlib_decompress(data, &mut pages) {
            Ok(n) if n as u64 == size => Ok(SectionBytes::inflated(pages)),
            Ok(n) => Err(bad(&format_args!("holds {n} bytes instead of {size}"))),
            Err(e) => Err(bad(&e)),
        };
    }
    let data = CompressedData { format, data, uncompressed_size: size };
    match data.decompress() {
        Ok(v) => Ok(SectionBytes::Owned(v.into_owned())),
        Err(e) => Err(bad(&e)),
    }
}

/// File name and build-id in `.gnu_debugaltlink`.
fn altlink(elf: &Elf<'_>) -> Option<(PathBuf, Vec<u8>)> {
    use std::os::unix::ffi::OsStrExt as _;
    let data = elf.section_data(elf.section_by_name(".gnu_debugaltlink")?).ok()?;
    let end = data.iter().position(|&b| b == 0)?;
    Some((std::ffi::OsStr::from_bytes(&data[..end]).into(), data[end + 1..].to_vec()))
}

/// The supplementary file: as named (relative to the file that names it), or by build-id below the debug directories.
fn supplementary(from: &Path, name: &Path, id: &[u8], debug_dirs: &[PathBuf]) -> Option<(PathBuf, FileBytes)> {
    let full = from.canonicalize().unwrap_or_else(|_| from.to_path_buf());
    let mut places = vec![full.parent().unwrap_or(Path::new("/")).join(name)];
    let system = PathBuf::from("/usr/lib/debug");
    for root in debug_dirs.iter().chain([&system]) {
        if let Some(by_id) = crate::image::build_id_path(id) {
            places.push(root.join(".build-id").join(&by_id));
            places.push(root.join(by_id));
        }
        places.extend(name.file_name().map(|n| root.join(".dwz").join(n)));
    }
    places.into_iter().find_map(|p| {
        let file = FileBytes::open(&p).ok()?;
        let fits = Elf::parse_any(&p, &file).is_ok_and(|e| e.build_id() == id);
        fits.then_some((p, file))
    })
}
