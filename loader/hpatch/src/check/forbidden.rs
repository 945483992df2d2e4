//! The addresses that no thread may be at, or return to.

use hpatch_core::abi::Range;

/// Sites further apart than this are filtered as separate groups.
const GROUP_GAP: u64 = 16 << 20;
const MAX_GROUPS: usize = 16;

/// Return addresses, ascending, with a cheap test in front that rejects nearly every other word.
#[derive(Debug, Clone, Default)]
pub struct Sites {
    sorted: Vec<u64>,
    /// First address and distance to the last of each group.
    groups: Vec<(u64, u64)>,
}

impl Sites {
    pub fn new(mut sites: Vec<u64>) -> Self {
        sites.sort_unstable();
        sites.dedup();
        let mut groups: Vec<(u64, u64)> = Vec::new();
        for &s in &sites {
            let full = groups.len() >= MAX_GROUPS;
            match groups.last_mut() {
                Some(g) if full || s - (g.0 + g.1) <= GROUP_GAP => g.1 = s - g.0,
                _ => groups.push((s, 0)),
            }
        }
        Self { sorted: sites, groups }
    }

    /// These and `more`.
    pub fn with(&self, more: &Self) -> Self {
        Self::new(self.sorted.iter().chain(&more.sorted).copied().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    #[inline]
    pub fn near(&self, word: u64) -> bool {
        self.groups.iter().any(|&(start, span)| word.wrapping_sub(start) <= span)
    }

    #[inline]
    pub fn contains(&self, word: u64) -> bool {
        self.near(word) && self.sorted.binary_search(&word).is_ok()
    }

    /// The bounds of the only group, for the tightest loop.
    #[inline]
    pub fn single(&self) -> Option<(u64, u64)> {
        if self.groups.len() == 1 { Some(self.groups[0]) } else { None }
    }
}

/// Code that is to change: ranges that must not be executing, return addresses that must not be on a stack.
#[derive(Debug, Clone, Default)]
pub struct Forbidden {
    ranges: Vec<Range>,
    pub sites: Sites,
    /// Addresses inside the ranges where a thread may stand: it will execute the new jump.
    allowed: Vec<u64>,
}

impl Forbidden {
    pub fn new(mut ranges: Vec<Range>, sites: Vec<u64>, mut allowed: Vec<u64>) -> Self {
        ranges.retain(|r| r.start < r.end);
        ranges.sort_by_key(|r| r.start);
        allowed.sort_unstable();
        Self { ranges, sites: Sites::new(sites), allowed }
    }

    /// Nobody can be in the way.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.sites.is_empty()
    }

    /// The range that `addr` lies in, whatever stands there.
    pub fn range_of(&self, addr: u64) -> Option<&Range> {
        // Ranges may nest (an edit inside a function): look back until no earlier one can reach this far.
        let end = self.ranges.partition_point(|r| r.start <= addr);
        self.ranges[..end].iter().rev().find(|r| addr < r.end)
    }

    /// The range that a thread executing at `pc` uses.
    pub fn executing(&self, pc: u64) -> Option<&Range> {
        self.range_of(pc).filter(|_| self.allowed.binary_search(&pc).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(start: u64, end: u64, func: u32) -> Range {
        Range { start, end, func, reserved: 0 }
    }

    #[test]
    fn ranges_and_entries() {
        let f = Forbidden::new(vec![r(100, 200, 0), r(300, 301, 1), r(120, 130, 2)], vec![], vec![100, 104]);
        assert!(f.executing(100).is_none() && f.executing(104).is_none());
        assert_eq!(f.executing(101).map(|r| r.func), Some(0));
        assert_eq!(f.executing(125).map(|r| r.func), Some(2));
        assert_eq!(f.executing(150).map(|r| r.func), Some(0));
        assert_eq!(f.executing(300).map(|r| r.func), Some(1));
        assert!(f.executing(301).is_none() && f.executing(99).is_none());
    }

    #[test]
    fn groups() {
        let s = Sites::new(vec![0x7f00_0000_1000, 0x40_1000, 0x40_1005, 0x40_1005]);
        assert_eq!(s.groups, vec![(0x40_1000, 5), (0x7f00_0000_1000, 0)]);
        assert!(s.contains(0x40_1005) && s.contains(0x7f00_0000_1000));
        assert!(!s.contains(0x40_1004) && !s.contains(0) && !s.contains(u64::MAX));
        assert!(Sites::new(vec![]).is_empty() && !Sites::default().contains(1));
        let many = Sites::new((0..40).map(|i| i * (GROUP_GAP * 4)).collect());
        assert!((0..40).all(|i| many.contains(i * (GROUP_GAP * 4))));
    }
}
