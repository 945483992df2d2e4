//! Whether two layouts store the same things in the same places, however they are nested.
//!
//! A member that becomes a union of itself and a row of bytes as long as the union (room kept for later), or the members of a struct
//! that are written out in place, change the type's declaration and no byte of an instance that is alive. Nor does an integer that gets a
//! sign or loses it: what is stored for a number is the same, modulo the type's size. A flexible array that goes is no loss: the code that
//! used it differs.

use super::hash::hash_of;
use super::name;
use super::shape::{Shapes, dimensions};
use crate::dwarf::DieRef;
use crate::dwarf::die::is_aggregate;
use gimli::constants as dw;
use std::collections::BTreeSet;
use std::hash::Hash as _;

/// Deeper nesting than this is damage.
const DEPTH: u32 = 32;

/// A member that isn't a struct, class or union: offset and width of a bit-field in bits, name, hash of its value.
type Leaf = (u64, u64, String, u64);

/// A member that is one, or a base class.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Around {
    place: u64,
    name: String,
    /// Of a variant.
    variant: bool,
    /// And what it is called says nothing: a place where a coroutine waits.
    counted: bool,
}

#[derive(Debug, Default)]
struct Leaves {
    /// Sorted.
    around: Vec<Around>,
    /// Sorted. One may be there several times: of members of a union that share a place, each has its own.
    all: Vec<Leaf>,
    /// Rows of bytes that fill the union that they are in.
    room: BTreeSet<Leaf>,
    /// Arrays without a bound at the end (C11, 6.7.2.1): they have no room in the type itself.
    open: BTreeSet<Leaf>,
}

/// Whether `b` stores what `a` stores where `a` stores it, and nothing else but room.
pub(super) fn same(x: &mut Shapes<'_, '_>, a: DieRef, y: &mut Shapes<'_, '_>, b: DieRef) -> bool {
    let plain = |shapes: &mut Shapes<'_, '_>, at| {
        let bare = shapes.bare(Some(at)).filter(|b| !is_aggregate(b.node().tag));
        bare.map(|b| shapes.stored(Some(b.at), false, 0))
    };
    if let Some((was, is)) = plain(x, a).zip(plain(y, b)) {
        return was == is && !x.broken && !y.broken;
    }
    let (Some(old), Some(new)) = (leaves(x, a), leaves(y, b)) else { return false };
    !old.all.is_empty()
        && !x.broken
        && !y.broken
        && same_around(&old, &new)
        && without(&old.all, &new.all).all(|leaf| old.open.contains(leaf))
        && without(&new.all, &old.all).all(|leaf| new.room.contains(leaf))
}

/// Whether what leaves are in is the same, but for what is written out in place, or put around what was there. Two members of a type that change
/// places store the same under other names; so do variants of which one comes before others, or goes.
fn same_around(old: &Leaves, new: &Leaves) -> bool {
    let has =
        |l: &Leaves, name: &str| l.all.iter().any(|leaf| leaf.2 == name) || l.around.iter().any(|a| a.name == name);
    let mut gone = without(&old.around, &new.around).peekable();
    let mut come = without(&new.around, &old.around).peekable();
    (gone.peek().is_none() || come.peek().is_none())
        && gone.all(|a| !a.variant && !has(new, &a.name))
        && come.all(|a| !a.counted && !has(old, &a.name))
}

/// Those of `all` that `others` doesn't have, or not as often.
fn without<'l, T: Ord>(all: &'l [T], others: &'l [T]) -> impl Iterator<Item = &'l T> {
    let mut rest = others.iter().peekable();
    all.iter().filter(move |&leaf| {
        while rest.next_if(|&other| other < leaf).is_some() {}
        rest.next_if(|&other| other == leaf).is_none()
    })
}

fn leaves(shapes: &mut Shapes<'_, '_>, at: DieRef) -> Option<Leaves> {
    let mut out = Leaves::default();
    collect(shapes, at, 0, None, 0, &mut out)?;
    out.all.sort_unstable();
    out.around.sort_unstable();
    Some(out)
}

/// `union`: the size of the union whose members these are, in bytes.
fn collect(
    shapes: &mut Shapes<'_, '_>,
    at: DieRef,
    base: u64,
    union: Option<u64>,
    depth: u32,
    out: &mut Leaves,
) -> Option<()> {
    if depth > DEPTH {
        return None;
    }
    // What an instance of a template, or a class inside of one, is made for may show in none of its members (a node of `std::map`).
    let called = name::qualified(&shapes.view, at).unwrap_or_default();
    if called.contains('<') {
        out.all.push((base, 0, String::new(), shapes.mention(Some(at), depth)));
    }
    let fields = shapes.fields(at, depth);
    for field in &fields {
        let place = base.checked_add(field.at?)?;
        let bare = shapes.bare(field.ty)?;
        let node = bare.node();
        if is_aggregate(node.tag) {
            let counted = field.variant && called.contains('{');
            out.around.push(Around { place, name: field.name.clone(), variant: field.variant, counted });
        }
        if is_aggregate(node.tag) && node.size() != Some(0) {
            let inner = if node.tag == dw::DW_TAG_union_type { Some(node.size()?) } else { None };
            collect(shapes, bare.at, place, inner, depth + 1, out)?;
            continue;
        }
        let leaf = (place, field.bits, field.name.clone(), shapes.stored(field.ty, false, depth + 1));
        let element = shapes.bare(node.ty).filter(|e| node.tag == dw::DW_TAG_array_type && is_aggregate(e.node().tag));
        let counts = dimensions(&bare);
        if let Some(element) = element.filter(|_| counts.iter().all(|n| n.is_some_and(|n| n != 0))) {
            // All are as the first one.
            let size = element.node().size()?;
            out.all.push((place, 0, format!("{}[]", field.name), hash_of(|h| (counts, size).hash(h))));
            let inner = (element.node().tag == dw::DW_TAG_union_type).then_some(size);
            collect(shapes, element.at, place, inner, depth + 1, out)?;
            continue;
        }
        if node.tag == dw::DW_TAG_array_type && depth == 0 && shapes.size(field.ty).unwrap_or(0) == 0 {
            out.open.insert(leaf.clone());
        }
        let bytes = node.tag == dw::DW_TAG_array_type && shapes.size(node.ty) == Some(1);
        if bytes && fields.len() > 1 && union.is_some() && shapes.size(field.ty) == union {
            out.room.insert(leaf.clone());
        }
        out.all.push(leaf);
    }
    Some(())
}
