//! Raw system calls (`syscall(2)`, x86-64: number in rax, arguments in rdi, rsi, rdx, r10, r8, r9; rcx and r11 are lost).

use core::arch::asm;
use core::ffi::CStr;
use core::fmt;

/// A kernel error number (`errno(3)`), positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub u32);

impl Errno {
    pub const EEXIST: Errno = Errno(17);
}

/// A limit of the process is named: whoever reads it can raise that.
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ENOMEM: u32 = 12;
        const EMFILE: u32 = 24;
        write!(f, "error {}", self.0)?;
        f.write_str(match self.0 {
            ENOMEM => " (no memory: RLIMIT_AS, RLIMIT_DATA, vm.max_map_count)",
            EMFILE => " (the process may open no more files: RLIMIT_NOFILE, see prlimit(1))",
            _ => "",
        })
    }
}

pub type Result<T> = core::result::Result<T, Errno>;

pub const PROT_READ: u64 = 1;
pub const PROT_WRITE: u64 = 2;
pub const PROT_EXEC: u64 = 4;
pub const MAP_SHARED: u64 = 0x01;
pub const MAP_PRIVATE: u64 = 0x02;
pub const MAP_FIXED: u64 = 0x10;
pub const MAP_ANONYMOUS: u64 = 0x20;
pub const MAP_NORESERVE: u64 = 0x4000;
pub const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;

const AT_FDCWD: u64 = -100i64 as u64;
const O_CLOEXEC: u64 = 0o2_000_000;
const O_NOFOLLOW: u64 = 0o400_000;
const O_DIRECTORY: u64 = 0o200_000;
const O_NONBLOCK: u64 = 0o4000;

mod nr {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const CLOSE: u64 = 3;
    pub const FSTAT: u64 = 5;
    pub const MMAP: u64 = 9;
    pub const MPROTECT: u64 = 10;
    pub const MUNMAP: u64 = 11;
    pub const RT_SIGACTION: u64 = 13;
    pub const RT_SIGPROCMASK: u64 = 14;
    pub const PREAD64: u64 = 17;
    pub const PWRITE64: u64 = 18;
    pub const NANOSLEEP: u64 = 35;
    pub const EXIT: u64 = 60;
    pub const WAIT4: u64 = 61;
    pub const FCNTL: u64 = 72;
    pub const FTRUNCATE: u64 = 77;
    pub const GETEUID: u64 = 107;
    pub const RT_SIGPENDING: u64 = 127;
    pub const PRCTL: u64 = 157;
    pub const GETTID: u64 = 186;
    pub const FUTEX: u64 = 202;
    pub const GETDENTS64: u64 = 217;
    pub const CLOCK_GETTIME: u64 = 228;
    pub const OPENAT: u64 = 257;
    pub const PROCESS_VM_READV: u64 = 310;
    pub const MEMFD_CREATE: u64 = 319;
    pub const MEMBARRIER: u64 = 324;
}

/// # Safety
/// What the call does to this process's memory must be sound: the arguments are the kernel's to follow.
unsafe fn call(nr: u64, a: [u64; 6]) -> Result<u64> {
    let ret: i64;
    // SAFETY: the clobbers are those of the syscall instruction; the rest is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") nr => ret, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4],
             in("r9") a[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    if (-4095..0).contains(&ret) { Err(Errno(ret.unsigned_abs() as u32)) } else { Ok(ret as u64) }
}

/// An open file, closed when it goes out of scope.
#[derive(Debug)]
pub struct Fd(u64);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: the descriptor is owned.
        let _ = unsafe { call(nr::CLOSE, [self.0, 0, 0, 0, 0, 0]) };
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Read a file that may be a symbolic link (`/proc`).
    Read,
    /// Read a regular file: no link at its last step, no wait on a FIFO.
    ReadNoFollow,
    Directory,
    /// Read and write, `/proc/self/mem`.
    Write,
}

pub fn open(path: &CStr, how: Open) -> Result<Fd> {
    open_at(AT_FDCWD, path, how)
}

/// `dir` is a directory's descriptor, or `AT_FDCWD` through [`open`].
pub fn open_in(dir: &Fd, name: &CStr, how: Open) -> Result<Fd> {
    open_at(dir.0, name, how)
}

