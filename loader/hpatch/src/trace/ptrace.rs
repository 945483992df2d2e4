//! Thin wrappers over ptrace(2) and waitpid(2). Every tracee was seized, never attached.

use std::io;
use std::ptr;

pub use libc::user_regs_struct as Regs;

/// `PTRACE_EVENT_STOP` (include/uapi/linux/ptrace.h).
pub const EVENT_STOP: i32 = 128;
pub const OPTIONS: i32 = libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_TRACESYSGOOD;
/// `PTRACE_O_SUSPEND_SECCOMP` (include/uapi/linux/ptrace.h).
pub const SUSPEND_SECCOMP: i32 = 1 << 21;
const NT_PRSTATUS: usize = 1;
const NT_X86_XSTATE: usize = 0x202;

fn request(op: libc::c_uint, tid: i32, addr: usize, data: usize) -> io::Result<libc::c_long> {
    // SAFETY: callers pass as `addr` and `data` what ptrace(2) asks for `op`: numbers, or pointers valid for the call.
    let r = unsafe { libc::ptrace(op as _, tid, addr, data) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(r) }
}

/// EPERM is said of a thread, too, that is just ending because another one replaces the program: who has its id then can be traced. A filter may
/// refuse with other numbers: they become that one.
pub fn seize(tid: i32, options: i32) -> io::Result<()> {
    let refused = |e: io::Error| match errno(&e) {
        libc::EACCES | libc::ENOSYS => io::Error::from_raw_os_error(libc::EPERM),
        _ => e,
    };
    let once = || request(libc::PTRACE_SEIZE as _, tid, 0, options as usize).map(drop).map_err(refused);
    match once() {
        Err(e) if errno(&e) == libc::EPERM => once(),
        other => other,
    }
}

pub fn interrupt(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT as _, tid, 0, 0).map(drop)
}

/// Lets a stopped thread run; `signal` is delivered to it when not 0.
pub fn cont(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_CONT as _, tid, 0, signal as usize).map(drop)
}

/// Like [`cont`], up to the next entry into or exit from a system call.
pub fn cont_to_syscall(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL as _, tid, 0, signal as usize).map(drop)
}

pub fn detach(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH as _, tid, 0, signal as usize).map(drop)
}

pub fn event_message(tid: i32) -> io::Result<u64> {
    let mut v: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG as _, tid, 0, (&raw mut v) as usize)?;
    Ok(v)
}

pub fn set_options(tid: i32, options: i32) -> io::Result<()> {
    request(libc::PTRACE_SETOPTIONS as _, tid, 0, options as usize).map(drop)
}

