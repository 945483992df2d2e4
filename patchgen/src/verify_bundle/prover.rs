//! When an address of the patched process means what an address of the new image means.

use super::decode::{Decoder, Flow, Operand};
use super::names::{self, Match};
use super::world::{Import, Slot, World};
use regex::bytes::Regex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// How code uses an address.
#[derive(Debug, Clone, Copy, Default)]
pub struct Use {
    /// Bytes that are read there and no more; None when its address is taken, or with an index.
    pub width: Option<u64>,
}

pub type Proof = Result<(), String>;

/// What is known and what is still to be proven. Pairs are addresses in the process and in the new image, in this order.
#[derive(Debug)]
pub struct Prover<'a> {
    pub p: &'a World,
    pub n: &'a World,
    pub decoder: &'a Decoder,
    /// Starts of all instructions of the new image.
    pub starts: HashSet<u64>,
    /// What the new image's code and data refer to, and where its symbols and sections begin: extents of what has no symbol.
    pub cuts: BTreeSet<u64>,
    /// The new image has code of rustc's.
    pub rust: bool,
    /// Ends of its texts without a zero behind them.
    pub texts: BTreeMap<u64, u64>,
    /// Where its tables of distances lead.
    pub looked_up: BTreeSet<u64>,
    /// These tables' size by their start: code adds an entry to the address.
    pub tables: BTreeMap<u64, u64>,
    /// Code that must be equal although no symbol says that it is the same function.
    pub pending_code: VecDeque<(u64, u64)>,
    /// Constants that were referred to, with their size.
    pub pending_data: VecDeque<(u64, u64, u64)>,
    pub references: u64,
    /// Texts of the process that stand for others of the new image, which differ in a stamp only.
    pub stamped: BTreeSet<String>,
    stamps: Vec<Regex>,
    /// Object of the new image by the process's, and the reverse.
    owners: HashMap<u64, u64>,
    owned: HashMap<u64, u64>,
    /// Pairs in `owners` since the last commit.
    journal: Vec<(u64, u64)>,
    seen_code: HashSet<(u64, u64)>,
    seen_data: HashSet<(u64, u64)>,
    /// Anonymous data that is being compared: a cycle has no difference of its own.
    assumed: HashSet<(u64, u64)>,
}

/// Longest run of bytes without a symbol that is compared.
const ANONYMOUS: u64 = 1 << 16;

/// How far in front of an array, in bytes, its base with the constant part of an index is looked for.
const FOLDED: u64 = 64;

