//! The loader's control block and records, read from the target. Every pointer and count is an allegation.

use std::fs::File;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;

use hpatch_core::abi::{self, Func, Keep, MOVE_ALONG, Move, Range, Record, RecordState, Unit, Write};
use hpatch_core::image::Image;

use super::Target;
use super::compose::Rider;
use super::elf;
use super::maps::Mapping;
use super::procfs;
use crate::error::{Error, Exit, Result, code};
use crate::shown::from_memory;
use crate::threads::Begin;

/// The name by which the library is found among the mappings, also as a memory file when it was attached.
pub const LIBRARY: &str = "libhpatch_loader.so";
pub const SYMBOL: &str = "hpatch_control";
const MAX_RECORDS: usize = 4096;
const MAX_ITEMS: u32 = 1 << 22;
const MAX_NAME: u32 = 64 * 1024;
type Block = abi::Control<u64>;

/// Where the control block of a target lies.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    pub addr: u64,
    /// First address of the loader's image.
    pub base: u64,
}

/// The command that works on a process. A pid is given again when its process has ended, so it names one only together with the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// 0 for none.
    pub pid: u32,
    /// Clock ticks after boot.
    began: u64,
}

impl Owner {
    /// This program.
    pub fn me() -> Result<Self> {
        let pid = std::process::id();
        let stat = procfs::task_stat(pid as i32, pid as i32);
        let stat = stat.map_err(|e| Error::io("cannot read what /proc says of this program", &e))?;
        Ok(Self { pid, began: stat.start_time })
    }

    /// Whether it lives; one that was killed may wait long for its new parent to reap it.
    pub fn is_at_work(&self) -> bool {
        let pid = self.pid as i32;
        pid != 0 && procfs::task_stat(pid, pid).is_ok_and(|s| s.start_time == self.began && !s.is_dead())
    }
}

/// The answer of an operation.
#[derive(Debug, Clone)]
pub struct Answer {
    pub code: u32,
    pub value: [u64; 4],
    pub detail: String,
}

macro_rules! at {
    ($self:ident . $field:ident) => {
        $self.addr + offset_of!(Block, $field) as u64
    };
}

impl Control {
    /// Offset of the last pointer that is linked when the library is brought in.
    pub const SPAWN: u64 = offset_of!(Block, spawn) as u64;

    /// `Ok(None)` when the target has no loader.
    pub fn find(target: &Target) -> Result<Option<Self>> {
        Self::find_in(target, &target.maps()?)
    }

    pub fn find_in(target: &Target, maps: &[Mapping]) -> Result<Option<Self>> {
        for m in maps.iter().filter(|m| m.offset == 0 && m.read && m.file_name().ends_with(LIBRARY)) {
            let Some(addr) = elf::dynamic_symbol(&target.mem, m.start, SYMBOL) else { continue };
            let control = Self { addr, base: m.start };
            let word = |at| target.mem.read_u64(at).unwrap_or(0);
            // One that isn't linked yet, or was left half-way by an `attach` that was killed, isn't there.
            let spawn = word(addr + Self::SPAWN);
            if word(addr) != abi::MAGIC || !super::maps::find(maps, spawn).is_some_and(|m| m.exec) {
                continue;
            }
            let found = control.u32(target, at!(control.abi))?;
            let size = control.u32(target, at!(control.size))?;
            if found != abi::ABI || size as usize != size_of::<Block>() {
                return Err(Error::new(
                    code::ABI_MISMATCH,
                    Exit::Refused,
                    format!("the loader in process {} has interface {found}, this command {}", target.pid, abi::ABI),
                ));
            }
            return Ok(Some(control));
        }
        Ok(None)
    }

    pub fn require(target: &Target) -> Result<Self> {
        Self::find(target)?.ok_or_else(|| {
            Error::new(code::NO_LOADER, Exit::Refused, format!("process {} carries no loader", target.pid)).help(
                format!(
                    "start the program with `hpatch run -- CMD`, or bring the loader in with `hpatch attach --pid {}`",
                    target.pid
                ),
            )
        })
    }

