//! Whether something in a constant that keeps its place and size gets another place in it.

use crate::addr::{DataId, FuncId};
use crate::correlate::Pair;
use crate::image::Image;
use crate::include::Analysis;
use crate::lift::{Data, Lifted, Slot, Target, describes_class};
use foldhash::fast::FixedState;
use std::hash::BuildHasher as _;

/// The fewest bytes that tell one row of a table from another.
const WINDOW: usize = 4;

/// Whether something that the old build has in one place of the constant is in another place in the new build, and both places differ. What
/// describes a class has places with a meaning, and no rows.
pub(super) fn change_places(analysis: Analysis<'_>, old: DataId, new: DataId) -> bool {
    if describes_class(&analysis.new.data[new.index()].name) {
        return false;
    }
    let Some((before, after)) = contents_of_both(analysis, old, new) else { return true };
    let (was, is) = (windows(&before, &after), windows(&after, &before));
    let known = |window: u32| was.get(was.partition_point(|w| w.0 < window)).is_some_and(|w| w.0 == window);
    is.iter().any(|w| known(w.0) && was.binary_search(w).is_err())
}

/// The bytes of a constant in each build, with a number for what each of its addresses denotes in both.
pub(super) fn contents_of_both(analysis: Analysis<'_>, old: DataId, new: DataId) -> Option<(Vec<u8>, Vec<u8>)> {
    let functions = analysis.pairs.func_to_old.as_slice();
    let data = analysis.pairs.data_to_old.as_slice();
    let (was, is) = (&analysis.old.data[old.index()], &analysis.new.data[new.index()]);
    let before = contents(analysis.old_image, analysis.old, was, &|f| Some(f), &|d| Some(d));
    let after = contents(
        analysis.new_image,
        analysis.new,
        is,
        &|f| functions.get(f.index()).copied().flatten().map(|p: Pair<FuncId>| p.old),
        &|d| data.get(d.index()).copied().flatten().map(|p: Pair<DataId>| p.old),
    );
    before.zip(after)
}

/// What is where `others` has something else, zeros apart, with the place, ascending.
fn windows(bytes: &[u8], others: &[u8]) -> Vec<(u32, usize)> {
    let both = bytes.windows(WINDOW).zip(others.windows(WINDOW)).enumerate();
    let differ = both.filter(|(_, (own, other))| own != other);
    let numbers = differ.filter_map(|(at, (own, _))| Some((u32::from_ne_bytes(own.try_into().ok()?), at)));
    let mut found: Vec<(u32, usize)> = numbers.filter(|(window, _)| *window != 0).collect();
    found.sort_unstable();
    found
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
