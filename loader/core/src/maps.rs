//! Reads `/proc/PID/maps` (proc_pid_maps(5)) and finds a place for a payload in the gaps.

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// avma, half open.
    pub start: u64,
    pub end: u64,
    /// The four letters, for instance `r-xp`.
    pub access: [u8; 4],
    /// File offset in bytes.
    pub offset: u64,
    pub inode: u64,
    /// Path or `[name]`, empty for none; without ` (deleted)`.
    pub path: &'a [u8],
}

impl<'a> Mapping<'a> {
    pub fn readable(&self) -> bool {
        self.access[0] == b'r'
    }

    /// The last component of the path.
    pub fn file_name(&self) -> &'a [u8] {
        self.path.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }
}

fn hex(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    text.iter().try_fold(0u64, |n, &b| Some(n << 4 | u64::from((b as char).to_digit(16)?)))
}

fn decimal(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |n, &b| n.checked_mul(10)?.checked_add(u64::from((b as char).to_digit(10)?)))
}

/// `start-end access offset dev inode   path`
fn line(text: &[u8]) -> Option<Mapping<'_>> {
    let mut rest = text;
    let mut field = || {
        let start = rest.iter().position(|&b| b != b' ')?;
        let tail = &rest[start..];
        let end = tail.iter().position(|&b| b == b' ').unwrap_or(tail.len());
        rest = &tail[end..];
        Some(&tail[..end])
    };
    let range = field()?;
    let access = field()?.try_into().ok()?;
    let offset = hex(field()?)?;
    field()?;
    let inode = decimal(field()?)?;
    let dash = range.iter().position(|&b| b == b'-')?;
    let path = rest.trim_ascii_start();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    Some(Mapping { start: hex(&range[..dash])?, end: hex(&range[dash + 1..])?, access, offset, inode, path })
}

/// All well-formed lines of the file, ascending.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Mapping<'_>> + Clone {
    text.split(|&b| b == b'\n').filter_map(line)
}

/// Distances in detours and references have 32 bits, signed; a little room for addends.
pub const REACH: u64 = (1 << 31) - (1 << 16);
/// Lowest address that is ever used: above the usual `vm.mmap_min_addr`, so that small offsets from NULL still fault.
const FLOOR: u64 = 0x10_0000;
/// Highest end of user space without 5-level page tables.
const CEILING: u64 = 0x7fff_ffff_f000;
/// What `R_X86_64_32S` can address.
const LOW: u64 = 1 << 31;
const PAGE: u64 = 4096;
/// Kept free at both ends of a gap.
const GUARD: u64 = 4 * PAGE;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// The module's extent, avma.
    pub module: (u64, u64),
    /// Bytes, whole pages.
    pub len: u64,
    /// Everything must lie below 2 GiB.
    pub low: bool,
}

