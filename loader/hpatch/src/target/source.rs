//! What lies at an address of the target, in the words of its source: function, file and line, from the symbols and the debug information of
//! the files that are mapped there. For messages only: no decision rests on it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gimli::{EndianSlice, LittleEndian};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::Target;
use super::maps::{self, Mapping};
use super::modules;

type Slice = EndianSlice<'static, LittleEndian>;
pub type ElfFile = object::read::elf::ElfFile64<'static>;

/// Where the debug files of distributions are.
const DEBUG_ROOT: &str = "usr/lib/debug";

/// The files of one process, opened as they are asked for.
pub struct Sources<'a> {
    target: &'a Target,
    maps: Vec<Mapping>,
    loaded: Vec<modules::Module>,
    /// By the address of the ELF header.
    opened: BTreeMap<u64, Option<Module>>,
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("pid", &self.target.pid).finish_non_exhaustive()
    }
}

struct Module {
    file: ElfFile,
    bias: u64,
    /// svma, size and name of each function, ascending.
    functions: Vec<(u64, u64, String)>,
    lines: Option<addr2line::Context<Slice>>,
}

impl<'a> Sources<'a> {
    pub fn new(target: &'a Target) -> Self {
        // This command may have locked its memory, which large debug files needn't be in.
        // SAFETY: no memory is passed.
        unsafe { libc::munlockall() };
        let maps = target.maps().unwrap_or_default();
        let loaded = modules::loaded(&target.mem, &maps);
        Self { target, maps, loaded, opened: BTreeMap::new() }
    }

    /// `file.c:31`, where the debug information knows it.
    pub fn line(&mut self, addr: u64) -> Option<String> {
        let (module, svma) = self.module(addr)?;
        let location = module.lines.as_ref()?.find_location(svma).ok()??;
        let file = location.file?;
        let name = file.rsplit('/').next().unwrap_or(file);
        Some(format!("{name}:{}", location.line?))
    }

    /// The function that `addr` lies in, and how far behind its entry.
    pub fn function(&mut self, addr: u64) -> Option<(String, u64)> {
        let (module, svma) = self.module(addr)?;
        let after = module.functions.partition_point(|f| f.0 <= svma);
        let (start, size, name) = module.functions[..after].last()?;
        (svma < start + size.max(&1)).then(|| (name.clone(), svma - start))
    }

    /// `len` bytes at `addr` as they are in the file that is mapped there, when one segment of it holds them.
    pub fn in_file(&mut self, addr: u64, len: usize) -> Option<&'static [u8]> {
        use object::ObjectSegment;
        let (module, svma) = self.module(addr)?;
        let mut segments = module.file.segments();
        segments.find_map(|s| s.data_range(svma, len as u64).ok().flatten())
    }

    /// Load biases of the mapped copies of the build with this build-id.
    pub fn biases(&self, build_id: &[u8]) -> Vec<u64> {
        self.loaded.iter().filter(|m| m.image.build_id() == build_id).map(|m| m.image.bias).collect()
    }

    fn module(&mut self, addr: u64) -> Option<(&Module, u64)> {
        let m = self.loaded.iter().find(|m| m.contains(addr))?;
        let (target, maps) = (self.target, &self.maps);
        let module = self.opened.entry(m.base).or_insert_with(|| Module::open(target, m, maps)).as_ref()?;
        Some((module, addr.wrapping_sub(module.bias)))
    }
}

impl Module {
    fn open(target: &Target, m: &modules::Module, maps: &[Mapping]) -> Option<Self> {
        let (image, path) = (&m.image, m.path.as_str());
        let inside = PathBuf::from(format!("/proc/{}/root", target.pid));
        let file = file_of(target, m, maps)?;
        let debug = debug_files(&file, &inside, Path::new(path), image.build_id()).into_iter();
        let debug = debug.filter_map(|p| open_elf(&p)).find(|f| is_of(m, f));
        let mut functions: Vec<_> = [debug.as_ref(), Some(&file)].into_iter().flatten().flat_map(functions).collect();
        functions.sort();
        functions.dedup_by_key(|f| f.0);
        let lines = debug.as_ref().and_then(lines).or_else(|| lines(&file));
        Some(Self { bias: image.bias, functions, lines, file })
    }
}

