//! Which pages of the target exist, from `/proc/PID/pagemap`: address space that is only set aside may be larger than any memory.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::Target;

const PAGE: u64 = 4096;
/// Bits of an entry (Documentation/admin-guide/mm/pagemap.rst).
const PRESENT_OR_SWAPPED: u64 = 3 << 62;
/// Entries that are read at once.
const ENTRIES: usize = 512;

/// `struct pm_scan_arg` (include/uapi/linux/fs.h, Linux 6.7).
#[repr(C)]
#[derive(Default)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
/// `PAGE_IS_PRESENT` and `PAGE_IS_SWAPPED`.
const EXISTS: u64 = 1 << 3 | 1 << 4;

/// An open page map, with room to read it.
#[derive(Debug)]
pub struct Pages {
    file: File,
    entries: Vec<u8>,
    /// Whether the kernel finds pages by itself.
    scans: bool,
    /// Entries that were read since [`Self::begin`].
    read: u64,
}

impl Pages {
    pub fn open(target: &Target) -> io::Result<Self> {
        let file = File::open(format!("/proc/{}/task/{}/pagemap", target.pid, target.live_tid))?;
        Ok(Self { file, entries: vec![0; ENTRIES * 8], scans: true, read: 0 })
    }

    /// Counts anew.
    pub fn begin(&mut self) {
        self.read = 0;
    }

    /// Bytes of address space that were looked at page by page.
    pub fn looked_at(&self) -> u64 {
        self.read * PAGE
    }

    /// The first stretch of at most `most` bytes in `[at, stop)` whose pages exist, or may; `None` where there is none, and an address up to which
    /// nothing is in [`Next::Nothing`].
    pub fn next(&mut self, at: u64, stop: u64, most: u64) -> Next {
        if self.scans {
            match self.scan(at, stop, most) {
                Ok(next) => return next,
                // An older kernel.
                Err(_) => self.scans = false,
            }
        }
        self.look(at, stop, most)
    }

    fn scan(&self, at: u64, stop: u64, most: u64) -> io::Result<Next> {
        let mut found = Region::default();
        let mut arg = ScanArg {
            size: size_of::<ScanArg>() as u64,
            start: at & !(PAGE - 1),
            end: stop.next_multiple_of(PAGE),
            vec: (&raw mut found) as u64,
            vec_len: 1,
            max_pages: most / PAGE,
            category_anyof_mask: EXISTS,
            return_mask: EXISTS,
            ..ScanArg::default()
        };
        // SAFETY: `arg` is the structure that the request number names, with its size in `size`; it names one region, which lives as long.
        let count = unsafe { libc::ioctl(self.file.as_raw_fd(), PAGEMAP_SCAN, &raw mut arg) };
        match count {
            0 => Ok(Next::Nothing(stop)),
            1.. => Ok(Next::Pages(found.start.max(at), found.end.min(stop))),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn look(&mut self, at: u64, stop: u64, most: u64) -> Next {
        let n = ((stop - at).min(most) / PAGE).clamp(1, ENTRIES as u64) as usize;
        let Ok(()) = self.file.read_exact_at(&mut self.entries[..n * 8], at / PAGE * 8) else {
            return Next::Pages(at, (at + PAGE).min(stop));
        };
        self.read += n as u64;
        let exists = |c: &[u8]| c.try_into().map_or(u64::MAX, u64::from_le_bytes) & PRESENT_OR_SWAPPED != 0;
        let mut pages = self.entries[..n * 8].chunks_exact(8);
        let first = pages.next().is_none_or(exists);
        let run = 1 + pages.take_while(|c| exists(c) == first).count() as u64;
        let end = (at + run * PAGE).min(stop);
        if first { Next::Pages(at, end) } else { Next::Nothing(end) }
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Pages(u64, u64),
    /// Up to this address.
    Nothing(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A large stretch of address space with three pages: both ways find them, and nothing else.
    #[test]
    fn pages_are_found_in_empty_space() {
        const LEN: u64 = 1 << 30;
        // SAFETY: fresh memory, which stays mapped; the three pages lie in it.
        let base = unsafe {
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
            let base = libc::mmap(std::ptr::null_mut(), LEN as usize, access, kind, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            libc::madvise(base, LEN as usize, libc::MADV_NOHUGEPAGE);
            for page in [5, 6, 200_000] {
                base.cast::<u8>().add(page * PAGE as usize).write_volatile(1);
            }
            base as u64
        };
        let target = Target::open(std::process::id() as i32).expect("own process");
        let mut pages = Pages::open(&target).expect("own page map");
        let all = |pages: &mut Pages| {
            let (mut found, mut at) = (Vec::new(), base);
            while at < base + LEN {
                at = match pages.next(at, base + LEN, 2 << 20) {
                    Next::Nothing(end) => end,
                    Next::Pages(start, end) => {
                        found.extend((start..end).step_by(PAGE as usize).map(|a| (a - base) / PAGE));
                        end
                    }
                };
            }
            found
        };
        assert_eq!(all(&mut pages), [5, 6, 200_000]);
        pages.scans = false;
        pages.begin();
        assert_eq!(all(&mut pages), [5, 6, 200_000]);
        assert!(pages.looked_at() >= LEN);
    }
}
