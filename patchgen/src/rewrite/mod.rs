//! `patchgen rewrite`: the patch of a bundle in the ELF file on disk.
//!
//! The file only grows: the payload and larger copies of the tables that have to name it are put behind the old content, in segments of their
//! own. Of the old bytes only those change that the patch replaces, the header fields and dynamic entries that lead to the new tables, and
//! sometimes filler that takes the program headers. The build-id stays, since all old code and its debug information still are that build's;
//! a note names the bundle instead.

mod elf;
mod frames;
mod imports;
mod layout;
mod read_back;
mod relocs;
mod write;

use elf::File;
use frames::Frames;
use hpatch_core::elf::{PT_LOAD, Phdr, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHN_UNDEF};
use hpatch_core::image::{Image, NOTE_OWNER, NT_HPATCH_APPLIED};
use hpatch_core::link::{self, Linker, Place};
use hpatch_core::payload::Payload;
use hpatch_core::plan;
use hpatch_core::report::{Hex, Name, Report};
use imports::{Grown, Imports};
use layout::{Group, Item, Layout, Part};
use patchfmt::codes::{self, Code};
use patchfmt::metadata::{Capabilities, Module};
use patchfmt::payload::{BIND_OLD, DETOUR, Edit, PREIMAGE};
use patchfmt::{Contents, FormatError};
use relocs::{Needs, Plan, Table, Value};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use zerocopy::IntoBytes;

const STUB: u64 = 16;
const SLOT: u64 = 8;
/// Segments that the loader reads of a module.
const MAX_LOADS: usize = 16;

/// Why a file isn't rewritten.
#[derive(Debug)]
pub struct Refusal {
    pub code: Code,
    pub detail: String,
}

impl Refusal {
    fn new(code: Code, detail: impl std::fmt::Display) -> Refusal {
        Refusal { code, detail: detail.to_string() }
    }
}

impl From<FormatError> for Refusal {
    fn from(e: FormatError) -> Refusal {
        Refusal::new(e.code, format_args!("at byte {} of the bundle", e.at))
    }
}

/// What was done.
#[derive(Debug)]
pub enum Rewritten {
    /// The file has this bundle's patch already.
    Unchanged,
    Written {
        bytes: Vec<u8>,
        summary: Summary,
    },
}

/// Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    pub detours: usize,
    pub edits: usize,
    /// What of the payload is loaded, stubs included.
    pub payload: u64,
    /// Copies of tables that the patch makes longer.
    pub tables: u64,
    /// Dynamic relocations and dynamic symbols that were added.
    pub relocations: usize,
    pub imports: usize,
    /// By how much the file grew.
    pub growth: u64,
}

/// Puts the patch of a bundle into `old`, the bytes of the file that one of its modules was made for.
///
/// # Errors
/// HP0610 to HP0614; HP07xx and HP10xx for a payload that isn't sound. Nothing is written anywhere.
pub fn rewrite(old: &[u8], bundle: &Contents<'_>) -> Result<Rewritten, Refusal> {
    let file = File::read(old)?;
    let image = Image::at(&file, file.base());
    let image = image.ok_or_else(|| Refusal::new(codes::REWRITE_FORM, "its headers aren't where they are mapped"))?;
    let modules = bundle.metadata().modules;
    let Some(module) = modules.iter().find(|m| m.old_build_id == image.build_id()) else {
        let names: Vec<String> = modules.iter().map(|m| format!("{} {}", m.name, Hex(m.old_build_id))).collect();
        let detail = format!("build-id {}; the bundle is for {}", Hex(image.build_id()), names.join(", "));
        return Err(Refusal::new(codes::REWRITE_OTHER_BUILD, detail));
    };
    let manifest: [u8; 32] = Sha256::digest(bundle.bundle().manifest()).into();
    if image.was_rewritten(&file, &manifest) {
        return Ok(Rewritten::Unchanged);
    }
    // Thread-local storage and initialisers are set up by the headers that the file has.
    let known =
        Capabilities::TEXT.with(Capabilities::CONSTANTS).with(Capabilities::NEW_DATA).with(Capabilities::IMPORTS);
    let known = known.with(Capabilities::STATE).with(Capabilities::STACKS);
    if !known.contains(bundle.metadata().capabilities) {
        let words: Vec<_> = bundle.metadata().capabilities.words().collect();
        return Err(Refusal::new(codes::REWRITE_SITE, format_args!("the patch needs {}", words.join(", "))));
    }
    let note = note(&manifest, bundle.metadata().id);
    Patch::make(&file, &image, bundle, &module, note)
}

