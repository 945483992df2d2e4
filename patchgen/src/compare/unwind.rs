//! Exception tables (LSDA) and unwind programs of two functions whose code is the same.

use super::same::{IN_DATA, Same};
use crate::addr::{Svma, SvmaRange};
use crate::correlate::Side;
use crate::image::lsda::{Head, encoded, uleb};
use crate::image::{DynReloc, Fde, Image};
use crate::lift::{Function, Target};

/// A place in a function: (part, offset).
type Place = (u8, u32);

/// One call site: from, to, landing pad, and what is caught there: numbers in the type table, 0 for a cleanup, and negative
/// ones with a list behind them for an exception specification.
type CallSite = (Place, Place, Option<Place>, Vec<i64>);

#[derive(Debug)]
struct Lsda {
    sites: Vec<CallSite>,
    /// Addresses in the type table, from its base backwards; 0 is "catch everything".
    types: Vec<u64>,
    indirect: bool,
}

pub(super) fn same_unwind(same: &Same<'_>, f: &Function, g: &Function, place: &dyn Fn(Place, Place) -> bool) -> bool {
    f.fdes.iter().zip(&g.fdes).zip(f.parts.iter().zip(&g.parts)).all(|((x, y), (p, q))| {
        let get = |s: Side<'_>, i: &Option<u32>| i.and_then(|i| s.image.fdes.get(i as usize).cloned());
        match (get(same.old, x), get(same.new, y)) {
            (None, None) => true,
            (Some(x), Some(y)) => {
                // The program of an FDE follows the code; with equal code and equal layout it must be equal as well.
                let same_layout = f.insns.len() == g.insns.len()
                    && f.insns.iter().zip(&g.insns).all(|(i, j)| (i.part, i.offset) == (j.part, j.offset));
                (!same_layout || same_program(same, &x, &y)) && same_lsda(same, (&x, p), (&y, q), (f, g), place)
            }
            _ => false,
        }
    })
}

/// The bytes of an entry of `.eh_frame` behind its length, id and pointers.
fn program(image: &Image, at: Svma, fde: bool) -> Option<&[u8]> {
    let len = u64::from(image.read_u32(at)?);
    // Length, CIE pointer; in an FDE pc_begin and pc_range (4 bytes each in pcrel|sdata4), augmentation length and LSDA pointer.
    let skip = if fde { 16 } else { 8 };
    let body = image.bytes(at.plus(4), len)?.get(skip - 4..)?;
    if !fde {
        return Some(body);
    }
    let (augmentation, n) = uleb(body, 0)?;
    body.get(n + usize::try_from(augmentation).ok()?..)
}

fn same_program(same: &Same<'_>, x: &Fde, y: &Fde) -> bool {
    let trim = |b: &[u8]| b.iter().rposition(|&b| b != 0).map_or(0, |n| n + 1);
    match (program(same.old.image, x.at, true), program(same.new.image, y.at, true)) {
        // Trailing zeros are DW_CFA_nop.
        (Some(a), Some(b)) => a[..trim(a)] == b[..trim(b)],
        _ => false,
    }
}

fn same_lsda(
    same: &Same<'_>,
    (x, p): (&Fde, &SvmaRange),
    (y, q): (&Fde, &SvmaRange),
    (f, g): (&Function, &Function),
    place: &dyn Fn(Place, Place) -> bool,
) -> bool {
    let (x, y) = match (x.lsda, y.lsda) {
        (None, None) => return true,
        (Some(x), Some(y)) => (x, y),
        _ => return false,
    };
    let (Some(a), Some(b)) = (read(same.old.image, x, p.start, f), read(same.new.image, y, q.start, g)) else {
        return false;
    };
    let site = |(s, t): (&CallSite, &CallSite)| {
        place(s.0, t.0)
            && place(s.1, t.1)
            && s.3 == t.3
            && match (s.2, t.2) {
                (Some(l), Some(m)) => place(l, m),
                (None, None) => true,
                _ => false,
            }
    };
    a.sites.len() == b.sites.len()
        && a.sites.iter().zip(&b.sites).all(site)
        && a.indirect == b.indirect
        && a.types.len() == b.types.len()
        && a.types
            .iter()
            .zip(&b.types)
            .all(|(&t, &u)| (t == 0) == (u == 0) && (t == 0 || same_type(same, t, u, a.indirect)))
}