    fn u32(&self, target: &Target, addr: u64) -> Result<u32> {
        let mut b = [0; 4];
        target.mem.read(addr, &mut b).map_err(|_| target.vanished())?;
        Ok(u32::from_le_bytes(b))
    }

    fn u64(&self, target: &Target, addr: u64) -> Result<u64> {
        target.mem.read_u64(addr).map_err(|_| target.vanished())
    }

    fn put(&self, target: &Target, addr: u64, bytes: &[u8]) -> Result<()> {
        target.mem.write(addr, bytes).map_err(|e| match target.has_ended(&e) {
            true => target.vanished(),
            false => Error::io("cannot write the loader's control block", &e),
        })
    }

    pub fn state(&self, target: &Target) -> Result<u32> {
        self.u32(target, at!(self.state))
    }

    pub fn set_state(&self, target: &Target, state: abi::LoaderState) -> Result<()> {
        self.put(target, at!(self.state), &(state as u32).to_le_bytes())
    }

    pub fn origin(&self, target: &Target) -> Result<u32> {
        self.u32(target, at!(self.origin))
    }

    pub fn set_origin(&self, target: &Target, origin: u32) -> Result<()> {
        self.put(target, at!(self.origin), &origin.to_le_bytes())
    }

    pub fn owner(&self, target: &Target) -> Result<Owner> {
        Ok(Owner { pid: self.u32(target, at!(self.owner))?, began: self.u64(target, at!(self.owner_began))? })
    }

    /// The pid comes last: it says that there is an owner.
    pub fn set_owner(&self, target: &Target, owner: Owner) -> Result<()> {
        self.put(target, at!(self.owner_began), &owner.began.to_le_bytes())?;
        self.put(target, at!(self.owner), &owner.pid.to_le_bytes())
    }

    pub fn spawn(&self, target: &Target) -> Result<u64> {
        self.u64(target, at!(self.spawn))
    }

    pub fn stack_top(&self, target: &Target) -> Result<u64> {
        self.u64(target, at!(self.stack_top))
    }

    pub fn control_tid(&self, target: &Target) -> Result<u32> {
        self.u32(target, at!(self.control_tid))
    }

    /// Where the kernel keeps the control thread's id.
    pub fn thread_addr(&self) -> u64 {
        at!(self.thread)
    }

    /// The control thread, as the process itself counts; 0 when there is none.
    pub fn thread(&self, target: &Target) -> Result<u32> {
        self.u32(target, at!(self.thread))
    }

    pub fn forget_thread(&self, target: &Target) -> Result<()> {
        self.put(target, at!(self.thread), &0u32.to_le_bytes())
    }

    /// The signal that the process has set aside for the loader, and avma of its gate; 0 for none.
    pub fn door(&self, target: &Target) -> Result<(u32, u64)> {
        Ok((self.u32(target, at!(self.signal))?, self.u64(target, at!(self.gate))?))
    }

    /// Says to an operation under way that its `value[0]` was seen.
    pub fn acknowledge(&self, target: &Target) -> Result<()> {
        self.put(target, at!(self.arg) + 8, &1u64.to_le_bytes())
    }

    /// Whether keys were given to an attached loader.
    pub fn trusted(&self, target: &Target) -> Result<bool> {
        Ok(self.u32(target, at!(self.trusted))? != 0)
    }

    /// Asks for an operation; [`crate::trace::rpc`] makes the thread that does it.
    pub fn request(&self, target: &Target, op: abi::Op, arg: &[u64]) -> Result<()> {
        let mut args = [0u8; 48];
        for (slot, a) in args.chunks_exact_mut(8).zip(arg) {
            slot.copy_from_slice(&a.to_le_bytes());
        }
        self.put(target, at!(self.arg), &args)?;
        self.put(target, at!(self.value), &0u64.to_le_bytes())?;
        self.put(target, at!(self.done), &0u32.to_le_bytes())?;
        self.put(target, at!(self.op), &(op as u32).to_le_bytes())
    }

