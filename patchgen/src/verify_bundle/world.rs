//! One of the two things that are compared: the new image as linked, or the old image's memory with a bundle applied to it.

use super::names::Name;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A mapped stretch of memory.
#[derive(Debug, Clone)]
pub struct Region {
    /// Svma, as everything here.
    pub start: u64,
    /// Zero-filled to the size in memory.
    pub bytes: Vec<u8>,
    /// What a program may change while it runs: writable and not RELRO.
    pub writable: bool,
    pub exec: bool,
}

impl Region {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// A section of the image, or of the payload.
#[derive(Debug, Clone)]
pub struct Section {
    pub name: String,
    pub start: u64,
    pub end: u64,
    /// Of instructions: its segment may be executable without that.
    pub exec: bool,
}

impl Section {
    /// Whether stubs that jump through slots lie there; lld keeps those of indirect functions apart.
    pub fn is_plt(&self) -> bool {
        self.name.starts_with(".plt") || self.name == ".iplt"
    }
}

#[derive(Debug, Clone)]
pub struct Object {
    pub start: u64,
    pub size: u64,
    pub name: Name,
}

impl Object {
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// A symbol that the dynamic linker looks up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Import {
    pub name: String,
    pub version: Option<String>,
}

/// What the dynamic linker stores in eight bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// A symbol's address; `own` is the definition in this image, if there is one.
    Import {
        import: Import,
        addend: i64,
        own: Option<u64>,
    },
    Addr(u64),
    /// The address that an indirect function's resolver gives.
    Resolved(u64),
    /// Anything about a thread-local variable: relocation type, name if looked up, offset in the image's own block.
    Tls {
        kind: u32,
        import: Option<Import>,
        offset: i64,
    },
}

#[derive(Debug, Default)]
pub struct World {
    pub regions: Vec<Region>,
    pub sections: Vec<Section>,
    /// By start: all names of the function there, and the largest size.
    pub functions: BTreeMap<u64, Function>,
    /// Ascending by start.
    pub objects: Vec<Object>,
    /// Thread-local variables, by offset in the block.
    pub thread_locals: Vec<Object>,
    /// Size of the TLS block rounded up to its alignment: the thread pointer is that far behind its start.
    pub tls_block: i64,
    pub slots: HashMap<u64, Slot>,
    /// Copies of other modules' objects (`R_X86_64_COPY`).
    pub copies: HashMap<u64, Import>,
    /// PLT entries, with the slot that each jumps through.
    pub stubs: HashMap<u64, u64>,
    /// Fixed addresses: numbers in code and data may be addresses without a relocation that says so.
    pub fixed: bool,
    /// Entries of replaced functions, with their replacement.
    pub detours: HashMap<u64, u64>,
    /// Entries of functions that stay with operands edited.
    pub edited: HashSet<u64>,
    /// Made-up addresses of imports that the payload binds to.
    pub imports: HashMap<u64, Import>,
    /// Made-up addresses that stand for what a word of the old image holds.
    pub words: HashMap<u64, Slot>,
    /// Where the payload's relocations are.
    pub fields: HashSet<u64>,
    /// Start of the payload; what lies behind it is the payload's.
    pub payload: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Function {
    pub size: u64,
    pub names: Vec<Name>,
}

impl World {
    pub fn region(&self, at: u64) -> Option<&Region> {
        self.regions.iter().find(|r| r.start <= at && at < r.end())
    }

    pub fn bytes(&self, at: u64, len: u64) -> Option<&[u8]> {
        let region = self.region(at)?;
        let from = usize::try_from(at - region.start).ok()?;
        region.bytes.get(from..from.checked_add(usize::try_from(len).ok()?)?)
    }

    /// As many bytes as there are, at most `len`.
    pub fn bytes_up_to(&self, at: u64, len: usize) -> &[u8] {
        self.region(at).map_or(&[], |r| {
            let rest = &r.bytes[(at - r.start) as usize..];
            &rest[..rest.len().min(len)]
        })
    }