/// The file of a module: by its name, or what is mapped whatever its name is now (that needs rights in the first user namespace).
pub fn file_of(target: &Target, m: &modules::Module, maps: &[Mapping]) -> Option<ElfFile> {
    let first = maps::find(maps, m.base)?;
    let named = Path::new(&format!("/proc/{}/root", target.pid)).join(m.path.trim_start_matches('/'));
    let mapped = PathBuf::from(format!("/proc/{}/map_files/{:x}-{:x}", target.pid, first.start, first.end));
    let exe = PathBuf::from(format!("/proc/{}/exe", target.pid));
    [named, mapped, exe].iter().filter_map(|p| open_elf(p)).find(|f| is_of(m, f))
}

fn is_of(m: &modules::Module, file: &ElfFile) -> bool {
    file.build_id().ok().flatten().unwrap_or_default() == m.image.build_id()
}

/// Mapped to the end of the command: one command looks at the files of one process once.
fn open_elf(path: &Path) -> Option<ElfFile> {
    let file = File::open(path).ok().filter(|f| f.metadata().is_ok_and(|m| m.is_file() && m.len() > 0))?;
    // SAFETY: files of programs that run and debug files aren't changed in place; should one be, this command ends.
    let map = unsafe { memmap2::Mmap::map(&file) }.ok()?;
    ElfFile::parse(&Box::leak(Box::new(map))[..]).ok()
}

/// Where the debug information of a file may lie, in the target's root and in ours.
fn debug_files(file: &ElfFile, inside: &Path, path: &Path, build_id: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let dir = path.parent().unwrap_or(Path::new("/"));
    for root in [inside, Path::new("/")] {
        if let Some((first, rest)) = build_id.split_first() {
            let rest: String = rest.iter().map(|b| format!("{b:02x}")).collect();
            found.push(root.join(DEBUG_ROOT).join(format!(".build-id/{first:02x}/{rest}.debug")));
        }
        if let Ok(Some((link, _))) = file.gnu_debuglink() {
            let link = Path::new(std::ffi::OsStr::from_bytes(link));
            let below = dir.strip_prefix("/").unwrap_or(dir);
            for place in [root.join(below), root.join(below).join(".debug"), root.join(DEBUG_ROOT).join(below)] {
                found.extend(link.file_name().map(|name| place.join(name)));
            }
        }
    }
    found
}

fn functions(file: &ElfFile) -> Vec<(u64, u64, String)> {
    let code = |s: &object::read::elf::ElfSymbol64<'_, '_>| s.kind() == SymbolKind::Text && s.is_definition();
    let one = |s: object::read::elf::ElfSymbol64<'_, '_>| Some((s.address(), s.size(), s.name().ok()?.to_owned()));
    file.symbols().chain(file.dynamic_symbols()).filter(code).filter_map(one).collect()
}

fn lines(file: &ElfFile) -> Option<addr2line::Context<Slice>> {
    file.section_by_name(".debug_line")?;
    let section = |id: gimli::SectionId| -> Result<Slice, gimli::Error> {
        let data = file.section_by_name(id.name()).and_then(|s| s.uncompressed_data().ok()).unwrap_or_default();
        let bytes: &'static [u8] = match data {
            std::borrow::Cow::Borrowed(bytes) => bytes,
            std::borrow::Cow::Owned(bytes) => bytes.leak(),
        };
        Ok(Slice::new(bytes, LittleEndian))
    };
    addr2line::Context::from_dwarf(gimli::Dwarf::load(section).ok()?).ok()
}
