//! Which types have instances in stack frames only, as far as declarations say.
//!
//! An instance lives in a variable, in another object, or in memory that a pointer leads to. Where nothing but automatic variables and
//! parameters has the type, and nothing but parameters points to it, each instance is in the frame of a function that declares one.

use super::Survey;
use super::holders::{Finder, Found, Wanted, merge};
use crate::addr::Svma;
use crate::dwarf::die::{Home, NONE, Node, Table};
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Reading, Spare};
use crate::image::ImageError;
use foldhash::fast::FixedState;
use gimli::constants as dw;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What a function's own declarations say, and those of the functions inlined into it. Names of types ascend.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Frame<'n> {
    /// Types with an instance in the frame.
    pub values: Vec<&'n str>,
    /// Types of which it takes or gives an instance by value: its callers have one in their frames too.
    pub passed: Vec<&'n str>,
    /// Types that a parameter points to.
    pub pointers: Vec<&'n str>,
    /// Types that a parameter of a function points to which is inlined into it: its own instance, where it has one, else one from elsewhere.
    lent: Vec<&'n str>,
    /// Units whose code is in it. None: there is one that can't be named.
    pub units: Option<BTreeSet<&'n str>>,
}

/// Where instances of some types can be.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Frames<'n> {
    /// By entry: the functions that know one of the types, and those that were asked for. Only the latter have all their units.
    pub functions: BTreeMap<Svma, Frame<'n>>,
    /// By type: what lets an instance outlive a call, or be anywhere. In words.
    pub outside: BTreeMap<String, BTreeSet<String>>,
    /// By type: variables at fixed places that hold one, with their names, and whether other units can mean them.
    pub fixed: BTreeMap<String, BTreeMap<Svma, (String, bool)>>,
    /// By type: global variables that are declared to hold one.
    pub declared: BTreeMap<String, BTreeSet<String>>,
    /// Of the functions of other modules that were asked for: whether they take bytes of any type, where they are declared.
    pub foreign: BTreeMap<&'n str, bool>,
}

/// One entry of a function: an abstract one that knows one of the types, or one with code.
struct Part<'n> {
    at: DieRef,
    entry: Option<Svma>,
    /// The entries that it is an instance of.
    origins: Vec<DieRef>,
    /// Those that are inlined into it, and what these are instances of.
    inlined: Vec<DieRef>,
    frame: Frame<'n>,
}

type Outside = BTreeMap<String, BTreeSet<String>>;

/// What units say of variables that hold one of the types, and of functions that they don't have.
#[derive(Default)]
struct Holding<'n> {
    fixed: BTreeMap<String, BTreeMap<Svma, (String, bool)>>,
    declared: Outside,
    foreign: BTreeMap<&'n str, bool>,
}

impl Frames<'_> {
    /// Why an instance of the type can be somewhere else than in frames and in the variables that `moved` takes.
    pub fn elsewhere(&self, ty: &str, moved: impl Fn(Svma) -> bool) -> BTreeSet<String> {
        let mut reasons = self.outside.get(ty).cloned().unwrap_or_default();
        let fixed = self.fixed.get(ty);
        let known = |name: &String| fixed.is_some_and(|all| all.values().any(|(n, external)| *external && n == name));
        let stay = fixed.into_iter().flatten().filter(|(at, _)| !moved(**at)).map(|(_, (name, _))| name);
        let missing = self.declared.get(ty).into_iter().flatten().filter(|name| !known(name));
        reasons.extend(stay.chain(missing).map(|name| format!("the variable `{name}` holds one")));
        reasons
    }
}

/// How far [`frames`] looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// In all units that know one of the types.
    Everywhere,
    /// At least in those that have one of the functions that were asked for.
    Asked,
}

