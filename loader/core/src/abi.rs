//! The control block: what the loader in the target and the `hpatch` command outside say to each other.
//!
//! The command finds [`Control`] through the exported symbol `hpatch_control` of `libhpatch_loader.so`, reads and writes it with
//! `/proc/PID/mem`, and runs one operation at a time on a short-lived *control thread* that it makes with `clone` from a
//! hijacked application thread (see [`SPAWN_FLAGS`]). Nothing of the loader runs when no operation is under way.
//!
//! All addresses are avma (addresses in the target). Every pointer the command follows is an allegation: it checks bounds and
//! counts before it believes them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `Control::magic`: "HPLOADER".
pub const MAGIC: u64 = u64::from_le_bytes(*b"HPLOADER");
/// Version of every structure in this file.
pub const ABI: u32 = 4;

/// `clone(2)` flags of the control thread: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, PARENT_SETTID, CHILD_CLEARTID. It inherits the hijacked
/// thread's fs base and its signal mask, which the command has filled before. The address for both thread ids is that of `Control::thread`.
pub const SPAWN_FLAGS: u64 =
    0x0000_0100 | 0x0000_0200 | 0x0000_0400 | 0x0000_0800 | 0x0001_0000 | 0x0004_0000 | 0x0010_0000 | 0x0020_0000;

/// Bytes of the control thread's stack, below `Control::stack_top`.
pub const STACK_SIZE: u64 = 512 * 1024;

/// Bytes at the lower end of that stack where the command puts the signal frame, see [`Control::spawn`].
pub const FRAME_SIZE: u64 = 32 * 1024;

/// What the loader as a whole is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum LoaderState {
    Idle = 0,
    Busy = 1,
    /// An internal error: no further operation is accepted in this process.
    Blocked = 2,
}

/// Where a record stands. The command moves `Prepared` → `Writing` → `Live` and `Live` → `Reverting` → `Reverted` while every thread is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum RecordState {
    Empty = 0,
    Prepared = 1,
    Writing = 2,
    Live = 3,
    Reverting = 4,
    Reverted = 5,
}

/// Operations of the control thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Op {
    None = 0,
    /// `arg[0]` bytes wanted → `value[0]` address of a private buffer for a bundle or trusted keys.
    Alloc = 1,
    /// `arg[0]` bundle address, `arg[1]` length, `arg[2]` flags ([`PREPARE_NO_TRUST_DIR`], [`PREPARE_REPLACE`]) → `value[0]` address of a
    /// [`Record`] in state `Prepared`. Live records that it takes the place of are marked with [`Record::superseded_by`].
    /// Takes the buffer over: it is unmapped on every way out.
    Prepare = 2,
    /// `arg[0]` record, now `Live`: serialise cores, announce unwind data.
    Commit = 3,
    /// `arg[0]` record in `Prepared` or `Reverted`: unmap what it mapped and take it off the list.
    Release = 4,
    /// `arg[0]` address, `arg[1]` length of concatenated OpenSSH public key lines: replaces the trust directory's keys (attach only).
    SetTrust = 5,
    /// `arg[0]` index in the store → `value[0]` address of a [`Record`] in state `Prepared` for modules that have appeared since, 0 when that
    /// bundle has nothing to do here; `value[1]` how many bundles the store holds.
    PreparePending = 6,
    /// `arg[0]` 1: puts fresh shared memory in the place of the [`Gate`], `value[0]` its descriptor plus one as soon as that is open, and waits a
    /// moment until the command sets `arg[1]`; it is closed then. `arg[0]` 0: private memory again.
    Gate = 7,
    /// `arg[0]` address, `arg[1]` length of a request that [`Op::Alloc`] made room for: a program's path and its arguments, each with a NUL behind
    /// it, `arg[2]` of them → `value[0]` pid of that program, a child whose end raises no signal. With `arg[0]` 0 it is only reaped, and the memory given back.
    Helper = 8,
}

