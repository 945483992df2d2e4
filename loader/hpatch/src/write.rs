//! The writes of a switch, put together so that the time in which every thread stands still has few system calls: changes that lie near one
//! another are read, written and read back as one stretch.

use std::io;

use crate::fault::fault;
use crate::target::mem::{ByteSpan, Mem, read_spans};

/// Longest stretch that is written at once, bytes. What lies between its changes is written as it is, so this is for code: between data the
/// kernel may put the result of a read that is under way.
const STRETCH: u64 = 4096;

/// One change of bytes in the direction of the switch.
#[derive(Debug)]
pub struct Step<'a> {
    pub addr: u64,
    pub code: bool,
    pub from: &'a [u8],
    pub to: &'a [u8],
}

impl Step<'_> {
    fn end(&self) -> u64 {
        self.addr + self.to.len() as u64
    }
}

/// Why nothing was written, or was taken back.
#[derive(Debug)]
pub enum Failed {
    Differs { addr: u64, found: Vec<u8> },
    Io(u64, io::Error),
}

/// The changes and room for them. Make it before the stop.
#[derive(Debug)]
pub struct Steps<'a> {
    /// In ascending order, without overlap.
    steps: Vec<Step<'a>>,
    spans: Vec<ByteSpan>,
    /// As found, as wanted, and as read back: all spans one behind the other.
    before: Vec<u8>,
    after: Vec<u8>,
    again: Vec<u8>,
    /// The last comparison found every byte as it was to be found.
    pub untouched: bool,
}

impl<'a> Steps<'a> {
    pub fn new(steps: Vec<Step<'a>>) -> Self {
        let mut spans: Vec<ByteSpan> = Vec::new();
        let mut in_code = false;
        for s in &steps {
            match spans.last_mut().filter(|p| in_code && s.code && s.end() - p.addr <= STRETCH) {
                Some(p) => p.len = (s.end() - p.addr) as usize,
                None => spans.push(ByteSpan { addr: s.addr, len: s.to.len() }),
            }
            in_code = s.code;
        }
        let room = || vec![0; spans.iter().map(|s| s.len).sum()];
        let (before, after, again) = (room(), room(), room());
        Self { steps, before, after, again, spans, untouched: true }
    }

    pub fn all(&self) -> &[Step<'a>] {
        &self.steps
    }

    /// Reads what is there, and fails unless it is what each change expects; with `torn` each byte may be the one or the other.
    pub fn compare(&mut self, mem: &Mem, tid: i32, torn: bool) -> Result<(), Failed> {
        read_spans(mem, tid, &self.spans, &mut self.before).map_err(|(at, e)| Failed::Io(at, e))?;
        self.after.copy_from_slice(&self.before);
        self.untouched = true;
        let mut span = 0;
        let mut base = 0;
        for s in &self.steps {
            while s.addr >= self.spans[span].addr + self.spans[span].len as u64 {
                base += self.spans[span].len;
                span += 1;
            }
            let at = base + (s.addr - self.spans[span].addr) as usize;
            let found = &self.before[at..at + s.from.len()];
            if found != s.from {
                self.untouched = false;
                if !(torn && is_torn(found, s.from, s.to)) {
                    return Err(Failed::Differs { addr: s.addr, found: found.to_vec() });
                }
            }
            self.after[at..at + s.to.len()].copy_from_slice(s.to);
        }
        Ok(())
    }

    /// Writes and reads back, after [`Self::compare`].
    pub fn write(&mut self, mem: &Mem, tid: i32) -> Result<(), Failed> {
        put(mem, &self.spans, &self.after).map_err(|(at, e)| Failed::Io(at, e))?;
        read_spans(mem, tid, &self.spans, &mut self.again).map_err(|(at, e)| Failed::Io(at, e))?;
        let mut base = 0;
        for s in &self.spans {
            let (found, wanted) = (&self.again[base..base + s.len], &self.after[base..base + s.len]);
            if let Some(i) = (0..s.len).find(|&i| found[i] != wanted[i]) {
                let found = found[i..].iter().take(16).copied().collect();
                return Err(Failed::Differs { addr: s.addr + i as u64, found });
            }
            base += s.len;
        }
        Ok(())
    }

    /// Puts back what was found, as far as that is possible.
    pub fn take_back(&self, mem: &Mem) {
        let mut base = 0;
        for s in &self.spans {
            let _ = mem.write(s.addr, &self.before[base..base + s.len]);
            base += s.len;
        }
    }
}

fn put(mem: &Mem, spans: &[ByteSpan], bytes: &[u8]) -> Result<(), (u64, io::Error)> {
    let mut base = 0;
    for (i, s) in spans.iter().enumerate() {
        mem.write(s.addr, &bytes[base..base + s.len]).map_err(|e| (s.addr, e))?;
        base += s.len;
        if i == 0 {
            fault("first-write");
        }
    }
    Ok(())
}

/// Bytes of which each is the old or the new one.
fn is_torn(found: &[u8], a: &[u8], b: &[u8]) -> bool {
    found.iter().zip(a.iter().zip(b)).all(|(f, (x, y))| f == x || f == y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_stretch() {
        let step = |addr| Step { addr, code: addr < 0x9000, from: &[1, 2, 3, 4, 5], to: &[5, 4, 3, 2, 1] };
        let s =
            Steps::new(vec![step(0x1000), step(0x1100), step(0x1ffb), step(0x1fff + 1), step(0x9000), step(0x9008)]);
        let spans: Vec<_> = s.spans.iter().map(|s| (s.addr, s.len)).collect();
        assert_eq!(spans, [(0x1000, 0x1000), (0x2000, 5), (0x9000, 5), (0x9008, 5)]);
        assert_eq!(s.before.len(), 0x1000 + 15);
    }

    #[test]
    fn this_process_is_changed_and_changed_back() {
        let pid = std::process::id() as i32;
        let mem = Mem::open(pid, pid).expect("own memory");
        let bytes: &'static mut [u8] = Box::leak(vec![7u8; 600].into_boxed_slice());
        let at = bytes.as_ptr() as u64;
        let step = |offset| Step { addr: at + offset, code: true, from: &[7, 7], to: &[8, 9] };
        let mut s = Steps::new(vec![step(0), step(500)]);
        let read = || (mem.read_vec(at, 4).expect("readable"), mem.read_vec(at + 499, 3).expect("readable"));
        s.compare(&mem, pid, false).expect("as expected");
        s.write(&mem, pid).expect("written");
        assert_eq!(read(), (vec![8, 9, 7, 7], vec![7, 8, 9]));
        assert!(
            matches!(Steps::new(vec![step(0)]).compare(&mem, pid, false), Err(Failed::Differs { addr, .. }) if addr == at)
        );
        Steps::new(vec![step(0)]).compare(&mem, pid, true).expect("the new bytes are the one or the other");
        s.take_back(&mem);
        assert_eq!(read(), (vec![7; 4], vec![7; 3]));
        assert!(is_torn(&[1, 4], &[1, 2], &[3, 4]) && !is_torn(&[2, 2], &[1, 2], &[3, 4]));
    }
}
