//! Why two bodies mean the same although the crude differ says that they differ, and the other way about, by looking at the instructions.

use super::body::{Body, Line, Reference, numbers};
use super::build::{Build, Symbol};
use super::ours::Ours;
use iced_x86::{Mnemonic, OpKind, Register};
use std::collections::BTreeMap;

/// Old and new.
#[derive(Debug, Clone, Copy)]
pub struct Builds<'a> {
    pub old: &'a Build,
    pub new: &'a Build,
    pub ours: &'a Ours,
}

/// From here on a body is taken for another that changed.
const HALF: f64 = 0.5;

/// Bytes of nameless data that are looked at, where they are no text.
const LOOKED_AT: usize = 16;

impl Builds<'_> {
    fn bodies(&self, old: u64, new: u64) -> Option<(Body, Body)> {
        let function = |build: &Build, at: u64| {
            let (symbols, offset) = build.holding(at)?;
            let symbol = symbols.into_iter().find(|s| s.function && s.size > 0 && offset == 0)?;
            Some(Body::read(build, symbol))
        };
        Some((function(self.old, old)?, function(self.new, new)?))
    }

    /// Which share of their instructions two bodies have in common, addresses masked, whatever the order. None where one of them is no function's.
    pub fn alike(&self, old: u64, new: u64) -> Option<f64> {
        let (a, b) = self.bodies(old, new)?;
        let count = |body: &Body| {
            let mut lines: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
            body.working().into_iter().for_each(|line| *lines.entry(line.masked(true)).or_default() += 1);
            lines
        };
        let (x, y) = (count(&a), count(&b));
        let common: usize = x.iter().map(|(line, n)| *n.min(y.get(line).unwrap_or(&0))).sum();
        let most = x.values().sum::<usize>().max(y.values().sum());
        (most > 0).then(|| common as f64 / most as f64)
    }

    /// Whether a body is rather the one that we take it for than the one that has its name: at least as much like it, and half of it the same.
    ///
    /// # Errors
    /// Where it isn't, the shares.
    pub fn rather(&self, ours: Option<(u64, u64)>, named: (u64, u64)) -> Result<(), String> {
        let by_name = self.alike(named.0, named.1).unwrap_or(0.0);
        match ours.map(|(old, new)| (old, new, self.alike(old, new))) {
            Some((.., Some(share))) if share >= HALF && share >= by_name => Ok(()),
            Some((old, new, share)) => Err(format!(
                "taken for {old:#x} -> {new:#x}, {:.0} % the same; by name {:.0} %",
                100.0 * share.unwrap_or(0.0),
                100.0 * by_name
            )),
            None => Err("one of its parts has none in the other build".to_owned()),
        }
    }

    /// Why the bodies are the same after all: the same operations on the same registers, numbers and meanings of addresses.
    ///
    /// # Errors
    /// The first thing that really differs.
    pub fn same_after_all(&self, old: u64, new: u64) -> Result<&'static str, String> {
        let (a, b) = self.bodies(old, new).ok_or("no body")?;
        let (x, y) = (a.working(), b.working());
        if a.undecoded || b.undecoded {
            return Err("bytes that are no instructions".to_owned());
        }
        let mut class = "other filler, or longer forms of branches";
        for (p, q) in x.iter().zip(&y) {
            let differ =
                || Err(format!("{:#x} `{}` -> {:#x} `{}`", p.decoded.ip(), p.decoded, q.decoded.ip(), q.decoded));
            if same_label(p, q, self) {
                class = "the address is in a register where the linker relaxed a load";
                continue;
            }
            let Some(found) = numbers(p, q) else { return differ() };
            if p.references.len() != q.references.len() {
                return differ();
            }
            for (r, s) in p.references.iter().zip(&q.references) {
                if a.range.contains(&r.target) != b.range.contains(&s.target) {
                    return differ();
                }
                if a.range.contains(&r.target) {
                    if a.ordinal(r.target) != b.ordinal(s.target) {
                        return differ();
                    }
                } else if !self.same_target((p, r), (q, s)) {
                    return differ();
                }
            }
            let absolute = |line: &Line, number: u64| line.references.iter().any(|r| r.absolute && r.target == number);
            if found.immediates.iter().any(|&(i, j)| !absolute(p, i) || !absolute(q, j)) {
                return differ();
            }
            let displaced = |line: &Line| absolute(line, line.decoded.memory_displacement64());
            if found.displacements && !(displaced(p) && displaced(q)) {
                return differ();
            }
        }
        if x.len() != y.len() {
            return Err(format!("{} instructions -> {}", x.len(), y.len()));
        }
        if self.old.fixed && a.masked(true) == b.masked(true) {
            class = "only absolute addresses differ";
        }
        Ok(class)
    }

    /// Whether two addresses outside of their functions mean the same, as far as names, pairs and nameless bytes tell.
    fn same_target(&self, (p, r): (&Line, &Reference), (q, s): (&Line, &Reference)) -> bool {
        let read = read(p).filter(|read| read.target == r.target).zip(read(q).filter(|read| read.target == s.target));
        if let (Some(p), Some(q)) = (self.old.import(r.target), self.new.import(s.target)) {
            return p == q;
        }
        match (self.old.holding(r.target), self.new.holding(s.target)) {
            (Some(p), Some(q)) => {
                same_name(&p, &q)
                    || self.paired(r.target, s.target)
                    || self.same_place(r.target, s.target)
                    || self.same_object(&p, &q)
            }
            (None, None) => match read {
                Some((x, y)) => {
                    let bytes = |build: &Build, read: &Read| build.bytes_up_to(read.target, read.width).to_vec();
                    x.width == y.width && bytes(self.old, &x) == bytes(self.new, &y)
                }
                None => !self.nameless_differ(r.target, s.target),
            },
            _ => false,
        }
    }

    /// Whether two addresses are the same part of two functions that are taken for one another, and look like it.
    fn paired(&self, old: u64, new: u64) -> bool {
        let taken = self.ours.old_part(old).is_some_and(|part| self.ours.new_part(new) == Some(part));
        taken && self.alike(old, new).is_some_and(|share| share >= HALF)
    }

    /// Whether two addresses inside of functions of one name are their instructions of the same number, filler not counted.
    fn same_place(&self, old: u64, new: u64) -> bool {
        let place = |build: &Build, at: u64| {
            let (symbols, _) = build.holding(at)?;
            let symbol = symbols.into_iter().find(|s| s.function && s.size > 0)?;
            Some((symbol.name.clone(), Body::read(build, symbol).ordinal(at)?))
        };
        place(self.old, old).is_some_and(|p| place(self.new, new) == Some(p))
    }

    /// Whether two objects whose names differ in numbers have the same size and content: equal words, or addresses of the same texts or of
    /// things whose names differ in numbers at most.
    fn same_object(&self, (p, i): &(Vec<&Symbol>, u64), (q, j): &(Vec<&Symbol>, u64)) -> bool {
        let (Some(x), Some(y)) = (p.first(), q.first()) else { return false };
        let alike = |x: &[&Symbol], y: &[&Symbol]| x.iter().any(|x| y.iter().any(|y| stem(&x.name) == stem(&y.name)));
        if i != j || x.size != y.size || x.function || y.function || !alike(p, q) {
            return false;
        }
        let words = |build: &Build, s: &Symbol| -> Vec<u64> {
            let bytes = build.bytes_up_to(s.at, s.size as usize);
            bytes.chunks(8).map(|c| c.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))).collect()
        };
        let (a, b) = (words(self.old, x), words(self.new, y));
        a.len() == b.len()
            && a.iter().zip(&b).all(|(&v, &w)| {
                v == w
                    || match (self.old.holding(v), self.new.holding(w)) {
                        (Some((p, i)), Some((q, j))) => i == j && alike(&p, &q),
                        (None, None) => {
                            self.old.span.contains(&v) && self.new.span.contains(&w) && !self.nameless_differ(v, w)
                        }
                        _ => false,
                    }
            })
    }

    /// Why a reference doesn't mean something else although the names differ.
    ///
    /// # Errors
    /// The first one for which nothing says so.
    pub fn not_retargeted(&self, old: u64, new: u64) -> Result<&'static str, String> {
        let (a, b) = self.bodies(old, new).ok_or("no body")?;
        let mut class = "the same, once more";
        for (p, q) in a.lines.iter().zip(&b.lines) {
            for (r, s) in p.references.iter().zip(&q.references) {
                let (Some(x), Some(y)) = (self.old.holding(r.target), self.new.holding(s.target)) else { continue };
                if a.range.contains(&r.target) || same_name(&x, &y) {
                    continue;
                }
                class = match () {
                    () if self.paired(r.target, s.target) => {
                        "what is called has another name, and is the same function"
                    }
                    () if self.same_object(&x, &y) => "what is referred to has another number in its name",
                    () if self.same_place(r.target, s.target) => {
                        "the other part of the function has other filler, or longer forms of branches"
                    }
                    () if self.same_number(p, q, r, s) => "a plain number that looks like an address",
                    () => {
                        let (p, q) = (p.decoded.ip(), q.decoded.ip());
                        return Err(format!("{p:#x} -> {q:#x}: {} -> {}", named(&x.0, x.1), named(&y.0, y.1)));
                    }
                };
            }
        }
        Ok(class)
    }

    /// A branch to where, in one of the builds only, another function begins as well: to a part without code that lies in front of it.
    pub fn branches_between(&self, old: u64, new: u64) -> bool {
        let Some((a, b)) = self.bodies(old, new) else { return false };
        let begin = |build: &Build, at: u64| match build.holding(at) {
            Some((symbols, 0)) => symbols.iter().filter(|s| s.size > 0).map(|s| s.name.clone()).collect(),
            _ => Vec::new(),
        };
        a.lines.iter().zip(&b.lines).any(|(p, q)| {
            let mut both = p.references.iter().zip(&q.references).filter(|(r, _)| r.branch);
            both.any(|(r, s)| begin(self.old, r.target) != begin(self.new, s.target))
        })
    }

    /// Numbers at fixed addresses that lie in the image, differ, and have no name in common.
    pub fn numbers_in_image(&self, old: u64, new: u64) -> bool {
        let Some((a, b)) = self.bodies(old, new) else { return false };
        a.lines.iter().zip(&b.lines).any(|(p, q)| {
            p.references.iter().zip(&q.references).any(|(r, s)| {
                let named = self.old.holding(r.target).zip(self.new.holding(s.target));
                r.absolute && s.absolute && r.target != s.target && !named.is_some_and(|(x, y)| same_name(&x, &y))
            })
        })
    }

    /// A number in an image at fixed addresses that is the same in both builds.
    fn same_number(&self, p: &Line, q: &Line, r: &Reference, s: &Reference) -> bool {
        r.absolute && s.absolute && r.target == s.target && p.bytes == q.bytes
    }

    /// An operand of two bodies, equal after masking, that leads to nameless bytes which differ.
    pub fn nameless_differs(&self, old: u64, new: u64) -> bool {
        let Some((a, b)) = self.bodies(old, new) else { return false };
        a.lines.iter().zip(&b.lines).any(|(p, q)| {
            p.references.iter().zip(&q.references).any(|(r, s)| {
                let nameless = self.old.holding(r.target).is_none() && self.new.holding(s.target).is_none();
                nameless && !r.branch && !self.same_target((p, r), (q, s))
            })
        })
    }

    fn nameless_differ(&self, old: u64, new: u64) -> bool {
        let text = |build: &Build, at: u64| {
            let bytes = build.bytes_up_to(at, 4096);
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            bytes[..end.max(LOOKED_AT.min(bytes.len())).min(bytes.len())].to_vec()
        };
        let (p, q) = (text(self.old, old), text(self.new, new));
        let shown = |bytes: &[u8]| bytes.iter().take_while(|b| **b != 0).copied().collect::<Vec<u8>>();
        let printable =
            |bytes: &[u8]| bytes.len() > 1 && bytes.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
        // A text ends at its zero, and what lies behind it isn't it.
        let (x, y) = (shown(&p), shown(&q));
        if printable(&x) && printable(&y) { x != y } else { p != q }
    }
}

