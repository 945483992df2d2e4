//! Memory of the target: `/proc/PID/mem` for text (it writes through page protection, into the process's private copy)
//! and `process_vm_readv` for many small reads at once.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use zerocopy::IntoBytes;

/// An open `/proc/PID/task/TID/mem`. It keeps naming the same address space even when the process replaces its program.
#[derive(Debug)]
pub struct Mem {
    file: File,
}

impl Mem {
    pub fn open(pid: i32, tid: i32) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(format!("/proc/{pid}/task/{tid}/mem"))?;
        Ok(Self { file })
    }

    pub fn read(&self, addr: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, addr)
    }

    pub fn read_vec(&self, addr: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut v = vec![0; len];
        self.read(addr, &mut v)?;
        Ok(v)
    }

    pub fn read_u64(&self, addr: u64) -> io::Result<u64> {
        let mut b = [0; 8];
        self.read(addr, &mut b)?;
        Ok(u64::from_le_bytes(b))
    }

    /// A C structure whose every bit pattern is valid.
    pub fn read_pod<T: Pod>(&self, addr: u64) -> io::Result<T> {
        Ok(self.read_pods(addr, 1)?.remove(0))
    }

    pub fn read_pods<T: Pod>(&self, addr: u64, count: usize) -> io::Result<Vec<T>> {
        let bytes = self.read_vec(addr, count.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::InvalidInput)?)?;
        // SAFETY: each chunk has the size of `T`, and `Pod` promises that any bytes are a `T`.
        Ok(bytes.chunks_exact(size_of::<T>()).map(|c| unsafe { c.as_ptr().cast::<T>().read_unaligned() }).collect())
    }

    pub fn write(&self, addr: u64, buf: &[u8]) -> io::Result<()> {
        self.file.write_all_at(buf, addr)
    }

    pub fn write_u32(&self, addr: u64, v: u32) -> io::Result<()> {
        self.write(addr, &v.to_le_bytes())
    }

    pub fn write_u64(&self, addr: u64, v: u64) -> io::Result<()> {
        self.write(addr, &v.to_le_bytes())
    }

    /// Gives the target its private copy of the page of each address, by writing back one byte as it is: text that
    /// nobody else writes, so nothing can come in between.
    pub fn prefault(&self, addr: u64) -> io::Result<()> {
        let mut b = [0];
        self.read(addr, &mut b)?;
        self.write(addr, &b)
    }
}

impl hpatch_core::image::Memory for Mem {
    fn read(&self, addr: u64, buf: &mut [u8]) -> bool {
        Mem::read(self, addr, buf).is_ok()
    }
}

/// A type for which every bit pattern is a value.
///
/// # Safety
/// `#[repr(C)]`, only integers and arrays of them.
pub unsafe trait Pod: Copy {}

// SAFETY: `#[repr(C)]` structures of integers.
unsafe impl Pod for hpatch_core::abi::Record {}
// SAFETY: as above.
unsafe impl Pod for hpatch_core::abi::Unit {}
// SAFETY: as above.
unsafe impl Pod for hpatch_core::abi::Write {}
// SAFETY: as above.
unsafe impl Pod for hpatch_core::abi::Func {}
// SAFETY: as above.
unsafe impl Pod for hpatch_core::abi::Range {}
// SAFETY: as above.
unsafe impl Pod for hpatch_core::abi::Move {}
// SAFETY: as above.
unsafe impl Pod for hpatch_core::abi::Keep {}
// SAFETY: as above.
unsafe impl Pod for u64 {}

/// One piece of memory to read: `[addr, addr + len)` to `words[at..]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Piece {
    pub addr: u64,
    /// Bytes, a multiple of 8.
    pub len: usize,
    /// Index in the destination.
    pub at: usize,
}

