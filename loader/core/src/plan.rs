//! What applying a bundle will write, and what must not be active meanwhile: the tables of a [`Record`](crate::abi::Record).

use patchfmt::payload::{self, PREIMAGE};
use patchfmt::{Code, codes};
use sha2::{Digest, Sha256};

use crate::abi::{Func, Keep, Move, Range, Write};
use crate::arena::{Arena, Need};
use crate::image::{Image, Memory};
use crate::link::{Layout, Place};
use crate::payload::Payload;
use crate::report::{Name, Report};
use crate::sort;

/// A list in memory that was taken from an arena beforehand.
#[derive(Debug)]
pub struct List<'a, T> {
    all: &'a mut [T],
    len: usize,
}

impl<'a, T> List<'a, T> {
    pub fn new(all: &'a mut [T]) -> List<'a, T> {
        List { all, len: 0 }
    }

    fn push(&mut self, value: T, report: &mut Report) -> Result<(), Code> {
        let Some(slot) = self.all.get_mut(self.len) else {
            return Err(report.refuse(codes::INTERNAL, format_args!("a table is fuller than counted")));
        };
        *slot = value;
        self.len += 1;
        Ok(())
    }

    pub fn items(&self) -> &[T] {
        &self.all[..self.len]
    }

    fn items_mut(&mut self) -> &mut [T] {
        &mut self.all[..self.len]
    }
}

/// The bytes as they would be without the live records: each of their writes laid over what is read, newest first.
#[derive(Debug)]
pub struct Reverted<'m, M> {
    pub mem: &'m M,
    /// Writes of the live records, the newest first.
    pub writes: &'m [Write],
}

impl<M: Memory> Memory for Reverted<'_, M> {
    fn read(&self, addr: u64, buf: &mut [u8]) -> bool {
        if !self.mem.read(addr, buf) {
            return false;
        }
        let end = addr.saturating_add(buf.len() as u64);
        self.writes.iter().all(|w| {
            let (from, to) = (w.addr.max(addr), w.addr.saturating_add(u64::from(w.len)).min(end));
            from >= to
                || self
                    .mem
                    .read(w.old.wrapping_add(from - w.addr), &mut buf[(from - addr) as usize..(to - addr) as usize])
        })
    }
}

/// How much of each table one module instance needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub funcs: u64,
    pub writes: u64,
    pub old_ranges: u64,
    pub old_sites: u64,
    pub new_ranges: u64,
    pub new_sites: u64,
    pub moves: u64,
    pub keeps: u64,
    /// Bytes before and after, names.
    pub bytes: u64,
}

impl Counts {
    pub fn of(payload: &Payload<'_>) -> Counts {
        let mut c = Counts::default();
        for f in payload.funcs {
            let (ranges, sites) = (u64::from(f.range_count.get()), u64::from(f.site_count.get()));
            c.funcs += 1;
            c.old_ranges += ranges;
            c.old_sites += sites;
            c.bytes += payload.object.name(f.name.get()).len() as u64;
            if f.replaced() {
                c.writes += 1;
                c.new_ranges += 2;
                c.bytes += 2 * u64::from(payload::DETOUR);
            } else {
                // Over an earlier bundle's changes all of it is written, else its edits alone.
                let parts = f.ranges(payload.ranges).unwrap_or_default();
                let size = parts.iter().fold(0u64, |sum, r| sum.saturating_add(r.size.get()));
                c.writes += ranges;
                c.new_ranges += ranges;
                c.new_sites += sites;
                c.bytes = c.bytes.saturating_add(size.saturating_mul(2));
            }
        }
        for e in payload.edits {
            c.writes += 1;
            c.bytes += 2 * u64::from(e.size.get());
        }
        c.new_ranges += 1;
        c.new_sites += payload.payload_sites.len() as u64;
        c.moves = payload.states.len() as u64;
        c.keeps = payload.keeps.len() as u64;
        c.bytes += payload.keeps.iter().map(|k| payload.object.name(k.name.get()).len() as u64).sum::<u64>();
        c
    }

