//! The list of records, and what is done with one after it was prepared.

use hpatch_core::abi::{Func, Keep, Move, Range, Record, RecordState, Unit, Write};
use hpatch_core::image::Image;
use hpatch_core::report::Report;
use patchfmt::{Code, codes};

use crate::control;
use crate::mem::Pages;
use crate::process::{Maps, OwnMemory};
use crate::{jit, sys, unwind};

/// Index in [`Record::reserved`]: length of the record's own mapping.
pub const OWN_LEN: usize = 0;

/// A table of a record.
///
/// # Safety
/// `addr` and `count` must be those that the loader put into a record which is still mapped.
unsafe fn table<'a, T>(addr: u64, count: u32) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise; the tables are written before the record is on the list and then only by the loader.
    unsafe { core::slice::from_raw_parts(addr as *const T, count as usize) }
}

/// A record on the list.
#[derive(Debug, Clone, Copy)]
pub struct Entry(*mut Record);

impl Entry {
    pub fn addr(self) -> u64 {
        self.0 as u64
    }

    /// A copy: the command changes `state` and `live_since` between operations, never during one.
    pub fn get(self) -> Record {
        // SAFETY: records on the list are mapped.
        unsafe { *self.0 }
    }

    pub fn set(self, change: impl FnOnce(&mut Record)) {
        // SAFETY: as above; no other borrow exists, `get` copies.
        change(unsafe { &mut *self.0 });
    }

    pub fn is(self, state: RecordState) -> bool {
        // SAFETY: as for `get`; one field instead of a copy of all.
        unsafe { (*self.0).state == state as u32 }
    }

    pub fn id(self) -> &'static [u8] {
        // SAFETY: as for `units`; the field is written before the record is on the list.
        let r = unsafe { &*self.0 };
        r.id.get(..r.id_len as usize).unwrap_or_default()
    }

    /// Ids that its bundle supersedes.
    pub fn supersedes(self) -> impl Iterator<Item = &'static [u8]> {
        let r = self.get();
        // SAFETY: as for `units`.
        let text: &[u8] = unsafe { table(r.supersedes, r.supersedes_len as u32) };
        text.split(|b| *b == 0).filter(|id| !id.is_empty())
    }

    pub fn units(self) -> &'static [Unit] {
        let r = self.get();
        // SAFETY: the record is on the list, which outlives every use within one operation.
        unsafe { table(r.units, r.unit_count) }
    }

    pub fn writes(self) -> &'static [Write] {
        let r = self.get();
        // SAFETY: as for `units`.
        unsafe { table(r.writes, r.write_count) }
    }

    pub fn funcs(self) -> &'static [Func] {
        let r = self.get();
        // SAFETY: as for `units`.
        unsafe { table(r.funcs, r.func_count) }
    }

    pub fn moves(self) -> &'static [Move] {
        let r = self.get();
        // SAFETY: as for `units`.
        unsafe { table(r.moves, r.move_count) }
    }

    /// Whether it keeps variables of `unit`'s module elsewhere.
    pub fn moves_in(self, unit: &Unit) -> bool {
        self.moves().iter().any(|m| m.both_ways != 0 && (unit.lo..unit.hi).contains(&m.from))
    }

    pub fn new_ranges(self) -> &'static [Range] {
        let r = self.get();
        // SAFETY: as for `units`.
        unsafe { table(r.new_ranges, r.new_range_count) }
    }

    pub fn new_sites(self) -> &'static [u64] {
        let r = self.get();
        // SAFETY: as for `units`.
        unsafe { table(r.new_sites, r.new_site_count) }
    }
}

