//! Metadata of a bundle, decoded strictly and without copying.

use crate::cbor::Reader;
use crate::codes::{self, Code};
use crate::error::FormatError;
use crate::wire::{MAX_ID, MAX_MODULES};
use core::marker::PhantomData;

/// Longest text, in bytes.
pub const MAX_TEXT: usize = 4096;
/// Longest list of texts or findings.
pub const MAX_LIST: u64 = 4096;
/// Bounds of a GNU build-id, in bytes: below 8 it identifies nothing.
pub const BUILD_ID: core::ops::RangeInclusive<usize> = 8..=32;
/// Keys from here on may be ignored by a reader that doesn't know them.
pub const FIRST_IGNORABLE: u64 = 1000;

pub(crate) mod key {
    pub const ID: u64 = 0;
    pub const SCOPE: u64 = 1;
    pub const MACHINE: u64 = 2;
    pub const LOADER_ABI: u64 = 3;
    pub const MODULES: u64 = 4;
    pub const CVES: u64 = 5;
    pub const NOTE: u64 = 6;
    pub const ACCEPTED: u64 = 7;
    pub const START_REASONS: u64 = 8;
    pub const CAPABILITIES: u64 = 9;
    pub const SEQUENCE: u64 = 10;
    pub const SUPERSEDES: u64 = 11;
    pub const TOOL: u64 = 12;
}

/// When a bundle may be applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// To a running process.
    Live = 0,
    /// Before `main`, or to the file on disk.
    Start = 1,
}

impl Scope {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Scope::Live => "live",
            Scope::Start => "start",
        }
    }
}

/// How a module is linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModuleKind {
    /// An executable at fixed addresses.
    Fixed = 0,
    Pie = 1,
    Shared = 2,
}

impl ModuleKind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ModuleKind::Fixed => "fixed",
            ModuleKind::Pie => "pie",
            ModuleKind::Shared => "shared",
        }
    }
}

/// What a bundle does to its target: a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities(pub u32);

impl Capabilities {
    pub const TEXT: Capabilities = Capabilities(1);
    pub const CONSTANTS: Capabilities = Capabilities(2);
    pub const NEW_DATA: Capabilities = Capabilities(4);
    pub const IMPORTS: Capabilities = Capabilities(8);
    pub const TLS: Capabilities = Capabilities(16);
    pub const INITIALISERS: Capabilities = Capabilities(32);
    /// Variables that move with their value, or lose it.
    pub const STATE: Capabilities = Capabilities(64);
    /// The module moves threads to other stacks by itself: suspended ones are looked for in all of memory.
    pub const STACKS: Capabilities = Capabilities(128);
    pub const ALL: Capabilities = Capabilities(255);

    #[must_use]
    pub fn contains(self, other: Capabilities) -> bool {
        self.0 & other.0 == other.0
    }
    #[must_use]
    pub fn with(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }
    /// Names of those that are in the set.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let names = ["text", "constants", "new-data", "imports", "tls", "initialisers", "state", "stacks"];
        names.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| name)
    }
}

/// A finding that a reviewer accepted, or that made the scope `start`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding<'a> {
    pub code: Code,
    pub symbol: &'a str,
}

/// A module that the bundle patches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Module<'a> {
    /// File name or soname.
    pub name: &'a str,
    pub old_build_id: &'a [u8],
    pub new_build_id: &'a [u8],
    /// Index of its payload object in the section table.
    pub payload: u16,
    pub kind: ModuleKind,
    pub functions_replaced: u32,
    pub functions_new: u32,
    pub edits: u32,
}

/// A value that lists are made of.
pub trait Item<'a>: Copy {
    #[doc(hidden)]
    fn read(r: &mut ItemReader<'a>) -> Result<Self, FormatError>;
}

/// The reader that an [`Item`] is taken from.
#[derive(Clone, Copy, Debug)]
pub struct ItemReader<'a>(Reader<'a>);

/// A list whose items were checked when the metadata were decoded.
#[derive(Clone, Copy, Debug)]
pub struct List<'a, T> {
    items: Option<ItemReader<'a>>,
    len: usize,
    kind: PhantomData<T>,
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        List { items: None, len: 0, kind: PhantomData }
    }
}