    pub fn add(&mut self, other: &Counts, times: u64) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b.saturating_mul(times));
        sum(&mut self.funcs, other.funcs);
        sum(&mut self.writes, other.writes);
        sum(&mut self.old_ranges, other.old_ranges);
        sum(&mut self.old_sites, other.old_sites);
        sum(&mut self.new_ranges, other.new_ranges);
        sum(&mut self.new_sites, other.new_sites);
        sum(&mut self.moves, other.moves);
        sum(&mut self.keeps, other.keeps);
        sum(&mut self.bytes, other.bytes);
    }

    pub fn need(&self, need: &mut Need) {
        need.add::<Func>(self.funcs)
            .add::<Write>(self.writes)
            .add::<Range>(self.old_ranges)
            .add::<Range>(self.new_ranges)
            .add::<Move>(self.moves)
            .add::<Keep>(self.keeps);
        need.add::<u64>(self.old_sites).add::<u64>(self.new_sites).add::<u8>(self.bytes);
    }
}

/// One module instance whose payload has been linked.
#[derive(Debug)]
pub struct Unit<'a> {
    pub payload: &'a Payload<'a>,
    pub image: &'a Image,
    pub layout: &'a Layout,
    pub places: &'a [Place],
    /// avma of the payload's mapping.
    pub base: u64,
    /// The mapping's content, relocated.
    pub linked: &'a [u8],
    /// Index in the record's units.
    pub index: u32,
}

/// The tables of a record in the making.
#[derive(Debug)]
pub struct Plan<'a> {
    pub funcs: List<'a, Func>,
    pub writes: List<'a, Write>,
    pub old_ranges: List<'a, Range>,
    pub old_sites: List<'a, u64>,
    pub new_ranges: List<'a, Range>,
    pub new_sites: List<'a, u64>,
    pub moves: List<'a, Move>,
    pub keeps: List<'a, Keep>,
    bytes: Arena<'a>,
}

const NO_FUNC: u32 = u32::MAX;

fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr() as u64
}

impl<'a> Plan<'a> {
    /// The plan and what is left of the arena; `None` when that is smaller than [`Counts::need`].
    pub fn new(mut arena: Arena<'a>, counts: &Counts) -> Option<(Plan<'a>, Arena<'a>)> {
        let n = |v: u64| usize::try_from(v).ok();
        let plan = Plan {
            funcs: List::new(arena.take(n(counts.funcs)?)?),
            writes: List::new(arena.take(n(counts.writes)?)?),
            old_ranges: List::new(arena.take(n(counts.old_ranges)?)?),
            old_sites: List::new(arena.take(n(counts.old_sites)?)?),
            new_ranges: List::new(arena.take(n(counts.new_ranges)?)?),
            new_sites: List::new(arena.take(n(counts.new_sites)?)?),
            moves: List::new(arena.take(n(counts.moves)?)?),
            keeps: List::new(arena.take(n(counts.keeps)?)?),
            bytes: Arena::new(arena.take(n(counts.bytes)?)?),
        };
        Some((plan, arena))
    }

