//! The tables inside a payload object: arrays of fixed-size records in non-alloc sections named `.hpatch.*`.
//!
//! Addresses are svma (as stated in the old image) unless a field says otherwise. Names are offsets in the payload's `.strtab`.
//! The records are byte-aligned, so a table can be read in place: `table::<Func>(section_bytes)`.

use crate::codes::{self, Code};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Section names.
pub const BIND: &str = ".hpatch.bind";
pub const FUNC: &str = ".hpatch.func";
pub const RANGE: &str = ".hpatch.range";
pub const SITE: &str = ".hpatch.site";
pub const PSITE: &str = ".hpatch.psite";
pub const GUARD: &str = ".hpatch.guard";
pub const EDIT: &str = ".hpatch.edit";
pub const STATE: &str = ".hpatch.state";
pub const KEEP: &str = ".hpatch.keep";
/// All of them, in the order in which the writer puts them.
pub const SECTIONS: [&str; 9] = [BIND, FUNC, RANGE, SITE, PSITE, GUARD, EDIT, STATE, KEEP];

/// Bytes of a SHA-256 that are kept as a pre-image digest.
pub const PREIMAGE: usize = 16;
/// Bytes of the jump that a detour writes.
pub const DETOUR: u32 = 5;

/// [`Bind::kind`]: the value is an svma in the old image.
pub const BIND_OLD: u8 = 1;
/// [`Bind::kind`]: looked up by name and version in the target. With a value it must be found there: the module's own definition is the one
/// that the process uses.
pub const BIND_IMPORT: u8 = 2;
/// [`Bind::kind`]: the eight bytes at an svma in the old image, as they are when the bundle is bound.
pub const BIND_WORD: u8 = 3;
/// [`Bind::flags`]: 0 when not found.
pub const BIND_WEAK: u8 = 1;

/// [`Func::flags`]: like `main`, may never leave the stack.
pub const FUNC_MAIN_LIKE: u32 = 1;
/// [`Func::flags`]: stays where it is, with some of its bytes edited; there is no replacement and no detour.
pub const FUNC_EDITED: u32 = 2;
/// [`Func::flags`]: stays as it is, and must not be active in the stop either: it may have read what an edit changes, or hold a value of a type
/// that changed. Not with [`FUNC_EDITED`].
pub const FUNC_IDLE: u32 = 4;
/// [`Edit::flags`]: the bytes are code.
pub const EDIT_CODE: u32 = 1;
/// [`Edit::flags`]: PC-relative relocations inside are relative to [`Edit::svma`], not to where the payload is mapped.
pub const EDIT_AT_SITE: u32 = 2;

/// [`State::kind`]: the live bytes of the old image go to the payload's object when the bundle is applied, and back when it is reverted.
pub const STATE_MOVED: u32 = 1;
/// [`State::kind`]: the payload's bytes replace the live ones when the bundle is applied, and stay.
pub const STATE_RESET: u32 = 2;

/// [`Keep::flags`]: the value may go to the same variable of a bundle that takes this one's place.
pub const KEEP_GOES_ALONG: u32 = 1;

/// What an undefined symbol of the payload is.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Bind {
    /// Index in `.symtab`.
    pub symbol: U32,
    /// [`BIND_OLD`], [`BIND_IMPORT`] or [`BIND_WORD`].
    pub kind: u8,
    pub flags: u8,
    pub reserved: [u8; 2],
    /// svma for [`BIND_OLD`] and [`BIND_WORD`]; for [`BIND_IMPORT`] the svma of the module's own definition, where it must be that one, else 0.
    pub value: U64,
    /// Import name, else 0.
    pub name: U32,
    /// Symbol version, 0 for none.
    pub version: U32,
}

/// A function that is replaced, edited in place, or only has to be idle.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Func {
    pub entry: U64,
    /// Where the detour is written: the entry, or behind its `endbr64`.
    pub site: U64,
    /// Bytes at `site` that may be overwritten, at least [`DETOUR`]; 0 for a function that isn't replaced.
    pub window: U32,
    /// The replacement, in `.symtab`; 0 for a function that isn't replaced.
    pub symbol: U32,
    pub first_range: U32,
    /// At least 1; the part with the entry first.
    pub range_count: U32,
    pub first_site: U32,
    pub site_count: U32,
    pub name: U32,
    pub flags: U32,
    /// First half of the SHA-256 over the bytes of the ranges, in order.
    pub preimage: [u8; PREIMAGE],
}