/// So many bytes at an address, which an instruction reads and which nothing else is added to.
struct Read {
    target: u64,
    width: usize,
}

fn read(line: &Line) -> Option<Read> {
    let i = &line.decoded;
    let plain = i.is_ip_rel_memory_operand() || i.memory_base() == Register::None && i.memory_index() == Register::None;
    let reads = i.op_kinds().any(|kind| kind == OpKind::Memory) && i.mnemonic() != Mnemonic::Lea;
    let width = i.memory_size().size();
    (plain && reads && width > 0).then(|| Read { target: i.memory_displacement64(), width })
}

/// As far into something of the same name.
fn same_name((p, i): &(Vec<&Symbol>, u64), (q, j): &(Vec<&Symbol>, u64)) -> bool {
    i == j && p.iter().any(|x| q.iter().any(|y| x.name == y.name))
}

fn named(symbols: &[&Symbol], offset: u64) -> String {
    symbols.first().map_or_else(String::new, |s| format!("{}+{offset:#x}", s.name))
}

/// A name without what the compiler numbers.
fn stem(name: &str) -> String {
    let parts = name.split('.').filter(|part| *part != "lto_priv" && !part.bytes().all(|b| b.is_ascii_digit()));
    parts.collect::<Vec<_>>().join(".")
}

