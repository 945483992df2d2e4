//! Exception tables (LSDA) as compilers write them into `.gcc_except_table` (Itanium C++ ABI, "Exception Tables").

use super::{Fde, Image};
use crate::addr::Svma;

/// The head of a table, with offsets in the bytes from its start.
#[derive(Debug)]
pub(crate) struct Head {
    /// From where landing pads count.
    pub landing: Svma,
    pub type_encoding: u8,
    /// The end of the type table, which is read backwards.
    pub type_base: Option<usize>,
    pub site_encoding: u8,
    /// Start and end of the call sites.
    pub sites: usize,
    pub end: usize,
}

impl Head {
    /// Reads the head of the table at `at`, whose function starts at `start`. None where it is damaged.
    pub fn read(bytes: &[u8], at: Svma, start: Svma) -> Option<Head> {
        let mut n = 1;
        let lp_encoding = *bytes.first()?;
        let mut landing = start;
        if lp_encoding != 0xff {
            let (base, next) = encoded(bytes, n, at, lp_encoding)?;
            (landing, n) = (Svma(base), next);
        }
        let type_encoding = *bytes.get(n)?;
        n += 1;
        let mut type_base = None;
        if type_encoding != 0xff {
            let (offset, next) = uleb(bytes, n)?;
            n = next;
            type_base = Some(n.checked_add(usize::try_from(offset).ok()?)?);
        }
        let site_encoding = *bytes.get(n)?;
        let (length, sites) = uleb(bytes, n + 1)?;
        let end = sites.checked_add(usize::try_from(length).ok()?)?;
        Some(Head { landing, type_encoding, type_base, site_encoding, sites, end })
    }
}

/// Where exceptions that pass through the code of `fde` may land. None without a table, or where it is damaged.
pub(crate) fn landing_pads(image: &Image, fde: &Fde) -> Option<Vec<Svma>> {
    let at = fde.lsda?;
    let section = image.section(image.section_at(at)?);
    let bytes = image.bytes(at, section.range.end.0 - at.0)?;
    let head = Head::read(bytes, at, fde.range.start)?;
    let mut pads = Vec::new();
    let mut n = head.sites;
    while n < head.end {
        // Start, length, landing pad, action.
        let (_, next) = encoded(bytes, n, at, head.site_encoding)?;
        let (_, next) = encoded(bytes, next, at, head.site_encoding)?;
        let (pad, next) = encoded(bytes, next, at, head.site_encoding)?;
        n = uleb(bytes, next)?.1;
        if pad != 0 {
            pads.push(head.landing.plus(pad));
        }
    }
    Some(pads)
}

pub(crate) fn uleb(bytes: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let b = *bytes.get(at)?;
        at += 1;
        if shift < 64 {
            value |= u64::from(b & 0x7f) << shift;
        }
        shift += 7;
        if b & 0x80 == 0 {
            return Some((value, at));
        }
    }
}

/// A value in one of the encodings that compilers use here (Itanium C++ ABI, DW_EH_PE_*), and where it ends.
pub(crate) fn encoded(bytes: &[u8], at: usize, base: Svma, encoding: u8) -> Option<(u64, usize)> {
    let fixed = |n: usize| bytes.get(at..at.checked_add(n)?).map(|b| (b, at + n));
    let (raw, next) = match encoding & 0x0f {
        0x01 => uleb(bytes, at)?,
        0x03 => fixed(4).and_then(|(b, n)| Some((u64::from(u32::from_le_bytes(b.try_into().ok()?)), n)))?,
        0x0b => fixed(4).and_then(|(b, n)| Some((i64::from(i32::from_le_bytes(b.try_into().ok()?)) as u64, n)))?,
        0x00 | 0x04 | 0x0c => fixed(8).and_then(|(b, n)| Some((u64::from_le_bytes(b.try_into().ok()?), n)))?,
        _ => return None,
    };
    let pcrel = encoding & 0x70 == 0x10 && raw != 0;
    Some((if pcrel { raw.wrapping_add(base.0 + at as u64) } else { raw }, next))
}
