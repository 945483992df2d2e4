//! Verifies a bundle, maps and links its payloads next to their modules, and plans the writes. Nothing of the process's own code or
//! data is changed here; when anything is refused, everything that was mapped is unmapped again.

use hpatch_core::abi::{ABI, Record, RecordState, Unit, Write};
use hpatch_core::arena::{Arena, Need};
use hpatch_core::elf::EM_X86_64;
use hpatch_core::image::Image;
use hpatch_core::link::{Linker, Place};
use hpatch_core::payload::Payload;
use hpatch_core::plan::{self, Counts, Plan, Reverted};
use hpatch_core::report::{Hex, Name, Report};
use patchfmt::metadata::{Capabilities, Metadata, Module, Scope};
use patchfmt::{Bundle, Code, FormatError, Policy, VerifiedBundle, codes};
use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

use crate::mem::Pages;
use crate::place::Reserved;
use crate::process::{Maps, OwnMemory, Symbols};
use crate::records::{self, Entry, OWN_LEN};
use crate::threads::{self, Births, Storage};
use crate::trust::Keys;
use crate::{hook, jit, store, sys, unwind};

/// Module instances that one record can hold.
const MAX_UNITS: usize = 64;
const MAX_MODULES: usize = patchfmt::wire::MAX_MODULES;

/// When it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before `main`: a bundle for modules that aren't here is none of this process's business.
    Start,
    /// A module is being loaded, the one that holds the avma `inside`: only a bundle for it alone is looked at, and applied by its own thread.
    Loaded { inside: u64 },
    /// On the control thread: what of the store isn't applied yet.
    Pending,
    /// On the control thread, this one bundle.
    Running {
        /// It takes the place of all live ones.
        replace: bool,
    },
}

impl Moment {
    /// The application runs meanwhile, and this thread isn't one of its own.
    fn on_control_thread(self) -> bool {
        matches!(self, Moment::Pending | Moment::Running { .. })
    }

    fn replaces_all(self) -> bool {
        self == Moment::Running { replace: true }
    }
}

fn malformed(report: &mut Report, e: FormatError) -> Code {
    report.refuse(e.code, format_args!("at byte {}", e.at))
}

fn no_memory(report: &mut Report) -> Code {
    report.refuse(codes::OUT_OF_MEMORY, format_args!("mmap refused"))
}