impl<'a> Prover<'a> {
    pub fn new(p: &'a World, n: &'a World, decoder: &'a Decoder, stamps: Vec<Regex>) -> Prover<'a> {
        Prover {
            p,
            n,
            decoder,
            starts: HashSet::new(),
            cuts: BTreeSet::new(),
            rust: false,
            texts: BTreeMap::new(),
            looked_up: BTreeSet::new(),
            tables: BTreeMap::new(),
            pending_code: VecDeque::new(),
            pending_data: VecDeque::new(),
            references: 0,
            stamped: BTreeSet::new(),
            stamps,
            owners: HashMap::new(),
            owned: HashMap::new(),
            journal: Vec::new(),
            seen_code: HashSet::new(),
            seen_data: HashSet::new(),
            assumed: HashSet::new(),
        }
    }

    /// Keeps what was learnt since the last call.
    pub fn commit(&mut self) {
        self.journal.clear();
    }

    /// Forgets it: it came from a comparison that failed.
    pub fn roll_back(&mut self, pending: (usize, usize)) {
        for (p, n) in self.journal.drain(..) {
            self.owners.remove(&p);
            self.owned.remove(&n);
        }
        for (p, n) in self.pending_code.drain(pending.0..) {
            self.seen_code.remove(&(p, n));
        }
        for (p, n, _) in self.pending_data.drain(pending.1..) {
            self.seen_data.remove(&(p, n));
        }
    }

    fn disagree<T>(&self, p: u64, n: u64) -> Result<T, String> {
        Err(format!("{} instead of {}", self.p.describe(p), self.n.describe(n)))
    }

    fn later_code(&mut self, p: u64, n: u64) {
        let pair = (self.p.arrival(p), n);
        if self.seen_code.insert(pair) {
            self.pending_code.push_back(pair);
        }
    }

    /// What an address stands for when control or a function pointer goes there.
    pub fn as_slot(&self, world: &World, at: u64) -> Slot {
        let at = self.through(world, at);
        world.import_at(at).unwrap_or(Slot::Addr(at))
    }

    /// Behind the payload's own stubs: jumps that belong to no function.
    fn through(&self, world: &World, mut at: u64) -> u64 {
        for _ in 0..2 {
            if at < world.payload || world.function(at).is_some() {
                break;
            }
            let Some(insn) = self.decoder.decode(world, at) else { break };
            match (insn.flow, insn.operands.first()) {
                (Flow::Jump { to, conditional: false }, _) => at = to,
                (Flow::Indirect, Some(Operand::Mem { disp, .. })) if insn.rip_relative() => {
                    match world.slots.get(&insn.end().wrapping_add_signed(*disp)) {
                        Some(Slot::Addr(to)) => at = *to,
                        Some(Slot::Import { import, addend: 0, .. }) => {
                            let known = world.imports.iter().find(|(_, i)| *i == import);
                            return known.map_or(at, |(made_up, _)| *made_up);
                        }
                        _ => break,
                    }
                }
                _ => break,
            }
        }
        at
    }

    /// One address in each.
    pub fn place(&mut self, p: u64, n: u64, how: Use) -> Proof {
        let p = self.through(self.p, p);
        if self.p.import_at(p).is_some() || self.n.import_at(n).is_some() {
            let (a, b) = (self.as_slot(self.p, p), self.as_slot(self.n, n));
            return self.slot(&a, &b);
        }
        if self.n.fixed && (p, n) == (0, 0) {
            // A call of a weak function that nobody defines.
            return Ok(());
        }
        if self.n.section(n).is_some_and(|s| s.name.starts_with(".got")) && how.width == Some(8) {
            return self.loaded(p, n);
        }
        if self.n.executable(n) && self.n.function(n).is_some() {
            return self.code(p, n);
        }
        let named = self.named(p, n);
        if named == Some(Ok(())) {
            return Ok(());
        }
        let constant = !self.n.writable(n) && !self.p.writable(p) && self.n.mapped(n) && self.p.mapped(p);
        let mut failed = None;
        if constant {
            match self.anonymous(p, n, how) {
                Ok(()) => return Ok(()),
                Err(e) => failed = Some(e),
            }
        }
        if !self.n.mapped(n) && !self.p.mapped(p) && self.in_front(p, n) {
            return Ok(());
        }
        if self.boundary(p, n) || (!constant && named.is_none() && (self.behind(p, n) || self.ahead(p, n))) {
            return Ok(());
        }
        match (failed, named) {
            (_, Some(Err(e))) | (Some(e), _) => Err(e),
            _ => self.disagree(p, n),
        }
    }

    fn code(&mut self, p: u64, n: u64) -> Proof {
        let (Some(new), old) = (self.n.functions.get(&n), self.p.functions.get(&p)) else {
            // Inside of a function: what is there must go on alike.
            if !self.p.executable(p) {
                return self.disagree(p, n);
            }
            self.later_code(p, n);
            return Ok(());
        };
        let Some(old) = old else { return self.disagree(p, n) };
        match names::best(&old.names, &new.names) {
            Some(Match::Exact) => Ok(()),
            // Numbered by the compiler, or without a symbol: the same when they do the same.
            Some(Match::Stem | Match::Counted) => {
                self.later_code(p, n);
                Ok(())
            }
            None if old.names.is_empty() || new.names.is_empty() => {
                self.later_code(p, n);
                Ok(())
            }
            None => self.disagree(p, n),
        }
    }

    /// By symbol and offset; None when either has no symbol.
    fn named(&mut self, p: u64, n: u64) -> Option<Proof> {
        let mut found: Option<(Match, u64, u64, u64, u64)> = None;
        let mut any = false;
        for b in self.n.objects_at(n, false) {
            for a in self.p.objects_at(p, false) {
                any = true;
                let Some(how) = a.name.compare(&b.name).filter(|_| p - a.start == n - b.start) else { continue };
                if found.is_none_or(|f| f.0 < how) {
                    found = Some((how, a.start, b.start, a.size, b.size));
                }
            }
        }
        let Some((_, a, b, old_size, new_size)) = found else {
            return any.then(|| self.disagree(p, n));
        };
        let writable = self.n.writable(b);
        if writable && old_size != 0 && old_size < new_size {
            return Some(Err(format!("{} has {old_size} bytes instead of {new_size}", self.n.describe(b))));
        }
        if new_size > 0 {
            let owner = self.owners.get(&a).copied().unwrap_or(b);
            let owned = self.owned.get(&b).copied().unwrap_or(a);
            if (owner, owned) != (b, a) {
                let (p, other) = (self.p.describe(a), self.n.describe(if owner == b { b } else { owner }));
                return Some(Err(format!("{p} stands for two objects, one of them {other} at 0x{owner:x}")));
            }
            if self.owners.insert(a, b).is_none() {
                self.owned.insert(b, a);
                self.journal.push((a, b));
            }
        }
        if (!writable || a >= self.p.payload) && self.seen_data.insert((a, b)) {
            self.pending_data.push_back((a, b, new_size));
        }
        Some(Ok(()))
    }

    /// A constant with a symbol.
    pub fn constant(&mut self, p: u64, n: u64, size: u64) -> Proof {
        // LLVM's table of the distances to what a function looks up (`RelLookupTableConverter`).
        let mut of_distances = self.n.objects_at(n, false).filter(|o| o.name.name.starts_with("reltable."));
        let relative = of_distances.any(|o| o.start == n);
        if self.tables.get(&n) == Some(&size) {
            return if self.distances(p, n, size, 4) { Ok(()) } else { self.disagree(p, n) };
        }
        self.content(p, n, size)
            .or_else(|differs| if relative && self.distances(p, n, size, 4) { Ok(()) } else { Err(differs) })
    }

    /// Constants without a symbol: by content.
    fn anonymous(&mut self, p: u64, n: u64, how: Use) -> Proof {
        if let Some(&size) = self.tables.get(&n).filter(|_| how.width.is_none()) {
            return if self.distances(p, n, size, size) { Ok(()) } else { self.disagree(p, n) };
        }
        let len = how.width.unwrap_or_else(|| self.extent(p, n));
        self.content(p, n, len).or_else(|differs| {
            // The first distance may look like a short text.
            let whole = if how.width.is_none() { self.to_next(n) & !3 } else { len };
            // Without an instruction that adds them up, a table of one or two may as well be numbers.
            let relative = self.distances(p, n, len, 12) || (whole > len && self.distances(p, n, whole, 12));
            if relative { Ok(()) } else { Err(differs) }
        })
    }

    /// A table of distances from its own start, to texts for instance: each leads to what the new image's leads to. It has `least` bytes at the least.
    fn distances(&mut self, p: u64, n: u64, len: u64, least: u64) -> bool {
        // Zeros up to what follows: a distance to the table itself is none.
        let zero = |w: &World, table: u64, len: u64| w.signed32(table + len - 4) == Some(0);
        let mut len = len;
        while len >= 4 && len.is_multiple_of(4) && zero(self.p, p, len) && zero(self.n, n, len) {
            len -= 4;
        }
        if len < least || !len.is_multiple_of(4) || !self.assumed.insert((p, n)) {
            return false;
        }
        let target = |w: &World, table: u64, at: u64| Some(table.wrapping_add_signed(w.signed32(table + at)?));
        // In a payload a relocation makes each of them.
        let made = |prover: &Self, at: u64| p < prover.p.payload || prover.p.fields.contains(&(p + at));
        let same = (0..len).step_by(4).all(|at| match (target(self.p, p, at), target(self.n, n, at)) {
            (Some(x), Some(y)) if made(self, at) && self.n.mapped(y) && !self.n.writable(y) => {
                !(n..n + len).contains(&y) && self.place(x, y, Use::default()).is_ok()
            }
            _ => false,
        });
        self.assumed.remove(&(p, n));
        same
    }

    /// Bytes up to what is known to be something else.
    fn to_next(&self, n: u64) -> u64 {
        let next = self.cuts.range(n + 1..).next().copied().unwrap_or(u64::MAX);
        next.min(self.n.section(n).map_or(n + 1, |s| s.end)) - n
    }

    /// Rust's texts end with nothing: how much of `run` bytes there is up to what is no tail of what lies at `n`, since it has a symbol or doesn't
    /// end in a zero itself.
    fn to_other_text(&self, n: u64, run: usize) -> Option<u64> {
        let zero = |at: u64| self.n.bytes(at, 1) == Some(&[0]);
        let text = |at: u64| self.looked_up.contains(&at) || self.texts.get(&at).is_some_and(|&end| !zero(end));
        let named = |at: u64| self.n.objects_at(at, false).any(|o| o.start == at);
        let other = self.cuts.range(n + 1..n + 1 + run as u64).copied().find(|&at| text(at) || named(at));
        other.map(|at| at - n)
    }

    /// How much a reader could use of what lies at `n`: a string with its end, else everything up to what is known to be something else.
    fn extent(&self, p: u64, n: u64) -> u64 {
        if let Some(end) = self.texts.get(&n) {
            return end - n;
        }
        let end = self.n.section(n).map_or(n + 1, |s| s.end);
        let limit = (end - n).min(ANONYMOUS);
        let bytes = self.n.bytes_up_to(n, limit as usize);
        let text = |b: &u8| *b >= 0x20 && *b != 0x7f || (7..=13).contains(b) || *b == 0x1b;
        let mut run = bytes.iter().take_while(|b| text(b)).count();
        if self.rust {
            // They are UTF-8, and what stands behind them may be anything.
            run = std::str::from_utf8(&bytes[..run]).map_or_else(|e| e.valid_up_to(), str::len);
            if let Some(len) = self.to_other_text(n, run) {
                return len;
            }
        }
        let wide = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        if run > 0 && bytes.get(run) == Some(&0) {
            let characters =
                (0..bytes.len() / 4).take_while(|i| wide(i * 4).is_some_and(|c| (1..0x11_0000).contains(&c)));
            let count = characters.count();
            if run == 1 && count >= 1 && n.is_multiple_of(4) && p.is_multiple_of(4) && wide(count * 4) == Some(0) {
                return count as u64 * 4 + 4;
            }
            return run as u64 + 1;
        }
        let before = |w: &World, at: u64| at.checked_sub(1).and_then(|b| w.bytes(b, 1)).is_some_and(|b| text(&b[0]));
        if bytes.first() == Some(&0) && before(self.n, n) && before(self.p, p) {
            // The empty string, as the end of another.
            return 1;
        }
        let until = self.to_next(n).min(limit);
        let used = bytes.iter().take(until as usize).rposition(|b| *b != 0).map_or(1, |last| last as u64 + 1);
        used.next_multiple_of(4).min(until).max(1)
    }

    /// `len` bytes, with the references in them.
    pub fn content(&mut self, p: u64, n: u64, len: u64) -> Proof {
        if !self.assumed.insert((p, n)) {
            return Ok(());
        }
        let mut result = self.compare_bytes(p, n, len);
        self.assumed.remove(&(p, n));
        if let (Err(_), Some(text)) = (&result, self.stamp(p, n, len)) {
            self.stamped.insert(text);
            result = Ok(());
        }
        result
    }

    /// The text at `p`, where it is the one at `n` but for what a pattern of the bundle matches, and `len` bytes of the new image hold
    /// nothing else.
    fn stamp(&self, p: u64, n: u64, len: u64) -> Option<String> {
        if self.stamps.is_empty() || self.n.writable(n) {
            return None;
        }
        let text = |w: &'a World, at: u64| {
            let bytes = w.bytes_up_to(at, ANONYMOUS as usize);
            bytes.iter().position(|b| *b == 0).map(|end| bytes.split_at(end))
        };
        let ((x, _), (y, behind)) = text(self.p, p).zip(text(self.n, n))?;
        let rest = usize::try_from(len).ok()?.saturating_sub(y.len());
        let alone = behind.iter().take(rest).all(|b| *b == 0);
        let without = |stamp: &Regex, text: &[u8]| stamp.replace_all(text, b"".as_slice()).into_owned();
        let same = |stamp: &Regex| stamp.is_match(x) && without(stamp, x) == without(stamp, y);
        (alone && self.stamps.iter().any(same)).then(|| String::from_utf8_lossy(x).into_owned())
    }

