//! A payload, read: the object, its tables checked record by record, and what it takes to apply it to one module instance.

use patchfmt::payload::{self, Bind, Edit, Func, Guard, Keep, PayloadSite, Range, Site, State};
use patchfmt::{Code, codes};

use crate::elf::{Object, SHN_UNDEF, SHT_RELA, Shdr};
use crate::image::Image;
use crate::link::{self, Fault, Layout, Linker, Place, r};
use crate::report::{Name, Report};
use zerocopy::FromBytes;

/// A payload object with its tables.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    pub object: Object<'a>,
    pub binds: &'a [Bind],
    pub funcs: &'a [Func],
    pub ranges: &'a [Range],
    pub sites: &'a [Site],
    pub payload_sites: &'a [PayloadSite],
    pub guards: &'a [Guard],
    pub edits: &'a [Edit],
    pub states: &'a [State],
    /// Ascending by key.
    pub keeps: &'a [Keep],
}

/// How an import is found in the target.
pub trait Lookup {
    /// avma of the definition of `name` in `version` (empty for none), `Ok(None)` when there is none.
    fn find(&self, name: &[u8], version: &[u8]) -> Result<Option<u64>, &'static str>;

    /// The eight bytes at an avma of the module.
    fn word(&self, at: u64) -> Option<u64>;
}

fn refuse(report: &mut Report, fault: Fault) -> Code {
    match fault {
        Fault::Payload(m) => report.refuse(codes::PAYLOAD_REFUSED, format_args!("{}", m.0)),
        Fault::Type(t) => report.refuse(codes::BAD_RELOCATION, format_args!("relocation type {t}")),
        Fault::Place(o) => {
            report.refuse(codes::BAD_RELOCATION, format_args!("relocation at offset {o:#x} outside its section"))
        }
        Fault::Overflow { kind, place, value } => report
            .refuse(codes::BAD_RELOCATION, format_args!("relocation type {kind} at {place:#x} overflows: {value:#x}")),
    }
}

impl<'a> Payload<'a> {
    pub fn read(data: &'a [u8], report: &mut Report) -> Result<Payload<'a>, Code> {
        let parsed = Object::parse(data).and_then(|object| {
            Ok(Payload {
                object,
                binds: object.table(payload::BIND.as_bytes())?,
                funcs: object.table(payload::FUNC.as_bytes())?,
                ranges: object.table(payload::RANGE.as_bytes())?,
                sites: object.table(payload::SITE.as_bytes())?,
                payload_sites: object.table(payload::PSITE.as_bytes())?,
                guards: object.table(payload::GUARD.as_bytes())?,
                edits: object.table(payload::EDIT.as_bytes())?,
                states: object.table(payload::STATE.as_bytes())?,
                keeps: object.table(payload::KEEP.as_bytes())?,
            })
        });
        let p = parsed.map_err(|m| refuse(report, Fault::Payload(m)))?;
        let checked = (p.binds.iter().try_for_each(Bind::check))
            .and_then(|()| p.funcs.iter().try_for_each(|f| f.check(p.ranges, p.sites)))
            .and_then(|()| p.guards.iter().try_for_each(Guard::check))
            .and_then(|()| p.edits.iter().try_for_each(Edit::check))
            .and_then(|()| p.states.iter().try_for_each(State::check))
            .and_then(|()| payload::check_keeps(p.keeps))
            .and_then(|()| payload::check_code_edits(p.funcs, p.ranges, p.edits));
        checked.map_err(|code| report.refuse(code, format_args!("a record of the payload's tables")))?;
        Ok(p)
    }

    /// Functions that are replaced, not those that stay where they are.
    pub fn replaced(&self) -> impl Iterator<Item = &'a Func> {
        self.funcs.iter().filter(|f| f.replaced())
    }

    pub fn symbol_count(&self) -> usize {
        self.object.symbols().len()
    }