/// Prepares `bytes`. `Ok(None)`: unless it was asked for, nothing of it is for this process, or for this moment.
pub fn prepare(bytes: &[u8], keys: &Keys, moment: Moment, report: &mut Report) -> Result<Option<Entry>, Code> {
    let bundle = Bundle::parse(bytes).map_err(|e| malformed(report, e))?;
    let bundle = bundle.verify(keys.all(), Policy::default()).map_err(|e| malformed(report, e))?;
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mem = OwnMemory::open();
    let mem =
        mem.ok_or_else(|| report.refuse(codes::MAP_FAILED, format_args!("the process can't read its own memory")))?;
    let maps = Maps::read().map_err(|e| report.refuse(codes::MAP_FAILED, format_args!("/proc/self/maps: {}", e)))?;
    let manifest = Sha256::digest(bundle.bundle().manifest()).into();
    let here = Here { mem: &mem, maps: &maps, digest: &digest, manifest, moment };
    records::drop_unloaded(&|u| here.is_here(u));
    let metadata = bundle.metadata();
    if moment == Moment::Start && !metadata.modules.iter().any(|m| here.knows(&m)) {
        return Ok(None);
    }
    if matches!(moment, Moment::Loaded { .. } | Moment::Pending) && !here.has_turn(metadata, moment) {
        return Ok(None);
    }
    check_metadata(&bundle, &here, moment, report)?;
    match moment {
        Moment::Loaded { inside } if metadata.scope == Scope::Start => here.runs_first(inside, report)?,
        _ if metadata.scope == Scope::Start => here.nothing_has_run(metadata, report)?,
        _ => {}
    }
    // Here nothing waits for it; after the switch somebody would.
    sys::membarrier_register();
    let mut modules = [const { None }; MAX_MODULES];
    let mut counts = Counts::default();
    let mut need = Need::default();
    let mut units = 0;
    for (slot, module) in modules.iter_mut().zip(bundle.metadata().modules.iter()) {
        let decoded = decode(&bundle, &module, report)?;
        if here.mapped(&module).next().is_none() && here.rewritten(&module) {
            continue;
        }
        if here.mapped(&module).next().is_none() {
            return Err(here.missing(&module, report));
        }
        let instances = here.instances(&module).count();
        counts.add(
            &Counts::of(&Payload::read(decoded.0.bytes().get(..decoded.1).unwrap_or_default(), report)?),
            instances as u64,
        );
        need.add::<u8>((module.name.len() * instances) as u64);
        units += instances;
        *slot = Some((module, decoded));
    }
    if units == 0 {
        return match moment {
            Moment::Start | Moment::Loaded { .. } | Moment::Pending => Ok(None),
            Moment::Running { .. } => Err(report.refuse(
                codes::ALREADY_APPLIED,
                format_args!("{}: the files that run were rewritten with it", bundle.metadata().id),
            )),
        };
    }
    if units > MAX_UNITS {
        return Err(report.refuse(codes::OUT_OF_MEMORY, format_args!("{units} module instances")));
    }
    let supersedes = metadata.supersedes.iter().map(|id| id.len() as u64 + 1).sum();
    for live in records::live() {
        counts.old_ranges += live.new_ranges().len() as u64;
        counts.old_sites += live.new_sites().len() as u64 * 2;
    }
    let births = match metadata.capabilities.contains(Capabilities::TLS) && moment.on_control_thread() {
        true => Births::find(&mem, report)?,
        false => None,
    };
    if let Some(births) = &births {
        counts.old_ranges += 1;
        counts.old_sites += births.sites().len() as u64;
    }
    counts.need(&mut need);
    need.add::<Record>(1).add::<Unit>(units as u64).add::<[u64; 8]>(units as u64).add::<u8>(supersedes);
    let mut pages = Pages::new(need.bytes()).map_err(|_| no_memory(report))?;
    let own_len = pages.len();
    // SAFETY: the mapping is given away below or, on a refusal, dropped after the arena and everything in it.
    let memory: &'static mut [u8] =
        unsafe { core::slice::from_raw_parts_mut(pages.bytes_mut().as_mut_ptr(), own_len as usize) };
    let mut draft = Draft::new(Arena::new(memory), &counts, units).ok_or_else(|| no_memory(report))?;
    for (module, decoded) in modules.iter().flatten() {
        let file = decoded.0.bytes().get(..decoded.1).unwrap_or_default();
        let payload = Payload::read(file, report)?;
        for image in here.instances(module) {
            draft.add_unit(&here, (&payload, file), module, &image, (metadata, moment), report)?;
        }
    }
    if let Some(births) = births.filter(|_| draft.units.iter().any(|u| u.thread_image != 0)) {
        draft.plan.add_old_code(births.range(), births.sites(), report)?;
    }
    draft.plan.finish(report)?;
    let entry = draft.finish(&bundle, digest, own_len, report)?;
    pages.leak();
    records::live().filter(|e| here.goes(*e, metadata, moment)).for_each(|e| e.set(|r| r.superseded_by = entry.addr()));
    entry.units().iter().for_each(jit::register);
    if let Err(code) = unwind::announce(entry, moment.on_control_thread(), report) {
        let mut ignored = Report::default();
        let _ = records::release(entry, &mut ignored);
        return Err(code);
    }
    Ok(Some(entry))
}

