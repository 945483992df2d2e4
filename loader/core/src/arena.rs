//! A bump allocator over memory that somebody else mapped.

use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// Hands out zero-initialised slices of a buffer, from front to back; nothing is given back.
#[derive(Debug)]
pub struct Arena<'a> {
    rest: &'a mut [u8],
}

impl<'a> Arena<'a> {
    /// `buf` must be zeroed.
    pub fn new(buf: &'a mut [u8]) -> Arena<'a> {
        Arena { rest: buf }
    }

    /// `n` values, or `None` when the buffer is used up.
    pub fn take<T: FromBytes + IntoBytes + KnownLayout>(&mut self, n: usize) -> Option<&'a mut [T]> {
        let size = n.checked_mul(size_of::<T>())?;
        let skip = self.rest.as_ptr().align_offset(align_of::<T>());
        let end = skip.checked_add(size)?;
        if end > self.rest.len() {
            return None;
        }
        let (taken, rest) = core::mem::take(&mut self.rest).split_at_mut(end);
        self.rest = rest;
        <[T]>::mut_from_bytes(&mut taken[skip..]).ok()
    }

    pub fn one<T: FromBytes + IntoBytes + KnownLayout>(&mut self) -> Option<&'a mut T> {
        self.take(1)?.first_mut()
    }

    pub fn copy(&mut self, bytes: &[u8]) -> Option<&'a mut [u8]> {
        let out = self.take::<u8>(bytes.len())?;
        out.copy_from_slice(bytes);
        Some(out)
    }
}

/// Adds up what an [`Arena`] must hold, alignment included.
#[derive(Debug, Clone, Copy, Default)]
pub struct Need(u64);

impl Need {
    pub fn add<T>(&mut self, n: u64) -> &mut Need {
        let size = n.saturating_mul(size_of::<T>() as u64);
        self.0 = self.0.saturating_add(size).saturating_add(align_of::<T>() as u64 - 1);
        self
    }

    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_aligned_and_bounded() {
        let mut buf = [0u8; 64];
        let mut need = Need::default();
        need.add::<u8>(3).add::<u64>(2);
        assert!(need.bytes() <= 64);
        let mut a = Arena::new(&mut buf);
        assert_eq!(a.copy(b"abc").map(|s| s.len()), Some(3));
        let words = a.take::<u64>(2).expect("room");
        assert_eq!(words.as_ptr() as usize % 8, 0);
        assert!(a.take::<u64>(8).is_none());
        assert!(a.take::<u64>(usize::MAX).is_none());
    }
}
