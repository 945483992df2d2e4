//! Code: layout, veneers, stubs, references, and the records of what is replaced.

use super::{FuncRecord, Linker, Out, RelocKind};
use crate::addr::{FuncId, Svma, SvmaRange};
use crate::include::{LEA, LOAD, Place, SlotKey, ThreadForm};
use crate::lift::{CodeRef, Field, Function, Target};
use patchfmt::codes;
use sha2::{Digest, Sha256};

pub(super) const INT3: u8 = 0xcc;
const FUNCTION_ALIGN: u64 = 16;
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
/// `jmp rel32`.
const DETOUR: u32 = 5;
/// `jmp rel32`.
const VENEER: [u8; 5] = [0xe9, 0, 0, 0, 0];
/// `mov 8(%rax),%rax; ret`: what a TLS descriptor of a variable at a fixed distance calls, with its own address in `rax`.
const RESOLVER: [u8; 5] = [0x48, 0x8b, 0x40, 0x08, 0xc3];
/// `jmp *slot(%rip)`.
const STUB: [u8; 6] = [0xff, 0x25, 0, 0, 0, 0];

/// Truncated SHA-256, as the format's `preimage` fields hold it.
pub fn preimage<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

impl Linker<'_, '_> {
    pub(super) fn lay_out_text(&mut self) {
        // Entries first, parts that are rarely run behind them.
        let parts: Vec<(FuncId, u8, SvmaRange)> = self.carried_parts();
        for hot in [true, false] {
            for &(func, part, range) in parts.iter().filter(|p| (p.1 == 0) == hot) {
                let new = self.analysis.new_image;
                let Some(bytes) = new.bytes(range.start, range.size()) else {
                    let name = self.name_of(func);
                    self.refuse(codes::NO_BYTES, &name, format!("`{name}` has no bytes at {}", range.start));
                    continue;
                };
                let (before, behind) = self.veneers_of(func, part, range.start);
                let text = self.section(Out::Text);
                let start = (text.size + before.len() as u64 * VENEER.len() as u64).next_multiple_of(FUNCTION_ALIGN);
                text.pad_to(start - before.len() as u64 * VENEER.len() as u64, INT3);
                text.align = text.align.max(FUNCTION_ALIGN);
                let mut veneers: Vec<(u32, u64)> = before.iter().map(|&f| (f, text.append(&VENEER))).collect();
                let at = text.append(bytes);
                veneers.extend(behind.iter().map(|&f| (f, text.append(&VENEER))));
                self.layout.parts.insert((func, part), at);
                for (field, veneer) in veneers {
                    self.layout.veneers.insert((func, part, field), veneer);
                }
            }
        }
        for &import in &self.set.stubs {
            let text = self.section(Out::Text);
            text.align_to(8, INT3);
            let at = text.append(&STUB);
            self.layout.stubs.insert(import, at);
        }
        let described = |key: &SlotKey| matches!(key, SlotKey::NewThread { form: ThreadForm::Descriptor, .. });
        if self.set.slots.iter().any(described) {
            let text = self.section(Out::Text);
            text.align_to(8, INT3);
            let at = text.append(&RESOLVER);
            self.layout.resolver = Some(at);
        }
    }

    /// Fields of short jumps to neighbours, which lie up to 127 bytes before or behind: a full jump next to the function stands in for
    /// each, at most as far away as the neighbour was.
    fn veneers_of(&self, func: FuncId, part: u8, start: Svma) -> (Vec<u32>, Vec<u32>) {
        let refs = &self.analysis.new.functions[func.index()].refs;
        let short = refs.iter().filter(|r| r.part == part && r.field == Field::Pc8);
        short.map(|r| r.field_at).partition(|&field_at| {
            let at = start.plus(u64::from(field_at));
            let byte = self.analysis.new_image.bytes(at, 1).map_or(0, |b| b[0].cast_signed());
            at.offset(i64::from(byte) + 1) < start
        })
    }

    fn carried_parts(&self) -> Vec<(FuncId, u8, SvmaRange)> {
        let functions = self.set.functions.keys().map(|&f| (f, &self.analysis.new.functions[f.index()]));
        functions
            .flat_map(|(f, function)| {
                function.parts.iter().enumerate().map(move |(i, &r)| (f, u8::try_from(i).unwrap_or(u8::MAX), r))
            })
            .collect()
    }

    pub(super) fn name_of(&self, func: FuncId) -> String {
        self.analysis.new.functions[func.index()].name.clone()
    }

    /// Symbols for what the payload defines.
    pub(super) fn name_payload(&mut self) {
        for (func, part, range) in self.carried_parts() {
            let Some(&offset) = self.layout.parts.get(&(func, part)) else { continue };
            let mut name = self.name_of(func);
            if part > 0 {
                name.push_str(".cold");
            }
            self.symbols.define_function(func, part, name, offset, range.size());
        }
        for (&data, &(out, offset)) in &self.layout.data {
            let datum = &self.analysis.new.data[data.index()];
            if !datum.name.is_empty() {
                self.symbols.define_datum(data, datum.name.clone(), out, offset, datum.range.size());
            }
        }
    }

