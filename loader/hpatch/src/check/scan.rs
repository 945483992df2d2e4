//! The conservative check of a stopped process: program counters, registers, and every word of every used stack.
//!
//! A word counts when it equals a *return site* (the address after a call inside code that changes), so function
//! pointers to an entry don't count. Signal frames are recognised by the segment selectors that the kernel saves in them; the interrupted
//! program counter in one is checked like a thread's own, and the interrupted stack is scanned too if it is another.

use std::os::fd::OwnedFd;

use super::forbidden::Forbidden;
use crate::target::maps::{self, Mapping};
use crate::target::mem::{IoVecs, Piece, read_pieces};
use crate::trace::ptrace::Regs;
use crate::trace::stop::{Place, Tracee};

/// Bytes below the stack pointer that a leaf function may use (psABI).
const RED_ZONE: u64 = 128;
/// Words in the shortest piece but the last of a stack.
const LEAST: usize = 512;
/// Words that a context reaches back from its selectors.
pub const CONTEXT: u64 = 3;
/// Pieces in one read.
const BATCH: usize = 256;
/// Words that the buffer holds.
const BUFFER: usize = 256 * 1024;
/// `cs` = 0x33, `gs` = `fs` = 0, `ss` = 0x2b in `uc_mcontext`: the kernel's mark of a 64-bit user context.
pub const SELECTORS: u64 = 0x002b_0000_0000_0033;
/// Most bytes of a stack that are taken up to the thread-local storage above it without asking where its mapping ends.
const DIRECT: u64 = 64 << 10;
/// Stacks that one thread may have: its own, an alternate one for signals, and room for doubt.
const MAX_STACKS: usize = 32;

/// In what way a thread uses the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Its program counter is inside.
    Executing,
    /// It will return there. `slot` is the address on the stack, 0 for a register.
    Returning { slot: u64 },
    /// A signal handler runs and will return there.
    Interrupted { slot: u64 },
    /// A suspended stack (a coroutine's) will return there; no thread is on it.
    Suspended { slot: u64 },
    /// Its stack can't be found or read, so nothing is known.
    Unreadable,
    /// Its stack is larger than the limit.
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    pub tid: i32,
    pub how: Use,
    /// Address in the code, 0 when unknown.
    pub addr: u64,
    /// Index of the function, `u32::MAX` when unknown.
    pub func: u32,
}

/// How the bounds of a stretch were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Up to the thread-local storage, unasked.
    Direct,
    /// By its mapping.
    Mapping,
    /// Through a context, which may not be one.
    Doubtful,
}

/// One stretch of stack still to be read.
#[derive(Debug, Clone, Copy)]
struct Region {
    thread: usize,
    tid: i32,
    origin: Origin,
    next: u64,
    end: u64,
}

/// Buffers of the check. Make it before the stop.
#[derive(Debug)]
pub struct Scanner {
    words: Vec<u64>,
    iov: IoVecs,
    pieces: Vec<Piece>,
    owners: Vec<Region>,
    regions: Vec<Region>,
    /// Stacks of the same thread that were seen: thread, start, end.
    seen: Vec<(usize, u64, u64)>,
    more: Vec<(usize, u64)>,
    /// Threads whose stack isn't where it usually is.
    unusual: Vec<usize>,
    pub hits: Vec<Hit>,
    /// Bytes of one thread's stack that are read at most.
    pub limit: u64,
    /// Bytes read by the last check.
    pub bytes: u64,
}

/// What is looked at: a thread's registers, or what the kernel tells of a sleeping one.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub tid: i32,
    pub pc: u64,
    pub sp: u64,
    /// Thread pointer, 0 when unknown.
    pub fs_base: u64,
    /// Registers that may hold a return address between a `pop` and a `jmp`.
    pub regs: Option<[u64; 15]>,
}

impl View {
    pub fn of(t: &Tracee) -> Self {
        let r = &t.regs;
        let full = t.place == Place::Stopped;
        Self {
            tid: t.tid,
            pc: r.rip,
            sp: r.rsp,
            fs_base: if full { r.fs_base } else { 0 },
            regs: full.then(|| general(r)),
        }
    }
}

fn general(r: &Regs) -> [u64; 15] {
    // `rcx` is the program counter itself after a system call.
    let rcx = if r.orig_rax as i64 >= 0 { 0 } else { r.rcx };
    [r.rax, rcx, r.rdx, r.rbx, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15]
}

/// Where mappings are looked up.
#[derive(Debug)]
pub struct Lookup<'a> {
    pub maps_file: &'a OwnedFd,
    /// For kernels without the query: mappings read *inside* the stop.
    pub listed: Option<&'a [Mapping]>,
}

impl Lookup<'_> {
    /// Whether this kernel answers queries for single addresses.
    pub fn has_query(maps_file: &OwnedFd) -> bool {
        maps::query(maps_file, 0).is_ok()
    }

    fn bounds(&self, addr: u64) -> Option<(u64, u64)> {
        match self.listed {
            Some(list) => maps::find(list, addr).filter(|m| m.read).map(|m| (m.start, m.end)),
            None => maps::query(self.maps_file, addr).ok().flatten(),
        }
    }
}

