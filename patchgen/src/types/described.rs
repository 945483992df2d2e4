//! Functions of which debug information doesn't say with what types they work: their unit was compiled without any, or with that for lines
//! only (`-g1`, `-gline-tables-only`).

use super::Survey;
use crate::addr::Svma;
use crate::dwarf::die::{Home, Table};
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Reading, UnitId};
use crate::image::ImageError;
use gimli::constants as dw;
use std::collections::{BTreeMap, BTreeSet};

/// Those of `entries`, where functions begin, that nothing is said of.
///
/// # Errors
/// When debug information is damaged.
pub fn undescribed(
    info: &DebugInfo<'_>,
    survey: &Survey,
    entries: impl Iterator<Item = Svma>,
) -> Result<BTreeSet<Svma>, ImageError> {
    let mut out = BTreeSet::new();
    let mut bare: BTreeMap<u32, Vec<Svma>> = BTreeMap::new();
    for entry in entries {
        match info.unit_at(entry) {
            None => drop(out.insert(entry)),
            // An assembler says nothing of types.
            Some(unit) if info.is_assembly(unit.0) => {}
            Some(unit) if survey.is_bare(unit.0) => bare.entry(unit.0).or_default().push(entry),
            Some(_) => {}
        }
    }
    for (unit, entries) in bare {
        let table = info.read_table(unit).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
        out.extend(entries.into_iter().filter(|&entry| !is_described(info, survey, unit, &table, entry)));
    }
    Ok(out)
}

/// Whether anything has a type.
pub(super) fn has_types(table: &Table<'_>) -> bool {
    table.nodes.iter().any(|node| node.ty.is_some() || node.size().is_some())
}

/// Of a function in a unit in which nothing has a type. It may need none, and be described elsewhere where units are linked as one.
fn is_described<'i>(info: &DebugInfo<'i>, survey: &Survey, unit: u32, table: &Table<'i>, entry: Svma) -> bool {
    let view = View { info, unit, local: table, reading: Reading::Full };
    let begins = |home| matches!(home, Some(Home::At(at)) if at == entry);
    let node = table.tagged(|tag| tag == dw::DW_TAG_subprogram).find(|(_, n)| n.code && begins(n.home));
    let elsewhere = node.and_then(|(_, node)| node.origin).filter(|origin| origin.unit != unit);
    if elsewhere.is_some_and(|origin| !survey.is_bare(origin.unit)) {
        return true;
    }
    let declared = node.and_then(|(_, node)| view.declared(DieRef { unit, offset: node.offset }));
    let (of, line) = declared.map_or((unit, 0), |(at, node)| (at.unit, node.line));
    if !survey.is_bare(of) {
        return true;
    }
    let producer = info.producer(UnitId(of));
    // Clang's tables of lines say where no function is declared.
    if producer.starts_with("GNU") { !is_terse(producer) } else { line != 0 }
}

/// The symbol of the function that a thunk is for, which the same unit has compiled (Itanium C++ ABI, 5.1.4.1 and 5.1.5.2).
#[must_use]
pub fn thunk_target(symbol: &str) -> Option<String> {
    fn number(s: &str) -> Option<&str> {
        let digits = s.strip_prefix('n').unwrap_or(s);
        let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() < digits.len() { rest.strip_prefix('_') } else { None }
    }
    fn call_offset(s: &str) -> Option<&str> {
        match s.strip_prefix('v') {
            Some(rest) => number(rest).and_then(number),
            None => number(s.strip_prefix('h')?),
        }
    }
    let special = symbol.strip_prefix("_ZT")?;
    let encoding = match special.strip_prefix('c') {
        Some(rest) => call_offset(rest).and_then(call_offset)?,
        None => call_offset(special)?,
    };
    (!encoding.is_empty()).then(|| format!("_Z{encoding}"))
}

/// Whether GCC's last option for debug information is for less than types.
fn is_terse(producer: &str) -> bool {
    let level = |word: &str| match word {
        "-g" | "-ggdb" => Some(2),
        _ => word.strip_prefix("-ggdb").or_else(|| word.strip_prefix("-g"))?.parse::<u8>().ok(),
    };
    producer.split(' ').filter_map(level).next_back().is_some_and(|level| level < 2)
}

#[cfg(test)]
mod tests {
    use super::{is_terse, thunk_target};

    #[test]
    fn a_thunk_names_its_function() {
        for thunk in
            ["_ZTv0_n32_NK4Both2idEv", "_ZThn16_NK4Both2idEv", "_ZTch0_v0_n32_NK4Both2idEv", "_ZTh8_NK4Both2idEv"]
        {
            assert_eq!(thunk_target(thunk).as_deref(), Some("_ZNK4Both2idEv"), "{thunk}");
        }
        for other in [
            "_ZTV4Both",
            "_ZTI4Both",
            "_ZTh_N4Both2idEv",
            "_ZThn_N4Both2idEv",
            "_ZTv0_N4Both2idEv",
            "_ZTh8_",
            "main",
            "_ZTc",
        ] {
            assert_eq!(thunk_target(other), None, "{other}");
        }
    }

    #[test]
    fn the_last_level_counts() {
        for terse in ["GNU C17 12.2.0 -g1 -O2", "GNU C17 -g -g1", "GNU C17 -ggdb1 -gdwarf-4", "GNU C17 -g -g0"] {
            assert!(is_terse(terse), "{terse}");
        }
        for full in
            ["GNU C17 12.2.0 -g -O2", "GNU C17 -g1 -g", "GNU C17 -g1 -ggdb", "GNU C17 -O2 -gdwarf-5", "GNU C17 -g3"]
        {
            assert!(!is_terse(full), "{full}");
        }
    }
}
