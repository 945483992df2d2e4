//! `hpatch attach`: the loader comes into a process that wasn't started with it.
//!
//! A hijacked thread makes a few system calls: a memory file with the library in it, and mappings of that file with their final
//! protection, so that no page is ever writable and executable. The library needs no dynamic linker: it imports nothing.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hpatch_core::abi::{MAGIC, Op};
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader, Rela};
use object::{Endianness, Object, ObjectSymbol};
use serde_json::json;

use super::Report;
use super::run::library;
use crate::error::{Error, Exit, Result, code};
use crate::fault::fault;
use crate::target::Target;
use crate::target::control::{Control, LIBRARY, SYMBOL};
use crate::target::maps::Mapping;
use crate::trace::rpc::{self, Hijacked, RpcOptions, WayBack};

const PAGE: u64 = 4096;
/// Where an administrator keeps the trusted keys.
const SYSTEM_TRUST: &str = "/etc/hpatch/trust";
const MAX_KEYS: usize = 1 << 20;
/// `MFD_EXEC` (include/uapi/linux/memfd.h, Linux 6.3): needed where memory files are not executable by default.
const MFD_EXEC: u64 = 0x10;

pub fn run(pid: i32, trust: Option<&Path>, allow_seccomp: bool) -> Result<Report> {
    let options = RpcOptions { allow_seccomp };
    let keys = trusted_keys(trust)?;
    let path = library()?;
    let bytes = fs::read(&path).map_err(|e| Error::io(format!("cannot read {}", path.display()), &e))?;
    let image = Image::parse(&bytes).ok_or_else(|| failed(format!("{} isn't the loader library", path.display())))?;
    let target = Target::open(pid)?;
    let control = match Control::find(&target)? {
        // Left by a command that was killed before it could hand the keys over.
        Some(control) if control.origin(&target)? == 1 && !control.trusted(&target)? => control,
        Some(_) => {
            let text = format!("process {pid} carries a loader already; nothing changed\n");
            let mut r = Report::new(text, json!({ "pid": pid, "changed": false }));
            r.exit = Some(Exit::NothingChanged);
            return Ok(r);
        }
        None => bring(&target, &image, options)?,
    };
    let base = control.base;
    fault("placed");
    let buffer = rpc::call(&target, &control, Op::Alloc, &[keys.text.len() as u64], options)?.value[0];
    target.mem.write(buffer, &keys.text).map_err(|e| Error::io("cannot hand over the keys", &e))?;
    rpc::call(&target, &control, Op::SetTrust, &[buffer, keys.text.len() as u64], options)?;
    let text =
        format!("process {pid} carries the loader now; it trusts {} key{}\n", keys.count, super::apply::s(keys.count));
    Ok(Report::new(text, json!({ "pid": pid, "changed": true, "base": format!("{base:#x}"), "keys": keys.count })))
}

/// Maps and links the library.
fn bring(target: &Target, image: &Image<'_>, options: RpcOptions) -> Result<Control> {
    let borrowed = Borrowed::find(target)?;
    let mut thread = Hijacked::take(target, options, true)?;
    let placed = thread
        .lay_way_back_on_stack(borrowed.sigreturn)
        .and_then(|way_back| place(target, &mut thread, (borrowed.syscall, way_back), image));
    thread.give_back()?;
    let base = placed?;
    let control = Control { addr: base.wrapping_add(image.control), base };
    control.set_origin(target, 1)?;
    if Control::require(target)?.addr != control.addr || target.mem.read_u64(control.addr).ok() != Some(MAGIC) {
        return Err(failed("the library isn't found where it was put".to_owned()));
    }
    Ok(control)
}

fn failed(why: String) -> Error {
    Error::new(code::ATTACH_FAILED, Exit::Refused, why)
}

struct Keys {
    text: Vec<u8>,
    count: usize,
}

/// All `*.pub` of the trust directory, in the order of their names.
fn trusted_keys(given: Option<&Path>) -> Result<Keys> {
    let dir = given
        .map(Path::to_owned)
        .or_else(|| std::env::var_os("HPATCH_TRUST").map(PathBuf::from))
        .unwrap_or_else(|| SYSTEM_TRUST.into());
    let fail = |e| Error::io(format!("cannot read the trust directory {}", dir.display()), &e);
    let mut files: Vec<PathBuf> = fs::read_dir(&dir).map_err(fail)?.flatten().map(|e| e.path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "pub"));
    files.sort();
    let mut keys = Keys { text: Vec::new(), count: 0 };
    for f in files {
        keys.text.extend(fs::read(&f).map_err(|e| Error::io(format!("cannot read {}", f.display()), &e))?);
        keys.text.push(b'\n');
        keys.count += 1;
    }
    if keys.count == 0 || keys.text.len() > MAX_KEYS {
        return Err(Error::new(code::TRUST_EMPTY, Exit::Untrusted, format!("no usable key in {}", dir.display()))
            .help("name a directory of OpenSSH public keys with --trust"));
    }
    Ok(keys)
}

