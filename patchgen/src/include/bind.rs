//! Binds a reference of the new image: finds what it denotes in the process that runs the old one.

use super::bases::Moves;
use super::neighbours::may_use_end;
use super::threads::threads;
use super::{Analysis, Place, literals::Literals};
use crate::addr::{DataId, FuncId, ImportId, Svma, SymbolId};
use crate::compare::{Counterparts, Meaning};
use crate::correlate::{NAMELESS, Side, stem};
use crate::image::{DynReloc, Image, ImageKind, Import, SectionKind, SymbolKind};
use crate::lift::{Access, CodeRef, Data, DataKind, Field, Lifted, Slot, Target, describes_class};
use foldhash::fast::FixedState;
use patchfmt::codes::{self, Code};
use std::collections::BTreeSet;

type HashMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// Content of a slot that the patch brings, in terms of the patched process.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SlotKey {
    /// Address of an imported symbol plus addend.
    Import(ImportId, i64),
    Address(Box<Place>),
    /// Offset of a thread-local variable from the thread pointer: what a word of the old image holds for another variable of its block,
    /// and the distance between the two.
    ThreadOffset {
        word: Svma,
        delta: i64,
    },
    /// Arguments of `__tls_get_addr`: the module's id, which a word of the old image holds, and an offset in its block.
    ThreadPair {
        word: Svma,
        offset: i64,
    },
    /// Of a thread-local variable that the patch brings.
    NewThread {
        form: ThreadForm,
        data: DataId,
        offset: i64,
    },
}

/// What a slot says of a new thread-local variable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ThreadForm {
    /// Its offset from the thread pointer.
    Offset,
    /// Arguments of `__tls_get_addr`.
    Pair,
    /// The same for the start of the block that it lies in.
    Block,
    /// A TLS descriptor: a function, and what it gives back.
    Descriptor,
}

impl SlotKey {
    /// In bytes.
    pub fn size(&self) -> usize {
        match self {
            SlotKey::ThreadPair { .. } => 16,
            SlotKey::NewThread { form, .. } if *form != ThreadForm::Offset => 16,
            _ => 8,
        }
    }
}

/// A reference that has no proven meaning in the patched process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unbound {
    pub code: Code,
    pub what: String,
}

pub(super) fn unbound<T>(code: Code, what: impl Into<String>) -> Result<T, Unbound> {
    Err(Unbound { code, what: what.into() })
}

/// What an old slot holds. Own thread-local variables are named by their offset in the old image's block.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum OldSlot {
    Symbol(String, Option<String>, i64),
    TpOff(TlsVar),
    Gd(TlsVar),
    Ld,
    Desc(TlsVar),
    Irelative(Svma),
    Number(u64),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum TlsVar {
    /// Name, version, and what is added.
    Import(String, Option<String>, i64),
    Own(i64),
}

#[derive(Debug)]
pub struct Binder<'a> {
    pub(super) analysis: Analysis<'a>,
    /// Old PLT stub by (name, version).
    stubs: HashMap<(&'a str, Option<&'a str>), Svma>,
    /// Those of them that are the function's address for all modules.
    canonical: HashMap<(&'a str, Option<&'a str>), Svma>,
    pub(super) slots: HashMap<OldSlot, Svma>,
    /// Thread-local variables of the new build, by their symbols.
    pub(super) threads: HashMap<SymbolId, DataId>,
    /// None where several places have the name.
    old_names: HashMap<&'a str, Option<Svma>>,
    old_exports: BTreeSet<&'a str>,
    new_exports: HashMap<&'a str, Svma>,
    literals: Literals<'a>,
    pub(super) counterparts: Counterparts<'a>,
    pub(super) moves: Moves,
    /// Stems of names that could not be paired safely, with the code that says why.
    pub(super) ambiguous: HashMap<&'a str, Code>,
    /// New data that must not bind to their old counterpart.
    pub moved: BTreeSet<DataId>,
    /// New literals that must be carried although the old image has the same.
    pub(super) copied: BTreeSet<DataId>,
}

/// Opcodes of `lea r64, m` and `mov r64, m`, behind a REX prefix and before the operand.
pub const LEA: u8 = 0x8d;
pub const LOAD: u8 = 0x8b;

const AMBIGUOUS: &str = "a number that may be an address";

