//! ELF images as they are mapped in a process: program headers, load bias, extent, build-id.

use zerocopy::{FromZeros, IntoBytes};

use crate::elf::{EM_X86_64, Ehdr, PF_X, PT_DYNAMIC, PT_LOAD, PT_NOTE, Phdr};
use crate::maps::Mapping;

/// Memory of a process, read without trusting any address.
pub trait Memory {
    /// Fills `buf` from avma `addr`; false when a byte of it isn't readable.
    fn read(&self, addr: u64, buf: &mut [u8]) -> bool;

    fn u64_at(&self, addr: u64) -> Option<u64> {
        let mut b = [0; 8];
        self.read(addr, &mut b).then(|| u64::from_le_bytes(b))
    }

    fn u32_at(&self, addr: u64) -> Option<u32> {
        let mut b = [0; 4];
        self.read(addr, &mut b).then(|| u32::from_le_bytes(b))
    }

    fn u16_at(&self, addr: u64) -> Option<u16> {
        let mut b = [0; 2];
        self.read(addr, &mut b).then(|| u16::from_le_bytes(b))
    }

    /// True when the NUL-terminated string at `addr` is `text`.
    fn string_is(&self, addr: u64, text: &[u8]) -> bool {
        let mut at = addr;
        let mut buf = [0u8; 64];
        for chunk in text.chunks(buf.len()) {
            if !self.read(at, &mut buf[..chunk.len()]) || buf[..chunk.len()] != *chunk {
                return false;
            }
            at = at.wrapping_add(chunk.len() as u64);
        }
        self.read(at, &mut buf[..1]) && buf[0] == 0
    }

    /// The string at `addr`, without its NUL; `None` where none ends within `buf`.
    fn string<'b>(&self, addr: u64, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        const STEP: usize = 64;
        let mut at = 0;
        while at < buf.len() {
            // Up to the next multiple of the step, which no page's end lies before.
            let step = STEP - (addr as usize + at) % STEP;
            let end = (at + step).min(buf.len());
            if !self.read(addr.wrapping_add(at as u64), &mut buf[at..end]) {
                return None;
            }
            if let Some(n) = buf[at..end].iter().position(|&b| b == 0) {
                return Some(&buf[..at + n]);
            }
            at = end;
        }
        None
    }
}

const MAX_SEGMENTS: usize = 16;
const MAX_BUILD_ID: usize = 32;
const NT_GNU_BUILD_ID: u32 = 3;
/// Owner of the notes of `patchgen rewrite`, with the NUL.
pub const NOTE_OWNER: &[u8; 7] = b"hpatch\0";
/// Type of the note that names a bundle whose patch is in the file: the SHA-256 of its manifest, then its id.
pub const NT_HPATCH_APPLIED: u32 = 1;

/// A loadable segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Segment {
    pub svma: u64,
    /// Bytes in memory.
    pub size: u64,
    /// `PF_*`.
    pub flags: u32,
}

/// An ELF image in memory.
#[derive(Debug, Clone, Copy)]
pub struct Image {
    /// avma - svma.
    pub bias: u64,
    segments: [Segment; MAX_SEGMENTS],
    count: usize,
    /// Segments of notes; `flags` is their alignment.
    notes: [Segment; MAX_SEGMENTS],
    note_count: usize,
    build_id: [u8; MAX_BUILD_ID],
    build_id_len: usize,
    /// svma of the dynamic section, 0 for none.
    pub dynamic: u64,
}

impl Image {
    /// Reads the image whose file header is mapped at avma `base`.
    pub fn at(mem: &dyn Memory, base: u64) -> Option<Image> {
        let mut head = Ehdr::new_zeroed();
        if !mem.read(base, head.as_mut_bytes())
            || head.ident[..7] != *b"\x7fELF\x02\x01\x01"
            || head.machine.get() != EM_X86_64
        {
            return None;
        }
        let phentsize = usize::from(head.phentsize.get());
        if phentsize != size_of::<Phdr>() {
            return None;
        }
        let mut image = Image {
            bias: 0,
            segments: Default::default(),
            count: 0,
            notes: Default::default(),
            note_count: 0,
            build_id: [0; MAX_BUILD_ID],
            build_id_len: 0,
            dynamic: 0,
        };
        let header = |n: u16| {
            let mut p = Phdr::new_zeroed();
            let at = base.checked_add(head.phoff.get())?.checked_add(u64::from(n) * phentsize as u64)?;
            mem.read(at, p.as_mut_bytes()).then_some(p)
        };
        let mut based = false;
        for n in 0..head.phnum.get() {
            let p = header(n)?;
            match p.kind.get() {
                PT_LOAD => {
                    if !based {
                        // The segment that holds the file header comes first.
                        image.bias = base.wrapping_sub(p.vaddr.get().wrapping_sub(p.offset.get()) & !4095);
                        based = true;
                    }
                    if image.count == MAX_SEGMENTS || p.vaddr.get().checked_add(p.memsz.get()).is_none() {
                        return None;
                    }
                    image.segments[image.count] =
                        Segment { svma: p.vaddr.get(), size: p.memsz.get(), flags: p.flags.get() };
                    image.count += 1;
                }
                PT_DYNAMIC => image.dynamic = p.vaddr.get(),
                PT_NOTE if image.note_count < MAX_SEGMENTS => {
                    let align = if p.align.get() == 8 { 8 } else { 4 };
                    image.notes[image.note_count] =
                        Segment { svma: p.vaddr.get(), size: p.filesz.get().min(1 << 16), flags: align };
                    image.note_count += 1;
                }
                _ => {}
            }
        }
        let mut id = [0u8; MAX_BUILD_ID];
        let found = image.find_note(mem, NT_GNU_BUILD_ID, b"GNU\0", |at, size| {
            let len = usize::try_from(size).ok().filter(|n| (1..=MAX_BUILD_ID).contains(n))?;
            mem.read(at, &mut id[..len]).then_some(len)
        });
        (image.build_id, image.build_id_len) = (id, found.unwrap_or(0));
        based.then_some(image)
    }

