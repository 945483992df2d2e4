//! An independent check of a finished bundle: what the patched process would run is the new image.
//!
//! Written against goblin and capstone only. It shares no code with the phases that made the bundle (`image`, `lift`, `compare`, `include`,
//! `link`, `emit`), so that no mistake of theirs hides itself: the old image is loaded into simulated memory, the payload is laid out and
//! relocated beside it, and every function of the new image is walked in step with what the process runs under its name.

mod decode;
mod image;
mod names;
mod process;
mod prover;
mod report;
mod rust;
mod walk;
mod world;

pub use report::{Disagreement, Report, Unresolved};

use decode::{Decoder, Operand};
use names::Match;
use prover::Prover;
use regex::bytes::Regex;
use rust::Texts;
use std::collections::{BTreeSet, HashMap, HashSet};
use walk::Walk;
use world::{Slot, World};

/// The files, read.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub old: &'a [u8],
    pub new: &'a [u8],
    pub old_debug: Option<&'a [u8]>,
    pub new_debug: Option<&'a [u8]>,
    /// The payload object of the module.
    pub payload: &'a [u8],
    /// Functions that the bundle says stay old.
    pub left: &'a [String],
    /// Patterns of what texts may differ in, as the bundle says.
    pub stamps: &'a [String],
}

/// The GNU build-id of an image.
#[must_use]
pub fn build_id(image: &[u8]) -> Option<Vec<u8>> {
    image::build_id(image)
}

/// Compares the patched process with the new image.
///
/// # Errors
/// What is wrong with a file.
pub fn check(inputs: &Inputs<'_>) -> Result<Report, String> {
    let decoder = Decoder::new()?;
    let mut process = image::read(inputs.old, inputs.old_debug, &decoder).map_err(|e| format!("old image: {e}"))?;
    let new = image::read(inputs.new, inputs.new_debug, &decoder).map_err(|e| format!("new image: {e}"))?;
    process::apply(&mut process, inputs.payload)?;
    let mut prover = Prover::new(&process, &new, &decoder, stamps(inputs.stamps)?);
    scan(&mut prover);
    let mut checker = Checker {
        by_stem: by_stem(&process),
        prover,
        report: Report::default(),
        reached: HashSet::new(),
        left: inputs.left,
    };
    checker.functions();
    checker.pending();
    checker.report.references = checker.prover.references;
    checker.report.stamped = checker.prover.stamped.into_iter().collect();
    Ok(checker.report)
}

fn stamps(patterns: &[String]) -> Result<Vec<Regex>, String> {
    patterns.iter().map(|p| Regex::new(p).map_err(|e| e.to_string())).collect()
}

/// Decodes the new image once: where instructions begin, and what they refer to.
fn scan(prover: &mut Prover<'_>) {
    let n = prover.n;
    // A linker merges a text with a name into the tail of one without: that goes on past the name.
    let merged = |o: &&world::Object| {
        let text = n.bytes(o.start, o.size).and_then(|b| b.split_last());
        let behind = o.start.checked_sub(1).and_then(|at| n.bytes(at, 1)).is_some_and(|b| b[0] != 0);
        behind && !n.writable(o.start) && text.is_some_and(|(last, text)| *last == 0 && !text.contains(&0))
    };
    let objects = n.objects.iter().filter(|o| !merged(o));
    let mut cuts: BTreeSet<u64> = objects.flat_map(|o| [o.start, o.end()]).collect();
    cuts.extend(n.sections.iter().flat_map(|s| [s.start, s.end]));
    cuts.extend(n.slots.values().filter_map(|s| if let Slot::Addr(to) = s { Some(*to) } else { None }));
    let mut starts = HashSet::new();
    let mut texts = Texts::default();
    for (&start, function) in &n.functions {
        let mut at = start;
        let mut insns = Vec::new();
        while at < start + function.size {
            let Some(insn) = prover.decoder.decode(n, at) else { break };
            starts.insert(at);
            for operand in &insn.operands {
                match operand {
                    Operand::Mem { disp, .. } if insn.rip_relative() => {
                        cuts.insert(insn.end().wrapping_add_signed(*disp));
                    }
                    Operand::Mem { disp: value, .. } | Operand::Imm(value) if n.fixed && n.mapped(*value as u64) => {
                        cuts.insert(*value as u64);
                    }
                    _ => {}
                }
            }
            at = insn.end();
            insns.push(insn);
        }
        texts.function(&insns);
    }
    let tables = texts.looked_up(n, &cuts);
    prover.looked_up = tables.values().flatten().copied().collect();
    prover.tables = tables.into_iter().map(|(table, targets)| (table, 4 * targets.len() as u64)).collect();
    cuts.extend(&prover.looked_up);
    prover.rust = rust::is_there(n);
    if prover.rust {
        prover.texts = texts.ends(n, &cuts);
    }
    (prover.starts, prover.cuts) = (starts, cuts);
}

fn by_stem(process: &World) -> HashMap<String, Vec<u64>> {
    let mut index: HashMap<String, Vec<u64>> = HashMap::new();
    for (&at, function) in &process.functions {
        for name in &function.names {
            index.entry(names::stem(&name.name).into_owned()).or_default().push(at);
        }
    }
    index
}

