//! DWARF of one image: its units, the address ranges and lines they cover. Entries are read by [`die`].
//!
//! Sources: DWARF 5 (and 4), GNU extensions for split DWARF and dwz.

mod abbrev;
mod data;
pub(crate) mod die;
mod lines;
mod plan;
pub(crate) mod vars;

pub use data::DebugData;
pub(crate) use die::{Reading, Spare, Table};
pub use lines::Place;
pub use vars::{StaticLocal, Variable};

use crate::addr::{Svma, SvmaRange};
use crate::image::{Image, ImageError};
use gimli::{DwarfPackage, DwarfSections, EndianSlice, LittleEndian, UnitType};
use lines::Lines;
use patchfmt::codes;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) type Reader<'i> = EndianSlice<'i, LittleEndian>;
pub(crate) type Dwarf<'i> = gimli::Dwarf<Reader<'i>>;

/// Index of a unit in [`DebugInfo::units`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnitId(pub u32);

/// An entry, in any unit of any of the image's debug files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct DieRef {
    pub unit: u32,
    /// From the start of the unit, in bytes. Longer units aren't read.
    pub offset: u32,
}

impl DieRef {
    fn new(unit: u32, offset: usize) -> Option<DieRef> {
        u32::try_from(offset).ok().map(|offset| DieRef { unit, offset })
    }
}

/// One unit. Of a split one, `unit` is the content in the `.dwo` and `skeleton` what the image has.
#[derive(Debug)]
pub(crate) struct DebugUnit<'i> {
    /// In [`DebugInfo::dwarfs`].
    pub dwarf: u32,
    pub unit: gimli::Unit<Reader<'i>>,
    pub skeleton: Option<gimli::Unit<Reader<'i>>>,
    pub producer: &'i [u8],
    pub language: Option<gimli::DwLang>,
    /// A compilation unit, in contrast to type and partial units.
    pub full: bool,
    /// Only there to be imported by others.
    pub partial: bool,
}

/// The units of one image, scanned at their top level only; everything else is read when asked for.
#[derive(Debug)]
pub struct DebugInfo<'i> {
    data: &'i DebugData,
    pub(crate) dwarfs: Vec<Dwarf<'i>>,
    pub(crate) units: Vec<DebugUnit<'i>>,
    /// Where each dwarf's units are in its `.debug_info`, ascending: (dwarf, start, unit).
    by_offset: Vec<(u32, usize, u32)>,
    /// Type units by signature.
    signatures: HashMap<u64, DieRef>,
    /// Address ranges of units, ascending.
    ranges: Vec<(Svma, Svma, u32)>,
    lines: Vec<OnceLock<Lines>>,
    /// Entries of units that are looked at more than once: all, and those that a survey needs.
    tables: [Vec<OnceLock<die::Table<'i>>>; 2],
    spare: Spare<'i>,
    /// Bytes of the units whose entries were read, as often as they were.
    read: AtomicU64,
    entangled: bool,
    missing: Vec<ImageError>,
    /// Where the TLS block of the image would be, were it at its template, with its full size.
    tls: Option<SvmaRange>,
}

pub(crate) fn malformed(path: &Path, e: gimli::Error) -> ImageError {
    ImageError { code: codes::DWARF_MALFORMED, path: path.to_path_buf(), what: format!("debug information: {e}") }
}

fn borrow(s: &data::SectionBytes) -> Reader<'_> {
    EndianSlice::new(s, LittleEndian)
}

/// Which dwarf of [`DebugInfo::dwarfs`] is the supplementary file's.
const SUP: u32 = 1;

