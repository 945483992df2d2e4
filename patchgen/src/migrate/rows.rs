//! Whether something in a constant that keeps its place and size gets another place in it.

use crate::addr::{DataId, FuncId};
use crate::correlate::Pair;
use crate::image::Image;
use crate::include::Analysis;
use crate::lift::{Data, Lifted, Slot, Target, describes_class};
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;

/// The fewest bytes that tell one row of a table from another.
const WINDOW: usize = 4;

/// Whether something that the old build has in one place of the constant is in another place in the new build, and both places differ. What
/// describes a class has places with a meaning, and no rows.
pub(super) fn change_places(analysis: Analysis<'_>, old: DataId, new: DataId) -> bool {
    let functions = analysis.pairs.func_to_old.as_slice();
    let data = analysis.pairs.data_to_old.as_slice();
    let (was, is) = (&analysis.old.data[old.index()], &analysis.new.data[new.index()]);
    if describes_class(&is.name) {
        return false;
    }
    let before = contents(analysis.old_image, analysis.old, was, &|f| Some(f), &|d| Some(d));
    let after = contents(
        analysis.new_image,
        analysis.new,
        is,
        &|f| functions.get(f.index()).copied().flatten().map(|p: Pair<FuncId>| p.old),
        &|d| data.get(d.index()).copied().flatten().map(|p: Pair<DataId>| p.old),
    );
    let (Some(before), Some(after)) = (before, after) else { return true };
    let differ: BTreeSet<usize> = (0..before.len()).filter(|&i| before.get(i) != after.get(i)).collect();
    let windows = |bytes: &[u8]| -> BTreeMap<Vec<u8>, BTreeSet<usize>> {
        let mut found: BTreeMap<Vec<u8>, BTreeSet<usize>> = BTreeMap::new();
        for (at, window) in bytes.windows(WINDOW).enumerate() {
            if window.iter().any(|b| *b != 0) && differ.range(at..at + WINDOW).next().is_some() {
                found.entry(window.to_vec()).or_default().insert(at);
            }
        }
        found
    };
    let there = windows(&after);
    windows(&before).iter().any(|(window, places)| there.get(window).is_some_and(|now| !now.is_subset(places)))
}

/// The bytes of a constant, with a number for what each of its addresses denotes in both builds.
fn contents(
    image: &Image,
    lifted: &Lifted,
    datum: &Data,
    function: &dyn Fn(FuncId) -> Option<FuncId>,
    data: &dyn Fn(DataId) -> Option<DataId>,
) -> Option<Vec<u8>> {
    let mut bytes = image.bytes(datum.range.start, datum.range.size())?.to_vec();
    for word in datum.refs.iter().chain(&datum.ambiguous) {
        let denoted = denote(image, lifted, &word.target, function, data);
        let number = FixedState::default().hash_one(&denoted).to_le_bytes();
        let at = word.at as usize;
        let size = word.field.size();
        bytes.get_mut(at..at + size)?.copy_from_slice(&number[..size]);
    }
    Some(bytes)
}

/// What an address denotes, as far as it can be the same in both builds.
#[derive(Hash)]
enum Denoted<'a> {
    Func(FuncId, u8, u32),
    Data(DataId, i64),
    Text(&'a [u8]),
    Import(&'a str),
    /// Something that only one build has.
    Other(Target),
}

fn denote<'a>(
    image: &'a Image,
    lifted: &Lifted,
    target: &Target,
    function: &dyn Fn(FuncId) -> Option<FuncId>,
    data: &dyn Fn(DataId) -> Option<DataId>,
) -> Denoted<'a> {
    match target {
        Target::Func { func, part, offset } => match function(*func) {
            Some(func) => Denoted::Func(func, *part, *offset),
            None => Denoted::Other(target.clone()),
        },
        Target::Data { data: id, offset } => {
            let there = &lifted.data[id.index()];
            let text = || {
                let left = u64::try_from(*offset).ok().and_then(|o| there.range.size().checked_sub(o))?;
                let bytes = image.bytes(there.range.start.offset(*offset), left)?;
                Some(&bytes[..bytes.iter().position(|b| *b == 0)?])
            };
            match (data(*id), text()) {
                (_, Some(text)) if there.is_plain_constant() => Denoted::Text(text),
                (Some(id), _) => Denoted::Data(id, *offset),
                (None, _) => Denoted::Other(target.clone()),
            }
        }
        Target::Import(import) | Target::Slot(Slot::Import { import, .. }) => {
            Denoted::Import(&image.import(*import).name)
        }
        _ => Denoted::Other(target.clone()),
    }
}
