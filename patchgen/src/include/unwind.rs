//! Unwind data of a carried function: its CIE and FDE taken apart (LSB 5.0, chapter "Exception Frames"; DWARF 5, 6.4) and its LSDA with the
//! references in it (Itanium C++ ABI, "Level II: C++ ABI", as GCC and LLVM emit it).
//!
//! Offsets inside a function don't change when it is carried, so call-site tables and CFI programs are copied as they are; only
//! the personality routine and the type table refer to something outside.

use super::bind::Unbound;
use super::{Analysis, Binder, Place, SlotKey};
use crate::addr::{DataId, FuncId, Svma};
use crate::image::{DynReloc, Fde, Image};
use crate::lift::Target;
use gimli::{EndianSlice, LittleEndian, Reader};
use patchfmt::codes;
use std::collections::BTreeSet;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

const OMIT: u8 = 0xff;
const INDIRECT: u8 = 0x80;
const PCREL: u8 = 0x10;
/// DW_EH_PE_indirect | pcrel | sdata4.
pub const TYPE_ENCODING: u8 = 0x9b;

/// What a CIE says, without its pointer encodings: the patch writes its own (pcrel sdata4).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cie {
    pub code_align: u64,
    pub data_align: i64,
    pub return_register: u64,
    pub signal_frame: bool,
    pub personality: Option<SlotKey>,
    pub has_lsda: bool,
    pub instructions: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lsda {
    /// Their type table is encoded as [`TYPE_ENCODING`], whatever it was.
    pub bytes: Vec<u8>,
    /// Entries of the type table: offset in `bytes`, and the slot that it refers to.
    pub types: Vec<(u32, SlotKey)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unwind {
    pub cie: Cie,
    /// CFI program of the FDE.
    pub instructions: Vec<u8>,
    pub lsda: Option<Lsda>,
}

fn bad<T>(what: impl Into<String>) -> Result<T, Unbound> {
    Err(Unbound { code: codes::UNWIND_NOT_CARRIED, what: what.into() })
}

fn section_rest(image: &Image, at: Svma) -> Result<Slice<'_>, Unbound> {
    let Some(section) = image.section_at(at) else {
        return bad(format!("unwind data at {at}, in no section"));
    };
    let left = image.sections[section.index()].range.end.0.saturating_sub(at.0);
    match image.bytes(at, left) {
        Some(bytes) => Ok(Slice::new(bytes, LittleEndian)),
        None => bad(format!("unwind data at {at}, which is truncated")),
    }
}

/// Bytes of an encoded pointer's format.
fn pointer_size(encoding: u8) -> Option<usize> {
    match encoding & 0x0f {
        0x00 | 0x04 | 0x0c => Some(8),
        0x03 | 0x0b => Some(4),
        _ => None,
    }
}

/// A pointer as stored at `at`: where it leads, before the indirection; None for a null pointer.
fn read_pointer(reader: &mut Slice<'_>, at: Svma, encoding: u8) -> Result<Option<Svma>, Unbound> {
    let wrong =
        || Unbound { code: codes::UNWIND_NOT_CARRIED, what: format!("a pointer at {at} of encoding 0x{encoding:02x}") };
    let value = match pointer_size(encoding) {
        Some(8) => reader.read_u64().map_err(|_| wrong())?,
        Some(_) if encoding & 0x08 != 0 => i64::from(reader.read_i32().map_err(|_| wrong())?).cast_unsigned(),
        Some(_) => u64::from(reader.read_u32().map_err(|_| wrong())?),
        None => return Err(wrong()),
    };
    if value == 0 {
        return Ok(None);
    }
    match encoding & 0x70 {
        0 => Ok(Some(Svma(value))),
        PCREL => Ok(Some(at.plus(value))),
        _ => Err(wrong()),
    }
}

/// The record (CIE or FDE) at `at`, behind its length field, and the address of that place.
fn record(image: &Image, at: Svma) -> Result<(Slice<'_>, Svma), Unbound> {
    let mut rest = section_rest(image, at)?;
    let short =
        || Unbound { code: codes::UNWIND_NOT_CARRIED, what: format!("an unwind record at {at}, which is truncated") };
    let length = rest.read_u32().map_err(|_| short())?;
    if length == u32::MAX {
        return bad(format!("a 64-bit unwind record at {at}"));
    }
    let body = rest.split(length as usize).map_err(|_| short())?;
    Ok((body, at.plus(4)))
}

struct RawCie<'a> {
    code_align: u64,
    data_align: i64,
    return_register: u64,
    signal_frame: bool,
    personality: Option<(u8, Option<Svma>)>,
    lsda_encoding: Option<u8>,
    pointer_encoding: u8,
    instructions: Slice<'a>,
}

