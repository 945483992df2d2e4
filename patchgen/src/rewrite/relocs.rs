//! What is left to the dynamic linker: fields of the patch whose value depends on where the file or a library is mapped.

use super::Refusal;
use super::elf::{File, dt};
use hpatch_core::elf::{Rela, SHN_ABS, SHN_UNDEF, SHT_RELA};
use hpatch_core::link::{Place, r};
use hpatch_core::payload::Payload;
use hpatch_core::report::Name;
use patchfmt::codes;
use patchfmt::payload::{BIND_IMPORT, Edit};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use zerocopy::FromBytes;

const R_X86_64_64: u32 = 1;
const R_X86_64_COPY: u32 = 5;
const R_X86_64_RELATIVE: u32 = 8;
const R_X86_64_IRELATIVE: u32 = 37;
const WORD: u64 = 8;

/// What the dynamic linker stores in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// An address in the file itself: symbol of the payload, addend.
    Own(u32, i64),
    /// An import: symbol of the payload, addend.
    Import(u32, i64),
}

/// A field of eight bytes in a section of the payload.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub section: usize,
    pub offset: u64,
    pub value: Value,
    /// Index of the edit that the field lies in: then it belongs to the edited place.
    pub edit: Option<usize>,
}

/// What the payload's relocations ask for beyond what can be computed now.
#[derive(Debug, Default)]
pub struct Needs {
    pub fields: Vec<Field>,
    /// Imports that are called: payload symbol, number of its stub.
    pub stubs: BTreeMap<u32, usize>,
    /// Imports that any field or stub needs.
    pub imports: BTreeSet<u32>,
}

impl Needs {
    /// Reads the payload's relocations.
    ///
    /// # Errors
    /// HP0614 for a field that no dynamic relocation can set.
    pub fn of(payload: &Payload<'_>, moves: bool) -> Result<Needs, Refusal> {
        let object = &payload.object;
        let symbols = object.symbols();
        let imports: BTreeSet<u32> =
            payload.binds.iter().filter(|b| b.kind == BIND_IMPORT).map(|b| b.symbol.get()).collect();
        let edits = Edits::of(payload);
        let mut needs = Needs::default();
        for table in object.sections().iter().filter(|s| s.kind.get() == SHT_RELA) {
            let section = table.info.get() as usize;
            if !object.sections().get(section).is_some_and(|s| s.has(hpatch_core::elf::SHF_ALLOC)) {
                continue;
            }
            for rela in object.records::<Rela>(table).unwrap_or_default() {
                let (symbol, addend, offset) = (rela.symbol.get(), rela.addend.get(), rela.offset.get());
                let import = imports.contains(&symbol);
                let absolute = symbols.get(symbol as usize).is_some_and(|s| s.shndx.get() == SHN_ABS);
                let mut field = |value| {
                    let edit = edits.at(section, offset);
                    needs.fields.push(Field { section, offset, value, edit });
                };
                match rela.kind.get() {
                    r::NONE => {}
                    r::X64 if import => field(Value::Import(symbol, addend)),
                    r::X64 if moves && !absolute => field(Value::Own(symbol, addend)),
                    r::PLT32 if import => {
                        let next = needs.stubs.len();
                        needs.stubs.entry(symbol).or_insert(next);
                    }
                    kind if import || (matches!(kind, r::X32 | r::X32S) && moves && !absolute) => {
                        let name = symbols.get(symbol as usize).map_or(&b""[..], |s| object.name(s.name.get()));
                        let what = format!("a field for {} with relocation type {kind}", Name(name));
                        return Err(Refusal::new(codes::REWRITE_SITE, what));
                    }
                    _ => {}
                }
                if import {
                    needs.imports.insert(symbol);
                }
            }
        }
        Ok(needs)
    }

    /// Sections of the payload that the dynamic linker writes to.
    pub fn written(&self) -> BTreeSet<usize> {
        self.fields.iter().filter(|f| f.edit.is_none()).map(|f| f.section).collect()
    }
}

