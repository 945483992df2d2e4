//! The work list that closes the patch over its references.

use super::alignment::Alignments;
use super::bind::Unbound;
use super::runs::pointed_to;
use super::unwind::unwind_of;
use super::{Analysis, Binder, Edit, InPlace, Migrations, PatchSet, Place, Role, SlotKey};
use super::{idle, labels};
use crate::addr::{DataId, FuncId};
use crate::compare::{Cause, CodeEdit, DataChange, DataDiff, FuncChange};
use crate::diag::{Finding, Severity};
use crate::image::SectionKind;
use crate::lift::{CodeRef, Data, DataKind, Exported, Field, Target, Unprovable};
use patchfmt::codes::{self, Code};
use std::collections::{BTreeMap, BTreeSet};

/// Which changed data get a new address, and which are overwritten where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DataPlan {
    /// Live value stays; only a note.
    Keep,
    Edit,
    Move,
    /// The new initial value is written over the live one.
    Reset,
}

struct Closure<'a, 'b> {
    analysis: Analysis<'a>,
    binder: &'b mut Binder<'a>,
    set: PatchSet,
    todo_funcs: Vec<FuncId>,
    todo_data: Vec<DataId>,
    edited: BTreeSet<DataId>,
    /// What data of the new image point to.
    held: &'b BTreeSet<DataId>,
    /// Constants that would have to be carried beside others, so that an address between them has one meaning.
    stragglers: BTreeSet<DataId>,
}

/// How the closure is made.
#[derive(Clone, Copy, Debug)]
pub struct Choices<'c> {
    /// Functions (old, new) that must not be active when the patch is applied, whether they changed or not.
    pub holders: &'c [(FuncId, FuncId)],
    /// No state is alive when the patch is applied (scope `start`): initial values are then the new ones.
    pub fresh: bool,
    /// Edits no function in place, even where only operands differ; holders get new bodies, too.
    pub replace: bool,
    /// Variables of the new image that get their new initial value in a running process too.
    pub reset: &'c BTreeSet<DataId>,
    /// Variables that get a new place, and take their value along.
    pub migrations: &'c Migrations,
    /// Variables of which that was looked into, and what forbids it.
    pub fixed: &'c BTreeMap<DataId, String>,
}

/// Closes over the changes.
pub fn close<'a>(analysis: Analysis<'a>, binder: &mut Binder<'a>, choices: Choices<'_>) -> PatchSet {
    let shared = if choices.replace { BTreeSet::new() } else { shared_code(analysis) };
    let held = pointed_to(analysis.new);
    let astray = labels::readers(analysis);
    // What comes out if no constant is carried for the sake of its neighbours.
    let mut plain: Option<PatchSet> = None;
    // Objects that get another place because of where the old build has them, with the alignment that they need.
    let mut realigned: BTreeMap<DataId, u64> = BTreeMap::new();
    let mut alignments = Alignments::default();
    loop {
        let mut closure = Closure {
            analysis,
            binder,
            set: PatchSet::default(),
            todo_funcs: Vec::new(),
            todo_data: Vec::new(),
            edited: BTreeSet::new(),
            held: &held,
            stragglers: BTreeSet::new(),
        };
        closure.seed_data(choices);
        astray.iter().for_each(|&(old, new)| closure.replace(old, new, Cause::Reader));
        realigned.iter().for_each(|(&id, &needed)| closure.note_realigned(id, needed));
        closure.seed_functions(&|change| if choices.replace { None } else { editable(analysis, &shared, change) });
        if choices.replace {
            closure.seed_holders(choices.holders);
        }
        while let Some(step) = closure.next() {
            match step {
                Step::Func(f) => closure.visit_function(f),
                Step::Data(d) => closure.visit_data(d),
            }
        }
        let (mut set, stragglers) = (closure.set, closure.stragglers);
        if !choices.fresh {
            set.idle = idle::waited_for(analysis, &set, choices.holders);
        }
        let mut labels = label_tables(analysis, &set, &binder.moved);
        let misplaced = alignments.misplaced(analysis, binder, &set);
        labels.extend(misplaced.keys());
        realigned.extend(misplaced);
        set.moved = binder.moved.clone();
        let migrations = choices.migrations.iter().filter(|(id, _)| set.data.contains(id));
        set.migrations = migrations.map(|(&id, m)| (id, m.clone())).collect();
        set.findings.sort();
        set.findings.dedup();
        if labels.is_empty() && stragglers.is_empty() {
            return match plain {
                Some(plain) if refusals(&set) > 0 => {
                    binder.moved = plain.moved.clone();
                    binder.copied.clear();
                    plain
                }
                _ => set,
            };
        }
        if labels.is_empty() && plain.is_none() {
            plain = Some(set);
        }
        let named = |id: &DataId| analysis.new.data[id.index()].kind == DataKind::Named;
        let (constants, literals): (Vec<DataId>, Vec<DataId>) = stragglers.into_iter().partition(named);
        binder.moved.extend(labels.into_iter().chain(constants));
        binder.copied.extend(literals);
    }
}