    fn compare_bytes(&mut self, p: u64, n: u64, len: u64) -> Proof {
        let mut at = 0;
        while at < len {
            let (a, b) = (p + at, n + at);
            match (self.p.slots.get(&a).cloned(), self.n.slots.get(&b).cloned()) {
                (Some(x), Some(y)) => {
                    self.slot(&x, &y).map_err(|e| format!("in the data of {}: {e}", self.n.describe(b)))?;
                    at += 8;
                    continue;
                }
                // In an image at fixed addresses the linker stored the address itself.
                (Some(x), None) if self.n.fixed => {
                    let y = self.n.word(b).unwrap_or(0);
                    let y = self.as_slot(self.n, y);
                    let x = if let Slot::Addr(at) = x { self.as_slot(self.p, at) } else { x };
                    self.slot(&x, &y).map_err(|e| format!("in the data of {}: {e}", self.n.describe(b)))?;
                    at += 8;
                    continue;
                }
                (None, None) => {}
                _ => return Err(format!("an address at {} in only one of them", self.n.describe(b))),
            }
            if self.n.fixed && len - at >= 8 {
                let (x, y) = (self.p.word(a), self.n.word(b));
                // Bytes that are no word, and the same, are no address either.
                if let (Some(x), Some(y)) = (x, y)
                    && (b.is_multiple_of(8) || x != y)
                    && self.n.mapped(y)
                    && self.p.mapped(x)
                {
                    let same = self.place(x, y, Use::default());
                    if same.is_ok() {
                        at += 8;
                        continue;
                    }
                    // Of something that begins there: equal numbers are addresses of two things.
                    if b.is_multiple_of(8) && !self.n.writable(b) && self.n.begins(y) {
                        return same.map_err(|e| format!("in the data of {}: {e}", self.n.describe(b)));
                    }
                }
            }
            let (x, y) = (self.p.bytes(a, 1), self.n.bytes(b, 1));
            if x.is_none() || x != y {
                return Err(format!("content of {} differs from {} at +{at}", self.p.describe(p), self.n.describe(n)));
            }
            at += 1;
        }
        Ok(())
    }