struct Segment {
    vaddr: u64,
    offset: u64,
    file_size: u64,
    mem_size: u64,
    protection: u64,
}

struct Image<'a> {
    bytes: &'a [u8],
    segments: Vec<Segment>,
    /// Place and addend of each `R_X86_64_RELATIVE`.
    relocations: Vec<(u64, u64)>,
    control: u64,
    size: u64,
}

impl<'a> Image<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let file = ElfFile64::<Endianness>::parse(bytes).ok()?;
        let e = file.endian();
        let mut segments = Vec::new();
        for p in file.elf_header().program_headers(e, bytes).ok()?.iter().filter(|p| p.p_type(e) == elf::PT_LOAD) {
            let flags = p.p_flags(e);
            let mut protection = 0;
            for (bit, prot) in
                [(elf::PF_R, libc::PROT_READ), (elf::PF_W, libc::PROT_WRITE), (elf::PF_X, libc::PROT_EXEC)]
            {
                if (flags & bit).0 != 0 {
                    protection |= prot as u64;
                }
            }
            let s = Segment {
                vaddr: p.p_vaddr(e),
                offset: p.p_offset(e),
                file_size: p.p_filesz(e),
                mem_size: p.p_memsz(e),
                protection,
            };
            bytes.get(s.offset as usize..)?.get(..s.file_size as usize)?;
            segments.push(s);
        }
        let size = segments.iter().map(|s| s.vaddr + s.mem_size).max()?.next_multiple_of(PAGE);
        let mut relocations = Vec::new();
        let sections = file.elf_header().sections(e, bytes).ok()?;
        for section in sections.iter() {
            let Some((list, _)) = object::read::elf::SectionHeader::rela(section, e, bytes).ok()? else { continue };
            for r in list {
                if r.r_offset(e) + 8 > size {
                    return None;
                }
                match r.r_type(e, false) {
                    elf::R_X86_64_RELATIVE => {}
                    // Left zero: the loader has no storage in the program's threads then, and knows it.
                    elf::R_X86_64_DTPMOD64 | elf::R_X86_64_TLSDESC => continue,
                    _ => return None,
                }
                relocations.push((r.r_offset(e), r.r_addend(e) as u64));
            }
        }
        let control = file.dynamic_symbols().find(|s| s.name() == Ok(SYMBOL))?.address();
        // Who finds this one knows that all are done: see `Control::find_in`.
        relocations.sort_by_key(|r| r.0 == control + Control::SPAWN);
        Some(Self { bytes, segments, relocations, control, size })
    }
}

/// Instructions that the process has anyway, in its C library as a rule.
struct Borrowed {
    /// avma of `syscall; ret`.
    syscall: u64,
    /// avma of code that calls rt_sigreturn(2): where every signal handler returns to.
    sigreturn: u64,
}

impl Borrowed {
    fn find(target: &Target) -> Result<Self> {
        const SYSCALL_RET: &[u8] = &[0x0f, 0x05, 0xc3];
        const SIGRETURN: [&[u8]; 2] = [&[0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05], &[0xb8, 15, 0, 0, 0, 0x0f, 0x05]];
        let (mut syscall, mut sigreturn) = (None, None);
        // Code that was compiled while the program runs may change at any moment.
        let lasting = |m: &&Mapping| m.exec && m.read && !m.write && !m.shared && (m.inode != 0 || m.path == "[vdso]");
        for m in target.maps()?.iter().filter(lasting) {
            let Ok(text) = target.mem.read_vec(m.start, (m.end - m.start).min(64 << 20) as usize) else { continue };
            let find = |code: &[u8]| Some(m.start + text.windows(code.len()).position(|w| w == code)? as u64);
            syscall = syscall.or_else(|| find(SYSCALL_RET));
            sigreturn = sigreturn.or_else(|| SIGRETURN.into_iter().find_map(find));
            if let (Some(syscall), Some(sigreturn)) = (syscall, sigreturn) {
                return Ok(Self { syscall, sigreturn });
            }
        }
        Err(failed("the process has no code that a thread could be lent to and come back from by itself".to_owned()))
    }
}

