//! Everything known of one function in both builds: what `patchgen explain FUNCTION` prints.

use super::Reasons;
use crate::addr::{FuncId, Svma};
use crate::compare::{FuncChange, text};
use crate::correlate::{Side, Why};
use crate::image::ImageError;
use crate::include::{Binder, Place, SlotKey};
use crate::lift::{Function, Insn};
use crate::pipeline::{Compared, Opened, Plan};
use crate::types::holders;
use patchfmt::codes::Code;
use serde::Serialize;
use std::collections::BTreeSet;

/// Instructions that are shown around a difference.
const CONTEXT: usize = 2;
/// The table of the longest common subsequence has at most so many fields; beyond, the differing middles are set side by side.
const TABLE: usize = 4_000_000;

/// One build's side.
#[derive(Debug, Serialize)]
pub struct Build {
    pub names: Vec<String>,
    pub unit: Option<String>,
    /// `[start, end)` of each part, svma.
    pub parts: Vec<[String; 2]>,
    /// In bytes.
    pub size: u64,
    pub instructions: usize,
    pub jump_tables: usize,
    /// Why it couldn't be carried.
    pub unprovable: Vec<String>,
}

/// One line of the two instruction lists set side by side; None where one has nothing there.
#[derive(Debug, Serialize)]
pub struct Row {
    pub old: Option<String>,
    pub new: Option<String>,
    pub differs: bool,
}

#[derive(Debug, Serialize)]
pub struct Hunk {
    pub old_line: Option<String>,
    pub new_line: Option<String>,
    pub rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
pub struct Reference {
    /// Address of the instruction in the new build.
    pub at: String,
    pub to: String,
    /// Where it leads in the patched process, or the code that says why that isn't known. None in functions that stay.
    pub bound: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Explained {
    pub schema: &'static str,
    pub name: String,
    pub old: Option<Build>,
    pub new: Option<Build>,
    /// Why the two are one function.
    pub paired: Option<&'static str>,
    pub cause: Option<&'static str>,
    pub note: Option<String>,
    /// What becomes of it.
    pub fate: String,
    pub differences: Vec<Hunk>,
    pub references: Vec<Reference>,
    /// Types that changed, of which it holds or points to values.
    pub types: Vec<String>,
    pub findings: Vec<String>,
}

fn why(w: Why) -> &'static str {
    match w {
        Why::GlobalName => "the same global name",
        Why::LocalName => "the same name in the same unit",
        Why::Stem => "the same name without what the compiler numbers, in the same unit",
        Why::Order => "several of one name, told apart by order and content",
        Why::Content => "the only one with this content",
        Why::Likeness => "several of one name, the most similar ones",
        Why::Scope => "the only one of its name in its scope",
        Why::Use => "the same places in code that is the same otherwise",
    }
}

fn named(build: &Opened<'_>, name: &str) -> Vec<FuncId> {
    let functions = build.lifted.functions.iter().enumerate();
    let is = |f: &Function| text::function(f) == name || f.names.iter().any(|&s| build.image.symbol(s).name == name);
    functions.filter(|(_, f)| is(f)).map(|(i, _)| FuncId::from(i)).collect()
}

/// A function of one build or both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    Pair(FuncId, FuncId),
    OnlyOld(FuncId),
    OnlyNew(FuncId),
}

impl Subject {
    fn in_old(self) -> Option<FuncId> {
        match self {
            Subject::Pair(old, _) | Subject::OnlyOld(old) => Some(old),
            Subject::OnlyNew(_) => None,
        }
    }

    fn in_new(self) -> Option<FuncId> {
        match self {
            Subject::Pair(_, new) | Subject::OnlyNew(new) => Some(new),
            Subject::OnlyOld(_) => None,
        }
    }

    fn name(self, c: &Compared<'_>) -> String {
        match self {
            Subject::Pair(_, new) | Subject::OnlyNew(new) => text::function(&c.new.lifted.functions[new.index()]),
            Subject::OnlyOld(old) => text::function(&c.old.lifted.functions[old.index()]),
        }
    }
}