    pub fn word(&self, at: u64) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(at, 8)?.try_into().ok()?))
    }

    pub fn signed32(&self, at: u64) -> Option<i64> {
        Some(i64::from(i32::from_le_bytes(self.bytes(at, 4)?.try_into().ok()?)))
    }

    pub fn section(&self, at: u64) -> Option<&Section> {
        self.sections.iter().find(|s| s.start <= at && at < s.end)
    }

    /// Whether a number can be an address in the image, or the end of a part of it; a symbol of the linker may stand in the filler between.
    pub fn mapped(&self, at: u64) -> bool {
        self.sections.iter().any(|s| s.start <= at && at <= s.end) || self.objects_at(at, false).any(|o| o.start == at)
    }

    pub fn writable(&self, at: u64) -> bool {
        self.region(at).is_none_or(|r| r.writable)
    }

    pub fn executable(&self, at: u64) -> bool {
        self.region(at).is_some_and(|r| r.exec) && self.section(at).is_none_or(|s| s.exec)
    }

    /// The function that holds `at`, by its symbol's size.
    pub fn function(&self, at: u64) -> Option<(u64, &Function)> {
        let (&start, function) = self.functions.range(..=at).next_back()?;
        (at == start || at - start < function.size).then_some((start, function))
    }

    /// Where control arrives that is sent to `at`.
    pub fn arrival(&self, at: u64) -> u64 {
        self.detours.get(&at).copied().unwrap_or(at)
    }

    /// Whether a symbol begins there.
    pub fn begins(&self, at: u64) -> bool {
        self.functions.contains_key(&at) || self.objects_at(at, false).any(|o| o.start == at && o.size > 0)
    }

    /// Objects that hold `at`; with `end`, those that end there.
    pub fn objects_at(&self, at: u64, end: bool) -> impl Iterator<Item = &Object> {
        // Objects seldom overlap; a bounded look back is enough for those that do.
        let last = self.objects.partition_point(|o| o.start <= at);
        self.objects[last.saturating_sub(64)..last]
            .iter()
            .filter(move |o| if end { o.end() == at && o.start != at } else { o.start == at || at < o.end() })
    }

    /// The thread-local variable at an offset in the block.
    pub fn thread_local(&self, offset: i64) -> impl Iterator<Item = (&Object, i64)> {
        let holds = move |o: &&Object| {
            let start = o.start as i64;
            offset >= start && (offset == start || offset < start + o.size as i64)
        };
        self.thread_locals.iter().filter(holds).map(move |o| (o, offset - o.start as i64))
    }

    /// What a PLT entry, or a made-up import, stands for.
    pub fn import_at(&self, at: u64) -> Option<Slot> {
        if let Some(import) = self.imports.get(&at) {
            return Some(Slot::Import { import: import.clone(), addend: 0, own: None });
        }
        self.slots.get(self.stubs.get(&at)?).cloned()
    }

    /// A short description of an address for a report.
    pub fn describe(&self, at: u64) -> String {
        if let Some(Slot::Import { import, .. }) = self.import_at(at) {
            return format!("import {}", import.name);
        }
        let place = |name: &Name, offset: u64| match offset {
            0 => name.name.clone(),
            n => format!("{}+0x{n:x}", name.name),
        };
        if let Some((start, f)) = self.function(at)
            && let Some(name) = f.names.first()
        {
            return place(name, at - start);
        }
        if let Some(o) = self.objects_at(at, false).next() {
            return place(&o.name, at - o.start);
        }
        let text: Vec<u8> = self.bytes_up_to(at, 24).to_vec();
        let shown = text.iter().take_while(|b| (0x20..0x7f).contains(*b)).count();
        let section = self.section(at).map_or("no section", |s| s.name.as_str());
        if shown >= 2 && !self.executable(at) {
            return format!("0x{at:x} in {section} {:?}", String::from_utf8_lossy(&text[..shown]));
        }
        format!("0x{at:x} in {section}")
    }
}