    /// The answer, when the operation has ended.
    pub fn answer(&self, target: &Target) -> Result<Option<Answer>> {
        if self.u32(target, at!(self.done))? == 0 {
            return Ok(None);
        }
        let mut value = [0; 4];
        for (i, v) in value.iter_mut().enumerate() {
            *v = self.u64(target, at!(self.value) + i as u64 * 8)?;
        }
        let code = self.u32(target, at!(self.code))?;
        Ok(Some(Answer { code, value, detail: self.detail(target)? }))
    }

    /// A value of the last answer, which a refusal leaves too.
    pub fn value(&self, target: &Target, index: u64) -> Result<u64> {
        self.u64(target, at!(self.value) + index * 8)
    }

    /// How many libraries have begun without the store's bundles.
    pub fn passed_over(&self, target: &Target) -> Result<u32> {
        self.u32(target, at!(self.passed_over))
    }

    pub fn detail(&self, target: &Target) -> Result<String> {
        let len = self.u32(target, at!(self.detail_len))?.min(512) as usize;
        let text = target.mem.read_vec(at!(self.detail), len).map_err(|_| target.vanished())?;
        Ok(from_memory(&text))
    }

    pub fn code(&self, target: &Target) -> Result<u32> {
        self.u32(target, at!(self.code))
    }

    /// All records, in order of application, without their changes in modules that were unloaded since.
    pub fn records(&self, target: &Target) -> Result<Vec<Patch>> {
        let mut v = Vec::new();
        let mut next = self.u64(target, at!(self.first_record))?;
        while next != 0 {
            if v.len() >= MAX_RECORDS {
                return Err(broken("the list of records doesn't end"));
            }
            let mut p = Patch::read(target, next)?;
            p.leave_out_unloaded(target);
            next = p.record.next;
            if p.record.state != RecordState::Empty as u32 {
                v.push(p);
            }
        }
        Ok(v)
    }
}

/// Whether the module that `unit` was made for is where it was.
pub fn is_mapped(target: &Target, unit: &Unit) -> bool {
    let id = unit.build_id.get(..unit.build_id_len as usize).unwrap_or_default();
    Image::at(&target.mem, unit.lo).is_some_and(|i| i.bias == unit.bias && i.build_id() == id)
}

/// The page at `addr` was never written: it is the file's, or isn't there at all (Documentation/admin-guide/mm/pagemap.rst).
pub fn is_file_page(pagemap: &File, addr: u64) -> bool {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const FILE: u64 = 1 << 61;
    let mut entry = [0; 8];
    if pagemap.read_exact_at(&mut entry, addr / 4096 * 8).is_err() {
        return false;
    }
    let flags = u64::from_le_bytes(entry);
    if flags & (PRESENT | SWAPPED) == 0 { true } else { flags & (PRESENT | FILE) == PRESENT | FILE }
}

fn broken(what: &str) -> Error {
    Error::new(code::CONTROL_MALFORMED, Exit::Blocked, format!("the loader's records can't be read: {what}"))
}

/// One change of bytes, both ways.
#[derive(Debug, Clone)]
pub struct Edit {
    pub addr: u64,
    /// Index in [`Patch::funcs`], `u32::MAX` for none.
    pub func: u32,
    pub old: Vec<u8>,
    pub new: Vec<u8>,
}

impl Edit {
    pub fn end(&self) -> u64 {
        self.addr + self.old.len() as u64
    }
}

/// A record with all that it points to.
#[derive(Debug, Clone)]
pub struct Patch {
    pub addr: u64,
    pub record: Record,
    pub id: String,
    pub units: Vec<(Unit, String)>,
    pub edits: Vec<Edit>,
    pub funcs: Vec<(Func, String)>,
    pub old_ranges: Vec<Range>,
    pub old_sites: Vec<u64>,
    pub new_ranges: Vec<Range>,
    pub new_sites: Vec<u64>,
    /// Other records that are switched with it.
    pub riders: Vec<Rider>,
    /// What its thread-local variables begin with in the threads that run.
    pub threads: Vec<Begin>,
    /// Variables that it brought: also with their name and the load bias of their module.
    pub keeps: Vec<(Keep, String, u64)>,
    /// Mappings of the payloads that give way to it.
    pub former: Vec<(u64, u64)>,
    /// Bytes of variables that are copied in the stop, in this order.
    pub moves: Vec<Move>,
    /// Where functions lead to their replacements, or did: at these places they can be entered, and closed.
    pub detours: Vec<u64>,
    /// Whether they are closed for a while, because values are copied: also those of one module when the one with the values was unloaded since.
    pub closes: bool,
}

