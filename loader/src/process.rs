//! What the loader knows about the process that it lives in: memory, mappings, auxiliary vector, environment.

use core::cell::UnsafeCell;
use core::ffi::CStr;

use hpatch_core::elf::{PT_DYNAMIC, Phdr};
use hpatch_core::image::{Image, Memory};
use hpatch_core::maps::{self, Mapping};
use hpatch_core::symbols::{Found, Scope};
use zerocopy::{FromZeros, IntoBytes};

use crate::mem::Pages;
use crate::sys::{self, Fd, Open};

/// Longest path in the environment that is taken over, with its NUL.
const PATH: usize = 4096;

/// What the constructor noted. Programs may overwrite their environment later.
#[derive(Debug)]
pub struct Facts {
    store: [u8; PATH],
    trust: [u8; PATH],
    /// The signal that the operator has set aside for the loader, 0 for none.
    pub signal: u32,
    /// avma of the executable's program headers, 0 for unknown.
    pub phdr: u64,
    pub phnum: u64,
}

struct Cell(UnsafeCell<Facts>);
// SAFETY: used by the constructor and the control thread, one at a time.
unsafe impl Sync for Cell {}
static FACTS: Cell = Cell(UnsafeCell::new(Facts { store: [0; PATH], trust: [0; PATH], signal: 0, phdr: 0, phnum: 0 }));

/// Runs `f` on the facts. The borrow must not be nested.
pub fn facts<R>(f: impl FnOnce(&mut Facts) -> R) -> R {
    // SAFETY: one thread at a time, see `Cell`; no caller nests.
    f(unsafe { &mut *FACTS.0.get() })
}

fn path(buf: &[u8; PATH]) -> Option<&CStr> {
    CStr::from_bytes_until_nul(buf).ok().filter(|c| !c.is_empty())
}

impl Facts {
    /// Takes over `NAME=VALUE` when it is one of ours; one that is too long counts as an empty value.
    pub fn note_variable(&mut self, variable: &[u8]) {
        if let Some(value) = variable.strip_prefix(b"HPATCH_SIGNAL=") {
            let digits = core::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            self.signal = digits.unwrap_or(0);
        }
        for (prefix, buf) in [(&b"HPATCH_STORE="[..], &mut self.store), (b"HPATCH_TRUST=", &mut self.trust)] {
            if let Some(value) = variable.strip_prefix(prefix)
                && value.len() < PATH
            {
                buf[..value.len()].copy_from_slice(value);
                buf[value.len()] = 0;
            }
        }
    }

    pub fn forget_variables(&mut self) {
        self.store[0] = 0;
        self.trust[0] = 0;
        self.signal = 0;
    }

    pub fn store(&self) -> Option<&CStr> {
        path(&self.store)
    }

    pub fn trust(&self) -> Option<&CStr> {
        path(&self.trust)
    }
}

/// This process's memory, read by the kernel, so that a bad address is an error and not a fault.
#[derive(Debug)]
pub struct OwnMemory {
    /// The thread itself: a process whose main thread has ended can't be named by its pid.
    tid: u32,
    /// `/proc/thread-self/mem` where `process_vm_readv(2)` isn't permitted.
    file: Option<Fd>,
}

impl OwnMemory {
    pub fn open() -> Option<OwnMemory> {
        let tid = sys::gettid();
        let mut probe = [0u8; 1];
        let known = [7u8; 1];
        let file = match sys::read_memory(tid, known.as_ptr() as u64, &mut probe) {
            Ok(1) => None,
            _ => Some(sys::open(c"/proc/thread-self/mem", Open::Read).ok()?),
        };
        Some(OwnMemory { tid, file })
    }
}

impl Memory for OwnMemory {
    fn read(&self, addr: u64, buf: &mut [u8]) -> bool {
        let n = match &self.file {
            None => sys::read_memory(self.tid, addr, buf),
            Some(f) => sys::pread(f, buf, addr),
        };
        n == Ok(buf.len())
    }
}

/// Memory that the dynamic linker itself relies upon, read without the kernel's help.
#[derive(Debug)]
pub struct Direct;

impl Memory for Direct {
    fn read(&self, addr: u64, buf: &mut [u8]) -> bool {
        if addr == 0 {
            return false;
        }
        // SAFETY: used only for the list of modules and their dynamic symbol tables, which are mapped as long as they are listed.
        unsafe { core::ptr::copy_nonoverlapping(addr as *const u8, buf.as_mut_ptr(), buf.len()) };
        true
    }
}

/// The modules of the main namespace, when the list is at rest.
pub fn main_scope() -> Option<Scope> {
    let (bias, dynamic) = by_program_headers(&Direct)?;
    Scope::of_module(&Direct, bias, dynamic, bias)
}

/// The text of `/proc/thread-self/maps`.
#[derive(Debug)]
pub struct Maps {
    pages: Pages,
    len: usize,
}

