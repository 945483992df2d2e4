//! The link editor: lays a payload's sections out, gives its symbols values and applies its relocations
//! (System V psABI for x86-64, chapter 4.4), on an image of the mapping that is not yet executable.

use patchfmt::payload::Edit;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::elf::{
    Malformed, Object, Rela, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS, SHF_WRITE, SHN_ABS, SHN_LORESERVE, SHN_UNDEF,
    SHT_NOBITS, SHT_REL, SHT_RELA, Shdr, Sym,
};

const PAGE: u64 = 4096;
/// More than any real payload, less than what could exhaust a process.
pub const MAX_IMAGE: u64 = 512 << 20;
/// An indirect jump through the quadword behind it: `jmp *2(%rip); ud2; .quad target`.
pub const STUB: u64 = 16;

pub mod r {
    pub const NONE: u32 = 0;
    pub const X64: u32 = 1;
    pub const PC32: u32 = 2;
    pub const PLT32: u32 = 4;
    pub const X32: u32 = 10;
    pub const X32S: u32 = 11;
    pub const DTPMOD64: u32 = 16;
    pub const DTPOFF64: u32 = 17;
    pub const TPOFF64: u32 = 18;
    pub const DTPOFF32: u32 = 21;
    pub const TPOFF32: u32 = 23;
    pub const PC64: u32 = 24;

    /// Of a thread-local variable (psABI, 4.4.1).
    pub fn is_thread(kind: u32) -> bool {
        matches!(kind, DTPMOD64 | DTPOFF64 | TPOFF64 | DTPOFF32 | TPOFF32)
    }
}

/// Why a payload can't be linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Payload(Malformed),
    /// The relocation's type, not one that format.md lists.
    Type(u32),
    /// Offset in its section that lies outside it.
    Place(u64),
    /// The value doesn't fit the field of a relocation of this type at this avma.
    Overflow {
        kind: u32,
        place: u64,
        value: u64,
    },
}

impl From<Malformed> for Fault {
    fn from(m: Malformed) -> Fault {
        Fault::Payload(m)
    }
}

/// Where a section lies in the payload's mapping; not an alloc section when `size` is [`ABSENT`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Place {
    pub offset: u64,
    pub size: u64,
}

const ABSENT: u64 = u64::MAX;

impl Place {
    /// Of a section that isn't mapped.
    pub const ABSENT: Place = Place { offset: 0, size: ABSENT };

    pub fn mapped(&self) -> bool {
        self.size != ABSENT
    }
}

/// The mapping: text, then constants, then data, each in whole pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of code that were laid out, stubs included; `constants_at` is the next page.
    pub text_len: u64,
    /// Offset of the stubs in the text.
    pub stubs_at: u64,
    pub constants_at: u64,
    pub data_at: u64,
    /// Whole length.
    pub len: u64,
    /// A relocation needs all of the payload below 2 GiB.
    pub low: bool,
    /// Offset and size of `.eh_frame`, 0 for none. Four zero bytes follow it.
    pub eh_frame: (u64, u64),
    /// Offset, size and alignment of what new thread-local variables begin with, among the constants; size 0 for none.
    pub thread: (u64, u64, u64),
}

/// Where the loader has storage for the payload's thread-local variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// avma of what they begin with.
    pub image: u64,
    /// Distance of that storage from the thread pointer, in bytes.
    pub pointer: i64,
    /// Id of the module that it belongs to, and its offset in that module's block.
    pub module: u64,
    pub offset: u64,
}

fn group(s: &Shdr) -> u32 {
    if s.has(SHF_EXECINSTR) {
        0
    } else if s.has(SHF_WRITE) {
        2
    } else {
        1
    }
}

impl Layout {
    /// Fills `places`, one for each section. `stubs` counts the imports that may need one.
    pub fn new(object: &Object<'_>, places: &mut [Place], stubs: u64) -> Result<Layout, Fault> {
        let mut layout = Layout {
            text_len: 0,
            stubs_at: 0,
            constants_at: 0,
            data_at: 0,
            len: 0,
            low: false,
            eh_frame: (0, 0),
            thread: (0, 0, 1),
        };
        places.fill(Place::ABSENT);
        let mut cursor = 0u64;
        for pass in 0..3 {
            match pass {
                1 => layout.constants_at = cursor,
                2 => layout.data_at = cursor,
                _ => {}
            }
            if pass == 1 {
                layout.thread = Self::thread(object, places, &mut cursor)?;
            }
            for (place, s) in places.iter_mut().zip(object.sections()) {
                if !s.has(SHF_ALLOC) || s.has(SHF_TLS) || group(s) != pass {
                    continue;
                }
                *place = Self::section(object, s, &mut cursor)?;
                if object.section_name(s) == b".eh_frame" && place.size != 0 {
                    if layout.eh_frame.1 != 0 {
                        return Err(Malformed("two .eh_frame sections").into());
                    }
                    layout.eh_frame = (place.offset, place.size);
                    // What registers it reads records up to a zero length.
                    cursor += 4;
                }
            }
            if pass == 0 {
                layout.stubs_at = cursor.next_multiple_of(STUB);
                cursor = if stubs == 0 { cursor } else { layout.stubs_at + stubs.min(1 << 20) * STUB };
                layout.text_len = cursor;
            }
            cursor = cursor.next_multiple_of(PAGE);
        }
        layout.len = cursor;
        layout.low = needs_low(object, places)?;
        if layout.len == 0 || layout.len > MAX_IMAGE {
            Err(Malformed("size of the mapped sections").into())
        } else {
            Ok(layout)
        }
    }

