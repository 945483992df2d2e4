//! The payload's mapping in the process: reserved near its module, filled, made executable without ever being writable and executable
//! at once.

use core::ffi::CStr;
use core::fmt::Write;

use hpatch_core::image::Image;
use hpatch_core::link::Layout;
use hpatch_core::maps::{self, Want};
use hpatch_core::report::Report;
use patchfmt::{Code, codes};

use crate::process::Maps;
use crate::sys::{
    self, Errno, Fd, MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_NORESERVE, MAP_PRIVATE, PROT_EXEC, PROT_READ,
    PROT_WRITE,
};

/// Address space that is unmapped when it goes out of scope.
#[derive(Debug)]
pub struct Reserved {
    pub addr: u64,
    pub len: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: the range is owned, and no code in it has been made reachable.
        let _ = unsafe { sys::munmap(self.addr, self.len) };
    }
}

impl Reserved {
    /// Reserves room for `layout` within reach of `image`, at an address for which `bad` is false.
    pub fn near(
        image: &Image,
        layout: &Layout,
        bad: impl Fn(u64) -> bool,
        report: &mut Report,
    ) -> Result<Reserved, Code> {
        const TRIES: u32 = 16;
        let want = Want { module: image.extent(), len: layout.len, low: layout.low };
        for _ in 0..TRIES {
            let maps =
                Maps::read().map_err(|e| report.refuse(codes::MAP_FAILED, format_args!("/proc/self/maps: {}", e)))?;
            let Some(at) = maps::place(maps.iter(), want, &bad) else { break };
            let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
            // SAFETY: with MAP_FIXED_NOREPLACE nothing that is mapped is touched.
            match unsafe { sys::mmap(at, layout.len, 0, flags, None, 0) } {
                // Kernels before 4.17 take the address for a hint: then the room is given back.
                Ok(addr) if addr != at => drop(Reserved { addr, len: layout.len }),
                Ok(addr) => return Ok(Reserved { addr, len: layout.len }),
                // Another thread was faster.
                Err(Errno::EEXIST) => {}
                Err(e) => {
                    return Err(
                        report.refuse(codes::MAP_FAILED, format_args!("{} bytes at {at:#x}: {}", layout.len, e))
                    );
                }
            }
        }
        let (lo, hi) = want.module;
        Err(report.refuse(codes::NO_MEMORY_IN_REACH, format_args!("{} bytes near {lo:#x}-{hi:#x}", layout.len)))
    }

    /// Puts the linked `content` in place. `name` is what `/proc/PID/maps` shows.
    pub fn fill(&self, layout: &Layout, content: &[u8], name: &str, report: &mut Report) -> Result<(), Code> {
        let parts = [
            (0, layout.constants_at, PROT_READ | PROT_EXEC),
            (layout.constants_at, layout.data_at, PROT_READ),
            (layout.data_at, layout.len, PROT_READ | PROT_WRITE),
        ];
        let parts = parts.into_iter().filter(|p| p.0 < p.1);
        let done = match content_file(name, content) {
            Some(file) => parts.clone().try_for_each(|p| self.map_file(&file, p)),
            // No memfd here: anonymous memory, never writable and executable at once.
            None => Err(Errno(0)),
        };
        let done = done.or_else(|_| parts.clone().try_for_each(|p| self.map_anonymous(content, p)));
        done.map_err(|e| report.refuse(codes::MAP_FAILED, format_args!("executable memory: {}", e)))
    }

    fn map_file(&self, file: &Fd, (start, end, prot): (u64, u64, u64)) -> sys::Result<()> {
        // SAFETY: inside the reserved range.
        unsafe { sys::mmap(self.addr + start, end - start, prot, MAP_PRIVATE | MAP_FIXED, Some(file), start) }.map(drop)
    }

    fn map_anonymous(&self, content: &[u8], (start, end, prot): (u64, u64, u64)) -> sys::Result<()> {
        let (addr, len) = (self.addr + start, end - start);
        let bytes = content.get(start as usize..end as usize).ok_or(Errno(22))?;
        // SAFETY: inside the reserved range, which nobody else uses; writable when it is copied to.
        unsafe {
            sys::mmap(addr, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, None, 0)?;
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), addr as *mut u8, bytes.len());
            sys::mprotect(addr, len, prot)
        }
    }

    /// Keeps it mapped.
    pub fn leak(self) {
        core::mem::forget(self);
    }
}

/// A sealed memfd with the content.
fn content_file(name: &str, content: &[u8]) -> Option<Fd> {
    let mut text = NameBuf { bytes: [0; 200], len: 0 };
    let _ = write!(text, "hpatch:{name}");
    let file = sys::memfd(CStr::from_bytes_until_nul(&text.bytes).ok()?).ok()?;
    let mut done = 0;
    while done < content.len() {
        // SAFETY: the file is mapped nowhere yet.
        match unsafe { sys::pwrite(&file, &content[done..], done as u64) } {
            Ok(n) if n != 0 => done += n,
            _ => return None,
        }
    }
    // Without seals it would still be a private copy, only not proof against a reopened descriptor.
    let _ = sys::seal(&file);
    Some(file)
}

struct NameBuf {
    bytes: [u8; 200],
    len: usize,
}

impl Write for NameBuf {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        // One byte stays for the NUL.
        let n = s.len().min(self.bytes.len() - 1 - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}
