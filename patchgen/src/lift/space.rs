//! The address space of one image: which section an address lies in, by binary search.

use crate::addr::{Svma, SvmaRange};
use crate::image::{Image, SectionKind};

#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub range: SvmaRange,
    pub kind: SectionKind,
}

/// What is smaller is the offset of a member or the like, and no address (`vm.mmap_min_addr`).
const SMALL: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Space {
    /// Ascending; loaded sections that occupy addresses, so neither `.tdata` nor `.tbss`.
    spans: Vec<Span>,
}

impl Space {
    pub fn new(image: &Image) -> Space {
        let mut spans: Vec<Span> = image
            .sections
            .iter()
            .filter(|s| {
                !matches!(s.kind, SectionKind::NotLoaded | SectionKind::Tdata | SectionKind::Tbss) && s.range.size() > 0
            })
            .map(|s| Span { range: s.range, kind: s.kind })
            .collect();
        spans.sort_by_key(|s| s.range.start);
        Space { spans }
    }

    pub fn at(&self, a: Svma) -> Option<&Span> {
        let i = self.spans.partition_point(|s| s.range.start <= a);
        self.spans[..i].last().filter(|s| s.range.contains(a))
    }

    /// In a section that code may refer to, or one past its end.
    pub fn addressable(&self, value: u64) -> bool {
        let a = Svma(value);
        let i = self.spans.partition_point(|s| s.range.start <= a);
        let code_or_data = |s: &&Span| s.kind != SectionKind::Other;
        let held = self.spans[..i].last().filter(|s| a <= s.range.end).filter(code_or_data);
        let ended = self.spans[..i].iter().rev().nth(1).filter(|s| a == s.range.end).filter(code_or_data);
        held.or(ended).is_some()
    }

    /// Close in front of data: the base of an array at a section's start, less a constant index.
    pub fn in_front_of_data(&self, value: u64, reach: u64) -> bool {
        use SectionKind::{Bss, Data, Relro, Rodata};
        let i = self.spans.partition_point(|s| s.range.start.0 <= value);
        let next = self.spans[i..].iter().take_while(|s| s.range.start.0 - value <= reach);
        next.into_iter().any(|s| matches!(s.kind, Rodata | Relro | Data | Bss))
    }

    /// At most `reach` bytes outside of what is loaded, and not a small number.
    pub fn in_reach(&self, value: u64, reach: u64) -> bool {
        let (Some(first), Some(last)) = (self.spans.first(), self.spans.last()) else { return false };
        let from = first.range.start.0.saturating_sub(reach).max(SMALL);
        (from..last.range.end.0.saturating_add(reach)).contains(&value)
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }
}