impl Scanner {
    pub fn new(threads: usize, limit: u64) -> Self {
        let n = threads * 2 + 64;
        let mut words = vec![0u64; BUFFER];
        // Touched now, so that the kernel needn't find pages during the stop.
        words.iter_mut().for_each(|w| *w = 1);
        Self {
            words,
            iov: IoVecs::with_room(BATCH),
            pieces: Vec::with_capacity(BATCH),
            owners: Vec::with_capacity(BATCH),
            regions: Vec::with_capacity(n),
            seen: Vec::with_capacity(n),
            more: Vec::with_capacity(64),
            unusual: Vec::with_capacity(64),
            hits: Vec::with_capacity(n),
            limit,
            bytes: 0,
        }
    }

    /// Checks all threads; the findings are in `hits`. `reader` is a live thread of the process.
    pub fn check(
        &mut self,
        views: impl Iterator<Item = View> + Clone,
        reader: i32,
        lookup: &Lookup<'_>,
        forbidden: &Forbidden,
    ) {
        self.hits.clear();
        self.regions.clear();
        self.seen.clear();
        self.bytes = 0;
        for (i, v) in views.clone().enumerate() {
            if let Some(r) = forbidden.executing(v.pc) {
                self.hits.push(Hit { tid: v.tid, how: Use::Executing, addr: v.pc, func: r.func });
            }
            for w in v.regs.iter().flatten() {
                if forbidden.sites.contains(*w) {
                    let how = Use::Returning { slot: 0 };
                    self.hits.push(Hit { tid: v.tid, how, addr: *w, func: func_of(forbidden, *w) });
                }
            }
            if !self.add_below_storage(i, &v) {
                self.add_stack(i, &v, v.sp, lookup);
            }
        }
        while !self.regions.is_empty() {
            self.read_batch(reader, forbidden);
            while let Some(i) = self.unusual.pop() {
                if let Some(v) = views.clone().nth(i) {
                    self.add_stack(i, &v, v.sp, lookup);
                }
            }
            while let Some((i, sp)) = self.more.pop() {
                if let Some(v) = views.clone().nth(i) {
                    self.add_stack(i, &v, sp, lookup);
                }
            }
        }
    }

    fn add_stack(&mut self, thread: usize, v: &View, sp: u64, lookup: &Lookup<'_>) {
        let doubtful = sp != v.sp;
        if doubtful && self.seen.iter().any(|s| s.0 == thread && s.1 <= sp && sp < s.2) {
            return;
        }
        // An empty stack's pointer stands at the end of its mapping.
        let bounds = lookup.bounds(sp).or_else(|| lookup.bounds(sp.wrapping_sub(8)));
        let Some((start, end)) = bounds else {
            if !doubtful {
                self.hits.push(Hit { tid: v.tid, how: Use::Unreadable, addr: v.sp, func: u32::MAX });
            }
            return;
        };
        let from = sp.saturating_sub(RED_ZONE).max(start) & !7;
        // Thread-local storage lies above the stack that shares its mapping, whichever stack that is.
        let mut end = if from < v.fs_base && v.fs_base < end { v.fs_base } else { end } & !7;
        let mut known = 0;
        if doubtful {
            for s in self.seen.iter().filter(|s| s.0 == thread) {
                known += 1;
                if from < s.1 && s.1 < end {
                    end = s.1;
                }
            }
        }
        if known >= MAX_STACKS || end.saturating_sub(from) > self.limit {
            self.hits.push(Hit { tid: v.tid, how: Use::TooLarge, addr: sp, func: u32::MAX });
            return;
        }
        self.seen.push((thread, from, end));
        if from < end {
            let origin = if doubtful { Origin::Doubtful } else { Origin::Mapping };
            self.regions.push(Region { thread, tid: v.tid, origin, next: from, end });
        }
    }

    /// The stack of a thread that the C library made ends at its thread-local storage. Between the two lies all of it, and perhaps more when `sp`
    /// is on another stack below; whether everything there can be read is seen when it is read.
    fn add_below_storage(&mut self, thread: usize, v: &View) -> bool {
        let from = v.sp.saturating_sub(RED_ZONE) & !7;
        let end = v.fs_base & !7;
        let direct = v.sp < end && end - from <= DIRECT.min(self.limit);
        if direct {
            self.seen.push((thread, from, end));
            self.regions.push(Region { thread, tid: v.tid, origin: Origin::Direct, next: from, end });
        }
        direct
    }

