//! `hpatch run`, and where the loader library is.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::read::elf::{Dyn, ElfFile64};
use object::{Endianness, ReadCache};

use super::Report;
use crate::error::{Error, Exit, Result, code};
use crate::target::control::LIBRARY;

/// The loader library: named by `HPATCH_LOADER`, beside this program, in `../lib`, or where a build put it.
pub fn library() -> Result<PathBuf> {
    let mut tried = Vec::new();
    if let Some(p) = std::env::var_os("HPATCH_LOADER") {
        tried.push(PathBuf::from(p));
    } else if let Some(dir) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        tried.push(dir.join(LIBRARY));
        tried.push(dir.join("../lib").join(LIBRARY));
        for profile in ["loader", "release", "debug"] {
            tried.push(dir.join("..").join(profile).join(LIBRARY));
        }
    }
    if let Some(p) = tried.iter().find(|p| p.is_file()) {
        return p.canonicalize().map_err(|e| Error::io(format!("cannot resolve {}", p.display()), &e));
    }
    let mut e = Error::new(code::READ_FAILED, Exit::Io, format!("{LIBRARY} isn't found"));
    for p in &tried {
        e = e.note(format!("looked at {}", p.display()));
    }
    Err(e.help("set HPATCH_LOADER to its path"))
}

fn directory(what: &str, path: &Path) -> Result<PathBuf> {
    let full = path.canonicalize().map_err(|e| Error::io(format!("{what} {}", path.display()), &e))?;
    if full.is_dir() {
        Ok(full)
    } else {
        Err(Error::new(code::READ_FAILED, Exit::Io, format!("{what} {} isn't a directory", path.display())))
    }
}

/// Whether a program is linked with the address sanitizer's library. That ends the program at its start when it isn't the first of all libraries, in
/// case one before it has functions of the same names; the loader has none.
fn is_watched_for_addresses(program: &OsStr) -> bool {
    let found = if program.as_encoded_bytes().contains(&b'/') {
        Some(PathBuf::from(program))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file())
    };
    let Some(file) = found.and_then(|p| File::open(p).ok()) else { return false };
    // Programs with debug information are large; this reads a few pages.
    needed(&ReadCache::new(file)).is_some_and(|names| {
        names.iter().any(|name| name.starts_with(b"libasan.so") || name.starts_with(b"libclang_rt.asan"))
    })
}

/// Names of the libraries that an ELF file needs; `None` where it has no section that says so.
fn needed(data: &ReadCache<File>) -> Option<Vec<&[u8]>> {
    let file = ElfFile64::<Endianness, _>::parse(data).ok()?;
    let (endian, sections) = (file.endian(), file.elf_section_table());
    let (entries, link) = sections.dynamic(endian, data).ok()??;
    let strings = sections.strings(endian, data, link).ok()?;
    let libraries = entries.iter().filter(|d| d.tag(endian) == object::elf::DT_NEEDED);
    libraries.map(|d| d.string(endian, strings).ok()).collect()
}

/// The sanitizer's options (`COMMON_FLAG`s are parted by colons) with the one that lets libraries come before it.
fn with_any_order(options: Option<OsString>) -> OsString {
    let mut all = options.filter(|o| !o.is_empty()).map_or_else(OsString::new, |mut o| {
        o.push(":");
        o
    });
    all.push("verify_asan_link_order=0");
    all
}

/// Replaces this program; comes back only with an error.
pub fn run(store: Option<&Path>, trust: Option<&Path>, signal: Option<u8>, command: &[OsString]) -> Result<Report> {
    let library = library()?;
    let (program, args) =
        command.split_first().ok_or_else(|| Error::new(code::USAGE, Exit::Usage, "no program to start"))?;
    let mut preload = OsString::from(&library);
    if library.as_os_str().as_encoded_bytes().iter().any(|b| matches!(b, b' ' | b':')) {
        return Err(Error::new(
            code::USAGE,
            Exit::Usage,
            format!("LD_PRELOAD can't name {}: it has a space or colon in it", library.display()),
        ));
    }
    if let Some(before) = std::env::var_os("LD_PRELOAD").filter(|v| !v.is_empty()) {
        preload.push(OsStr::new(":"));
        preload.push(before);
    }
    let mut c = Command::new(program);
    c.args(args).env("LD_PRELOAD", preload);
    if is_watched_for_addresses(program) {
        c.env("ASAN_OPTIONS", with_any_order(std::env::var_os("ASAN_OPTIONS")));
    }
    if let Some(dir) = store {
        c.env("HPATCH_STORE", directory("the store", dir)?);
    }
    if let Some(dir) = trust {
        c.env("HPATCH_TRUST", directory("the trust directory", dir)?);
    }
    if let Some(signal) = signal {
        c.env("HPATCH_SIGNAL", signal.to_string());
    }
    let e = c.exec();
    Err(Error::io(format!("cannot start {}", program.display()), &e))
}