    /// Marks with 1 the undefined symbols that a `PLT32` relocation refers to and lays the sections out. Both slices have one element for
    /// each symbol or section; afterwards `stubs` holds offsets in the mapping.
    pub fn lay_out(&self, places: &mut [Place], stubs: &mut [u64], report: &mut Report) -> Result<Layout, Code> {
        let symbols = self.object.symbols();
        for section in self.object.sections().iter().filter(|s| s.kind.get() == SHT_RELA) {
            for rela in self.object.records::<crate::elf::Rela>(section).unwrap_or_default() {
                let index = rela.symbol.get() as usize;
                if rela.kind.get() == r::PLT32 && symbols.get(index).is_some_and(|s| s.shndx.get() == SHN_UNDEF) {
                    stubs[index] = 1;
                }
            }
        }
        // What lies in the module is in reach by the choice of the place.
        for bind in self.binds.iter().filter(|b| b.kind == payload::BIND_OLD) {
            if let Some(stub) = stubs.get_mut(bind.symbol.get() as usize) {
                *stub = 0;
            }
        }
        let count = stubs.iter().sum();
        let layout = Layout::new(&self.object, places, count).map_err(|f| refuse(report, f))?;
        for (n, stub) in stubs.iter_mut().filter(|s| **s != 0).enumerate() {
            *stub = layout.stub(n as u64);
        }
        Ok(layout)
    }

    /// Gives every symbol its avma: own ones by their section, undefined ones as their binding says.
    pub fn bind(
        &self,
        image: &Image,
        places: &[Place],
        base: u64,
        values: &mut [u64],
        lookup: &impl Lookup,
        report: &mut Report,
    ) -> Result<(), Code> {
        const UNBOUND: u64 = u64::MAX;
        for (value, symbol) in values.iter_mut().zip(self.object.symbols()) {
            *value = link::defined(symbol, places, base).map_err(|f| refuse(report, f))?.unwrap_or(UNBOUND);
        }
        if let Some(null) = values.first_mut() {
            *null = 0;
        }
        for bind in self.binds {
            let slot = values.get_mut(bind.symbol.get() as usize).filter(|v| **v == UNBOUND);
            let Some(slot) = slot else {
                return Err(
                    report.refuse(codes::RECORD_INDEX, format_args!("a binding of a symbol that isn't undefined"))
                );
            };
            *slot = self.bound(bind, image, lookup, report)?;
        }
        match values.iter().position(|v| *v == UNBOUND) {
            None => Ok(()),
            Some(n) => {
                let name = self.object.name(self.object.symbols()[n].name.get());
                Err(report.refuse(codes::PAYLOAD_REFUSED, format_args!("no binding for the symbol {}", Name(name))))
            }
        }
    }

    fn bound(&self, bind: &Bind, image: &Image, lookup: &impl Lookup, report: &mut Report) -> Result<u64, Code> {
        if bind.kind == payload::BIND_OLD {
            // One past the end of a segment is an address that code may form.
            let svma = bind.value.get();
            let within = image.avma(svma, 0, false);
            return within.ok_or_else(|| {
                report.refuse(codes::BAD_BINDING, format_args!("address {svma:#x} isn't in the module"))
            });
        }
        if bind.kind == payload::BIND_WORD {
            let svma = bind.value.get();
            let word = image.avma(svma, 8, false).and_then(|at| lookup.word(at));
            return word.ok_or_else(|| {
                report.refuse(codes::BAD_BINDING, format_args!("the word at {svma:#x} isn't in the module"))
            });
        }
        let (name, version) = (self.object.name(bind.name.get()), self.object.name(bind.version.get()));
        let own = image.avma(bind.value.get(), 0, false).filter(|_| bind.value != 0);
        match lookup.find(name, version) {
            Ok(Some(avma)) if bind.value != 0 && own != Some(avma) => {
                Err(report.refuse(codes::OTHER_COPY, format_args!("{} is at {avma:#x}", Name(name))))
            }
            Ok(Some(avma)) => Ok(avma),
            Ok(None) if bind.weak() => Ok(0),
            Ok(None) => {
                let at = if version.is_empty() { "" } else { "@" };
                Err(report.refuse(codes::SYMBOL_NOT_FOUND, format_args!("{}{at}{}", Name(name), Name(version))))
            }
            Err(why) => Err(report.refuse(codes::SYMBOL_NOT_FOUND, format_args!("{}: {why}", Name(name)))),
        }
    }

