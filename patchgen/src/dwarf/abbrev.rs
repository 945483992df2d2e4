//! Abbreviations of a unit, each read when an entry has it: most units use few of theirs outside of what is passed over.
//!
//! Source: DWARF 5, 7.5.3.

use super::{Dwarf, Reader};
use gimli::constants as dw;
use gimli::{
    Abbreviations, AttributeSpecification, DebugAbbrev, DebugAbbrevOffset, DwForm, DwTag, LittleEndian, Reader as _,
    Section as _, UnitHeader, UnitOffset,
};
use std::collections::HashMap;
use std::sync::Arc;

/// One declaration, without its code.
#[derive(Clone, Debug)]
pub(super) struct Abbrev {
    pub tag: DwTag,
    pub children: bool,
    pub attributes: Vec<AttributeSpecification>,
}

impl Default for Abbrev {
    fn default() -> Abbrev {
        Abbrev { tag: dw::DW_TAG_null, children: false, attributes: Vec::new() }
    }
}

/// The table that a unit's entries refer to, read as far as codes were asked for.
#[derive(Debug)]
pub(super) struct Abbrevs<'i> {
    /// What wasn't read yet.
    rest: Reader<'i>,
    /// Where what was passed over lies, from behind its code on. Compilers number from 1.
    dense: Vec<Option<Reader<'i>>>,
    other: HashMap<u64, Reader<'i>>,
}

/// Codes above this go to a map.
const DENSE: usize = 1 << 14;

impl<'i> Abbrevs<'i> {
    pub fn of(dwarf: &Dwarf<'i>, header: &UnitHeader<Reader<'i>>) -> gimli::Result<Abbrevs<'i>> {
        Ok(Abbrevs { rest: table(dwarf, header)?, dense: Vec::new(), other: HashMap::new() })
    }

    /// Reads what `code` stands for into `out`.
    pub fn read(&mut self, code: u64, out: &mut Abbrev) -> gimli::Result<()> {
        loop {
            if let Some(mut found) = self.known(code) {
                return declaration(&mut found, Some(out));
            }
            let next = next_code(&mut self.rest)?.ok_or(gimli::Error::InvalidAbbreviationCode(code))?;
            if self.known(next).is_some() {
                return Err(gimli::Error::DuplicateAbbreviationCode(next));
            }
            self.note(next);
            declaration(&mut self.rest, None)?;
        }
    }

    fn known(&self, code: u64) -> Option<Reader<'i>> {
        match usize::try_from(code) {
            Ok(code) if code < DENSE => self.dense.get(code).copied().flatten(),
            _ => self.other.get(&code).copied(),
        }
    }

    /// The declaration of `code` is what comes next.
    fn note(&mut self, code: u64) {
        match usize::try_from(code) {
            Ok(code) if code < DENSE => {
                if code >= self.dense.len() {
                    self.dense.resize((code + 1).next_power_of_two(), None);
                }
                self.dense[code] = Some(self.rest);
            }
            _ => drop(self.other.insert(code, self.rest)),
        }
    }
}

/// Only what the unit's root stands for, as gimli wants it.
pub(super) fn root<'i>(dwarf: &Dwarf<'i>, header: &UnitHeader<Reader<'i>>) -> gimli::Result<Arc<Abbreviations>> {
    let code = header.range_from(UnitOffset(header.header_size())..)?.read_uleb128()?;
    let mut rest = table(dwarf, header)?;
    loop {
        let start = rest;
        let next = next_code(&mut rest)?.ok_or(gimli::Error::InvalidAbbreviationCode(code))?;
        declaration(&mut rest, None)?;
        if next == code {
            let mut alone = start.slice()[..start.len() - rest.len()].to_vec();
            alone.push(0);
            let alone = DebugAbbrev::new(&alone, LittleEndian).abbreviations(DebugAbbrevOffset(0))?;
            return Ok(Arc::new(alone));
        }
    }
}

