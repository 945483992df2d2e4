//! The names in a directory.

use core::ffi::CStr;

use crate::mem::Pages;
use crate::sys::{self, Fd};

/// More than a store or a trust directory ever holds.
const SIZE: u64 = 256 * 1024;

/// The entries of a directory as `getdents64(2)` gave them: `d_ino` u64, `d_off` u64, `d_reclen` u16, `d_type` u8, name with NUL.
#[derive(Debug)]
pub struct Dir {
    pages: Pages,
    len: usize,
}

impl Dir {
    pub fn read(fd: &Fd) -> sys::Result<Dir> {
        let mut pages = Pages::new(SIZE)?;
        let mut len = 0;
        loop {
            match sys::getdents(fd, &mut pages.bytes_mut()[len..])? {
                0 => return Ok(Dir { pages, len }),
                n => len += n,
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = &CStr> {
        let mut rest = &self.pages.bytes()[..self.len];
        core::iter::from_fn(move || {
            let size = usize::from(u16::from_le_bytes(rest.get(16..18)?.try_into().ok()?));
            let entry = rest.get(..size).filter(|e| e.len() > 19)?;
            rest = &rest[size..];
            CStr::from_bytes_until_nul(&entry[19..]).ok()
        })
    }

    /// Names that end with `suffix`, hidden ones left out, in byte order.
    pub fn sorted<'a>(&'a self, suffix: &'a [u8]) -> impl Iterator<Item = &'a CStr> {
        let mut last: Option<&CStr> = None;
        core::iter::from_fn(move || {
            let fits =
                |n: &&CStr| n.to_bytes().ends_with(suffix) && n.to_bytes()[0] != b'.' && last.is_none_or(|l| *n > l);
            let next = self.names().filter(fits).min()?;
            last = Some(next);
            Some(next)
        })
    }
}
