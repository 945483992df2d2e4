//! Puts the pieces together: functions with their parts, data, and every reference resolved.

use super::bounds;
use super::data::{self, FOLDED_PAST};
use super::decode::{Piece, Raw, Use, starts_with_filler};
use super::functions::{self, Seed, order_names};
use super::lookups::Bodies;
use super::resolve::{CodeMap, Resolver, TlsMap};
use super::space::Space;
use super::steps::{self, Step};
use super::tables::{self, Body, Found};
use super::{
    Access, CodeRef, Data, DataKind, DataRef, Field, Function, InFront, Insn, LARGEST, Lifted, Readings, Slot, Target,
    Unprovable, accessed, chosen, indexed, is_class_table, tls, traps,
};
use crate::addr::{DataId, FuncId, Svma, SvmaRange};
use crate::image::{DynReloc, Image, ImageKind, SectionKind};
use iced_x86::{Instruction, Register};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

/// Parts of one function beyond this are refused as opaque (the part is a `u8` everywhere).
const MAX_PARTS: usize = 200;

/// Bytes past an array's end that the displacements of an unrolled loop reach.
const FOLDED_UNROLLED: u64 = 256;

/// What is smaller has no loop over it that is worth a pointer to its end.
const SMALLEST_ARRAY: u64 = 16;

/// Lifts a whole image.
pub fn lift(image: &Image) -> Lifted {
    let space = Space::new(image);
    let tls = TlsMap::new(image);
    let mut seeds = functions::discover(image, &space);
    tls::track_all(image, &tls, &mut seeds);
    let seeds = seeds;

    // One function for each seed that isn't a part of another.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of: Vec<Option<usize>> = vec![None; seeds.len()];
    for (i, s) in seeds.iter().enumerate() {
        if s.parent.is_none() {
            group_of[i] = Some(groups.len());
            groups.push(vec![i]);
        }
    }
    for (i, s) in seeds.iter().enumerate() {
        if let Some(g) = s.parent.and_then(|p| group_of[p]) {
            groups[g].push(i);
        }
    }
    for g in &mut groups {
        g.truncate(MAX_PARTS);
    }
    let mut parts: Vec<(SvmaRange, FuncId, u8)> = groups
        .iter()
        .enumerate()
        .flat_map(|(f, g)| {
            let seeds = &seeds;
            g.iter().enumerate().map(move |(p, &s)| (seeds[s].range, FuncId::from(f), p as u8))
        })
        .collect();
    parts.sort_by_key(|p| p.0);
    let code = CodeMap { parts };

    let marks = data::marks(image, &seeds);
    let named = tables::objects(image);
    let bodies: Vec<Body> = groups.iter().map(|g| Body { parts: g.iter().map(|&s| &seeds[s]).collect() }).collect();
    let tables = |body| tables::find(image, &space, body, &marks, &named);
    let found: Vec<Vec<Found>> = bodies.par_iter().map(tables).collect();
    let table_starts: HashSet<Svma> = found.iter().flatten().map(|f| f.table.at).collect();
    let mut table_ranges: Vec<SvmaRange> = found.iter().flatten().map(|f| f.table.range()).collect();
    table_ranges.sort_unstable();

    let bodies = Bodies { bodies, found: &found };
    let built = data::build(image, &space, &seeds, (&code, &bodies), &table_ranges);
    drop(bodies);
    let resolver = Resolver::new(image, &space, &code, &built.objects, &tls);
    // What was decoded goes over into the functions: there would else be room for all of it twice.
    let mut seeds: Vec<Option<Seed>> = seeds.into_iter().map(Some).collect();
    let bodies: Vec<Vec<Seed>> = groups.iter().map(|g| g.iter().filter_map(|&s| seeds[s].take()).collect()).collect();
    drop(seeds);
    let mut functions: Vec<Function> = bodies
        .into_par_iter()
        .zip(found)
        .enumerate()
        .map_init(indexed::Room::new, |room, (i, (mut parts, found))| {
            let insns = parts.iter_mut().map(|s| s.piece.as_mut().map(|p| std::mem::take(&mut p.insns))).collect();
            let body = Body { parts: parts.iter().collect() };
            Assembler { resolver: &resolver, data: &built.data, data_at: &built.data_at, body: &body, id: i.into() }
                .function(insns, found, &table_starts, room)
        })
        .collect();
    let mut data = built.data;
    data_refs(&resolver, &mut data);
    for (id, targets) in &built.objects.lookups {
        data[id.index()].refs = targets
            .iter()
            .enumerate()
            .map(|(k, &t)| DataRef { at: 4 * k as u32, field: Field::TableRel32, target: resolver.address(t) })
            .collect();
    }
    let named = resolver.objects.named_arrays;
    steps::mark_ends((image, named), &resolver.callees, &mut functions, &data, &built.data_at);
    let once: u64 = functions.iter().map(|f| f.insns.len() as u64).sum();
    let decoded = once + resolver.callees.decoded.into_inner();
    let func_at = functions.iter().enumerate().map(|(i, f)| (f.parts[0].start, FuncId::from(i))).collect();
    let shapes = BTreeMap::new();
    let large = (0..data.len()).map(DataId::from).filter(|id| data[id.index()].range.size() > LARGEST).collect();
    Lifted { functions, data, func_at, data_at: built.data_at, shapes, large, forms: built.objects.whole, decoded }
}