/// The hijacked thread's hands.
struct Hands<'a, 'b> {
    thread: &'a mut Hijacked<'b>,
    insn: u64,
    way_back: WayBack,
}

impl Hands<'_, '_> {
    fn call(&mut self, what: &str, nr: i64, args: [u64; 6]) -> Result<u64> {
        let (value, _) = self.thread.syscall(self.insn, nr, args, self.way_back)?;
        if (-4095..0).contains(&value) {
            let e = std::io::Error::from_raw_os_error(-value as i32);
            return Err(failed(format!("the process can't {what}: {e}")));
        }
        Ok(value as u64)
    }

    fn map(&mut self, addr: u64, len: u64, protection: u64, flags: i32, fd: u64, offset: u64) -> Result<u64> {
        let flags = (flags | libc::MAP_PRIVATE) as u64;
        self.call("map memory", libc::SYS_mmap, [addr, len, protection, flags, fd, offset])
    }
}

/// Maps the library and links it. What was mapped is unmapped when something fails.
fn place(
    target: &Target,
    thread: &mut Hijacked<'_>,
    (insn, way_back): (u64, WayBack),
    image: &Image<'_>,
) -> Result<u64> {
    let mut hands = Hands { thread, insn, way_back };
    let base = hands.map(0, image.size, 0, libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, u64::MAX, 0)?;
    let result = fill(target, &mut hands, base, image);
    if result.is_err() {
        let _ = hands.call("unmap memory", libc::SYS_munmap, [base, image.size, 0, 0, 0, 0]);
    }
    result.map(|()| base)
}

fn fill(target: &Target, hands: &mut Hands<'_, '_>, base: u64, image: &Image<'_>) -> Result<()> {
    let wrote = |e| Error::io("cannot write the library into the process", &e);
    // The name of the memory file, in the first page that will be overwritten by the library itself.
    let anonymous = libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    hands.map(base, PAGE, (libc::PROT_READ | libc::PROT_WRITE) as u64, anonymous, u64::MAX, 0)?;
    target.mem.write(base, format!("{LIBRARY}\0").as_bytes()).map_err(wrote)?;
    let flags = u64::from(libc::MFD_CLOEXEC);
    let fd = match hands.call("make a memory file", libc::SYS_memfd_create, [base, flags | MFD_EXEC, 0, 0, 0, 0]) {
        Ok(fd) => fd,
        Err(_) => hands.call("make a memory file", libc::SYS_memfd_create, [base, flags, 0, 0, 0, 0])?,
    };
    let result = fill_from(target, hands, base, image, fd);
    hands.call("close a file", libc::SYS_close, [fd, 0, 0, 0, 0, 0])?;
    result
}

fn fill_from(target: &Target, hands: &mut Hands<'_, '_>, base: u64, image: &Image<'_>, fd: u64) -> Result<()> {
    let wrote = |e| Error::io("cannot write the library into the process", &e);
    let path = format!("/proc/{}/task/{}/fd/{fd}", target.pid, hands.thread.tid);
    File::options().write(true).open(path).and_then(|mut f| f.write_all(image.bytes)).map_err(wrote)?;
    for s in &image.segments {
        let skew = s.vaddr % PAGE;
        let start = base + s.vaddr - skew;
        let in_file = (skew + s.file_size).next_multiple_of(PAGE);
        let whole = (skew + s.mem_size).next_multiple_of(PAGE);
        if s.file_size > 0 {
            hands.map(start, in_file, s.protection, libc::MAP_FIXED, fd, s.offset - skew)?;
            let tail = (in_file - skew - s.file_size).min(s.mem_size - s.file_size);
            // The rest of the last page holds the file's next bytes, where zeros belong.
            target.mem.write(base + s.vaddr + s.file_size, &vec![0; tail as usize]).map_err(wrote)?;
        }
        let zero_from = if s.file_size > 0 { in_file } else { 0 };
        if whole > zero_from {
            let anonymous = libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            hands.map(start + zero_from, whole - zero_from, s.protection, anonymous, u64::MAX, 0)?;
        }
    }
    for (place, addend) in &image.relocations {
        target.mem.write_u64(base + place, base.wrapping_add(*addend)).map_err(wrote)?;
    }
    Ok(())
}