    fn room(&mut self, len: usize, report: &mut Report) -> Result<&'a mut [u8], Code> {
        self.bytes
            .take(len)
            .ok_or_else(|| report.refuse(codes::INTERNAL, format_args!("the record's bytes are more than counted")))
    }

    fn keep(&mut self, bytes: &[u8], report: &mut Report) -> Result<&'a mut [u8], Code> {
        let out = self.room(bytes.len(), report)?;
        out.copy_from_slice(bytes);
        Ok(out)
    }

    /// Adds a unit: checks its pre-images in `original` (the process without live records), reads the bytes before from `live`.
    pub fn add(
        &mut self,
        unit: &Unit<'_>,
        original: &dyn Memory,
        live: &dyn Memory,
        report: &mut Report,
    ) -> Result<(), Code> {
        check_preimages(unit.payload, unit.image, original, report)?;
        // A file with another bundle's patch in it differs from the old build in ways that nobody has noted down.
        if !unit.image.is_rewritten(original) {
            check_guards(unit.payload, unit.image, original, report)?;
        }
        let first = self.funcs.len;
        for func in unit.payload.funcs {
            if func.replaced() {
                self.function(unit, func, live, report)?;
            } else {
                self.staying_function(unit, func, original, live, report)?;
            }
        }
        for edit in unit.payload.edits.iter().filter(|e| !e.code()) {
            let (addr, new) = edit_of(unit, edit, report)?;
            self.write(addr, new, NO_FUNC, live, report)?;
        }
        for state in unit.payload.states {
            self.state(unit, state, report)?;
        }
        for keep in unit.payload.keeps {
            self.keep_variable(unit, keep, report)?;
        }
        self.new_code(unit, first, report)
    }

    /// Bytes of a variable that are copied at the switch, whatever they are by then.
    fn state(&mut self, unit: &Unit<'_>, state: &payload::State, report: &mut Report) -> Result<(), Code> {
        let name = Name(unit.payload.object.name(state.name.get()));
        let live = avma(unit.image, state.svma.get(), u64::from(state.size.get()), false, name, report)?;
        let at = unit.payload.state_bytes(state, unit.places, report)?;
        if state.moved() && at < unit.layout.data_at {
            return Err(report.refuse(codes::RECORD_INDEX, format_args!("the new place of {name} isn't writable")));
        }
        let (own, len) = (unit.base + at, state.size.get());
        let copy = match state.moved() {
            true => Move { from: live, to: own, len, both_ways: 1 },
            false => Move { from: own, to: live, len, both_ways: 0 },
        };
        self.moves.push(copy, report)
    }

    /// A variable that the payload brings.
    fn keep_variable(&mut self, unit: &Unit<'_>, keep: &payload::Keep, report: &mut Report) -> Result<(), Code> {
        let name = self.keep(unit.payload.object.name(keep.name.get()), report)?;
        let at = unit.payload.keep_bytes(keep, unit.places, report)?;
        if keep.goes_along() && at < unit.layout.data_at {
            return Err(report.refuse(codes::RECORD_INDEX, format_args!("{} isn't writable", Name(name))));
        }
        let kept = Keep {
            key: keep.key,
            shape: keep.shape,
            addr: unit.base + at,
            from: 0,
            name: address(name),
            name_len: name.len() as u32,
            len: keep.size.get(),
            goes_along: keep.goes_along().into(),
            reserved: 0,
        };
        self.keeps.push(kept, report)
    }

    /// Lets the variables from `first` on go on with the values that `former` has, those of a record that gives way, if all that both know can,
    /// and one of the two knows all that the other does: of a variable that was renamed, the one would begin anew beside others that don't.
    /// Both are ascending by key.
    pub fn take_along(&mut self, first: usize, former: &[Keep]) {
        let own = &mut self.keeps.items_mut()[first..];
        let same = |k: &Keep| former.binary_search_by(|f| f.key.cmp(&k.key)).ok().map(|n| &former[n]);
        let fits = |k: &Keep, f: &Keep| f.goes_along & k.goes_along != 0 && k.shape == f.shape && k.len == f.len;
        let known = own.iter().filter(|k| same(k).is_some()).count();
        let nested = known == own.len() || known == former.len();
        if nested && own.iter().all(|k| same(k).is_none_or(|f| fits(k, f))) {
            for k in own {
                k.from = same(k).map_or(0, |f| f.addr);
            }
        }
    }

    /// A function whose new code is its old one, with some bytes edited or none.
    fn staying_function(
        &mut self,
        unit: &Unit<'_>,
        func: &payload::Func,
        original: &dyn Memory,
        live: &dyn Memory,
        report: &mut Report,
    ) -> Result<(), Code> {
        let text = unit.payload.object.name(func.name.get());
        let index = self.funcs.len as u32;
        let ranges = func.ranges(unit.payload.ranges)?;
        let mut stacked = false;
        for range in ranges {
            let start = avma(unit.image, range.svma.get(), range.size.get(), true, Name(text), report)?;
            stacked |= !same_memory(original, live, start, range.size.get(), report)?;
            let held = Range { start, end: start + range.size.get(), func: index, reserved: 0 };
            self.old_ranges.push(held, report)?;
            self.new_ranges.push(held, report)?;
        }
        for s in func.sites(unit.payload.sites)? {
            let site = unit.image.bias.wrapping_add(s.svma.get());
            self.old_sites.push(site, report)?;
            self.new_sites.push(site, report)?;
        }
        // What an earlier bundle has in the place of an idle one stays, too.
        for range in ranges.iter().filter(|_| func.edited()) {
            let edits = unit.payload.edits.iter().filter(|e| e.code() && range.covers(e));
            if stacked {
                self.rewrite(unit, range, edits, index, original, live, report)?;
            } else {
                for edit in edits {
                    let (addr, new) = edit_of(unit, edit, report)?;
                    self.write(addr, new, index, live, report)?;
                }
            }
        }
        let entry = unit.image.bias.wrapping_add(func.entry.get());
        let size = ranges.first().map_or(0, |r| r.size.get());
        self.name_function(unit, func, (entry, entry, size), report)
    }

    /// Writes a whole part of an edited function: what an earlier bundle changed in it (a detour, other edits) gives way.
    #[expect(clippy::too_many_arguments, reason = "the two views of memory and the report go through every step")]
    fn rewrite<'e>(
        &mut self,
        unit: &Unit<'_>,
        range: &payload::Range,
        edits: impl Iterator<Item = &'e payload::Edit>,
        func: u32,
        original: &dyn Memory,
        live: &dyn Memory,
        report: &mut Report,
    ) -> Result<(), Code> {
        let addr = unit.image.bias.wrapping_add(range.svma.get());
        let size = usize::try_from(range.size.get()).map_err(|_| codes::INTERNAL)?;
        let new = self.room(size, report)?;
        if !original.read(addr, new) {
            return Err(report.refuse(codes::MODULE_CHANGED, format_args!("{addr:#x} isn't readable")));
        }
        for edit in edits {
            let (at, bytes) = edit_of(unit, edit, report)?;
            let from = (at - addr) as usize;
            let place = new.get_mut(from..from + bytes.len());
            place
                .ok_or_else(|| report.refuse(codes::INTERNAL, format_args!("an edit outside its function")))?
                .copy_from_slice(bytes);
        }
        self.push_write(addr, new, func, live, report)
    }

    fn function(
        &mut self,
        unit: &Unit<'_>,
        func: &payload::Func,
        live: &dyn Memory,
        report: &mut Report,
    ) -> Result<(), Code> {
        let text = unit.payload.object.name(func.name.get());
        let index = self.funcs.len as u32;
        let site = avma(unit.image, func.site.get(), u64::from(payload::DETOUR), true, Name(text), report)?;
        let (offset, size) = unit.payload.replacement(func, unit.places, unit.layout, report)?;
        let replacement = unit.base + offset;
        let distance = replacement.wrapping_sub(site + u64::from(payload::DETOUR)) as i64;
        let Ok(distance) = i32::try_from(distance) else {
            return Err(report
                .refuse(codes::NO_MEMORY_IN_REACH, format_args!("{} is out of reach of its replacement", Name(text))));
        };
        let mut jump = [0xe9u8, 0, 0, 0, 0];
        jump[1..].copy_from_slice(&distance.to_le_bytes());
        self.write(site, &jump, index, live, report)?;
        for range in func.ranges(unit.payload.ranges)? {
            let start = avma(unit.image, range.svma.get(), range.size.get(), true, Name(text), report)?;
            self.old_ranges.push(Range { start, end: start + range.size.get(), func: index, reserved: 0 }, report)?;
        }
        for s in func.sites(unit.payload.sites)? {
            self.old_sites.push(unit.image.bias.wrapping_add(s.svma.get()), report)?;
        }
        let entry = unit.image.bias.wrapping_add(func.entry.get());
        self.name_function(unit, func, (entry, replacement, size), report)
    }

    /// Adds the record of a function; one that stays is its own replacement.
    fn name_function(
        &mut self,
        unit: &Unit<'_>,
        func: &payload::Func,
        (entry, replacement, replacement_len): (u64, u64, u64),
        report: &mut Report,
    ) -> Result<(), Code> {
        let name = self.keep(unit.payload.object.name(func.name.get()), report)?;
        let entry = Func {
            entry,
            replacement,
            replacement_len,
            name: address(name),
            name_len: name.len() as u32,
            flags: func.flags.get(),
            unit: unit.index,
            reserved: 0,
        };
        self.funcs.push(entry, report)
    }

    fn write(&mut self, addr: u64, new: &[u8], func: u32, live: &dyn Memory, report: &mut Report) -> Result<(), Code> {
        let new = self.keep(new, report)?;
        self.push_write(addr, new, func, live, report)
    }

    fn push_write(
        &mut self,
        addr: u64,
        new: &'a [u8],
        func: u32,
        live: &dyn Memory,
        report: &mut Report,
    ) -> Result<(), Code> {
        let old = self.room(new.len(), report)?;
        if !live.read(addr, old) {
            return Err(report.refuse(codes::MODULE_CHANGED, format_args!("{addr:#x} isn't readable")));
        }
        let old = address(old);
        self.writes.push(Write { addr, len: new.len() as u32, func, old, new: address(new) }, report)
    }

    /// All of the new text, cut at the replacements, and the return addresses in it.
    fn new_code(&mut self, unit: &Unit<'_>, first: usize, report: &mut Report) -> Result<(), Code> {
        let end = unit.base + unit.layout.text_len;
        let mut at = unit.base;
        while at < end {
            let funcs = &self.funcs.items()[first..];
            let inside = funcs.iter().position(|f| at >= f.replacement && at - f.replacement < f.replacement_len);
            let (stop, func) = match inside {
                Some(n) => (funcs[n].replacement + funcs[n].replacement_len, (first + n) as u32),
                None => (end, NO_FUNC),
            };
            let next = funcs.iter().map(|f| f.replacement).filter(|r| *r > at).min().unwrap_or(end);
            let stop = stop.min(next).min(end);
            self.new_ranges.push(Range { start: at, end: stop, func, reserved: 0 }, report)?;
            at = stop;
        }
        for s in unit.payload.payload_sites {
            let place =
                unit.places.get(s.section.get() as usize).filter(|p| p.mapped() && u64::from(s.offset.get()) <= p.size);
            let Some(place) = place else {
                return Err(
                    report.refuse(codes::RECORD_INDEX, format_args!("a return address outside the payload's code"))
                );
            };
            self.new_sites.push(unit.base + place.offset + u64::from(s.offset.get()), report)?;
        }
        Ok(())
    }

    /// Adds code of an earlier record that this one takes out of use: it must not be active either.
    pub fn add_old_code(&mut self, range: Range, sites: &[u64], report: &mut Report) -> Result<(), Code> {
        self.old_ranges.push(range, report)?;
        // A call may be the last instruction, then its return address is the end.
        for &s in sites.iter().filter(|s| **s > range.start && **s <= range.end) {
            self.old_sites.push(s, report)?;
        }
        Ok(())
    }

    /// Puts the tables in order; two writes must not touch the same byte.
    pub fn finish(&mut self, report: &mut Report) -> Result<(), Code> {
        sort::by_key(self.writes.items_mut(), |w| w.addr);
        sort::by_key(self.old_ranges.items_mut(), |r| (r.start, r.end));
        sort::by_key(self.new_ranges.items_mut(), |r| (r.start, r.end));
        sort::by_key(self.old_sites.items_mut(), |s| *s);
        sort::by_key(self.new_sites.items_mut(), |s| *s);
        let overlap = self.writes.items().windows(2).find(|w| w[0].addr + u64::from(w[0].len) > w[1].addr);
        match overlap {
            Some(w) => Err(report.refuse(codes::RECORD_ORDER, format_args!("two writes overlap at {:#x}", w[1].addr))),
            None => Ok(()),
        }
    }
}