impl Maps {
    pub fn read() -> sys::Result<Maps> {
        let mut size = 64 * 1024;
        loop {
            let mut pages = Pages::new(size)?;
            let file = sys::open(c"/proc/thread-self/maps", Open::Read)?;
            let len = sys::read_full(&file, pages.bytes_mut())?;
            if (len as u64) < pages.len() {
                return Ok(Maps { pages, len });
            }
            size *= 4;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Mapping<'_>> + Clone {
        maps::parse(&self.pages.bytes()[..self.len])
    }

    /// Every ELF image that is loaded, with the name of its file.
    pub fn images<'a>(&'a self, mem: &'a OwnMemory) -> impl Iterator<Item = (Image, Mapping<'a>)> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let found = self.image_from(mem, from)?;
            from = found.1.end;
            Some(found)
        })
    }

    /// The loaded image that holds avma `inside`. A small file's segments may all begin with its first page (lld and mold don't pad): then several
    /// mappings look like its beginning.
    pub fn holding(&self, mem: &OwnMemory, inside: u64) -> Option<Image> {
        let at = self.iter().find(|m| (m.start..m.end).contains(&inside))?;
        let is_head = |m: &Mapping<'_>| m.offset == 0 && m.inode == at.inode && m.start <= inside && m.readable();
        let images = self.iter().filter(is_head).filter_map(|m| Image::at(mem, m.start));
        let holds = |i: &Image| i.is_loaded(self.iter()) && (i.extent().0..i.extent().1).contains(&inside);
        images.filter(holds).last()
    }

    /// The first one at or behind avma `from`. Not part of its callers: there are many, and it is large.
    #[inline(never)]
    pub fn image_from<'a>(&'a self, mem: &'a OwnMemory, from: u64) -> Option<(Image, Mapping<'a>)> {
        let mut headers = self.iter().filter(|m| m.start >= from && m.offset == 0 && m.inode != 0 && m.readable());
        headers.find_map(|m| {
            let image = Image::at(mem, m.start)?;
            image.is_loaded(self.iter()).then_some((image, m))
        })
    }
}

/// What start-up code calls, see [`crate::hook`].
const HOOK: &[u8] = b"__gmon_start__";

/// The symbols of the process, as seen from one of its modules.
#[derive(Debug)]
pub struct Symbols<'m> {
    mem: &'m OwnMemory,
    scope: Option<Scope>,
}

impl<'m> Symbols<'m> {
    /// `bias` is the module's load bias.
    pub fn seen_from(mem: &'m OwnMemory, bias: u64) -> Symbols<'m> {
        let exe = executable(mem);
        let scope = exe.and_then(|(exe_bias, dynamic)| {
            // The list may be changing just now, when another thread is in dlopen.
            (0..100).find_map(|n| {
                if n != 0 {
                    sys::sleep_ms(1);
                }
                Scope::of_module(mem, exe_bias, dynamic, bias)
            })
        });
        Symbols { mem, scope }
    }

    /// Whether the module at `avma` was brought in last. A preloaded library is followed by those that the program itself needs, at least
    /// by the dynamic linker; one that dlopen has just loaded by none.
    pub fn came_last(&self, avma: u64) -> bool {
        let image = self.scope.and_then(|s| s.last(self.mem)).and_then(|bias| Image::at(self.mem, bias));
        image.is_some_and(|i| (i.extent().0..i.extent().1).contains(&avma))
    }

    /// A module whose constructors may have run before the loader looked at the process, by its load bias. The C library's have, and call
    /// nobody: they count only when `counts` says so of its bias. 0 where nothing is known.
    pub fn unannounced(&self, hook: u64, counts: impl Fn(u64) -> bool) -> Option<u64> {
        let Some(scope) = self.scope else { return Some(0) };
        // Somebody else's stands in for ours: then nobody calls us.
        let ours = scope.find(self.mem, HOOK, b"") == Some(Found::Address(hook));
        let name = if ours { HOOK } else { b"" };
        scope.unannounced(self.mem, name).find(|&bias| {
            let own = scope.defines(self.mem, bias, b"hpatch_control");
            !own && (counts(bias) || !scope.defines(self.mem, bias, b"__libc_start_main"))
        })
    }

    /// See [`Scope::ran_ahead`]; 0 where nothing is known. To be called under the dynamic linker's lock: tens of thousands of names are read, each in
    /// pieces.
    pub fn ran_ahead(&self, begun: &dyn Fn(u64) -> bool) -> Option<u64> {
        self.scope.map_or(Some(0), |scope| scope.ran_ahead(&Direct, HOOK, begun))
    }

    /// avma and bytes of the function `name`.
    pub fn function(&self, name: &[u8]) -> Option<(u64, u64)> {
        self.scope?.function(self.mem, name)
    }

    /// Whether the module that defines `name` imports `other`.
    pub fn definer_imports(&self, name: &[u8], other: &[u8]) -> bool {
        self.scope.is_some_and(|s| s.definer_imports(self.mem, name, other))
    }

    /// Whether any module imports `other` and doesn't define `name`.
    pub fn any_imports_without(&self, other: &[u8], name: &[u8]) -> bool {
        self.scope.is_some_and(|s| s.any_imports_without(self.mem, other, name))
    }

    /// Whether the module that defines `name` defines the symbol version `version`.
    pub fn defines_version(&self, name: &[u8], version: &[u8]) -> bool {
        self.scope.is_some_and(|s| s.defines_version(self.mem, name, version))
    }
}

impl hpatch_core::payload::Lookup for Symbols<'_> {
    fn word(&self, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.mem.read(at, &mut bytes).then(|| u64::from_le_bytes(bytes))
    }