    /// Thread-local sections, one behind the other: see [`Layout::thread`].
    fn thread(object: &Object<'_>, places: &mut [Place], cursor: &mut u64) -> Result<(u64, u64, u64), Fault> {
        let is_thread = |s: &Shdr| s.has(SHF_ALLOC) && s.has(SHF_TLS);
        let align = object.sections().iter().filter(|s| is_thread(s)).map(|s| s.align.get()).max().unwrap_or(0);
        if align > PAGE {
            return Err(Malformed("alignment of thread-local data").into());
        }
        *cursor = cursor.next_multiple_of(align.max(1));
        let start = *cursor;
        for (place, s) in places.iter_mut().zip(object.sections()).filter(|(_, s)| is_thread(s)) {
            *place = Self::section(object, s, cursor)?;
        }
        Ok((start, *cursor - start, align.max(1)))
    }

    fn section(object: &Object<'_>, s: &Shdr, cursor: &mut u64) -> Result<Place, Fault> {
        let align = s.align.get().max(1);
        if s.has(SHF_EXECINSTR) && s.has(SHF_WRITE) {
            return Err(Malformed("section both writable and executable").into());
        }
        if !align.is_power_of_two() || align > PAGE || s.size.get() > MAX_IMAGE || object.bytes(s).is_none() {
            return Err(Malformed("size or alignment of a section").into());
        }
        if s.kind.get() == SHT_NOBITS && !s.has(SHF_WRITE) {
            return Err(Malformed("uninitialised section that isn't data").into());
        }
        let offset = cursor.next_multiple_of(align);
        *cursor = offset + s.size.get();
        if *cursor > MAX_IMAGE {
            return Err(Malformed("size of the mapped sections").into());
        }
        Ok(Place { offset, size: s.size.get() })
    }

    pub fn stub(&self, index: u64) -> u64 {
        self.stubs_at + index * STUB
    }
}

/// Each relocation section with the section that it changes, mapped ones only.
fn relocations<'a>(object: &Object<'a>, places: &[Place]) -> impl Iterator<Item = Result<(usize, &'a [Rela]), Fault>> {
    let sections = object.sections();
    sections.iter().filter_map(move |s| {
        let kind = s.kind.get();
        let target = s.info.get() as usize;
        if (kind != SHT_RELA && kind != SHT_REL) || !places.get(target).is_some_and(Place::mapped) {
            return None;
        }
        if kind == SHT_REL {
            return Some(Err(Malformed("relocations without addends").into()));
        }
        Some(object.records::<Rela>(s).map(|r| (target, r)).ok_or(Malformed("relocation table").into()))
    })
}