/// The functions of that name: pairs, and those that only one build has.
pub fn find(c: &Compared<'_>, name: &str) -> Vec<Subject> {
    let mut found: BTreeSet<Subject> = BTreeSet::new();
    found.extend(named(&c.new, name).into_iter().map(|n| match c.pairs.func_to_old[n.index()] {
        Some(p) => Subject::Pair(p.old, n),
        None => Subject::OnlyNew(n),
    }));
    found.extend(named(&c.old, name).into_iter().map(|o| match c.pairs.func_to_new[o.index()] {
        Some(p) => Subject::Pair(o, p.new),
        None => Subject::OnlyOld(o),
    }));
    found.into_iter().collect()
}

fn side<'d>(build: &Opened<'d>) -> Side<'d> {
    Side { image: build.image, lifted: build.lifted }
}

fn build(l: &Opened<'_>, id: FuncId) -> Build {
    let f = &l.lifted.functions[id.index()];
    Build {
        names: f.names.iter().map(|&s| l.image.symbol(s).name.clone()).collect(),
        unit: f.unit.as_deref().map(str::to_owned),
        parts: f.parts.iter().map(|p| [p.start.to_string(), p.end.to_string()]).collect(),
        size: f.parts.iter().map(|p| p.size()).sum(),
        instructions: f.insns.len(),
        jump_tables: f.tables.len(),
        unprovable: f.unprovable.iter().map(|u| format!("{} at {}: {}", Code(u.code), u.at, u.what)).collect(),
    }
}

/// # Errors
/// When debug information is damaged.
pub fn explain(c: &Compared<'_>, plan: &Plan, subject: Subject) -> Result<Explained, ImageError> {
    let (old, new) = (subject.in_old(), subject.in_new());
    let change = new.and_then(|n| c.changes.changed.iter().find(|f| f.new == n));
    let reasons = Reasons::new(c, change.as_slice())?;
    let reason = change.map(|f| reasons.of(f)).transpose()?;
    let name = subject.name(c);
    Ok(Explained {
        schema: "hpatch.explain/1",
        old: old.map(|id| build(&c.old, id)),
        new: new.map(|id| build(&c.new, id)),
        paired: new.and_then(|n| c.pairs.func_to_old[n.index()]).map(|p| why(p.why)),
        cause: reason.as_ref().map(|r| r.cause),
        note: reason.and_then(|r| r.note),
        fate: fate(plan, (old, new), change),
        differences: match subject {
            Subject::Pair(o, n) if change.is_some() => differences(c, &reasons, o, n),
            _ => Vec::new(),
        },
        references: new.map(|n| references(c, plan, n)).unwrap_or_default(),
        types: types(c, &name)?,
        findings: plan
            .findings
            .iter()
            .filter(|f| f.symbol == name)
            .map(|f| format!("{}: {}", Code(f.code), f.message))
            .collect(),
        name,
    })
}

fn fate(plan: &Plan, (old, new): (Option<FuncId>, Option<FuncId>), change: Option<&FuncChange>) -> String {
    let Some(new) = new else { return "gone from the new build; the old code stays callable".to_owned() };
    let edits = plan.set.in_place.iter().find(|f| f.new == new);
    let idle = plan.set.idle.iter().any(|f| Some(f.old) == old);
    match (plan.set.functions.contains_key(&new), edits, old, change) {
        (true, _, Some(_), _) => "replaced by a new body".to_owned(),
        (true, _, None, _) => "new: carried".to_owned(),
        (_, Some(f), _, _) => {
            format!("edited in place, {} edit{}", f.edits.len(), if f.edits.len() == 1 { "" } else { "s" })
        }
        _ if idle => "stays; must be idle when the patch is applied or reverted".to_owned(),
        (_, _, None, _) => "new, but nothing that is carried refers to it".to_owned(),
        (_, _, _, None) => "stays: proven equal".to_owned(),
        (_, _, _, Some(_)) => "stays: only line numbers differ".to_owned(),
    }
}

/// One instruction, ready to be compared: its text, and a key in which places of the function itself don't count.
struct Line {
    at: Svma,
    text: String,
    key: String,
}