/// Looks for the types in `names` (qualified, as [`super::LayoutChange::name`] has them), and for the functions that begin at one of
/// `entries`, and for functions of other modules, by their names in object files.
pub fn frames<'n>(
    info: &'n DebugInfo<'_>,
    survey: &Survey,
    names: &'n BTreeSet<String>,
    entries: &BTreeSet<Svma>,
    foreign: &BTreeSet<&'n str>,
    reach: Reach,
) -> Result<Frames<'n>, ImageError> {
    let (wanted, tables) = (Wanted::new(names), Spare::default());
    let of_unit = |unit: u32| -> Result<(Vec<Part<'n>>, Outside, Holding<'n>), ImageError> {
        tables.with(|table| {
            info.read_into(unit, Reading::Frames, table).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
            let mut search = Search {
                finder: Finder::new(View { info, unit, local: table, reading: Reading::Full }, &wanted),
                entries,
                foreign,
                outside: BTreeMap::new(),
                holding: Holding::default(),
                parts: Vec::new(),
            };
            search.unit();
            let mut parts = search.kept();
            if !survey.is_entangled() {
                join(&mut parts);
                info.give_back(unit);
            }
            Ok((parts, search.outside, search.holding))
        })
    };
    let (mut knowing, others) = survey.units_knowing(info, &wanted);
    if reach == Reach::Asked {
        let asked = survey.units_with(info, entries);
        knowing.retain(|unit| asked.contains(unit));
    }
    let found: Result<Vec<_>, ImageError> = knowing.into_par_iter().map(of_unit).collect();
    let (mut out, mut parts) = (Frames::default(), Vec::new());
    for (of_unit, outside, holding) in found? {
        parts.extend(of_unit);
        for (ty, variables) in holding.fixed {
            out.fixed.entry(ty).or_default().extend(variables);
        }
        for (name, takes) in holding.foreign {
            *out.foreign.entry(name).or_default() |= takes;
        }
        for (ty, names) in holding.declared {
            out.declared.entry(ty).or_default().extend(names);
        }
        for (ty, reasons) in outside {
            out.outside.entry(ty).or_default().extend(reasons);
        }
    }
    let mut frame = |entry: Svma, more: &Frame<'n>, unit: u32| {
        let none = || Frame { units: Some(BTreeSet::new()), ..Frame::default() };
        out.functions.entry(entry).or_insert_with(none).add(more, info.name_at(unit));
    };
    let by_die: HashMap<DieRef, usize, FixedState> = parts.iter().enumerate().map(|(i, p)| (p.at, i)).collect();
    for part in &parts {
        let Some(entry) = part.entry else { continue };
        frame(entry, &part.frame, part.at.unit);
        // One that knows none of the types counts for its unit.
        let of = |origin: &DieRef| by_die.get(origin).map(|&i| parts[i].frame.clone()).unwrap_or_default();
        part.origins.iter().for_each(|origin| frame(entry, &of(origin), origin.unit));
        part.inlined.iter().for_each(|origin| frame(entry, &of(origin).inlined(), origin.unit));
    }
    // What is inlined there comes from the same unit.
    for (entry, unit) in survey.entries_in(&others).filter(|(entry, _)| entries.contains(entry)) {
        frame(entry, &Frame::default(), unit);
    }
    out.functions.values_mut().for_each(Frame::settle);
    Ok(out)
}

/// Gives each function with code what is said of the entries that it is made of, all of which are of the same unit, and keeps nothing else.
fn join<'n>(parts: &mut Vec<Part<'n>>) {
    let by_die: HashMap<DieRef, usize, FixedState> = parts.iter().enumerate().map(|(i, p)| (p.at, i)).collect();
    let whole = |part: &Part<'n>| {
        let of = |list: &[DieRef]| -> Vec<&Frame<'n>> {
            list.iter().filter_map(|origin| by_die.get(origin)).map(|&i| &parts[i].frame).collect()
        };
        let mut frame = part.frame.clone();
        of(&part.origins).into_iter().for_each(|other| frame.learn(other));
        of(&part.inlined).into_iter().for_each(|other| frame.learn(&other.clone().inlined()));
        frame
    };
    let frames: Vec<_> = parts.iter().map(|p| p.entry.is_some().then(|| whole(p))).collect();
    let mut frames = frames.into_iter();
    parts.retain_mut(|part| {
        let frame = frames.next().flatten();
        let stays = frame.is_some();
        part.frame = frame.unwrap_or_default();
        (part.origins, part.inlined) = (Vec::new(), Vec::new());
        stays
    });
    parts.shrink_to_fit();
}

impl<'n> Frame<'n> {
    fn knows(&self) -> bool {
        [&self.values, &self.passed, &self.pointers, &self.lent].iter().any(|types| !types.is_empty())
    }

    fn learn(&mut self, other: &Frame<'n>) {
        merge(&mut self.values, &other.values);
        merge(&mut self.passed, &other.passed);
        merge(&mut self.pointers, &other.pointers);
        merge(&mut self.lent, &other.lent);
    }

    /// What it is to the function that it is inlined into: what it takes and gives by value is in that one's frame.
    fn inlined(mut self) -> Frame<'n> {
        merge(&mut self.lent, &std::mem::take(&mut self.pointers));
        self.passed = Vec::new();
        self
    }

    /// Once all is known of it.
    fn settle(&mut self) {
        let mut elsewhere = std::mem::take(&mut self.lent);
        elsewhere.retain(|ty| !self.values.contains(ty));
        merge(&mut self.pointers, &elsewhere);
    }

    fn add(&mut self, other: &Frame<'n>, unit: &'n str) {
        self.learn(other);
        match &mut self.units {
            // Partial units, type units.
            _ if unit.is_empty() => self.units = None,
            Some(units) => drop(units.insert(unit)),
            None => {}
        }
    }
}