fn needs_low(object: &Object<'_>, places: &[Place]) -> Result<bool, Fault> {
    for table in relocations(object, places) {
        for rela in table?.1 {
            let symbol = object.symbols().get(rela.symbol.get() as usize).ok_or(Malformed("symbol of a relocation"))?;
            if matches!(rela.kind.get(), r::X32 | r::X32S) && !matches!(symbol.shndx.get(), SHN_UNDEF | SHN_ABS) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The avma of a symbol that the payload defines; `None` for an undefined one.
pub fn defined(symbol: &Sym, places: &[Place], base: u64) -> Result<Option<u64>, Fault> {
    match symbol.shndx.get() {
        SHN_UNDEF => Ok(None),
        SHN_ABS => Ok(Some(symbol.value.get())),
        n if n >= SHN_LORESERVE => Err(Malformed("symbol in a reserved section").into()),
        n => {
            let place = places.get(usize::from(n)).ok_or(Malformed("section of a symbol"))?;
            // Symbols of sections that aren't mapped have no address; nothing that is mapped may refer to them.
            if place.mapped() && symbol.value.get() > place.size {
                return Err(Malformed("value of a symbol").into());
            }
            Ok(Some(if place.mapped() { base + place.offset + symbol.value.get() } else { 0 }))
        }
    }
}

/// What [`Linker::link`] works with.
#[derive(Debug)]
pub struct Linker<'a> {
    pub object: Object<'a>,
    pub places: &'a [Place],
    /// avma of each symbol.
    pub values: &'a [u64],
    /// For each symbol the offset of its stub in the mapping, 0 for none.
    pub stubs: &'a [u64],
    pub edits: &'a [Edit],
    /// avma of the mapping.
    pub base: u64,
    /// Load bias of the module.
    pub bias: u64,
    /// None where the payload has no thread-local sections.
    pub threads: Option<Threads>,
}

impl Linker<'_> {
    /// Fills `image`, zeroed and [`Layout::len`] long, with the sections' bytes, relocated.
    pub fn link(&self, image: &mut [u8]) -> Result<(), Fault> {
        for (place, s) in self.places.iter().zip(self.object.sections()).filter(|(p, _)| p.mapped()) {
            let bytes = self.object.bytes(s).ok_or(Malformed("section's bytes"))?;
            let at = place.offset as usize;
            image.get_mut(at..at + bytes.len()).ok_or(Malformed("layout"))?.copy_from_slice(bytes);
        }
        self.write_stubs(image)?;
        for table in relocations(&self.object, self.places) {
            let (target, relas) = table?;
            for rela in relas {
                self.relocate(image, target, rela)?;
            }
        }
        Ok(())
    }

    fn write_stubs(&self, image: &mut [u8]) -> Result<(), Fault> {
        for (&at, &value) in self.stubs.iter().zip(self.values) {
            if at != 0 {
                let at = at as usize;
                let stub = image.get_mut(at..at + STUB as usize).ok_or(Malformed("layout"))?;
                stub[..8].copy_from_slice(&[0xff, 0x25, 2, 0, 0, 0, 0x0f, 0x0b]);
                stub[8..].copy_from_slice(&value.to_le_bytes());
            }
        }
        Ok(())
    }

    /// The avma that PC-relative relocations at `offset` in section `target` are computed for: inside an edit that is copied to its
    /// site, the site.
    fn pc(&self, target: usize, offset: u64) -> u64 {
        let here = self.base + self.places[target].offset + offset;
        for edit in self.edits.iter().filter(|e| e.at_site()) {
            let start = self.values.get(edit.symbol.get() as usize).copied().unwrap_or(0);
            if here >= start && here - start < u64::from(edit.size.get()) {
                return self.bias.wrapping_add(edit.svma.get()).wrapping_add(here - start);
            }
        }
        here
    }

    fn relocate(&self, image: &mut [u8], target: usize, rela: &Rela) -> Result<(), Fault> {
        let kind = rela.kind.get();
        let width = match kind {
            r::NONE => return Ok(()),
            r::X64 | r::PC64 | r::DTPMOD64 | r::DTPOFF64 | r::TPOFF64 => 8,
            r::PC32 | r::PLT32 | r::X32 | r::X32S | r::DTPOFF32 | r::TPOFF32 => 4,
            other => return Err(Fault::Type(other)),
        };
        let offset = rela.offset.get();
        let place = self.places[target];
        let section = &self.object.sections()[target];
        if section.kind.get() == SHT_NOBITS || offset.checked_add(width).is_none_or(|end| end > place.size) {
            return Err(Fault::Place(offset));
        }
        let index = rela.symbol.get() as usize;
        let symbol = self.object.symbols().get(index).ok_or(Malformed("symbol of a relocation"))?;
        if self.places.get(usize::from(symbol.shndx.get())).is_some_and(|p| !p.mapped())
            && symbol.shndx.get() != SHN_UNDEF
        {
            return Err(Malformed("reference to a section that isn't mapped").into());
        }
        let in_thread = self.object.sections().get(usize::from(symbol.shndx.get())).is_some_and(|s| s.has(SHF_TLS));
        if in_thread != r::is_thread(kind) {
            return Err(Malformed("relocation of another kind than its symbol").into());
        }
        let s = *self.values.get(index).ok_or(Malformed("symbol of a relocation"))?;
        let p = self.pc(target, offset);
        let a = rela.addend.get() as u64;
        let value = match (kind, self.threads) {
            (r::DTPMOD64, Some(t)) => t.module,
            (r::DTPOFF64 | r::DTPOFF32, Some(t)) => s.wrapping_sub(t.image).wrapping_add(t.offset).wrapping_add(a),
            (r::TPOFF64 | r::TPOFF32, Some(t)) => {
                s.wrapping_sub(t.image).wrapping_add_signed(t.pointer).wrapping_add(a)
            }
            _ if r::is_thread(kind) => return Err(Malformed("thread-local data without storage").into()),
            (r::X64 | r::X32 | r::X32S, _) => s.wrapping_add(a),
            _ => s.wrapping_add(a).wrapping_sub(p),
        };
        let fits = match kind {
            _ if width == 8 => true,
            r::X32 => u32::try_from(value).is_ok(),
            _ => i32::try_from(value as i64).is_ok(),
        };
        let value = match self.stubs.get(index) {
            Some(&stub) if !fits && kind == r::PLT32 && stub != 0 => {
                let near = (self.base + stub).wrapping_add(a).wrapping_sub(p);
                i32::try_from(near as i64).map_err(|_| Fault::Overflow { kind, place: p, value: near })?;
                near
            }
            _ if !fits => return Err(Fault::Overflow { kind, place: p, value }),
            _ => value,
        };
        let at = (place.offset + offset) as usize;
        image[at..at + width as usize].copy_from_slice(&value.to_le_bytes()[..width as usize]);
        Ok(())
    }
}