/// The note that says which bundle's patch is in the file: SHA-256 of its manifest, then its id.
fn note(manifest: &[u8; 32], id: &str) -> Vec<u8> {
    let size = manifest.len() + id.len();
    let mut note = Vec::new();
    for word in [NOTE_OWNER.len(), size, NT_HPATCH_APPLIED as usize] {
        note.extend(u32::try_from(word).unwrap_or(u32::MAX).to_le_bytes());
    }
    for part in [&NOTE_OWNER[..], &[manifest, id.as_bytes()].concat()] {
        note.extend(part);
        note.resize(note.len().next_multiple_of(4), 0);
    }
    note
}

/// What is overwritten, variables included.
fn edits_of(payload: &Payload<'_>) -> Result<Vec<Edit>, Refusal> {
    let mut edits = payload.edits.to_vec();
    for state in payload.states.iter().filter(|s| !s.moved()) {
        let name = Name(payload.object.name(state.name.get()));
        if state.offset != 0 {
            return Err(Refusal::new(codes::REWRITE_SITE, format_args!("{name}: part of an object of the payload")));
        }
        edits.push(Edit {
            svma: state.svma,
            size: state.size,
            symbol: state.symbol,
            name: state.name,
            flags: 0.into(),
            preimage: [0; PREIMAGE],
            reserved: 0.into(),
        });
    }
    Ok(edits)
}

struct Patch<'a> {
    file: &'a File<'a>,
    payload: &'a Payload<'a>,
    needs: Needs,
    /// Dynamic symbol of each import, by payload symbol.
    imports: HashMap<u32, u32>,
    layout: Layout,
    places: Vec<Place>,
    /// svma that the places count from.
    base: u64,
    /// svma of each payload symbol.
    values: Vec<u64>,
}

fn with_report<T>(what: impl FnOnce(&mut Report) -> Result<T, Code>) -> Result<T, Refusal> {
    let mut report = Report::default();
    what(&mut report).map_err(|code| Refusal::new(code, report.text()))
}

impl<'a> Patch<'a> {
    fn make(
        file: &'a File<'a>,
        image: &Image,
        bundle: &Contents<'_>,
        module: &Module<'_>,
        note: Vec<u8>,
    ) -> Result<Rewritten, Refusal> {
        let object = bundle.payload(module)?.decode()?;
        let payload = with_report(|report| Payload::read(&object, report))?;
        // In a file all variables have their initial value: what moves is where it is to be, and what is reset is edited.
        let edits = edits_of(&payload)?;
        let payload = Payload { edits: &edits, ..payload };
        // What an earlier rewrite changed is no longer the old build's.
        let guarded = |report: &mut Report| match image.is_rewritten(file) {
            true => Ok(()),
            false => plan::check_guards(&payload, image, file, report),
        };
        with_report(|report| plan::check_preimages(&payload, image, file, report).and_then(|()| guarded(report)))
            .map_err(|r| Refusal::new(codes::REWRITE_OTHER_BUILD, r.detail))?;
        let needs = Needs::of(&payload, file.moves())?;
        let mut known = Imports::read(file)?;
        let mut imports = HashMap::new();
        for bind in payload.binds.iter().filter(|b| needs.imports.contains(&b.symbol.get())) {
            let (name, version) = (payload.object.name(bind.name.get()), payload.object.name(bind.version.get()));
            imports.insert(bind.symbol.get(), known.index(name, version, bind.weak())?);
        }
        let grown = known.grown()?;
        let table = Plan::new(file, &payload, &needs)?;
        let frames = Frames::read(file)?;
        let items = items(&payload, &needs, &table, grown.as_ref(), &frames, note.len())?;
        let headers = write::header_count(file, &items, &frames);
        if file.loads().count() + layout::GROUPS.len() > MAX_LOADS {
            return Err(Refusal::new(codes::REWRITE_NO_ROOM, "too many segments: it was rewritten several times"));
        }
        let layout = Layout::new(file, items, headers)?;
        let mut patch = Patch {
            file,
            payload: &payload,
            needs,
            imports,
            base: layout.extents.first().map_or(0, |e| e.svma & !(elf::PAGE - 1)),
            layout,
            places: Vec::new(),
            values: Vec::new(),
        };
        patch.place(image)?;
        let linked = patch.link()?;
        let fields = patch.fields(&table);
        let mut parts = patch.parts(&linked);
        parts.push((Part::Note, note));
        let libraries = grown.as_ref().map_or(0, |grown| grown.libraries);
        if let Some(grown) = grown {
            parts.push((Part::Symbols, grown.symbols));
            parts.push((Part::Strings, grown.strings));
            parts.extend(grown.versions.map(|v| (Part::Versions, v)));
            parts.extend(grown.needed.map(|n| (Part::Needed, n)));
            parts.extend(grown.hash.map(|h| (Part::Hash, h)));
        }
        if let Some(item) = patch.layout.item(Part::Search) {
            let (section, bytes) = patch.eh_frame(&linked).unwrap_or((0, &[]));
            parts.push((Part::Search, frames.table(item.svma, section, bytes)?));
        }
        let relocations = patch.layout.item(Part::Rela).map(|_| fields);
        parts.extend(relocations.iter().map(|t| (Part::Rela, t.entries.as_bytes().to_vec())));
        let writes = patch.writes(&linked)?;
        let written =
            write::Written { layout: &patch.layout, parts: &parts, writes: &writes, table: &relocations, libraries };
        let bytes = written.file(file, &payload, &frames)?;
        read_back::check(file, &bytes, &written).map_err(|what| Refusal::new(codes::READ_BACK, what))?;
        let summary = patch.summary(&bytes, known.added());
        Ok(Rewritten::Written { bytes, summary })
    }