/// Objects that no code walks through to their end: the predefined names of a function (C11, 6.4.2.2; GCC, "Function Names"), what describes
/// a class, and sections taken as one object, whose end has a name of its own where it's used.
fn never_walked(name: &str) -> bool {
    name.starts_with('.')
        || describes_class(name)
        || matches!(stem(name).name.as_str(), "__func__" | "__FUNCTION__" | "__PRETTY_FUNCTION__")
}

/// Whether `b` is the next datum behind `a`, in the same kind of section, with at most filler between them.
pub fn follows(lifted: &Lifted, a: DataId, b: DataId) -> bool {
    let (x, y) = (&lifted.data[a.index()].range, &lifted.data[b.index()].range);
    let next = lifted.data_at.range(x.start.plus(1)..).next();
    let near = y.start >= x.end && y.start.0 - x.end.0 < MAX_FILLER;
    near && lifted.data[a.index()].section == lifted.data[b.index()].section && next.is_some_and(|(_, &id)| id == b)
}

/// Bytes of alignment between two objects, at most.
const MAX_FILLER: u64 = 64;

fn import_key(import: &Import) -> (&str, Option<&str>) {
    (import.name.as_str(), import.version.as_deref())
}

/// Another module's variable.
pub(super) fn imported(import: &Import, addend: i64) -> TlsVar {
    TlsVar::Import(import.name.clone(), import.version.clone(), addend)
}

fn tls_var(image: &Image, import: Option<ImportId>, offset: i64) -> TlsVar {
    match import {
        Some(i) => imported(&image.imports[i.index()], offset),
        None => TlsVar::Own(offset),
    }
}

/// The old image's GOT, by meaning.
fn old_slots(old: &Image) -> HashMap<OldSlot, Svma> {
    let mut slots = HashMap::default();
    for (&at, reloc) in &old.dynamic {
        if !old.section_at(at).is_some_and(|s| old.sections[s.index()].kind == SectionKind::Got) {
            continue;
        }
        let key = match reloc {
            DynReloc::Symbol { import, addend, .. } => {
                let i = &old.imports[import.index()];
                OldSlot::Symbol(i.name.clone(), i.version.clone(), *addend)
            }
            DynReloc::TpOff { import, offset, .. } => OldSlot::TpOff(tls_var(old, *import, *offset)),
            DynReloc::DtpMod { import: Some(i) } => OldSlot::Gd(tls_var(old, Some(*i), 0)),
            // Against an own variable the second word is a plain offset; zero may also be the local-dynamic pair, which says the same.
            DynReloc::DtpMod { import: None } => {
                let offset = match old.dynamic.get(&at.plus(8)) {
                    Some(DynReloc::DtpOff { import: None, offset, .. }) => Some(*offset),
                    Some(_) => None,
                    None => old.bytes(at.plus(8), 8).and_then(|b| b.try_into().ok()).map(i64::from_le_bytes),
                };
                let Some(offset) = offset else { continue };
                if offset == 0 {
                    slots.entry(OldSlot::Ld).or_insert(at);
                }
                OldSlot::Gd(TlsVar::Own(offset))
            }
            DynReloc::TlsDesc { import, offset, .. } => OldSlot::Desc(tls_var(old, *import, *offset)),
            DynReloc::Irelative { resolver } => OldSlot::Irelative(*resolver),
            _ => continue,
        };
        slots.entry(key).or_insert(at);
    }
    let got = old.sections.iter().filter(|s| s.kind == SectionKind::Got).flat_map(|s| s.range.start.0..s.range.end.0);
    for at in got.step_by(8).map(Svma) {
        if let Some(number) = old.number_in_slot(at) {
            slots.entry(OldSlot::Number(number)).or_insert(at);
        }
    }
    slots
}