impl Patch {
    pub fn read(target: &Target, addr: u64) -> Result<Self> {
        let mem = &target.mem;
        let fail = |e: std::io::Error| match target.has_ended(&e) {
            true => target.vanished(),
            false => broken("a pointer leads nowhere"),
        };
        let count = |n: u32| if n <= MAX_ITEMS { Ok(n as usize) } else { Err(broken("a count is out of bounds")) };
        let text = |at: u64, len: u32| -> Result<String> {
            if at == 0 || len == 0 {
                return Ok(String::new());
            }
            let raw = mem.read_vec(at, len.min(MAX_NAME) as usize).map_err(fail)?;
            Ok(from_memory(&raw))
        };
        let r: Record = mem.read_pod(addr).map_err(fail)?;
        let id = from_memory(&r.id[..(r.id_len as usize).min(r.id.len())]);
        let mut units = Vec::new();
        for u in mem.read_pods::<Unit>(r.units, count(r.unit_count)?).map_err(fail)? {
            units.push((u, text(u.name, u.name_len)?));
        }
        let mut funcs = Vec::new();
        for f in mem.read_pods::<Func>(r.funcs, count(r.func_count)?).map_err(fail)? {
            funcs.push((f, text(f.name, f.name_len)?));
        }
        let mut edits = Vec::new();
        for w in mem.read_pods::<Write>(r.writes, count(r.write_count)?).map_err(fail)? {
            let len = count(w.len)?;
            if len == 0 || w.addr.checked_add(len as u64).is_none() {
                return Err(broken("a write is out of bounds"));
            }
            let old = mem.read_vec(w.old, len).map_err(fail)?;
            let new = mem.read_vec(w.new, len).map_err(fail)?;
            edits.push(Edit { addr: w.addr, func: w.func, old, new });
        }
        let mut threads = Vec::new();
        for (u, _) in units.iter().filter(|(u, _)| u.thread_image != 0) {
            let len = u32::try_from(u.thread_len).map_err(|_| broken("thread-local storage is out of bounds"))?;
            threads.push(Begin { at: u.thread_at, first: mem.read_vec(u.thread_image, count(len)?).map_err(fail)? });
        }
        edits.sort_by_key(|e| e.addr);
        if edits.windows(2).any(|p| p[0].end() > p[1].addr) {
            return Err(broken("writes overlap"));
        }
        let detour = |e: &&Edit| funcs.get(e.func as usize).is_some_and(|f: &(Func, String)| f.0.replaced());
        let detours = edits.iter().filter(detour).map(|e| e.addr).collect();
        let mut keeps = Vec::new();
        for (u, _) in &units {
            let n = u32::try_from(u.keep_count).map_err(|_| broken("a count is out of bounds"))?;
            for k in mem.read_pods::<Keep>(u.keeps, count(n)?).map_err(fail)? {
                keeps.push((k, text(k.name, k.name_len)?, u.bias));
            }
        }
        let mut moves: Vec<Move> = mem.read_pods(r.moves, count(r.move_count)?).map_err(fail)?;
        // Later what gave way may be gone.
        if r.state == RecordState::Prepared as u32 || r.state == RecordState::Writing as u32 {
            let along = keeps.iter().map(|(k, ..)| k).filter(|k| k.from != 0);
            moves.extend(along.map(|k| Move { from: k.from, to: k.addr, len: k.len, both_ways: MOVE_ALONG }));
        }
        let moves = moves_of(moves)?;
        Ok(Self {
            addr,
            id,
            units,
            detours,
            edits,
            funcs,
            old_ranges: mem.read_pods(r.old_ranges, count(r.old_range_count)?).map_err(fail)?,
            old_sites: mem.read_pods(r.old_sites, count(r.old_site_count)?).map_err(fail)?,
            new_ranges: mem.read_pods(r.new_ranges, count(r.new_range_count)?).map_err(fail)?,
            new_sites: mem.read_pods(r.new_sites, count(r.new_site_count)?).map_err(fail)?,
            record: r,
            riders: Vec::new(),
            threads,
            keeps,
            former: Vec::new(),
            closes: !moves.is_empty(),
            moves,
        })
    }