    fn summary(&self, bytes: &[u8], imports: usize) -> Summary {
        let size = |wanted: fn(&Part) -> bool| {
            self.layout.items.iter().filter(|i| wanted(&i.part) && !i.zeros).map(|i| i.size).sum()
        };
        Summary {
            detours: self.payload.funcs.iter().filter(|f| f.replaced()).count(),
            edits: self.payload.edits.len(),
            payload: size(|p| matches!(p, Part::Section(_) | Part::Stubs | Part::Slots)),
            tables: size(|p| {
                matches!(
                    p,
                    Part::Search
                        | Part::Rela
                        | Part::Symbols
                        | Part::Strings
                        | Part::Versions
                        | Part::Needed
                        | Part::Hash
                )
            }),
            relocations: self.needs.fields.len() + self.needs.stubs.len(),
            imports,
            growth: bytes.len() as u64 - self.file.data.len() as u64,
        }
    }

    /// Gives sections and symbols of the payload their addresses.
    fn place(&mut self, image: &Image) -> Result<(), Refusal> {
        let object = &self.payload.object;
        self.places = vec![Place::ABSENT; object.sections().len()];
        for item in &self.layout.items {
            if let Part::Section(n) = item.part {
                self.places[n] = Place { offset: item.svma.saturating_sub(self.base), size: item.size };
            }
        }
        let stubs = self.layout.item(Part::Stubs).map_or(0, |i| i.svma);
        let unsound = |_| Refusal::new(codes::PAYLOAD_REFUSED, "a symbol outside of its section");
        for symbol in object.symbols() {
            self.values.push(link::defined(symbol, &self.places, self.base).map_err(unsound)?.unwrap_or(0));
        }
        let mut bound = vec![false; self.values.len()];
        for bind in self.payload.binds {
            let symbol = bind.symbol.get();
            let defined = object.symbols().get(symbol as usize).is_none_or(|s| s.shndx.get() != SHN_UNDEF);
            if defined || std::mem::replace(&mut bound[symbol as usize], true) {
                return Err(Refusal::new(codes::RECORD_INDEX, "a binding of a symbol that isn't undefined"));
            }
            self.values[symbol as usize] = if bind.kind == BIND_OLD {
                let at = bind.value.get();
                image.avma(at, 0, false).ok_or_else(|| {
                    Refusal::new(codes::BAD_BINDING, format_args!("address 0x{at:x} isn't in the module"))
                })?
            } else {
                // Only calls use it: they go to the stub. Everything else is the dynamic linker's.
                self.needs.stubs.get(&symbol).map_or(0, |n| stubs + *n as u64 * STUB)
            };
        }
        let unbound = |(n, s): (usize, &hpatch_core::elf::Sym)| n != 0 && s.shndx.get() == SHN_UNDEF && !bound[n];
        match object.symbols().iter().enumerate().any(unbound) {
            true => Err(Refusal::new(codes::PAYLOAD_REFUSED, "a symbol without a binding")),
            false => Ok(()),
        }
    }

