//! Memory mappings of the target: the text of `/proc/PID/maps` and, inside the stop, one query per address.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// One line of `/proc/PID/maps` (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    pub read: bool,
    pub write: bool,
    pub exec: bool,
    pub shared: bool,
    pub offset: u64,
    pub inode: u64,
    pub path: String,
}

impl Mapping {
    pub fn contains(&self, addr: u64) -> bool {
        (self.start..self.end).contains(&addr)
    }

    /// The file's path without the mark of an unlinked file.
    pub fn file_path(&self) -> &str {
        self.path.strip_suffix(" (deleted)").unwrap_or(&self.path)
    }

    /// The file's name without directories and the mark of an unlinked file.
    pub fn file_name(&self) -> &str {
        let path = self.file_path();
        path.rsplit('/').next().unwrap_or(path)
    }
}

pub fn parse(text: &str) -> Vec<Mapping> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let perms = fields.next()?.as_bytes();
    let offset = fields.next()?;
    let _device = fields.next()?;
    let inode = fields.next()?;
    let path = fields.next().unwrap_or("").trim_start();
    let hex = |s| u64::from_str_radix(s, 16).ok();
    Some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        read: perms.first() == Some(&b'r'),
        write: perms.get(1) == Some(&b'w'),
        exec: perms.get(2) == Some(&b'x'),
        shared: perms.get(3) == Some(&b's'),
        offset: hex(offset)?,
        inode: inode.parse().ok()?,
        path: path.to_owned(),
    })
}

/// The mapping that holds `addr`, in an ascending list.
pub fn find(maps: &[Mapping], addr: u64) -> Option<&Mapping> {
    let i = maps.partition_point(|m| m.end <= addr);
    maps.get(i).filter(|m| m.contains(addr))
}

/// `struct procmap_query` (include/uapi/linux/fs.h, Linux 6.11).
#[repr(C)]
#[derive(Default)]
struct ProcmapQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: libc::c_ulong = 0xc068_6611;

/// Asks the kernel for the bounds of the mapping that holds `addr`: `Ok(None)` when there is none, an error when the
/// kernel is too old.
pub fn query(maps_file: &OwnedFd, addr: u64) -> io::Result<Option<(u64, u64)>> {
    let mut q = ProcmapQuery { size: size_of::<ProcmapQuery>() as u64, query_addr: addr, ..Default::default() };
    // SAFETY: `q` is the structure that the request number names, with its size in `size`; no buffers are passed in it.
    let r = unsafe { libc::ioctl(maps_file.as_raw_fd(), PROCMAP_QUERY, &mut q) };
    if r == 0 {
        return Ok(Some((q.vma_start, q.vma_end)));
    }
    let e = io::Error::last_os_error();
    if e.raw_os_error() == Some(libc::ENOENT) { Ok(None) } else { Err(e) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = "\
55d0c0000000-55d0c0001000 r--p 00000000 fe:00 1234                       /usr/bin/a b
7f0000000000-7f0000021000 rw-p 00000000 00:00 0 
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
7f1000000000-7f1000001000 r-xp 00001000 00:01 77                         /memfd:x.so (deleted)
broken line
";
        let m = parse(text);
        assert_eq!(m.len(), 4);
        assert_eq!(m[0].file_name(), "a b");
        assert!(m[1].write && m[1].path.is_empty());
        assert_eq!(m[3].file_name(), "memfd:x.so");
        assert_eq!(find(&m[..3], 0x7f00_0000_0010).map(|m| m.end), Some(0x7f00_0002_1000));
        assert!(find(&m[..3], 0x7f00_0002_1000).is_none());
    }

    #[test]
    fn query_of_our_own_stack() {
        let fd: OwnedFd = std::fs::File::open("/proc/self/maps").unwrap().into();
        let x = 0u8;
        let here = &raw const x as u64;
        match query(&fd, here) {
            Ok(v) => {
                let (a, b) = v.unwrap();
                assert!(a <= here && here < b);
                assert_eq!(query(&fd, 1).unwrap(), None);
            }
            Err(e) => assert_eq!(e.raw_os_error(), Some(libc::ENOTTY)),
        }
    }
}