/// A part of an old function.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Range {
    pub svma: U64,
    pub size: U64,
}

/// A return address inside such a function (the instruction behind a call), ascending within a function.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Site {
    pub svma: U64,
}

/// A return address inside the replacement code.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct PayloadSite {
    /// Section index in the payload.
    pub section: U32,
    /// In bytes from the start of that section.
    pub offset: U32,
}

/// Code or constants that stay and are relied upon.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Guard {
    pub svma: U64,
    pub size: U64,
    pub name: U32,
    pub reserved: U32,
    pub preimage: [u8; PREIMAGE],
}

/// Bytes of the old image that are overwritten in place.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Edit {
    pub svma: U64,
    pub size: U32,
    /// A symbol in an alloc section of the payload that holds the new bytes, relocated like any other.
    pub symbol: U32,
    pub name: U32,
    pub flags: U32,
    /// First half of the SHA-256 over the old bytes; zero when the dynamic linker relocated them.
    pub preimage: [u8; PREIMAGE],
    pub reserved: U64,
}

/// Bytes of a variable that change places in the stop, whatever they are by then.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct State {
    /// In the old image.
    pub svma: U64,
    /// From the start of `symbol`, in bytes.
    pub offset: U64,
    pub size: U32,
    /// A symbol in an alloc section of the payload: a writable one for [`STATE_MOVED`].
    pub symbol: U32,
    pub name: U32,
    /// [`STATE_MOVED`] or [`STATE_RESET`].
    pub kind: U32,
    pub reserved: U64,
}

/// A new variable, as other bundles for the same module know it.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Keep {
    /// First half of the SHA-256 over which one it is: unit, scopes and name.
    pub key: [u8; PREIMAGE],
    /// First half of the SHA-256 over what its bytes mean.
    pub shape: [u8; PREIMAGE],
    pub size: U32,
    /// A symbol in a writable alloc section of the payload...
    pub symbol: U32,
    pub name: U32,
    /// [`KEEP_GOES_ALONG`].
    pub flags: U32,
    /// ...and the distance from it, in bytes.
    pub offset: U64,
}

const _: () = assert!(size_of::<Bind>() == 24);
const _: () = assert!(size_of::<Func>() == 64);
const _: () = assert!(size_of::<Range>() == 16);
const _: () = assert!(size_of::<Site>() == 8);
const _: () = assert!(size_of::<PayloadSite>() == 8);
const _: () = assert!(size_of::<Guard>() == 40);
const _: () = assert!(size_of::<Edit>() == 48);
const _: () = assert!(size_of::<State>() == 40);
const _: () = assert!(size_of::<Keep>() == 56);

/// A section's bytes as records, in place.
///
/// # Errors
/// [`codes::RECORDS_SIZE`] when a part of a record is left over.
pub fn table<T: FromBytes + KnownLayout + Immutable + Unaligned>(bytes: &[u8]) -> Result<&[T], Code> {
    <[T]>::ref_from_bytes(bytes).map_err(|_| codes::RECORDS_SIZE)
}

impl Bind {
    #[must_use]
    pub fn old(symbol: u32, svma: u64) -> Bind {
        Bind {
            symbol: symbol.into(),
            kind: BIND_OLD,
            flags: 0,
            reserved: [0; 2],
            value: svma.into(),
            name: 0.into(),
            version: 0.into(),
        }
    }
    #[must_use]
    pub fn word(symbol: u32, svma: u64) -> Bind {
        Bind { kind: BIND_WORD, ..Bind::old(symbol, svma) }
    }
    /// `name` and `version` are offsets in `.strtab`.
    #[must_use]
    pub fn import(symbol: u32, name: u32, version: u32, weak: bool) -> Bind {
        let flags = if weak { BIND_WEAK } else { 0 };
        Bind {
            symbol: symbol.into(),
            kind: BIND_IMPORT,
            flags,
            reserved: [0; 2],
            value: 0.into(),
            name: name.into(),
            version: version.into(),
        }
    }
    /// An import that must be found at `svma` in the module itself.
    #[must_use]
    pub fn own(symbol: u32, svma: u64, name: u32, version: u32) -> Bind {
        Bind { value: svma.into(), ..Bind::import(symbol, name, version, false) }
    }
    #[must_use]
    pub fn weak(&self) -> bool {
        self.flags & BIND_WEAK != 0
    }
    /// Checks what doesn't need the rest of the payload.
    ///
    /// # Errors
    /// [`codes::RECORD_VALUE`].
    pub fn check(&self) -> Result<(), Code> {
        let fits = match self.kind {
            BIND_OLD | BIND_WORD => self.flags == 0 && self.name == 0 && self.version == 0,
            BIND_IMPORT => self.flags & !BIND_WEAK == 0 && !(self.weak() && self.value != 0) && self.name != 0,
            _ => false,
        };
        if fits && self.reserved == [0; 2] && self.symbol != 0 { Ok(()) } else { Err(codes::RECORD_VALUE) }
    }
}