    /// The memory of everything that is added, from [`Patch::base`] on, with the payload's sections linked.
    fn link(&self) -> Result<Vec<u8>, Refusal> {
        let end = self.layout.extents.iter().map(|e| e.svma + e.size).max().unwrap_or(self.base);
        let size = usize::try_from(end - self.base).ok().filter(|n| *n as u64 <= link::MAX_IMAGE);
        let size = size.ok_or_else(|| Refusal::new(codes::PAYLOAD_TOO_LARGE, "in memory"))?;
        let mut memory = vec![0; size];
        let linker = Linker {
            object: self.payload.object,
            places: &self.places,
            values: &self.values,
            stubs: &[],
            edits: self.payload.edits,
            base: self.base,
            bias: 0,
            threads: None,
        };
        with_report(|report| self.payload.link(&linker, &mut memory, report))?;
        if let (Some(stubs), Some(slots)) = (self.layout.item(Part::Stubs), self.layout.item(Part::Slots)) {
            for n in self.needs.stubs.values() {
                let (at, slot) = (stubs.svma + *n as u64 * STUB, slots.svma + *n as u64 * SLOT);
                // jmp *slot(%rip); ud2
                let distance = i32::try_from(slot.wrapping_sub(at + 6).cast_signed()).unwrap_or(0).to_le_bytes();
                let code = [&[0xff, 0x25][..], &distance, &[0x0f, 0x0b], &[0xcc; 8]].concat();
                let from = (at - self.base) as usize;
                memory[from..from + STUB as usize].copy_from_slice(&code);
            }
        }
        Ok(memory)
    }

    /// The table of dynamic relocations.
    fn fields(&self, table: &Plan) -> Table {
        let (mut relative, mut symbolic) = (Vec::new(), Vec::new());
        for field in &self.needs.fields {
            let at = relocs::place_of(self.payload, field, &self.places, self.base);
            match field.value {
                Value::Own(..) if table.in_place.contains(&at) => {}
                Value::Own(symbol, addend) => {
                    relative.push(relocs::relative(at, self.values[symbol as usize].wrapping_add_signed(addend)));
                }
                Value::Import(symbol, addend) => symbolic.push(relocs::symbolic(at, self.imports[&symbol], addend)),
            }
        }
        if let Some(slots) = self.layout.item(Part::Slots) {
            let slot =
                |(symbol, n): (&u32, &usize)| relocs::symbolic(slots.svma + *n as u64 * SLOT, self.imports[symbol], 0);
            symbolic.extend(self.needs.stubs.iter().map(slot));
        }
        table.table(&relative, &symbolic)
    }

    fn bytes<'m>(&self, linked: &'m [u8], item: &Item) -> &'m [u8] {
        let from = (item.svma - self.base) as usize;
        &linked[from..from + item.size as usize]
    }

    /// What of the memory goes into the file.
    fn parts(&self, linked: &[u8]) -> Vec<(Part, Vec<u8>)> {
        let ours = |i: &&Item| matches!(i.part, Part::Section(_) | Part::Stubs | Part::Slots) && i.size != 0;
        let filled = self.layout.items.iter().filter(ours).filter(|i| !i.zeros);
        filled.map(|i| (i.part, self.bytes(linked, i).to_vec())).collect()
    }

    /// svma and bytes of the payload's `.eh_frame`.
    fn eh_frame<'m>(&self, linked: &'m [u8]) -> Option<(u64, &'m [u8])> {
        let index = eh_frame_section(self.payload)?;
        let item = self.layout.item(Part::Section(index))?;
        Some((item.svma, self.bytes(linked, item)))
    }

    /// What is overwritten in the old content: svma and new bytes.
    fn writes(&self, linked: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, Refusal> {
        let object = &self.payload.object;
        let mut writes = Vec::new();
        for func in self.payload.funcs.iter().filter(|f| f.replaced()) {
            let name = Name(object.name(func.name.get()));
            let index = func.symbol.get() as usize;
            let symbol = object.symbols().get(index).filter(|s| s.shndx.get() != SHN_UNDEF);
            let section = symbol.and_then(|s| object.sections().get(usize::from(s.shndx.get())));
            if !section.is_some_and(|s| s.has(SHF_ALLOC) && s.has(SHF_EXECINSTR)) {
                let detail = format!("the replacement of {name} isn't code of the payload");
                return Err(Refusal::new(codes::RECORD_INDEX, detail));
            }
            let site = func.site.get();
            let distance = self.values[index].wrapping_sub(site + u64::from(DETOUR)).cast_signed();
            let distance = i32::try_from(distance)
                .map_err(|_| Refusal::new(codes::REWRITE_NO_ROOM, format_args!("{name} is out of reach")))?;
            writes.push((site, [&[0xe9][..], &distance.to_le_bytes()].concat()));
        }
        for edit in self.payload.edits {
            let at = with_report(|report| self.payload.edit_bytes(edit, &self.places, report))? as usize;
            writes.push((edit.svma.get(), linked[at..at + edit.size.get() as usize].to_vec()));
        }
        writes.sort();
        for (at, bytes) in &writes {
            if self.file.offset(*at, bytes.len() as u64).is_none() {
                return Err(Refusal::new(codes::REWRITE_SITE, format_args!("0x{at:x} isn't in the file")));
            }
        }
        let overlap = writes.windows(2).find(|w| w[0].0 + w[0].1.len() as u64 > w[1].0);
        match overlap {
            Some(w) => Err(Refusal::new(codes::RECORD_ORDER, format_args!("two writes overlap at 0x{:x}", w[1].0))),
            None => Ok(writes),
        }
    }
}