    /// Offset of the replacement `func` in the mapping, and its size in bytes.
    pub fn replacement(
        &self,
        func: &Func,
        places: &[Place],
        layout: &Layout,
        report: &mut Report,
    ) -> Result<(u64, u64), Code> {
        let symbol = self.object.symbols().get(func.symbol.get() as usize);
        let place = symbol.and_then(|s| Some((s, places.get(usize::from(s.shndx.get()))?)));
        match place {
            Some((s, p))
                if s.shndx.get() != SHN_UNDEF && p.mapped() && p.offset < layout.text_len && s.value.get() < p.size =>
            {
                Ok((p.offset + s.value.get(), s.size.get().min(p.size - s.value.get()).max(1)))
            }
            _ => {
                let name = Name(self.object.name(func.name.get()));
                Err(report
                    .refuse(codes::RECORD_INDEX, format_args!("the replacement of {name} isn't code of the payload")))
            }
        }
    }

    /// Offset of an edit's new bytes in the mapping.
    pub fn edit_bytes(&self, edit: &Edit, places: &[Place], report: &mut Report) -> Result<u64, Code> {
        self.stretch((edit.symbol.get(), 0, edit.size.get()), edit.name.get(), places, report)
    }

    /// Offset in the mapping of the bytes that change places with those of the old image.
    pub fn state_bytes(&self, state: &State, places: &[Place], report: &mut Report) -> Result<u64, Code> {
        let part = (state.symbol.get(), state.offset.get(), state.size.get());
        self.stretch(part, state.name.get(), places, report)
    }

    /// Offset in the mapping of a new variable.
    pub fn keep_bytes(&self, keep: &Keep, places: &[Place], report: &mut Report) -> Result<u64, Code> {
        let part = (keep.symbol.get(), keep.offset.get(), keep.size.get());
        self.stretch(part, keep.name.get(), places, report)
    }

    /// Offset in the mapping of some bytes behind a symbol: its index, their distance from it, and their number.
    fn stretch(
        &self,
        (symbol, distance, size): (u32, u64, u32),
        name: u32,
        places: &[Place],
        report: &mut Report,
    ) -> Result<u64, Code> {
        let symbol = self.object.symbols().get(symbol as usize).filter(|s| s.shndx.get() != SHN_UNDEF);
        let found = symbol.and_then(|s| {
            let place = places.get(usize::from(s.shndx.get())).filter(|p| p.mapped())?;
            let start = s.value.get().checked_add(distance)?;
            let end = start.checked_add(size.into())?;
            (end <= place.size).then_some(place.offset + start)
        });
        found.ok_or_else(|| {
            let name = Name(self.object.name(name));
            report.refuse(codes::RECORD_INDEX, format_args!("the new bytes of {name} aren't in the payload"))
        })
    }

    /// Fills `image` with the linked sections.
    pub fn link(&self, linker: &Linker<'_>, image: &mut [u8], report: &mut Report) -> Result<(), Code> {
        linker.link(image).map_err(|f| refuse(report, f))
    }

    /// Makes `copy`, a copy of the payload's file, say where its sections lie, so that debuggers take it for the symbols of the mapping at `base`.
    pub fn place_sections(&self, copy: &mut [u8], places: &[Place], base: u64) -> Option<()> {
        let first = self.object.sections_at() as usize;
        for (n, place) in places.iter().enumerate().filter(|(_, p)| p.mapped()) {
            let header = copy.get_mut(first + n * size_of::<Shdr>()..)?;
            Shdr::mut_from_prefix(header).ok()?.0.addr = (base + place.offset).into();
        }
        Some(())
    }

    /// True for a base address at which a replacement would share the low 24 bits with its old entry or detour: branch predictors
    /// take the two for one another, at tens of nanoseconds a call. `offsets` are those of [`Self::replaced`] in the mapping.
    pub fn aliases(&self, base: u64, bias: u64, offsets: &[u64]) -> bool {
        const LOW: u64 = (1 << 24) - 1;
        let same = |a: u64, b: u64| (a ^ b) & LOW == 0;
        self.replaced().zip(offsets).any(|(f, offset)| {
            let new = base.wrapping_add(*offset);
            same(f.entry.get().wrapping_add(bias), new) || same(f.site.get().wrapping_add(bias), new)
        })
    }
}