    fn find(&self, name: &[u8], version: &[u8]) -> Result<Option<u64>, &'static str> {
        let Some(scope) = self.scope else { return Ok(None) };
        match scope.find(self.mem, name, version) {
            None => Ok(None),
            Some(Found::Address(avma)) => Ok(Some(avma)),
            Some(Found::ThreadLocal) => Err("a thread-local variable"),
            Some(Found::Resolver(avma)) => {
                // SAFETY: an STT_GNU_IFUNC symbol is a function without arguments that returns the address (psABI); the dynamic linker
                // has called it, or one like it, before.
                let resolver: extern "C" fn() -> u64 = unsafe { core::mem::transmute(avma) };
                Ok(Some(resolver()))
            }
        }
    }
}

/// Load bias and avma of the dynamic section of the executable.
fn executable(mem: &OwnMemory) -> Option<(u64, u64)> {
    by_program_headers(mem).or_else(|| {
        // The auxiliary vector isn't readable in a process that has changed its user. Only the executable's DT_DEBUG is ever filled in.
        let maps = Maps::read().ok()?;
        let mut images =
            maps.images(mem).filter(|(i, _)| i.dynamic != 0).map(|(i, _)| (i.bias, i.bias.wrapping_add(i.dynamic)));
        images.find(|(bias, dynamic)| Scope::of_module(mem, *bias, *dynamic, *bias).is_some())
    })
}

fn by_program_headers(mem: &dyn Memory) -> Option<(u64, u64)> {
    const PT_PHDR: u32 = 6;
    let (phdr, phnum) = program_headers()?;
    let mut own = None;
    let mut dynamic = None;
    for n in 0..phnum.min(64) {
        let mut p = Phdr::new_zeroed();
        if !mem.read(phdr.checked_add(n * size_of::<Phdr>() as u64)?, p.as_mut_bytes()) {
            return None;
        }
        match p.kind.get() {
            PT_PHDR => own = Some(p.vaddr.get()),
            PT_DYNAMIC => dynamic = Some(p.vaddr.get()),
            _ => {}
        }
    }
    // Without PT_PHDR the image is at its stated addresses.
    let bias = own.map_or(0, |v| phdr.wrapping_sub(v));
    Some((bias, bias.wrapping_add(dynamic?)))
}

/// AT_PHDR and AT_PHNUM (getauxval(3)).
fn program_headers() -> Option<(u64, u64)> {
    let noted = facts(|f| (f.phdr, f.phnum));
    if noted.0 != 0 {
        return Some(noted);
    }
    auxv_file(|f| (f.phdr, f.phnum)).filter(|f| f.0 != 0)
}

/// Reads `/proc/thread-self/auxv` and hands it to `f`.
pub fn auxv_file<R>(f: impl FnOnce(Auxv) -> R) -> Option<R> {
    let mut words = [0u64; 128];
    let file = sys::open(c"/proc/thread-self/auxv", Open::Read).ok()?;
    sys::read_full(&file, words.as_mut_bytes()).ok()?;
    Some(f(Auxv::of(words.as_chunks().0.iter().copied())))
}

/// What the kernel told the process at its start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Auxv {
    pub phdr: u64,
    pub phnum: u64,
    /// Privileged beyond its user.
    pub secure: bool,
}

impl Auxv {
    /// From pairs of type and value that end with type 0.
    pub fn of(pairs: impl Iterator<Item = [u64; 2]>) -> Auxv {
        const AT_PHDR: u64 = 3;
        const AT_PHNUM: u64 = 5;
        const AT_SECURE: u64 = 23;
        let mut a = Auxv::default();
        for [kind, value] in pairs.take_while(|p| p[0] != 0) {
            match kind {
                AT_PHDR => a.phdr = value,
                AT_PHNUM => a.phnum = value,
                AT_SECURE => a.secure = value != 0,
                _ => {}
            }
        }
        a
    }
}