/// The control block, `#[repr(C)]`, in the loader's writable data. `P` is the type of its two static addresses: a number for
/// who reads it from outside, a pointer for the loader, so that the linker fills them in with `R_X86_64_RELATIVE`.
#[derive(Debug)]
#[repr(C)]
pub struct Control<P = u64> {
    pub magic: u64,
    pub abi: u32,
    pub size: u32,
    /// [`LoaderState`].
    pub state: u32,
    /// [`Op`] requested by the command.
    pub op: u32,
    pub arg: [u64; 6],
    /// 0 until the operation has ended, then 1. Written last.
    pub done: u32,
    /// 0 or an `HP` code.
    pub code: u32,
    pub value: [u64; 4],
    /// Text that belongs to `code`, UTF-8.
    pub detail_len: u32,
    pub record_count: u32,
    pub detail: [u8; 512],
    /// First [`Record`], 0 for none. In order of application.
    pub first_record: u64,
    /// Address of `syscall; test eax,eax; jnz 1f; call control_main; int3; 1: mov rsp,rbx; mov eax,15; syscall`: the command sets a
    /// hijacked thread's registers for `clone(SPAWN_FLAGS, stack_top)`, `rbx` to a signal frame that leads back (rt_sigreturn(2)) if the
    /// command is killed, and lets it run here.
    pub spawn: P,
    pub stack_top: P,
    /// How it came in: 0 preloaded, 1 attached.
    pub origin: u32,
    /// Thread id of the thread that is at work in the loader (a control thread, or one of the application's in dlopen), 0 for none. As the
    /// process itself counts, like `thread`.
    pub control_tid: u32,
    /// Pid of the command that uses the block, taken and given back by the command. While it is set, nothing is applied at dlopen.
    pub owner: u32,
    /// Thread id of the control thread: set by the kernel before it runs, cleared by the kernel at its very end. While it is set, its stack is
    /// in use, whatever became of the command that made it.
    pub thread: u32,
    /// 1 when keys were given with [`Op::SetTrust`].
    pub trusted: u32,
    /// The signal that the process's operator has set aside for [`Gate`], 0 for none.
    pub signal: u32,
    /// avma of the [`Gate`], 0 for none.
    pub gate: u64,
    /// When the command that `owner` names began, in clock ticks after boot (`starttime` in proc_pid_stat(5)): a pid alone may be given again.
    pub owner_began: u64,
    /// How many libraries have begun without the store's bundles, because somebody else was at work in the loader.
    pub passed_over: u32,
    pub reserved: u32,
}

/// Places in a [`Gate`], the first of which is for control threads.
pub const GATE_SLOTS: usize = 4096;
/// Bytes of its mapping.
pub const GATE_SIZE: u64 = (size_of::<Gate>() as u64).next_multiple_of(4096);

/// Where threads stand still that were asked to by a signal, and where the command sees that they do. Shared memory while it is in use.
#[derive(Debug)]
#[repr(C)]
pub struct Gate {
    /// A robust lock that the command holds while threads stand: the lower 30 bits are its thread, 0 when it let go or has died, as the kernel sees to
    /// (robust futexes: `Documentation/locking/robust-futexes.rst`).
    pub lock: [u64; 8],
    /// Counts the stops. Threads of an earlier one go on.
    pub round: u32,
    pub reserved: [u32; 15],
    pub slots: [Slot; GATE_SLOTS],
}

/// One thread's place.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Slot {
    /// [`SLOT_ASKED`] by the command, [`SLOT_TAKEN`], [`SLOT_PARKED`] and [`SLOT_LEFT`] by the thread.
    pub state: u32,
    /// Whom it is for, as the process itself counts, and in which round.
    pub tid: u32,
    pub round: u32,
    pub reserved: u32,
    /// The system call that the thread was in before the signal (`/proc/PID/task/TID/syscall`).
    pub call: Call,
    /// The thread's registers, in the order of `gregset_t` (sys/ucontext.h): r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, flags.
    pub regs: [u64; 18],
}

/// A system call in which a thread sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Call {
    /// All ones for none.
    pub number: u64,
    pub arguments: [u64; 6],
    pub sp: u64,
    pub pc: u64,
}

pub const SLOT_ASKED: u32 = 1;
pub const SLOT_TAKEN: u32 = 2;
pub const SLOT_PARKED: u32 = 3;
pub const SLOT_LEFT: u32 = 4;

/// The value that goes with the signal (sigqueue(3)): which place, in which round.
#[must_use]
pub const fn gate_value(round: u32, index: u32) -> u64 {
    (round as u64) << 32 | index as u64
}

/// One bundle in the target.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Record {
    pub next: u64,
    /// [`RecordState`].
    pub state: u32,
    /// 0 live, 1 start.
    pub scope: u32,
    pub id: [u8; 128],
    pub id_len: u32,
    pub unit_count: u32,
    pub bundle_sha256: [u8; 32],
    /// [`Unit`]s: one for each module instance.
    pub units: u64,
    /// [`Write`]s: detours and edits, in ascending address order.
    pub writes: u64,
    pub write_count: u32,
    pub func_count: u32,
    /// [`Func`]s, replaced, edited and idle functions of all units.
    pub funcs: u64,
    /// [`Range`]s of old code that must not be active when the record is applied, ascending.
    pub old_ranges: u64,
    pub old_range_count: u32,
    pub old_site_count: u32,
    /// u64 return addresses inside them, ascending.
    pub old_sites: u64,
    /// The same for the code that the record brought: must not be active when it is unmapped.
    pub new_ranges: u64,
    pub new_range_count: u32,
    pub new_site_count: u32,
    pub new_sites: u64,
    /// CLOCK_BOOTTIME nanoseconds when it went live, set by the command.
    pub live_since: u64,
    /// Sequence number of the bundle, 0 for none.
    pub sequence: u64,
    /// Ids that the bundle supersedes, each with a NUL behind it.
    pub supersedes: u64,
    pub supersedes_len: u64,
    /// The record that takes this one's place, or has taken it; 0 for none. While that one is `Writing`, both are half-way, and going back
    /// makes this one live, going on the other one.
    pub superseded_by: u64,
    /// [`Move`]s, in the order in which they are done.
    pub moves: u64,
    pub move_count: u32,
    /// 1 where a module of the bundle moves threads to other stacks by itself.
    pub switches_stacks: u32,
    pub reserved: [u64; 2],
}