    pub(super) fn fill_text(&mut self) {
        let ids: Vec<FuncId> = self.set.functions.keys().copied().collect();
        for id in ids {
            let function = &self.analysis.new.functions[id.index()];
            for reference in &function.refs {
                self.fill_reference(id, function, reference);
            }
            for insn in function.insns.iter().filter(|i| i.is_call()) {
                if let Some(&base) = self.layout.parts.get(&(id, insn.part)) {
                    let site = base + u64::from(insn.offset) + u64::from(insn.len);
                    self.out.return_sites.push(u32::try_from(site).unwrap_or(u32::MAX));
                }
            }
        }
        self.out.return_sites.sort_unstable();
        let stubs: Vec<_> = self.layout.stubs.iter().map(|(&i, &at)| (i, at)).collect();
        for (import, at) in stubs {
            let slot = Place::Slot(SlotKey::Import(import, 0));
            self.relocate(Out::Text, at + 2, RelocKind::Pc32, &slot, -4);
        }
    }

    fn fill_reference(&mut self, id: FuncId, function: &Function, reference: &CodeRef) {
        let Some(&base) = self.layout.parts.get(&(id, reference.part)) else { return };
        let at = base + u64::from(reference.field_at);
        if let Target::Table(table) = reference.target {
            if let Some(&offset) = self.layout.tables.get(&(id, table as usize)) {
                self.fill_table_reference(id, reference, at, offset);
            }
            return;
        }
        let place = match self.binder.bind_reference(reference, id) {
            Ok(place) => place,
            Err(unbound) => {
                let message = format!("`{}` refers to {}", function.name, unbound.what);
                return self.refuse(unbound.code, &function.name, message);
            }
        };
        let done = match (reference.field, &place) {
            (Field::Tpoff32 | Field::Dtpoff32, Place::Number(n)) => self.write_number(at, *n),
            (Field::Tpoff32, Place::Data { .. }) => self.relocate_text(at, RelocKind::Tpoff32, 4, &place, 0),
            (Field::Dtpoff32, Place::Data { .. }) => self.relocate_text(at, RelocKind::Dtpoff32, 4, &place, 0),
            (Field::Tpoff32 | Field::Dtpoff32, _) => false,
            (Field::Pc32 { tail: 4 }, Place::Loaded(_)) => {
                self.load_instead(at) && self.relocate_text(at, RelocKind::Pc32, 4, &place, -4)
            }
            (Field::Abs32 | Field::Abs64, Place::Loaded(key)) => {
                self.fetch_instead(at, at - u64::from(reference.field_at - reference.insn), key)
            }
            (_, Place::Plain) => true,
            (_, Place::Loaded(_)) => false,
            (Field::Pc32 { tail }, _) => {
                let kind = if reference.branch { RelocKind::Plt32 } else { RelocKind::Pc32 };
                self.relocate_text(at, kind, 4, &place, -i64::from(tail))
            }
            (Field::Pc8, _) => self.fill_short_jump(id, reference, at, &place),
            (Field::Abs32, _) => self.relocate_text(at, RelocKind::Abs32, 4, &place, 0),
            (Field::Abs32S, _) => self.relocate_text(at, RelocKind::Abs32S, 4, &place, 0),
            (Field::Abs64, _) => self.relocate_text(at, RelocKind::Abs64, 8, &place, 0),
            _ => false,
        };
        if !done {
            let place = function.parts[usize::from(reference.part)].start.plus(u64::from(reference.insn));
            let message = format!("`{}` at {place} refers to something in a way that can't be carried", function.name);
            self.refuse(codes::NOT_CARRIED, &function.name, message);
        }
    }

    /// Makes the `lea` whose operand is at `at` a load from the same place.
    fn load_instead(&mut self, at: u64) -> bool {
        let opcode = usize::try_from(at).ok().and_then(|at| at.checked_sub(2));
        match opcode.and_then(|at| self.section(Out::Text).bytes.get_mut(at)) {
            Some(byte) if *byte == LEA => {
                *byte = LOAD;
                true
            }
            _ => false,
        }
    }

    fn fill_short_jump(&mut self, id: FuncId, reference: &CodeRef, at: u64, place: &Place) -> bool {
        let Some(&veneer) = self.layout.veneers.get(&(id, reference.part, reference.field_at)) else { return false };
        let distance = i64::try_from(veneer).unwrap_or(i64::MAX) - i64::try_from(at + 1).unwrap_or(0);
        let Ok(byte) = i8::try_from(distance) else { return false };
        let field = usize::try_from(at).unwrap_or(usize::MAX);
        match self.section(Out::Text).bytes.get_mut(field) {
            Some(field) => *field = byte.cast_unsigned(),
            None => return false,
        }
        self.relocate(Out::Text, veneer + 1, RelocKind::Plt32, place, -4)
    }