struct Checker<'a> {
    prover: Prover<'a>,
    /// Functions of the process.
    by_stem: HashMap<String, Vec<u64>>,
    report: Report,
    /// Instructions of the new image that were walked.
    reached: HashSet<u64>,
    left: &'a [String],
}

impl Checker<'_> {
    fn functions(&mut self) {
        let new = self.prover.n;
        let (parts, whole): (Vec<_>, Vec<_>) = new.functions.iter().partition(|(_, f)| names::is_part(&f.names));
        for (&at, function) in whole.into_iter().chain(parts) {
            if new.section(at).is_none_or(|s| s.is_plt()) {
                continue;
            }
            if names::is_part(&function.names) && self.reached.contains(&at) {
                self.report.parts += 1;
                continue;
            }
            self.function(at);
        }
    }

    /// What runs under the name of the new image's function, best match first.
    fn candidates(&self, at: u64) -> Vec<u64> {
        let (p, n) = (self.prover.p, self.prover.n);
        let function = &n.functions[&at];
        let mut found: Vec<(Match, bool, u64)> = Vec::new();
        for name in &function.names {
            for &candidate in self.by_stem.get(names::stem(&name.name).as_ref()).into_iter().flatten() {
                let names = &p.functions[&candidate].names;
                let unit = names.iter().any(|a| a.name == name.name && a.file == name.file);
                if let Some(how) = names::best(names, std::slice::from_ref(name)) {
                    found.push((how, unit, p.arrival(candidate)));
                }
            }
        }
        found.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)).then(a.2.cmp(&b.2)));
        // A name that is there is not replaced by one that is only like it.
        let best = found.first().map(|f| f.0).filter(|how| *how == Match::Exact);
        let mut seen = HashSet::new();
        found.into_iter().filter(|f| best.is_none_or(|b| f.0 == b) && seen.insert(f.2)).map(|f| f.2).collect()
    }

    fn function(&mut self, at: u64) {
        let name = self.prover.n.describe(at);
        let mut failed: Option<(u64, Walk)> = None;
        let candidates = self.candidates(at);
        let several = candidates.len() > 1;
        for p in candidates {
            let before = (self.prover.pending_code.len(), self.prover.pending_data.len());
            let walk = walk::walk(&mut self.prover, p, at);
            let right = walk.wrong().next().is_none();
            let deeper = if right && several { self.deeper(before.0) } else { None };
            if right && deeper.is_none() {
                self.prover.commit();
                self.count(&name, p, at, walk);
                return;
            }
            self.prover.roll_back(before);
            failed.get_or_insert(deeper.unwrap_or((p, walk)));
        }
        match failed {
            Some(_) if self.left(at) => self.report.left.push(name),
            Some((p, walk)) => self.report.disagree(&name, p, at, walk.wrong()),
            None => self.report.unresolved.push(Unresolved { name, address: at }),
        }
    }

    /// What is wrong with code that a walk left for later, from the queue's entry `next` on: it may tell candidates apart that are alike themselves.
    fn deeper(&mut self, mut next: usize) -> Option<(u64, Walk)> {
        while let Some(&(p, n)) = self.prover.pending_code.get(next) {
            let walk = walk::walk(&mut self.prover, p, n);
            if walk.wrong().next().is_some() {
                return Some((p, walk));
            }
            next += 1;
        }
        None
    }

    fn left(&self, at: u64) -> bool {
        self.prover.n.functions[&at].names.iter().any(|n| self.left.contains(&n.name))
    }

    fn count(&mut self, name: &str, p: u64, n: u64, walk: Walk) {
        self.reached.extend(walk.reached);
        if p >= self.prover.p.payload {
            self.report.carried += 1;
        } else if self.prover.p.edited.contains(&p) {
            // All of its numbers are the new ones, line numbers too.
            match walk.differences.is_empty() {
                true => self.report.edited += 1,
                false => self.report.disagree(name, p, n, walk.differences.iter()),
            }
        } else if walk.differences.is_empty() {
            self.report.kept += 1;
        } else {
            self.report.line += 1;
            self.report.line_only.push(name.to_owned());
        }
    }

    /// Code and constants that were referred to and are not proven by name.
    fn pending(&mut self) {
        loop {
            if let Some((p, n)) = self.prover.pending_code.pop_front() {
                let walk = walk::walk(&mut self.prover, p, n);
                self.prover.commit();
                if walk.wrong().next().is_some() {
                    let name = self.prover.n.describe(n);
                    self.report.disagree(&name, p, n, walk.wrong());
                }
            } else if let Some((p, n, size)) = self.prover.pending_data.pop_front() {
                self.report.constants += 1;
                let compared = self.prover.constant(p, n, size);
                self.prover.commit();
                if let Err(what) = compared {
                    let name = self.prover.n.describe(n);
                    self.report.disagree_data(&name, p, n, what);
                }
            } else {
                return;
            }
        }
    }
}