fn eh_frame_section(payload: &Payload<'_>) -> Option<usize> {
    let object = &payload.object;
    object.sections().iter().position(|s| s.has(SHF_ALLOC) && object.section_name(s) == b".eh_frame")
}

/// Everything that is added, with sizes.
fn items(
    payload: &Payload<'_>,
    needs: &Needs,
    table: &Plan,
    grown: Option<&Grown>,
    frames: &Frames,
    note: usize,
) -> Result<Vec<Item>, Refusal> {
    use Group::{Code, Constants, Data};
    let object = &payload.object;
    let mut items = vec![Item::new(Part::Note, Constants, 4, note as u64)];
    if let Some(grown) = grown {
        items.push(Item::new(Part::Symbols, Constants, 8, grown.symbols.len() as u64));
        items.extend(grown.versions.iter().map(|v| Item::new(Part::Versions, Constants, 2, v.len() as u64)));
        items.extend(grown.needed.iter().map(|n| Item::new(Part::Needed, Constants, 8, n.len() as u64)));
        items.extend(grown.hash.iter().map(|h| Item::new(Part::Hash, Constants, 8, h.len() as u64)));
        items.push(Item::new(Part::Strings, Constants, 1, grown.strings.len() as u64));
    }
    let in_place = needs.fields.iter().filter(|f| {
        matches!(f.value, Value::Own(..))
            && relocs::edit_place(payload, f).is_some_and(|at| table.in_place.contains(&at))
    });
    let more = needs.fields.len() + needs.stubs.len() - in_place.count();
    if let Some(count) = table.count(more) {
        let size = (count * size_of::<hpatch_core::elf::Rela>()) as u64;
        items.push(Item::new(Part::Rela, Constants, 8, size));
    }
    let eh_frame = eh_frame_section(payload).and_then(|n| object.bytes(&object.sections()[n]));
    if let Some(bytes) = eh_frame.filter(|b| !b.is_empty()) {
        let unsound = || Refusal::new(codes::PAYLOAD_REFUSED, "unwind data of the payload");
        let more = frames::count(bytes).ok_or_else(unsound)?;
        if more != 0 {
            items.push(Item::new(Part::Search, Constants, 4, frames.size(more)));
        }
    }
    let written = needs.written();
    for (n, section) in object.sections().iter().enumerate().filter(|(_, s)| s.has(SHF_ALLOC)) {
        let align = section.align.get().max(1);
        let code = section.has(SHF_EXECINSTR);
        if !align.is_power_of_two()
            || align > elf::PAGE
            || section.size.get() > link::MAX_IMAGE
            || section.has(hpatch_core::elf::SHF_TLS)
            || (code && (section.has(SHF_WRITE) || written.contains(&n)))
        {
            return Err(Refusal::new(codes::PAYLOAD_REFUSED, "a section of the payload"));
        }
        let group = match (code, section.has(SHF_WRITE) || written.contains(&n)) {
            (true, _) => Code,
            (_, true) => Data,
            _ => Constants,
        };
        let zeros = section.kind.get() == elf::SHT_NOBITS;
        items.push(Item { zeros, ..Item::new(Part::Section(n), group, align, section.size.get()) });
    }
    let stubs = needs.stubs.len() as u64;
    items.push(Item::new(Part::Stubs, Code, STUB, stubs * STUB));
    items.push(Item::new(Part::Slots, Data, SLOT, stubs * SLOT));
    Ok(items)
}

fn loads(p: &Phdr) -> bool {
    p.kind.get() == PT_LOAD
}
