//! Where in the file, and where in memory, everything goes that is added. Each group is a segment of its own; in the file they follow one
//! another without filling pages, so an address and its file offset agree in their low twelve bits only.

use super::Refusal;
use super::elf::{File, PAGE, SHT_NOBITS};
use hpatch_core::elf::Phdr;
use patchfmt::codes;

/// Hole in the file, in bytes, that is made at most so that the program headers lie where the kernel looks for them.
const MAX_HOLE: u64 = 256 << 20;
const PHDR: u64 = size_of::<Phdr>() as u64;

/// Segments that are added, in order of address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Read only.
    Constants,
    Code,
    Data,
}

pub const GROUPS: [Group; 3] = [Group::Constants, Group::Code, Group::Data];

/// What is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Headers,
    Note,
    /// `.eh_frame_hdr`
    Search,
    Rela,
    Symbols,
    Strings,
    Versions,
    /// `.gnu.version_r`
    Needed,
    Hash,
    /// A section of the payload.
    Section(usize),
    /// Indirect jumps to imports that the patch calls.
    Stubs,
    /// The addresses that these jump to.
    Slots,
}

#[derive(Debug, Clone)]
pub struct Item {
    pub part: Part,
    pub group: Group,
    pub align: u64,
    pub size: u64,
    /// Zeros that the file doesn't hold.
    pub zeros: bool,
    pub svma: u64,
    pub offset: u64,
}

impl Item {
    pub fn new(part: Part, group: Group, align: u64, size: u64) -> Item {
        Item { part, group, align: align.max(1), size, zeros: false, svma: 0, offset: 0 }
    }
}

/// A segment that is added.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub group: Group,
    pub svma: u64,
    pub offset: u64,
    pub filled: u64,
    pub size: u64,
}

#[derive(Debug)]
pub struct Layout {
    pub items: Vec<Item>,
    pub extents: Vec<Extent>,
    /// svma and file offset of the program headers.
    pub headers: (u64, u64),
    /// File offset behind what is loaded.
    pub end: u64,
}

impl Layout {
    /// Lays `items` out behind the file. `avoid` says for the svma of the code whether it is a bad one.
    ///
    /// # Errors
    /// HP0610.
    pub fn new(file: &File<'_>, mut items: Vec<Item>, headers: u64) -> Result<Layout, Refusal> {
        let length = file.data.len() as u64;
        let memory_end = file.memory_end().next_multiple_of(PAGE);
        let mut cursor = length.next_multiple_of(16);
        let mut svma = memory_end;
        // The headers must be as far from the file header in memory as they are in the file. Behind the content is the best place, since
        // binutils' strip finds them there only; a file that is shorter than its image may have filler for them.
        let behind = memory_end - file.base();
        let slack = if cursor < behind { slack(file, headers * PHDR) } else { None };
        if slack.is_none() {
            cursor = cursor.max(behind);
            if cursor - length > MAX_HOLE {
                return Err(Refusal::new(codes::REWRITE_NO_ROOM, "the file is much shorter than its image in memory"));
            }
            svma = (cursor + file.base()) & !(PAGE - 1);
            items.insert(0, Item::new(Part::Headers, Group::Constants, 16, headers * PHDR));
        }
        items.sort_by_key(|i| (GROUPS.iter().position(|g| *g == i.group), i.zeros));
        let mut extents = Vec::new();
        for group in GROUPS {
            let mut members = items.iter_mut().filter(|i| i.group == group && i.size != 0).peekable();
            let Some(first) = members.peek() else { continue };
            cursor = cursor.next_multiple_of(first.align.min(PAGE));
            let start = (svma + cursor % PAGE, cursor);
            let mut at = start.0;
            let mut filled = start.0;
            for item in members {
                at = at.next_multiple_of(item.align);
                (item.svma, item.offset) = (at, start.1 + (at - start.0));
                at += item.size;
                if !item.zeros {
                    filled = at;
                }
            }
            let extent = Extent { group, svma: start.0, offset: start.1, filled: filled - start.0, size: at - start.0 };
            cursor = extent.offset + extent.filled;
            svma = at.next_multiple_of(PAGE);
            extents.push(extent);
        }
        let own = items.iter().find(|i| i.part == Part::Headers).map(|i| (i.svma, i.offset));
        let headers = own.or(slack).ok_or_else(|| Refusal::new(codes::INTERNAL, "no place for the headers"))?;
        Ok(Layout { items, extents, headers, end: cursor })
    }

    pub fn item(&self, part: Part) -> Option<&Item> {
        self.items.iter().find(|i| i.part == part && i.size != 0)
    }
}

/// svma and file offset of `size` bytes of filler behind the first segment, in its last page: zero, mapped, and nobody's.
fn slack(file: &File<'_>, size: u64) -> Option<(u64, u64)> {
    let first = file.loads().next()?;
    if first.filesz != first.memsz {
        return None;
    }
    let from = (first.offset.get() + first.filesz.get()).next_multiple_of(8);
    let (start, end) = (from, from.checked_add(size)?);
    let page_end = (first.offset.get() + first.filesz.get()).next_multiple_of(PAGE);
    let filler = file.data.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?;
    let overlaps = |at: u64, len: u64| len != 0 && at < end && at.saturating_add(len) > start;
    let svma = first.vaddr.get() + start - first.offset.get();
    let mapped = |p: &Phdr| p.vaddr.get() < svma + size && p.vaddr.get() + p.memsz.get() > svma;
    let tables = [
        (file.head.phoff.get(), u64::from(file.head.phnum.get()) * PHDR),
        (file.head.shoff.get(), file.sections.len() as u64 * 64),
    ];
    let taken = file.segments.iter().any(|p| overlaps(p.offset.get(), p.filesz.get()))
        || file.sections.iter().any(|s| s.kind.get() != SHT_NOBITS && overlaps(s.offset.get(), s.size.get()))
        || tables.iter().any(|(at, len)| overlaps(*at, *len))
        || file.loads().skip(1).any(mapped);
    (end <= page_end && filler.iter().all(|b| *b == 0) && !taken).then_some((svma, start))
}