struct Search<'a, 'i, 'n> {
    finder: Finder<'a, 'i, 'n>,
    entries: &'a BTreeSet<Svma>,
    foreign: &'a BTreeSet<&'n str>,
    outside: Outside,
    holding: Holding<'n>,
    parts: Vec<Part<'n>>,
}

impl<'a, 'i, 'n> Search<'a, 'i, 'n> {
    fn unit(&mut self) {
        let local = self.finder.shapes.view.local;
        // The innermost function around each entry.
        let mut around: Vec<u32> = Vec::new();
        let told = |tag| {
            matches!(
                tag,
                dw::DW_TAG_subprogram
                    | dw::DW_TAG_member
                    | dw::DW_TAG_inheritance
                    | dw::DW_TAG_variable
                    | dw::DW_TAG_formal_parameter
            )
        };
        for (i, node) in local.tagged(told) {
            while around.last().is_some_and(|&f| local.node(f).end <= i) {
                around.pop();
            }
            match node.tag {
                dw::DW_TAG_subprogram => {
                    self.function(local, i);
                    around.push(i);
                }
                dw::DW_TAG_member | dw::DW_TAG_inheritance => self.member(node),
                // Those of a function were met with it.
                dw::DW_TAG_variable | dw::DW_TAG_formal_parameter if around.is_empty() && !in_type(local, node) => {
                    let found = self.types_of(node);
                    self.variable(node, false, &found);
                }
                _ => {}
            }
        }
    }

