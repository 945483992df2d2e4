//! Refines the causes that the comparison found, with the debug information of both builds: which member a displacement is, which
//! function a changed stretch was inlined from.

use crate::addr::Svma;
use crate::compare::{Base, Cause, FuncChange, Shift, shifts};
use crate::correlate::Side;
use crate::dwarf::{DebugInfo, UnitId};
use crate::image::ImageError;
use crate::pipeline::{self, Compared};
use crate::types::{Outline, TypeDiff, outline};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Why a function changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// In a word or two, by which functions are counted.
    pub cause: &'static str,
    /// Which member, which inlined function.
    pub note: Option<String>,
}

impl Reason {
    fn new(cause: &'static str, note: impl Into<Option<String>>) -> Reason {
        Reason { cause, note: note.into() }
    }
}

/// Both builds with their debug information at hand.
#[derive(Debug)]
pub struct Reasons<'a> {
    compared: &'a Compared,
    old: Option<DebugInfo<'a>>,
    new: Option<DebugInfo<'a>>,
    /// Outlines of units, by build (old: false) and unit.
    outlines: RefCell<HashMap<(bool, u32), Rc<Outline>>>,
}

impl<'a> Reasons<'a> {
    /// # Errors
    /// When debug information is damaged.
    pub fn new(compared: &'a Compared) -> Result<Reasons<'a>, ImageError> {
        let (old, new) = (pipeline::open(&compared.old)?, pipeline::open(&compared.new)?);
        Ok(Reasons { compared, old, new, outlines: RefCell::default() })
    }

    /// `file:line` of an instruction of the old build.
    pub fn old_line(&self, at: Svma) -> Option<String> {
        Some(self.old.as_ref()?.line_of(at)?.to_string())
    }

    pub fn new_line(&self, at: Svma) -> Option<String> {
        Some(self.new.as_ref()?.line_of(at)?.to_string())
    }

    /// # Errors
    /// When debug information is damaged.
    pub fn of(&self, change: &FuncChange) -> Result<Reason, ImageError> {
        let refined = match change.cause {
            Cause::Displacement => self.displacement(change)?,
            Cause::Code | Cause::Immediate | Cause::Literal => self.inlined(change)?,
            _ => None,
        };
        Ok(refined.unwrap_or_else(|| Reason::new(change.cause.word(), None)))
    }

    fn outline(&self, new: bool, at: Svma) -> Result<Option<Rc<Outline>>, ImageError> {
        let info = if new { &self.new } else { &self.old };
        let Some((info, unit)) = info.as_ref().and_then(|i| Some((i, i.unit_at(at)?))) else { return Ok(None) };
        self.outline_of(info, new, unit).map(Some)
    }

    fn outline_of(&self, info: &DebugInfo<'_>, new: bool, unit: UnitId) -> Result<Rc<Outline>, ImageError> {
        if let Some(known) = self.outlines.borrow().get(&(new, unit.0)) {
            return Ok(known.clone());
        }
        let read = Rc::new(outline(info, unit)?);
        self.outlines.borrow_mut().insert((new, unit.0), read.clone());
        Ok(read)
    }

    /// The function in whose source text an instruction is.
    fn owner(&self, new: bool, at: Svma) -> Result<Option<String>, ImageError> {
        let info = if new { &self.new } else { &self.old };
        let Some(place) = info.as_ref().and_then(|i| i.line_of(at)) else { return Ok(None) };
        let outline = self.outline(new, at)?;
        Ok(outline.and_then(|o| o.function_at(&place.file, place.line).map(str::to_owned)))
    }

    /// What the source calls the function of the new build that begins there.
    fn own_name(&self, entry: Svma) -> Result<Option<String>, ImageError> {
        Ok(self.outline(true, entry)?.and_then(|o| o.entries.get(&entry).cloned()))
    }

    /// Where the first difference stands in the text of another function, in both builds, that one was inlined.
    fn inlined(&self, change: &FuncChange) -> Result<Option<Reason>, ImageError> {
        let Some((a, b)) = change.first else { return Ok(None) };
        let entry = self.compared.new.lifted.functions[change.new.index()].parts[0].start;
        let (old, new, own) = (self.owner(false, a)?, self.owner(true, b)?, self.own_name(entry)?);
        let (Some(old), Some(new), Some(own)) = (old, new, own) else { return Ok(None) };
        if old != new || new == own {
            return Ok(None);
        }
        let cause = match change.cause {
            Cause::Code => "inlined code",
            Cause::Immediate => "inlined immediate",
            _ => "inlined literal",
        };
        Ok(Some(Reason::new(cause, format!("`{new}` is inlined there"))))
    }

    fn displacement(&self, change: &FuncChange) -> Result<Option<Reason>, ImageError> {
        let (old, new) = (&self.compared.old, &self.compared.new);
        let (f, g) = (&old.lifted.functions[change.old.index()], &new.lifted.functions[change.new.index()]);
        let side = |l: &'a pipeline::Loaded| Side { image: &l.image, lifted: &l.lifted };
        let list = shifts(side(old), f, side(new), g);
        let Some(first) = list.iter().find(|s| s.base == Base::Register).or(list.first()) else { return Ok(None) };
        let shown = |what: &str| format!("{what} {} -> {}", hex(first.old), hex(first.new));
        match first.base {
            Base::Frame => return Ok(Some(Reason::new("stack frame", shown("slot")))),
            Base::Sum => return Ok(Some(Reason::new(Cause::Immediate.word(), shown("summand")))),
            Base::Register => {}
        }
        let (Some(a), Some(b)) = (self.outline(false, first.at.0)?, self.outline(true, first.at.1)?) else {
            return Ok(None);
        };
        let layouts = self.compared.types.as_ref();
        let own = self.own_name(g.parts[0].start)?;
        let touched = own.and_then(|name| b.touched.get(&name));
        // First the types that the function's own variables are about, then all of the unit.
        for types in [touched, None] {
            let counts = |name: &str| types.is_none_or(|t| t.contains(name));
            if let Some(note) = moved_member(&a, &b, layouts, first, &counts) {
                return Ok(Some(Reason::new("layout growth", note)));
            }
            if let Some(note) = other_member(&a, &b, first, &counts) {
                return Ok(Some(Reason::new("member", note)));
            }
        }
        let element = first.width > 0 && (first.new - first.old) % i64::try_from(first.width).unwrap_or(1) == 0;
        Ok(element.then(|| Reason::new("array index", shown("offset"))))
    }
}

fn hex(n: i64) -> String {
    if n < 0 { format!("-{:#x}", n.unsigned_abs()) } else { format!("{n:#x}") }
}

type Members = [(u64, String)];

fn member_at(members: &Members, offset: i64) -> Option<&str> {
    let offset = u64::try_from(offset).ok()?;
    members.iter().find(|(at, _)| *at == offset).map(|(_, name)| name.as_str())
}

/// A member of a type whose layout changed that stood at the old displacement and stands at the new one.
fn moved_member(
    a: &Outline,
    b: &Outline,
    types: Option<&TypeDiff>,
    shift: &Shift,
    counts: &dyn Fn(&str) -> bool,
) -> Option<String> {
    types?.layouts.iter().filter(|l| counts(&l.name)).find_map(|layout| {
        let (old, new) = (a.members.get(&layout.name)?, b.members.get(&layout.name)?);
        let member = member_at(old, shift.old)?;
        (member_at(new, shift.new)? == member)
            .then(|| format!("`{member}` of `{}` moved {} -> {}", layout.name, hex(shift.old), hex(shift.new)))
    })
}

/// Types that are as they were, with one member at the old and another at the new displacement.
fn other_member(a: &Outline, b: &Outline, shift: &Shift, counts: &dyn Fn(&str) -> bool) -> Option<String> {
    let pairs: Vec<(&str, &str, &str)> = b
        .members
        .iter()
        .filter(|(name, members)| counts(name) && a.members.get(*name) == Some(*members))
        .filter_map(|(name, m)| Some((name.as_str(), member_at(m, shift.old)?, member_at(m, shift.new)?)))
        .collect();
    match pairs.as_slice() {
        [] => None,
        [(name, old, new)] => Some(format!("`{old}` -> `{new}` of `{name}`")),
        several => Some(format!("{} -> {} in one of {} types", hex(shift.old), hex(shift.new), several.len())),
    }
}
