//! Sections that a program walks from `__start_NAME` to `__stop_NAME`, which the link editor defines for sections whose names are C identifiers
//! (GNU ld, "Input Section Example"; lld, mold alike). Their entries are often named by the line that they stand in, which says nothing of another
//! build's: where both lists have as many entries of the same sizes in the same places, place and content say which is which.

use super::same::{IN_DATA, Same};
use super::seen::EXACT;
use super::stamps::Stamps;
use crate::addr::{DataId, Svma, SvmaRange};
use crate::correlate::{Correlation, Pair, Side, Why};
use crate::image::{DynReloc, Image, Section, SectionKind, SymbolKind};
use crate::lift::{DataKind, Lifted, Target};
use std::collections::BTreeSet;

/// Names of the sections of which a program knows the ends: in a stripped image, of all whose name allows it.
pub fn lists(image: &Image) -> BTreeSet<&str> {
    let stripped = image.symbols.iter().all(|s| s.exported);
    let named: BTreeSet<&str> = image.symbols.iter().filter(|s| s.kind != SymbolKind::Tls).filter_map(end).collect();
    let holding = image.sections.iter().filter(|s| holds_data(s)).map(|s| s.name.as_str());
    holding.filter(|name| named.contains(name) || stripped && !name.is_empty() && is_identifier(name)).collect()
}

fn is_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn end(symbol: &crate::image::Symbol) -> Option<&str> {
    ["__start_", "__stop_"].iter().find_map(|prefix| symbol.name.strip_prefix(prefix))
}

fn holds_data(section: &Section) -> bool {
    matches!(section.kind, SectionKind::Rodata | SectionKind::Relro | SectionKind::Data | SectionKind::Bss)
}

/// Where a list is.
pub fn list(image: &Image, name: &str) -> Option<SvmaRange> {
    image.section_by_name(name).filter(|s| holds_data(s)).map(|s| s.range)
}

/// The objects in `range` that have names, with their distance from its start, ascending.
pub fn elements(lifted: &Lifted, range: SvmaRange) -> Vec<(u64, DataId)> {
    let inside = lifted.data_at.range(range.start..range.end.max(range.start));
    let named = inside.filter(|(_, id)| lifted.data[id.index()].kind == DataKind::Named);
    named.map(|(at, &id)| (at.0 - range.start.0, id)).collect()
}

/// Pairs the entries of each list one by one, where their contents agree.
pub fn pair_lists(old: Side<'_>, new: Side<'_>, pairs: &mut Correlation, stamps: &Stamps) {
    for name in lists(old.image).intersection(&lists(new.image)) {
        let (Some(was), Some(is)) = (list(old.image, name), list(new.image, name)) else { continue };
        let (was, is) = (elements(old.lifted, was), elements(new.lifted, is));
        let size = |side: Side<'_>, id: DataId| side.lifted.data[id.index()].range.size();
        let placed = |(w, i): (&(u64, DataId), &(u64, DataId))| w.0 == i.0 && size(old, w.1) == size(new, i.1);
        if was.len() != is.len() || !was.iter().zip(&is).all(placed) {
            continue;
        }
        let ids: Vec<(DataId, DataId)> = was.iter().zip(&is).map(|(w, i)| (w.1, i.1)).collect();
        if let Some(met) = agreeing((old, new), pairs, stamps, &ids) {
            for id in &ids {
                pairs.data_to_new[id.0.index()] = None;
                pairs.data_to_old[id.1.index()] = None;
            }
            for pair in met {
                pairs.data_to_new[pair.old.index()] = Some(pair);
                pairs.data_to_old[pair.new.index()] = Some(pair);
            }
        }
    }
}

