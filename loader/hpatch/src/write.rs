//! The writes of a switch, put together so that the time in which every thread stands still has few system calls: changes that lie near one
//! another are read, written and read back as one stretch.

use std::io;

use crate::fault::fault;
use crate::target::mem::{ByteSpan, Mem, read_spans};

/// Longest stretch that is written at once, bytes. What lies between its changes is written as it is, so this is for code: between data the
/// kernel may put the result of a read that is under way.
const STRETCH: u64 = 4096;

/// A jump to itself (`jmp rel8`, Intel SDM, volume 2): whoever comes here waits until something else is written.
const CLOSED: [u8; 2] = [0xeb, 0xfe];
/// `jmp rel32`, the first byte of it.
const DETOUR: u8 = 0xe9;
/// Bytes of a gate.
pub const GATE: u64 = CLOSED.len() as u64;

/// One change of bytes in the direction of the switch.
#[derive(Debug)]
pub struct Step<'a> {
    pub addr: u64,
    /// Index of the function, `u32::MAX` for data.
    pub func: u32,
    pub from: &'a [u8],
    pub to: &'a [u8],
    /// Where in it the function is closed for a while, see [`Steps::close`].
    pub gate: Option<usize>,
}

/// How far a killed command came with one function that it closed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// It isn't closed, or not wholly.
    Open,
    Closed,
    /// It is open again, with the new bytes.
    Reopened,
}

impl Step<'_> {
    pub fn is_code(&self) -> bool {
        self.func != u32::MAX
    }

    pub fn end(&self) -> u64 {
        self.addr + self.to.len() as u64
    }

    /// Whether bytes begin with a detour, or close a function: nobody executes what comes behind.
    pub fn leads_away(found: &[u8]) -> bool {
        found.first() == Some(&DETOUR) || found.starts_with(&CLOSED)
    }

    /// The byte at `at` while the function is closed.
    fn closed(&self, at: usize) -> u8 {
        let gate = self.gate.and_then(|gate| CLOSED.get(at.checked_sub(gate)?));
        gate.copied().unwrap_or(self.from[at])
    }

    /// What `found` says, if it is anything that a killed command can have left. A write may have ended where a page does.
    fn stands(&self, found: &[u8]) -> Option<Stands> {
        let mut bytes = found.iter().enumerate();
        if bytes.clone().all(|(i, &byte)| byte == self.closed(i)) {
            Some(Stands::Closed)
        } else if bytes.clone().all(|(i, &byte)| byte == self.from[i] || byte == self.closed(i)) {
            Some(Stands::Open)
        } else if bytes.all(|(i, &byte)| byte == self.to[i] || byte == self.closed(i)) {
            Some(Stands::Reopened)
        } else {
            None
        }
    }

    /// Bytes of which each is one that a killed command may have left.
    fn is_torn(&self, found: &[u8]) -> bool {
        let may = |(i, &byte): (usize, &u8)| byte == self.from[i] || byte == self.to[i] || byte == self.closed(i);
        found.iter().enumerate().all(may)
    }
}

/// Why nothing was written, or was taken back.
#[derive(Debug)]
pub enum Failed {
    Differs {
        addr: u64,
        found: Vec<u8>,
    },
    Io(u64, io::Error),
    /// What was written until then couldn't be taken back.
    Left(u64, io::Error),
}

/// Writes one thing after the other, all of them whatever becomes of the others; on an error gives the first that couldn't be written.
pub fn put_back<'a>(mem: &Mem, all: impl Iterator<Item = (u64, &'a [u8])>) -> Result<(), Failed> {
    all.map(|(addr, bytes)| mem.write(addr, bytes).map_err(|e| Failed::Left(addr, e))).fold(Ok(()), Result::and)
}

/// The changes and room for them. Make it before the stop.
#[derive(Debug)]
pub struct Steps<'a> {
    /// In ascending order, without overlap.
    steps: Vec<Step<'a>>,
    spans: Vec<ByteSpan>,
    /// Where each step's bytes are in the buffers.
    places: Vec<usize>,
    /// As found, as wanted, and as read back: all spans one behind the other.
    before: Vec<u8>,
    after: Vec<u8>,
    again: Vec<u8>,
}