fn refusals(set: &PatchSet) -> usize {
    set.findings.iter().filter(|f| f.severity == Severity::Refuse).count()
}

/// Old functions of which a part belongs to another function too: an edit would change both.
fn shared_code(analysis: Analysis<'_>) -> BTreeSet<FuncId> {
    let functions = analysis.old.functions.iter().enumerate();
    let mut parts: Vec<(u64, u64, FuncId)> = functions
        .flat_map(|(i, f)| f.parts.iter().map(move |p| (p.start.0, p.end.0, FuncId::from(i))))
        .filter(|(start, end, _)| start < end)
        .collect();
    parts.sort_unstable();
    let mut shared = BTreeSet::new();
    // The part that reaches furthest so far.
    let mut reach: Option<(u64, FuncId)> = None;
    for (start, end, func) in parts {
        if let Some((_, other)) = reach.filter(|&(last, other)| start < last && other != func) {
            shared.extend([func, other]);
        }
        if reach.is_none_or(|(last, _)| end > last) {
            reach = Some((end, func));
        }
    }
    shared
}

/// Bytes that one edit takes in a payload: its record and the symbol of its bytes.
const EDIT_COST: u64 = 48 + 24;
/// Bytes that each relocation of a carried body takes, and what its frame entry and its symbol take.
const RELOCATION_COST: u64 = 24;
const BODY_COST: u64 = 40 + 24;
/// Bytes that it's worth that a function runs without a detour.
const DETOUR_WORTH: u64 = 64;
/// `jmp rel32`.
const DETOUR: u64 = 5;

/// The edits that take less room than a body would, or that are the only way because there is no room for a detour.
fn editable<'a>(analysis: Analysis<'a>, shared: &BTreeSet<FuncId>, change: &'a FuncChange) -> Option<&'a [CodeEdit]> {
    let edits = change.edits.as_deref().filter(|_| !shared.contains(&change.old))?;
    let (old, new) = (&analysis.old.functions[change.old.index()], &analysis.new.functions[change.new.index()]);
    let cost: u64 = edits.iter().map(|e| EDIT_COST + e.bytes.len() as u64).sum();
    let code: u64 = new.parts.iter().map(|p| p.size()).sum();
    let body = code + RELOCATION_COST * new.refs.len() as u64 + BODY_COST + DETOUR_WORTH;
    let too_short = old.parts.first().is_none_or(|p| p.size() + u64::from(old.padding) < DETOUR);
    (cost <= body || too_short).then_some(edits)
}

/// Tables of labels of replaced functions that would still be the old ones: new code must never jump through them into old code.
fn label_tables(analysis: Analysis<'_>, set: &PatchSet, moved: &BTreeSet<DataId>) -> Vec<DataId> {
    let leads_in = |t: &Target| matches!(inside_of(t), Some(f) if set.functions.contains_key(&f));
    let data = analysis.new.data.iter().enumerate().map(|(i, d)| (DataId::from(i), d));
    data.filter(|(id, d)| !moved.contains(id) && d.refs.iter().any(|r| leads_in(&r.target))).map(|(id, _)| id).collect()
}