fn check_metadata(
    bundle: &VerifiedBundle<'_>,
    here: &Here<'_>,
    moment: Moment,
    report: &mut Report,
) -> Result<(), Code> {
    let m = bundle.metadata();
    if m.machine != EM_X86_64 {
        return Err(report.refuse(codes::WRONG_MACHINE_TARGET, format_args!("machine {}", m.machine)));
    }
    if m.loader_abi > ABI {
        return Err(report.refuse(codes::LOADER_ABI, format_args!("needs ABI {}, this is {ABI}", m.loader_abi)));
    }
    if m.scope == Scope::Start && moment.on_control_thread() {
        return Err(report.refuse(codes::SCOPE_START, format_args!("{}", m.id)));
    }
    let known =
        Capabilities::TEXT.with(Capabilities::CONSTANTS).with(Capabilities::NEW_DATA).with(Capabilities::IMPORTS);
    let known = known.with(Capabilities::TLS).with(Capabilities::STATE).with(Capabilities::STACKS);
    if !known.contains(m.capabilities) {
        return Err(report.refuse(
            codes::LOADER_ABI,
            format_args!("capabilities {:#x} that this loader doesn't have", m.capabilities.0),
        ));
    }
    let in_use = |e: &Entry| [RecordState::Writing, RecordState::Live, RecordState::Reverting].iter().any(|s| e.is(*s));
    for e in records::all().filter(in_use) {
        let name = Name(e.id());
        if e.get().bundle_sha256 == *here.digest {
            // The same bundle once more is for copies of its modules that have appeared since.
            if !m.modules.iter().any(|module| here.instances(&module).next().is_some()) {
                return Err(report.refuse(codes::ALREADY_APPLIED, format_args!("{}", m.id)));
            }
            continue;
        }
        if e.supersedes().any(|id| id == m.id.as_bytes()) {
            return Err(report.refuse(codes::SUPERSEDED, format_args!("{name} is live and supersedes {}", m.id)));
        }
        let (have, new) = (e.get().sequence, m.sequence);
        if new != 0 && new < have && e.units().iter().any(|u| m.modules.iter().any(|module| is_for(u, &module))) {
            return Err(report
                .refuse(codes::SUPERSEDED, format_args!("{name} with sequence {have} is live, {} has {new}", m.id)));
        }
        if e.id() == m.id.as_bytes() && !here.goes(e, m, moment) {
            return Err(report.refuse(codes::ALREADY_APPLIED, format_args!("another bundle named {}", m.id)));
        }
    }
    Ok(())
}

fn is_for(unit: &Unit, module: &Module<'_>) -> bool {
    unit.build_id.get(..unit.build_id_len as usize) == Some(module.old_build_id)
}

/// A payload, decoded: the memory and how much of it is used.
type Decoded = (Pages, usize);

fn decode(bundle: &VerifiedBundle<'_>, module: &Module<'_>, report: &mut Report) -> Result<Decoded, Code> {
    let section = bundle.payload(module).map_err(|e| malformed(report, e))?;
    let len = section.size as usize;
    let mut pages = Pages::new(u64::from(section.size)).map_err(|_| no_memory(report))?;
    section.decode_into(&mut pages.bytes_mut()[..len]).map_err(|e| malformed(report, e))?;
    Ok((pages, len))
}

/// The process around the loader.
struct Here<'a> {
    mem: &'a OwnMemory,
    maps: &'a Maps,
    /// Of the bundle.
    digest: &'a [u8; 32],
    /// SHA-256 of the bundle's manifest.
    manifest: [u8; 32],
    moment: Moment,
}