impl<'a> Steps<'a> {
    pub fn new(steps: Vec<Step<'a>>) -> Self {
        let mut spans: Vec<ByteSpan> = Vec::new();
        let mut places = Vec::new();
        let (mut in_code, mut base) = (false, 0);
        for s in &steps {
            match spans.last_mut().filter(|p| in_code && s.is_code() && s.end() - p.addr <= STRETCH) {
                Some(p) => p.len = (s.end() - p.addr) as usize,
                None => {
                    base += spans.last().map_or(0, |p| p.len);
                    spans.push(ByteSpan { addr: s.addr, len: s.to.len() });
                }
            }
            places.push(base + spans.last().map_or(0, |p| (s.addr - p.addr) as usize));
            in_code = s.is_code();
        }
        let room = || vec![0; spans.iter().map(|s| s.len).sum()];
        let (before, after, again) = (room(), room(), room());
        Self { steps, places, before, after, again, spans }
    }

    pub fn all(&self) -> &[Step<'a>] {
        &self.steps
    }

    /// Each step with what [`Self::read`] found there.
    pub fn found(&self) -> impl Iterator<Item = (&Step<'a>, &[u8])> {
        self.steps.iter().zip(&self.places).map(|(s, &at)| (s, &self.before[at..at + s.from.len()]))
    }

    /// Reads what is there.
    pub fn read(&mut self, mem: &Mem, tid: i32) -> Result<(), Failed> {
        read_spans(mem, tid, &self.spans, &mut self.before).map_err(|(at, e)| Failed::Io(at, e))
    }

    /// Reads what is there, and fails unless it is what each change expects; with `torn` each byte may be one that a killed command left.
    pub fn compare(&mut self, mem: &Mem, tid: i32, torn: bool) -> Result<(), Failed> {
        self.read(mem, tid)?;
        self.after.copy_from_slice(&self.before);
        for (s, &at) in self.steps.iter().zip(&self.places) {
            let found = &self.before[at..at + s.from.len()];
            if found != s.from && !(torn && s.is_torn(found)) {
                return Err(Failed::Differs { addr: s.addr, found: found.to_vec() });
            }
            self.after[at..at + s.to.len()].copy_from_slice(s.to);
        }
        Ok(())
    }

    /// Whether any function is to be closed.
    pub fn has_gates(&self) -> bool {
        self.steps.iter().any(|s| s.gate.is_some())
    }

    /// How far a killed command came with the functions that it was to close, after [`Self::read`].
    pub fn stand(&self) -> Result<Vec<Stands>, Failed> {
        let gates = self.found().filter(|(s, _)| s.gate.is_some());
        let stands = |(s, found): (&Step<'_>, &[u8])| {
            s.stands(found).ok_or_else(|| Failed::Differs { addr: s.addr, found: found.to_vec() })
        };
        gates.map(stands).collect()
    }