impl Func {
    /// Its parts among the payload's ranges.
    ///
    /// # Errors
    /// [`codes::RECORD_INDEX`] when they aren't all there.
    pub fn ranges<'a>(&self, all: &'a [Range]) -> Result<&'a [Range], Code> {
        part(all, self.first_range, self.range_count)
    }
    /// Its return addresses among the payload's sites.
    ///
    /// # Errors
    /// [`codes::RECORD_INDEX`] when they aren't all there.
    pub fn sites<'a>(&self, all: &'a [Site]) -> Result<&'a [Site], Code> {
        part(all, self.first_site, self.site_count)
    }
    #[must_use]
    pub fn main_like(&self) -> bool {
        self.flags & FUNC_MAIN_LIKE != 0
    }
    /// A detour leads to other code.
    #[must_use]
    pub fn replaced(&self) -> bool {
        self.flags & (FUNC_EDITED | FUNC_IDLE) == 0
    }
    #[must_use]
    pub fn edited(&self) -> bool {
        self.flags & FUNC_EDITED != 0
    }
    /// Nothing of it changes.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.flags & FUNC_IDLE != 0
    }
    /// Checks the record against the payload's ranges and sites: indices, order, the entry and the window inside the first part's reach.
    ///
    /// # Errors
    /// [`codes::RECORD_VALUE`], [`codes::RECORD_INDEX`] or [`codes::RECORD_ORDER`].
    pub fn check(&self, ranges: &[Range], sites: &[Site]) -> Result<(), Code> {
        let ranges = self.ranges(ranges)?;
        let sites = self.sites(sites)?;
        let (entry, site) = (self.entry.get(), self.site.get());
        let first = ranges.first().ok_or(codes::RECORD_INDEX)?;
        let fits = match self.replaced() {
            true => (site == entry || entry.checked_add(4) == Some(site)) && self.window >= DETOUR && self.symbol != 0,
            false => site == entry && self.window == 0 && self.symbol == 0 && !(self.edited() && self.idle()),
        };
        if !fits || self.flags & !(FUNC_MAIN_LIKE | FUNC_EDITED | FUNC_IDLE) != 0 || !first.holds(entry) {
            return Err(codes::RECORD_VALUE);
        }
        for r in ranges {
            r.check()?;
        }
        if !sites.windows(2).all(|w| w[0].svma < w[1].svma) {
            return Err(codes::RECORD_ORDER);
        }
        // A call may be the last instruction of a part, then its return address is the end of the part.
        let inside = |s: &Site| ranges.iter().any(|r| r.svma < s.svma && s.svma.get() - r.svma.get() <= r.size.get());
        if sites.iter().all(inside) { Ok(()) } else { Err(codes::RECORD_VALUE) }
    }
}

impl Range {
    #[must_use]
    pub fn new(svma: u64, size: u64) -> Range {
        Range { svma: svma.into(), size: size.into() }
    }
    #[must_use]
    pub fn holds(&self, a: u64) -> bool {
        a >= self.svma.get() && a - self.svma.get() < self.size.get()
    }
    /// Both ends of the edit lie in the range.
    #[must_use]
    pub fn covers(&self, edit: &Edit) -> bool {
        let offset = edit.svma.get().checked_sub(self.svma.get());
        offset.and_then(|o| o.checked_add(edit.size.get().into())).is_some_and(|end| end <= self.size.get())
    }
    fn check(&self) -> Result<(), Code> {
        let end = self.svma.get().checked_add(self.size.get());
        if self.size != 0 && end.is_some() { Ok(()) } else { Err(codes::RECORD_VALUE) }
    }
}

