//! Memory that the loader maps for itself.

use crate::sys::{self, Errno, MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE};

pub const PAGE: u64 = 4096;

pub const fn page_up(n: u64) -> Option<u64> {
    match n.checked_add(PAGE - 1) {
        Some(v) => Some(v & !(PAGE - 1)),
        None => None,
    }
}

/// A private anonymous mapping, read and write, zeroed, unmapped when it goes out of scope.
#[derive(Debug)]
pub struct Pages {
    addr: u64,
    len: u64,
}

impl Pages {
    pub fn new(len: u64) -> sys::Result<Pages> {
        const ENOMEM: Errno = Errno(12);
        let len = page_up(len.max(1)).ok_or(ENOMEM)?;
        // SAFETY: a new mapping where the kernel likes: nothing else is touched.
        let addr = unsafe { sys::mmap(0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, None, 0) }?;
        Ok(Pages { addr, len })
    }

    /// Length in bytes, whole pages.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Takes over a mapping that [`Pages::leak`] gave away.
    ///
    /// # Safety
    /// `addr` and `len` must be those of a leaked mapping, taken over once.
    pub unsafe fn adopt(addr: u64, len: u64) -> Pages {
        Pages { addr, len }
    }

    /// Keeps it mapped; its address.
    pub fn leak(self) -> u64 {
        let addr = self.addr;
        core::mem::forget(self);
        addr
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is owned, readable and initialised by the kernel.
        unsafe { core::slice::from_raw_parts(self.addr as *const u8, self.len as usize) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is owned, writable and initialised by the kernel.
        unsafe { core::slice::from_raw_parts_mut(self.addr as *mut u8, self.len as usize) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is owned and no borrow of it is left.
        let _ = unsafe { sys::munmap(self.addr, self.len) };
    }
}
