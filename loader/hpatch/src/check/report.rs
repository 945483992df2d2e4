//! Who uses the code, in words.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::scan::{Hit, Use};
use crate::target::Target;
use crate::target::control::Patch;
use crate::target::source::Sources;

/// A thread that stood in the way, over all attempts.
#[derive(Debug, Clone)]
pub struct Blocker {
    pub hit: Hit,
    pub comm: String,
    pub function: String,
    /// Distance of the address from the function's entry, when it is known.
    pub offset: Option<u64>,
    /// File and line, once [`Blockers::find_lines`] has looked.
    pub line: Option<String>,
    /// How long it had been asleep when it was first seen, where the kernel tells and nothing of ours had woken it.
    pub asleep: Option<Duration>,
    pub first: Instant,
    pub last: Instant,
    pub times: u32,
}

impl Blocker {
    pub fn lasted(&self) -> Duration {
        self.last - self.first
    }

    pub fn describe(&self) -> String {
        let mut place = match self.offset {
            Some(o) => format!("{}+{o:#x}", self.function),
            None => format!("{:#x}", self.hit.addr),
        };
        if let Some(line) = &self.line {
            place = format!("{place} ({line})");
        }
        let what = match self.hit.how {
            Use::Executing => format!("executes {place}"),
            Use::Returning { .. } => format!("will return to {place}"),
            Use::Interrupted { .. } => format!("handles a signal that interrupted {place}"),
            Use::Suspended { .. } => "is suspended".to_owned(),
            Use::Unreadable => format!("has a stack that can't be read, at {:#x}", self.hit.addr),
            Use::TooLarge => "has a stack too large to check".to_owned(),
        };
        if let Use::Suspended { slot } = self.hit.how {
            return format!(
                "a suspended stack will return to {place} (the word at {slot:#x}); seen {} times",
                self.times
            );
        }
        let mut text = format!("thread {} ({}) {what}", self.hit.tid, self.comm);
        if let Some(asleep) = self.asleep {
            let _ = write!(text, "; asleep for {:.1} s", (asleep + self.lasted()).as_secs_f64());
        }
        if self.times > 1 {
            let _ = write!(text, "; seen {} times over {:.1} s", self.times, self.lasted().as_secs_f64());
        }
        text
    }

    pub fn json(&self) -> Value {
        let (how, slot) = match self.hit.how {
            Use::Executing => ("executing", 0),
            Use::Returning { slot } => ("returning", slot),
            Use::Interrupted { slot } => ("interrupted", slot),
            Use::Suspended { slot } => ("suspended", slot),
            Use::Unreadable => ("unreadable", 0),
            Use::TooLarge => ("too-large", 0),
        };
        json!({
            "tid": self.hit.tid, "comm": self.comm, "how": how, "function": self.function, "offset": self.offset,
            "address": format!("{:#x}", self.hit.addr), "slot": format!("{slot:#x}"),
            "line": self.line, "asleep_s": self.asleep.map(|a| (a + self.lasted()).as_secs_f64()),
            "times": self.times, "seconds": self.lasted().as_secs_f64(),
        })
    }
}

/// The blockers of all attempts of one command.
#[derive(Debug, Default)]
pub struct Blockers {
    list: Vec<Blocker>,
}

impl Blockers {
    /// Adds the findings of one attempt. `undisturbed` says that no thread was stopped yet.
    pub fn add(&mut self, target: &Target, patch: &Patch, undisturbed: bool, hits: &[Hit]) {
        let now = Instant::now();
        for &hit in hits {
            let same = |b: &&mut Blocker| b.hit.tid == hit.tid && b.hit.addr == hit.addr && b.last != now;
            if let Some(b) = self.list.iter_mut().find(same) {
                b.last = now;
                b.times += 1;
                continue;
            }
            if self.list.iter().any(|b| b.hit.tid == hit.tid && b.hit.addr == hit.addr) {
                continue;
            }
            let start = patch.funcs.get(hit.func as usize).map(|(f, _)| {
                // A return address may lie right behind.
                let new = f.replacement..=f.replacement.saturating_add(f.replacement_len);
                if new.contains(&hit.addr) { f.replacement } else { f.entry }
            });
            self.list.push(Blocker {
                hit,
                comm: target.comm_of(hit.tid),
                function: patch.func_name(hit.func).to_owned(),
                offset: start.and_then(|s| hit.addr.checked_sub(s)),
                line: None,
                asleep: if undisturbed { target.asleep(hit.tid) } else { None },
                first: now,
                last: now,
                times: 1,
            });
        }
    }

    /// Looks the source lines up. Reads files, so not while anybody waits.
    pub fn find_lines(&mut self, target: &Target) {
        let mut sources = Sources::new(target);
        for b in &mut self.list {
            // A return address belongs to the call before it.
            let at = match b.hit.how {
                Use::Returning { .. } | Use::Suspended { .. } => b.hit.addr.saturating_sub(1),
                _ => b.hit.addr,
            };
            b.line = sources.line(at);
        }
    }

    /// The threads among those seen more than once, or last.
    pub fn threads(&self) -> Vec<i32> {
        let last = self.list.iter().map(|b| b.last).max();
        let wanted = |b: &&Blocker| b.times > 1 || Some(b.last) == last;
        let mut v: Vec<i32> = self.list.iter().filter(wanted).map(|b| b.hit.tid).filter(|t| *t != 0).collect();
        v.sort_unstable();
        v.dedup();
        v
    }

    /// Those seen last, the most persistent first.
    pub fn latest(&self) -> Vec<&Blocker> {
        let Some(last) = self.list.iter().map(|b| b.last).max() else { return Vec::new() };
        let mut v: Vec<_> = self.list.iter().filter(|b| b.last == last).collect();
        v.sort_by_key(|b| std::cmp::Reverse(b.times));
        v
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::compose::tests::patch;
    use hpatch_core::abi::Func;
    use zerocopy::FromZeros;

    #[test]
    fn offsets_are_from_the_code_that_is_in_use() {
        let func = Func { entry: 0x100, replacement: 0x9000, replacement_len: 0x20, ..Func::new_zeroed() };
        let patch = Patch { funcs: vec![(func, "f".to_owned())], ..patch(0x1, &[]) };
        let target = Target::open(std::process::id() as i32).expect("own process");
        let hit = |addr| Hit { tid: target.pid, how: Use::Returning { slot: 8 }, addr, func: 0 };
        let mut all = Blockers::default();
        all.add(&target, &patch, false, &[hit(0x104), hit(0x9008), hit(0x9020)]);
        assert_eq!(all.list.iter().map(|b| b.offset).collect::<Vec<_>>(), [Some(4), Some(8), Some(0x20)]);
    }
}