/// A place for `want`: the nearest gap below the module, else the nearest above. Addresses for which `bad` says true (a branch predictor's
/// aliases, a place that was just taken) are stepped over, page by page.
pub fn place<'a>(
    maps: impl Iterator<Item = Mapping<'a>> + Clone,
    want: Want,
    bad: impl Fn(u64) -> bool,
) -> Option<u64> {
    let (lo, hi) = want.module;
    let window_start = hi.saturating_sub(REACH).max(FLOOR);
    let window_end = lo.saturating_add(REACH).min(CEILING).min(if want.low { LOW - GUARD } else { u64::MAX });
    // The highest fitting address in a gap: below a module that is next to it; above, farthest from a heap that grows upwards.
    let fit = |gap: (u64, u64)| {
        let start = gap.0.checked_add(GUARD)?.max(window_start).checked_next_multiple_of(PAGE)?;
        let end = gap.1.saturating_sub(GUARD).min(window_end);
        let mut at = end.checked_sub(want.len)? & !(PAGE - 1);
        for _ in 0..4096 {
            if at < start {
                return None;
            }
            if !bad(at) {
                return Some(at);
            }
            at = at.checked_sub(PAGE)?;
        }
        None
    };
    let mut below = None;
    let mut above = None;
    let mut previous = 0;
    for m in maps {
        // Never next to the main thread's stack, which grows down into its gap.
        if m.start > previous && m.path != b"[stack]" {
            let gap = (previous, m.start);
            if gap.1 <= lo {
                below = fit(gap).or(below);
            } else if gap.0 >= hi && above.is_none() {
                above = fit(gap);
            }
        }
        previous = previous.max(m.end);
    }
    below.or(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIE: &[u8] = b"555555554000-555555555000 r--p 00000000 fe:00 123  /usr/bin/a b (deleted)\n\
        555555555000-555555560000 r-xp 00001000 fe:00 123  /usr/bin/a b (deleted)\n\
        555555600000-555555621000 rw-p 00000000 00:00 0  [heap]\n\
        7ffff7dc0000-7ffff7fc1000 r-xp 00000000 fe:00 77  /lib/libc.so.6\n\
        7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0  [stack]\n\
        ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]\n";

    #[test]
    fn lines_are_read() {
        let all: Vec<_> = parse(PIE).collect();
        assert_eq!(all.len(), 6);
        assert_eq!(all[0].path, b"/usr/bin/a b");
        assert_eq!(all[0].file_name(), b"a b");
        assert_eq!(
            (all[1].start, all[1].end, all[1].offset, all[1].inode),
            (0x5555_5555_5000, 0x5555_5556_0000, 0x1000, 123)
        );
        assert_eq!(parse(b"nonsense\n12-\n1-2 r--p zz 0 0\n").count(), 0);
        let own = std::fs::read("/proc/self/maps").expect("maps");
        assert_eq!(parse(&own).count(), own.split(|&b| b == b'\n').count() - 1);
    }

    #[test]
    fn below_first_and_aliases_are_stepped_over() {
        let want = Want { module: (0x5555_5555_4000, 0x5555_5556_0000), len: 0x3000, low: false };
        let at = place(parse(PIE), want, |_| false).expect("room");
        assert_eq!(at, 0x5555_5555_4000 - GUARD - 0x3000);
        let next = place(parse(PIE), want, |a| a == at).expect("room");
        assert_eq!(next, at - PAGE);
        assert!(place(parse(PIE), want, |_| true).is_none());
    }

    #[test]
    fn fixed_image_keeps_below_two_gib() {
        let maps =
            b"00400000-00500000 r-xp 00000000 fe:00 1  /bin/x\n00600000-01000000 rw-p 00000000 00:00 0  [heap]\n\
            7ffff7dc0000-7ffff7fc1000 r-xp 00000000 fe:00 77  /lib/libc.so.6\n";
        let small = Want { module: (0x40_0000, 0x50_0000), len: 0x4000, low: true };
        assert_eq!(place(parse(maps), small, |_| false), Some(0x40_0000 - GUARD - 0x4000));
        let big = Want { len: 0x80_0000, ..small };
        let at = place(parse(maps), big, |_| false).expect("room");
        assert!(at > 0x100_0000 && at + big.len <= LOW);
        assert!(place(parse(maps), Want { len: LOW, ..small }, |_| false).is_none());
    }

    #[test]
    fn stays_within_reach_and_off_the_stack() {
        let maps = b"7fffe0000000-7ffff7fc1000 r-xp 00000000 fe:00 77  /lib/x.so\n7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0  [stack]\n";
        let module = (0x7fff_f7dc_0000, 0x7fff_f7fc_1000);
        let want = Want { module, len: 0x1000, low: false };
        let at = place(parse(maps), want, |_| false).expect("room below");
        assert!(at + 0x1000 <= 0x7fff_e000_0000 && module.1 - at < 1 << 31);
        // All of the window is taken.
        let full = b"7fff70000000-7ffff7fc1000 r-xp 00000000 fe:00 77  /lib/x.so\n7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0  [stack]\n";
        assert_eq!(place(parse(full), want, |_| false), None);
    }
}