/// A load of an address from the GOT in one build that the linker made an address in the other.
fn same_label(p: &Line, q: &Line, builds: &Builds<'_>) -> bool {
    let register = |line: &Line| (line.decoded.op_count() == 2).then(|| line.decoded.op0_register());
    let loads = |line: &Line| {
        line.decoded.mnemonic() == Mnemonic::Mov
            && line.decoded.op1_kind() == OpKind::Memory
            && line.decoded.memory_base() == Register::RIP
    };
    let computes =
        |line: &Line| line.decoded.mnemonic() == Mnemonic::Lea && line.decoded.memory_base() == Register::RIP;
    let word = |build: &Build, at: u64| Some(u64::from_le_bytes(build.bytes_up_to(at, 8).try_into().ok()?));
    let (Some(r), Some(s)) = (p.references.first(), q.references.first()) else { return false };
    let meant = match () {
        () if loads(p) && computes(q) => word(builds.old, r.target).zip(Some(s.target)),
        () if computes(p) && loads(q) => Some(r.target).zip(word(builds.new, s.target)),
        () => None,
    };
    meant.is_some_and(|(x, y)| {
        let (Some((a, i)), Some((b, j))) = (builds.old.holding(x), builds.new.holding(y)) else { return false };
        register(p) == register(q) && i == j && a.iter().any(|a| b.iter().any(|b| a.name == b.name))
    })
}
