//! Binds thread-local variables: those of the old build by their place in its block, new ones to storage that the loader has for every thread.

use super::bind::{OldSlot, TlsVar, imported, unbound};
use super::{Binder, Place, SlotKey, ThreadForm, Unbound};
use crate::addr::{DataId, FuncId, ImportId, Svma, SymbolId};
use crate::correlate::stem;
use crate::image::{Image, SectionKind};
use crate::lift::{Lifted, Slot, Target, ThreadSlot};
use foldhash::fast::FixedState;
use patchfmt::codes;
use std::collections::HashMap;

/// What a variable of the new image is in the patched process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Variable {
    /// The offset in the old image's block.
    Old(i64),
    /// Brought by the patch.
    New { data: DataId, offset: i64 },
}

/// A build's thread-local variables, by their symbols.
pub fn threads(lifted: &Lifted) -> HashMap<SymbolId, DataId, FixedState> {
    let data = lifted.data.iter().enumerate();
    let own = data.filter(|(_, d)| matches!(d.section, SectionKind::Tdata | SectionKind::Tbss));
    own.flat_map(|(i, d)| d.names.iter().map(move |&name| (name, DataId::from(i)))).collect()
}

/// Distance from the start of an executable's TLS block to the thread pointer (psABI, TLS variant II): its size, rounded up.
fn block_size(image: &Image) -> Option<i64> {
    let (_, size, align) = image.tls?;
    i64::try_from(size.checked_next_multiple_of(align.max(1))?).ok()
}

fn no_segment<T>() -> Result<T, Unbound> {
    unbound(codes::TLS_BLOCK, "a thread-local variable, but its build has no TLS segment")
}