fn avma(image: &Image, svma: u64, size: u64, code: bool, name: Name<'_>, report: &mut Report) -> Result<u64, Code> {
    let within = image.avma(svma, size, code);
    within.ok_or_else(|| {
        report.refuse(codes::BAD_BINDING, format_args!("{name}: {svma:#x} isn't in the module's mapping"))
    })
}

/// Where an edit goes, and the bytes that it writes.
fn edit_of<'u>(unit: &Unit<'u>, edit: &payload::Edit, report: &mut Report) -> Result<(u64, &'u [u8]), Code> {
    let size = edit.size.get();
    let name = Name(unit.payload.object.name(edit.name.get()));
    let addr = avma(unit.image, edit.svma.get(), u64::from(size), edit.code(), name, report)?;
    let at = unit.payload.edit_bytes(edit, unit.places, report)? as usize;
    match unit.linked.get(at..at + size as usize) {
        Some(new) => Ok((addr, new)),
        None => Err(report.refuse(codes::INTERNAL, format_args!("bytes of an edit outside the mapping"))),
    }
}

/// Whether two views of memory agree.
fn same_memory(a: &dyn Memory, b: &dyn Memory, start: u64, size: u64, report: &mut Report) -> Result<bool, Code> {
    let (mut x, mut y) = ([0u8; 256], [0u8; 256]);
    let mut done = 0;
    while done < size {
        let n = (size - done).min(x.len() as u64) as usize;
        if !a.read(start + done, &mut x[..n]) || !b.read(start + done, &mut y[..n]) {
            return Err(report.refuse(codes::MODULE_CHANGED, format_args!("{:#x} isn't readable", start + done)));
        }
        if x[..n] != y[..n] {
            return Ok(false);
        }
        done += n as u64;
    }
    Ok(true)
}

