//! The search table for unwind data (LSB 5.0, ".eh_frame_hdr"): one table of a file lists the functions of both, the file and the patch.

use super::Refusal;
use super::elf::{File, PT_GNU_EH_FRAME};
use gimli::{BaseAddresses, CieOrFde, EhFrame, EhFrameHdr, LittleEndian, Pointer, UnwindSection};
use patchfmt::codes;

/// Bytes before the table, and of an entry.
const HEAD: u64 = 12;
const ENTRY: u64 = 8;
const VERSION: u8 = 1;
/// DW_EH_PE_pcrel | sdata4; DW_EH_PE_udata4; DW_EH_PE_datarel | sdata4.
const ENCODINGS: [u8; 3] = [0x1b, 0x03, 0x3b];

fn broken(what: &str) -> Refusal {
    Refusal::new(codes::REWRITE_FORM, what)
}

/// The file's own table.
#[derive(Debug, Default)]
pub struct Frames {
    /// svma of the header, none when the file has none.
    pub header: Option<u64>,
    /// svma of `.eh_frame`.
    frames: u64,
    /// svmas of a function and of its record.
    entries: Vec<(u64, u64)>,
}

fn direct(pointer: Pointer) -> Result<u64, Refusal> {
    pointer.direct().map_err(|_| broken("its table of unwind data"))
}

impl Frames {
    /// Reads the file's table.
    ///
    /// # Errors
    /// HP0612 where there is a header without a table that can be extended.
    pub fn read(file: &File<'_>) -> Result<Frames, Refusal> {
        let Some(p) = file.segments.iter().find(|p| p.kind.get() == PT_GNU_EH_FRAME) else {
            return Ok(Frames::default());
        };
        let header = p.vaddr.get();
        let no_table = || broken("its unwind data has no search table");
        let bytes = file.bytes(header, p.filesz.get()).ok_or_else(no_table)?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(header);
        let parsed = EhFrameHdr::new(bytes, LittleEndian).parse(&bases, 8).map_err(|_| no_table())?;
        let mut entries = Vec::new();
        let table = parsed.table().ok_or_else(no_table)?;
        let mut table = table.iter(&bases);
        while let Some((start, record)) = table.next().map_err(|_| no_table())? {
            entries.push((direct(start)?, direct(record)?));
        }
        Ok(Frames { header: Some(header), frames: direct(parsed.eh_frame_ptr())?, entries })
    }

    /// Size of the new table with this many more functions.
    pub fn size(&self, more: usize) -> u64 {
        HEAD + ENTRY * (self.entries.len() + more) as u64
    }

    /// The new table, for svma `at`, with the functions of a `.eh_frame` section whose relocated bytes lie at svma `section`.
    ///
    /// # Errors
    /// HP0612 for addresses out of reach.
    pub fn table(&self, at: u64, section: u64, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let more = records(section, bytes).ok_or_else(|| broken("unwind data of the payload"))?;
        let mut entries: Vec<(u64, u64)> = self.entries.iter().copied().chain(more).collect();
        entries.sort_unstable();
        let frames = if self.header.is_some() { self.frames } else { section };
        let distance = |to: u64, from: u64| {
            let near = i32::try_from(to.wrapping_sub(from).cast_signed());
            near.map(i32::to_le_bytes).map_err(|_| broken("its unwind data is out of reach"))
        };
        let mut out = vec![VERSION];
        out.extend(ENCODINGS);
        out.extend(distance(frames, at + 4)?);
        let count = u32::try_from(entries.len()).map_err(|_| broken("its unwind data is too large"))?;
        out.extend(count.to_le_bytes());
        for (start, record) in entries {
            out.extend(distance(start, at)?);
            out.extend(distance(record, at)?);
        }
        Ok(out)
    }
}

/// svmas of the functions in a `.eh_frame` section and of their records.
fn records(section: u64, bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let bases = BaseAddresses::default().set_eh_frame(section);
    let frames = EhFrame::new(bytes, LittleEndian);
    let mut found = Vec::new();
    let mut all = frames.entries(&bases);
    while let Some(entry) = all.next().ok()? {
        if let CieOrFde::Fde(partial) = entry {
            let fde = partial.parse(|frames, bases, at| frames.cie_from_offset(bases, at)).ok()?;
            found.push((fde.initial_address(), section + fde.offset() as u64));
        }
    }
    Some(found)
}

/// How many functions a `.eh_frame` section describes; its addresses need not be relocated yet.
pub fn count(bytes: &[u8]) -> Option<usize> {
    records(0, bytes).map(|found| found.len())
}
