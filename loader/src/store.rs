//! The store: bundles that are applied before `main`, or before the code of a library that is loaded later.

use core::ffi::CStr;

use hpatch_core::abi::{Move, RecordState, Write};
use hpatch_core::image::Memory;
use hpatch_core::maps::Mapping;
use hpatch_core::report::{Name, Report};
use patchfmt::{Bundle, Code, codes};

use crate::dir::Dir;
use crate::mem::{PAGE, Pages};
use crate::prepare::{self, Moment};
use crate::process::{self, Maps, OwnMemory, Symbols};
use crate::records::{self, Entry};
use crate::sys::{self, Fd, Open, PROT_EXEC, PROT_READ, PROT_WRITE};
use crate::{control, threads, trust};

/// Applies every `*.hpatch` of the store, in the order of their names. What is refused is said in one line on standard error; the
/// program starts all the same.
pub fn apply_all() {
    apply_each(Moment::Start, None);
}

/// Applies what the store has for the module that holds the avma `inside` and is just being loaded.
pub fn apply_to_module(inside: u64, build_id: &[u8]) {
    apply_each(Moment::Loaded { inside }, Some(build_id));
}

/// Only bundles in whose manifest `build_id` stands are looked at: a library may bring dozens of others, and each bundle's signature takes time.
fn apply_each(moment: Moment, build_id: Option<&[u8]>) {
    let mut report = Report::default();
    let mut path = [0u8; PATH];
    let Some(opened) = open(&mut path) else { return };
    let (dir, names) = match opened {
        Ok(dir) => dir,
        Err(e) => {
            let code = report.refuse(codes::LOADER_OPEN, format_args!("{}", e));
            let path = CStr::from_bytes_until_nul(&path).unwrap_or_default();
            return say(path.to_bytes(), code, &report);
        }
    };
    for name in names.sorted(b".hpatch") {
        if let Err(code) = apply(&dir, name, (moment, build_id), &mut report) {
            say(name.to_bytes(), code, &report);
        }
    }
}

const PATH: usize = 4096;

/// The store's directory and its names; `None` without a store.
fn open(path: &mut [u8; PATH]) -> Option<sys::Result<(Fd, Dir)>> {
    process::facts(|f| f.store().map(|p| path[..p.count_bytes()].copy_from_slice(p.to_bytes())))?;
    let path = CStr::from_bytes_until_nul(path).ok()?;
    Some(sys::open(path, Open::Directory).and_then(|d| Dir::read(&d).map(|names| (d, names))))
}

/// Prepares the bundle with the index `index` in the store for what it isn't applied to yet: how many bundles there are, and the record's
/// address, 0 when there is nothing to do.
pub fn prepare_pending(index: u64, report: &mut Report) -> (u64, Result<u64, Code>) {
    let mut path = [0u8; PATH];
    let (dir, names) = match open(&mut path) {
        None => return (0, Ok(0)),
        Some(Err(e)) => return (0, Err(report.refuse(codes::LOADER_OPEN, format_args!("the store, {}", e)))),
        Some(Ok(opened)) => opened,
    };
    let count = names.sorted(b".hpatch").count() as u64;
    let Some(name) = names.sorted(b".hpatch").nth(index as usize) else { return (count, Ok(0)) };
    let prepared = read(&dir, name, report).and_then(|bundle| {
        let keys = trust::keys(true, report)?;
        let bytes = bundle.0.bytes().get(..bundle.1).unwrap_or_default();
        prepare::prepare(bytes, &keys, Moment::Pending, report)
    });
    let record = prepared.map(|entry| entry.map_or(0, Entry::addr)).map_err(|code| {
        let mut named = Report::default();
        named.refuse(code, format_args!("{}: {}", Name(name.to_bytes()), report.text()));
        report.refuse(code, format_args!("{}", named.text()))
    });
    (count, record)
}

fn say(name: &[u8], code: Code, report: &Report) {
    let mut line = Report::default();
    line.refuse(code, format_args!("hpatch: {}: {code} {}", Name(name), report.text()));
    let mut bytes = [0u8; 513];
    let text = line.text().as_bytes();
    bytes[..text.len()].copy_from_slice(text);
    bytes[text.len()] = b'\n';
    sys::write_stderr(&bytes[..=text.len()]);
}