impl<'a, T: Item<'a>> List<'a, T> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut items = self.items;
        (0..self.len).map_while(move |_| items.as_mut().and_then(|r| T::read(r).ok()))
    }
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        self.iter().nth(index)
    }

    fn read(r: &mut Reader<'a>, max: u64) -> Result<Self, FormatError> {
        let start = *r;
        let len = r.array()?;
        if len == 0 {
            return Err(start.error(codes::METADATA_EMPTY));
        }
        if len > max {
            return Err(start.error(codes::METADATA_RANGE));
        }
        let mut items = ItemReader(*r);
        let first = items;
        for _ in 0..len {
            T::read(&mut items)?;
        }
        *r = items.0;
        Ok(List { items: Some(first), len: len as usize, kind: PhantomData })
    }
}

/// What a bundle says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    pub id: &'a str,
    pub scope: Scope,
    /// ELF `e_machine`.
    pub machine: u16,
    /// Lowest loader ABI that may apply it.
    pub loader_abi: u32,
    pub modules: List<'a, Module<'a>>,
    pub cves: List<'a, &'a str>,
    /// Empty when absent.
    pub note: &'a str,
    pub accepted: List<'a, Finding<'a>>,
    /// Why the scope is `start`.
    pub start_reasons: List<'a, Finding<'a>>,
    pub capabilities: Capabilities,
    /// 0 when absent.
    pub sequence: u64,
    pub supersedes: List<'a, &'a str>,
    pub tool: &'a str,
}

impl<'a> Metadata<'a> {
    /// Decodes metadata that begin at file offset `base`.
    ///
    /// # Errors
    /// HP073x, HP074x: one code for each way to be malformed.
    pub fn decode(bytes: &'a [u8], base: usize) -> Result<Metadata<'a>, FormatError> {
        let mut r = Reader::new(bytes, base);
        let mut m = Metadata {
            id: "",
            scope: Scope::Live,
            machine: 0,
            loader_abi: 0,
            modules: List::default(),
            cves: List::default(),
            note: "",
            accepted: List::default(),
            start_reasons: List::default(),
            capabilities: Capabilities(0),
            sequence: 0,
            supersedes: List::default(),
            tool: "",
        };
        let seen = fields(&mut r, |key, r| {
            match key {
                key::ID => m.id = id(r)?,
                key::SCOPE => m.scope = if r.uint_to(1)? == 0 { Scope::Live } else { Scope::Start },
                key::MACHINE => m.machine = r.uint_to(u64::from(u16::MAX))? as u16,
                key::LOADER_ABI => m.loader_abi = r.u32()?,
                key::MODULES => m.modules = List::read(r, MAX_MODULES as u64)?,
                key::CVES => m.cves = List::read(r, MAX_LIST)?,
                key::NOTE => m.note = text(r, true)?,
                key::ACCEPTED => m.accepted = List::read(r, MAX_LIST)?,
                key::START_REASONS => m.start_reasons = List::read(r, MAX_LIST)?,
                key::CAPABILITIES => m.capabilities = Capabilities(r.uint_to(u64::from(Capabilities::ALL.0))? as u32),
                key::SEQUENCE => m.sequence = nonzero(r)?,
                key::SUPERSEDES => m.supersedes = List::read(r, MAX_LIST)?,
                key::TOOL => m.tool = text(r, false)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        r.finished()?;
        let required = [key::ID, key::SCOPE, key::MACHINE, key::LOADER_ABI, key::MODULES, key::CAPABILITIES, key::TOOL];
        if !required.iter().all(|k| seen >> k & 1 == 1) {
            return Err(FormatError::new(codes::METADATA_MISSING, base));
        }
        if m.scope == Scope::Live && !m.start_reasons.is_empty() {
            return Err(FormatError::new(codes::METADATA_RANGE, base));
        }
        Ok(m)
    }
}

/// Reads a map with ascending integer keys; `field` reads the value of a key that it knows, or returns false. Returns the keys below 64 as a bit set.
fn fields<'a>(
    r: &mut Reader<'a>,
    mut field: impl FnMut(u64, &mut Reader<'a>) -> Result<bool, FormatError>,
) -> Result<u64, FormatError> {
    let mut seen = 0u64;
    let mut next = 0u64;
    for _ in 0..r.map()? {
        let start = *r;
        let key = r.uint()?;
        if key < next {
            return Err(start.error(codes::METADATA_ORDER));
        }
        next = key.checked_add(1).ok_or(start.error(codes::METADATA_RANGE))?;
        if field(key, r)? {
            seen |= 1 << (key & 63);
        } else if key < FIRST_IGNORABLE {
            return Err(start.error(codes::METADATA_UNKNOWN_KEY));
        } else {
            r.skip()?;
        }
    }
    Ok(seen)
}

/// Text that is shown to people: bounded, not empty, no control characters.
fn text<'a>(r: &mut Reader<'a>, lines: bool) -> Result<&'a str, FormatError> {
    let start = *r;
    let text = r.text()?;
    valid_text(text, lines).map_err(|code| start.error(code)).map(|()| text)
}

/// Whether `text` may be shown to people; of more than one line only where `lines` says so.
///
/// # Errors
/// HP0736, HP0738 or HP0741: why not.
pub fn valid_text(text: &str, lines: bool) -> Result<(), Code> {
    let shown = |c: char| !c.is_control() || (lines && c == '\n');
    match text {
        "" => Err(codes::METADATA_EMPTY),
        _ if text.len() > MAX_TEXT => Err(codes::METADATA_RANGE),
        _ if !text.chars().all(shown) => Err(codes::METADATA_TEXT),
        _ => Ok(()),
    }
}

/// Whether `text` is a bundle id.
#[must_use]
pub fn valid_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+:-".contains(&b))
}

fn id<'a>(r: &mut Reader<'a>) -> Result<&'a str, FormatError> {
    let start = *r;
    let text = r.text()?;
    if valid_id(text) { Ok(text) } else { Err(start.error(codes::METADATA_ID)) }
}

