//! The check of memory that no stack pointer leads to: programs that switch stacks by themselves (coroutines) keep suspended frames
//! anywhere. Every word of writable memory is compared with the return sites; a match is taken for a suspended frame, unless memory
//! also shows that there is no suspended stack at all. A signal handler that was left by a switch of stacks has its signal frame somewhere,
//! which says where the interrupted function goes on.

use super::forbidden::{Forbidden, Sites};
use super::scan::{CONTEXT, Hit, SELECTORS, Use, View};
use super::stacks::Stacks;
use crate::target::Target;
use crate::target::maps::{self, Mapping};
use crate::target::mem::{IoVecs, Piece, read_pieces};
use crate::target::pages::{Next, Pages};

const PAGE: u64 = 4096;
/// Bytes that are read at once.
const AT_ONCE: u64 = 2 << 20;
/// Address space that is looked at page by page at most, where the kernel doesn't find the pages that exist by itself: a sanitizer's shadow has
/// terabytes, and looking at each would take minutes.
const MOST_LOOKED_AT: u64 = 64 << 30;

/// From the program counter in a signal frame to its selectors, in bytes.
const PC_BEFORE: u64 = (CONTEXT - 1) * 8;

/// Findings that are told, at most.
const MOST: usize = 64;

/// Private memory, or such that processes share and no file system keeps.
fn may_hold_stacks(m: &Mapping) -> bool {
    !m.shared || ["/dev/zero", "/memfd:", "/SYSV", "/dev/shm/"].iter().any(|p| m.path.starts_with(p))
}

/// What is looked for.
enum Word {
    /// A return site, or the sign of a context.
    Known(u64),
    /// The program counter in a signal frame.
    Interrupted(u64),
}

fn read_word(reader: i32, addr: u64, iov: &mut IoVecs) -> Option<u64> {
    let mut word = [0];
    let got = read_pieces(reader, &[Piece { addr, len: 8, at: 0 }], &mut word, iov).ok()?;
    (got == 8).then_some(word[0])
}

/// Buffers and files of the deep check. Make it before the stop.
#[derive(Debug)]
pub struct Deep {
    words: Vec<u64>,
    iov: IoVecs,
    pages: Pages,
    /// Bytes that are read at most.
    limit: u64,
    stacks: Stacks,
    /// The loader's own memory: its lists of return sites, and what its control thread left on its stack.
    loader: Vec<(u64, u64)>,
    /// Bytes read by the last check.
    pub bytes: u64,
}

impl Deep {
    /// `loader`: address ranges that hold return sites without being anybody's stack.
    pub fn new(target: &Target, stacks: Stacks, limit: u64, loader: Vec<(u64, u64)>) -> std::io::Result<Self> {
        Ok(Self {
            words: vec![1; AT_ONCE as usize / 8],
            iov: IoVecs::with_room(1),
            pages: Pages::open(target)?,
            limit,
            stacks,
            loader,
            bytes: 0,
        })
    }