    /// After dlclose something else may be where a module was: nothing is compared or written there any more.
    fn leave_out_unloaded(&mut self, target: &Target) {
        // The same file mapped again at the same place is as it was on disk, where a patched one has private pages.
        let pages = File::open(format!("/proc/{}/task/{}/pagemap", target.pid, target.live_tid));
        let fresh = |u: &Unit| {
            let mut own = self.edits.iter().filter(|e| (u.lo..u.hi).contains(&e.addr)).peekable();
            // Of a record that is half-way too: what will be written gets private pages before the record says that it is.
            let written = [RecordState::Writing, RecordState::Live, RecordState::Reverting].iter().any(|s| self.is(*s));
            let pages = pages.as_ref().ok().filter(|_| own.peek().is_some() && written);
            pages.is_some_and(|p| own.all(|e| is_file_page(p, e.addr)))
        };
        let stays: Vec<bool> = self.units.iter().map(|(u, _)| is_mapped(target, u) && !fresh(u)).collect();
        let mut stays = stays.into_iter();
        self.units.retain(|_| stays.next().unwrap_or(true));
        let units = &self.units;
        let stays = |addr: u64| units.iter().any(|(u, _)| (u.lo..u.hi).contains(&addr));
        self.edits.retain(|e| stays(e.addr));
        self.detours.retain(|d| stays(*d));
        let own = |addr: u64| units.iter().any(|(u, _)| addr.checked_sub(u.map).is_some_and(|at| at < u.map_len));
        self.moves.retain(|m| match m.both_ways {
            MOVE_ALONG => own(m.to),
            0 => stays(m.to),
            _ => stays(m.from),
        });
    }

    /// Every module that it changed was unloaded.
    pub fn is_unloaded(&self) -> bool {
        self.units.is_empty()
    }

    pub fn is(&self, state: RecordState) -> bool {
        self.record.state == state as u32
    }

    pub fn func_name(&self, func: u32) -> &str {
        self.funcs.get(func as usize).map_or("?", |f| f.1.as_str())
    }

    pub fn state_addr(&self) -> u64 {
        self.addr + offset_of!(Record, state) as u64
    }

    pub fn superseded_by_addr(&self) -> u64 {
        self.addr + offset_of!(Record, superseded_by) as u64
    }

    pub fn live_since_addr(&self) -> u64 {
        self.addr + offset_of!(Record, live_since) as u64
    }

    /// How many functions become others.
    pub fn changed(&self) -> usize {
        self.funcs.iter().filter(|f| !f.0.idle()).count()
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        // Both ascending and free of overlap within themselves.
        let (mut i, mut j) = (0, 0);
        while let (Some(a), Some(b)) = (self.edits.get(i), other.edits.get(j)) {
            if a.end() <= b.addr {
                i += 1;
            } else if b.end() <= a.addr {
                j += 1;
            } else {
                return true;
            }
        }
        false
    }
}

/// Refuses what leads out of the address space.
fn moves_of(moves: Vec<Move>) -> Result<Vec<Move>> {
    let fits = |m: &Move| [m.from, m.to].iter().all(|at| at.checked_add(m.len.into()).is_some());
    if moves.iter().all(fits) { Ok(moves) } else { Err(broken("a move is out of bounds")) }
}

/// `prepared`, `live`...
pub fn state_name(state: u32) -> &'static str {
    match state {
        1 => "prepared",
        2 => "writing",
        3 => "live",
        4 => "reverting",
        5 => "reverted",
        _ => "unknown",
    }
}