/// Where the new bytes of the edits lie in the payload.
struct Edits(Vec<(usize, u64, u64)>);

impl Edits {
    fn of(payload: &Payload<'_>) -> Edits {
        let place = |e: &Edit| match payload.object.symbols().get(e.symbol.get() as usize) {
            Some(s) if s.shndx.get() != SHN_UNDEF => {
                (usize::from(s.shndx.get()), s.value.get(), u64::from(e.size.get()))
            }
            _ => (usize::MAX, 0, 0),
        };
        Edits(payload.edits.iter().map(place).collect())
    }

    fn at(&self, section: usize, offset: u64) -> Option<usize> {
        self.0.iter().position(|(s, start, size)| *s == section && offset >= *start && offset - start < *size)
    }
}

/// The dynamic relocations of the rewritten file.
#[derive(Debug)]
pub struct Table {
    pub entries: Vec<Rela>,
    /// Leading entries of type `R_X86_64_RELATIVE`, when the file says how many these are.
    pub relative: Option<u64>,
}

/// The file's relocations that are applied at the start, without those of the procedure linkage table.
fn old_table<'a>(file: &File<'a>) -> Result<&'a [Rela], Refusal> {
    let (Some(at), Some(size)) = (file.dynamic(dt::RELA), file.dynamic(dt::RELASZ)) else { return Ok(&[]) };
    // Some linkers count the PLT's, which follow, as part of the table.
    let plt = file.dynamic(dt::JMPREL).filter(|p| (at..at.saturating_add(size)).contains(p));
    let size = plt.map_or(size, |p| p - at);
    let broken = || Refusal::new(codes::REWRITE_FORM, "its table of relocations");
    file.table(at, size / size_of::<Rela>() as u64).ok_or_else(broken)
}

/// What the final table is made from.
#[derive(Debug)]
pub struct Plan {
    kept: Vec<Rela>,
    relative: usize,
    /// The file counts its relative ones.
    counted: bool,
    changed: bool,
    /// Fields that `DT_RELR` relocates: their content is the svma.
    pub in_place: BTreeSet<u64>,
}

impl Plan {
    /// The file's table without the relocations of places that are edited.
    ///
    /// # Errors
    /// HP0614 where an edit and a dynamic relocation can't both be.
    pub fn new(file: &File<'_>, payload: &Payload<'_>, needs: &Needs) -> Result<Plan, Refusal> {
        let old = old_table(file)?;
        let count = file.dynamic(dt::RELACOUNT);
        let leading = usize::try_from(count.unwrap_or(0)).unwrap_or(usize::MAX).min(old.len());
        let edited = |at: u64, width: u64| {
            payload.edits.iter().find(|e| {
                let (start, end) = (e.svma.get(), e.svma.get().saturating_add(e.size.get().into()));
                at < end && at.saturating_add(width) > start
            })
        };
        let refuse = |at: u64, what: &str| {
            Err(Refusal::new(codes::REWRITE_SITE, format_args!("the dynamic linker {what} 0x{at:x}, which is edited")))
        };
        let mut plan =
            Plan { kept: Vec::new(), relative: 0, counted: count.is_some(), changed: false, in_place: BTreeSet::new() };
        for (n, rela) in old.iter().enumerate() {
            let at = rela.offset.get();
            match edited(at, WORD) {
                Some(_) if matches!(rela.kind.get(), R_X86_64_COPY | R_X86_64_IRELATIVE) => {
                    return refuse(at, "copies or resolves what is at");
                }
                Some(e) if at < e.svma.get() || at + WORD > e.svma.get() + u64::from(e.size.get()) => {
                    return refuse(at, "writes across the end of");
                }
                Some(_) => plan.changed = true,
                None => {
                    plan.kept.push(*rela);
                    plan.relative += usize::from(n < leading);
                }
            }
        }
        let jumps = file.dynamic(dt::JMPREL).zip(file.dynamic(dt::PLTRELSZ));
        let jumps = jumps.and_then(|(at, size)| file.table::<Rela>(at, size / size_of::<Rela>() as u64));
        if let Some(rela) = jumps.unwrap_or_default().iter().find(|r| edited(r.offset.get(), WORD).is_some()) {
            return refuse(rela.offset.get(), "binds a function at");
        }
        let set: HashMap<u64, Value> =
            needs.fields.iter().filter_map(|f| Some((edit_place(payload, f)?, f.value))).collect();
        for at in relr(file)? {
            match (edited(at, WORD), set.get(&at)) {
                (None, _) | (Some(_), Some(Value::Import(..))) => {}
                (Some(_), Some(Value::Own(..))) => {
                    plan.in_place.insert(at);
                }
                (Some(_), None) => return refuse(at, "adds to"),
            }
        }
        Ok(plan)
    }