/// Compares what the payload was made from with `original`: the functions that are replaced, and what is edited.
///
/// # Errors
/// HP1105 for other bytes, HP1106 for an address outside the image.
pub fn check_preimages(p: &Payload<'_>, image: &Image, original: &dyn Memory, report: &mut Report) -> Result<(), Code> {
    let bias = image.bias;
    for f in p.funcs {
        let name = Name(p.object.name(f.name.get()));
        let mut hash = Sha256::new();
        for range in f.ranges(p.ranges)? {
            let start = avma(image, range.svma.get(), range.size.get(), true, name, report)?;
            hash_memory(&mut hash, original, start, range.size.get(), report)?;
        }
        compare(hash, &f.preimage, original, bias.wrapping_add(f.entry.get()), name, report)?;
    }
    for e in p.edits.iter().filter(|e| e.preimage != [0; PREIMAGE]) {
        let name = Name(p.object.name(e.name.get()));
        let size = u64::from(e.size.get());
        let start = avma(image, e.svma.get(), size, e.code(), name, report)?;
        let mut hash = Sha256::new();
        hash_memory(&mut hash, original, start, size, report)?;
        compare(hash, &e.preimage, original, start, name, report)?;
    }
    Ok(())
}

/// Compares what stays and is relied upon with `original`.
///
/// # Errors
/// HP1105 for other bytes, HP1106 for an address outside the image.
pub fn check_guards(p: &Payload<'_>, image: &Image, original: &dyn Memory, report: &mut Report) -> Result<(), Code> {
    for g in p.guards {
        let name = Name(p.object.name(g.name.get()));
        let (start, size) = (avma(image, g.svma.get(), g.size.get(), false, name, report)?, g.size.get());
        let mut hash = Sha256::new();
        hash_memory(&mut hash, original, start, size, report)?;
        compare(hash, &g.preimage, original, start, name, report)?;
    }
    Ok(())
}