fn parse_cie(image: &Image, at: Svma) -> Result<RawCie<'_>, Unbound> {
    let (mut r, start) = record(image, at)?;
    let total = r.len();
    let short = |_| Unbound { code: codes::UNWIND_NOT_CARRIED, what: format!("a CIE at {at}, which is truncated") };
    let id = r.read_u32().map_err(short)?;
    let version = r.read_u8().map_err(short)?;
    if id != 0 || version != 1 {
        return bad(format!("a CIE at {at} of version {version}"));
    }
    let augmentation = r.read_null_terminated_slice().map_err(short)?;
    let mut cie = RawCie {
        code_align: r.read_uleb128().map_err(short)?,
        data_align: r.read_sleb128().map_err(short)?,
        return_register: u64::from(r.read_u8().map_err(short)?),
        signal_frame: false,
        personality: None,
        lsda_encoding: None,
        pointer_encoding: 0,
        instructions: r,
    };
    let Some((b'z', letters)) = augmentation.slice().split_first() else {
        if augmentation.is_empty() {
            cie.instructions = r;
            return Ok(cie);
        }
        return bad(format!("a CIE at {at} with an unknown augmentation"));
    };
    let length = r.read_uleb128().map_err(short)?;
    let mut data = r.split(usize::try_from(length).unwrap_or(usize::MAX)).map_err(short)?;
    for letter in letters {
        match letter {
            b'R' => cie.pointer_encoding = data.read_u8().map_err(short)?,
            b'L' => cie.lsda_encoding = Some(data.read_u8().map_err(short)?),
            b'S' => cie.signal_frame = true,
            b'P' => {
                let encoding = data.read_u8().map_err(short)?;
                // What is left of the record tells where in it this is.
                let here = start.plus((total - r.len() - data.len()) as u64);
                cie.personality = Some((encoding, read_pointer(&mut data, here, encoding)?));
            }
            _ => return bad(format!("a CIE at {at} with an unknown augmentation")),
        }
    }
    cie.instructions = r;
    Ok(cie)
}

/// Looks up what a slot at `at` in the new image holds, as a slot of the patch's own.
fn slot_key(analysis: Analysis<'_>, binder: &Binder<'_>, at: Svma) -> Result<SlotKey, Unbound> {
    let image = analysis.new_image;
    match image.dynamic.get(&at) {
        Some(DynReloc::Symbol { import, addend, local: None }) => Ok(SlotKey::Import(*import, *addend)),
        Some(DynReloc::Symbol { addend, local: Some(local), .. }) => {
            address_key(analysis, binder, local.offset(*addend))
        }
        Some(DynReloc::Relative { target }) => address_key(analysis, binder, *target),
        Some(_) => bad(format!("the slot at {at}, which holds no plain address")),
        None => match image.bytes(at, 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes) {
            Some(value) if image.kind == crate::image::ImageKind::Exec => address_key(analysis, binder, Svma(value)),
            _ => bad(format!("the slot at {at}, which nothing fills")),
        },
    }
}

fn address_key(analysis: Analysis<'_>, binder: &Binder<'_>, at: Svma) -> Result<SlotKey, Unbound> {
    // The executable's copy of another module's object: where the old build has none, the object itself.
    if let Some(import) = analysis.new.data_at.get(&at).and_then(|&data| binder.uncopied(data)) {
        return Ok(SlotKey::Import(import, 0));
    }
    Ok(SlotKey::Address(Box::new(place_of(analysis, binder, at)?)))
}

/// Binds a plain address of the new image.
fn place_of(analysis: Analysis<'_>, binder: &Binder<'_>, at: Svma) -> Result<Place, Unbound> {
    binder.bind(&target_at(analysis, at), None, true)
}

/// What an address of the new image denotes, by the start of a function, a stub or a datum that covers it.
fn target_at(analysis: Analysis<'_>, at: Svma) -> Target {
    if let Some(&func) = analysis.new.func_at.get(&at) {
        return Target::Func { func, part: 0, offset: 0 };
    }
    if let Some(stub) = analysis.new_image.plt.iter().find(|s| s.range.contains(at))
        && let Some(DynReloc::JumpSlot { import, .. } | DynReloc::Symbol { import, .. }) =
            analysis.new_image.dynamic.get(&stub.slot)
    {
        return Target::Import(*import);
    }
    let datum = analysis.new.data_at.range(..=at).next_back().map(|(_, &id)| id);
    match datum.filter(|d: &DataId| analysis.new.data[d.index()].range.contains(at)) {
        Some(data) => {
            let start = analysis.new.data[data.index()].range.start;
            Target::Data { data, offset: at.0.wrapping_sub(start.0).cast_signed() }
        }
        None => Target::Unknown(at),
    }
}