/// A reference, by its number, of whose address the code computes another one.
struct Stepped {
    reference: usize,
    step: Step,
    /// The instruction that computes it.
    second: usize,
}

struct Assembler<'a> {
    resolver: &'a Resolver<'a>,
    data: &'a [Data],
    data_at: &'a BTreeMap<Svma, DataId>,
    body: &'a Body<'a>,
    id: FuncId,
}

impl Assembler<'_> {
    /// `insns`: what was decoded of each part.
    fn function(
        &self,
        insns: Vec<Option<Vec<Insn>>>,
        found: Vec<Found>,
        table_starts: &HashSet<Svma>,
        room: &mut indexed::Room,
    ) -> Function {
        let image = self.resolver.image;
        let first = self.body.parts[0];
        let mut names = first.names.clone();
        order_names(image, &mut names);
        let symbol = names.first().map(|&n| image.symbol(n));
        let mut f = Function {
            name: symbol.map(|s| s.name.clone()).unwrap_or_default(),
            unit: names.iter().find_map(|&n| image.symbol(n).file.clone()),
            names,
            parts: self.body.parts.iter().map(|s| s.range).collect(),
            insns: Vec::new(),
            refs: Vec::with_capacity(
                self.body.parts.iter().filter_map(|s| s.piece.as_ref()).map(|p| p.raws.len()).sum(),
            ),
            tables: Vec::new(),
            fdes: self.body.parts.iter().map(|s| s.fde).collect(),
            unprovable: Vec::new(),
            opaque: self.body.parts.iter().any(|s| s.opaque),
            writes_stack: self.body.parts.iter().filter_map(|s| s.piece.as_ref()).any(|p| p.writes_stack),
            padding: first.padding,
        };
        for t in found {
            if let Some(at) = t.cut_at
                && !table_starts.contains(&at)
            {
                f.unprovable.push(Unprovable {
                    number: false,
                    code: 210,
                    at: t.table.at,
                    what: format!("jump table may go on past {at}, to which something else refers"),
                });
            }
            if t.doubtful {
                f.unprovable.push(Unprovable {
                    number: false,
                    code: 210,
                    at: t.table.at,
                    what: "jump table, or numbers that lead into the function: its use isn't seen".into(),
                });
            }
            f.tables.push(t.table);
        }
        f.tables.sort_by_key(|t| t.at);
        f.unprovable.extend(tables::check_bounds(image, self.body, &insns, &mut f.tables));
        let large_model = self.body.parts.iter().any(|s| image.dynamic_in(s.range).next().is_some());
        if large_model {
            f.unprovable.push(Unprovable {
                number: false,
                code: 215,
                at: first.range.start,
                what: "the dynamic linker changes its code (text relocations)".into(),
            });
        }
        let mut steps = Vec::new();
        for (part, (seed, mut insns)) in self.body.parts.iter().zip(insns).enumerate() {
            match (&seed.piece, &mut insns) {
                (Some(piece), Some(insns)) => {
                    f.unprovable.extend(piece.bad.iter().cloned());
                    let base = f.insns.len();
                    if part == 0 {
                        f.insns = std::mem::take(insns);
                    } else {
                        f.insns.extend(insns.iter().map(|i| Insn { part: part as u8, ..*i }));
                    }
                    steps.extend(self.references(&mut f, part as u8, base, piece));
                }
                _ => f.opaque = true,
            }
        }
        f.insns.shrink_to_fit();
        f.refs.shrink_to_fit();
        traps::keep(image, &mut f);
        let kind = |t: &Target| match t {
            Target::Data { data, .. } => Some(self.data[data.index()].kind),
            _ => None,
        };
        self.near_what_is_used(&mut f);
        for i in 0..f.refs.len() {
            f.refs[i].certain |= chosen::is_chosen(self.resolver.image, &f, &f.refs[i], kind);
            let r = &f.refs[i];
            let data = match r.target {
                // What has the form of a constant of Rust's that ends where the next one begins is meant, and no array elsewhere.
                Target::Data { data, offset: 0 } => {
                    !self.resolver.objects.ends.contains_key(&self.data[data.index()].range.start.0)
                }
                Target::Data { .. } | Target::Linker(..) => true,
                _ => false,
            };
            let (image, callees) = (self.resolver.image, &self.resolver.callees);
            f.refs[i].indexed =
                data && r.access == Access::Derived && indexed::is_indexed(image, callees, &f, (r, None), room);
            self.beside_mark(&mut f, i);
        }
        steps.iter().for_each(|step| self.settle(&mut f, step, room));
        self.ends(&mut f, room);
        accessed::mark(self.resolver, self.data, &mut f, room);
        self.resolver.callees.decoded.fetch_add(room.end(), Ordering::Relaxed);
        self.alternatives(&mut f);
        f
    }

    /// Gives the references of whose address another one is computed.
    fn references(&self, f: &mut Function, part: u8, base: usize, piece: &Piece) -> Vec<Stepped> {
        let mut stepped = Vec::new();
        let start = f.parts[usize::from(part)].start;
        for raw in &piece.raws {
            let index = base + raw.insn as usize;
            let at = start.plus(u64::from(f.insns[index].offset));
            let step = steps::from(piece, raw.insn);
            let Some(r) = self.reference(f, part, index, at, (raw, step)) else { continue };
            f.insns[index].add_ref(f.refs.len());
            f.refs.push(r);
            if let Some(step) = step {
                stepped.push(Stepped { reference: f.refs.len() - 1, step, second: base + step.second as usize });
            }
        }
        stepped
    }

    /// No code indexes the number with which the start-up files tell the C library its version: an array's base lies there, less a constant part of
    /// the index.
    fn beside_mark(&self, f: &mut Function, n: usize) {
        let Target::Data { data, offset } = f.refs[n].target else { return };
        let here = &self.data[data.index()];
        if here.name != "_IO_stdin_used" || displaced(self.resolver.image, f, &f.refs[n]).is_none() {
            return;
        }
        let r = &mut f.refs[n];
        let a = here.range.start.offset(offset);
        (r.target, r.certain) = (Target::Unknown(a), true);
        let at = f.parts[usize::from(r.part)].start.plus(u64::from(r.insn));
        f.unprovable.push(Unprovable {
            number: false,
            code: 211,
            at,
            what: format!("{a} is the base of an array elsewhere, less a constant index"),
        });
    }

    /// Settles which object an address belongs to by the other address that the code computes of it. Where the code does nothing else with the
    /// two, they are pointers of the program's into one object or to its end (C11, 6.5.6); else the lower one has to be where something
    /// begins.
    fn settle(&self, f: &mut Function, stepped: &Stepped, room: &mut indexed::Room) {
        let step = stepped.step;
        let Target::Data { .. } = f.refs[stepped.reference].target else { return };
        let Target::Data { data, offset } = self.resolver.address(step.start()) else { return };
        let here = &self.data[data.index()];
        let Ok(from) = u64::try_from(offset) else { return };
        let ahead = step.ahead();
        if from + u64::from(step.distance.unsigned_abs()) > here.range.size() {
            return;
        }
        let (image, callees) = (self.resolver.image, &self.resolver.callees);
        let indexed = indexed::is_indexed(image, callees, f, (&f.refs[stepped.reference], Some(stepped.second)), room);
        let upper = step.start().offset(i64::from(step.distance.unsigned_abs()));
        let begins = || match here.kind {
            // The other one may be where the next object begins.
            DataKind::Named => offset == 0 && !self.data_at.contains_key(&upper),
            DataKind::Literal => offset == 0,
            DataKind::String => {
                offset == 0 || image.c_str(step.start()).is_some_and(|t| t.len() as u64 == u64::from(ahead))
            }
            _ => false,
        };
        if !indexed || ahead > 0 && begins() {
            let r = &mut f.refs[stepped.reference];
            r.target = Target::Data { data, offset: offset + i64::from(ahead) };
            (r.stepped, r.indexed) = (Some(ahead), indexed);
            // From inside of a text code may go back to where that starts.
            let inside = here.kind == DataKind::String && self.inside_of_text(step.start());
            r.backwards = (indexed && ahead > 0 && inside).then_some(InFront::Text);
        }
    }

    /// Resolves one field; None where it is no reference. `step`: what the code goes on to from the address.
    fn reference(
        &self,
        f: &mut Function,
        part: u8,
        index: usize,
        at: Svma,
        (raw, step): (&Raw, Option<Step>),
    ) -> Option<CodeRef> {
        let a = Svma(raw.addr);
        let (mut certain, mut likely) = (raw.certain, false);
        let (target, access) = match raw.how {
            Use::Branch { short, .. } => {
                if let Some((p, offset)) = self.body.place(a).or_else(|| self.own_end(part, a)) {
                    (f.insns[index].local_part, f.insns[index].local_offset) = (p, offset);
                    if p == part {
                        return None;
                    }
                    (Target::Func { func: self.id, part: p, offset }, Access::Branch)
                } else {
                    let target = self.resolver.address(a);
                    if short && !matches!(target, Target::Func { part: 0, offset: 0, .. }) {
                        f.opaque = true;
                        f.unprovable.push(Unprovable {
                            number: false,
                            code: 211,
                            at,
                            what: format!("short jump out of the function, to {a}"),
                        });
                    }
                    (target, Access::Branch)
                }
            }
            Use::Tp => {
                let offset = raw.addr as i64;
                let symbol = self.resolver.tls.at_tp(offset);
                (Target::Tls { symbol, offset, from_block: false }, Access::Thread)
            }
            Use::Dtp => {
                let offset = raw.addr as i64;
                let symbol = self.resolver.tls.at(offset);
                (Target::Tls { symbol, offset, from_block: true }, Access::Thread)
            }
            Use::Block => (Target::Slot(Slot::TlsBlockDesc), Access::Derived),
            Use::Direct { width } => (self.resolver.address(a), Access::Direct { width }),
            Use::Derived | Use::Mask => match f.tables.binary_search_by_key(&a, |t| t.at) {
                Ok(t) if raw.how == Use::Derived => {
                    certain = true;
                    (Target::Table(t as u32), Access::Derived)
                }
                _ => match self.resolver.address(a) {
                    // The address of an indirect function is that of the stub which jumps through its slot.
                    stub @ Target::Slot(Slot::Irelative(_)) if self.resolver.image.plt_at(a).is_some() => {
                        (stub, Access::Derived)
                    }
                    Target::Slot(Slot::Irelative(_)) => (Target::Unknown(a), Access::Derived),
                    // Nobody computes with the address of a GOT slot at a fixed address: an array's base less an index lies there.
                    Target::Slot(_) if matches!(raw.field, Field::Abs32 | Field::Abs32S | Field::Abs64) => {
                        (Target::Unknown(a), Access::Derived)
                    }
                    Target::Slot(Slot::TlsLd) if tls::names_variable(self.resolver.image, at) => {
                        (Target::Slot(self.resolver.first_thread()), Access::Derived)
                    }
                    // The end of something with filler behind it.
                    Target::Unknown(_) => {
                        let end = step.and_then(|step| self.end(step));
                        (end.unwrap_or(Target::Unknown(a)), Access::Derived)
                    }
                    target => (target, Access::Derived),
                },
            },
        };
        if !certain {
            let start = self.is_start(&target);
            if raw.how == Use::Mask && !start && is_bit_mask(raw.addr) {
                return None;
            }
            likely = raw.how == Use::Derived && !is_round(raw.addr);
            certain = likely && start || raw.how != Use::Mask && is_long(raw);
            likely &= !certain && {
                let bytes = self.resolver.image.bytes(at, u64::from(f.insns[index].len)).unwrap_or_default();
                with_displacement(bytes, at, raw.field_at - f.insns[index].offset).is_none()
            };
        }
        match &target {
            Target::Unknown(_) if !certain => {}
            Target::Unknown(_) => {
                f.unprovable.push(Unprovable {
                    number: false,
                    code: 212,
                    at,
                    what: format!("refers to {a}, where nothing is known to be"),
                });
            }
            Target::Linker(n) if **n == *"_GLOBAL_OFFSET_TABLE_" && access == Access::Derived => {
                f.unprovable.push(Unprovable {
                    number: false,
                    code: 215,
                    at,
                    what: "computes addresses from the base of the GOT".into(),
                });
            }
            Target::Tls { symbol: None, .. } => {
                f.unprovable.push(Unprovable {
                    number: false,
                    code: 214,
                    at,
                    what: "refers to a thread-local variable without a symbol".into(),
                });
            }
            _ => {}
        }
        Some(CodeRef {
            part,
            insn: f.insns[index].offset,
            field_at: raw.field_at,
            field: if matches!(raw.how, Use::Branch { short: true, .. }) { Field::Pc8 } else { raw.field },
            branch: access == Access::Branch,
            target,
            access,
            certain,
            likely,
            alternatives: Readings::default(),
            backwards: None,
            stepped: None,
            indexed: false,
            meant: false,
        })
    }

    /// What lies at the lower address of a step, if the upper one is where it ends.
    fn end(&self, step: Step) -> Option<Target> {
        let Target::Data { data, offset } = self.resolver.address(step.start()) else { return None };
        let end = offset + i64::from(step.ahead());
        (end.cast_unsigned() == self.data[data.index()].range.size()).then_some(Target::Data { data, offset: end })
    }

    /// The end of a part with filler behind it: unoptimised code jumps there behind a call that doesn't return.
    fn own_end(&self, part: u8, a: Svma) -> Option<(u8, u32)> {
        let range = self.body.parts[usize::from(part)].range;
        let here = self.resolver.space.at(a).is_some_and(|s| s.kind == SectionKind::Text);
        if a != range.end || !here || self.resolver.code.at(a).is_some() || !starts_with_filler(self.resolver.image, a)
        {
            return None;
        }
        Some((part, u32::try_from(range.size()).ok()?))
    }

    /// Where something begins whose address is taken: a number of a fixed-address executable that equals it is no coincidence.
    fn is_start(&self, target: &Target) -> bool {
        match target {
            Target::Func { offset, part, .. } => (*offset, *part) == (0, 0),
            Target::Data { data, offset: 0 } => {
                matches!(self.data[data.index()].kind, DataKind::Named | DataKind::Literal | DataKind::String)
            }
            Target::Data { data, offset } => self.data[data.index()].is_class_entry(*offset),
            // An object of the start-up files, known as a label because link editors make one, too.
            Target::Linker(name) => **name == *"__dso_handle",
            Target::Import(_) | Target::Table(_) | Target::Slot(Slot::Irelative(_)) => true,
            _ => false,
        }
    }

    /// Numbers that are addresses because the function certainly refers to the object in which, at whose end or shortly in front of which they
    /// lead: a displacement beside a register (`mov array-4(%rdx)`, with a constant part of the index), or what a loop runs up to.
    fn near_what_is_used(&self, f: &mut Function) {
        let used: HashSet<DataId> = f.refs.iter().filter(|r| r.certain).filter_map(|r| r.target.data()).collect();
        for i in 0..f.refs.len() {
            let r = &f.refs[i];
            let (data, offset) = match &r.target {
                Target::Data { data, offset } => (*data, *offset),
                // What ends with its section.
                Target::Linker(name) => match self.resolver.ending_at_label(name) {
                    Some((start, end, data)) => (data, (end.0 - start.0).cast_signed()),
                    None => continue,
                },
                _ => continue,
            };
            if r.certain || !used.contains(&data) {
                continue;
            }
            let here = &self.data[data.index()];
            let image = self.resolver.image;
            let size = match here.kind {
                DataKind::Named => Some(here.range.size()),
                // The zero of a text: strings are made of two addresses.
                DataKind::String => image.c_str(here.range.start).map(|text| text.len() as u64),
                _ => None,
            };
            let end = r.likely && u64::try_from(offset).ok().is_some_and(|o| Some(o) == size);
            let displaced = || offset >= -FOLDED_PAST.cast_signed() && displaced(image, f, r).is_some();
            f.refs[i].certain = end || here.kind == DataKind::Named && displaced();
        }
    }

    /// Marks computed addresses that are also the end of an object which the function uses, or may be the base of the next one.
    fn alternatives(&self, f: &mut Function) {
        let mut used: Vec<DataId> = f
            .refs
            .iter()
            .filter_map(|r| match r.target {
                Target::Data { data, .. } => Some(data),
                _ => None,
            })
            .collect();
        used.sort_unstable();
        used.dedup();
        let used = |id: DataId| used.binary_search(&id).is_ok();
        bounds::list_ends(self.resolver, self.data, f);
        for r in &mut f.refs {
            // The end of the last object of a section, where the linker may have a symbol.
            if let (Access::Derived, Target::Linker(name)) = (r.access, &r.target)
                && let Some((start, end, before)) = self.resolver.ending_at_label(name)
                && used(before)
            {
                r.target = Target::Data { data: before, offset: (end.0 - start.0) as i64 };
            }
            let (Access::Derived, Target::Data { data, offset }, None, false) =
                (r.access, &r.target, r.stepped, r.meant)
            else {
                continue;
            };
            let here = &self.data[data.index()];
            let a = here.range.start.offset(*offset);
            if let Some((start, _, before)) = self.resolver.objects.ending_at(a)
                && before != *data
                // A text that happens to follow an array is a text, unless the function uses the array or computes with the address.
                && (used(before) || r.indexed || here.kind != DataKind::String)
            {
                r.alternatives.push((before, a.0.wrapping_sub(start.0) as i64));
            } else if here.kind == DataKind::Blob
                && *offset != 0
                && let Some((start, _, before)) = self.resolver.objects.ending_before(a)
            {
                r.alternatives.push((before, a.0.wrapping_sub(start.0) as i64));
            } else if let Some(next) = self.resolver.objects.folded_base(a, here, *offset)
                && self.data[next.0.index()].kind == DataKind::Named
            {
                r.alternatives.push(next);
            }
        }
        // The end of an array with a table of this very function behind it can't be told from the table.
        let both: Vec<_> = f
            .tables
            .iter()
            .filter_map(|t| Some((t.at, self.resolver.objects.ending_at(t.at).filter(|(.., id)| used(*id))?)))
            .collect();
        f.unprovable.extend(both.into_iter().map(|(at, (.., id))| Unprovable {
            number: false,
            code: 211,
            at,
            what: format!(
                "{at} is a jump table and the end of `{}`, which the function uses",
                self.data[id.index()].name
            ),
        }));
        self.past_ends(f);
        self.backwards(f);
    }

    /// The byte in front belongs to a text that goes on here.
    fn inside_of_text(&self, a: Svma) -> bool {
        self.resolver.objects.is_constant(a.offset(-1)) && self.resolver.image.bytes(a.offset(-1), 1) != Some(&[0])
    }

    /// Finds the addresses from which code goes to what lies in front of them among constants without a symbol. Where it's known how far, and one
    /// constant holds the two, that's as with a step.
    fn ends(&self, f: &mut Function, room: &mut indexed::Room) {
        let (image, callees) = (self.resolver.image, &self.resolver.callees);
        for n in 0..f.refs.len() {
            let r = &f.refs[n];
            let Target::Data { data, offset } = r.target else { continue };
            let here = &self.data[data.index()];
            let a = here.range.start.offset(offset);
            let open = r.indexed && r.stepped.is_none() && here.kind != DataKind::Named;
            if !open || !self.resolver.objects.is_constant(a.offset(-1)) {
                continue;
            }
            let back = indexed::goes_back(image, callees, f, r, room);
            if let (Some(InFront::Bytes(by)), Ok(inside)) = (back, u32::try_from(offset))
                && inside >= by
            {
                // From the middle it may go on to the start.
                let within = here.kind == DataKind::String && self.inside_of_text(here.range.start);
                let r = &mut f.refs[n];
                match inside == by {
                    true if within => r.backwards = Some(InFront::Text),
                    true => (r.stepped, r.indexed) = (Some(by), false),
                    false => r.backwards = Some(InFront::Bytes(inside)),
                }
                continue;
            }
            // With an index that isn't known, it's an array that starts there, but for what is no start.
            let ends_text =
                here.kind == DataKind::String && image.bytes(a.offset(-1), 2).is_some_and(|b| b[0] != 0 && b[1] == 0);
            f.refs[n].backwards = back.filter(|back| *back != InFront::Text || ends_text);
        }
    }

    /// Marks addresses that may be the end of a nameless constant: displacements at fixed addresses (`movzbl end(%rcx)`, with a negative index),
    /// what code computes with where the constant in front of it is nobody's, and from where it is known to go there.
    fn backwards(&self, f: &mut Function) {
        let image = self.resolver.image;
        // Else what follows a text may be an array to which nothing refers by its start.
        let named = self.resolver.objects.named_arrays;
        for n in 0..f.refs.len() {
            let Target::Data { data, offset } = f.refs[n].target else { continue };
            let here = &self.data[data.index()];
            let objects = &self.resolver.objects;
            let a = here.range.start.offset(offset);
            let open = |r: &CodeRef| {
                let last = a.offset(-1);
                r.indexed && r.stepped.is_none() && objects.is_constant(last) && objects.holding(last).is_none()
            };
            let start = here.kind != DataKind::Named && offset == 0;
            let far = match f.refs[n].backwards {
                None if start && (open(&f.refs[n]) || displaced(image, f, &f.refs[n]).is_some()) => Some(InFront::Text),
                far => far,
            };
            let Some(far) = far else { continue };
            let by_words = named && by_words(image, f, &f.refs[n]);
            let r = &mut f.refs[n];
            let at = f.parts[usize::from(r.part)].start.plus(u64::from(r.insn));
            r.backwards = Some(far);
            let whole = || image.bytes(here.range.start.offset(-1), 1).is_none_or(|b| b == [0]);
            if far == InFront::Text && offset > 0 && whole() {
                continue;
            }
            let before = self.data_at.range(..a).next_back().filter(|(_, id)| self.data[id.index()].range.end == a);
            match before {
                // A text isn't gone through by words.
                Some((_, &id)) if by_words && self.data[id.index()].kind == DataKind::String => r.backwards = None,
                Some((start, &id)) => {
                    let end = (id, a.0.wrapping_sub(start.0) as i64);
                    if !r.alternatives.contains(&end) {
                        r.alternatives.push(end);
                    }
                }
                // Zeros that fill up to an alignment are the end of nothing.
                None if far == InFront::Text && image.bytes(a.offset(-2), 2).is_none_or(|b| b == [0, 0]) => {
                    r.backwards = None;
                }
                None => f.unprovable.push(Unprovable {
                    number: false,
                    code: 211,
                    at,
                    what: format!("{a} may be the end of a constant to which nothing else refers"),
                }),
            }
        }
    }

    /// Adds the arrays that the function walks through and that end shortly before a computed address: the end of a loop over them lies
    /// past their own end when an index or a member is folded in (`&array[n + 1]`), and may be another object's start.
    fn past_ends(&self, f: &mut Function) {
        let derived = f.refs.iter().filter(|r| r.access == Access::Derived && r.indexed);
        let walked: HashSet<DataId> = derived
            .flat_map(|r| {
                let target = match r.target {
                    Target::Data { data, offset } => Some((data, offset)),
                    _ => None,
                };
                target.into_iter().chain(r.alternatives.iter().copied())
            })
            .map(|(data, _)| data)
            .collect();
        // No program forms an address further behind an array than its end (C11, 6.5.6), so none passes one on.
        for r in
            f.refs.iter_mut().filter(|r| r.access == Access::Derived && r.indexed && r.stepped.is_none() && !r.meant)
        {
            let Target::Data { data, offset } = r.target else { continue };
            let a = self.data[data.index()].range.start.offset(offset);
            // Only a displacement beside a register, which position-independent code doesn't have, reaches as far as an unrolled loop.
            let reach = if r.field == Field::Abs32S { FOLDED_UNROLLED } else { FOLDED_PAST };
            for (start, end, before) in self.resolver.objects.ending_shortly_before(a, reach) {
                let past = a.0 - end.0;
                let array = end.0 - start.0 >= SMALLEST_ARRAY && past > 0 && past < end.0 - start.0;
                let reading = (before, a.0.wrapping_sub(start.0) as i64);
                if array && before != data && walked.contains(&before) && !r.alternatives.contains(&reading) {
                    r.alternatives.push(reading);
                }
            }
        }
    }
}

