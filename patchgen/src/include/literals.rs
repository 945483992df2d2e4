//! Constants of the new code that stand, byte for byte, in the old image's read-only data; and how much of one must be carried.

use crate::addr::{DataId, Svma};
use crate::image::Image;
use crate::lift::{Data, DataKind, Lifted};
use foldhash::fast::FixedState;
use std::collections::HashMap;

/// Zeros behind a literal that may belong to it: the terminator of a wide string, or of a list of strings.
const TERMINATOR: u64 = 8;

#[derive(Debug)]
pub struct Literals<'a> {
    old_image: &'a Image,
    by_bytes: HashMap<&'a [u8], Vec<(Svma, DataKind)>, FixedState>,
}

/// The bytes of a constant that holds no pointers, and nothing that may be one: there equal bytes of the old image denote something else.
fn content<'a>(image: &'a Image, datum: &Data) -> Option<&'a [u8]> {
    if datum.is_plain_constant() && datum.kind != DataKind::Blob {
        image.bytes(datum.range.start, datum.range.size())
    } else {
        None
    }
}

/// Bytes of a datum that are carried: a nameless literal with the zeros behind it, up to the next datum.
pub fn carried_size(image: &Image, lifted: &Lifted, id: DataId) -> u64 {
    let datum = &lifted.data[id.index()];
    let size = datum.range.size();
    if !matches!(datum.kind, DataKind::String | DataKind::Blob) {
        return size;
    }
    let next = lifted.data_at.range(datum.range.start.plus(1)..).next().map_or(u64::MAX, |(at, _)| at.0);
    let room = next.saturating_sub(datum.range.end.0).min(TERMINATOR);
    let zeros = (0..room).take_while(|&i| image.bytes(datum.range.end.plus(i), 1) == Some(&[0])).count();
    size + zeros as u64
}

impl<'a> Literals<'a> {
    pub fn new(image: &'a Image, lifted: &Lifted) -> Literals<'a> {
        let mut by_bytes: HashMap<&[u8], Vec<_>, FixedState> = HashMap::default();
        for datum in &lifted.data {
            if let Some(bytes) = content(image, datum) {
                by_bytes.entry(bytes).or_default().push((datum.range.start, datum.kind));
            }
        }
        Literals { old_image: image, by_bytes }
    }

    fn places(&self, new_image: &Image, new: &Lifted, id: DataId) -> impl Iterator<Item = (Svma, DataKind)> {
        let datum = &new.data[id.index()];
        // What is behind the old one must do as its terminator too.
        let whole = new_image.bytes(datum.range.start, carried_size(new_image, new, id));
        let places =
            content(new_image, datum).and_then(|bytes| self.by_bytes.get(bytes)).into_iter().flatten().copied();
        places.filter(move |(at, _)| whole.is_some_and(|w| self.old_image.bytes(*at, w.len() as u64) == Some(w)))
    }

    /// An old literal with exactly the bytes of a new one and at least its alignment: it needs no copy. A named object has an identity
    /// of its own, so it is neither given nor taken here.
    pub fn find(&self, new_image: &Image, new: &Lifted, id: DataId) -> Option<Svma> {
        let datum = &new.data[id.index()];
        let align = u64::from(datum.align.max(1));
        let nameless = |kind| kind != DataKind::Named;
        let mut places = self.places(new_image, new, id).filter(|(_, kind)| nameless(*kind)).map(|(at, _)| at);
        if nameless(datum.kind) { places.find(|at| at.0.is_multiple_of(align)) } else { None }
    }

    /// Whether an old constant with exactly these bytes stands at `at`.
    pub fn is_at(&self, new_image: &Image, new: &Lifted, id: DataId, at: Svma) -> bool {
        self.places(new_image, new, id).any(|(place, _)| place == at)
    }
}