    /// The parts that say something: a function that nobody asked for, with none of the types in it, doesn't.
    fn kept(&mut self) -> Vec<Part<'n>> {
        let unit = self.finder.shapes.view.unit;
        let parts = std::mem::take(&mut self.parts);
        let knowing: HashSet<DieRef, FixedState> = parts.iter().filter(|p| p.frame.knows()).map(|p| p.at).collect();
        // Whether an entry of another unit knows one is seen when that unit is read.
        let may_know = |at: &DieRef| at.unit != unit || knowing.contains(at);
        let asked = |p: &Part<'_>| p.entry.is_some_and(|at| self.entries.contains(&at));
        let says = |p: &Part<'_>| {
            p.frame.knows() || asked(p) || (p.entry.is_some() && p.origins.iter().chain(&p.inlined).any(may_know))
        };
        parts.into_iter().filter(says).collect()
    }

    fn reason(&mut self, types: &[&str], reason: impl Fn() -> String) {
        for &ty in types {
            self.outside.entry(ty.to_owned()).or_default().insert(reason());
        }
    }

    fn name(&self, at: DieRef) -> String {
        super::name::qualified(&self.finder.shapes.view, at).unwrap_or_else(|| "(unnamed)".into())
    }

    /// A member that points to one, or has one inside an object whose own layout isn't asked for.
    fn member(&mut self, node: &Node<'i>) {
        let View { unit, local, .. } = self.finder.shapes.view;
        let (held, pointed) = self.finder.both(node.ty);
        if held.is_empty() && pointed.is_empty() {
            return;
        }
        let outer = parent(local, node).map(|p| DieRef { unit, offset: p.offset });
        // What has one inside changed itself, and is looked for by its own name. A struct without a name isn't.
        let outer = outer.and_then(|at| super::name::qualified(&self.finder.shapes.view, at));
        let known = outer.is_some_and(|name| self.finder.wanted.names.contains(&name));
        let name = self.name(DieRef { unit, offset: node.offset });
        if !known {
            self.reason(&held, || format!("`{name}` holds one"));
        }
        self.reason(&pointed, || format!("`{name}` points to one"));
    }

    /// Which of the types an entry with a type holds, and points to.
    fn types_of(&mut self, node: &Node<'i>) -> (Found<'n>, Found<'n>) {
        let view = self.finder.shapes.view;
        let at = DieRef { unit: view.unit, offset: node.offset };
        self.finder.both(node.ty.or_else(|| view.declared(at).and_then(|(_, n)| n.ty)))
    }

    fn variable(&mut self, node: &Node<'i>, in_function: bool, (held, pointed): &(Found<'n>, Found<'n>)) {
        let view = self.finder.shapes.view;
        let at = DieRef { unit: view.unit, offset: node.offset };
        if held.is_empty() && pointed.is_empty() {
            return;
        }
        let name = self.name(at);
        let parameter = node.tag == dw::DW_TAG_formal_parameter;
        let automatic = in_function && !node.external && !node.declaration && node.home.is_none();
        if !automatic {
            let external = node.external || view.declared(at).is_some_and(|(_, n)| n.external);
            self.hold(held, node, (in_function, external), &name);
        }
        if !(parameter && automatic) {
            self.reason(pointed, || format!("the variable `{name}` points to one, which may be anywhere"));
        }
    }

    /// A variable that is no function's own holds one.
    fn hold(&mut self, types: &Found<'_>, node: &Node<'i>, (in_function, external): (bool, bool), name: &str) {
        for &ty in types {
            let ty = ty.to_owned();
            match node.home {
                Some(Home::At(at)) => {
                    self.holding.fixed.entry(ty).or_default().insert(at, (name.to_owned(), external));
                }
                None if node.declaration && node.external && !in_function => {
                    self.holding.declared.entry(ty).or_default().insert(name.to_owned());
                }
                _ => {
                    self.outside.entry(ty).or_default().insert(format!("the variable `{name}` holds one"));
                }
            }
        }
    }

    fn function(&mut self, table: &Table<'i>, index: u32) {
        let view = self.finder.shapes.view;
        let node = table.node(index);
        let at = DieRef { unit: view.unit, offset: node.offset };
        if node.declaration && !node.code {
            self.declaration(at);
        }
        let (given, returned) = self.types_of(node);
        if !returned.is_empty() {
            let name = self.name(at);
            self.reason(&returned, || format!("`{name}` returns a pointer to one"));
        }
        let mut frame = Frame { passed: given, ..Frame::default() };
        let (mut origins, mut inlined) = (Vec::new(), Vec::new());
        self.chain(node.origin, &mut origins);
        let (mut next, mut inlined_end) = (index + 1, 0);
        while next < node.end {
            let (i, inner) = (next, table.node(next));
            next += 1;
            match inner.tag {
                // One of its own.
                dw::DW_TAG_subprogram => next = inner.end,
                dw::DW_TAG_inlined_subroutine => {
                    inlined_end = inlined_end.max(inner.end);
                    self.chain(inner.origin, &mut inlined);
                }
                dw::DW_TAG_variable | dw::DW_TAG_formal_parameter => {
                    let found = self.types_of(inner);
                    if !in_type(table, inner) {
                        self.variable(inner, true, &found);
                    }
                    let (held, pointed) = found;
                    match inner.tag {
                        dw::DW_TAG_formal_parameter if i < inlined_end => merge(&mut frame.lent, &pointed),
                        dw::DW_TAG_formal_parameter => {
                            merge(&mut frame.pointers, &pointed);
                            merge(&mut frame.passed, &held);
                        }
                        _ => {}
                    }
                    merge(&mut frame.values, &held);
                }
                _ => {}
            }
        }
        merge(&mut frame.values, &frame.passed);
        let entry = match node.home {
            Some(Home::At(entry)) if node.code => Some(entry),
            _ => None,
        };
        self.parts.push(Part { at, entry, origins, inlined, frame });
    }

    fn declaration(&mut self, at: DieRef) {
        let linkage = super::linkage(&self.finder.shapes.view, at).filter(|name| !name.is_empty());
        let named = self.finder.shapes.view.declared(at).map(|(_, node)| node.name.bytes());
        let name = linkage.or(named).and_then(|name| std::str::from_utf8(name).ok());
        if let Some(&name) = name.and_then(|name| self.foreign.get(name)) {
            let takes = super::index::takes_bytes(&mut self.finder.shapes, at);
            *self.holding.foreign.entry(name).or_default() |= takes;
        }
    }

    /// What an entry is an instance of, and what that completes.
    fn chain(&self, origin: Option<DieRef>, out: &mut Vec<DieRef>) {
        let mut next = origin;
        for _ in 0..8 {
            let Some(at) = next else { return };
            out.push(at);
            next = self.finder.shapes.view.node(at).and_then(|n| n.origin);
        }
    }
}

/// A parameter of a type of functions.
fn in_type(table: &Table<'_>, node: &Node<'_>) -> bool {
    parent(table, node).is_some_and(|p| p.tag == dw::DW_TAG_subroutine_type)
}

fn parent<'t, 'i>(table: &'t Table<'i>, node: &Node<'i>) -> Option<&'t Node<'i>> {
    (node.parent != NONE).then(|| table.node(node.parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_an_unnamed_unit_may_be_anywhere() {
        let mut frame = Frame { units: Some(BTreeSet::new()), ..Frame::default() };
        frame.add(&Frame::default(), "a.c");
        assert_eq!(frame.units, Some(BTreeSet::from(["a.c"])));
        frame.add(&Frame::default(), "");
        frame.add(&Frame::default(), "b.c");
        assert_eq!(frame.units, None);
    }
}