/// The pairs of a list, where each is one already or of equal content. None where that isn't so, where an entry is paired with what isn't in the
/// list, or where they are all pairs already.
fn agreeing(
    (old, new): (Side<'_>, Side<'_>),
    pairs: &Correlation,
    stamps: &Stamps,
    ids: &[(DataId, DataId)],
) -> Option<Vec<Pair<DataId>>> {
    let (was, is): (BTreeSet<DataId>, BTreeSet<DataId>) = ids.iter().copied().unzip();
    let forth = |id: &(DataId, DataId)| pairs.data_to_new[id.0.index()];
    let outside = |id: &(DataId, DataId)| {
        forth(id).is_some_and(|p| !is.contains(&p.new))
            || pairs.data_to_old[id.1.index()].is_some_and(|p| !was.contains(&p.old))
    };
    let known = |id: &(DataId, DataId)| forth(id).filter(|p| p.new == id.1);
    if ids.iter().any(outside) || ids.iter().all(|id| known(id).is_some()) {
        return None;
    }
    let same = Same::new(old, new, pairs, stamps);
    let equal = |a: DataId, b: DataId| same.contents(&old.lifted.data[a.index()], &new.lifted.data[b.index()]);
    let used = (used(old.lifted, &was), used(new.lifted, &is));
    let met = |id: &(DataId, DataId)| {
        let writable = matches!(old.lifted.data[id.0.index()].section, SectionKind::Data | SectionKind::Bss);
        // Whoever writes to one of several that began alike means that one.
        let several = writable
            && (used.0.contains(&id.0) || used.1.contains(&id.1))
            && ids.iter().any(|other| other != id && (equal(id.0, other.1) || equal(other.0, id.1)));
        match known(id) {
            Some(pair) if equal(id.0, id.1) => Some(pair),
            _ if equal(id.0, id.1) && !several => Some(Pair { old: id.0, new: id.1, why: Why::Content }),
            _ => None,
        }
    };
    ids.iter().map(met).collect()
}

/// Those of the objects that code, or data elsewhere, refer to.
fn used(lifted: &Lifted, objects: &BTreeSet<DataId>) -> BTreeSet<DataId> {
    let code = lifted.functions.iter().flat_map(|f| &f.refs).flat_map(|r| {
        let others = r.alternatives.iter().map(|(data, _)| *data);
        r.target.data().into_iter().chain(others)
    });
    let data = lifted.data.iter().flat_map(|d| d.refs.iter().chain(&d.ambiguous)).filter_map(|r| r.target.data());
    code.chain(data).filter(|id| objects.contains(id)).collect()
}

/// Whether two lists of one size are the same where no named object is, byte for byte and address for address. `covered`: distances from the start
/// at which one is.
pub fn same_rest(
    (old, new): (Side<'_>, Side<'_>),
    pairs: &Correlation,
    (was, is): (SvmaRange, SvmaRange),
    covered: &dyn Fn(u64) -> bool,
) -> bool {
    let same = Same::new(old, new, pairs, &EXACT);
    let mut at = 0;
    while at < is.size() {
        let (x, y) = (was.start.plus(at), is.start.plus(at));
        at += match (old.image.dynamic_at(x), new.image.dynamic_at(y)) {
            _ if covered(at) => 1,
            (None, None) if old.image.bytes(x, 1) == new.image.bytes(y, 1) => 1,
            (Some(DynReloc::Relative { target: p }), Some(DynReloc::Relative { target: q }))
                if same.targets(&target(old.lifted, *p), &target(new.lifted, *q), IN_DATA) =>
            {
                8
            }
            _ => return false,
        };
    }
    true
}

/// What an address denotes.
fn target(lifted: &Lifted, at: Svma) -> Target {
    let func = lifted.func_at.range(..=at).next_back().map(|(start, &func)| (func, at.0 - start.0));
    let func = func.filter(|(func, _)| lifted.functions[func.index()].parts[0].contains(at));
    let data = lifted.data_at.range(..=at).next_back().map(|(start, &data)| (data, at.0 - start.0));
    let data = data.filter(|(data, _)| lifted.data[data.index()].range.contains(at));
    match (func, data) {
        (Some((func, offset)), _) => Target::Func { func, part: 0, offset: offset as u32 },
        (None, Some((data, offset))) => Target::Data { data, offset: offset as i64 },
        (None, None) => Target::Unknown(at),
    }
}