/// How many bytes an instruction reads or writes, where the reference is the displacement of its memory operand beside a register. 0: it computes
/// the address.
pub fn displaced(image: &Image, f: &Function, r: &CodeRef) -> Option<usize> {
    if r.field != Field::Abs32S || r.access != Access::Derived {
        return None;
    }
    let at = f.parts[usize::from(r.part)].start.plus(u64::from(r.insn));
    let n = f.index((r.part, r.insn))?;
    let bytes = image.bytes(at, u64::from(f.insns[n].len))?;
    with_displacement(bytes, at, r.field_at - r.insn).map(|i| i.memory_size().size())
}

/// Whether the instruction reads or writes one of the words of eight bytes that its operand numbers from the address.
pub(super) fn by_words(image: &Image, f: &Function, r: &CodeRef) -> bool {
    let at = f.parts[usize::from(r.part)].start.plus(u64::from(r.insn));
    let bytes = f.index((r.part, r.insn)).and_then(|i| image.bytes(at, u64::from(f.insns[i].len)));
    let i = bytes.and_then(|bytes| with_displacement(bytes, at, r.field_at - r.insn));
    i.is_some_and(|i| i.memory_base() == Register::None && i.memory_index_scale() == 8 && i.memory_size().size() == 8)
}

/// The instruction, if it has a displacement at that offset.
pub(super) fn with_displacement(bytes: &[u8], at: Svma, offset: u32) -> Option<Instruction> {
    let mut decoder = super::decode::decoder(bytes, at);
    let instruction = decoder.decode();
    let offsets = decoder.get_constant_offsets(&instruction);
    (offsets.has_displacement() && offsets.displacement_offset() == offset as usize).then_some(instruction)
}

