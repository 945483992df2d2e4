//! Variables that change places, or get another value, while every thread stands still. In which order, and what a killed command leaves, is said
//! in [`crate::recovery`].

use std::io;

use hpatch_core::abi::{MOVE_ALONG, Move};

use crate::target::mem::Mem;
use crate::write::{Failed, put_back};

/// The copies that undo `moves`, in the order in which they do.
pub fn back(moves: &[Move]) -> impl Iterator<Item = Move> + '_ {
    moves.iter().rev().filter(|m| m.both_ways == 1).map(|m| Move { from: m.to, to: m.from, ..*m })
}

/// Copies that belong together, and what they overwrote.
#[derive(Debug)]
pub struct Copies {
    all: Vec<Move>,
    /// As it was before the copy with the same index.
    before: Vec<Vec<u8>>,
}

impl Copies {
    pub fn new(all: Vec<Move>) -> Copies {
        Copies { all, before: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Leaves the variables out that go along, if one of them has an address in `former`, the memory of what gives way: such an address may be that of a
    /// function, which would be called although there is a newer one, or of something that isn't used any more. Says whether that was so.
    pub fn leave_out(&mut self, mem: &Mem, former: &[(u64, u64)]) -> Result<bool, Failed> {
        let mut holds = false;
        for m in self.all.iter().filter(|m| m.both_ways == MOVE_ALONG) {
            let bytes = mem.read_vec(m.from, m.len as usize).map_err(|e| Failed::Io(m.from, e))?;
            holds |= bytes.windows(8).any(|w| {
                let word = u64::from_le_bytes(w.try_into().unwrap_or_default());
                former.iter().any(|&(start, end)| (start..end).contains(&word))
            });
        }
        if holds {
            self.all.retain(|m| m.both_ways != MOVE_ALONG);
        }
        Ok(holds)
    }

    /// Copies, and reads back.
    pub fn run(&mut self, mem: &Mem) -> Result<(), Failed> {
        for m in &self.all {
            let len = m.len as usize;
            let at = |addr: u64| move |e: io::Error| Failed::Io(addr, e);
            let bytes = mem.read_vec(m.from, len).map_err(at(m.from))?;
            self.before.push(mem.read_vec(m.to, len).map_err(at(m.to))?);
            mem.write(m.to, &bytes).map_err(at(m.to))?;
            let found = mem.read_vec(m.to, len).map_err(at(m.to))?;
            if found != bytes {
                return Err(Failed::Differs { addr: m.to, found });
            }
        }
        Ok(())
    }

    /// Puts back what was overwritten, the last first.
    pub fn take_back(&self, mem: &Mem) -> Result<(), Failed> {
        put_back(mem, self.all.iter().zip(&self.before).rev().map(|(m, before)| (m.to, &before[..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_made_in_order_and_taken_back() {
        let pid = std::process::id() as i32;
        let mem = Mem::open(pid, pid).expect("own memory");
        let bytes: &'static mut [u8] = Box::leak(vec![1, 2, 3, 4, 5, 6, 7, 8, 9].into_boxed_slice());
        let at = bytes.as_ptr() as u64;
        let moved = |from, to| Move { from: at + from, to: at + to, len: 3, both_ways: 1 };
        let read = || mem.read_vec(at, 9).expect("readable");
        let mut copies = Copies::new(vec![moved(0, 3), moved(3, 6)]);
        copies.run(&mem).expect("copied");
        assert_eq!(read(), [1, 2, 3, 1, 2, 3, 1, 2, 3]);
        copies.take_back(&mem).expect("taken back");
        assert_eq!(read(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let mut nowhere = Copies::new(vec![moved(0, 6), Move { to: 8, ..moved(0, 0) }]);
        assert!(matches!(nowhere.run(&mem), Err(Failed::Io(8, _))));
        nowhere.take_back(&mem).expect("taken back");
        assert_eq!(read(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn addresses_in_what_gives_way_stay_there() {
        let pid = std::process::id() as i32;
        let mem = Mem::open(pid, pid).expect("own memory");
        let bytes: &'static mut [u8] =
            Box::leak([&[0; 3][..], &0x1234_5678u64.to_le_bytes()].concat().into_boxed_slice());
        let from = bytes.as_ptr() as u64;
        let all = || {
            Copies::new(vec![
                Move { from, to: from, len: 11, both_ways: 1 },
                Move { from, to: from, len: 11, both_ways: MOVE_ALONG },
            ])
        };
        let mut copies = all();
        assert!(!copies.leave_out(&mem, &[(0x1000, 0x1234_5678), (0x1234_5679, 0x2000_0000)]).expect("readable"));
        assert_eq!(copies.all.len(), 2);
        assert!(copies.leave_out(&mem, &[(0x1000, 0x2000), (0x1234_5000, 0x1234_6000)]).expect("readable"));
        assert_eq!(copies.all.len(), 1);
        assert_eq!(back(&all().all).count(), 1);
    }
}
