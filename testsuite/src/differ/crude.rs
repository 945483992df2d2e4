//! The crude differ: functions paired by name, bodies compared with PC-relative operands masked.

use super::body::{Body, Line, numbers};
use super::build::{Build, Symbol};
use super::lines;
use crate::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// What the crude differ says of two bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// Equal after masking, but a masked operand means something else.
    Retargeted(String),
    Differs {
        /// The same instructions and registers: only numbers differ.
        operands_only: bool,
        /// Of these, the immediates.
        immediates: Vec<(u64, u64)>,
        displacements: bool,
    },
}

/// Two bodies that share a name.
#[derive(Debug, Clone)]
pub struct Pair {
    pub old: u64,
    pub new: u64,
    pub names: Vec<String>,
    pub verdict: Verdict,
    /// Only immediates differ, and each is a line of the source of its function, in both builds.
    pub only_lines: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Names that stand for one function in each build.
    pub names: usize,
    pub only_old: usize,
    pub only_new: usize,
    /// Names that stand for several functions in a build.
    pub several: usize,
    /// Of these, where the bodies differ as a whole.
    pub several_differ: usize,
    pub identical: usize,
    pub masked: usize,
    /// At fixed addresses: equal only with addresses in the image masked as well.
    pub absolute: usize,
    pub differing_names: usize,
    pub differing_bodies: usize,
    /// Names whose bodies differ in numbers only.
    pub operands_only: usize,
    /// Bodies that differ in line numbers only.
    pub only_lines: usize,
    pub retargeted: usize,
}

#[derive(Debug)]
pub struct Crude {
    pub figures: Figures,
    /// By address in the new build.
    pub pairs: Vec<Pair>,
    /// Addresses in the new build of names that stand for several functions.
    pub several: BTreeSet<u64>,
    /// Addresses in the new build of names that the old one doesn't have.
    pub only_new: BTreeSet<u64>,
}

impl Crude {
    pub fn compare(old: &Build, new: &Build) -> Crude {
        let (was, is) = (old.functions(), new.functions());
        let mut figures = Figures {
            only_old: was.keys().filter(|name| !is.contains_key(*name)).count(),
            only_new: is.keys().filter(|name| !was.contains_key(*name)).count(),
            ..Figures::default()
        };
        let mut bodies: BTreeMap<(u64, u64), Pair> = BTreeMap::new();
        let (mut several, mut only_new) = (BTreeSet::new(), BTreeSet::new());
        for (name, here) in &is {
            let Some(there) = was.get(name) else {
                only_new.extend(here.iter().map(|s| s.at));
                continue;
            };
            let (&[a], &[b]) = (there.as_slice(), here.as_slice()) else {
                several.extend(here.iter().map(|s| s.at));
                figures.several += 1;
                figures.several_differ += usize::from(multiset(old, there) != multiset(new, here));
                continue;
            };
            figures.names += 1;
            let pair = bodies.entry((b.at, a.at)).or_insert_with(|| {
                let (kind, verdict) = verdict((old, a), (new, b));
                match kind {
                    Kind::Identical => figures.identical += 1,
                    Kind::Masked => figures.masked += 1,
                    Kind::Absolute => figures.absolute += 1,
                    Kind::Differs => figures.differing_bodies += 1,
                }
                Pair { old: a.at, new: b.at, names: Vec::new(), verdict, only_lines: false }
            });
            pair.names.push((*name).to_owned());
            match &pair.verdict {
                Verdict::Same => {}
                Verdict::Retargeted(_) => figures.retargeted += 1,
                Verdict::Differs { operands_only, .. } => {
                    figures.differing_names += 1;
                    figures.operands_only += usize::from(*operands_only);
                }
            }
        }
        Crude { figures, pairs: bodies.into_values().collect(), several, only_new }
    }
}