impl Guard {
    /// Checks what doesn't need the rest of the payload.
    ///
    /// # Errors
    /// [`codes::RECORD_VALUE`].
    pub fn check(&self) -> Result<(), Code> {
        Range::new(self.svma.get(), self.size.get()).check()?;
        if self.reserved == 0 { Ok(()) } else { Err(codes::RECORD_VALUE) }
    }
}

impl Edit {
    #[must_use]
    pub fn at_site(&self) -> bool {
        self.flags & EDIT_AT_SITE != 0
    }
    #[must_use]
    pub fn code(&self) -> bool {
        self.flags & EDIT_CODE != 0
    }
    /// Checks what doesn't need the rest of the payload.
    ///
    /// # Errors
    /// [`codes::RECORD_VALUE`].
    pub fn check(&self) -> Result<(), Code> {
        Range::new(self.svma.get(), self.size.get().into()).check()?;
        let fits = self.symbol != 0 && self.flags & !(EDIT_CODE | EDIT_AT_SITE) == 0 && self.reserved == 0;
        if fits { Ok(()) } else { Err(codes::RECORD_VALUE) }
    }
}

impl State {
    #[must_use]
    pub fn moved(&self) -> bool {
        self.kind == STATE_MOVED
    }
    /// Checks what doesn't need the rest of the payload.
    ///
    /// # Errors
    /// [`codes::RECORD_VALUE`].
    pub fn check(&self) -> Result<(), Code> {
        Range::new(self.svma.get(), self.size.get().into()).check()?;
        Range::new(self.offset.get(), self.size.get().into()).check()?;
        let fits = self.symbol != 0 && matches!(self.kind.get(), STATE_MOVED | STATE_RESET) && self.reserved == 0;
        if fits { Ok(()) } else { Err(codes::RECORD_VALUE) }
    }
}

impl Keep {
    #[must_use]
    pub fn goes_along(&self) -> bool {
        self.flags & KEEP_GOES_ALONG != 0
    }
    /// Checks what doesn't need the rest of the payload.
    ///
    /// # Errors
    /// [`codes::RECORD_VALUE`].
    pub fn check(&self) -> Result<(), Code> {
        Range::new(self.offset.get(), self.size.get().into()).check()?;
        let fits = self.symbol != 0 && self.flags & !KEEP_GOES_ALONG == 0;
        if fits { Ok(()) } else { Err(codes::RECORD_VALUE) }
    }
}

/// Checks that nothing is known by the same key twice, where it may go along.
///
/// # Errors
/// [`codes::RECORD_VALUE`], [`codes::RECORD_ORDER`] where the records aren't ascending by key.
pub fn check_keeps(keeps: &[Keep]) -> Result<(), Code> {
    keeps.iter().try_for_each(Keep::check)?;
    let twice = |w: &[Keep]| w[0].key == w[1].key && (w[0].goes_along() || w[1].goes_along());
    if keeps.windows(2).any(|w| w[0].key > w[1].key) {
        return Err(codes::RECORD_ORDER);
    }
    if keeps.windows(2).any(twice) { Err(codes::RECORD_VALUE) } else { Ok(()) }
}

/// Checks that code is edited only inside functions that nobody executes meanwhile: every edit of code lies in a part of a function
/// with [`FUNC_EDITED`], and each of those has such an edit. The records themselves have been checked.
///
/// # Errors
/// [`codes::RECORD_VALUE`].
pub fn check_code_edits(funcs: &[Func], ranges: &[Range], edits: &[Edit]) -> Result<(), Code> {
    let inside = |f: &Func, e: &Edit| f.ranges(ranges).is_ok_and(|parts| parts.iter().any(|r| r.covers(e)));
    let edited = || funcs.iter().filter(|f| f.edited());
    let code = || edits.iter().filter(|e| e.code());
    let held = code().all(|e| edited().any(|f| inside(f, e)));
    let used = edited().all(|f| code().any(|e| inside(f, e)));
    if held && used { Ok(()) } else { Err(codes::RECORD_VALUE) }
}