impl<'i> DebugInfo<'i> {
    /// Scans the units of `data`, which must be of `image`.
    pub fn open(image: &Image, data: &'i DebugData) -> Result<DebugInfo<'i>, ImageError> {
        let mut info = DebugInfo {
            data,
            dwarfs: Vec::new(),
            units: Vec::new(),
            by_offset: Vec::new(),
            signatures: HashMap::new(),
            ranges: Vec::new(),
            lines: Vec::new(),
            tables: [Vec::new(), Vec::new()],
            spare: Spare::default(),
            read: AtomicU64::new(0),
            entangled: false,
            missing: data.missing.clone(),
            tls: image.tls.map(|(template, size, _)| SvmaRange::new(template.start, size)),
        };
        info.scan(data).map_err(|e| malformed(&data.path, e))?;
        info.cover(image).map_err(|e| malformed(&data.path, e))?;
        data.give_back();
        info.lines = info.units.iter().map(|_| OnceLock::new()).collect();
        info.tables = [(), ()].map(|()| info.units.iter().map(|_| OnceLock::new()).collect());
        let lto = |p: &[u8]| p.starts_with(b"GNU GIMPLE") || p.windows(5).any(|w| w == b"-flto");
        info.entangled = info.units.iter().any(|u| u.partial || lto(u.producer));
        Ok(info)
    }

    fn scan(&mut self, data: &'i DebugData) -> gimli::Result<()> {
        let main = data.main.borrow_with_sup(data.sup.as_ref(), borrow);
        let sup = data.sup.as_ref().map(|s| s.borrow(borrow)).unwrap_or_default();
        let empty = EndianSlice::new(&[], LittleEndian);
        let package = data.package.as_ref().map(|p| p.borrow(borrow, empty)).transpose()?;
        let mut split: HashMap<u64, (u32, gimli::Unit<Reader<'i>>)> = HashMap::new();
        let mut dwarfs = vec![main, sup];
        for dwo in &data.dwos {
            let mut dwarf = dwo.borrow(borrow);
            dwarf.make_dwo(&dwarfs[0]);
            let index = dwarfs.len() as u32;
            for unit in units_of(&dwarf)? {
                if let Some(id) = unit.dwo_id {
                    split.insert(id.0, (index, unit));
                } else {
                    self.push(index, &dwarf, unit, None)?;
                }
            }
            dwarfs.push(dwarf);
        }
        for unit in units_of(&dwarfs[1])? {
            self.push(SUP, &dwarfs[1], unit, None)?;
        }
        for unit in units_of(&dwarfs[0])? {
            let content = match unit.dwo_id {
                Some(id) => match (split.remove(&id.0), &package) {
                    (Some(found), _) => Some(found),
                    (None, Some(package)) => packaged(package, id, &mut dwarfs)?,
                    _ => None,
                },
                None => None,
            };
            if unit.dwo_id.is_some() && content.is_none() && data.missing.is_empty() {
                self.missing.push(ImageError {
                    code: codes::SPLIT_MISSING,
                    path: data.path.clone(),
                    what: "the split debug files don't hold a unit of this build".into(),
                });
            }
            match content {
                Some((index, mut content)) => {
                    content.copy_relocated_attributes(&unit);
                    self.push(index, &dwarfs[index as usize], content, Some(unit))?;
                }
                None => self.push(0, &dwarfs[0], unit, None)?,
            }
        }
        self.dwarfs = dwarfs;
        self.by_offset.sort_unstable();
        Ok(())
    }

    fn push(
        &mut self,
        dwarf: u32,
        source: &Dwarf<'i>,
        unit: gimli::Unit<Reader<'i>>,
        skeleton: Option<gimli::Unit<Reader<'i>>>,
    ) -> gimli::Result<()> {
        let index = self.units.len() as u32;
        if let Some(at) = unit.header.debug_info_offset() {
            self.by_offset.push((dwarf, at.0, index));
        }
        let (mut producer, mut language) = (&b""[..], None);
        let (mut full, mut partial) = (true, false);
        {
            let mut entries = unit.entries();
            entries.next_dfs()?;
            if let Some(root) = entries.current() {
                full = root.tag() == gimli::DW_TAG_compile_unit || root.tag() == gimli::DW_TAG_skeleton_unit;
                partial = root.tag() == gimli::DW_TAG_partial_unit;
                if let Some(v) = root.attr_value(gimli::DW_AT_producer) {
                    producer = source.attr_string(&unit, v)?.slice();
                }
                if let Some(gimli::AttributeValue::Language(l)) = root.attr_value(gimli::DW_AT_language) {
                    language = Some(l);
                }
            }
        }
        if let UnitType::Type { type_signature, type_offset } | UnitType::SplitType { type_signature, type_offset } =
            unit.header.type_()
        {
            self.signatures.extend(DieRef::new(index, type_offset.0).map(|at| (type_signature.0, at)));
        }
        self.units.push(DebugUnit { dwarf, unit, skeleton, producer, language, full, partial });
        Ok(())
    }

    /// Fills `ranges` with what lies inside the image: linkers leave ranges of discarded functions at 0 or at a tombstone.
    fn cover(&mut self, image: &Image) -> gimli::Result<()> {
        let of_unit = |(i, u): (usize, &DebugUnit<'i>)| -> gimli::Result<Vec<(Svma, Svma, u32)>> {
            let mut out = Vec::new();
            if !u.full {
                return Ok(out);
            }
            let (dwarf, unit) = match &u.skeleton {
                Some(s) => (&self.dwarfs[0], s),
                None => (&self.dwarfs[u.dwarf as usize], &u.unit),
            };
            let mut add = |start: u64, end: u64| {
                if start < end && image.section_at(Svma(start)).is_some() {
                    out.push((Svma(start), Svma(end), i as u32));
                }
            };
            let mut entries = unit.entries();
            entries.next_dfs()?;
            let Some(root) = entries.current() else { return Ok(out) };
            if let Some(value) = root.attr_value(gimli::DW_AT_ranges) {
                if let Some(mut ranges) = dwarf.attr_ranges(unit, value)? {
                    while let Some(r) = ranges.next()? {
                        add(r.begin, r.end);
                    }
                }
            } else if let Some(high) = root.attr_value(gimli::DW_AT_high_pc) {
                // An address, or the distance from DW_AT_low_pc.
                let end = match dwarf.attr_address(unit, high)? {
                    Some(end) => Some(end),
                    None => high.udata_value().and_then(|size| unit.low_pc.checked_add(size)),
                };
                add(unit.low_pc, end.unwrap_or(0));
            }
            Ok(out)
        };
        let found: gimli::Result<Vec<_>> = self.units.par_iter().enumerate().map(of_unit).collect();
        self.ranges = found?.concat();
        self.ranges.sort_unstable();
        Ok(())
    }

    /// Units refer to each other's entries, as link-time optimisation and dwz make them: each is read once and kept.
    pub(crate) fn is_entangled(&self) -> bool {
        self.entangled
    }

    /// Whether entries of a unit may refer to other units' entries, by the forms that its abbreviations have.
    pub(crate) fn refers_elsewhere(&self, unit: u32) -> bool {
        let u = &self.units[unit as usize];
        abbrev::has_far_reference(&self.dwarfs[u.dwarf as usize], &u.unit.header).unwrap_or(true)
    }

    /// What DWARF there should be but isn't (HP0202).
    pub fn missing(&self) -> &[ImageError] {
        &self.missing
    }

    pub fn path(&self) -> &'i Path {
        &self.data.path
    }

    /// Takes a unit that was read out of memory, until it is read again.
    pub(crate) fn give_back(&self, unit: u32) {
        let u = &self.units[unit as usize];
        if let (0, Some(at)) = (u.dwarf, u.unit.header.debug_info_offset()) {
            let part = at.0..at.0 + u.unit.header.length_including_self();
            self.data.main.debug_info.borrow(|section| section.give_back(part.clone()));
        }
    }

    /// How often all entries were read until now, on average over the bytes of the units.
    pub fn readings(&self) -> f64 {
        let all: usize = self.units.iter().map(|u| u.unit.header.length_including_self()).sum();
        self.read.load(Ordering::Relaxed) as f64 / all.max(1) as f64
    }

    /// Compilation units: those with code or data.
    pub fn unit_ids(&self) -> impl Iterator<Item = UnitId> {
        self.units.iter().enumerate().filter(|(_, u)| u.full).map(|(i, _)| UnitId(i as u32))
    }

    /// DW_AT_name: the source file as the compiler was told. Empty where it has none or isn't UTF-8.
    pub fn unit_name(&self, id: UnitId) -> &'i str {
        self.name_at(id.0)
    }

