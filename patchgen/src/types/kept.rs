//! Which bytes of a variable both builds have, member by member: what of its live value goes into the new layout.

use super::Survey;
use super::diff::type_of;
use super::shape::{Bare, Shapes, dimensions};
use crate::addr::Svma;
use crate::dwarf::die::{Home, is_aggregate};
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Reading};
use crate::image::ImageError;
use crate::include::Kept;
use gimli::constants as dw;
use std::collections::{BTreeMap, BTreeSet};

/// Deeper nesting than this is damage.
const DEPTH: u32 = 32;

/// Stretches of one variable at most.
const STRETCHES: usize = 4096;

type Ty = Option<DieRef>;

/// An array of a variable that has more elements in the new build.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Longer {
    pub old: u64,
    pub new: u64,
    /// Its elements' size, in both builds.
    pub sizes: (u64, u64),
}

/// What two variables have in common.
#[derive(Debug, Default)]
pub struct Common {
    /// Ascending.
    pub kept: Vec<Kept>,
    pub longer: BTreeSet<Longer>,
}

/// For each pair of variables at fixed places, by the old one's: the bytes that both have, or in words why not all that the old one has can be
/// had in the new one.
///
/// # Errors
/// When debug information is damaged.
pub fn kept(
    (old, was): (&DebugInfo<'_>, &Survey),
    (new, is): (&DebugInfo<'_>, &Survey),
    wanted: &[(Svma, Svma)],
) -> Result<BTreeMap<Svma, Result<Common, String>>, ImageError> {
    let mut out = BTreeMap::new();
    for &(a, b) in wanted {
        let found = match (unit_of(was, a), unit_of(is, b)) {
            (Some(unit_a), Some(unit_b)) => {
                let table_a = old.read_table(unit_a).map_err(|e| crate::dwarf::malformed(old.path(), e))?;
                let table_b = new.read_table(unit_b).map_err(|e| crate::dwarf::malformed(new.path(), e))?;
                let mut x = Shapes::new(View { info: old, unit: unit_a, local: &table_a, reading: Reading::Full });
                let mut y = Shapes::new(View { info: new, unit: unit_b, local: &table_b, reading: Reading::Full });
                match (type_at(&x, a), type_at(&y, b)) {
                    (Some(ty_a), Some(ty_b)) => pair(&mut x, ty_a, &mut y, ty_b),
                    _ => Err("its type isn't known".to_owned()),
                }
            }
            _ => Err("its type isn't known, or several units say it".to_owned()),
        };
        out.insert(a, found);
    }
    Ok(out)
}

/// The only unit that has a variable there.
fn unit_of(survey: &Survey, at: Svma) -> Option<u32> {
    let mut units = survey.variables().iter().filter(|v| !v.tls && v.svma == at).map(|v| v.unit.0);
    let first = units.next()?;
    units.all(|unit| unit == first).then_some(first)
}

pub(super) fn type_at(shapes: &Shapes<'_, '_>, at: Svma) -> Option<Ty> {
    variable_at(&shapes.view, at).map(|variable| type_of(&shapes.view, variable))
}

/// The first variable of the unit that is there.
pub(super) fn variable_at(view: &View<'_, '_>, at: Svma) -> Option<DieRef> {
    let mut variables = view.local.tagged(|tag| tag == dw::DW_TAG_variable);
    let (_, node) = variables.find(|(_, n)| n.home == Some(Home::At(at)))?;
    Some(DieRef { unit: view.unit, offset: node.offset })
}

fn pair(x: &mut Shapes<'_, '_>, a: Ty, y: &mut Shapes<'_, '_>, b: Ty) -> Result<Common, String> {
    let mut common = Common::default();
    value(x, a, 0, y, b, 0, 0, &mut common)?;
    if x.broken || y.broken {
        return Err("its type is described wrongly".to_owned());
    }
    common.kept.sort_unstable();
    let mut out: Vec<Kept> = Vec::new();
    for kept in common.kept {
        let end = |start: u64, len: u64| start.saturating_add(len);
        match out.last_mut().filter(|last| end(last.from, last.len) >= kept.from) {
            // Neighbours, and members of a union without a name.
            Some(last) if kept.from - last.from == kept.to.wrapping_sub(last.to) => {
                last.len = last.len.max(end(kept.from - last.from, kept.len));
            }
            Some(last) if end(last.from, last.len) > kept.from => return Err("members of it share bytes".to_owned()),
            _ => out.push(kept),
        }
    }
    let mut targets: Vec<(u64, u64)> = out.iter().map(|k| (k.to, k.to.saturating_add(k.len))).collect();
    targets.sort_unstable();
    if targets.windows(2).any(|w| w[0].1 > w[1].0) {
        return Err("members of it share bytes".to_owned());
    }
    Ok(Common { kept: out, ..common })
}

/// Adds what a value of type `a` at `from` has in common with one of type `b` at `to`.
#[expect(clippy::too_many_arguments, reason = "two of everything")]
fn value(
    x: &mut Shapes<'_, '_>,
    a: Ty,
    from: u64,
    y: &mut Shapes<'_, '_>,
    b: Ty,
    to: u64,
    depth: u32,
    out: &mut Common,
) -> Result<(), String> {
    if depth > DEPTH || out.kept.len() > STRETCHES {
        return Err("it has too many parts".to_owned());
    }
    let size = x.size(a);
    if size.is_some() && size == y.size(b) && x.value(a, depth) == y.value(b, depth) {
        let len = size.unwrap_or(0);
        if len > 0 {
            out.kept.push(Kept { from, to, len });
        }
        return Ok(());
    }
    let (Some(old), Some(new)) = (x.bare(a), y.bare(b)) else { return Err("a member of it has no type".to_owned()) };
    let (tag, other) = (old.node().tag, new.node().tag);
    if tag == dw::DW_TAG_array_type && other == dw::DW_TAG_array_type {
        return array(x, &old, from, y, &new, to, depth, out);
    }
    let plain = |tag| is_aggregate(tag) && tag != dw::DW_TAG_union_type;
    if plain(tag) && plain(other) {
        return members(x, old.at, from, y, new.at, to, depth, out);
    }
    Err("a member of it has another type".to_owned())
}

#[expect(clippy::too_many_arguments, reason = "two of everything")]
fn array<'a, 'i, 'b, 'j>(
    x: &mut Shapes<'a, 'i>,
    old: &Bare<'a, 'i>,
    from: u64,
    y: &mut Shapes<'b, 'j>,
    new: &Bare<'b, 'j>,
    to: u64,
    depth: u32,
    out: &mut Common,
) -> Result<(), String> {
    let all = |dimensions: Vec<Option<u64>>| dimensions.into_iter().collect::<Option<Vec<u64>>>();
    let (Some(had), Some(has)) = (all(dimensions(old)), all(dimensions(new))) else {
        return Err("an array of it has no fixed size".to_owned());
    };
    let same_rows = had.len() == has.len() && had.iter().skip(1).eq(has.iter().skip(1));
    if !same_rows || had.first() > has.first() {
        return Err("an array of it has fewer elements, or other rows".to_owned());
    }
    let (element, other) = (old.node().ty, new.node().ty);
    let (Some(size), Some(size_new)) = (x.size(element), y.size(other)) else {
        return Err("an array of it has elements without a size".to_owned());
    };
    let count = had.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).ok_or("an array of it is too large")?;
    if let (Some(&old), Some(&new)) = (had.first(), has.first())
        && (1..new).contains(&old)
    {
        let row = |size: u64| (count / old).saturating_mul(size);
        out.longer.insert(Longer { old, new, sizes: (row(size), row(size_new)) });
    }
    if size == size_new && x.value(element, depth) == y.value(other, depth) {
        let len = count.checked_mul(size).ok_or("an array of it is too large")?;
        if len > 0 {
            out.kept.push(Kept { from, to, len });
        }
        return Ok(());
    }
    if count > STRETCHES as u64 {
        return Err("it has too many parts".to_owned());
    }
    for i in 0..count {
        let place = |start: u64, size: u64| start.saturating_add(i.saturating_mul(size));
        value(x, element, place(from, size), y, other, place(to, size_new), depth + 1, out)?;
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "two of everything")]
fn members(
    x: &mut Shapes<'_, '_>,
    a: DieRef,
    from: u64,
    y: &mut Shapes<'_, '_>,
    b: DieRef,
    to: u64,
    depth: u32,
    out: &mut Common,
) -> Result<(), String> {
    let (old, new) = (x.fields(a, depth), y.fields(b, depth));
    if [&old, &new].iter().any(|fields| fields.iter().any(|f| f.bits > 0 || f.at.is_none())) {
        return Err("it has bit-fields or virtual bases".to_owned());
    }
    for field in &old {
        let same_name = |list: &[super::shape::Field]| list.iter().filter(|f| f.name == field.name).count();
        let (Some(at), Some(twin)) = (field.at, new.iter().find(|f| f.name == field.name)) else {
            return Err(format!("`{}` isn't in it any more", field.name));
        };
        if field.name.is_empty() || same_name(&old) != 1 || same_name(&new) != 1 {
            return Err("members of it can't be told apart".to_owned());
        }
        let (here, there) = (from.saturating_add(at / 8), to.saturating_add(twin.at.unwrap_or(0) / 8));
        value(x, field.ty, here, y, twin.ty, there, depth + 1, out)
            .map_err(|why| format!("`{}`: {why}", field.name))?;
    }
    Ok(())
}