fn nonzero(r: &mut Reader<'_>) -> Result<u64, FormatError> {
    let start = *r;
    match r.uint()? {
        0 => Err(start.error(codes::METADATA_EMPTY)),
        n => Ok(n),
    }
}

fn build_id<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], FormatError> {
    let start = *r;
    let bytes = r.bytes()?;
    if BUILD_ID.contains(&bytes.len()) { Ok(bytes) } else { Err(start.error(codes::METADATA_RANGE)) }
}

impl<'a> Item<'a> for &'a str {
    fn read(r: &mut ItemReader<'a>) -> Result<Self, FormatError> {
        text(&mut r.0, false)
    }
}

impl<'a> Item<'a> for Finding<'a> {
    fn read(r: &mut ItemReader<'a>) -> Result<Self, FormatError> {
        let r = &mut r.0;
        let start = *r;
        if r.array()? != 2 {
            return Err(start.error(codes::METADATA_TYPE));
        }
        let code = Code(r.uint_to(9999)? as u16);
        // A finding about the whole image has none.
        let mut rest = *r;
        if rest.text()?.is_empty() {
            *r = rest;
            return Ok(Finding { code, symbol: "" });
        }
        Ok(Finding { code, symbol: text(r, false)? })
    }
}

impl<'a> Item<'a> for Module<'a> {
    fn read(r: &mut ItemReader<'a>) -> Result<Self, FormatError> {
        let r = &mut r.0;
        let start = *r;
        let mut m = Module {
            name: "",
            old_build_id: &[],
            new_build_id: &[],
            payload: 0,
            kind: ModuleKind::Fixed,
            functions_replaced: 0,
            functions_new: 0,
            edits: 0,
        };
        let seen = fields(r, |key, r| {
            match key {
                0 => {
                    let start = *r;
                    m.name = text(r, false)?;
                    if m.name.contains('/') || m.name.len() > 255 {
                        return Err(start.error(codes::METADATA_RANGE));
                    }
                }
                1 => m.old_build_id = build_id(r)?,
                2 => m.new_build_id = build_id(r)?,
                3 => m.payload = r.uint_to(u64::from(u16::MAX))? as u16,
                4 => {
                    m.kind = match r.uint_to(2)? {
                        0 => ModuleKind::Fixed,
                        1 => ModuleKind::Pie,
                        _ => ModuleKind::Shared,
                    }
                }
                5 => m.functions_replaced = r.u32()?,
                6 => m.functions_new = r.u32()?,
                7 => m.edits = r.u32()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if seen & 0xff == 0xff { Ok(m) } else { Err(start.error(codes::METADATA_MISSING)) }
    }
}
