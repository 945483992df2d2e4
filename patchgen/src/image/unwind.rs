//! `.eh_frame`: which ranges have unwind data, and their exception tables.

use super::error::{Blame, ImageError, codes};
use super::{Fde, Section, SectionKind};
use crate::addr::{Svma, SvmaRange};
use gimli::{
    BaseAddresses, CommonInformationEntry, EhFrame, EhFrameOffset, EndianSlice, LittleEndian, Pointer,
    UnwindSection as _,
};
use std::collections::HashMap;

/// All FDEs, ascending by range.
pub(super) fn read(blame: Blame<'_>, sections: &[Section], bytes: &[u8], at: Svma) -> Result<Vec<Fde>, ImageError> {
    let bad = blame.with(codes::MALFORMED_ELF, ".eh_frame");
    let start_of = |kind| sections.iter().find(|s| s.kind == kind).map_or(0, |s| s.range.start.0);
    let bases = BaseAddresses::default()
        .set_eh_frame(at.0)
        .set_text(start_of(SectionKind::Text))
        .set_got(start_of(SectionKind::Got));
    let section = EhFrame::new(bytes, LittleEndian);
    let mut cies: HashMap<usize, CommonInformationEntry<EndianSlice<'_, LittleEndian>>> = HashMap::new();
    let mut out = Vec::new();
    let mut offset = 0usize;
    // The walk is by hand because a zero length doesn't have to be the end: a crtend.o in the middle of a link leaves one there.
    while offset < bytes.len() {
        let short = || blame.err(codes::MALFORMED_ELF, format_args!(".eh_frame is cut off at offset 0x{offset:x}"));
        let entry = Entry::read(bytes, offset).ok_or_else(short)?;
        if entry.is_fde {
            let fde = section.fde_from_offset(&bases, EhFrameOffset(offset), |s, b, o| {
                if let Some(cie) = cies.get(&o.0) {
                    return Ok(cie.clone());
                }
                let cie = s.cie_from_offset(b, o)?;
                cies.insert(o.0, cie.clone());
                Ok(cie)
            });
            let fde = fde.map_err(&bad)?;
            let lsda = match fde.lsda() {
                Some(Pointer::Direct(p)) if p != 0 => Some(Svma(p)),
                _ => None,
            };
            out.push(Fde {
                range: SvmaRange::new(Svma(fde.initial_address()), fde.len()),
                at: at.plus(offset as u64),
                cie: at.plus(fde.cie().offset() as u64),
                lsda,
            });
        }
        offset = entry.end;
    }
    out.sort_by_key(|f| (f.range, f.at));
    Ok(out)
}

/// The frame of a CIE or FDE (LSB, "Exception Frames"): length, then a CIE pointer, which is 0 in a CIE.
struct Entry {
    end: usize,
    is_fde: bool,
}

impl Entry {
    fn read(bytes: &[u8], at: usize) -> Option<Entry> {
        let rest = bytes.get(at..)?;
        let (short, rest) = rest.split_first_chunk::<4>()?;
        let short = u32::from_le_bytes(*short);
        let (header, length, rest) = if short == u32::MAX {
            let (long, rest) = rest.split_first_chunk::<8>()?;
            (12, usize::try_from(u64::from_le_bytes(*long)).ok()?, rest)
        } else {
            (4, short as usize, rest)
        };
        let end = at.checked_add(header)?.checked_add(length)?;
        if length == 0 {
            return Some(Entry { end, is_fde: false });
        }
        if end > bytes.len() || length < 4 {
            return None;
        }
        let is_fde = rest.first_chunk::<4>()? != &[0; 4];
        Some(Entry { end, is_fde })
    }
}