fn apply(dir: &Fd, name: &CStr, (moment, build_id): (Moment, Option<&[u8]>), report: &mut Report) -> Result<(), Code> {
    let bundle = read(dir, name, report)?;
    let bytes = bundle.0.bytes().get(..bundle.1).unwrap_or_default();
    if let (Some(id), Ok(parsed)) = (build_id.filter(|id| !id.is_empty()), Bundle::parse(bytes))
        && !parsed.manifest().windows(id.len()).any(|w| w == id)
    {
        return Ok(());
    }
    let keys = trust::keys(true, report)?;
    if moment == Moment::Start && !before_main() {
        return Err(report.refuse(codes::SCOPE_START, format_args!("the loader was not there at the start")));
    }
    if moment == Moment::Start && threads() != Some(1) {
        return Err(report.refuse(codes::SCOPE_START, format_args!("another library has started a thread before main")));
    }
    let Some(entry) = prepare::prepare(bytes, &keys, moment, report)? else {
        return Ok(());
    };
    let written = write_all(entry, report);
    if written.is_err() {
        // What write_all couldn't take back it reports with ROLL_BACK_FAILED; then the record has to stay.
        if entry.is(RecordState::Prepared) {
            let mut ignored = Report::default();
            let _ = records::release(entry, &mut ignored);
        }
        return written;
    }
    records::commit(entry, report)
}

/// The file in private memory, read once: what is verified is what is used.
fn read(dir: &Fd, name: &CStr, report: &mut Report) -> Result<(Pages, usize), Code> {
    let mut failed = |what: &str, e: u32| report.refuse(codes::LOADER_OPEN, format_args!("{what}, error {e}"));
    let file = sys::open_in(dir, name, Open::ReadNoFollow).map_err(|e| failed("can't be opened", e.0))?;
    let stat = sys::stat(&file).map_err(|e| failed("can't be examined", e.0))?;
    if !stat.is_regular() || stat.size > patchfmt::wire::MAX_BUNDLE as u64 {
        return Err(failed("isn't a regular file of permitted size", 0));
    }
    let mut pages = Pages::new(stat.size).map_err(|e| failed("no memory", e.0))?;
    let len = sys::read_full(&file, pages.bytes_mut()).map_err(|e| failed("can't be read", e.0))?;
    Ok((pages, len))
}

/// Whether this constructor runs at the process's start, and not in a dlopen much later, with the program's functions on the stack.
fn before_main() -> bool {
    let Some(mem) = OwnMemory::open() else { return false };
    !Symbols::seen_from(&mem, 0).came_last((&raw const control::hpatch_control).addr() as u64)
}

/// Threads of the process: a directory has two links and one for each subdirectory.
pub fn threads() -> Option<u64> {
    let dir = sys::open(c"/proc/self/task", Open::Directory).ok()?;
    sys::stat(&dir).ok()?.links.checked_sub(2)
}

/// Bytes of a [`Write`]'s `old` or `new`, or those that a [`Move`] copies.
fn bytes(addr: u64, len: u32) -> &'static [u8] {
    // SAFETY: they lie in the mapping of the record that the write belongs to; a move's in a module or a payload, of which nothing runs yet.
    unsafe { core::slice::from_raw_parts(addr as *const u8, len as usize) }
}