fn open_at(dir: u64, path: &CStr, how: Open) -> Result<Fd> {
    let flags = O_CLOEXEC
        | match how {
            Open::Read => 0,
            Open::ReadNoFollow => O_NOFOLLOW | O_NONBLOCK,
            Open::Directory => O_DIRECTORY,
            Open::Write => 2,
        };
    // SAFETY: `path` ends with a NUL and outlives the call.
    unsafe { call(nr::OPENAT, [dir, path.as_ptr() as u64, flags, 0, 0, 0]) }.map(Fd)
}

pub fn read(fd: &Fd, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes inside `buf`.
    unsafe { call(nr::READ, [fd.0, buf.as_mut_ptr() as u64, buf.len() as u64, 0, 0, 0]) }.map(|n| n as usize)
}

/// Reads until `buf` is full or the file ends.
pub fn read_full(fd: &Fd, buf: &mut [u8]) -> Result<usize> {
    const EINTR: Errno = Errno(4);
    let mut done = 0;
    while done < buf.len() {
        match read(fd, &mut buf[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(EINTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Reads at file offset `offset`; how much.
pub fn pread(fd: &Fd, buf: &mut [u8], offset: u64) -> Result<usize> {
    // SAFETY: the kernel writes inside `buf`.
    unsafe { call(nr::PREAD64, [fd.0, buf.as_mut_ptr() as u64, buf.len() as u64, offset, 0, 0]) }.map(|n| n as usize)
}

/// Copies memory of this process from avma `addr`, without a fault when it isn't there; how much.
pub fn read_memory(pid: u32, addr: u64, buf: &mut [u8]) -> Result<usize> {
    let local = [buf.as_mut_ptr() as u64, buf.len() as u64];
    let remote = [addr, buf.len() as u64];
    // SAFETY: both are a struct iovec; the kernel writes inside `buf`.
    unsafe { call(nr::PROCESS_VM_READV, [pid.into(), local.as_ptr() as u64, 1, remote.as_ptr() as u64, 1, 0]) }
        .map(|n| n as usize)
}

/// Entries of a directory as `getdents64(2)` lays them out.
pub fn getdents(fd: &Fd, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes inside `buf`.
    unsafe { call(nr::GETDENTS64, [fd.0, buf.as_mut_ptr() as u64, buf.len() as u64, 0, 0, 0]) }.map(|n| n as usize)
}

pub fn write_stderr(bytes: &[u8]) {
    // SAFETY: the kernel reads inside `bytes`.
    let _ = unsafe { call(nr::WRITE, [2, bytes.as_ptr() as u64, bytes.len() as u64, 0, 0, 0]) };
}

/// What the loader asks `fstat(2)` for.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    pub mode: u32,
    pub uid: u32,
    pub links: u64,
    /// Bytes.
    pub size: u64,
}

impl Stat {
    /// Nobody but root and this process's user can change it.
    pub fn is_safe(&self) -> bool {
        self.mode & 0o022 == 0 && (self.uid == 0 || self.uid == geteuid())
    }

    pub fn is_regular(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

pub fn stat(fd: &Fd) -> Result<Stat> {
    // struct stat, x86-64: st_nlink at 16, st_mode at 24, st_uid at 28, st_size at 48, 144 bytes in all.
    let mut buf = [0u64; 18];
    // SAFETY: the kernel writes 144 bytes.
    unsafe { call(nr::FSTAT, [fd.0, buf.as_mut_ptr() as u64, 0, 0, 0, 0]) }?;
    Ok(Stat { links: buf[2], mode: buf[3] as u32, uid: (buf[3] >> 32) as u32, size: buf[6] })
}

/// # Safety
/// With `MAP_FIXED` the range must belong to the caller: what was mapped there is gone.
pub unsafe fn mmap(addr: u64, len: u64, prot: u64, flags: u64, fd: Option<&Fd>, offset: u64) -> Result<u64> {
    let fd = fd.map_or(u64::MAX, |f| f.0);
    // SAFETY: the caller's promise.
    unsafe { call(nr::MMAP, [addr, len, prot, flags, fd, offset]) }
}

/// # Safety
/// The range must belong to the caller and nothing may rely on the access it loses.
pub unsafe fn mprotect(addr: u64, len: u64, prot: u64) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { call(nr::MPROTECT, [addr, len, prot, 0, 0, 0]) }.map(drop)
}

/// # Safety
/// The range must belong to the caller, with no reference into it left.
pub unsafe fn munmap(addr: u64, len: u64) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { call(nr::MUNMAP, [addr, len, 0, 0, 0, 0]) }.map(drop)
}

/// # Safety
/// Through `/proc/self/mem` this changes memory of the process behind the compiler's back.
pub unsafe fn pwrite(fd: &Fd, bytes: &[u8], offset: u64) -> Result<usize> {
    // SAFETY: the kernel reads inside `bytes`; what it writes is the caller's promise.
    unsafe { call(nr::PWRITE64, [fd.0, bytes.as_ptr() as u64, bytes.len() as u64, offset, 0, 0]) }.map(|n| n as usize)
}

pub fn memfd(name: &CStr) -> Result<Fd> {
    const MFD_CLOEXEC: u64 = 1;
    const MFD_ALLOW_SEALING: u64 = 2;
    const MFD_EXEC: u64 = 0x10;
    let make = |flags| {
        // SAFETY: `name` ends with a NUL and outlives the call.
        unsafe { call(nr::MEMFD_CREATE, [name.as_ptr() as u64, flags, 0, 0, 0, 0]) }.map(Fd)
    };
    // Kernels before 6.3 don't know MFD_EXEC; where `vm.memfd_noexec` is 2 it is refused.
    make(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC).or_else(|_| make(MFD_CLOEXEC | MFD_ALLOW_SEALING))
}

pub fn set_size(fd: &Fd, len: u64) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call(nr::FTRUNCATE, [fd.0, len, 0, 0, 0, 0]) }.map(drop)
}

impl Fd {
    pub fn number(&self) -> u64 {
        self.0
    }
}

/// Nobody changes the file any more, not even through `/proc/PID/map_files`.
pub fn seal(fd: &Fd) -> Result<()> {
    const F_ADD_SEALS: u64 = 1033;
    const SEAL_SHRINK_GROW_WRITE_SEAL: u64 = 15;
    // SAFETY: no memory is passed.
    unsafe { call(nr::FCNTL, [fd.0, F_ADD_SEALS, SEAL_SHRINK_GROW_WRITE_SEAL, 0, 0, 0]) }.map(drop)
}

/// Registers the process for [`membarrier_sync_core`]: in one with several threads the kernel waits for an RCU grace period, once.
pub fn membarrier_register() {
    const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: u64 = 1 << 6;
    // SAFETY: membarrier changes no memory.
    let _ = unsafe { call(nr::MEMBARRIER, [REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0, 0, 0, 0]) };
}

/// `membarrier(2)`, private expedited, with the serialising instruction that cross-modified code needs.
pub fn membarrier_sync_core() -> Result<()> {
    const PRIVATE_EXPEDITED_SYNC_CORE: u64 = 1 << 5;
    // SAFETY: membarrier changes no memory.
    unsafe { call(nr::MEMBARRIER, [PRIVATE_EXPEDITED_SYNC_CORE, 0, 0, 0, 0, 0]) }.map(drop)
}

const SIG_SETMASK: u64 = 2;

/// Every signal but those that the processor raises: ILL, TRAP, BUS, FPE, SEGV, SYS.
pub const ALL_BUT_SYNCHRONOUS: u64 = !(1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 30);

/// Blocks every signal but those that the processor raises; gives the mask before.
pub fn block_signals() -> Option<u64> {
    let mask = ALL_BUT_SYNCHRONOUS;
    let mut before = 0u64;
    let (new, old) = (&raw const mask as u64, &raw mut before as u64);
    // SAFETY: the kernel reads and writes 8 bytes each.
    unsafe { call(nr::RT_SIGPROCMASK, [SIG_SETMASK, new, old, 8, 0, 0]) }.ok()?;
    Some(before)
}

pub fn set_signals(mask: u64) {
    // SAFETY: the kernel reads 8 bytes.
    let _ = unsafe { call(nr::RT_SIGPROCMASK, [SIG_SETMASK, &raw const mask as u64, 0, 8, 0, 0]) };
}

/// `struct sigaction` as the kernel has it (arch/x86/include/uapi/asm/signal.h).
/// Handler, flags, restorer, mask.
#[derive(Debug, Clone, Copy, Default)]
#[repr(transparent)]
pub struct Action(pub [u64; 4]);

impl Action {
    pub fn handler(&self) -> u64 {
        self.0[0]
    }

    pub fn flags(&self) -> u64 {
        self.0[1]
    }
}

pub fn action(signal: u32) -> Result<Action> {
    let mut old = Action::default();
    // SAFETY: the kernel writes 32 bytes.
    unsafe { call(nr::RT_SIGACTION, [signal.into(), 0, &raw mut old as u64, 8, 0, 0]) }?;
    Ok(old)
}

/// # Safety
/// Handler and restorer must be what the kernel expects: the process runs them.
pub unsafe fn set_action(signal: u32, new: &Action) -> Result<()> {
    // SAFETY: the kernel reads 32 bytes; the rest is the caller's promise.
    unsafe { call(nr::RT_SIGACTION, [signal.into(), &raw const *new as u64, 0, 8, 0, 0]) }.map(drop)
}

/// Signals that wait for this thread to unblock them.
pub fn pending_signals() -> u64 {
    let mut set = 0u64;
    // SAFETY: the kernel writes 8 bytes.
    let _ = unsafe { call(nr::RT_SIGPENDING, [&raw mut set as u64, 8, 0, 0, 0, 0]) };
    set
}

/// Sleeps while `*word`, which other processes share, is `value`: for `ms` milliseconds at most.
pub fn futex_wait(word: &core::sync::atomic::AtomicU32, value: u32, ms: u64) {
    let t = [ms / 1000, ms % 1000 * 1_000_000];
    // SAFETY: FUTEX_WAIT (0) reads the word and a struct timespec.
    let _ = unsafe { call(nr::FUTEX, [word.as_ptr() as u64, 0, value.into(), t.as_ptr() as u64, 0, 0]) };
}

pub fn futex_wake_all(word: &core::sync::atomic::AtomicU32) {
    // SAFETY: FUTEX_WAKE (1) changes no memory.
    let _ = unsafe { call(nr::FUTEX, [word.as_ptr() as u64, 1, i32::MAX as u64, 0, 0, 0]) };
}

/// Where Yama restricts tracers, `pid` may be one (`PR_SET_PTRACER`); elsewhere this does nothing.
pub fn allow_tracer(pid: u64) {
    const PR_SET_PTRACER: u64 = 0x5961_6d61;
    // SAFETY: no memory is passed.
    let _ = unsafe { call(nr::PRCTL, [PR_SET_PTRACER, pid, 0, 0, 0, 0]) };
}

/// Reaps a child if it has ended, also one whose end raises no signal. False when it hasn't.
pub fn reap(pid: u64) -> bool {
    const WNOHANG: u64 = 1;
    const ALL_KINDS: u64 = 0x4000_0000;
    // SAFETY: no memory is passed.
    unsafe { call(nr::WAIT4, [pid, 0, WNOHANG | ALL_KINDS, 0, 0, 0]) != Ok(0) }
}

pub fn geteuid() -> u32 {
    // SAFETY: no arguments, no memory.
    unsafe { call(nr::GETEUID, [0; 6]) }.unwrap_or(u64::MAX) as u32
}

pub fn sleep_ms(ms: u64) {
    let t = [ms / 1000, ms % 1000 * 1_000_000];
    // SAFETY: the kernel reads a struct timespec.
    let _ = unsafe { call(nr::NANOSLEEP, [t.as_ptr() as u64, 0, 0, 0, 0, 0]) };
}

pub fn gettid() -> u32 {
    // SAFETY: no arguments, no memory.
    unsafe { call(nr::GETTID, [0; 6]) }.unwrap_or(0) as u32
}

/// CLOCK_BOOTTIME in nanoseconds.
pub fn boottime() -> u64 {
    const CLOCK_BOOTTIME: u64 = 7;
    let mut t = [0u64; 2];
    // SAFETY: the kernel writes a struct timespec, 16 bytes.
    let _ = unsafe { call(nr::CLOCK_GETTIME, [CLOCK_BOOTTIME, t.as_mut_ptr() as u64, 0, 0, 0, 0]) };
    t[0].saturating_mul(1_000_000_000).saturating_add(t[1])
}

/// Sets `*flag` to 1, `*state` from `from` to `to`, and ends this thread, without touching its stack in between: whoever sees either may
/// reuse it.
///
/// # Safety
/// Both must be valid, and the thread must be one that nobody joins.
pub unsafe fn finish_thread(flag: *mut u32, state: *mut u32, [from, to]: [u32; 2]) -> ! {
    // SAFETY: exit(2) ends only the calling thread; x86-64 stores are not reordered with older stores.
    unsafe {
        asm!(
            "mov dword ptr [{f}], 1", "lock cmpxchg dword ptr [{s}], {t:e}", "mov eax, {exit}", "syscall", "ud2",
            f = in(reg) flag, s = in(reg) state, t = in(reg) to, exit = const nr::EXIT, in("eax") from, in("rdi") 0,
            options(noreturn)
        )
    }
}