impl<'a> Binder<'a> {
    pub fn new(analysis: Analysis<'a>) -> Binder<'a> {
        let old = analysis.old_image;
        let mut stubs = HashMap::default();
        // `.plt.sec` and `.plt.got` come after `.plt` and are what compiled calls go to: the last stub wins.
        for stub in &old.plt {
            if let Some(DynReloc::JumpSlot { import, .. } | DynReloc::Symbol { import, addend: 0, .. }) =
                old.dynamic.get(&stub.slot)
            {
                stubs.insert(import_key(&old.imports[import.index()]), stub.range.start);
            }
        }
        let mut old_names = HashMap::default();
        let mut old_exports = BTreeSet::new();
        for symbol in old.symbols.iter().filter(|s| s.kind != SymbolKind::Tls) {
            old_names
                .entry(symbol.name.as_str())
                .and_modify(|at: &mut Option<Svma>| *at = at.filter(|at| *at == symbol.svma))
                .or_insert(Some(symbol.svma));
            if symbol.exported {
                old_exports.insert(symbol.name.as_str());
            }
        }
        let exported = analysis.new_image.symbols.iter().filter(|s| s.exported && s.kind != SymbolKind::Tls);
        Binder {
            analysis,
            stubs,
            canonical: old.canonical.iter().map(|(id, at)| (import_key(&old.imports[id.index()]), *at)).collect(),
            slots: old_slots(old),
            threads: threads(analysis.new),
            old_names,
            old_exports,
            new_exports: exported.map(|s| (s.name.as_str(), s.svma)).collect(),
            literals: Literals::new(old, analysis.old),
            counterparts: Counterparts::new(
                Side { image: old, lifted: analysis.old },
                Side { image: analysis.new_image, lifted: analysis.new },
                analysis.pairs,
            ),
            moves: Moves::new(&analysis),
            ambiguous: analysis.pairs.ambiguous.iter().map(|(code, name)| (name.as_str(), Code(*code))).collect(),
            moved: BTreeSet::new(),
            copied: BTreeSet::new(),
        }
    }

    pub(super) fn new_import(&self, id: ImportId) -> &'a Import {
        &self.analysis.new_image.imports[id.index()]
    }

    /// The old function that a new one is paired with.
    pub fn old_func(&self, new: FuncId) -> Option<FuncId> {
        self.analysis.pairs.func_to_old.get(new.index()).copied().flatten().map(|p| p.old)
    }

    /// The old datum that a new one is paired with.
    pub fn old_data(&self, new: DataId) -> Option<DataId> {
        self.analysis.pairs.data_to_old.get(new.index()).copied().flatten().map(|p| p.old)
    }

    /// Binds a reference from code: both readings of an address between two objects must lead to the same place.
    pub fn bind_reference(&self, reference: &CodeRef, within: FuncId) -> Result<Place, Unbound> {
        if let Some(key) = self.loadable(reference, within) {
            return Ok(Place::Loaded(key));
        }
        let seen = match self.old_func(within).filter(|_| !reference.certain) {
            Some(old) => self.counterparts.meaning(old, within, reference),
            None => Meaning::Open,
        };
        if seen == Meaning::Number {
            return match self.counterparts.holds_as_base(within, reference, None) {
                true => Ok(Place::Plain),
                false => unbound(codes::AMBIGUOUS_IMMEDIATE, AMBIGUOUS),
            };
        }
        let address =
            reference.access == Access::Derived && matches!(reference.target, Target::Slot(Slot::Irelative(_)));
        let place = match self.bind(&reference.target, Some(within), reference.branch || address) {
            Err(_) if !reference.certain => return unbound(codes::AMBIGUOUS_IMMEDIATE, AMBIGUOUS),
            place => self.in_reach(place?, reference, within)?,
        };
        // A plain number stays as it is; an address must lead to the same thing. Where that is the same number, both hold.
        if !reference.certain
            && seen == Meaning::Open
            && !matches!((&place, self.new_address(&reference.target)), (Place::Old(a), Some(b)) if *a == b)
        {
            return unbound(codes::AMBIGUOUS_IMMEDIATE, AMBIGUOUS);
        }
        if let Place::Old(at) = place
            && !self.counterparts.holds_as_base(within, reference, Some(at))
        {
            return unbound(codes::AMBIGUOUS_IMMEDIATE, AMBIGUOUS);
        }
        let meant = |&&(data, offset): &&(DataId, i64)| {
            let datum = &self.analysis.new.data[data.index()];
            !never_walked(&datum.name) || self.is_class_end(datum, offset)
        };
        if let Some(label) = self.other_end(reference, &place) {
            let what = format!("an address where an object begins and `{label}` is, which are apart in the old build");
            return unbound(codes::UNKNOWN_ADDRESS, what);
        }
        let mut agreed = None;
        for &(data, offset) in reference.alternatives.iter().filter(meant) {
            let second = Target::Data { data, offset };
            let both = if self.carried_together(&place, data) {
                place.clone()
            } else {
                let other = self.bind(&second, Some(within), false)?;
                match () {
                    () if other == place => place.clone(),
                    () if reference.backwards.is_none() && self.literal_at(&reference.target, &other, within) => other,
                    () if offset > 0
                        && reference.backwards.is_none()
                        && (self.start_is_meant(reference, data, within)
                            || self.is_as_often(reference, &place, data, within)) =>
                    {
                        place.clone()
                    }
                    () => {
                        let name = &self.analysis.new.data[data.index()].name;
                        let what = format!("an address that is the end of `{name}` or the start of what follows");
                        return unbound(codes::UNKNOWN_ADDRESS, what);
                    }
                }
            };
            if agreed.replace(both.clone()).is_some_and(|before| before != both) {
                return unbound(codes::UNKNOWN_ADDRESS, "an address that several objects may be meant with");
            }
        }
        if let Some(agreed) = agreed {
            return Ok(agreed);
        }
        self.base(reference, place, within)
    }