impl Binder<'_> {
    /// The variable at `offset` in the new image's block.
    fn thread_variable(&self, symbol: Option<SymbolId>, offset: i64) -> Result<Variable, Unbound> {
        let Some((symbol, &data)) = symbol.and_then(|s| Some((s, self.threads.get(&s)?))) else {
            return unbound(codes::UNKNOWN_TLS, format!("thread-local offset {offset}, which belongs to no symbol"));
        };
        let new = self.analysis.new_image.symbol(symbol);
        let within = offset.wrapping_sub_unsigned(new.svma.0);
        if let Some(old) = self.old_data(data) {
            let Some((template, ..)) = self.analysis.old_image.tls else { return no_segment() };
            let start = self.analysis.old.data[old.index()].range.start.0 - template.start.0;
            return Ok(Variable::Old(within.wrapping_add_unsigned(start)));
        }
        if let Some(&code) = self.ambiguous.get(stem(&new.name).name.as_str()) {
            let what = format!("thread-local `{}`, of which there are several that can't be told apart", new.name);
            return unbound(code, what);
        }
        let size = self.analysis.new.data[data.index()].range.size();
        if u64::try_from(within).is_ok_and(|w| w <= size) {
            return Ok(Variable::New { data, offset: within });
        }
        unbound(codes::UNKNOWN_TLS, format!("thread-local `{}` + {within}, outside of the variable", new.name))
    }

    /// `offset` is what the field holds: from the thread pointer, or from the start of the block.
    pub(super) fn bind_tls(
        &self,
        symbol: Option<SymbolId>,
        offset: i64,
        from_block: bool,
        within: Option<FuncId>,
    ) -> Result<Place, Unbound> {
        if from_block {
            self.block_of(within)?;
            return Ok(match self.thread_variable(symbol, offset)? {
                Variable::Old(at) => Place::Number(at),
                Variable::New { data, offset } => Place::Data { data, offset },
            });
        }
        let Some(new) = block_size(self.analysis.new_image) else { return no_segment() };
        match (self.thread_variable(symbol, offset + new)?, block_size(self.analysis.old_image)) {
            (Variable::New { data, offset }, _) => Ok(Place::Data { data, offset }),
            (Variable::Old(at), Some(old)) => Ok(Place::Number(at - old)),
            (Variable::Old(_), None) => no_segment(),
        }
    }

    /// A new variable that `within` reaches from the start of its block, None where all of them are the old build's. One base can't serve both.
    fn block_of(&self, within: Option<FuncId>) -> Result<Option<DataId>, Unbound> {
        let refs = within.map_or(&[][..], |f| &self.analysis.new.functions[f.index()].refs);
        let (mut old, mut new) = (false, None);
        for reference in refs {
            let Target::Tls { symbol, offset, from_block: true } = reference.target else { continue };
            match self.thread_variable(symbol, offset)? {
                Variable::Old(_) => old = true,
                Variable::New { data, .. } => new = new.or(Some(data)),
            }
        }
        match new {
            Some(data) if old => {
                let name = &self.analysis.new.data[data.index()].name;
                let what =
                    format!("thread-local `{name}`, which is new, from the base of a block that old ones lie in");
                unbound(codes::NEW_TLS, what)
            }
            new => Ok(new),
        }
    }

    /// The pair that `__tls_get_addr` is called with for the start of a block.
    pub(super) fn bind_thread_block(&self, within: Option<FuncId>) -> Result<Place, Unbound> {
        match self.block_of(within)? {
            Some(data) => Ok(Place::Slot(SlotKey::NewThread { form: ThreadForm::Block, data, offset: 0 })),
            None => self.tls_slot(&OldSlot::Ld, self.thread_pair(0), || "the thread-local block".to_owned()),
        }
    }

    /// A descriptor of the start of a block. (The loader's own block has none: its variables are reached one by one.)
    pub(super) fn bind_block_descriptor(&self, within: Option<FuncId>) -> Result<Place, Unbound> {
        match self.block_of(within)? {
            Some(data) => {
                let name = &self.analysis.new.data[data.index()].name;
                unbound(codes::NEW_TLS, format!("thread-local `{name}`, which is new, by a descriptor of its block"))
            }
            None => self.old_slot(&OldSlot::Desc(TlsVar::Own(0)), || "the thread-local block".to_owned()),
        }
    }

    /// A slot of a variable, the image's own or another module's.
    pub(super) fn bind_thread_slot(&self, slot: &Slot) -> Result<Place, Unbound> {
        let (form, of) = match slot {
            Slot::TpOff(of) => (ThreadForm::Offset, of),
            Slot::TlsGd(of) => (ThreadForm::Pair, of),
            Slot::TlsDesc(of) => (ThreadForm::Descriptor, of),
            _ => return unbound(codes::NOT_CARRIED, "something that the dynamic linker computes"),
        };
        let ThreadSlot { import, symbol, offset } = &**of;
        let found = match import {
            Some(i) => match self.exported_thread(&self.new_import(*i).name) {
                // Nobody but the new build knows it. (With an import the offset is an addend.)
                Some((symbol, start)) => match self.thread_variable(Some(symbol), start.wrapping_add(*offset))? {
                    Variable::Old(_) => None,
                    new => Some(new),
                },
                None => None,
            },
            None => Some(self.thread_variable(*symbol, *offset)?),
        };
        let var = match (found, import) {
            (Some(Variable::New { data, offset }), _) => {
                return Ok(Place::Slot(SlotKey::NewThread { form, data, offset }));
            }
            (Some(Variable::Old(at)), _) => TlsVar::Own(at),
            (None, Some(i)) => imported(self.new_import(*i), *offset),
            (None, None) => return no_segment(),
        };
        let name = || self.thread_name(*import, *symbol);
        match (form, &var) {
            (ThreadForm::Offset, TlsVar::Own(at)) => {
                // The block lies at the same distance from the thread pointer in all threads, or no variable had such a slot (psABI).
                let base = self.least_slot(|s| match s {
                    OldSlot::TpOff(TlsVar::Own(at)) => Some(*at),
                    _ => None,
                });
                let own = base.map(|(word, base)| SlotKey::ThreadOffset { word, delta: at.wrapping_sub(base) });
                self.tls_slot(&OldSlot::TpOff(var), own, name)
            }
            (ThreadForm::Offset, TlsVar::Import(..)) => self.old_slot(&OldSlot::TpOff(var), name),
            (ThreadForm::Pair, TlsVar::Own(at)) => {
                let own = self.thread_pair(*at);
                self.tls_slot(&OldSlot::Gd(var), own, name)
            }
            (ThreadForm::Pair, TlsVar::Import(..)) => self.old_slot(&OldSlot::Gd(var), name),
            _ => self.old_slot(&OldSlot::Desc(var), name),
        }
    }

    /// A variable of that name that the new image itself exports, and its offset in the block.
    fn exported_thread(&self, name: &str) -> Option<(SymbolId, i64)> {
        let image = self.analysis.new_image;
        let start = image.tls_symbols().iter().find(|s| s.exported && s.name == name)?.svma;
        // The first of several names of a place is the one that data know.
        let known = self.threads.keys().copied().filter(|&id| image.symbol(id).svma == start).min()?;
        Some((known, i64::try_from(start.0).ok()?))
    }

    /// Of the old slots that `pick` gives a number for, the one at the lowest address, with its number.
    fn least_slot(&self, pick: impl Fn(&OldSlot) -> Option<i64>) -> Option<(Svma, i64)> {
        self.slots.iter().filter_map(|(key, &at)| Some((at, pick(key)?))).min()
    }

    /// A pair of the patch's own for a variable of the module, whose id another pair holds.
    fn thread_pair(&self, offset: i64) -> Option<SlotKey> {
        let (word, _) = self.least_slot(|s| match s {
            OldSlot::Gd(TlsVar::Own(_)) | OldSlot::Ld => Some(0),
            _ => None,
        })?;
        Some(SlotKey::ThreadPair { word, offset })
    }

    /// The old slot of that meaning, else one of the patch's own.
    fn tls_slot(&self, key: &OldSlot, own: Option<SlotKey>, name: impl Fn() -> String) -> Result<Place, Unbound> {
        match (self.slots.get(key), own) {
            (None, Some(own)) => Ok(Place::Slot(own)),
            _ => self.old_slot(key, name),
        }
    }

    fn thread_name(&self, import: Option<ImportId>, symbol: Option<SymbolId>) -> String {
        let name = match (import, symbol) {
            (Some(i), _) => self.new_import(i).name.as_str(),
            (None, Some(s)) => self.analysis.new_image.symbol(s).name.as_str(),
            (None, None) => "?",
        };
        format!("thread-local `{name}`")
    }
}