fn part<T>(all: &[T], first: U32, count: U32) -> Result<&[T], Code> {
    let first = first.get() as usize;
    let end = first.checked_add(count.get() as usize).ok_or(codes::RECORD_INDEX)?;
    all.get(first..end).ok_or(codes::RECORD_INDEX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn func() -> Func {
        Func {
            entry: 0x1000.into(),
            site: 0x1004.into(),
            window: 5.into(),
            symbol: 1.into(),
            first_range: 0.into(),
            range_count: 2.into(),
            first_site: 0.into(),
            site_count: 2.into(),
            name: 1.into(),
            flags: 0.into(),
            preimage: [7; PREIMAGE],
        }
    }

    #[test]
    fn records_read_in_place_at_any_alignment() {
        let mut bytes = vec![0u8];
        for n in 0..3u64 {
            bytes.extend_from_slice(Range::new(n, n + 1).as_bytes());
        }
        let ranges = table::<Range>(&bytes[1..]).unwrap();
        assert_eq!(ranges.len(), 3);
        assert_eq!(ranges[2], Range::new(2, 3));
        assert_eq!(table::<Range>(&bytes), Err(codes::RECORDS_SIZE));
    }

    #[test]
    fn function_record_is_checked() {
        let ranges = [Range::new(0x1000, 0x40), Range::new(0x800, 0x10)];
        let sites = [0x80f, 0x1040].map(|a: u64| Site { svma: a.into() });
        assert_eq!(func().check(&ranges, &sites), Ok(()));
        assert_eq!(Func { window: 4.into(), ..func() }.check(&ranges, &sites), Err(codes::RECORD_VALUE));
        assert_eq!(Func { site: 0x1008.into(), ..func() }.check(&ranges, &sites), Err(codes::RECORD_VALUE));
        assert_eq!(Func { range_count: 0.into(), ..func() }.check(&ranges, &sites), Err(codes::RECORD_INDEX));
        assert_eq!(Func { range_count: 3.into(), ..func() }.check(&ranges, &sites), Err(codes::RECORD_INDEX));
        assert_eq!(Func { first_site: u32::MAX.into(), ..func() }.check(&ranges, &sites), Err(codes::RECORD_INDEX));
        assert_eq!(func().check(&ranges, &[sites[1], sites[0]]), Err(codes::RECORD_ORDER));
        assert_eq!(func().check(&ranges, &[sites[0], Site { svma: 0x1041.into() }]), Err(codes::RECORD_VALUE));
        assert_eq!(func().check(&[Range::new(0x1000, u64::MAX), ranges[1]], &sites), Err(codes::RECORD_VALUE));
    }

    #[test]
    fn an_edited_function_has_no_detour_and_holds_its_edits() {
        let ranges = [Range::new(0x1000, 0x40), Range::new(0x800, 0x10)];
        let sites = [0x80f, 0x1040].map(|a: u64| Site { svma: a.into() });
        let edited =
            Func { site: 0x1000.into(), window: 0.into(), symbol: 0.into(), flags: FUNC_EDITED.into(), ..func() };
        assert_eq!(edited.check(&ranges, &sites), Ok(()));
        assert_eq!(Func { window: 5.into(), ..edited }.check(&ranges, &sites), Err(codes::RECORD_VALUE));
        assert_eq!(Func { symbol: 1.into(), ..edited }.check(&ranges, &sites), Err(codes::RECORD_VALUE));
        assert_eq!(Func { site: 0x1004.into(), ..edited }.check(&ranges, &sites), Err(codes::RECORD_VALUE));
        assert_eq!(Func { flags: 0.into(), ..edited }.check(&ranges, &sites), Err(codes::RECORD_VALUE));
        let idle = Func { flags: FUNC_IDLE.into(), ..edited };
        assert_eq!(idle.check(&ranges, &sites), Ok(()));
        assert_eq!(
            Func { flags: (FUNC_IDLE | FUNC_EDITED).into(), ..idle }.check(&ranges, &sites),
            Err(codes::RECORD_VALUE)
        );
        assert_eq!(Func { symbol: 1.into(), ..idle }.check(&ranges, &sites), Err(codes::RECORD_VALUE));
        assert_eq!(Func { flags: 8.into(), ..idle }.check(&ranges, &sites), Err(codes::RECORD_VALUE));
        let edit = |svma: u64, size: u32| Edit {
            svma: svma.into(),
            size: size.into(),
            symbol: 1.into(),
            flags: EDIT_CODE.into(),
            ..Edit::read_from_bytes(&[0; 48]).unwrap()
        };
        let all = |edits: &[Edit]| check_code_edits(&[edited], &ranges, edits);
        assert_eq!(all(&[edit(0x103c, 4), edit(0x800, 1)]), Ok(()));
        assert_eq!(all(&[edit(0x103d, 4)]), Err(codes::RECORD_VALUE), "runs over the end of the function");
        assert_eq!(all(&[edit(0xfff, 4)]), Err(codes::RECORD_VALUE));
        assert_eq!(all(&[]), Err(codes::RECORD_VALUE), "nothing to edit");
        assert_eq!(check_code_edits(&[idle], &ranges, &[]), Ok(()));
        assert_eq!(check_code_edits(&[idle], &ranges, &[edit(0x1000, 4)]), Err(codes::RECORD_VALUE), "stays as it is");
        assert_eq!(check_code_edits(&[func()], &ranges, &[edit(0x1000, 4)]), Err(codes::RECORD_VALUE), "replaced");
        assert_eq!(check_code_edits(&[], &ranges, &[Edit { flags: 0.into(), ..edit(0, 4) }]), Ok(()), "data");
    }

    #[test]
    fn bindings_and_edits_are_checked() {
        assert_eq!(Bind::old(1, 0).check(), Ok(()));
        assert_eq!(Bind::word(1, 8).check(), Ok(()));
        assert_eq!(Bind { name: 1.into(), ..Bind::word(1, 8) }.check(), Err(codes::RECORD_VALUE));
        assert_eq!(Bind::import(1, 5, 0, true).check(), Ok(()));
        assert_eq!(Bind::import(1, 0, 0, false).check(), Err(codes::RECORD_VALUE));
        assert_eq!(Bind { kind: 4, ..Bind::old(1, 0) }.check(), Err(codes::RECORD_VALUE));
        let edit = Edit { size: 4.into(), symbol: 1.into(), ..Edit::read_from_bytes(&[0; 48]).unwrap() };
        assert_eq!(edit.check(), Ok(()));
        assert_eq!(Edit { flags: 4.into(), ..edit }.check(), Err(codes::RECORD_VALUE));
        assert_eq!(Edit { size: 0.into(), ..edit }.check(), Err(codes::RECORD_VALUE));
        let state = State {
            size: 4.into(),
            symbol: 1.into(),
            kind: STATE_MOVED.into(),
            ..State::read_from_bytes(&[0; 40]).unwrap()
        };
        assert_eq!(state.check(), Ok(()));
        assert!(state.moved());
        assert_eq!(State { kind: STATE_RESET.into(), ..state }.check(), Ok(()));
        assert_eq!(State { kind: 3.into(), ..state }.check(), Err(codes::RECORD_VALUE));
        assert_eq!(State { offset: u64::MAX.into(), ..state }.check(), Err(codes::RECORD_VALUE));
        assert_eq!(State { svma: u64::MAX.into(), ..state }.check(), Err(codes::RECORD_VALUE));
        assert_eq!(State { reserved: 1.into(), ..state }.check(), Err(codes::RECORD_VALUE));
    }

    #[test]
    fn variables_are_known_once() {
        let keep = |key| Keep {
            key: [key; PREIMAGE],
            size: 4.into(),
            symbol: 1.into(),
            ..Keep::read_from_bytes(&[0; 56]).unwrap()
        };
        let along = |key| Keep { flags: KEEP_GOES_ALONG.into(), ..keep(key) };
        assert_eq!(check_keeps(&[along(1), keep(2), keep(2), along(3)]), Ok(()));
        assert_eq!(check_keeps(&[keep(1), along(1)]), Err(codes::RECORD_VALUE));
        assert_eq!(check_keeps(&[along(2), along(1)]), Err(codes::RECORD_ORDER));
        assert_eq!(Keep { flags: 2.into(), ..keep(1) }.check(), Err(codes::RECORD_VALUE));
        assert_eq!(Keep { size: 0.into(), ..keep(1) }.check(), Err(codes::RECORD_VALUE));
        assert_eq!(Keep { symbol: 0.into(), ..keep(1) }.check(), Err(codes::RECORD_VALUE));
        assert_eq!(Keep { offset: u64::MAX.into(), ..keep(1) }.check(), Err(codes::RECORD_VALUE));
    }
}
