//! Source lines of addresses.

use super::{DebugInfo, Dwarf, Reader, UnitId};
use crate::addr::{Svma, SvmaRange};

/// Rows of one unit's line program, ascending by address.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    at: Svma,
    /// As the line program numbers them; `END` where a sequence ends.
    file: u32,
    line: u32,
}

const END: u32 = u32::MAX;

/// A place in the source.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// As the line program has it: relative to the directory of compilation where it was given so.
    pub file: String,
    /// 0 where the compiler gave none.
    pub line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl<'i> DebugInfo<'i> {
    fn lines(&self, id: UnitId) -> &Lines {
        self.lines[id.0 as usize].get_or_init(|| {
            // A line program that can't be read leaves its unit without lines: they only serve messages and the `__LINE__` rule, where a
            // missing line means "not proven".
            self.read_lines(id).unwrap_or_default()
        })
    }

    /// The unit that has the line program for the code of `id`.
    fn with_lines(&self, id: UnitId) -> (&Dwarf<'i>, &gimli::Unit<Reader<'i>>) {
        let u = &self.units[id.0 as usize];
        match &u.skeleton {
            Some(s) => (&self.dwarfs[0], s),
            None => (&self.dwarfs[u.dwarf as usize], &u.unit),
        }
    }

    fn read_lines(&self, id: UnitId) -> gimli::Result<Lines> {
        let Some(program) = self.with_lines(id).1.line_program.clone() else { return Ok(Lines::default()) };
        let mut out = Lines::default();
        let mut rows = program.rows();
        while let Some((_, row)) = rows.next_row()? {
            let at = Svma(row.address());
            if row.end_sequence() {
                out.rows.push(Row { at, file: END, line: 0 });
                continue;
            }
            let file = u32::try_from(row.file_index()).unwrap_or(END - 1).min(END - 1);
            let line = row.line().map_or(0, |l| u32::try_from(l.get()).unwrap_or(u32::MAX));
            out.rows.push(Row { at, file, line });
        }
        // Several rows of one address stay, the last of which describes its instruction; but the end of a sequence gives way to the
        // start of the next.
        out.rows.sort_by_key(|r| (r.at, r.file != END));
        let mut kept = 0;
        for i in 0..out.rows.len() {
            let row = out.rows[i];
            if row.file != END || out.rows.get(i + 1).is_none_or(|next| next.at != row.at) {
                out.rows[kept] = row;
                kept += 1;
            }
        }
        out.rows.truncate(kept);
        Ok(out)
    }

    /// The file that DW_AT_decl_file `index` of unit `unit` names.
    pub(crate) fn file_name(&self, unit: u32, index: u32) -> Option<String> {
        let u = &self.units[unit as usize];
        let dwarf = &self.dwarfs[u.dwarf as usize];
        // A split unit has a line table of its own for declarations; where it has none, the skeleton's serves.
        let (dwarf, holder) = match (&u.unit.line_program, &u.skeleton) {
            (None, Some(s)) => (&self.dwarfs[0], s),
            _ => (dwarf, &u.unit),
        };
        let header = holder.line_program.as_ref()?.header();
        file_name(dwarf, holder, header, u64::from(index)).ok().filter(|n| !n.is_empty())
    }

    /// Source place of the instruction at `a`.
    pub fn line_of(&self, a: Svma) -> Option<Place> {
        let id = self.unit_at(a)?;
        let row = self.lines(id).at(a)?;
        let (dwarf, unit) = self.with_lines(id);
        let header = unit.line_program.as_ref()?.header();
        let file = file_name(dwarf, unit, header, u64::from(row.file)).unwrap_or_default();
        Some(Place { file, line: row.line })
    }

    /// As `line_of`, the number only: nothing is allocated.
    pub fn line_number(&self, a: Svma) -> Option<u32> {
        self.lines(self.unit_at(a)?).at(a).map(|r| r.line)
    }

    /// The lines of all rows in `range` (a function or a part of one), in order of address, with the row's address.
    pub fn lines_in(&self, range: SvmaRange) -> Vec<(Svma, u32)> {
        let Some(id) = self.unit_at(range.start) else { return Vec::new() };
        let lines = self.lines(id);
        let mut first = lines.rows.partition_point(|r| r.at < range.start);
        if lines.rows.get(first).is_none_or(|r| r.at > range.start) {
            // The row that covers the start began before it.
            first = first.saturating_sub(1);
        }
        let inside = lines.rows[first..].iter().take_while(|r| r.at < range.end);
        inside.filter(|r| r.file != END).map(|r| (r.at.max(range.start), r.line)).collect()
    }
}

/// The name of a file: relative to the directory of compilation where it was given so; empty where there is none.
fn file_name(
    dwarf: &Dwarf<'_>,
    unit: &gimli::Unit<Reader<'_>>,
    header: &gimli::LineProgramHeader<Reader<'_>>,
    index: u64,
) -> gimli::Result<String> {
    let mut name = String::new();
    let Some(file) = header.file(index) else { return Ok(name) };
    let text = dwarf.attr_string(unit, file.path_name())?;
    // Directory 0 is the directory of compilation.
    if file.directory_index() != 0
        && !text.starts_with(b"/")
        && let Some(dir) = file.directory(header)
    {
        name.push_str(&dwarf.attr_string(unit, dir)?.to_string_lossy());
        name.push('/');
    }
    name.push_str(&text.to_string_lossy());
    Ok(name)
}

impl Lines {
    fn at(&self, a: Svma) -> Option<Row> {
        let after = self.rows.partition_point(|r| r.at <= a);
        self.rows.get(after.checked_sub(1)?).copied().filter(|r| r.file != END)
    }
}