/// Unwind data of one part of a function of the new image; None where it has none.
pub fn unwind_of(
    analysis: Analysis<'_>,
    binder: &Binder<'_>,
    func: FuncId,
    part: u8,
) -> Result<Option<Unwind>, Unbound> {
    let function = &analysis.new.functions[func.index()];
    let Some(index) = function.fdes.get(usize::from(part)).copied().flatten() else { return Ok(None) };
    let image = analysis.new_image;
    let fde: &Fde = &image.fdes[index as usize];
    if fde.range != function.parts[usize::from(part)] {
        return bad(format!("unwind data at {}, which cover {:?} instead of the whole function", fde.at, fde.range));
    }
    let raw = parse_cie(image, fde.cie)?;
    let (mut r, _) = record(image, fde.at)?;
    let short =
        |_| Unbound { code: codes::UNWIND_NOT_CARRIED, what: format!("an FDE at {}, which is truncated", fde.at) };
    let Some(width) = pointer_size(raw.pointer_encoding) else {
        return bad(format!("an FDE at {} of encoding 0x{:02x}", fde.at, raw.pointer_encoding));
    };
    r.skip(4 + 2 * width).map_err(short)?;
    let augmented =
        raw.lsda_encoding.is_some() || raw.personality.is_some() || raw.pointer_encoding != 0 || raw.signal_frame;
    if augmented {
        let length = r.read_uleb128().map_err(short)?;
        r.skip(usize::try_from(length).unwrap_or(usize::MAX)).map_err(short)?;
    }
    let personality = match raw.personality {
        None | Some((_, None)) => None,
        Some((encoding, Some(at))) if encoding & INDIRECT != 0 => Some(slot_key(analysis, binder, at)?),
        Some((_, Some(at))) => Some(address_key(analysis, binder, at)?),
    };
    let lsda = fde.lsda.map(|at| lsda(analysis, binder, at)).transpose()?;
    Ok(Some(Unwind {
        cie: Cie {
            code_align: raw.code_align,
            data_align: raw.data_align,
            return_register: raw.return_register,
            signal_frame: raw.signal_frame,
            personality,
            has_lsda: raw.lsda_encoding.is_some_and(|e| e != OMIT),
            instructions: raw.instructions.slice().to_vec(),
        },
        instructions: r.slice().to_vec(),
        lsda,
    }))
}

/// Where an LSDA that starts at `at` ends at the latest: at the next one, or with its section.
fn lsda_limit(image: &Image, at: Svma) -> u64 {
    let section_end = image.section_at(at).map_or(at, |s| image.sections[s.index()].range.end);
    let next = image.fdes.iter().filter_map(|f| f.lsda).filter(|&l| l > at).min();
    next.unwrap_or(section_end).min(section_end).0.saturating_sub(at.0)
}