impl Here<'_> {
    /// Every mapped copy of exactly the build that the bundle is for, without the files that `patchgen rewrite` has put its patch into.
    fn mapped(&self, module: &Module<'_>) -> impl Iterator<Item = Image> {
        self.copies(module, false)
    }

    /// Those that the bundle isn't applied to yet.
    fn instances(&self, module: &Module<'_>) -> impl Iterator<Item = Image> {
        self.copies(module, true)
    }

    fn copies(&self, module: &Module<'_>, only_new: bool) -> impl Iterator<Item = Image> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let image = self.copy_from(module, only_new, from)?;
            from = image.extent().1;
            Some(image)
        })
    }

    /// The first copy at or behind avma `from`. Not part of its callers, because of their number and its size.
    #[inline(never)]
    fn copy_from(&self, module: &Module<'_>, only_new: bool, mut from: u64) -> Option<Image> {
        while let Some((image, mapping)) = self.maps.image_from(self.mem, from) {
            if image.build_id() == module.old_build_id
                && !image.was_rewritten(self.mem, &self.manifest)
                && !(only_new && self.is_covered(&image, module))
            {
                return Some(image);
            }
            from = mapping.end;
        }
        None
    }

    /// A file with the module's patch in it is mapped.
    fn rewritten(&self, module: &Module<'_>) -> bool {
        let mut images = self.maps.images(self.mem).map(|(image, _)| image);
        images.any(|i| i.build_id() == module.old_build_id && i.was_rewritten(self.mem, &self.manifest))
    }

    fn is_covered(&self, image: &Image, module: &Module<'_>) -> bool {
        let mut same = records::live().filter(|e| e.get().bundle_sha256 == *self.digest);
        let here = |u: &Unit| u.bias == image.bias && is_for(u, module);
        same.any(|e| e.units().iter().any(|u| here(u) && self.is_here(u)))
    }

    /// The module that `unit` was made for is mapped, and isn't that same file, loaded anew this moment.
    fn is_here(&self, unit: &Unit) -> bool {
        let anew = matches!(self.moment, Moment::Loaded { inside } if (unit.lo..unit.hi).contains(&inside));
        !anew && records::is_mapped(unit, self.mem, self.maps)
    }

    /// Whether a live record gives way to the bundle.
    #[inline(never)]
    fn goes(&self, live: Entry, bundle: &Metadata<'_>, moment: Moment) -> bool {
        live.get().bundle_sha256 != *self.digest
            && (moment.replaces_all() || bundle.supersedes.iter().any(|id| id.as_bytes() == live.id()))
    }

    /// Whether a bundle of the store that nobody asked for by name is to be applied now: all of its modules are here, at least one copy isn't
    /// patched, and while a module is being loaded it is for that one alone.
    fn has_turn(&self, bundle: &Metadata<'_>, moment: Moment) -> bool {
        let complete = bundle.modules.iter().all(|m| self.mapped(&m).next().is_some() || self.rewritten(&m));
        let fits = |i: &Image| match moment {
            Moment::Loaded { inside } => (i.extent().0..i.extent().1).contains(&inside),
            _ => true,
        };
        let mut left = bundle.modules.iter().filter(|m| self.instances(m).next().is_some()).peekable();
        complete && left.peek().is_some() && left.all(|m| self.instances(&m).all(|i| fits(&i)))
    }

    /// No code of the modules of a bundle that may only be applied at the start can have run yet: it would have made instances of types as
    /// they were.
    fn nothing_has_run(&self, bundle: &Metadata<'_>, report: &mut Report) -> Result<(), Code> {
        let is_target = |bias: u64| {
            let mut images = self.maps.images(self.mem).map(|(image, _)| image).filter(|i| i.bias == bias);
            images.any(|i| bundle.modules.iter().any(|m| m.old_build_id == i.build_id()))
        };
        match Symbols::seen_from(self.mem, 0).unannounced(hook::address(), is_target) {
            None => Ok(()),
            Some(bias) => {
                let mut images = self.maps.images(self.mem);
                let name = images.find(|(i, _)| i.bias == bias).map_or(&b"a module"[..], |(_, m)| m.file_name());
                Err(report.refuse(
                    codes::SCOPE_START,
                    format_args!("constructors of {} have run before the loader", Name(name)),
                ))
            }
        }
    }

    /// The same of a module that is being loaded: it wasn't there before, and nothing that has run since could call it.
    #[inline(never)]
    fn runs_first(&self, inside: u64, report: &mut Report) -> Result<(), Code> {
        let mut refused = |what: core::fmt::Arguments<'_>| Err(report.refuse(codes::SCOPE_START, what));
        let Some(own) = self.maps.holding(self.mem, inside) else {
            return refused(format_args!("the module isn't to be found"));
        };
        if hook::came_before(&own, self.digest) {
            return refused(format_args!("the module was loaded before, without the bundle"));
        }
        // What is no file, as the kernel's own module, has nothing to begin.
        let mut ahead = [0; MAX_UNITS];
        let mut count = 0;
        for (image, _) in self.maps.images(self.mem).filter(|(i, _)| !hook::has_begun(i)) {
            let Some(slot) = ahead.get_mut(count) else {
                return refused(format_args!("too many modules are being loaded"));
            };
            *slot = image.bias;
            count += 1;
        }
        let begun = |bias: u64| !ahead.iter().take(count).any(|&b| b == bias);
        match Symbols::seen_from(self.mem, own.bias).ran_ahead(&begun) {
            None => Ok(()),
            Some(bias) => {
                let mut images = self.maps.images(self.mem);
                let name = images.find(|(i, _)| i.bias == bias).map_or(&b"a module"[..], |(_, m)| m.file_name());
                refused(format_args!("code of {} may have called it", Name(name)))
            }
        }
    }

    /// The build is here, or another build of a file with that name.
    fn knows(&self, module: &Module<'_>) -> bool {
        self.maps
            .images(self.mem)
            .any(|(i, m)| i.build_id() == module.old_build_id || m.file_name() == module.name.as_bytes())
    }

    fn missing(&self, module: &Module<'_>, report: &mut Report) -> Code {
        let other = self.maps.images(self.mem).find(|(_, m)| m.file_name() == module.name.as_bytes());
        let (name, want) = (module.name, Hex(module.old_build_id));
        match other {
            Some((image, _)) => {
                let found = Hex(image.build_id());
                report.refuse(
                    codes::WRONG_BUILD_ID,
                    format_args!("{name} has build-id {found}, the bundle is for {want}"),
                )
            }
            None => report.refuse(codes::WRONG_BUILD_ID, format_args!("{name} isn't mapped, the bundle is for {want}")),
        }
    }
}