fn hash_memory(hash: &mut Sha256, mem: &dyn Memory, start: u64, size: u64, report: &mut Report) -> Result<(), Code> {
    let mut buf = [0u8; 4096];
    let mut done = 0;
    while done < size {
        let n = (size - done).min(buf.len() as u64) as usize;
        if !mem.read(start + done, &mut buf[..n]) {
            return Err(report.refuse(codes::MODULE_CHANGED, format_args!("{:#x} isn't readable", start + done)));
        }
        hash.update(&buf[..n]);
        done += n as u64;
    }
    Ok(())
}

fn compare(
    hash: Sha256,
    want: &[u8; PREIMAGE],
    mem: &dyn Memory,
    at: u64,
    name: Name<'_>,
    report: &mut Report,
) -> Result<(), Code> {
    if hash.finalize()[..PREIMAGE] == *want {
        return Ok(());
    }
    let mut first = [0u8; 8];
    let readable = mem.read(at, &mut first);
    let guess = match first {
        _ if !readable => "",
        [0xcc, ..] | [0xf3, 0x0f, 0x1e, 0xfa, 0xcc, ..] => ": a breakpoint or probe (int3)",
        [0xe9 | 0xeb, ..] | [0xff, 0x25, ..] | [0xf3, 0x0f, 0x1e, 0xfa, 0xe9, ..] => {
            ": a jump, perhaps another patch or hook"
        }
        _ => "",
    };
    let hex = crate::report::Hex(&first);
    Err(report.refuse(
        codes::PREIMAGE_DIFFERS,
        format_args!("{name} at {at:#x} differs from the old build; it begins with {hex}{guess}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    /// A process whose memory is one buffer at address 0x1000.
    struct Fake(Vec<u8>);

    impl Memory for Fake {
        fn read(&self, addr: u64, buf: &mut [u8]) -> bool {
            let bytes = addr.checked_sub(0x1000).and_then(|a| self.0.get(a as usize..a as usize + buf.len()));
            bytes.map(|b| buf.copy_from_slice(b)).is_some()
        }
    }

    #[test]
    fn bytes_are_read_as_if_nothing_were_live() {
        // The code at 0x1000 was "abcdef"; one record made it "aXYdef", a later one "aXZZef".
        let mem = Fake(b"aXZZef..bcYd".to_vec());
        let write = |addr, len, old| Write { addr, len, func: 0, old, new: 0 };
        let writes = [write(0x1002, 2, 0x100a), write(0x1001, 2, 0x1008)];
        let original = Reverted { mem: &mem, writes: &writes };
        let read = |addr, len| {
            let mut buf = vec![0; len];
            original.read(addr, &mut buf).then_some(buf)
        };
        assert_eq!(read(0x1000, 6), Some(b"abcdef".to_vec()));
        assert_eq!(read(0x1001, 1), Some(b"b".to_vec()));
        assert_eq!(read(0x1002, 1), Some(b"c".to_vec()));
        assert_eq!(read(0x1003, 3), Some(b"def".to_vec()));
        assert_eq!(read(0xfff, 2), None);
        // A saved copy that can't be read is an error, not the live bytes.
        assert!(!Reverted { mem: &mem, writes: &[write(0x1000, 1, 0)] }.read(0x1000, &mut [0; 2]));
    }

    #[test]
    fn all_variables_that_both_know_go_along_or_none() {
        let keep = |key, shape, addr| Keep {
            key: [key; 16],
            shape: [shape; 16],
            addr,
            from: 0,
            name: 0,
            name_len: 0,
            len: 4,
            goes_along: 1,
            reserved: 0,
        };
        let counts = Counts { keeps: 3, ..Counts::default() };
        let mut need = Need::default();
        counts.need(&mut need);
        let from = |former: &[Keep]| {
            let mut memory = vec![0u64; need.bytes() as usize / 8 + 8];
            let (mut plan, _) = Plan::new(Arena::new(memory.as_mut_bytes()), &counts).expect("room");
            for k in [keep(1, 0, 0x10), keep(2, 0, 0x20), keep(4, 0, 0x40)] {
                plan.keeps.push(k, &mut Report::default()).expect("room");
            }
            plan.take_along(1, former);
            plan.keeps.items().iter().map(|k| k.from).collect::<Vec<_>>()
        };
        let dropped = [keep(1, 0, 0x100), keep(2, 0, 0x200), keep(3, 9, 0x300), keep(4, 0, 0x400)];
        assert_eq!(from(&dropped), [0, 0x200, 0x400]);
        assert_eq!(from(&[keep(2, 0, 0x200)]), [0, 0x200, 0], "one more");
        assert_eq!(from(&[keep(2, 0, 0x200), keep(3, 0, 0x300)]), [0; 3], "renamed");
        assert_eq!(from(&[keep(2, 0, 0x200), keep(4, 0, 0x400)]), [0, 0x200, 0x400]);
        assert_eq!(from(&[keep(2, 0, 0x200), keep(4, 7, 0x400)]), [0; 3]);
        assert_eq!(from(&[keep(2, 0, 0x200), Keep { len: 8, ..keep(4, 0, 0x400) }]), [0; 3]);
        assert_eq!(from(&[keep(2, 0, 0x200), Keep { goes_along: 0, ..keep(4, 0, 0x400) }]), [0; 3]);
    }

    #[test]
    fn differing_bytes_are_named() {
        let mem = Fake([&[0xcc; 1][..], &[0x90; 31]].concat());
        let mut report = Report::default();
        let mut hash = Sha256::new();
        assert_eq!(hash_memory(&mut hash, &mem, 0x1000, 16, &mut report), Ok(()));
        let code = compare(hash, &[0; 16], &mem, 0x1000, Name(b"f"), &mut report);
        assert_eq!(code, Err(codes::PREIMAGE_DIFFERS));
        assert!(report.text().contains("f at 0x1000") && report.text().contains("int3"), "{report:?}");
        let mut hash = Sha256::new();
        assert_eq!(hash_memory(&mut hash, &mem, 0x1010, 64, &mut report), Err(codes::MODULE_CHANGED));
    }
}
