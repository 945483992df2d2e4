//! Constants of the new code that stand, byte for byte, in the old image's read-only data.

use crate::addr::Svma;
use crate::image::{Image, SectionKind};
use crate::lift::{Data, DataKind, Lifted};
use std::collections::HashMap;

#[derive(Debug)]
pub struct Literals<'a> {
    by_bytes: HashMap<&'a [u8], Vec<(Svma, DataKind)>>,
}

/// The bytes of a constant whose extent is exact and that holds no pointers.
fn content<'a>(image: &'a Image, datum: &Data) -> Option<&'a [u8]> {
    let plain = datum.section == SectionKind::Rodata && datum.refs.is_empty();
    let closed = datum.kind != DataKind::Blob;
    if plain && closed { image.bytes(datum.range.start, datum.range.size()) } else { None }
}

impl<'a> Literals<'a> {
    pub fn new(image: &'a Image, lifted: &Lifted) -> Literals<'a> {
        let mut by_bytes: HashMap<&[u8], Vec<_>> = HashMap::new();
        for datum in &lifted.data {
            if let Some(bytes) = content(image, datum) {
                by_bytes.entry(bytes).or_default().push((datum.range.start, datum.kind));
            }
        }
        Literals { by_bytes }
    }

    fn places(&self, new_image: &Image, datum: &Data) -> impl Iterator<Item = (Svma, DataKind)> {
        content(new_image, datum).and_then(|bytes| self.by_bytes.get(bytes)).into_iter().flatten().copied()
    }

    /// An old literal with exactly the bytes of a new one and at least its alignment: it needs no copy. A named object has an identity
    /// of its own, so it is neither given nor taken here.
    pub fn find(&self, new_image: &Image, datum: &Data) -> Option<Svma> {
        let align = u64::from(datum.align.max(1));
        let nameless = |kind| kind != DataKind::Named;
        let mut places = self.places(new_image, datum).filter(|(_, kind)| nameless(*kind)).map(|(at, _)| at);
        if nameless(datum.kind) { places.find(|at| at.0.is_multiple_of(align)) } else { None }
    }

    /// Whether an old constant with exactly these bytes stands at `at`.
    pub fn is_at(&self, new_image: &Image, datum: &Data, at: Svma) -> bool {
        self.places(new_image, datum).any(|(place, _)| place == at)
    }
}