/// A record in the making.
struct Draft {
    record: &'static mut Record,
    units: &'static mut [Unit],
    objects: &'static mut [[u64; 8]],
    plan: Plan<'static>,
    names: Arena<'static>,
    /// Units that were made so far; they are unmapped with the draft.
    count: usize,
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.units[..self.count].iter().for_each(records::unmap);
    }
}

/// `n` values in a mapping of their own, for as long as it lives.
fn scratch<T: FromBytes + IntoBytes + KnownLayout>(pages: &mut Pages, n: usize) -> Option<&mut [T]> {
    Arena::new(pages.bytes_mut()).take(n)
}

fn scratch_pages<T>(n: usize, report: &mut Report) -> Result<Pages, Code> {
    Pages::new((n * size_of::<T>()) as u64).map_err(|_| no_memory(report))
}

impl Draft {
    fn new(mut arena: Arena<'static>, counts: &Counts, units: usize) -> Option<Draft> {
        const { assert!(size_of::<[u64; 8]>() >= unwind::OBJECT_SIZE) };
        let record = arena.one()?;
        let unit_table = arena.take(units)?;
        let objects = arena.take(units)?;
        let (plan, names) = Plan::new(arena, counts)?;
        Some(Draft { record, units: unit_table, objects, plan, names, count: 0 })
    }