pub fn get_regs(tid: i32, regs: &mut Regs) -> io::Result<()> {
    let mut iov = libc::iovec { iov_base: ptr::from_mut(regs).cast(), iov_len: size_of::<Regs>() };
    request(libc::PTRACE_GETREGSET as _, tid, NT_PRSTATUS, (&raw mut iov) as usize)?;
    // A shorter set is that of a 32-bit task, whose system calls this program doesn't know.
    if iov.iov_len == size_of::<Regs>() { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

pub fn set_regs(tid: i32, regs: &Regs) -> io::Result<()> {
    let mut iov = libc::iovec { iov_base: ptr::from_ref(regs).cast_mut().cast(), iov_len: size_of::<Regs>() };
    request(libc::PTRACE_SETREGSET as _, tid, NT_PRSTATUS, (&raw mut iov) as usize).map(drop)
}

/// The floating point and vector registers as `xsave` lays them out, uncompacted (NT_X86_XSTATE).
pub fn get_xstate(tid: i32) -> io::Result<Vec<u8>> {
    // AVX-512 and AMX together take 11 KiB.
    let mut area = vec![0u8; 24 * 1024];
    let mut iov = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
    request(libc::PTRACE_GETREGSET as _, tid, NT_X86_XSTATE, (&raw mut iov) as usize)?;
    area.truncate(iov.iov_len);
    Ok(area)
}

pub fn get_sigmask(tid: i32) -> io::Result<u64> {
    let mut mask = 0u64;
    request(libc::PTRACE_GETSIGMASK as _, tid, 8, (&raw mut mask) as usize)?;
    Ok(mask)
}

pub fn set_sigmask(tid: i32, mask: u64) -> io::Result<()> {
    request(libc::PTRACE_SETSIGMASK as _, tid, 8, (&raw const mask) as usize).map(drop)
}

/// The `si_code` of the signal that stopped a thread.
pub fn signal_code(tid: i32) -> io::Result<i32> {
    // SAFETY: an all-zero siginfo is a valid one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETSIGINFO as _, tid, 0, (&raw mut info) as usize)?;
    Ok(info.si_code)
}

/// `struct ptrace_rseq_configuration` (include/uapi/linux/ptrace.h, Linux 5.13).
#[repr(C)]
#[derive(Default)]
struct RseqConfiguration {
    pointer: u64,
    size: u32,
    signature: u32,
    flags: u32,
    pad: u32,
}

/// Address of the thread's registered `struct rseq`, 0 for none; an error on kernels that can't say.
pub fn rseq_area(tid: i32) -> io::Result<u64> {
    let mut c = RseqConfiguration::default();
    request(libc::PTRACE_GET_RSEQ_CONFIGURATION as _, tid, size_of::<RseqConfiguration>(), (&raw mut c) as usize)?;
    Ok(c.pointer)
}

/// Whether the program takes the thread's system calls itself (PR_SET_SYSCALL_USER_DISPATCH); no where the kernel doesn't say.
pub fn dispatches(tid: i32) -> bool {
    /// `PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG` (include/uapi/linux/ptrace.h, Linux 6.4).
    const CONFIG: u32 = 0x4211;
    // struct ptrace_sud_config: mode, selector, offset, len.
    let mut config = [0u64; 4];
    let known = request(CONFIG as _, tid, size_of_val(&config), (&raw mut config) as usize).is_ok();
    known && config[0] != 0
}

/// What [`wait`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Stopped: `event` is 0 for the delivery of `signal`, else a `PTRACE_EVENT_*`; `syscall` for an entry or exit stop.
    Stopped {
        event: i32,
        signal: i32,
        syscall: bool,
    },
    Exited,
    Signaled(i32),
}

/// Waits for whichever tracee of this thread comes first; `None` when `flags` has `WNOHANG` and nothing happened, or when a signal came.
pub fn wait_any(flags: i32) -> io::Result<Option<(i32, Status)>> {
    let mut st = 0;
    // SAFETY: `st` is a valid place for the status.
    let r = unsafe { libc::waitpid(-1, &mut st, libc::__WALL | libc::__WNOTHREAD | flags) };
    Ok(waited(r)?.then(|| (r, status(st))))
}

/// Waits for one tracee of this thread; `None` when `flags` has `WNOHANG` and nothing happened, or when a signal came.
pub fn wait(tid: i32, flags: i32) -> io::Result<Option<Status>> {
    let mut st = 0;
    // SAFETY: `st` is a valid place for the status.
    let r = unsafe { libc::waitpid(tid, &mut st, libc::__WALL | libc::__WNOTHREAD | flags) };
    Ok(waited(r)?.then(|| status(st)))
}

/// Whether `waitpid` gave a status.
fn waited(r: libc::pid_t) -> io::Result<bool> {
    if r < 0 {
        let e = io::Error::last_os_error();
        return if e.raw_os_error() == Some(libc::EINTR) { Ok(false) } else { Err(e) };
    }
    Ok(r > 0)
}

fn status(st: i32) -> Status {
    if libc::WIFSTOPPED(st) {
        let raw = libc::WSTOPSIG(st);
        Status::Stopped { event: st >> 16, signal: raw & 0x7f, syscall: raw & 0x80 != 0 }
    } else if libc::WIFSIGNALED(st) {
        Status::Signaled(libc::WTERMSIG(st))
    } else {
        Status::Exited
    }
}

pub fn errno(e: &io::Error) -> i32 {
    e.raw_os_error().unwrap_or(0)
}

pub fn gettid() -> i32 {
    // SAFETY: no memory is involved.
    unsafe { libc::gettid() }
}