/// The variables that a unit of a record on the list brought.
pub fn keeps(unit: &'static Unit) -> &'static [Keep] {
    // SAFETY: as for `units`.
    unsafe { table(unit.keeps, unit.keep_count as u32) }
}

/// All records, in order of application.
pub fn all() -> impl Iterator<Item = Entry> + Clone {
    let mut next = control::with(|c| c.first_record);
    core::iter::from_fn(move || {
        let entry = (next != 0).then_some(Entry(next as *mut Record))?;
        // SAFETY: as for `get`.
        next = unsafe { (*entry.0).next };
        Some(entry)
    })
}

pub fn live() -> impl Iterator<Item = Entry> + Clone {
    all().filter(|e| e.is(RecordState::Live))
}

/// The record at `addr`, if it is on the list.
pub fn find(addr: u64, report: &mut Report) -> Result<Entry, Code> {
    let found = all().find(|e| e.addr() == addr);
    found.ok_or_else(|| report.refuse(codes::CONTROL_MALFORMED, format_args!("no record at {addr:#x}")))
}

/// Puts a finished record at the end of the list.
pub fn append(record: &mut Record) -> Entry {
    record.next = 0;
    let entry = Entry(record);
    match all().last() {
        None => control::with(|c| c.first_record = entry.addr()),
        Some(last) => last.set(|r| r.next = entry.addr()),
    }
    control::with(|c| c.record_count = c.record_count.checked_add(1).expect("fewer records than bytes of memory"));
    entry
}

/// The module of `unit` is still mapped where it was. After dlclose something else may be there.
#[inline(never)]
pub fn is_mapped(unit: &Unit, mem: &OwnMemory, maps: &Maps) -> bool {
    Image::at(mem, unit.lo).is_some_and(|i| {
        i.bias == unit.bias
            && i.build_id() == unit.build_id.get(..unit.build_id_len as usize).unwrap_or_default()
            && i.is_loaded(maps.iter())
    })
}

/// Drops live records all of whose modules were unloaded: their places are somebody else's now, or the same library's that was loaded again.
pub fn drop_unloaded(is_here: &dyn Fn(&Unit) -> bool) {
    let gone = |e: &Entry| !e.units().iter().any(is_here);
    while let Some(entry) = live().find(gone) {
        entry.set(|r| r.state = RecordState::Reverted as u32);
        let mut ignored = Report::default();
        // Where it can't be unmapped it stays on the list, reverted.
        let _ = release(entry, &mut ignored);
    }
}

/// The record has gone live: every core sees its code.
pub fn commit(entry: Entry, report: &mut Report) -> Result<(), Code> {
    if !entry.is(RecordState::Live) {
        return Err(report.refuse(codes::CONTROL_MALFORMED, format_args!("commit of a record that isn't live")));
    }
    // Registered when it was prepared. Old kernels don't know it: all threads have passed a kernel exit since the stop, which serialises in
    // practice.
    let _ = sys::membarrier_sync_core();
    Ok(())
}

/// Unmaps what a unit brought, when no thread is in it and no detour leads there.
pub fn unmap(unit: &Unit) {
    jit::unregister(unit);
    // SAFETY: the unit's mapping is the loader's.
    let _ = unsafe { sys::munmap(unit.map, unit.map_len) };
}

/// Unmaps what the record brought and takes it off the list.
pub fn release(entry: Entry, report: &mut Report) -> Result<(), Code> {
    if !entry.is(RecordState::Prepared) && !entry.is(RecordState::Reverted) {
        return Err(report.refuse(codes::CONTROL_MALFORMED, format_args!("release of a record that is in use")));
    }
    if !unwind::withdraw(entry) {
        return Err(report.refuse(codes::MAP_FAILED, format_args!("the unwinder keeps the payload's frames")));
    }
    let record = entry.get();
    match all().find(|e| e.get().next == entry.addr()) {
        None => control::with(|c| c.first_record = record.next),
        Some(before) => before.set(|r| r.next = record.next),
    }
    control::with(|c| c.record_count -= 1);
    // Had it been meant to take the place of others, it no longer is.
    all().filter(|e| e.get().superseded_by == entry.addr()).for_each(|e| e.set(|r| r.superseded_by = 0));
    for unit in entry.units() {
        unmap(unit);
    }
    // SAFETY: the record's own mapping, given away once when it was prepared; no reference to it is left.
    drop(unsafe { Pages::adopt(entry.addr(), record.reserved[OWN_LEN]) });
    Ok(())
}