/// Writes and reads back; on a failure all is as before, and the record is `Prepared` again.
fn write_all(entry: Entry, report: &mut Report) -> Result<(), Code> {
    let mem = OwnMemory::open();
    let mem =
        mem.ok_or_else(|| report.refuse(codes::MAP_FAILED, format_args!("the process can't read its own memory")))?;
    let (writes, moves) = (entry.writes(), entry.moves());
    let writer = Writer::open();
    entry.set(|r| r.state = RecordState::Writing as u32);
    let check = |addr: u64, new: &[u8]| match writer.write(addr, new) {
        Ok(()) if !reads(&mem, addr, new) => Err(codes::READ_BACK_DIFFERS),
        written => written,
    };
    let copy = |m: &Move| check(m.to, bytes(m.from, m.len)).map_err(|code| (code, m.to));
    let mut done = 0;
    let moved = moves.iter().filter(|m| m.both_ways != 0).try_for_each(copy);
    let written = moved.and_then(|()| {
        writes.iter().try_for_each(|w| {
            done += 1;
            check(w.addr, bytes(w.new, w.len)).map_err(|code| (code, w.addr))
        })
    });
    // What a value that is set overwrites can't be had again.
    let mut set = false;
    let mut values = || {
        let mut values = moves.iter().filter(|m| m.both_ways == 0);
        values.try_for_each(|m| {
            set = true;
            copy(m)
        })
    };
    if let Err((code, at)) = written.and_then(|()| values()) {
        let code = report.refuse(code, format_args!("at {at:#x}"));
        let restored =
            |w: &Write| writer.write(w.addr, bytes(w.old, w.len)).is_ok() || reads(&mem, w.addr, bytes(w.old, w.len));
        if !writes[..done].iter().rev().all(restored) || set {
            control::block_loader();
            return Err(report.refuse(codes::ROLL_BACK_FAILED, format_args!("at {at:#x}")));
        }
        entry.set(|r| r.state = RecordState::Prepared as u32);
        return Err(code);
    }
    // No other thread has begun; where one may have, preparing has refused what needs this.
    entry.units().iter().for_each(threads::begin_here);
    entry.set(|r| {
        r.state = RecordState::Live as u32;
        r.live_since = sys::boottime();
    });
    Ok(())
}

fn reads(mem: &OwnMemory, addr: u64, want: &[u8]) -> bool {
    let mut buf = [0u8; 256];
    want.chunks(buf.len()).enumerate().all(|(n, chunk)| {
        let got = &mut buf[..chunk.len()];
        mem.read(addr + (n * 256) as u64, got) && got == chunk
    })
}

/// Writes to what is write-protected: through `/proc/self/mem`, which changes no protection; where that is refused, with mprotect.
pub struct Writer {
    file: Option<Fd>,
}

impl Writer {
    pub fn open() -> Writer {
        Writer { file: sys::open(c"/proc/self/mem", Open::Write).ok() }
    }

    pub fn write(&self, addr: u64, new: &[u8]) -> Result<(), Code> {
        if let Some(file) = &self.file {
            // SAFETY: a planned write: inside a module's extent, its bytes checked, and no other thread can be in that module yet; or one
            // to the loader's own template.
            if unsafe { sys::pwrite(file, new, addr) } == Ok(new.len()) {
                return Ok(());
            }
        }
        let maps = Maps::read().map_err(|_| codes::WRITE_REFUSED)?;
        let (start, end) = (addr & !(PAGE - 1), addr + new.len() as u64);
        let page = |at: u64| maps.iter().find(|m| m.start <= at && at < m.end);
        for at in (start..end).step_by(PAGE as usize) {
            let prot = protection(&page(at).ok_or(codes::WRITE_REFUSED)?);
            let part = addr.max(at)..end.min(at + PAGE);
            let bytes = &new[(part.start - addr) as usize..(part.end - addr) as usize];
            // Write access is added, not put in place of execute access: policies that forbid it refuse here, where nothing has
            // happened, and not on the way back, where the code would stay unusable.
            // SAFETY: as above; the page gets its protection back.
            unsafe {
                sys::mprotect(at, PAGE, prot | PROT_WRITE).map_err(|_| codes::WRITE_REFUSED)?;
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), part.start as *mut u8, bytes.len());
                sys::mprotect(at, PAGE, prot).map_err(|_| codes::ROLL_BACK_FAILED)?;
            }
        }
        Ok(())
    }
}

fn protection(m: &Mapping<'_>) -> u64 {
    let letters = [(b'r', PROT_READ), (b'w', PROT_WRITE), (b'x', PROT_EXEC)];
    letters.iter().filter(|(letter, _)| m.access.contains(letter)).map(|(_, bit)| bit).sum()
}