    fn add_unit(
        &mut self,
        here: &Here<'_>,
        (payload, file): (&Payload<'_>, &[u8]),
        module: &Module<'_>,
        image: &Image,
        (metadata, moment): (&Metadata<'_>, Moment),
        report: &mut Report,
    ) -> Result<(), Code> {
        let (sections, symbols) = (payload.object.sections().len(), payload.symbol_count());
        let mut memory = [
            scratch_pages::<Place>(sections, report)?,
            scratch_pages::<[u64; 2]>(symbols, report)?,
            scratch_pages::<u64>(payload.funcs.len(), report)?,
        ];
        let [places, words, offsets] = &mut memory;
        let places = scratch::<Place>(places, sections).ok_or(codes::INTERNAL)?;
        let (stubs, values) = scratch::<u64>(words, symbols * 2).ok_or(codes::INTERNAL)?.split_at_mut(symbols);
        let offsets = scratch::<u64>(offsets, payload.funcs.len()).ok_or(codes::INTERNAL)?;
        let layout = payload.lay_out(places, stubs, report)?;
        for (offset, func) in offsets.iter_mut().zip(payload.replaced()) {
            *offset = payload.replacement(func, places, &layout, report)?.0;
        }
        let taken = |u: &Unit| u.thread_len != 0;
        let units = self.units[..self.count].iter().filter(|u| taken(u));
        let storage = match layout.thread.1 {
            0 => None,
            len => Some(threads::reserve(len, layout.thread.2, units, report)?),
        };
        let room = Reserved::near(image, &layout, |base| payload.aliases(base, image.bias, offsets), report)?;
        payload.bind(image, places, room.addr, values, &Symbols::seen_from(here.mem, image.bias), report)?;
        let mut content = Pages::new(layout.len).map_err(|_| no_memory(report))?;
        let linker = Linker {
            object: payload.object,
            places,
            values,
            stubs,
            edits: payload.edits,
            base: room.addr,
            bias: image.bias,
            threads: storage.map(|s| s.of(room.addr + layout.thread.0)),
        };
        payload.link(&linker, content.bytes_mut(), report)?;
        let unit = plan::Unit {
            payload,
            image,
            layout: &layout,
            places,
            base: room.addr,
            linked: content.bytes(),
            index: self.count as u32,
        };
        let going = |e: Entry| here.goes(e, metadata, moment);
        let all = LiveWrites::collect(here, &|_| true, report)?;
        let before = LiveWrites::collect(here, &going, report)?;
        let original = Reverted { mem: here.mem, writes: all.newest_first() };
        let without_going = Reverted { mem: here.mem, writes: before.newest_first() };
        let (first, first_move) = (self.plan.funcs.items().len(), self.plan.moves.items().len());
        let first_keep = self.plan.keeps.items().len();
        self.plan.add(&unit, &original, &without_going, report)?;
        let moves = self.plan.moves.items()[first_move..].iter().any(|m| m.both_ways != 0);
        alone(image, moves, &going, report)?;
        self.take_over(first, &going, report)?;
        self.take_along(first_keep, image, &|e, u| going(e) && here.is_here(u));
        room.fill(&layout, content.bytes(), metadata.id, report)?;
        self.describe(&unit, module, image, file, report)?;
        if let Some(storage) = storage {
            let (start, len, _) = layout.thread;
            let first = &content.bytes()[start as usize..][..len as usize];
            self.begin_threads((storage, first), room.addr + start, moment, report)?;
        }
        room.leak();
        self.count += 1;
        Ok(())
    }

    /// New thread-local variables: what threads begin with, in the storage that the loader has for them, from now on.
    fn begin_threads(
        &mut self,
        (storage, first): (Storage, &[u8]),
        image: u64,
        moment: Moment,
        report: &mut Report,
    ) -> Result<(), Code> {
        let slot = &mut self.units[self.count];
        (slot.thread_at, slot.thread_len) = (storage.pointer as u64, first.len() as u64);
        if storage.fresh && first.iter().all(|b| *b == 0) {
            return Ok(());
        }
        slot.thread_image = image;
        if matches!(moment, Moment::Loaded { .. }) && store::threads() != Some(1) {
            return Err(report.refuse(
                codes::TLS_UNRESOLVED,
                format_args!("other threads run while the module is loaded: `hpatch apply --pending` stops them"),
            ));
        }
        threads::set_template(storage, first, report)
    }

    /// Replacements by live records whose functions are replaced once more, and all code of records that give way: they must not be active
    /// either.
    fn take_over(&mut self, first: usize, goes: &dyn Fn(Entry) -> bool, report: &mut Report) -> Result<(), Code> {
        for live in records::live() {
            let again = |entry: u64| self.plan.funcs.items()[first..].iter().any(|f| f.entry == entry);
            let whole = goes(live);
            if !whole && !live.funcs().iter().any(|f| again(f.entry)) {
                continue;
            }
            for range in live.new_ranges() {
                // Parts that belong to no function in particular may belong to one that is replaced.
                let ours = whole
                    || live
                        .funcs()
                        .get(range.func as usize)
                        .is_none_or(|f| self.plan.funcs.items()[first..].iter().any(|g| g.entry == f.entry));
                let known = self.plan.old_ranges.items().iter().any(|r| r.start == range.start && r.end == range.end);
                if ours && !known {
                    self.plan.add_old_code(
                        hpatch_core::abi::Range { func: u32::MAX, ..*range },
                        live.new_sites(),
                        report,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Variables that the one record that gives way here knows as well go on with their values.
    fn take_along(&mut self, first: usize, image: &Image, goes: &dyn Fn(Entry, &Unit) -> bool) {
        let keeps = self.plan.keeps.items();
        let slot = &mut self.units[self.count];
        (slot.keeps, slot.keep_count) = (keeps[first..].as_ptr() as u64, (keeps.len() - first) as u64);
        let units = records::live().flat_map(|e| e.units().iter().map(move |u| (e, u)));
        let units = units.filter(|(e, u)| is_at(u, image) && goes(*e, u));
        let mut former = units.map(|(_, u)| records::keeps(u)).filter(|keeps| !keeps.is_empty());
        if let (Some(keeps), None) = (former.next(), former.next()) {
            self.plan.take_along(first, keeps);
        }
    }

    fn describe(
        &mut self,
        unit: &plan::Unit<'_>,
        module: &Module<'_>,
        image: &Image,
        file: &[u8],
        report: &mut Report,
    ) -> Result<(), Code> {
        let name = self.names.copy(module.name.as_bytes()).ok_or_else(|| no_memory(report))?;
        let layout = unit.layout;
        let text = &unit.linked[..layout.text_len as usize];
        let slot = &mut self.units[self.count];
        slot.bias = image.bias;
        (slot.lo, slot.hi) = image.extent();
        slot.map = unit.base;
        slot.map_len = layout.len;
        slot.build_id[..image.build_id().len()].copy_from_slice(image.build_id());
        slot.build_id_len = image.build_id().len() as u32;
        slot.name = name.as_ptr() as u64;
        slot.name_len = name.len() as u32;
        slot.eh_frame = if layout.eh_frame.1 == 0 { 0 } else { unit.base + layout.eh_frame.0 };
        slot.text = unit.base;
        slot.text_len = layout.text_len;
        slot.text_sha256 = Sha256::digest(text).into();
        slot.reserved[unwind::OBJECT] = (&raw const self.objects[self.count]) as u64;
        let len = file.len();
        let mut pages = Pages::new((len + jit::HEAD) as u64).map_err(|_| no_memory(report))?;
        let copy = &mut pages.bytes_mut()[jit::HEAD..][..len];
        copy.copy_from_slice(file);
        unit.payload.place_sections(copy, unit.places, unit.base).ok_or(codes::INTERNAL)?;
        slot.symfile = pages.leak() + jit::HEAD as u64;
        slot.symfile_len = len as u64;
        Ok(())
    }

    fn finish(
        mut self,
        bundle: &VerifiedBundle<'_>,
        digest: [u8; 32],
        own_len: u64,
        report: &mut Report,
    ) -> Result<Entry, Code> {
        let m = bundle.metadata();
        let list = self.names.take::<u8>(m.supersedes.iter().map(|id| id.len() + 1).sum());
        let list = list.ok_or_else(|| no_memory(report))?;
        let mut at = 0;
        for id in m.supersedes.iter() {
            list[at..at + id.len()].copy_from_slice(id.as_bytes());
            at += id.len() + 1;
        }
        let (plan, r) = (&self.plan, &mut self.record);
        (r.supersedes, r.supersedes_len) = (list.as_ptr() as u64, list.len() as u64);
        r.sequence = m.sequence;
        let id = m.id.as_bytes();
        let id = &id[..id.len().min(r.id.len())];
        r.state = RecordState::Prepared as u32;
        r.scope = m.scope as u32;
        r.id[..id.len()].copy_from_slice(id);
        r.id_len = id.len() as u32;
        r.bundle_sha256 = digest;
        (r.units, r.unit_count) = (self.units.as_ptr() as u64, self.count as u32);
        (r.writes, r.write_count) = place_of(plan.writes.items());
        (r.funcs, r.func_count) = place_of(plan.funcs.items());
        (r.old_ranges, r.old_range_count) = place_of(plan.old_ranges.items());
        (r.old_sites, r.old_site_count) = place_of(plan.old_sites.items());
        (r.new_ranges, r.new_range_count) = place_of(plan.new_ranges.items());
        (r.new_sites, r.new_site_count) = place_of(plan.new_sites.items());
        (r.moves, r.move_count) = place_of(plan.moves.items());
        r.reserved[OWN_LEN] = own_len;
        r.switches_stacks = m.capabilities.contains(Capabilities::STACKS).into();
        self.count = 0;
        Ok(records::append(self.record))
    }
}

/// The unit was made for that module, where it is.
fn is_at(unit: &Unit, image: &Image) -> bool {
    unit.bias == image.bias && (unit.lo, unit.hi) == image.extent()
}

/// Code of two bundles would look for a variable that one of them moved in two places.
fn alone(image: &Image, moves: bool, goes: &dyn Fn(Entry) -> bool, report: &mut Report) -> Result<(), Code> {
    let beside = |e: &Entry| !goes(*e) && e.units().iter().any(|u| is_at(u, image) && (moves || e.moves_in(u)));
    match records::live().find(beside) {
        None => Ok(()),
        Some(e) => Err(report.refuse(codes::STATE_MOVED_ELSEWHERE, format_args!("{} is live", Name(e.id())))),
    }
}

fn place_of<T>(items: &[T]) -> (u64, u32) {
    (if items.is_empty() { 0 } else { items.as_ptr() as u64 }, items.len() as u32)
}

/// The writes of all live records.
struct LiveWrites {
    pages: Pages,
    len: usize,
}

impl LiveWrites {
    /// Those of the records that `wanted` picks, in modules that are still mapped.
    #[inline(never)]
    fn collect(here: &Here<'_>, wanted: &dyn Fn(Entry) -> bool, report: &mut Report) -> Result<LiveWrites, Code> {
        let records = records::live().filter(|e| wanted(*e));
        let stale = |e: Entry, w: &Write| {
            let mut units = e.units().iter().filter(|u| (u.lo..u.hi).contains(&w.addr));
            !units.any(|u| here.is_here(u))
        };
        let total = records.clone().map(|e| e.writes().len()).sum();
        let mut pages = Pages::new((total * size_of::<Write>()) as u64).map_err(|_| no_memory(report))?;
        let out = scratch::<Write>(&mut pages, total).ok_or(codes::INTERNAL)?;
        // From the back, since the list is in order of application.
        let mut end = total;
        for live in records {
            let writes = live.writes();
            end -= writes.len();
            out[end..end + writes.len()].copy_from_slice(writes);
            for w in out[end..end + writes.len()].iter_mut().filter(|w| stale(live, w)) {
                w.len = 0;
            }
        }
        Ok(LiveWrites { pages, len: total })
    }

    fn newest_first(&self) -> &[Write] {
        let bytes = &self.pages.bytes()[..self.len * size_of::<Write>()];
        <[Write]>::ref_from_bytes(bytes).unwrap_or_default()
    }
}