    pub(crate) fn name_at(&self, unit: u32) -> &'i str {
        let u = &self.units[unit as usize];
        let name = u.unit.name.or(u.skeleton.as_ref().and_then(|s| s.name));
        name.and_then(|n| std::str::from_utf8(n.slice()).ok()).unwrap_or("")
    }

    /// DW_AT_comp_dir joined with DW_AT_name.
    pub fn unit_path(&self, id: UnitId) -> PathBuf {
        let u = &self.units[id.0 as usize];
        let dir = u.skeleton.as_ref().unwrap_or(&u.unit).comp_dir;
        let dir = dir.and_then(|d| std::str::from_utf8(d.slice()).ok()).unwrap_or("");
        Path::new(dir).join(self.unit_name(id))
    }

    /// The compilation unit whose code covers `a`.
    pub fn unit_at(&self, a: Svma) -> Option<UnitId> {
        let after = self.ranges.partition_point(|r| r.0 <= a);
        // Ranges of different units only overlap after identical code folding: the nearest start is as good as any.
        self.ranges[..after].iter().rev().take(8).find(|r| a < r.1).map(|r| UnitId(r.2))
    }

    /// Source file (DW_AT_name) of the unit whose code covers `a`.
    pub fn unit_of(&self, a: Svma) -> Option<&'i str> {
        self.unit_at(a).map(|id| self.unit_name(id))
    }

    /// Every DW_AT_producer (compiler, version, flags as far as recorded) with the units that have it, in order of the units.
    pub fn producers(&self) -> BTreeMap<String, Vec<UnitId>> {
        let mut out: BTreeMap<String, Vec<UnitId>> = BTreeMap::new();
        for id in self.unit_ids() {
            let text = String::from_utf8_lossy(self.units[id.0 as usize].producer).into_owned();
            out.entry(text).or_default().push(id);
        }
        out
    }

    /// DW_AT_producer of one unit.
    pub fn producer(&self, id: UnitId) -> &'i str {
        std::str::from_utf8(self.units[id.0 as usize].producer).unwrap_or("")
    }

    pub(crate) fn is_assembly(&self, unit: u32) -> bool {
        self.units[unit as usize].language == Some(gimli::DW_LANG_Mips_Assembler)
    }

    /// Whether functions have no arguments but those that are declared.
    pub(crate) fn is_c(&self, unit: u32) -> bool {
        use gimli::constants as dw;
        matches!(
            self.units[unit as usize].language,
            Some(
                dw::DW_LANG_C
                    | dw::DW_LANG_C89
                    | dw::DW_LANG_C99
                    | dw::DW_LANG_C11
                    | dw::DW_LANG_C17
                    | dw::DW_LANG_C_plus_plus
                    | dw::DW_LANG_C_plus_plus_03
                    | dw::DW_LANG_C_plus_plus_11
                    | dw::DW_LANG_C_plus_plus_14
                    | dw::DW_LANG_C_plus_plus_17
                    | dw::DW_LANG_C_plus_plus_20
            )
        )
    }

    /// The language of most units, as DWARF names it (`DW_LANG_C11`).
    pub fn main_language(&self) -> Option<&'static str> {
        let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
        for l in self.units.iter().filter(|u| u.full).filter_map(|u| u.language) {
            *counts.entry(l.0).or_default() += 1;
        }
        let (code, _) = counts.into_iter().max_by_key(|&(code, n)| (n, std::cmp::Reverse(code)))?;
        gimli::DwLang(code).static_string()
    }

    /// The entry that an attribute of unit `from` refers to.
    pub(crate) fn resolve(&self, from: u32, value: &gimli::AttributeValue<Reader<'i>>) -> Option<DieRef> {
        use gimli::AttributeValue as V;
        let dwarf = self.units[from as usize].dwarf;
        match *value {
            V::UnitRef(offset) => DieRef::new(from, offset.0),
            V::DebugInfoRef(at) => self.at_offset(dwarf, at.0),
            V::DebugInfoRefSup(at) => self.at_offset(SUP, at.0),
            V::DebugTypesRef(sig) => self.signatures.get(&sig.0).copied(),
            _ => None,
        }
    }

    /// The entry at an offset in the `.debug_info` of one file.
    fn at_offset(&self, dwarf: u32, at: usize) -> Option<DieRef> {
        let after = self.by_offset.partition_point(|&(d, start, _)| (d, start) <= (dwarf, at));
        let &(d, start, unit) = self.by_offset.get(after.checked_sub(1)?)?;
        if d == dwarf { DieRef::new(unit, at - start) } else { None }
    }
}

