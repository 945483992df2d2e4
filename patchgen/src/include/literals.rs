//! Reuse of the old image's literals: a string or constant of the new code that stands, byte for byte, in the old image's
//! read-only data needs no copy.

use crate::addr::Svma;
use crate::image::{Image, SectionKind};
use crate::lift::{Data, DataKind, Lifted};
use std::collections::HashMap;

#[derive(Debug)]
pub struct Literals<'a> {
    by_bytes: HashMap<&'a [u8], Vec<Svma>>,
}

/// The bytes of a literal whose extent is exact and that holds no pointers.
fn content<'a>(image: &'a Image, datum: &Data) -> Option<&'a [u8]> {
    let plain = datum.section == SectionKind::Rodata && datum.refs.is_empty();
    let closed = matches!(datum.kind, DataKind::String | DataKind::Constant);
    if plain && closed { image.bytes(datum.range.start, datum.range.size()) } else { None }
}

impl<'a> Literals<'a> {
    pub fn new(image: &'a Image, lifted: &Lifted) -> Literals<'a> {
        let mut by_bytes: HashMap<&[u8], Vec<Svma>> = HashMap::new();
        for datum in &lifted.data {
            if let Some(bytes) = content(image, datum) {
                by_bytes.entry(bytes).or_default().push(datum.range.start);
            }
        }
        Literals { by_bytes }
    }

    /// An old literal with exactly these bytes and at least this alignment.
    pub fn find(&self, new_image: &Image, datum: &Data) -> Option<Svma> {
        let align = u64::from(datum.align.max(1));
        let bytes = content(new_image, datum)?;
        self.by_bytes.get(bytes)?.iter().copied().find(|at| at.0.is_multiple_of(align))
    }
}