    /// How many relocations the final table has; `None` when the file's own stays as it is.
    pub fn count(&self, more: usize) -> Option<usize> {
        (self.changed || more != 0).then_some(self.kept.len() + more)
    }

    /// The final table: relative ones first, resolvers of indirect functions last, as the file had them.
    pub fn table(&self, relative: &[Rela], symbolic: &[Rela]) -> Table {
        let (first, rest) = self.kept.split_at(self.relative);
        let resolvers = rest.iter().position(|r| r.kind.get() == R_X86_64_IRELATIVE).unwrap_or(rest.len());
        let (middle, last) = rest.split_at(resolvers);
        Table {
            entries: [first, relative, middle, symbolic, last].concat(),
            relative: self.counted.then_some((first.len() + relative.len()) as u64),
        }
    }
}

/// The svma of a field that belongs to an edit.
pub fn edit_place(payload: &Payload<'_>, field: &Field) -> Option<u64> {
    let edit = &payload.edits[field.edit?];
    let start = payload.object.symbols().get(edit.symbol.get() as usize)?.value.get();
    Some(edit.svma.get().wrapping_add(field.offset - start))
}

/// The svma that the dynamic linker has to write to.
pub fn place_of(payload: &Payload<'_>, field: &Field, places: &[Place], base: u64) -> u64 {
    edit_place(payload, field).unwrap_or_else(|| base + places[field.section].offset + field.offset)
}

pub fn relative(at: u64, svma: u64) -> Rela {
    Rela { offset: at.into(), kind: R_X86_64_RELATIVE.into(), symbol: 0.into(), addend: svma.cast_signed().into() }
}

pub fn symbolic(at: u64, symbol: u32, addend: i64) -> Rela {
    Rela { offset: at.into(), kind: R_X86_64_64.into(), symbol: symbol.into(), addend: addend.into() }
}

/// The places of `DT_RELR` (gABI): addresses, each followed by bitmaps of 63 further words.
fn relr(file: &File<'_>) -> Result<Vec<u64>, Refusal> {
    let (Some(at), Some(size)) = (file.dynamic(dt::RELR), file.dynamic(dt::RELRSZ)) else { return Ok(Vec::new()) };
    let broken = || Refusal::new(codes::REWRITE_FORM, "its table of relative relocations");
    let bytes = file.bytes(at, size).ok_or_else(broken)?;
    let (words, _) =
        <[zerocopy::little_endian::U64]>::ref_from_prefix_with_elems(bytes, bytes.len() / 8).map_err(|_| broken())?;
    let mut places = Vec::new();
    let mut next = 0u64;
    for word in words.iter().map(|w| w.get()) {
        if word & 1 == 0 {
            places.push(word);
            next = word.wrapping_add(WORD);
            continue;
        }
        places.extend((0..63).filter(|bit| word >> (bit + 1) & 1 == 1).map(|bit| next.wrapping_add(bit * WORD)));
        next = next.wrapping_add(63 * WORD);
    }
    Ok(places)
}
