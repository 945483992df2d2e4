//! Refines the causes that the comparison found, with the debug information of both builds: which member a displacement is, which
//! function a changed stretch was inlined from.

use crate::addr::Svma;
use crate::compare::{Base, Cause, FuncChange, Shift, shifts};
use crate::correlate::Side;
use crate::dwarf::{DebugInfo, Spare, UnitId};
use crate::image::ImageError;
use crate::pipeline::{Compared, Opened};
use crate::types::{Aggregate, Outline, TypeDiff, TypeName, outline};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// A unit of one build: old (false) or new.
type UnitKey = (bool, u32);

/// Both builds with their debug information at hand.
#[derive(Debug)]
pub struct Reasons<'a, 'd> {
    compared: &'a Compared<'d>,
    outlines: RefCell<HashMap<UnitKey, Rc<Outline<'d>>>>,
    /// Entries in the new build of the functions of which it matters what they touch.
    displaced: BTreeSet<Svma>,
}

impl<'a, 'd> Reasons<'a, 'd> {
    /// To be asked about some of `changes`.
    ///
    /// # Errors
    /// When debug information is damaged.
    pub fn new(compared: &'a Compared<'d>, changes: &[&FuncChange]) -> Result<Reasons<'a, 'd>, ImageError> {
        let displaced = changes.iter().filter(|c| c.cause == Cause::Displacement);
        let displaced = displaced.map(|c| compared.new.lifted.functions[c.new.index()].parts[0].start).collect();
        let read = read_ahead(compared, &displaced, changes)?;
        let outlines = RefCell::new(read.into_iter().map(|(unit, outline)| (unit, Rc::new(outline))).collect());
        Ok(Reasons { compared, outlines, displaced })
    }

    fn info(&self, new: bool) -> Option<&'a DebugInfo<'d>> {
        let build = if new { &self.compared.new } else { &self.compared.old };
        build.debug.as_ref()
    }

    /// `file:line` of an instruction of the old build.
    pub fn old_line(&self, at: Svma) -> Option<String> {
        Some(self.info(false)?.line_of(at)?.to_string())
    }

    pub fn new_line(&self, at: Svma) -> Option<String> {
        Some(self.info(true)?.line_of(at)?.to_string())
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

    fn outline(&self, new: bool, at: Svma, members: bool) -> Result<Option<Rc<Outline<'d>>>, ImageError> {
        let Some((info, unit)) = self.info(new).and_then(|i| Some((i, i.unit_at(at)?))) else { return Ok(None) };
        let known = self.outlines.borrow().get(&(new, unit.0)).cloned();
        if let Some(known) = known.filter(|o| o.members.is_some() || !members) {
            return Ok(Some(known));
        }
        let read = Rc::new(outline(info, unit, members, &self.displaced, &Spare::default())?);
        self.outlines.borrow_mut().insert((new, unit.0), read.clone());
        Ok(Some(read))
    }