    /// Reads the next piece of as many stacks as fit, and looks at them.
    fn read_batch(&mut self, reader: i32, forbidden: &Forbidden) {
        self.pieces.clear();
        self.owners.clear();
        let mut at = 0;
        while self.pieces.len() < BATCH && at + LEAST <= self.words.len() {
            let Some(mut r) = self.regions.pop() else { break };
            let room = (self.words.len() - at) as u64 * 8;
            let len = (r.end - r.next).min(room);
            self.pieces.push(Piece { addr: r.next, len: len as usize, at });
            self.owners.push(r);
            at += len as usize / 8;
            r.next += len;
            if r.next < r.end {
                r.next -= CONTEXT * 8;
                self.regions.push(r);
            }
        }
        let mut got = read_pieces(reader, &self.pieces, &mut self.words, &mut self.iov).unwrap_or(0);
        for k in 0..self.pieces.len() {
            let p = self.pieces[k];
            let Region { thread, tid, origin, end, .. } = self.owners[k];
            let mut here = got.min(p.len);
            got -= here;
            if here < p.len {
                // An unreadable page stops the whole batch: the rest is read one by one.
                here = read_pieces(reader, &self.pieces[k..=k], &mut self.words, &mut self.iov).unwrap_or(0);
            }
            self.bytes += here as u64;
            if here < p.len {
                self.regions.retain(|r| r.thread != thread || r.end != end);
                if origin == Origin::Direct {
                    self.seen.retain(|s| s.0 != thread || s.2 != end);
                    self.unusual.push(thread);
                    continue;
                }
                if origin == Origin::Mapping || here > 0 {
                    self.hits.push(Hit { tid, how: Use::Unreadable, addr: p.addr + here as u64, func: u32::MAX });
                }
            }
            look(&self.words[p.at..p.at + here / 8], p.addr, forbidden, |found| match found {
                Found::Site(slot, addr) => {
                    let how = Use::Returning { slot };
                    self.hits.push(Hit { tid, how, addr, func: func_of(forbidden, addr) });
                }
                Found::Context { slot, pc, sp } => {
                    if let Some(r) = forbidden.executing(pc) {
                        self.hits.push(Hit { tid, how: Use::Interrupted { slot }, addr: pc, func: r.func });
                    }
                    self.more.push((thread, sp));
                }
            });
        }
    }
}

/// The function that a return address belongs to.
pub fn func_of(forbidden: &Forbidden, site: u64) -> u32 {
    // A return address behind a call that never returns may be the first byte after the range.
    forbidden.range_of(site).or_else(|| forbidden.range_of(site - 1)).map_or(u32::MAX, |r| r.func)
}

enum Found {
    Site(u64, u64),
    Context { slot: u64, pc: u64, sp: u64 },
}

/// Looks at `words`, the first of which lies at `base`.
#[inline]
fn look(words: &[u64], base: u64, forbidden: &Forbidden, mut f: impl FnMut(Found)) {
    let sites = &forbidden.sites;
    // An empty set gives a span that nothing is in.
    let (start, span) = sites.single().unwrap_or((0, if sites.is_empty() { 0 } else { u64::MAX }));
    for (i, &w) in words.iter().enumerate() {
        if (w.wrapping_sub(start) <= span) | (w == SELECTORS) {
            let slot = base + i as u64 * 8;
            if w == SELECTORS {
                // gregs: ..., rsp, rip, eflags, selectors (sys/ucontext.h).
                if i as u64 >= CONTEXT {
                    f(Found::Context { slot: slot - 16, pc: words[i - 2], sp: words[i - 3] });
                }
            } else if sites.contains(w) {
                f(Found::Site(slot, w));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpatch_core::abi::Range;

    fn forbidden(sites: &[u64]) -> Forbidden {
        Forbidden::new(vec![Range { start: 0x1000, end: 0x1100, func: 3, reserved: 0 }], sites.to_vec(), vec![0x1000])
    }

    fn found(words: &[u64], f: &Forbidden) -> Vec<(u64, u64)> {
        let mut v = Vec::new();
        look(words, 0x8000, f, |x| {
            v.push(match x {
                Found::Site(s, a) => (s, a),
                Found::Context { pc, sp, .. } => (pc, sp),
            });
        });
        v
    }

    #[test]
    fn exact_sites_only() {
        let f = forbidden(&[0x1010, 0x1020]);
        assert_eq!(found(&[0, 0x1000, 0x1010, 0x1011, 0x1020], &f), [(0x8010, 0x1010), (0x8020, 0x1020)]);
        assert_eq!(found(&[0, 0x1000, 0x1010], &forbidden(&[])), []);
        let two = forbidden(&[0x1010, 0x7f00_0000_0000]);
        assert_eq!(found(&[0x1010, 0x7f00_0000_0000, 5], &two).len(), 2);
    }

    #[test]
    fn contexts() {
        let f = forbidden(&[0x1010]);
        assert_eq!(found(&[0, 0x7ffe0, 0x1044, 0x246, SELECTORS], &f), [(0x1044, 0x7ffe0)]);
        assert_eq!(found(&[SELECTORS, SELECTORS, SELECTORS], &f), []);
    }

    #[test]
    fn function_of_a_site_at_the_end() {
        let f = forbidden(&[0x1100]);
        assert_eq!((func_of(&f, 0x1100), func_of(&f, 0x1050)), (3, 3));
    }
}