    /// Adds to `hits` what looks like a suspended frame, and says whether memory shows that no stack but the threads' own is in use: then
    /// nothing is added. The threads' own stacks, which the scan has seen, hold no suspended frames but those of contexts that were prepared on them;
    /// `rough` leaves out everything that a stack pointer points into, for a look that decides nothing.
    pub fn check(
        &mut self,
        list: &[Mapping],
        views: impl Iterator<Item = View>,
        rough: bool,
        reader: i32,
        forbidden: &Forbidden,
        hits: &mut Vec<Hit>,
    ) -> bool {
        let (signs, mut others) = match &self.stacks {
            Stacks::Threads => (Sites::default(), false),
            Stacks::Contexts(signs) => (signs.clone(), false),
            Stacks::Others => (Sites::default(), true),
        };
        let mut own = Vec::new();
        for v in views {
            let Some(m) = maps::find(list, v.sp) else {
                others = true;
                continue;
            };
            // The sign of a stack that isn't searched isn't found.
            others |= !may_hold_stacks(m);
            // On another stack than its own, the thread's own one holds suspended frames.
            if v.sp < v.fs_base && m.contains(v.fs_base) {
                own.push((m.start, v.fs_base & !(PAGE - 1)));
            } else if rough || m.path == "[stack]" {
                own.push((m.start, m.end));
            }
        }
        let known = hits.len();
        // In stacks of threads: what may be left over, and where contexts begin.
        let (mut doubtful, mut tops) = (Vec::new(), Vec::new());
        let whole = self.sweep(list, reader, &forbidden.sites.with(&signs), |slot, word| {
            let (addr, func) = match word {
                Word::Known(addr) if signs.contains(addr) => {
                    others = true;
                    if own.iter().any(|o| o.0 <= slot && slot < o.1) {
                        tops.push(slot);
                    }
                    return;
                }
                Word::Known(addr) => (addr, super::scan::func_of(forbidden, addr)),
                Word::Interrupted(pc) => match forbidden.executing(pc) {
                    Some(range) => (pc, range.func),
                    None => return,
                },
            };
            let hit = Hit { tid: 0, how: Use::Suspended { slot }, addr, func };
            if let Some(o) = own.iter().find(|o| o.0 <= slot && slot < o.1) {
                doubtful.push((hit, slot..o.1));
            } else if hits.len() < known + MOST {
                hits.push(hit);
            }
        });
        // The frames of a context lie below its beginning. Above a thread's stack pointer the scan has seen them, too.
        let suspended = doubtful.iter().filter(|(_, above)| tops.iter().any(|top| above.contains(top)));
        let room = (known + MOST).saturating_sub(hits.len());
        hits.extend(suspended.take(if rough { 0 } else { room }).map(|(hit, _)| *hit));
        match whole {
            Err(at) => hits.push(Hit { tid: reader, how: Use::TooLarge, addr: at, func: u32::MAX }),
            Ok(()) if others => {}
            Ok(()) => hits.truncate(known),
        }
        whole.is_ok() && !others
    }

    /// Gives to `found` the place of every word of writable memory that is one of `words`, or the program counter in a signal frame. An
    /// error is where the limit was reached.
    fn sweep(
        &mut self,
        list: &[Mapping],
        reader: i32,
        words: &Sites,
        mut found: impl FnMut(u64, Word),
    ) -> Result<(), u64> {
        self.bytes = 0;
        self.pages.begin();
        for m in list.iter().filter(|m| m.read && m.write && may_hold_stacks(m)) {
            let mut at = m.start;
            while at < m.end {
                let loader = |from: u64| self.loader.iter().filter(move |o| from < o.1);
                if let Some(o) = loader(at).find(|o| o.0 <= at) {
                    at = o.1.min(m.end);
                    continue;
                }
                let stop = loader(at).map(|o| o.0).min().unwrap_or(m.end).min(m.end);
                at = self.stretch(at, stop, reader, words, &mut found);
                if self.bytes > self.limit || self.pages.looked_at() > MOST_LOOKED_AT {
                    return Err(m.start);
                }
            }
        }
        Ok(())
    }

    /// Looks at a run of pages that exist, from `at` on; gives where to go on.
    fn stretch(&mut self, at: u64, stop: u64, reader: i32, words: &Sites, found: &mut impl FnMut(u64, Word)) -> u64 {
        let (at, end) = match self.pages.next(at, stop, AT_ONCE) {
            Next::Nothing(end) => return end,
            Next::Pages(start, end) => (start, end),
        };
        let piece = Piece { addr: at, len: (end - at) as usize & !7, at: 0 };
        let got = read_pieces(reader, &[piece], &mut self.words, &mut self.iov).unwrap_or(0);
        self.bytes += got as u64;
        for i in 0..got / 8 {
            let (word, slot) = (self.words[i], at + i as u64 * 8);
            if words.contains(word) {
                found(slot, Word::Known(word));
            } else if word == SELECTORS && slot >= PC_BEFORE {
                let pc = match i.checked_sub(PC_BEFORE as usize / 8) {
                    Some(before) => Some(self.words[before]),
                    None => read_word(reader, slot - PC_BEFORE, &mut self.iov),
                };
                pc.into_iter().for_each(|pc| found(slot - PC_BEFORE, Word::Interrupted(pc)));
            }
        }
        // Behind a page that can't be read there may be others.
        if got < piece.len { (((at + got as u64) & !(PAGE - 1)) + PAGE).min(stop) } else { end }
    }
}