/// Whether an abbreviation of the unit has an attribute in a form that can name an entry of another unit.
pub(super) fn has_far_reference<'i>(dwarf: &Dwarf<'i>, header: &UnitHeader<Reader<'i>>) -> gimli::Result<bool> {
    let (mut rest, mut abbrev) = (table(dwarf, header)?, Abbrev::default());
    while next_code(&mut rest)?.is_some() {
        declaration(&mut rest, Some(&mut abbrev))?;
        if abbrev.attributes.iter().any(|a| is_far(a.form())) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_far(form: DwForm) -> bool {
    matches!(
        form,
        dw::DW_FORM_ref_addr
            | dw::DW_FORM_ref_sig8
            | dw::DW_FORM_ref_sup4
            | dw::DW_FORM_ref_sup8
            | dw::DW_FORM_GNU_ref_alt
            | dw::DW_FORM_indirect
    )
}

fn table<'i>(dwarf: &Dwarf<'i>, header: &UnitHeader<Reader<'i>>) -> gimli::Result<Reader<'i>> {
    let mut table = *dwarf.debug_abbrev.reader();
    table.skip(header.debug_abbrev_offset().0)?;
    Ok(table)
}

/// The code of the next declaration; none at the end of the table, which may lack its mark at the end of the section.
fn next_code(rest: &mut Reader<'_>) -> gimli::Result<Option<u64>> {
    if rest.is_empty() {
        return Ok(None);
    }
    rest.read_uleb128().map(|code| (code != 0).then_some(code))
}

/// Passes over a declaration behind its code, or reads it.
fn declaration(input: &mut Reader<'_>, mut out: Option<&mut Abbrev>) -> gimli::Result<()> {
    let (tag, children) = (DwTag(input.read_uleb128_u16()?), input.read_u8()? != 0);
    if let Some(out) = out.as_deref_mut() {
        (out.tag, out.children) = (tag, children);
        out.attributes.clear();
    }
    loop {
        let (name, form) = (gimli::DwAt(input.read_uleb128_u16()?), DwForm(input.read_uleb128_u16()?));
        match (name.0, form.0) {
            (0, 0) => return Ok(()),
            (0, _) => return Err(gimli::Error::AttributeNameZero),
            (_, 0) => return Err(gimli::Error::AttributeFormZero),
            _ => {}
        }
        let constant = if form == dw::DW_FORM_implicit_const { Some(input.read_sleb128()?) } else { None };
        if let Some(out) = out.as_deref_mut() {
            out.attributes.push(AttributeSpecification::new(name, form, constant));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimli::{EndianSlice, Error};

    fn abbrevs(table: &[u8]) -> Abbrevs<'_> {
        Abbrevs { rest: EndianSlice::new(table, LittleEndian), dense: Vec::new(), other: HashMap::new() }
    }

    /// Variables (0x34) without children that have a type (0x49) or one constant (0x21) as a file (0x3a), and the end.
    const TABLE: &[u8] = &[1, 0x34, 0, 0x49, 0x13, 0, 0, 2, 0x34, 1, 0x3a, 0x21, 0x7f, 0x49, 0x10, 0, 0, 0, 9];

    #[test]
    fn declarations_are_read_in_any_order() {
        let (mut table, mut one) = (abbrevs(TABLE), Abbrev::default());
        table.read(2, &mut one).unwrap();
        assert_eq!((one.tag, one.children, one.attributes.len()), (dw::DW_TAG_variable, true, 2));
        assert_eq!(one.attributes[0].implicit_const_value(), Some(-1));
        table.read(1, &mut one).unwrap();
        assert_eq!((one.children, one.attributes.len()), (false, 1));
        assert_eq!(table.read(3, &mut one), Err(Error::InvalidAbbreviationCode(3)));
    }

    #[test]
    fn a_code_stands_for_one_thing() {
        let twice = [&TABLE[..7], TABLE].concat();
        assert_eq!(abbrevs(&twice).read(2, &mut Abbrev::default()), Err(Error::DuplicateAbbreviationCode(1)));
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let cut = |len: usize, code| abbrevs(&TABLE[..len]).read(code, &mut Abbrev::default());
        for len in 1..7 {
            assert!(matches!(cut(len, 1), Err(Error::UnexpectedEof(_))), "{len}");
        }
        for len in 8..17 {
            assert!(matches!(cut(len, 2), Err(Error::UnexpectedEof(_))), "{len}");
        }
        assert_eq!((cut(7, 1), cut(17, 2)), (Ok(()), Ok(())));
    }

    #[test]
    fn forms_tell_whether_a_unit_refers_to_others() {
        use dw::{DW_FORM_indirect, DW_FORM_ref_addr, DW_FORM_ref_sig8, DW_FORM_ref4};
        assert!([DW_FORM_ref_addr, DW_FORM_ref_sig8, DW_FORM_indirect].into_iter().all(is_far));
        assert!(!is_far(DW_FORM_ref4));
    }
}