/// The function that a target lies in the middle of.
fn inside_of(target: &Target) -> Option<FuncId> {
    match *target {
        Target::Func { func, part, offset } if (part, offset) != (0, 0) => Some(func),
        _ => None,
    }
}

enum Step {
    Func(FuncId),
    Data(DataId),
}

impl<'a> Closure<'a, '_> {
    fn next(&mut self) -> Option<Step> {
        self.todo_funcs.pop().map(Step::Func).or_else(|| self.todo_data.pop().map(Step::Data))
    }

    fn finding(&mut self, severity: Severity, code: Code, symbol: &str, message: String) {
        let finding = Finding { severity, code: code.0, symbol: symbol.to_owned(), place: None, message, help: None };
        self.set.findings.push(finding);
    }

    fn seed_data(&mut self, choices: Choices<'_>) {
        let fresh = choices.fresh;
        let mut moved: BTreeSet<DataId> = self.binder.moved.clone();
        for (&id, migration) in choices.migrations {
            let (old, new) = (&self.analysis.old.data[migration.old.index()], &self.analysis.new.data[id.index()]);
            let kept: u64 = migration.kept.iter().map(|k| k.len).sum();
            let message = format!(
                "`{}` was {} bytes and is now {} bytes; {kept} bytes of its live value move along",
                new.name,
                old.range.size(),
                new.range.size()
            );
            let name = new.name.clone();
            self.finding(Severity::Note, codes::GLOBAL_MOVED, &name, message);
            moved.insert(id);
        }
        for change in &self.analysis.changes.data_changed {
            let old = &self.analysis.old.data[change.old.index()];
            let new = &self.analysis.new.data[change.new.index()];
            let writable = matches!(new.section, SectionKind::Data | SectionKind::Bss)
                || matches!(old.section, SectionKind::Data | SectionKind::Bss);
            let tls = matches!(new.section, SectionKind::Tdata | SectionKind::Tbss);
            let name = new.name.clone();
            let asked = choices.reset.contains(&change.new);
            let kept = !tls && writable && !asked && change.diff == DataDiff::Content;
            let relied = if kept { self.relied_on(change) } else { None };
            if let Some(user) = relied {
                let message = format!(
                    "`{name}` begins with addresses where it had zeros, and `{user}` may count on them; a live process keeps the zeros"
                );
                self.finding(Severity::Start, codes::INITIAL_VALUE, &name, message);
            }
            let plan = match change.diff {
                _ if tls => {
                    self.finding(
                        Severity::Refuse,
                        codes::TLS_BLOCK,
                        &name,
                        format!("thread-local `{name}` changed its size or initial value"),
                    );
                    DataPlan::Keep
                }
                _ if choices.migrations.contains_key(&change.new) => DataPlan::Move,
                DataDiff::Content if self.binder.moved.contains(&change.new) => DataPlan::Move,
                DataDiff::Content if writable && asked => {
                    self.finding(
                        Severity::Review,
                        codes::VALUE_RESET,
                        &name,
                        format!(
                            "`{name}` gets its new initial value, as `--reset-data` asks for; the live value is lost"
                        ),
                    );
                    if fresh { DataPlan::Edit } else { DataPlan::Reset }
                }
                DataDiff::Content if writable && !fresh && relied.is_some() => DataPlan::Keep,
                DataDiff::Content if writable && !fresh => {
                    self.finding(
                        Severity::Note,
                        codes::INITIAL_VALUE,
                        &name,
                        format!("initial value of `{name}` changed; the live value is kept"),
                    );
                    DataPlan::Keep
                }
                DataDiff::Content if self.has_no_size(new) => {
                    let message = format!(
                        "`{name}` has no size: what of it changed, and whether all of that is its own, can't be told"
                    );
                    self.finding(Severity::Refuse, codes::UNKNOWN_ADDRESS, &name, message);
                    DataPlan::Keep
                }
                DataDiff::Content => DataPlan::Edit,
                DataDiff::Size { old, new } => {
                    let mut message = format!("`{name}` was {old} bytes and is now {new} bytes");
                    if writable {
                        if let Some(why) = choices.fixed.get(&change.new) {
                            message.push_str(&format!("; its live value can't move along: {why}"));
                        }
                        self.finding(Severity::Start, codes::GLOBAL_RESIZED, &name, message);
                    } else {
                        self.finding(Severity::Note, codes::CONSTANT_RESIZED, &name, message);
                    }
                    DataPlan::Move
                }
                DataDiff::Section => {
                    self.finding(
                        Severity::Start,
                        codes::SECTION_KIND,
                        &name,
                        format!("`{name}` moved between constant and writable data"),
                    );
                    DataPlan::Move
                }
            };
            match plan {
                DataPlan::Keep => {}
                DataPlan::Edit => self.edit(change.old, change.new),
                DataPlan::Reset => {
                    self.set.resets.push(Edit { old: change.old, new: change.new });
                    self.todo_data.push(change.new);
                }
                DataPlan::Move => drop(moved.insert(change.new)),
            }
        }
        self.seed_moved(&moved);
    }

    /// A changed or new function that uses a variable with addresses in its initial value where there was nothing: a row more in a table, or
    /// a pointer that leads somewhere from the start.
    fn relied_on(&self, change: &DataChange) -> Option<&'a str> {
        let a = self.analysis;
        let (old, new) = (&a.old.data[change.old.index()], &a.new.data[change.new.index()]);
        let nothing = |at: u32| {
            let bytes = a.old_image.bytes(old.range.start.plus(u64::from(at)), 8);
            let address = old.refs.iter().chain(&old.ambiguous).any(|r| r.at == at);
            !address && bytes.is_none_or(|b| b.iter().all(|&b| b == 0))
        };
        if !new.refs.iter().any(|r| r.field == Field::Abs64 && nothing(r.at)) {
            return None;
        }
        let changed = a.changes.changed.iter().filter(|c| c.cause != Cause::LineNumber && !a.left.contains(&c.new));
        let functions = changed.map(|c| c.new).chain(a.changes.new_funcs.iter().copied());
        let mut functions = functions.map(|f| &a.new.functions[f.index()]);
        let exported = Exported::of(a.new_image, a.new);
        let user = functions.find(|f| f.refs.iter().any(|r| exported.datum(&r.target) == Some(change.new)));
        user.map(|f| f.name.as_str())
    }

    fn note_realigned(&mut self, id: DataId, needed: u64) {
        let datum = &self.analysis.new.data[id.index()];
        if datum.kind != DataKind::Named {
            return;
        }
        let writable = matches!(datum.section, SectionKind::Data | SectionKind::Bss);
        let severity = if writable { Severity::Start } else { Severity::Note };
        let message = format!("`{}` gets another place: new code needs it at a multiple of {needed}", datum.name);
        self.finding(severity, codes::REALIGNED, &datum.name, message);
    }

    /// A label of assembly: it reaches to the next symbol, over things without a name that are somebody else's.
    fn has_no_size(&self, datum: &Data) -> bool {
        !datum.names.is_empty() && datum.names.iter().all(|&s| self.analysis.new_image.symbol(s).size == 0)
    }

    /// A datum that gets a new address takes all its readers along.
    fn seed_moved(&mut self, moved: &BTreeSet<DataId>) {
        if moved.is_empty() {
            return;
        }
        self.binder.moved.extend(moved);
        let names: BTreeMap<DataId, String> =
            moved.iter().map(|&d| (d, self.analysis.new.data[d.index()].name.clone())).collect();
        for (&id, name) in &names {
            let exported =
                self.analysis.new.data[id.index()].names.iter().any(|&s| self.analysis.new_image.symbol(s).exported);
            if exported {
                self.finding(
                    Severity::Refuse,
                    codes::GLOBAL_RESIZED,
                    name,
                    format!("`{name}` is exported: other modules hold its address"),
                );
            }
        }
        let reads = |t: &Target| matches!(t.data(), Some(d) if names.contains_key(&d));
        for (index, function) in self.analysis.new.functions.iter().enumerate() {
            let marks = |r: &CodeRef| self.analysis.new.means_mark(self.analysis.new_image, function, r);
            if function.refs.iter().any(|r| reads(&r.target) && !marks(r)) {
                let id = FuncId::from(index);
                match self.binder.old_func(id) {
                    Some(old) => self.replace(old, id, Cause::Reader),
                    None => self.add(id),
                }
            }
        }
        for (index, datum) in self.analysis.new.data.iter().enumerate() {
            let id = DataId::from(index);
            if self.binder.moved.contains(&id) || !datum.refs.iter().any(|r| reads(&r.target)) {
                continue;
            }
            let Some(old) = self.binder.old_data(id) else { continue };
            if matches!(datum.section, SectionKind::Data | SectionKind::Bss) {
                let name = datum.name.clone();
                self.finding(
                    Severity::Start,
                    codes::POINTER_TABLE,
                    &name,
                    format!("live data `{name}` point to an object that changed its size"),
                );
            }
            self.edit(old, id);
        }
    }

    /// `editable` gives the edits of a function that is rather edited than replaced.
    fn seed_functions(&mut self, editable: &dyn Fn(&'a FuncChange) -> Option<&'a [CodeEdit]>) {
        // A line number alone, proven to be one, is no reason to touch a function (C14).
        let left = self.analysis.left;
        let changed = self.analysis.changes.changed.iter();
        for change in changed.filter(|c| c.cause != Cause::LineNumber && !left.contains(&c.new)) {
            match editable(change).filter(|_| !self.set.functions.contains_key(&change.new)) {
                Some(edits) => self.set.in_place.push(InPlace {
                    old: change.old,
                    new: change.new,
                    cause: change.cause,
                    edits: edits.to_vec(),
                }),
                None => self.replace(change.old, change.new, change.cause),
            }
        }
    }

    fn seed_holders(&mut self, holders: &[(FuncId, FuncId)]) {
        for &(old, new) in holders {
            self.replace(old, new, Cause::Holder);
        }
    }

    fn edit(&mut self, old: DataId, new: DataId) {
        if self.edited.insert(new) {
            self.set.edits.push(Edit { old, new });
            self.todo_data.push(new);
        }
    }

    fn replace(&mut self, old: FuncId, new: FuncId, cause: Cause) {
        if self.analysis.left.contains(&new) {
            return;
        }
        if let std::collections::btree_map::Entry::Vacant(e) = self.set.functions.entry(new) {
            e.insert(Role::Replaces(old, cause));
            self.todo_funcs.push(new);
        }
    }

    fn add(&mut self, new: FuncId) {
        if let std::collections::btree_map::Entry::Vacant(e) = self.set.functions.entry(new) {
            e.insert(Role::New);
            self.todo_funcs.push(new);
        }
    }

    /// Brings along what a place stands for.
    fn take(&mut self, place: &Place) {
        match place {
            Place::Func { func, .. } => self.add(*func),
            Place::Data { data, .. } => {
                if self.set.data.insert(*data) {
                    self.todo_data.push(*data);
                }
            }
            Place::Stub(import) => {
                self.set.stubs.insert(*import);
                self.set.slots.insert(SlotKey::Import(*import, 0));
            }
            Place::Slot(key) | Place::Loaded(key) => {
                if self.set.slots.insert(key.clone()) {
                    match key {
                        SlotKey::Address(place) => self.take(place),
                        SlotKey::NewThread { data, .. } => self.take(&Place::Data { data: *data, offset: 0 }),
                        _ => {}
                    }
                }
            }
            Place::Old(_) | Place::Import(_) | Place::Number(_) | Place::Plain => {}
        }
    }

    fn visit_function(&mut self, id: FuncId) {
        let function = &self.analysis.new.functions[id.index()];
        if function.opaque {
            let message = format!("`{}` has no known extent or several entries, and changed", function.name);
            self.finding(Severity::Refuse, codes::OPAQUE_CHANGED, &function.name, message);
            return;
        }
        let right = |u: &&Unprovable| u.number && self.binder.counterparts.threads_stay();
        let unproven: Vec<_> = function.unprovable.iter().filter(|u| !right(u)).collect();
        self.set.references.refused += unproven.len();
        for u in unproven {
            self.finding(
                Severity::Refuse,
                Code(u.code),
                &function.name,
                format!("`{}` at {}: {}", function.name, u.at, u.what),
            );
        }
        for reference in &function.refs {
            match reference.target {
                Target::Table(_) => self.set.references.proven += 1,
                _ => self.visit_reference(id, reference),
            }
        }
        for part in 0..function.parts.len() {
            self.visit_unwind(id, u8::try_from(part).unwrap_or(u8::MAX));
        }
    }

    fn visit_unwind(&mut self, id: FuncId, part: u8) {
        match unwind_of(self.analysis, self.binder, id, part) {
            Ok(None) => {}
            Ok(Some(unwind)) => {
                let types = unwind.lsda.iter().flat_map(|l| &l.types).map(|(_, key)| key);
                for key in types.chain(&unwind.cie.personality) {
                    self.take(&Place::Slot(key.clone()));
                }
            }
            Err(Unbound { code, what }) => {
                let name = &self.analysis.new.functions[id.index()].name;
                self.finding(Severity::Refuse, code, name, format!("`{name}` has {what}"));
            }
        }
    }

    fn visit_reference(&mut self, id: FuncId, reference: &CodeRef) {
        match self.binder.bind_reference(reference, id) {
            Ok(place) => {
                self.set.references.proven += 1;
                self.take(&place);
                for data in self.binder.companions(reference) {
                    self.take(&Place::Data { data, offset: 0 });
                }
            }
            Err(Unbound { code, what }) => {
                self.set.references.refused += 1;
                self.stragglers.extend(self.binder.stragglers(reference, self.held));
                let function = &self.analysis.new.functions[id.index()];
                let at = function.parts[usize::from(reference.part)].start.plus(u64::from(reference.insn));
                self.finding(
                    Severity::Refuse,
                    code,
                    &function.name,
                    format!("`{}` at {at} refers to {what}", function.name),
                );
            }
        }
    }

    fn visit_data(&mut self, id: DataId) {
        let datum = &self.analysis.new.data[id.index()];
        let name = if datum.name.is_empty() { format!("data at {}", datum.range.start) } else { datum.name.clone() };
        if let Some(word) = datum.ambiguous.first() {
            let message = format!("`{name}` holds a word at +0x{:x} that may be an address or a number", word.at);
            self.finding(Severity::Refuse, codes::AMBIGUOUS_WORD, &name, message);
        }
        if datum.open {
            let message = format!("`{name}` has no symbol and no bound: how much of it to carry can't be told");
            self.finding(Severity::Refuse, codes::UNKNOWN_ADDRESS, &name, message);
        }
        for reference in &datum.refs {
            // A table of labels is data of the function that it leads into: its entries lead into the carried code.
            let inside = inside_of(&reference.target).filter(|f| self.set.functions.contains_key(f));
            match self.binder.bind_word(&reference.target, inside) {
                Ok((place, _)) => self.take(&place),
                Err(Unbound { code, what }) => {
                    let message = format!("`{}` + 0x{:x} points to {what}", datum.name, reference.at);
                    self.finding(Severity::Refuse, code, &datum.name, message);
                }
            }
        }
    }
}
