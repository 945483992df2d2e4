//! Data: carried objects and literals, jump tables, slots, and the bytes that overwrite old constants.

use super::text::preimage;
use super::{Definition, EditRecord, KeepRecord, Linker, Out, Reloc, RelocKind, StateRecord};
use crate::addr::{DataId, FuncId, Svma};
use crate::image::{ImageKind, SectionKind};
use crate::include::{Edit, InPlace, Place, SlotKey, ThreadForm, carried_size, follows};
use crate::keep::Keep;
use crate::lift::{Data, DataRef, Field, Target};
use patchfmt::codes;
use std::collections::BTreeMap;

/// Gaps of equal bytes shorter than this don't split an edit.
const EDIT_GAP: usize = 16;

fn width(field: Field) -> usize {
    match field {
        Field::Abs64 => 8,
        _ => 4,
    }
}

impl Linker<'_, '_> {
    pub(super) fn lay_out_data(&mut self) {
        // Neighbours keep their distance, so that the end of one still is the start of the next.
        let mut ids: Vec<DataId> = self.set.data.iter().copied().collect();
        ids.sort_by_key(|id| self.analysis.new.data[id.index()].range.start);
        let mut runs: Vec<Vec<DataId>> = Vec::new();
        for id in ids {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|&last| follows(self.analysis.new, last, id)) => run.push(id),
                _ => runs.push(vec![id]),
            }
        }
        for run in runs {
            self.lay_out_run(&run);
        }
        let functions: Vec<FuncId> = self.set.functions.keys().copied().collect();
        for id in functions {
            for (index, table) in self.analysis.new.functions[id.index()].tables.iter().enumerate() {
                let width = width(table.field);
                let rodata = self.section(Out::Rodata);
                rodata.align_to(width as u64, 0);
                let at = rodata.append(&vec![0; table.entries.len() * width]);
                self.layout.tables.insert((id, index), at);
            }
        }
    }

    fn lay_out_run(&mut self, run: &[DataId]) {
        let data = &self.analysis.new.data;
        let align = run.iter().map(|id| u64::from(data[id.index()].align.max(1))).max().unwrap_or(1);
        let Some(first) = run.first().map(|id| &data[id.index()]) else { return };
        let out = match first.section {
            SectionKind::Bss => Out::Bss,
            SectionKind::Data => Out::Data,
            SectionKind::Tdata => Out::Tdata,
            SectionKind::Tbss => Out::Tbss,
            _ => Out::Rodata,
        };
        let start = first.range.start.0;
        let section = self.section(out);
        section.align = section.align.max(align);
        let base = section.size.next_multiple_of(align) + start % align;
        for &id in run {
            let datum = &data[id.index()];
            let at = base + (datum.range.start.0 - start);
            let size = carried_size(self.analysis.new_image, self.analysis.new, id);
            let bytes =
                if out.is_zeros() { Some(&[][..]) } else { self.analysis.new_image.bytes(datum.range.start, size) };
            let Some(bytes) = bytes else {
                let message = format!("`{}` at {} has no bytes in the file", datum.name, datum.range.start);
                self.refuse(codes::NO_BYTES, &datum.name, message);
                continue;
            };
            let section = self.section(out);
            if out.is_zeros() {
                section.size = at + size;
            } else {
                section.pad_to(at, 0);
                section.append(bytes);
            }
            self.layout.data.insert(id, (out, at));
        }
    }

    pub(super) fn lay_out_slots(&mut self) {
        for key in &self.set.slots {
            let got = self.out.sections.entry(Out::Got).or_default();
            got.align_to(8, 0);
            let at = got.append(&vec![0; key.size()]);
            self.layout.slots.insert(key.clone(), at);
        }
    }

    pub(super) fn fill_tables(&mut self) {
        let tables: Vec<_> = self.layout.tables.iter().map(|(&k, &at)| (k, at)).collect();
        for ((func, index), at) in tables {
            let table = &self.analysis.new.functions[func.index()].tables[index];
            let width = width(table.field) as u64;
            for (i, &(part, offset)) in table.entries.iter().enumerate() {
                let distance = i as u64 * width;
                let place = Place::Func { func, part, offset };
                let (kind, addend) = match table.field {
                    // Target − start of the table, and the relocation takes the distance from the entry.
                    Field::TableRel32 => (RelocKind::Pc32, distance.cast_signed()),
                    Field::Abs64 => (RelocKind::Abs64, 0),
                    Field::Abs32S => (RelocKind::Abs32S, 0),
                    _ => (RelocKind::Abs32, 0),
                };
                self.relocate(Out::Rodata, at + distance, kind, &place, addend);
            }
        }
    }

    pub(super) fn fill_data(&mut self) {
        let placed: Vec<_> = self.layout.data.iter().map(|(&id, &p)| (id, p)).collect();
        for (id, (out, base)) in placed {
            let datum = &self.analysis.new.data[id.index()];
            for reference in &datum.refs {
                let at = base + u64::from(reference.at);
                self.clear_data(out, at, width(reference.field));
                self.fill_data_reference(out, at, datum, reference);
            }
        }
    }

    fn clear_data(&mut self, out: Out, at: u64, width: usize) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(field) = self.section(out).bytes.get_mut(at..at.saturating_add(width)) {
            field.fill(0);
        }
    }

    fn bind_data_reference(&self, reference: &DataRef) -> Option<(Place, i64)> {
        let inside = match reference.target {
            Target::Func { func, part, offset } if (part, offset) != (0, 0) => {
                Some(func).filter(|f| self.set.functions.contains_key(f))
            }
            _ => None,
        };
        self.binder.bind_word(&reference.target, inside).ok()
    }

    fn fill_data_reference(&mut self, out: Out, at: u64, datum: &Data, reference: &DataRef) {
        let kind = match reference.field {
            Field::Abs64 => Some(RelocKind::Abs64),
            Field::Abs32 => Some(RelocKind::Abs32),
            Field::Abs32S => Some(RelocKind::Abs32S),
            Field::Pc32 { .. } => Some(RelocKind::Pc32),
            _ => None,
        };
        // Relative to the start of its table, which moves as a whole; an edit in place has no such start.
        let (kind, addend) = match reference.field {
            Field::TableRel32 if out != Out::New => (Some(RelocKind::Pc32), i64::from(reference.at)),
            _ => (kind, 0),
        };
        let place = self.bind_data_reference(reference);
        let done = match (kind, place) {
            (Some(kind), Some((place, more))) => self.relocate(out, at, kind, &place, addend + more),
            _ => false,
        };
        if !done {
            let message = format!("`{}` + 0x{:x} points to something that can't be carried", datum.name, reference.at);
            self.refuse(codes::NOT_CARRIED, &datum.name, message);
        }
    }

    pub(super) fn fill_slots(&mut self) {
        let slots: Vec<_> = self.layout.slots.iter().map(|(k, &at)| (k.clone(), at)).collect();
        for (key, at) in slots {
            let (place, addend) = match key {
                SlotKey::Import(import, addend) => (Place::Import(import), addend),
                SlotKey::Address(place) => (*place, 0),
                SlotKey::ThreadOffset { word, delta } => {
                    self.fill_word(at, word, delta);
                    continue;
                }
                SlotKey::ThreadPair { word, offset } => {
                    self.fill_word(at, word, 0);
                    self.write_got(at + 8, &offset.to_le_bytes());
                    continue;
                }
                SlotKey::NewThread { form, data, offset } => {
                    self.fill_thread_slot(at, form, &Place::Data { data, offset });
                    continue;
                }
            };
            if !self.relocate(Out::Got, at, RelocKind::Abs64, &place, addend) {
                self.refuse(codes::NOT_CARRIED, "", "a slot holds something that can't be carried".to_owned());
            }
        }
    }

    /// A slot of a new thread-local variable.
    fn fill_thread_slot(&mut self, at: u64, form: ThreadForm, place: &Place) {
        let done = match form {
            ThreadForm::Offset => self.relocate(Out::Got, at, RelocKind::Tpoff64, place, 0),
            ThreadForm::Pair => {
                self.relocate(Out::Got, at, RelocKind::Dtpmod64, place, 0)
                    && self.relocate(Out::Got, at + 8, RelocKind::Dtpoff64, place, 0)
            }
            ThreadForm::Block => self.relocate(Out::Got, at, RelocKind::Dtpmod64, place, 0),
            ThreadForm::Descriptor => {
                let symbol = self.symbols.section(Out::Text);
                let resolver = self.layout.resolver.and_then(|at| i64::try_from(at).ok());
                resolver.is_some_and(|addend| {
                    let kind = RelocKind::Abs64;
                    self.section(Out::Got).relocs.push(Reloc { offset: at, kind, symbol, addend });
                    self.relocate(Out::Got, at + 8, RelocKind::Tpoff64, place, 0)
                })
            }
        };
        if !done {
            self.refuse(codes::NOT_CARRIED, "", "a slot of a thread-local variable can't be carried".to_owned());
        }
    }

    /// A slot that holds what a word of the old image does, plus `delta`.
    fn fill_word(&mut self, at: u64, word: Svma, delta: i64) {
        let symbol = self.symbols.word(word);
        self.section(Out::Got).relocs.push(Reloc { offset: at, kind: RelocKind::Abs64, symbol, addend: delta });
    }

    fn write_got(&mut self, at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(field) = self.section(Out::Got).bytes.get_mut(at..at.saturating_add(bytes.len())) {
            field.copy_from_slice(bytes);
        }
    }

    pub(super) fn fill_edits(&mut self) {
        for &edit in &self.set.edits {
            let new = &self.analysis.new.data[edit.new.index()];
            let size = new.range.size();
            let (Some(old_bytes), Some(new_bytes)) = (self.old_bytes(edit.old, size), self.new_bytes(edit.new, size))
            else {
                let name = new.name.clone();
                self.refuse(codes::NO_BYTES, &name, format!("`{name}` changed but has no bytes in the file"));
                continue;
            };
            let differing = self.differing(edit, &old_bytes, &new_bytes);
            if !differing.is_empty() {
                self.demand_own(edit.old);
            }
            for (start, end) in differing {
                self.push_edit(edit, start, &new_bytes[start..end], &old_bytes[start..end]);
            }
        }
        for function in &self.set.in_place {
            self.fill_code_edits(function);
        }
        self.out.edits.sort_by_key(|e| e.at);
    }

    fn fill_code_edits(&mut self, function: &InPlace) {
        let old = &self.analysis.old.functions[function.old.index()];
        for edit in &function.edits {
            let at = old.parts[usize::from(edit.part)].start.plus(u64::from(edit.offset));
            let size = edit.bytes.len() as u64;
            let Some(before) = self.analysis.old_image.bytes(at, size) else {
                self.refuse(codes::NO_BYTES, &old.name, format!("`{}` has no bytes at {at}", old.name));
                continue;
            };
            let offset = self.section(Out::New).append(&edit.bytes);
            let definition = Definition::Object { out: Out::New, offset, size };
            let symbol = self.symbols.push(String::new(), definition);
            self.out.edits.push(EditRecord {
                name: old.name.clone(),
                at,
                size: u32::try_from(size).unwrap_or(u32::MAX),
                symbol,
                preimage: preimage([before]),
                code: true,
            });
        }
    }

    fn old_bytes(&self, id: DataId, size: u64) -> Option<Vec<u8>> {
        let datum = &self.analysis.old.data[id.index()];
        image_bytes(self.analysis.old_image, datum, size)
    }

    fn new_bytes(&self, id: DataId, size: u64) -> Option<Vec<u8>> {
        let datum = &self.analysis.new.data[id.index()];
        image_bytes(self.analysis.new_image, datum, size)
    }

    /// A shared object's exported objects may have a copy in the program, or another module's may win.
    fn demand_own(&mut self, id: DataId) {
        let image = self.analysis.old_image;
        if image.kind == ImageKind::Shared {
            let names = self.analysis.old.data[id.index()].names.iter().map(|&s| image.symbol(s));
            names.filter(|s| s.exported).for_each(|s| self.symbols.demand(s));
        }
    }

    /// Stretches of an edited datum whose bytes or pointers differ, as offsets.
    fn differing(&self, edit: Edit, old_bytes: &[u8], new_bytes: &[u8]) -> Vec<(usize, usize)> {
        let old = &self.analysis.old.data[edit.old.index()];
        let new = &self.analysis.new.data[edit.new.index()];
        let mut differs: Vec<bool> = old_bytes.iter().zip(new_bytes).map(|(a, b)| a != b).collect();
        let mut mark = |r: &DataRef, value: bool| {
            let at = r.at as usize;
            let end = (at + width(r.field)).min(differs.len());
            differs[at.min(end)..end].fill(value);
        };
        for reference in old.refs.iter().chain(&new.refs) {
            mark(reference, true);
        }
        for reference in &new.refs {
            let before = old.refs.iter().find(|r| r.at == reference.at);
            let same = before.is_some_and(|b| {
                self.bind_data_reference(reference)
                    .is_some_and(|(place, more)| more == 0 && self.old_place(&b.target) == Some(place))
            });
            if same {
                mark(reference, false);
            }
        }
        spans(&differs)
    }

    /// Where a pointer of the old image leads, if it is plain.
    fn old_place(&self, target: &Target) -> Option<Place> {
        let old = self.analysis.old;
        match *target {
            Target::Func { func, part, offset } => {
                let start = old.functions[func.index()].parts.get(usize::from(part))?.start;
                Some(Place::Old(start.plus(u64::from(offset))))
            }
            Target::Data { data, offset } => Some(Place::Old(old.data[data.index()].range.start.offset(offset))),
            _ => None,
        }
    }

    fn push_edit(&mut self, edit: Edit, start: usize, new_bytes: &[u8], old_bytes: &[u8]) {
        let old = &self.analysis.old.data[edit.old.index()];
        let end = start + new_bytes.len();
        let name = if start == 0 { old.name.clone() } else { format!("{}+0x{start:x}", old.name) };
        let relocated = old.refs.iter().any(|r| (start..end).contains(&(r.at as usize)));
        let symbol = self.bring(edit, start, new_bytes, &name);
        self.out.edits.push(EditRecord {
            name,
            at: old.range.start.plus(start as u64),
            size: u32::try_from(new_bytes.len()).unwrap_or(u32::MAX),
            symbol,
            preimage: if relocated { [0; 16] } else { preimage([old_bytes]) },
            code: false,
        });
    }

    /// Puts bytes of the new image's object, from `start` on, into the payload, with the references in them; gives their symbol.
    fn bring(&mut self, edit: Edit, start: usize, bytes: &[u8], name: &str) -> u32 {
        let new = &self.analysis.new.data[edit.new.index()];
        let section = self.section(Out::New);
        section.align_to(8, 0);
        let base = section.append(bytes);
        let end = start + bytes.len();
        for reference in new.refs.iter().filter(|r| (start..end).contains(&(r.at as usize))) {
            let at = base + (reference.at as usize - start) as u64;
            self.clear_data(Out::New, at, width(reference.field));
            self.fill_data_reference(Out::New, at, new, reference);
        }
        let size = bytes.len() as u64;
        self.symbols.push(format!("new:{name}"), Definition::Object { out: Out::New, offset: base, size })
    }

    pub(super) fn fill_keeps(&mut self, keeps: &BTreeMap<DataId, Keep>) {
        for (&id, keep) in keeps {
            let datum = &self.analysis.new.data[id.index()];
            let Some((symbol, base)) = self.locate(&Place::Data { data: id, offset: 0 }) else { continue };
            self.out.keeps.push(KeepRecord {
                name: datum.name.clone(),
                keep: keep.clone(),
                size: u32::try_from(datum.range.size()).unwrap_or(u32::MAX),
                symbol,
                offset: base.unsigned_abs(),
            });
        }
        self.out.keeps.sort_by_key(|k| k.keep.key);
    }

    /// Variables whose live value moves to a carried object, and those that get another one.
    pub(super) fn fill_states(&mut self) {
        let set = self.set;
        for (&id, migration) in &set.migrations {
            let old = &self.analysis.old.data[migration.old.index()];
            let Some((symbol, base)) = self.locate(&Place::Data { data: id, offset: 0 }) else {
                let message = format!("`{}` has no place in the patch", old.name);
                self.refuse(codes::NOT_CARRIED, &old.name, message);
                continue;
            };
            self.out.states.extend(migration.kept.iter().map(|kept| StateRecord {
                name: old.name.clone(),
                at: old.range.start.plus(kept.from),
                size: u32::try_from(kept.len).unwrap_or(u32::MAX),
                symbol,
                offset: base.unsigned_abs() + kept.to,
                moved: true,
            }));
        }
        for &reset in &set.resets {
            let old = &self.analysis.old.data[reset.old.index()];
            let size = old.range.size();
            let Some(bytes) = self.new_bytes(reset.new, size) else {
                self.refuse(codes::NO_BYTES, &old.name, format!("`{}` has no bytes in the file", old.name));
                continue;
            };
            let symbol = self.bring(reset, 0, &bytes, &old.name);
            self.demand_own(reset.old);
            self.out.states.push(StateRecord {
                name: old.name.clone(),
                at: old.range.start,
                size: u32::try_from(size).unwrap_or(u32::MAX),
                symbol,
                offset: 0,
                moved: false,
            });
        }
    }
}

fn image_bytes(image: &crate::image::Image, datum: &Data, size: u64) -> Option<Vec<u8>> {
    if datum.section == SectionKind::Bss {
        return Some(vec![0; usize::try_from(size).ok()?]);
    }
    image.bytes(datum.range.start, size).map(<[u8]>::to_vec)
}

/// Runs of `true`, joined over short gaps.
fn spans(differs: &[bool]) -> Vec<(usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for at in (0..differs.len()).filter(|&i| differs[i]) {
        match spans.last_mut() {
            Some((_, end)) if at - *end < EDIT_GAP => *end = at + 1,
            _ => spans.push((at, at + 1)),
        }
    }
    spans
}