/// Reads `pieces` (at most 1024, `IOV_MAX`) of the address space of `tid` in one call. Gives the number of bytes read
/// before the first byte that could not be.
pub fn read_pieces(tid: i32, pieces: &[Piece], words: &mut [u64], iov: &mut IoVecs) -> io::Result<usize> {
    iov.local.clear();
    iov.remote.clear();
    for p in pieces {
        let dst = words.get_mut(p.at..p.at + p.len / 8).ok_or(io::ErrorKind::InvalidInput)?;
        iov.local.push(libc::iovec { iov_base: dst.as_mut_ptr().cast(), iov_len: p.len });
        iov.remote.push(libc::iovec { iov_base: p.addr as *mut libc::c_void, iov_len: p.len });
    }
    // SAFETY: the local vectors lie inside `words`, which is borrowed for writing; the remote ones are another process's.
    let n = unsafe {
        libc::process_vm_readv(
            tid,
            iov.local.as_ptr(),
            iov.local.len() as libc::c_ulong,
            iov.remote.as_ptr(),
            iov.remote.len() as libc::c_ulong,
            0,
        )
    };
    if n >= 0 {
        return Ok(n as usize);
    }
    let e = io::Error::last_os_error();
    // Filters that refuse ptrace(2) often refuse this as well, with whatever number.
    match e.raw_os_error() {
        Some(libc::EFAULT | libc::ESRCH) => Err(e),
        _ => read_from_file(tid, pieces, words),
    }
}

/// [`read_pieces`] through `/proc/TID/mem`.
fn read_from_file(tid: i32, pieces: &[Piece], words: &mut [u64]) -> io::Result<usize> {
    let file = File::open(format!("/proc/{tid}/mem"))?;
    let mut total = 0;
    for p in pieces {
        let room = words.get_mut(p.at..p.at + p.len / 8).ok_or(io::ErrorKind::InvalidInput)?.as_mut_bytes();
        let mut done = 0;
        while done < room.len() {
            match file.read_at(&mut room[done..], p.addr + done as u64) {
                Ok(0) | Err(_) => return Ok(total + done),
                Ok(n) => done += n,
            }
        }
        total += done;
    }
    Ok(total)
}

/// A stretch of the target's memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct ByteSpan {
    pub addr: u64,
    pub len: usize,
}

/// Reads `spans` one behind the other into `out`, which has exactly their size: in few calls where that is permitted, else one by one. On an
/// error gives the address that couldn't be read. Allocates nothing.
pub fn read_spans(mem: &Mem, tid: i32, spans: &[ByteSpan], out: &mut [u8]) -> Result<(), (u64, io::Error)> {
    const AT_ONCE: usize = 64;
    // A single stretch is read quicker through the file, as it is written.
    if let [only] = spans {
        return mem.read(only.addr, out).map_err(|e| (only.addr, e));
    }
    let mut remote = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; AT_ONCE];
    let mut rest = out;
    for chunk in spans.chunks(AT_ONCE) {
        for (r, s) in remote.iter_mut().zip(chunk) {
            *r = libc::iovec { iov_base: s.addr as *mut libc::c_void, iov_len: s.len };
        }
        let len = chunk.iter().map(|s| s.len).sum::<usize>();
        let Some((here, behind)) = rest.split_at_mut_checked(len) else {
            return Err((chunk[0].addr, io::ErrorKind::InvalidInput.into()));
        };
        let local = libc::iovec { iov_base: here.as_mut_ptr().cast(), iov_len: len };
        // SAFETY: the local vector is `here`, borrowed for writing; the remote ones are another process's.
        let got = unsafe { libc::process_vm_readv(tid, &local, 1, remote.as_ptr(), chunk.len() as libc::c_ulong, 0) };
        if usize::try_from(got) != Ok(len) {
            let mut at = 0;
            for s in chunk {
                mem.read(s.addr, &mut here[at..at + s.len]).map_err(|e| (s.addr, e))?;
                at += s.len;
            }
        }
        rest = behind;
    }
    Ok(())
}

/// Room for [`read_pieces`], so that it needn't allocate.
#[derive(Debug, Default)]
pub struct IoVecs {
    local: Vec<libc::iovec>,
    remote: Vec<libc::iovec>,
}

impl IoVecs {
    pub fn with_room(n: usize) -> Self {
        Self { local: Vec::with_capacity(n), remote: Vec::with_capacity(n) }
    }
}

/// The raw descriptor, for a message.
impl AsRawFd for Mem {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }
}