impl Crude {
    /// Looks up which bodies differ in line numbers only.
    ///
    /// # Errors
    /// When the debug files have no lines that can be read.
    pub fn look_up_lines(&mut self, old: (&Build, &Path), new: (&Build, &Path)) -> Result<()> {
        let candidates: Vec<&mut Pair> =
            self.pairs.iter_mut().filter(|p| p.differs_in_immediates().is_some()).collect();
        let ranges = |build: &Build, starts: Vec<u64>| -> Vec<Range<u64>> {
            let size = |at: u64| build.holding(at).and_then(|(s, _)| s.iter().map(|s| s.size).max()).unwrap_or(0);
            starts.into_iter().map(|at| at..at + size(at)).collect()
        };
        let was = lines::read(old.1, &ranges(old.0, candidates.iter().map(|p| p.old).collect()))?;
        let is = lines::read(new.1, &ranges(new.0, candidates.iter().map(|p| p.new).collect()))?;
        for pair in candidates {
            let line = |of: &BTreeMap<u64, BTreeSet<u64>>, at: u64, n: u64| of.get(&at).is_some_and(|l| l.contains(&n));
            let numbers = pair.differs_in_immediates().unwrap_or_default();
            pair.only_lines = numbers.iter().all(|&(p, q)| line(&was, pair.old, p) && line(&is, pair.new, q));
            self.figures.only_lines += usize::from(pair.only_lines);
        }
        Ok(())
    }
}

impl Pair {
    /// The immediates, where nothing else differs.
    fn differs_in_immediates(&self) -> Option<&[(u64, u64)]> {
        match &self.verdict {
            Verdict::Differs { operands_only: true, immediates, displacements: false } if !immediates.is_empty() => {
                Some(immediates)
            }
            _ => None,
        }
    }
}

fn multiset(build: &Build, symbols: &[&Symbol]) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = symbols.iter().map(|s| Body::read(build, s).masked(build.fixed)).collect();
    all.sort();
    all
}

enum Kind {
    Identical,
    Masked,
    Absolute,
    Differs,
}

fn verdict((old, a): (&Build, &Symbol), (new, b): (&Build, &Symbol)) -> (Kind, Verdict) {
    let (x, y) = (Body::read(old, a), Body::read(new, b));
    let bytes = |build: &Build, s: &Symbol| build.bytes_up_to(s.at, s.size as usize).to_vec();
    let equal = |absolute: bool| !x.undecoded && !y.undecoded && x.masked(absolute) == y.masked(absolute);
    let kind = if bytes(old, a) == bytes(new, b) {
        Kind::Identical
    } else if equal(false) {
        Kind::Masked
    } else if old.fixed && new.fixed && equal(true) {
        Kind::Absolute
    } else {
        return (Kind::Differs, differs(&x, &y));
    };
    let moved = retargeted((old, &x), (new, &y));
    (kind, moved.map_or(Verdict::Same, Verdict::Retargeted))
}

fn differs(x: &Body, y: &Body) -> Verdict {
    let (a, b) = (&x.lines, &y.lines);
    let alike = a.len() == b.len() && !x.undecoded && !y.undecoded;
    let found: Option<Vec<_>> = alike.then(|| a.iter().zip(b).map(|(a, b)| numbers(a, b)).collect()).flatten();
    let all = found.as_deref().unwrap_or_default();
    Verdict::Differs {
        operands_only: found.is_some(),
        immediates: all.iter().flat_map(|n| n.immediates.iter().copied()).collect(),
        displacements: all.iter().any(|n| n.displacements),
    }
}

/// The first operand of two bodies that are equal after masking which leads to symbols of other names, or elsewhere in them.
fn retargeted((old, x): (&Build, &Body), (new, y): (&Build, &Body)) -> Option<String> {
    x.lines.iter().zip(&y.lines).find_map(|(a, b)| {
        a.references.iter().zip(&b.references).find_map(|(r, s)| {
            if x.range.contains(&r.target) && y.range.contains(&s.target) {
                let differ = r.target - x.range.start != s.target - y.range.start;
                return differ.then(|| at(a, b, "another place of its own"));
            }
            let (p, q) = (old.holding(r.target)?, new.holding(s.target)?);
            let common = p.1 == q.1 && p.0.iter().any(|s| q.0.iter().any(|t| s.name == t.name));
            let say = |(symbols, offset): &(Vec<&Symbol>, u64)| match symbols.first() {
                Some(s) => format!("{}+{offset:#x}", s.name),
                None => String::new(),
            };
            (!common).then(|| at(a, b, &format!("{} -> {}", say(&p), say(&q))))
        })
    })
}

fn at(a: &Line, b: &Line, what: &str) -> String {
    format!("{:#x} -> {:#x}: {what}", a.decoded.ip(), b.decoded.ip())
}