/// Two type_info objects: directly, or through the word that holds their address.
fn same_type(same: &Same<'_>, t: u64, u: u64, indirect: bool) -> bool {
    let target = |s: Side<'_>, a: u64| -> Option<Target> {
        let a = if indirect {
            match s.image.dynamic_at(Svma(a)) {
                Some(DynReloc::Relative { target }) => *target,
                Some(DynReloc::Symbol { import, addend: 0, .. }) => return Some(Target::Import(*import)),
                Some(_) => return None,
                None => Svma(s.image.read_u64(Svma(a))?),
            }
        } else {
            Svma(a)
        };
        let data = s.lifted.data_at.get(&a);
        // Without symbols nothing else may refer to a type.
        Some(data.map_or(Target::Unknown(a), |&data| Target::Data { data, offset: 0 }))
    };
    match (target(same.old, t), target(same.new, u)) {
        (Some(x), Some(y)) => same.targets(&x, &y, IN_DATA),
        _ => false,
    }
}

fn read(image: &Image, at: Svma, start: Svma, f: &Function) -> Option<Lsda> {
    let section = image.section(image.section_at(at)?);
    let bytes = image.bytes(at, section.range.end.0 - at.0)?;
    let Head { landing, type_encoding, type_base, site_encoding, sites: mut n, end } = Head::read(bytes, at, start)?;
    let place = |a: Svma| -> Option<Place> {
        let part = f.parts.iter().position(|r| r.start <= a && a <= r.end)?;
        Some((part as u8, (a.0 - f.parts[part].start.0) as u32))
    };
    let mut sites = Vec::new();
    let mut types = 0;
    while n < end {
        let (from, a) = encoded(bytes, n, at, site_encoding)?;
        let (len, b) = encoded(bytes, a, at, site_encoding)?;
        let (pad, c) = encoded(bytes, b, at, site_encoding)?;
        let (action, d) = uleb(bytes, c)?;
        n = d;
        let pad = if pad == 0 { None } else { Some(place(landing.plus(pad))?) };
        let caught = if action == 0 { Vec::new() } else { actions(bytes, end, action, type_base, &mut types)? };
        sites.push((place(start.plus(from))?, place(start.plus(from).plus(len))?, pad, caught));
    }
    let mut table = Vec::new();
    if types > 0 {
        let width = match type_encoding & 0x0f {
            0x00 | 0x04 | 0x0c => 8,
            0x03 | 0x0b => 4,
            _ => return None,
        };
        for k in 1..=types {
            table.push(encoded(bytes, type_base?.checked_sub(width * k)?, at, type_encoding)?.0);
        }
    }
    Some(Lsda { sites, types: table, indirect: type_encoding & 0x80 != 0 })
}

/// Follows a chain of the action table at `table`. `types` becomes the highest number used in the type table.
fn actions(bytes: &[u8], table: usize, action: u64, type_base: Option<usize>, types: &mut usize) -> Option<Vec<i64>> {
    let mut at = table.checked_add(usize::try_from(action).ok()?)?.checked_sub(1)?;
    let mut out = Vec::new();
    // No chain is longer than this; a cycle would be.
    for _ in 0..1024 {
        let (filter, next_at) = sleb(bytes, at)?;
        let (next, _) = sleb(bytes, next_at)?;
        out.push(filter);
        if filter > 0 {
            *types = (*types).max(usize::try_from(filter).ok()?);
        } else if filter < 0 {
            let mut n = type_base?.checked_add(usize::try_from(filter.checked_neg()? - 1).ok()?)?;
            loop {
                let (number, after) = uleb(bytes, n)?;
                n = after;
                out.push(number as i64);
                *types = (*types).max(usize::try_from(number).ok()?);
                if number == 0 {
                    break;
                }
            }
        }
        if next == 0 {
            return Some(out);
        }
        at = next_at.checked_add_signed(isize::try_from(next).ok()?)?;
    }
    None
}

fn sleb(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let (raw, next) = uleb(bytes, at)?;
    let bits = 7 * (next - at) as u32;
    if bits >= 64 {
        return Some((raw as i64, next));
    }
    Some((((raw << (64 - bits)) as i64) >> (64 - bits), next))
}