    /// What is loaded from a slot of the GOT.
    fn loaded(&mut self, p: u64, n: u64) -> Proof {
        let value = |world: &World, at: u64| {
            let slot = world.slots.get(&at).cloned();
            slot.unwrap_or_else(|| Slot::Addr(world.word(at).unwrap_or(0)))
        };
        let (a, b) = (value(self.p, p), value(self.n, n));
        // A weak symbol that nobody defines, or the value of an absolute one.
        if let (Slot::Addr(x), Slot::Addr(y)) = (&a, &b)
            && x == y
            && !self.p.mapped(*x)
            && !self.n.mapped(*y)
        {
            return Ok(());
        }
        self.slot(&a, &b)
    }

    /// What the dynamic linker stores, or a branch leads to.
    pub fn slot(&mut self, p: &Slot, n: &Slot) -> Proof {
        match (p, n) {
            (Slot::Addr(a), Slot::Addr(b)) => match (self.p.import_at(*a), self.n.import_at(*b)) {
                (None, None) => self.place(*a, *b, Use::default()),
                (x, y) => {
                    let (x, y) = (x.unwrap_or(Slot::Addr(*a)), y.unwrap_or(Slot::Addr(*b)));
                    self.slot(&x, &y)
                }
            },
            (Slot::Resolved(a), Slot::Resolved(b)) => self.place(*a, *b, Use::default()),
            (Slot::Import { import: a, addend: x, .. }, Slot::Import { import: b, addend: y, .. }) => {
                let versions = a.version.is_none() || b.version.is_none() || a.version == b.version;
                if a.name == b.name && versions && x == y {
                    return Ok(());
                }
                Err(format!("import {} instead of {}", show(a), show(b)))
            }
            (Slot::Import { import, addend, .. }, Slot::Addr(at)) => Self::defined(self.n, import, *addend, *at),
            (Slot::Addr(at), Slot::Import { import, addend, .. }) => {
                let by_name = Self::defined(self.p, import, *addend, *at);
                // The new image may have several names for what it looks up: those of one address are one function.
                let named = |f: &&u64| self.n.functions[*f].names.iter().any(|n| n.name == import.name);
                let own = by_name.is_err().then(|| self.n.functions.keys().find(named).copied()).flatten();
                match own {
                    Some(own) if *addend == 0 => self.code(*at, own),
                    _ => by_name,
                }
            }
            (Slot::Tls { kind: a, import: x, offset: i }, Slot::Tls { kind: b, import: y, offset: j }) => {
                let equal = match (x, y) {
                    (Some(x), Some(y)) => x.name == y.name && i == j,
                    (None, None) => self.thread_locals(*i, *j),
                    _ => false,
                };
                if a == b && equal { Ok(()) } else { Err("another thread-local variable".to_owned()) }
            }
            _ => Err("an address that is found in another way".to_owned()),
        }
    }