    /// The function in whose source text an instruction is.
    fn owner(&self, new: bool, at: Svma) -> Result<Option<&'d [u8]>, ImageError> {
        let Some(place) = self.info(new).and_then(|i| i.line_of(at)) else { return Ok(None) };
        let outline = self.outline(new, at, false)?;
        Ok(outline.and_then(|o| o.function_at(&place.file, place.line)))
    }

    /// What the source calls the function of the new build that begins there.
    fn own_name(&self, entry: Svma) -> Result<Option<&'d [u8]>, ImageError> {
        Ok(self.outline(true, entry, false)?.and_then(|o| o.entries.get(&entry).copied()))
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
        Ok(Some(Reason::new(cause, format!("`{}` is inlined there", String::from_utf8_lossy(new)))))
    }

    fn displacement(&self, change: &FuncChange) -> Result<Option<Reason>, ImageError> {
        let (old, new) = (&self.compared.old, &self.compared.new);
        let (f, g) = (&old.lifted.functions[change.old.index()], &new.lifted.functions[change.new.index()]);
        let side = |b: &'a Opened<'d>| Side { image: b.image, lifted: b.lifted };
        let list = shifts(side(old), f, side(new), g);
        let Some(first) = list.iter().find(|s| s.base == Base::Register).or(list.first()) else { return Ok(None) };
        let shown = |what: &str| format!("{what} {} -> {}", hex(first.old), hex(first.new));
        match first.base {
            Base::Frame => return Ok(Some(Reason::new("stack frame", shown("slot")))),
            Base::Sum => return Ok(Some(Reason::new(Cause::Immediate.word(), shown("summand")))),
            Base::Register => {}
        }
        let (Some(a), Some(b)) = (self.outline(false, first.at.0, true)?, self.outline(true, first.at.1, true)?) else {
            return Ok(None);
        };
        let layouts = self.compared.types.as_ref();
        let own = self.own_name(g.parts[0].start)?;
        let touched = own.and_then(|name| b.touched.get(name));
        // First the types that the function's own variables are about, then all of the unit.
        for types in [touched, None] {
            let counts = |name: &TypeName| types.is_none_or(|t| t.contains(name));
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

/// What [`Reasons`] will want of a unit.
#[derive(Default)]
struct Needs {
    /// An address in it: its lines are asked for.
    at: Svma,
    outline: bool,
    members: bool,
}

/// Reads the units that will be asked for side by side: their lines, which the builds keep, and their outlines.
fn read_ahead<'d>(
    compared: &Compared<'d>,
    displaced: &BTreeSet<Svma>,
    changes: &[&FuncChange],
) -> Result<Vec<(UnitKey, Outline<'d>)>, ImageError> {
    let (old, new) = (compared.old.debug.as_ref(), compared.new.debug.as_ref());
    let mut units: BTreeMap<UnitKey, Needs> = BTreeMap::new();
    let none = BTreeSet::new();
    let (spare_old, spare_new) = (Spare::default(), Spare::default());
    for change in changes {
        let members = change.cause == Cause::Displacement;
        let outline = members || matches!(change.cause, Cause::Code | Cause::Immediate | Cause::Literal);
        let entry = compared.new.lifted.functions[change.new.index()].parts[0].start;
        let places = [(false, change.first.map(|f| f.0)), (true, change.first.map(|f| f.1)), (true, Some(entry))];
        for (is_new, at) in places {
            let info = if is_new { new } else { old };
            let Some((at, unit)) = at.and_then(|at| Some((at, info?.unit_at(at)?))) else { continue };
            let needs = units.entry((is_new, unit.0)).or_default();
            needs.at = at;
            needs.outline |= outline;
            needs.members |= members;
        }
    }
    let read = |(&(is_new, unit), needs): (&UnitKey, &Needs)| {
        let (info, asked, spare) = if is_new { (new, displaced, &spare_new) } else { (old, &none, &spare_old) };
        let Some(info) = info else { return Ok(None) };
        let _ = info.line_number(needs.at);
        if !needs.outline {
            return Ok(None);
        }
        let outline = outline(info, UnitId(unit), needs.members, asked, spare)?;
        Ok(Some(((is_new, unit), outline)))
    };
    let found: Result<Vec<_>, ImageError> = units.par_iter().map(read).collect();
    Ok(found?.into_iter().flatten().collect())
}

fn hex(n: i64) -> String {
    if n < 0 { format!("-{:#x}", n.unsigned_abs()) } else { format!("{n:#x}") }
}

/// A member of a type whose layout changed that stood at the old displacement and stands at the new one.
fn moved_member(
    a: &Outline<'_>,
    b: &Outline<'_>,
    types: Option<&TypeDiff>,
    shift: &Shift,
    counts: &dyn Fn(&TypeName) -> bool,
) -> Option<String> {
    let (a, b) = (a.members.as_ref()?, b.members.as_ref()?);
    types?.layouts.iter().map(|l| (l, TypeName::of(&l.name))).filter(|(_, name)| counts(name)).find_map(
        |(layout, name)| {
            let member = a.get(&name)?.member_at(shift.old)?;
            (b.get(&name)?.member_at(shift.new)?.key() == member.key())
                .then(|| format!("`{member}` of `{}` moved {} -> {}", layout.name, hex(shift.old), hex(shift.new)))
        },
    )
}

/// Types that are as they were, with one member at the old and another at the new displacement.
fn other_member(a: &Outline<'_>, b: &Outline<'_>, shift: &Shift, counts: &dyn Fn(&TypeName) -> bool) -> Option<String> {
    let (a, b) = (a.members.as_ref()?, b.members.as_ref()?);
    let fits = |name: &TypeName, now: &Aggregate<'_>| {
        counts(name)
            && now.member_at(shift.old).is_some()
            && now.member_at(shift.new).is_some()
            && a.get(name).is_some_and(|was| was.same_members(now))
    };
    let found: Vec<&Aggregate<'_>> = b.iter().filter(|(name, now)| fits(name, now)).map(|(_, now)| now).collect();
    match found.as_slice() {
        [] => None,
        [only] => {
            let (old, new) = (only.member_at(shift.old)?, only.member_at(shift.new)?);
            Some(format!("`{old}` -> `{new}` of `{}`", only.name()))
        }
        several => Some(format!("{} -> {} in one of {} types", hex(shift.old), hex(shift.new), several.len())),
    }
}