    /// What `f` makes of the first note of this type and owner for which it makes anything; it gets avma and size of the descriptor.
    /// Notes are as elf(5) has them: three words, then name and descriptor, each padded.
    fn find_note<R>(
        &self,
        mem: &dyn Memory,
        kind: u32,
        owner: &[u8],
        mut f: impl FnMut(u64, u64) -> Option<R>,
    ) -> Option<R> {
        for part in &self.notes[..self.note_count] {
            let (start, align) = (self.bias.wrapping_add(part.svma), u64::from(part.flags));
            let mut at = 0u64;
            while at + 12 <= part.size {
                let (mut head, mut name) = ([0u8; 12], [0u8; 8]);
                let name = name.get_mut(..owner.len())?;
                if !mem.read(start.wrapping_add(at), &mut head) {
                    break;
                }
                let word = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
                let (name_size, size) = (u64::from(word(0)), u64::from(word(4)));
                let desc = at + (12 + name_size).next_multiple_of(align);
                if desc + size > part.size {
                    break;
                }
                let named =
                    name_size == owner.len() as u64 && mem.read(start.wrapping_add(at + 12), name) && *name == *owner;
                if word(8) == kind
                    && named
                    && let Some(found) = f(start.wrapping_add(desc), size)
                {
                    return Some(found);
                }
                at = desc + size.next_multiple_of(align);
            }
        }
        None
    }

    /// Whether the file that is mapped here was rewritten with the bundle whose manifest has this digest: then its patch is in already.
    pub fn was_rewritten(&self, mem: &dyn Memory, manifest_sha256: &[u8; 32]) -> bool {
        let mut digest = [0u8; 32];
        let same = |at, size| (size >= 32 && mem.read(at, &mut digest) && digest == *manifest_sha256).then_some(());
        self.find_note(mem, NT_HPATCH_APPLIED, NOTE_OWNER, same).is_some()
    }

    /// Whether the file that is mapped here was rewritten with any bundle.
    pub fn is_rewritten(&self, mem: &dyn Memory) -> bool {
        self.find_note(mem, NT_HPATCH_APPLIED, NOTE_OWNER, |_, _| Some(())).is_some()
    }

    pub fn build_id(&self) -> &[u8] {
        &self.build_id[..self.build_id_len]
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments[..self.count]
    }

    /// Whether its code is mapped where the headers say: false for a file that is only being read through a mapping.
    pub fn is_loaded<'a>(&self, maps: impl Iterator<Item = Mapping<'a>> + Clone) -> bool {
        self.segments().iter().filter(|s| s.flags & PF_X != 0).all(|s| {
            let start = self.bias.wrapping_add(s.svma);
            maps.clone().any(|m| m.start <= start && start < m.end && m.access[2] == b'x')
        })
    }

    /// avma of the first and behind the last byte, to whole pages.
    pub fn extent(&self) -> (u64, u64) {
        let lo = self.segments().iter().map(|s| s.svma & !4095).min().unwrap_or(0);
        let hi = self.segments().iter().map(|s| (s.svma + s.size).saturating_add(4095) & !4095).max().unwrap_or(0);
        (self.bias.wrapping_add(lo), self.bias.wrapping_add(hi))
    }

    /// The avma of `[svma, svma + size)` when one segment holds all of it; only a segment with instructions when `code`.
    pub fn avma(&self, svma: u64, size: u64, code: bool) -> Option<u64> {
        let holds = |s: &&Segment| svma >= s.svma && svma.checked_add(size).is_some_and(|end| end <= s.svma + s.size);
        let segment = self.segments().iter().find(holds)?;
        (!code || segment.flags & PF_X != 0).then(|| self.bias.wrapping_add(svma))
    }
}
