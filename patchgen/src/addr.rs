//! Words for addresses. `Svma + LoadBias = Avma` is the only conversion between address spaces; an offline tool knows only the first.

use std::fmt;

/// An address as the ELF file states it (`p_vaddr`, `st_value`, `r_offset`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Svma(pub u64);

/// An offset in bytes from the start of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FileOffset(pub u64);

impl Svma {
    /// The address `n` bytes on, wrapping as address arithmetic does.
    #[must_use]
    pub fn plus(self, n: u64) -> Svma {
        Svma(self.0.wrapping_add(n))
    }
    /// The address at a signed distance.
    #[must_use]
    pub fn offset(self, n: i64) -> Svma {
        Svma(self.0.wrapping_add_signed(n))
    }
}

impl fmt::Debug for Svma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}
impl fmt::Display for Svma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A half-open range of stated addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SvmaRange {
    pub start: Svma,
    pub end: Svma,
}

impl SvmaRange {
    pub fn new(start: Svma, size: u64) -> SvmaRange {
        SvmaRange { start, end: start.plus(size) }
    }
    pub fn size(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
    pub fn contains(&self, a: Svma) -> bool {
        self.start <= a && a < self.end
    }
    pub fn overlaps(&self, other: SvmaRange) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// A dense index into one of a phase's vectors.
macro_rules! id {
    ($($(#[$m:meta])* $name:ident),* $(,)?) => {$(
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u32);
        impl $name {
            pub fn index(self) -> usize { self.0 as usize }
        }
        impl From<usize> for $name {
            fn from(i: usize) -> Self { $name(u32::try_from(i).expect("more than 2^32 items were refused on input")) }
        }
    )*};
}
id! {
    /// In [`crate::image::Image::symbols`].
    SymbolId,
    /// In [`crate::image::Image::imports`].
    ImportId,
    /// In [`crate::image::Image::sections`].
    SectionId,
    /// In [`crate::lift::Lifted::functions`].
    FuncId,
    /// In [`crate::lift::Lifted::data`].
    DataId,
}