    /// Whether an address is that of the symbol that the other world looks up.
    fn defined(world: &World, import: &Import, addend: i64, at: u64) -> Proof {
        let start = at.wrapping_sub(addend as u64);
        let mut known = world.functions.get(&start).into_iter().flat_map(|f| f.names.iter().map(|n| n.name.as_str()));
        let object = || world.objects_at(start, false).any(|o| o.start == start && o.name.name == import.name);
        if known.any(|name| name == import.name) || object() {
            return Ok(());
        }
        Err(format!("{} where the other has import {}", world.describe(at), import.name))
    }

    /// Offsets in the two TLS blocks.
    pub fn thread_locals(&self, p: i64, n: i64) -> bool {
        let matches =
            |a: i64, x: &names::Name| self.n.thread_local(n).any(|(o, b)| a == b && x.compare(&o.name).is_some());
        self.p.thread_local(p).any(|(o, a)| matches(a, &o.name))
    }

    /// The end of the same object, or the start or end of the same section.
    fn boundary(&self, p: u64, n: u64) -> bool {
        let ends =
            self.n.objects_at(n, true).any(|b| self.p.objects_at(p, true).any(|a| a.name.compare(&b.name).is_some()));
        let of = |w: &'a World, at: u64| {
            let hit = move |s: &&super::world::Section| s.start == at || s.end == at;
            w.sections.iter().filter(hit).map(move |s| (s.name.as_str(), s.start == at))
        };
        ends || of(self.n, n).any(|b| of(self.p, p).any(|a| a == b))
    }

    /// Between sections: a little in front of what the next one begins with, which is the same.
    fn in_front(&mut self, p: u64, n: u64) -> bool {
        let next = |w: &'a World, at: u64| w.sections.iter().filter(|s| s.start > at).min_by_key(|s| s.start);
        let (Some(a), Some(b)) = (next(self.p, p), next(self.n, n)) else { return false };
        let starts = (a.start, b.start);
        let near = a.name == b.name && starts.0 - p == starts.1 - n && starts.1 - n <= self.extent(starts.0, starts.1);
        near && self.place(starts.0, starts.1, Use::default()).is_ok()
    }

    /// Data without a symbol, equally far behind the same symbol.
    fn behind(&self, p: u64, n: u64) -> bool {
        let last = |w: &'a World, at: u64| w.objects[..w.objects.partition_point(|o| o.start <= at)].last();
        let same_section = self.p.section(p).map(|s| &s.name) == self.n.section(n).map(|s| &s.name);
        let near = |a: &super::world::Object, b: &super::world::Object| {
            p - a.start == n - b.start && a.size == b.size && a.name.compare(&b.name) == Some(Match::Exact)
        };
        same_section && last(self.p, p).zip(last(self.n, n)).is_some_and(|(a, b)| near(a, b))
    }

    /// In nothing that the new image has a symbol for, and equally far in front of the same object: its base, with a constant part of an index.
    fn ahead(&self, p: u64, n: u64) -> bool {
        let next = |w: &'a World, at: u64| w.objects[w.objects.partition_point(|o| o.start <= at)..].first();
        let near = |a: &super::world::Object, b: &super::world::Object| {
            let known = self.owners.get(&a.start) == Some(&b.start);
            let same = a.size == b.size && (known || a.name.compare(&b.name) == Some(Match::Exact));
            same && a.start - p == b.start - n && b.start - n <= FOLDED
        };
        let between = self.n.objects_at(n, false).next().is_none();
        between && next(self.p, p).zip(next(self.n, n)).is_some_and(|(a, b)| near(a, b))
    }
}

fn show(import: &Import) -> String {
    match &import.version {
        Some(version) => format!("{}@{version}", import.name),
        None => import.name.clone(),
    }
}