fn lines(side: Side<'_>, f: &Function) -> Vec<Line> {
    let line = |i: &Insn| {
        let text = text::instruction(side, f, i);
        let key =
            if i.local().is_some() { text.split(' ').next().unwrap_or_default().to_owned() } else { text.clone() };
        Line { at: f.parts[usize::from(i.part)].start.plus(u64::from(i.offset)), text, key }
    };
    f.insns.iter().filter(|i| !i.is_nop()).map(line).collect()
}

/// Pairs of indices into both lists, in order; None: only in the other.
fn align(a: &[Line], b: &[Line]) -> Vec<(Option<usize>, Option<usize>)> {
    let same = |i: usize, j: usize| a[i].key == b[j].key;
    let shortest = a.len().min(b.len());
    let head = (0..shortest).take_while(|&i| same(i, i)).count();
    let tail = (0..shortest - head).take_while(|&i| same(a.len() - 1 - i, b.len() - 1 - i)).count();
    let (n, m) = (a.len() - head - tail, b.len() - head - tail);
    let mut out: Vec<(Option<usize>, Option<usize>)> = (0..head).map(|i| (Some(i), Some(i))).collect();
    if n.saturating_mul(m) > TABLE {
        out.extend((0..n.max(m)).map(|i| ((i < n).then_some(head + i), (i < m).then_some(head + i))));
    } else {
        // Length of the longest common subsequence of the rests from (i, j) on.
        let mut best = vec![0u32; (n + 1) * (m + 1)];
        for i in (0..n).rev() {
            for j in (0..m).rev() {
                best[i * (m + 1) + j] = if same(head + i, head + j) {
                    best[(i + 1) * (m + 1) + j + 1] + 1
                } else {
                    best[(i + 1) * (m + 1) + j].max(best[i * (m + 1) + j + 1])
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < n || j < m {
            if i < n && j < m && same(head + i, head + j) {
                out.push((Some(head + i), Some(head + j)));
                (i, j) = (i + 1, j + 1);
            } else if j == m || (i < n && best[(i + 1) * (m + 1) + j] >= best[i * (m + 1) + j + 1]) {
                out.push((Some(head + i), None));
                i += 1;
            } else {
                out.push((None, Some(head + j)));
                j += 1;
            }
        }
    }
    out.extend((0..tail).rev().map(|i| (Some(a.len() - 1 - i), Some(b.len() - 1 - i))));
    side_by_side(out)
}

/// Sets what only the old build has beside what only the new one has.
fn side_by_side(list: Vec<(Option<usize>, Option<usize>)>) -> Vec<(Option<usize>, Option<usize>)> {
    let mut out = Vec::with_capacity(list.len());
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let flush = |gone: &mut Vec<usize>, come: &mut Vec<usize>, out: &mut Vec<_>| {
        for i in 0..gone.len().max(come.len()) {
            out.push((gone.get(i).copied(), come.get(i).copied()));
        }
        gone.clear();
        come.clear();
    };
    for pair in list {
        match pair {
            (Some(i), None) => gone.push(i),
            (None, Some(j)) => come.push(j),
            both => {
                flush(&mut gone, &mut come, &mut out);
                out.push(both);
            }
        }
    }
    flush(&mut gone, &mut come, &mut out);
    out
}

fn differences(c: &Compared<'_>, reasons: &Reasons<'_, '_>, old: FuncId, new: FuncId) -> Vec<Hunk> {
    let a = lines(side(&c.old), &c.old.lifted.functions[old.index()]);
    let b = lines(side(&c.new), &c.new.lifted.functions[new.index()]);
    let pairs = align(&a, &b);
    let differs = |p: &(Option<usize>, Option<usize>)| match *p {
        (Some(i), Some(j)) => a[i].key != b[j].key,
        _ => true,
    };
    let changed: Vec<usize> = (0..pairs.len()).filter(|&i| differs(&pairs[i])).collect();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &at in &changed {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(pairs.len()));
        match ranges.last_mut() {
            Some((_, end)) if from <= *end => *end = to,
            _ => ranges.push((from, to)),
        }
    }
    let shown = |l: &[Line], i: Option<usize>| i.map(|i| format!("{} {}", l[i].at, l[i].text));
    ranges
        .into_iter()
        .map(|(from, to)| {
            let first = pairs[from..to].iter().filter(|p| differs(p));
            let (x, y) = first.fold((None, None), |(x, y), p| (x.or(p.0), y.or(p.1)));
            Hunk {
                old_line: x.and_then(|i| reasons.old_line(a[i].at)),
                new_line: y.and_then(|i| reasons.new_line(b[i].at)),
                rows: pairs[from..to]
                    .iter()
                    .map(|p| Row { old: shown(&a, p.0), new: shown(&b, p.1), differs: differs(p) })
                    .collect(),
            }
        })
        .collect()
}

fn references(c: &Compared<'_>, plan: &Plan, id: FuncId) -> Vec<Reference> {
    let f = &c.new.lifted.functions[id.index()];
    let mut binder = Binder::new(c.analysis());
    binder.moved.clone_from(&plan.set.moved);
    let carried = plan.set.functions.contains_key(&id);
    f.refs
        .iter()
        .map(|r| Reference {
            at: f.parts[usize::from(r.part)].start.plus(u64::from(r.insn)).to_string(),
            to: text::target(side(&c.new), f, &r.target),
            bound: carried.then(|| match (&r.target, binder.bind_reference(r, id)) {
                (crate::lift::Target::Table(_), _) => "carried jump table".to_owned(),
                (_, Ok(place)) => bound(c, &place),
                (_, Err(unbound)) => format!("{}: {}", unbound.code, unbound.what),
            }),
        })
        .collect()
}

fn bound(c: &Compared<'_>, place: &Place) -> String {
    let (old, new) = (c.old.lifted, c.new.lifted);
    match place {
        Place::Old(at) => match old.func_at.get(at) {
            Some(f) => format!("old {at} ({})", text::function(&old.functions[f.index()])),
            None => format!("old {at}"),
        },
        Place::Func { func, .. } => format!("carried `{}`", text::function(&new.functions[func.index()])),
        Place::Data { data, .. } => {
            let d = &new.data[data.index()];
            if d.name.is_empty() { "carried constant".to_owned() } else { format!("carried `{}`", d.name) }
        }
        Place::Stub(import) => format!("stub of the patch to `{}`", c.new.image.import(*import).name),
        Place::Import(import) => format!("`{}` of another module", c.new.image.import(*import).name),
        Place::Slot(key) => format!("slot of the patch with {}", slot(c, key)),
        Place::Loaded(key) => format!("loaded from a slot of the patch with {}", slot(c, key)),
        Place::Number(n) => format!("the number {n}"),
        Place::Plain => "nothing: it is a number".to_owned(),
    }
}

/// What a slot of the patch holds.
pub(super) fn slot(c: &Compared<'_>, key: &SlotKey) -> String {
    match key {
        SlotKey::Import(import, _) => format!("`{}`", c.new.image.import(*import).name),
        SlotKey::Address(place) => bound(c, place),
        SlotKey::ThreadOffset { .. } => "a thread-local variable's offset".to_owned(),
        SlotKey::NewThread { data, .. } => {
            format!("what new code needs for the new thread-local `{}`", c.new.lifted.data[data.index()].name)
        }
        SlotKey::ThreadPair { .. } => "a thread-local variable's module and offset".to_owned(),
    }
}

/// Types with another layout that the function holds or points to values of.
fn types(c: &Compared<'_>, name: &str) -> Result<Vec<String>, ImageError> {
    let Some(types) = c.types.as_ref().filter(|t| !t.layouts.is_empty()) else { return Ok(Vec::new()) };
    let Some(info) = &c.new.debug else { return Ok(Vec::new()) };
    let names: BTreeSet<String> = types.layouts.iter().map(|l| l.name.clone()).collect();
    let found = holders(info, &names)?;
    let mine =
        |n: &str| n == name || n.strip_prefix(name).is_some_and(|rest| rest.starts_with("::") || rest.starts_with('('));
    let touched: BTreeSet<String> =
        found.locals.into_iter().chain(found.pointers).filter(|h| mine(&h.name)).map(|h| h.ty).collect();
    let described = types.layouts.iter().filter(|l| touched.contains(&l.name));
    Ok(described.map(|l| format!("{} {}: {}", l.new_kind.word(), l.name, l.detail)).collect())
}