    fn fill_table_reference(&mut self, id: FuncId, reference: &CodeRef, at: u64, table: u64) {
        let (kind, width, addend) = match reference.field {
            Field::Pc32 { tail } => (RelocKind::Pc32, 4, -i64::from(tail)),
            Field::Abs32 => (RelocKind::Abs32, 4, 0),
            Field::Abs32S => (RelocKind::Abs32S, 4, 0),
            Field::Abs64 => (RelocKind::Abs64, 8, 0),
            _ => {
                let name = self.name_of(id);
                return self.refuse(
                    codes::NOT_CARRIED,
                    &name,
                    format!("`{name}` refers to its jump table in a way that can't be carried"),
                );
            }
        };
        let symbol = self.symbols.section(Out::Rodata);
        let addend = addend + table.cast_signed();
        self.clear(at, width);
        self.section(Out::Text).relocs.push(super::Reloc { offset: at, kind, symbol, addend });
    }

    fn relocate_text(&mut self, at: u64, kind: RelocKind, width: usize, place: &Place, addend: i64) -> bool {
        self.clear(at, width);
        self.relocate(Out::Text, at, kind, place, addend)
    }

    /// RELA keeps the addend in the relocation: the field itself is zero, so that equal code gives equal bytes.
    pub(super) fn clear(&mut self, at: u64, width: usize) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(field) = self.section(Out::Text).bytes.get_mut(at..at.saturating_add(width)) {
            field.fill(0);
        }
    }

    fn write_number(&mut self, at: u64, number: i64) -> bool {
        let Ok(value) = i32::try_from(number) else { return false };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        match self.section(Out::Text).bytes.get_mut(at..at.saturating_add(4)) {
            Some(field) => {
                field.copy_from_slice(&value.to_le_bytes());
                true
            }
            None => false,
        }
    }

    pub(super) fn record_functions(&mut self) {
        let replaced: Vec<_> = self.set.replaced().collect();
        self.out.new_functions = u32::try_from(self.set.functions.len() - replaced.len()).unwrap_or(u32::MAX);
        for (old, new, _) in replaced {
            let function = &self.analysis.old.functions[old.index()];
            let Some(symbol) = self.symbols.function(new, 0) else { continue };
            match self.detour_site(function) {
                Some((site, window)) => {
                    let record = FuncRecord { site, window, symbol: Some(symbol), ..self.record(function) };
                    self.out.funcs.push(record);
                }
                None => {
                    let size = function.parts[0].size();
                    let message = format!(
                        "`{}` is {size} bytes with {} bytes of padding: too short for a 5-byte jump",
                        function.name, function.padding
                    );
                    self.refuse(codes::TOO_SHORT, &function.name, message);
                }
            }
        }
        for function in &self.set.in_place {
            let record = self.record(&self.analysis.old.functions[function.old.index()]);
            self.out.funcs.push(record);
        }
        for function in &self.set.idle {
            let record = self.record(&self.analysis.old.functions[function.old.index()]);
            self.out.funcs.push(FuncRecord { idle: true, ..record });
        }
        self.out.funcs.sort_by_key(|f| f.entry);
    }

    /// The record of a function that stays where it is, where no detour is written.
    fn record(&self, function: &Function) -> FuncRecord {
        let old_image = self.analysis.old_image;
        let pieces = function.parts.iter().filter_map(|r| old_image.bytes(r.start, r.size()));
        FuncRecord {
            name: function.name.clone(),
            entry: function.parts[0].start,
            site: function.parts[0].start,
            window: 0,
            symbol: None,
            ranges: function.parts.clone(),
            return_sites: return_sites(function),
            main_like: function.name == "main",
            idle: false,
            preimage: preimage(pieces),
        }
    }

    /// Where the jump goes and how many bytes there may be overwritten. An `endbr64` at the entry stays when there is room behind it.
    fn detour_site(&self, function: &Function) -> Option<(Svma, u32)> {
        let entry = function.parts[0];
        let room = u32::try_from(entry.size()).ok()?.checked_add(function.padding)?;
        let first = self.analysis.old_image.bytes(entry.start, entry.size().min(4))?;
        if first == ENDBR64 && room >= 4 + DETOUR {
            return Some((entry.start.plus(4), room - 4));
        }
        (room >= DETOUR).then_some((entry.start, room))
    }
}

/// Addresses that a call inside the function pushes.
fn return_sites(function: &Function) -> Vec<Svma> {
    let mut sites: Vec<Svma> = function
        .insns
        .iter()
        .filter(|i| i.is_call())
        .map(|i| function.parts[usize::from(i.part)].start.plus(u64::from(i.offset) + u64::from(i.len)))
        .collect();
    sites.sort_unstable();
    sites
}
