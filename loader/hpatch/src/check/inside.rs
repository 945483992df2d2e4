//! The check of one thread, repeated some thousand times a second while it is pursued: see [`crate::trace::chase`].

use std::collections::HashMap;
use std::iter;

use super::forbidden::Forbidden;
use super::scan::{Hit, Lookup, Scanner, Use, View};
use super::unwind::Unwinder;
use crate::target::Target;
use crate::trace::stop::Tracee;

/// Quick answers in a row before the whole stack is looked at again.
const QUICK: u32 = 15;

/// The outermost frame of code that is to change, as last seen on a thread's stack.
#[derive(Debug, Clone, Copy)]
struct Outermost {
    /// Where its return address lies, and what it is.
    slot: u64,
    site: u64,
    quick: u32,
}

/// What is known of the threads that are pursued.
#[derive(Debug)]
pub struct Inside<'a> {
    target: &'a Target,
    scanner: &'a mut Scanner,
    lookup: Lookup<'a>,
    forbidden: &'a Forbidden,
    unwinder: &'a Unwinder,
    frames: HashMap<i32, Outermost>,
    /// The last finding about each thread that was inside.
    seen: HashMap<i32, Hit>,
}

impl<'a> Inside<'a> {
    pub fn new(
        target: &'a Target,
        scanner: &'a mut Scanner,
        lookup: Lookup<'a>,
        forbidden: &'a Forbidden,
        unwinder: &'a Unwinder,
    ) -> Self {
        Self { target, scanner, lookup, forbidden, unwinder, frames: HashMap::new(), seen: HashMap::new() }
    }

    /// Whether a stopped thread executes in the code or will return there.
    pub fn is_inside(&mut self, t: &Tracee) -> bool {
        if let Some(r) = self.forbidden.executing(t.regs.rip) {
            self.seen.insert(t.tid, Hit { tid: t.tid, how: Use::Executing, addr: t.regs.rip, func: r.func });
            return true;
        }
        if let Some(f) = self.frames.get_mut(&t.tid)
            && f.quick < QUICK
            && t.regs.rsp <= f.slot
            && self.target.mem.read_u64(f.slot).is_ok_and(|w| w == f.site)
        {
            // Most likely the same frame; a word left over from it is found out soon.
            f.quick += 1;
            return true;
        }
        self.scanner.check(iter::once(View::of(t)), t.tid, &self.lookup, self.forbidden);
        let hits = &mut self.scanner.hits;
        if !hits.is_empty() {
            self.unwinder.clear(hits, iter::once(t), &self.target.mem);
        }
        let Some(hit) = hits.first() else { return false };
        self.seen.insert(t.tid, *hit);
        let slot = |h: &Hit| if let Use::Returning { slot } = h.how { (slot, h.addr) } else { (0, 0) };
        match hits.iter().map(slot).max() {
            Some((slot, site)) if slot != 0 => self.frames.insert(t.tid, Outermost { slot, site, quick: 0 }),
            _ => self.frames.remove(&t.tid),
        };
        true
    }

    /// The last finding about each thread that was met inside.
    pub fn into_seen(self) -> Vec<Hit> {
        self.seen.into_values().collect()
    }
}
