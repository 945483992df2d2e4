//! Variables that change places, or get another value, while every thread stands still. In which order, and what a killed command leaves, is said
//! in [`crate::recovery`].

use std::io;

use hpatch_core::abi::Move;

use crate::target::mem::Mem;
use crate::write::{Failed, put_back};

/// The copies that undo `moves`, in the order in which they do.
pub fn back(moves: &[Move]) -> impl Iterator<Item = Move> + '_ {
    moves.iter().rev().filter(|m| m.both_ways != 0).map(|m| Move { from: m.to, to: m.from, ..*m })
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
}