/// A unit that knows the abbreviation of its root only: the others are read by [`abbrev`].
fn unit_of<'i>(dwarf: &Dwarf<'i>, header: gimli::UnitHeader<Reader<'i>>) -> gimli::Result<gimli::Unit<Reader<'i>>> {
    gimli::Unit::new_with_abbreviations(dwarf, header, abbrev::root(dwarf, &header)?)
}

fn units_of<'i>(dwarf: &Dwarf<'i>) -> gimli::Result<Vec<gimli::Unit<Reader<'i>>>> {
    let mut headers = Vec::new();
    let mut iter = dwarf.units();
    while let Some(h) = iter.next()? {
        headers.push(h);
    }
    let mut iter = dwarf.type_units();
    while let Some(h) = iter.next()? {
        headers.push(h);
    }
    headers.into_par_iter().map(|h| unit_of(dwarf, h)).collect()
}

fn packaged<'i>(
    package: &DwarfPackage<Reader<'i>>,
    id: gimli::DwoId,
    dwarfs: &mut Vec<Dwarf<'i>>,
) -> gimli::Result<Option<(u32, gimli::Unit<Reader<'i>>)>> {
    let Some(dwarf) = package.find_cu(id, &dwarfs[0])? else { return Ok(None) };
    let unit = units_of(&dwarf)?.into_iter().find(|u| u.dwo_id == Some(id));
    let index = dwarfs.len() as u32;
    dwarfs.push(dwarf);
    Ok(unit.map(|u| (index, u)))
}

/// Paths of the `.dwo` files that the units of `sections` name.
fn skeletons(sections: &DwarfSections<data::SectionBytes>) -> gimli::Result<Vec<PathBuf>> {
    let dwarf = sections.borrow(borrow);
    let mut out = Vec::new();
    let mut iter = dwarf.units();
    while let Some(header) = iter.next()? {
        // Since DWARF 5 a skeleton's header says that it is one (7.5.1.2); before, an attribute of the GNU extension.
        if header.version() >= 5 && !matches!(header.type_(), UnitType::Skeleton(_)) {
            continue;
        }
        let unit = unit_of(&dwarf, header)?;
        if unit.dwo_id.is_none() {
            continue;
        }
        let Some(name) = unit.dwo_name()? else { continue };
        let name = dwarf.attr_string(&unit, name)?;
        let dir = unit.comp_dir.map_or("".into(), |d| d.to_string_lossy());
        out.push(Path::new(&*dir).join(&*name.to_string_lossy()));
    }
    Ok(out)
}