    /// The end of a segment's data, where the linker has a symbol, and which is elsewhere in the old build than the object that is as well there.
    fn other_end(&self, reference: &CodeRef, place: &Place) -> Option<&'a str> {
        let address = self.new_address(&reference.target).filter(|_| reference.access == Access::Derived)?;
        let Target::Data { offset: 0, .. } = reference.target else { return None };
        // What the dynamic linker copies there has its name from a library: no walker means it by another.
        if matches!(self.analysis.new_image.dynamic.get(&address), Some(DynReloc::Copy { .. })) {
            return None;
        }
        let symbols = self.analysis.new_image.symbols_at(address).iter().map(|s| s.name.as_str());
        let ends = |name: &&str| matches!(*name, "_edata" | "edata" | "__bss_start");
        let old = |name: &str| self.old_names.get(name).copied().flatten().map(Place::Old);
        symbols.filter(ends).find(|name| old(name).is_some_and(|old| old != *place))
    }

    /// Where a function or datum of the new image stands.
    fn new_address(&self, target: &Target) -> Option<Svma> {
        match *target {
            Target::Func { func, part, offset } => {
                let part = self.analysis.new.functions[func.index()].parts.get(usize::from(part))?;
                Some(part.start.plus(u64::from(offset)))
            }
            Target::Data { data, offset } => Some(self.analysis.new.data[data.index()].range.start.offset(offset)),
            _ => None,
        }
    }

    /// The object of another module that a datum is a copy of, where the old build has no such copy: then that object itself is meant.
    pub(super) fn uncopied(&self, data: DataId) -> Option<ImportId> {
        if self.old_data(data).is_some() {
            return None;
        }
        match self.analysis.new_image.dynamic.get(&self.analysis.new.data[data.index()].range.start)? {
            DynReloc::Copy { import } => Some(*import),
            _ => None,
        }
    }

    /// An instruction that has the address of another module's object, of which the new build has a copy and the old one none, put into a
    /// register: the address comes out of a slot instead.
    fn loadable(&self, reference: &CodeRef, within: FuncId) -> Option<SlotKey> {
        let Target::Data { data, offset } = reference.target else { return None };
        let import = self.uncopied(data).filter(|_| reference.certain)?;
        self.may_load(reference, within).then_some(SlotKey::Import(import, offset))
    }

    /// Whether an instruction that has an address put into a register can be one that takes it out of a slot.
    fn may_load(&self, reference: &CodeRef, within: FuncId) -> bool {
        let function = &self.analysis.new.functions[within.index()];
        let at = function.parts[usize::from(reference.part)].start.plus(u64::from(reference.insn));
        let opcode = self.analysis.new_image.bytes(at, u64::from(reference.field_at.saturating_sub(reference.insn)));
        match (reference.field, opcode) {
            // Undoes the relaxation of the GOT load that a position-independent compiler would have written (psABI, B.2: `lea` and `mov` differ in
            // one byte).
            (Field::Pc32 { tail: 4 }, Some([_, LEA, _])) => true,
            // `mov $address,%register` has room for a call. A function that makes calls has no red zone (psABI, 3.2.2), which one more would write to.
            (Field::Abs32, Some([0xb8..=0xbf] | [0x41, 0xb8..=0xbf]))
            | (Field::Abs64, Some([0x48 | 0x49, 0xb8..=0xbf])) => function.insns.iter().any(|i| i.is_call()),
            _ => false,
        }
    }

    /// Another module's function whose address code at fixed addresses has as a number: out of a slot, which no relocation of code has to hold.
    fn in_reach(&self, place: Place, reference: &CodeRef, within: FuncId) -> Result<Place, Unbound> {
        let Place::Import(import) = place else { return Ok(place) };
        match reference.field {
            Field::Abs32 | Field::Abs64 if self.may_load(reference, within) => {
                Ok(Place::Loaded(SlotKey::Import(import, 0)))
            }
            Field::Abs32 | Field::Abs32S => {
                let name = &self.new_import(import).name;
                unbound(codes::UNKNOWN_ADDRESS, format!("`{name}`, which may be out of reach"))
            }
            _ => Ok(place),
        }
    }

    /// Whether objects may point to the end of a vtable: where its class, with virtual bases, has no virtual function (Itanium C++ ABI, 2.5.2).
    fn is_class_end(&self, datum: &Data, offset: i64) -> bool {
        let Some(last) = u64::try_from(offset).ok().filter(|o| *o == datum.range.size()).and_then(|o| o.checked_sub(8))
        else {
            return false;
        };
        let name = |target: &Target| match *target {
            Target::Data { data, .. } => self.analysis.new.data[data.index()].name.as_str(),
            Target::Import(import) | Target::Slot(Slot::Import { import, .. }) => self.new_import(import).name.as_str(),
            _ => "",
        };
        let word = datum.refs.iter().chain(&datum.ambiguous).find(|r| u64::from(r.at) == last);
        datum.name.starts_with("_ZTV") && word.is_none_or(|r| name(&r.target).starts_with("_ZTI"))
    }

    /// Whether the old image has the literal that `target` denotes at `place` too: then that place serves both readings, unless the code may
    /// go on to the literal's end, which is bound for itself.
    fn literal_at(&self, target: &Target, place: &Place, within: FuncId) -> bool {
        let (Target::Data { data, offset }, Place::Old(at)) = (target, place) else { return false };
        let (image, new) = (self.analysis.new_image, self.analysis.new);
        new.data[data.index()].kind != DataKind::Named
            && !may_use_end(new, &new.functions[within.index()], *data)
            && self.literals.is_at(image, new, *data, at.offset(-offset))
    }

    /// Binds what a word in data holds, as a place plus addend. `inside`: the carried function that a label leads into.
    ///
    /// A word that the dynamic linker fills holds what a GOT slot would hold, never the slot's address.
    pub fn bind_word(&self, target: &Target, inside: Option<FuncId>) -> Result<(Place, i64), Unbound> {
        match target {
            Target::Slot(Slot::Import { import, addend }) => {
                Ok((self.bind(&Target::Import(*import), inside, false)?, *addend))
            }
            Target::Slot(Slot::Address(target)) => self.bind_word(target, inside),
            Target::Slot(_) => unbound(codes::NOT_CARRIED, "something that the dynamic linker computes"),
            Target::Data { data, offset } => match self.uncopied(*data) {
                Some(import) => Ok((Place::Import(import), *offset)),
                None => Ok((self.bind(target, inside, false)?, 0)),
            },
            _ => Ok((self.bind(target, inside, false)?, 0)),
        }
    }

    /// Binds `target`, referred to by the code of `within` (None for data). `branch`: control goes there.
    pub fn bind(&self, target: &Target, within: Option<FuncId>, branch: bool) -> Result<Place, Unbound> {
        match target {
            Target::Func { func, part, offset } => self.bind_func(*func, *part, *offset, within),
            Target::Import(import) => self.bind_import(*import, within, branch),
            // A direct branch goes to a stub that jumps through the slot; that is the indirect function's address, too.
            Target::Slot(slot) if branch => match self.bind_slot(slot, within)? {
                Place::Old(slot) => match self.analysis.old_image.plt.iter().find(|s| s.slot == slot) {
                    Some(stub) => Ok(Place::Old(stub.range.start)),
                    None => unbound(codes::IFUNC_RESOLVER, "an indirect function that the old build doesn't call"),
                },
                _ => unbound(codes::IFUNC_RESOLVER, "an indirect function that the old build doesn't call"),
            },
            Target::Slot(slot) => self.bind_slot(slot, within),
            Target::Data { data, offset } => self.bind_data(*data, *offset),
            Target::Tls { symbol, offset, from_block } => self.bind_tls(*symbol, *offset, *from_block, within),
            Target::Linker(name) => match self.old_names.get(&**name) {
                Some(Some(at)) => Ok(Place::Old(*at)),
                _ => {
                    unbound(codes::UNKNOWN_ADDRESS, format!("`{name}`, which the old build doesn't have, or not once"))
                }
            },
            Target::Table(_) => unbound(codes::JUMP_TABLE, "a jump table from outside of its function"),
            Target::Unknown(at) => {
                unbound(codes::UNKNOWN_ADDRESS, format!("{at}, no known function, object or literal"))
            }
        }
    }

    fn bind_func(&self, func: FuncId, part: u8, offset: u32, within: Option<FuncId>) -> Result<Place, Unbound> {
        if within == Some(func) && (part, offset) != (0, 0) {
            return Ok(Place::Func { func, part, offset });
        }
        let name = &self.analysis.new.functions[func.index()].name;
        if (part, offset) != (0, 0) {
            return unbound(codes::INTERIOR_REFERENCE, format!("the inside of `{name}` (part {part} + 0x{offset:x})"));
        }
        // The address of a function is its old entry, for old and new code alike: the detour there leads on.
        match self.old_func(func) {
            Some(old) => Ok(Place::Old(self.analysis.old.functions[old.index()].parts[0].start)),
            None if name.is_empty() && self.ambiguous.contains_key(NAMELESS) => {
                let at = self.analysis.new.functions[func.index()].parts[0].start;
                unbound(
                    codes::AMBIGUOUS_FUNCTIONS,
                    format!("the function at {at}, which may be one of several old ones"),
                )
            }
            None => match self.ambiguous.get(stem(name).name.as_str()) {
                Some(&code) => unbound(code, format!("`{name}`, of which there are several that can't be told apart")),
                None => Ok(Place::Func { func, part: 0, offset: 0 }),
            },
        }
    }

    fn bind_import(&self, id: ImportId, within: Option<FuncId>, branch: bool) -> Result<Place, Unbound> {
        let import = self.new_import(id);
        // A pointer in position-independent data is what the dynamic linker finds, or comparing it would tell.
        let pointer = within.is_none() && !branch && self.analysis.new_image.kind != ImageKind::Exec;
        // Where its address is taken, only such a stub will do that is the function's address for other modules, too.
        let stubs = if branch { &self.stubs } else { &self.canonical };
        if let Some(&stub) = stubs.get(&import_key(import)).filter(|_| !pointer) {
            return Ok(Place::Old(stub));
        }
        match self.own_definition(import) {
            Some(target) if !self.old_exports.contains(import.name.as_str()) => self.bind(&target, within, branch),
            _ if branch => Ok(Place::Stub(id)),
            _ => Ok(Place::Import(id)),
        }
    }

    fn bind_slot(&self, slot: &Slot, within: Option<FuncId>) -> Result<Place, Unbound> {
        match slot {
            Slot::Import { import, addend } => {
                let i = self.new_import(*import);
                let key = OldSlot::Symbol(i.name.clone(), i.version.clone(), *addend);
                if let Some(&at) = self.slots.get(&key) {
                    return Ok(Place::Old(at));
                }
                // The image's own, preemptible symbol: the dynamic linker finds it only where the old image exports it.
                match self.own_definition(i) {
                    Some(_) if *addend != 0 && !self.old_exports.contains(i.name.as_str()) => unbound(
                        codes::UNKNOWN_ADDRESS,
                        format!("`{}` + {addend}, which only the new build defines", i.name),
                    ),
                    Some(target) if !self.old_exports.contains(i.name.as_str()) => {
                        Ok(Place::Slot(SlotKey::Address(Box::new(self.bind(&target, within, false)?))))
                    }
                    _ => Ok(Place::Slot(SlotKey::Import(*import, *addend))),
                }
            }
            Slot::Address(target) => {
                let stub = matches!(**target, Target::Slot(_));
                Ok(Place::Slot(SlotKey::Address(Box::new(self.bind(target, within, stub)?))))
            }
            Slot::Irelative(target) => {
                let Target::Func { func, part: 0, offset: 0 } = **target else {
                    return unbound(
                        codes::IFUNC_RESOLVER,
                        "an indirect function whose resolver isn't a function entry",
                    );
                };
                let name = &self.analysis.new.functions[func.index()].name;
                let Some(resolver) = self.old_func(func) else {
                    return unbound(codes::IFUNC_RESOLVER, format!("indirect function `{name}`, which is new"));
                };
                let at = self.analysis.old.functions[resolver.index()].parts[0].start;
                self.old_slot(&OldSlot::Irelative(at), || format!("indirect function `{name}`"))
            }
            Slot::TpOff(_) | Slot::TlsGd(_) | Slot::TlsDesc(_) => self.bind_thread_slot(slot),
            Slot::Number(number) => match self.slots.get(&OldSlot::Number(*number)) {
                Some(&at) => Ok(Place::Old(at)),
                None => unbound(
                    codes::UNKNOWN_ADDRESS,
                    match number {
                        0 => "a symbol that nobody defines, for which the old build has no GOT entry".to_owned(),
                        n => format!("an absolute symbol of value {n}, for which the old build has no GOT entry"),
                    },
                ),
            },
            Slot::TlsLd => self.bind_thread_block(within),
            Slot::TlsBlockDesc => self.bind_block_descriptor(within),
        }
    }

    pub(super) fn old_slot(&self, key: &OldSlot, name: impl Fn() -> String) -> Result<Place, Unbound> {
        match self.slots.get(key) {
            Some(&at) => Ok(Place::Old(at)),
            None => unbound(codes::TLS_BLOCK, format!("{}, for which the old build has no such GOT entry", name())),
        }
    }

    /// Where the new image itself defines a symbol that it has the dynamic linker look up.
    fn own_definition(&self, import: &Import) -> Option<Target> {
        let at = self.new_exports.get(import.name.as_str())?;
        if let Some(&func) = self.analysis.new.func_at.get(at) {
            return Some(Target::Func { func, part: 0, offset: 0 });
        }
        self.analysis.new.data_at.get(at).map(|&data| Target::Data { data, offset: 0 })
    }

    /// An old constant in the place of one of which nothing says where it ends.
    fn open_constant(&self, datum: &Data, offset: i64) -> Option<Svma> {
        if datum.open && offset == 0 { self.counterparts.constant(datum.range.start, datum.align) } else { None }
    }

    fn bind_data(&self, id: DataId, offset: i64) -> Result<Place, Unbound> {
        let datum = &self.analysis.new.data[id.index()];
        let extent = i64::try_from(datum.range.size()).unwrap_or(i64::MAX);
        let outside = !(0..=extent).contains(&offset);
        let carried = Place::Data { data: id, offset };
        let paired = self.old_data(id).filter(|_| !self.moved.contains(&id));
        if let Some(old) = paired {
            return Ok(Place::Old(self.analysis.old.data[old.index()].range.start.offset(offset)));
        }
        if matches!(self.analysis.new_image.dynamic.get(&datum.range.start), Some(DynReloc::Copy { .. })) {
            let what = format!("`{}`, another module's object of which the old build has no copy", datum.name);
            return unbound(codes::UNKNOWN_ADDRESS, what);
        }
        let one_of_several = self.ambiguous.get(stem(&datum.name).name.as_str());
        if let Some(&code) = one_of_several.filter(|_| !self.moved.contains(&id) && !datum.is_plain_constant()) {
            return unbound(code, format!("`{}`, of which there are several that can't be told apart", datum.name));
        }
        if outside {
            return unbound(
                codes::UNKNOWN_ADDRESS,
                format!("`{}` at {} + {offset}, outside of what is carried of it", datum.name, datum.range.start),
            );
        }
        let writable = matches!(datum.section, SectionKind::Data | SectionKind::Bss);
        match datum.kind {
            DataKind::Named => Ok(carried),
            _ if self.copied.contains(&id) => Ok(carried),
            _ if writable => {
                unbound(codes::AMBIGUOUS_DATA, format!("writable data without a symbol at {}", datum.range.start))
            }
            _ => Ok(self
                .literals
                .find(self.analysis.new_image, self.analysis.new, id)
                .or_else(|| self.open_constant(datum, offset))
                .map_or(carried, |at| Place::Old(at.offset(offset)))),
        }
    }
}