fn lsda(analysis: Analysis<'_>, binder: &Binder<'_>, at: Svma) -> Result<Lsda, Unbound> {
    let image = analysis.new_image;
    let short =
        |_| Unbound { code: codes::LSDA_NOT_CARRIED, what: format!("exception table at {at}, which is truncated") };
    let refuse = |what: String| Err(Unbound { code: codes::LSDA_NOT_CARRIED, what });
    let Some(bytes) = image.bytes(at, lsda_limit(image, at)) else {
        return refuse(format!("exception table at {at}, which isn't in the file"));
    };
    let mut r = Slice::new(bytes, LittleEndian);
    let landing_pads = r.read_u8().map_err(short)?;
    if landing_pads != OMIT {
        return refuse(format!("exception table at {at} with a landing pad base of its own"));
    }
    let type_encoding = r.read_u8().map_err(short)?;
    let type_base = if type_encoding == OMIT {
        None
    } else {
        let offset = usize::try_from(r.read_uleb128().map_err(short)?).unwrap_or(usize::MAX);
        (bytes.len() - r.len()).checked_add(offset).filter(|&base| base <= bytes.len())
    };
    if type_encoding != OMIT && type_base.is_none() {
        return refuse(format!("exception table at {at} whose type table lies outside"));
    }
    let call_site_encoding = r.read_u8().map_err(short)?;
    let length = usize::try_from(r.read_uleb128().map_err(short)?).unwrap_or(usize::MAX);
    let mut sites = r.split(length).map_err(short)?;
    let actions = bytes.len() - r.len();
    let mut end = actions;
    let mut filters = Filters::default();
    while !sites.is_empty() {
        for _ in 0..3 {
            skip_encoded(&mut sites, call_site_encoding).ok_or_else(|| Unbound {
                code: codes::LSDA_NOT_CARRIED,
                what: format!("exception table at {at} with call sites of encoding 0x{call_site_encoding:02x}"),
            })?;
        }
        let action = sites.read_uleb128().map_err(short)?;
        if action != 0 {
            let start = actions.saturating_add(usize::try_from(action - 1).unwrap_or(usize::MAX));
            end = end.max(filters.follow(bytes, start).map_err(short)?);
        }
    }
    let mut types = Vec::new();
    if let Some(base) = type_base {
        end = end.max(base).max(filters.specifications(bytes, base).map_err(short)?);
        let width = pointer_size(type_encoding).unwrap_or(0);
        if filters.highest > 0 && width != 4 {
            return refuse(format!("exception table at {at} with a type table of encoding 0x{type_encoding:02x}"));
        }
        for index in 1..=filters.highest {
            let Some(offset) = usize::try_from(index).ok().and_then(|i| base.checked_sub(i.checked_mul(width)?)) else {
                return refuse(format!("exception table at {at} whose type table is too short"));
            };
            if offset < actions {
                return refuse(format!("exception table at {at} whose tables overlap"));
            }
            let field = at.plus(offset as u64);
            let mut r = Slice::new(&bytes[offset..], LittleEndian);
            let Some(target) = read_pointer(&mut r, field, type_encoding)? else { continue };
            let slot = match type_encoding & 0xf0 {
                e if e == INDIRECT | PCREL => slot_key(analysis, binder, target)?,
                0 => address_key(analysis, binder, target)?,
                _ => {
                    return refuse(format!(
                        "exception table at {at} with a type table of encoding 0x{type_encoding:02x}"
                    ));
                }
            };
            types.push((u32::try_from(offset).unwrap_or(u32::MAX), slot));
        }
    }
    let mut bytes = bytes[..end].to_vec();
    if type_encoding != OMIT {
        // An absolute 4-byte address may not reach what the patch refers to; a slot always does.
        bytes[1] = TYPE_ENCODING;
    }
    Ok(Lsda { bytes, types })
}

fn skip_encoded(r: &mut Slice<'_>, encoding: u8) -> Option<()> {
    match encoding {
        0x01 => r.read_uleb128().ok().map(drop),
        0x03 | 0x0b => r.skip(4).ok(),
        _ => None,
    }
}

/// Type filters that the action records mention.
#[derive(Default)]
struct Filters {
    /// Highest index into the type table.
    highest: i64,
    /// Negative filters: where in the exception specifications, behind the type table, a list starts.
    lists: BTreeSet<i64>,
}

impl Filters {
    /// Follows a chain of action records; gives the offset behind its last byte.
    fn follow(&mut self, bytes: &[u8], start: usize) -> gimli::Result<usize> {
        let mut at = start;
        let mut end = start;
        // A chain visits each byte at most once; more steps than bytes is a loop.
        for _ in 0..=bytes.len() {
            let mut r = Slice::new(bytes.get(at..).unwrap_or_default(), LittleEndian);
            let filter = r.read_sleb128()?;
            self.highest = self.highest.max(filter);
            if filter < 0 {
                self.lists.insert(filter);
            }
            let link = bytes.len() - r.len();
            let next = r.read_sleb128()?;
            end = end.max(bytes.len() - r.len());
            if next == 0 {
                return Ok(end);
            }
            at = usize::try_from((link as i64).saturating_add(next)).unwrap_or(usize::MAX);
        }
        Err(gimli::Error::UnexpectedEof(gimli::ReaderOffsetId(0)))
    }

    /// Reads the lists of type indexes (ULEB128, ended by 0) behind `base`; gives the end of the last one.
    fn specifications(&mut self, bytes: &[u8], base: usize) -> gimli::Result<usize> {
        let mut end = base;
        for &filter in &self.lists {
            let start = base.saturating_add(usize::try_from(-(filter + 1)).unwrap_or(usize::MAX));
            let mut r = Slice::new(bytes.get(start..).unwrap_or_default(), LittleEndian);
            loop {
                let index = i64::try_from(r.read_uleb128()?).unwrap_or(i64::MAX);
                if index == 0 {
                    break;
                }
                self.highest = self.highest.max(index);
            }
            end = end.max(bytes.len() - r.len());
        }
        Ok(end)
    }
}