/// Eight bytes for what four would hold: assemblers and compilers write a number that they know in as few as it needs.
fn is_long(raw: &Raw) -> bool {
    raw.field == Field::Abs64 && u32::try_from(raw.addr).is_ok()
}

/// Numbers that people like: many pages, decimal ones, and masks of neighbouring bits.
pub fn is_round(n: u64) -> bool {
    n.is_multiple_of(0x10000) || n.is_multiple_of(100_000) || is_bit_mask(n)
}

/// All of its ones are neighbours.
fn is_bit_mask(n: u64) -> bool {
    n != 0 && (n >> n.trailing_zeros()).wrapping_add(1).is_power_of_two()
}

/// References inside data: what the dynamic linker fills in, and words of fixed-address executables that look like addresses.
fn data_refs(resolver: &Resolver<'_>, data: &mut [Data]) {
    let image = resolver.image;
    let exec = image.kind == ImageKind::Exec;
    let tables: HashSet<DataId> =
        data.iter().enumerate().filter(|(_, d)| is_class_table(&d.name)).map(|(i, _)| i.into()).collect();
    // A table of tables holds places that objects point to. Where a class has no virtual function that is the end of its vtable.
    let address = |d: &Data, a: Svma| match resolver.objects.ending_at(a) {
        Some((start, _, table)) if d.name.starts_with("_ZTT") && tables.contains(&table) => {
            Target::Data { data: table, offset: a.0.wrapping_sub(start.0) as i64 }
        }
        _ => resolver.address(a),
    };
    data.par_iter_mut().for_each(|d| {
        if d.section == SectionKind::Tbss || d.section == SectionKind::Bss && image.dynamic_in(d.range).next().is_none()
        {
            return;
        }
        for (a, r) in image.dynamic_in(d.range) {
            let target = match r {
                DynReloc::Relative { target } => address(d, *target),
                DynReloc::Symbol { import, addend: 0, .. } => Target::Import(*import),
                DynReloc::Copy { .. } => continue,
                other => resolver.dynamic(a, other).map_or(Target::Unknown(a), Target::Slot),
            };
            d.refs.push(DataRef { at: (a.0 - d.range.start.0) as u32, field: Field::Abs64, target });
        }
        if exec && d.section != SectionKind::Text && d.kind != DataKind::String {
            words(resolver, d, address);
        }
    });
}

/// Words that would denote something if they were addresses: aligned ones, and of what may be a packed structure all.
fn words(resolver: &Resolver<'_>, d: &mut Data, address: impl Fn(&Data, Svma) -> Target) {
    let Some(bytes) = resolver.image.bytes(d.range.start, d.range.size()) else { return };
    let packed = d.kind != DataKind::Constant && !is_class_table(&d.name);
    for (at, word) in bytes.windows(8).enumerate() {
        let aligned = d.range.start.plus(at as u64).0.is_multiple_of(8);
        let value = u64::from_le_bytes(word.try_into().unwrap_or_default());
        if !aligned && !packed || value == 0 || resolver.space.at(Svma(value)).is_none() {
            continue;
        }
        let at = at as u32;
        let target = address(d, Svma(value));
        let known = || d.refs.iter().any(|r| r.at == at);
        if !matches!(target, Target::Unknown(_) | Target::Slot(Slot::TlsLd)) && !known() {
            d.ambiguous.push(DataRef { at, field: Field::Abs64, target });
        }
    }
}