/// One module instance of a record.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Unit {
    /// Load bias: avma = svma + bias.
    pub bias: u64,
    /// The module's extent when the record was prepared, avma.
    pub lo: u64,
    pub hi: u64,
    /// The payload's mapping.
    pub map: u64,
    pub map_len: u64,
    pub build_id: [u8; 32],
    pub build_id_len: u32,
    pub name_len: u32,
    pub name: u64,
    /// `.eh_frame` of the payload, 0 for none.
    pub eh_frame: u64,
    pub text: u64,
    pub text_len: u64,
    /// SHA-256 of the mapped text after relocation, for `hpatch verify`.
    pub text_sha256: [u8; 32],
    /// A copy of the payload's file that says where its sections lie, for debuggers and profilers; 0 for none.
    pub symfile: u64,
    pub symfile_len: u64,
    /// Thread-local variables that it brought: their distance from each thread's pointer (two's complement), bytes, and the avma of what they
    /// begin with, 0 where all threads have that already.
    pub thread_at: u64,
    pub thread_len: u64,
    pub thread_image: u64,
    pub reserved: [u64; 2],
    /// [`Keep`]s: the variables that it brought, ascending by key.
    pub keeps: u64,
    pub keep_count: u64,
}

/// One change of the old image's bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Write {
    pub addr: u64,
    pub len: u32,
    /// Index in the record's [`Func`]s, `u32::MAX` for an edit of data.
    pub func: u32,
    /// Address of the bytes before (as they were in memory when the record was prepared) and after.
    pub old: u64,
    pub new: u64,
}

/// Bytes of a variable that are copied while every thread stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Move {
    pub from: u64,
    pub to: u64,
    pub len: u32,
    /// 1: copied before the writes, and the other way when the record is reverted. 0: copied behind the writes, and stays.
    /// [`MOVE_ALONG`] as the command has it.
    pub both_ways: u32,
}

/// [`Move::both_ways`]: a variable of a record that gives way; copied before the writes, and stays. No record has it: see [`Keep::from`].
pub const MOVE_ALONG: u32 = 2;

/// A variable that a record brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Keep {
    /// Which one it is, and what its bytes mean: equal in bundles that have the same.
    pub key: [u8; 16],
    pub shape: [u8; 16],
    pub addr: u64,
    /// Where the same variable is in a record that gives way to this one: its value is copied from there at the switch. 0 where it begins anew.
    pub from: u64,
    pub name: u64,
    pub name_len: u32,
    pub len: u32,
    /// Whether its value may go to the next record.
    pub goes_along: u32,
    pub reserved: u32,
}

/// One function that is replaced, edited in place, or idle in the stop.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Func {
    pub entry: u64,
    /// `entry` for a function that stays where it is.
    pub replacement: u64,
    pub replacement_len: u64,
    pub name: u64,
    pub name_len: u32,
    pub flags: u32,
    pub unit: u32,
    pub reserved: u32,
}

impl Unit {
    /// Whether the avma is a return site of its text: behind a call.
    #[must_use]
    pub fn is_called_from(&self, site: u64) -> bool {
        self.text < site && site - self.text <= self.text_len
    }
}

impl Func {
    /// A detour leads to other code.
    #[must_use]
    pub fn replaced(&self) -> bool {
        self.replacement != self.entry
    }
    /// Its own bytes change.
    #[must_use]
    pub fn edited(&self) -> bool {
        !self.replaced() && !self.idle()
    }
    /// Nothing of it changes; it only mustn't be active in the stop.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.flags & patchfmt::payload::FUNC_IDLE != 0
    }
}

/// A half-open address range that belongs to a function.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Range {
    pub start: u64,
    pub end: u64,
    /// Index in the record's [`Func`]s, `u32::MAX` for none.
    pub func: u32,
    pub reserved: u32,
}

/// `Op::Prepare` flag: use only keys given with [`Op::SetTrust`].
pub const PREPARE_NO_TRUST_DIR: u64 = 1;
/// `Op::Prepare` flag: the bundle takes the place of every live one, whatever it says that it supersedes.
pub const PREPARE_REPLACE: u64 = 2;