    /// Closes the functions that have a gate, after [`Self::compare`]: from here on neither their old nor their new code can be entered. While
    /// every thread stands still nobody notices; if the command is killed, threads wait there for whoever ends its work.
    pub fn close(&self, mem: &Mem) -> Result<(), Failed> {
        let gates = self.steps.iter().filter_map(|s| Some(s.addr + s.gate? as u64));
        for (i, at) in gates.enumerate() {
            mem.write(at, &CLOSED).map_err(|e| Failed::Io(at, e))?;
            if i == 0 {
                fault("first-gate");
            }
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

    /// Puts back what was found.
    pub fn take_back(&self, mem: &Mem) -> Result<(), Failed> {
        let mut base = 0;
        let before = self.spans.iter().map(|s| {
            base += s.len;
            (s.addr, &self.before[base - s.len..base])
        });
        put_back(mem, before)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_stretch() {
        let step = |addr| {
            let func = if addr < 0x9000 { 0 } else { u32::MAX };
            Step { addr, func, from: &[1, 2, 3, 4, 5], to: &[5, 4, 3, 2, 1], gate: None }
        };
        let s =
            Steps::new(vec![step(0x1000), step(0x1100), step(0x1ffb), step(0x1fff + 1), step(0x9000), step(0x9008)]);
        let spans: Vec<_> = s.spans.iter().map(|s| (s.addr, s.len)).collect();
        assert_eq!(spans, [(0x1000, 0x1000), (0x2000, 5), (0x9000, 5), (0x9008, 5)]);
        assert_eq!(s.before.len(), 0x1000 + 15);
        assert_eq!(s.places, [0, 0x100, 0xffb, 0x1000, 0x1005, 0x100a]);
    }

    #[test]
    fn this_process_is_changed_and_changed_back() {
        let pid = std::process::id() as i32;
        let mem = Mem::open(pid, pid).expect("own memory");
        let bytes: &'static mut [u8] = Box::leak(vec![7u8; 600].into_boxed_slice());
        let at = bytes.as_ptr() as u64;
        let step = |offset| Step { addr: at + offset, func: 0, from: &[7, 7], to: &[8, 9], gate: None };
        let mut s = Steps::new(vec![step(0), step(500)]);
        let read = || (mem.read_vec(at, 4).expect("readable"), mem.read_vec(at + 499, 3).expect("readable"));
        s.compare(&mem, pid, false).expect("as expected");
        s.write(&mem, pid).expect("written");
        assert_eq!(read(), (vec![8, 9, 7, 7], vec![7, 8, 9]));
        assert!(
            matches!(Steps::new(vec![step(0)]).compare(&mem, pid, false), Err(Failed::Differs { addr, .. }) if addr == at)
        );
        Steps::new(vec![step(0)]).compare(&mem, pid, true).expect("the new bytes are the one or the other");
        s.take_back(&mem).expect("taken back");
        assert_eq!(read(), (vec![7; 4], vec![7; 3]));
        let nowhere = Step { addr: 16, func: 0, from: &[7, 7], to: &[8, 9], gate: None };
        assert!(matches!(Steps::new(vec![nowhere]).take_back(&mem), Err(Failed::Left(16, _))));
    }

    #[test]
    fn closed_functions_tell_how_far_a_command_came() {
        let (from, to) = ([0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x53, 0x90], [0xf3, 0x0f, 0x1e, 0xfa, 0xe9, 1, 2]);
        let s = Step { addr: 0, func: 0, from: &from, to: &to, gate: Some(4) };
        let with = |end: [u8; 3]| [&from[..4], &end].concat();
        assert_eq!(s.stands(&from), Some(Stands::Open));
        assert_eq!(s.stands(&with([0xeb, 0x53, 0x90])), Some(Stands::Open));
        assert_eq!(s.stands(&with([0xeb, 0xfe, 0x90])), Some(Stands::Closed));
        assert_eq!(s.stands(&with([0xe9, 0xfe, 0x90])), Some(Stands::Reopened));
        assert_eq!(s.stands(&to), Some(Stands::Reopened));
        assert_eq!(s.stands(&with([0xcc, 0x53, 0x90])), None);
        assert!(s.is_torn(&with([0xe9, 0x53, 2])) && !s.is_torn(&with([0xcc, 1, 2])));
    }

    #[test]
    fn closing_is_taken_back_with_the_rest() {
        let pid = std::process::id() as i32;
        let mem = Mem::open(pid, pid).expect("own memory");
        let bytes: &'static mut [u8] = Box::leak(vec![7u8; 8].into_boxed_slice());
        let at = bytes.as_ptr() as u64;
        let step = Step { addr: at, func: 0, from: &[7; 5], to: &[8; 5], gate: Some(1) };
        let mut s = Steps::new(vec![step]);
        assert!(s.has_gates());
        s.compare(&mem, pid, false).expect("as expected");
        s.close(&mem).expect("closed");
        s.read(&mem, pid).expect("readable");
        assert_eq!(s.stand().expect("known"), [Stands::Closed]);
        assert_eq!(mem.read_vec(at, 8).expect("readable"), [7, 0xeb, 0xfe, 7, 7, 7, 7, 7]);
        s.compare(&mem, pid, true).expect("a killed command may have left that");
        s.write(&mem, pid).expect("opened");
        assert_eq!(mem.read_vec(at, 8).expect("readable"), [8, 8, 8, 8, 8, 7, 7, 7]);
    }
}
