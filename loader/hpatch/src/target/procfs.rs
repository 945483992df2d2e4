//! What `/proc` says about tasks (proc(5)).

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use hpatch_core::abi::Call;

/// `PF_IO_WORKER` (include/linux/sched.h): an io_uring worker, which never runs user code.
const PF_IO_WORKER: u32 = 0x10;
/// `PF_USER_WORKER`: the same since Linux 6.4, also for vhost and the io_uring submission thread.
const PF_USER_WORKER: u32 = 0x4000;

/// Fields of `/proc/PID/task/TID/stat`.
#[derive(Debug, Clone)]
pub struct TaskStat {
    pub comm: String,
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X`.
    pub state: u8,
    pub flags: u32,
    /// Clock ticks after boot.
    pub start_time: u64,
}

impl TaskStat {
    /// A kernel thread that shares the address space but never runs user code.
    pub fn is_kernel_worker(&self) -> bool {
        self.flags & (PF_IO_WORKER | PF_USER_WORKER) != 0
    }

    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

pub fn task_stat(pid: i32, tid: i32) -> io::Result<TaskStat> {
    parse_stat(&fs::read(format!("/proc/{pid}/task/{tid}/stat"))?)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn parse_stat(raw: &[u8]) -> Option<TaskStat> {
    // The name may itself hold spaces and parentheses: its end is the last one.
    let open = raw.iter().position(|&b| b == b'(')?;
    let close = raw.iter().rposition(|&b| b == b')')?;
    let comm = String::from_utf8_lossy(raw.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(raw.get(close + 2..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(TaskStat {
        comm,
        state: *fields.first()?.as_bytes().first()?,
        flags: fields.get(6)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// Processor time that a task has used.
pub fn cpu_time(pid: i32, tid: i32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"))?;
    let nanos = text.split_ascii_whitespace().next().and_then(|v| v.parse().ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The scheduler's clock when a task last ran, in nanoseconds (`se.exec_start` of `/proc/PID/task/TID/sched`, kernels with CONFIG_SCHED_DEBUG).
fn last_ran(path: &str) -> Option<u64> {
    let text = text(path).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("se.exec_start"))?;
    let (millis, rest) = line.rsplit(':').next()?.trim().split_once('.')?;
    Some(millis.parse::<u64>().ok()? * 1_000_000 + rest.parse::<u64>().ok()?)
}

/// How long a task hasn't run.
pub fn asleep(pid: i32, tid: i32) -> Option<Duration> {
    let then = last_ran(&format!("/proc/{pid}/task/{tid}/sched"))?;
    // This thread runs now.
    Some(Duration::from_nanos(last_ran("/proc/thread-self/sched")?.saturating_sub(then)))
}

/// The id of a thread in its own pid namespace.
pub fn inner_tid(pid: i32, tid: i32) -> io::Result<i32> {
    let text = text(format!("/proc/{pid}/task/{tid}/status"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("NSpid:"));
    // Kernels without pid namespaces have no such line.
    Ok(line.and_then(|v| v.split_ascii_whitespace().last()?.parse().ok()).unwrap_or(tid))
}

/// The child of a process whose pid, as it counts itself, is `inner`.
pub fn child_of(pid: i32, inner: i32) -> Option<i32> {
    let all = fs::read_dir("/proc").ok()?.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    all.filter(|&c| parent(c).is_ok_and(|p| p == pid)).find(|&c| inner_tid(c, c).is_ok_and(|i| i == inner))
}

/// What a file with a thread's name in it says: that is no text, if the thread likes.
pub fn text(path: impl AsRef<Path>) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// The parent's pid.
pub fn parent(pid: i32) -> io::Result<i32> {
    let text = text(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("PPid:"));
    line.and_then(|v| v.trim().parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Fields of `/proc/PID/task/TID/status`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskStatus {
    pub tgid: i32,
    /// Thread id of the tracer, 0 for none.
    pub tracer: i32,
    pub threads: u32,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
}

pub fn task_status(pid: i32, tid: i32) -> io::Result<TaskStatus> {
    let text = text(format!("/proc/{pid}/task/{tid}/status"))?;
    let mut s = TaskStatus::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let number = || value.split_ascii_whitespace().next().and_then(|v| v.parse().ok());
        match key {
            "Tgid" => s.tgid = number().unwrap_or(0),
            "TracerPid" => s.tracer = number().unwrap_or(0),
            "Threads" => s.threads = number().unwrap_or(0) as u32,
            "Seccomp" => s.seccomp = number().unwrap_or(0) as u32,
            _ => {}
        }
    }
    Ok(s)
}

/// Where a task sits in the kernel: `/proc/PID/task/TID/syscall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// On a processor or waiting for one.
    Running,
    /// `nr` is -1 when it isn't in a system call (a page fault, for instance).
    At { nr: i64, sp: u64, pc: u64 },
}

pub fn blocked_at(pid: i32, tid: i32) -> io::Result<Blocked> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"))?;
    parse_syscall(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn parse_syscall(text: &str) -> Option<Blocked> {
    let text = text.trim_end();
    if text == "running" {
        return Some(Blocked::Running);
    }
    let fields: Vec<&str> = text.split(' ').collect();
    let hex = |s: &str| u64::from_str_radix(s.trim_start_matches("0x"), 16).ok();
    let nr = fields.first()?.parse().ok()?;
    let (sp, pc) = match fields.len() {
        3 => (hex(fields[1])?, hex(fields[2])?),
        9 => (hex(fields[7])?, hex(fields[8])?),
        _ => return None,
    };
    Some(Blocked::At { nr, sp, pc })
}

/// What a task does about signals, and who traces it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignalSets {
    pub blocked: u64,
    pub caught: u64,
    pub tracer: i32,
}

pub fn signal_sets(pid: i32, tid: i32) -> io::Result<SignalSets> {
    let text = text(format!("/proc/{pid}/task/{tid}/status"))?;
    let mut s = SignalSets::default();
    for (key, value) in text.lines().filter_map(|l| l.split_once(':')) {
        let set = || u64::from_str_radix(value.trim(), 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        match key {
            "SigBlk" => s.blocked = set()?,
            "SigCgt" => s.caught = set()?,
            "TracerPid" => s.tracer = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    Ok(s)
}

/// The call that a task sleeps in; `None` when it is in none, or on a processor.
pub fn call_of(pid: i32, tid: i32) -> io::Result<Option<Call>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"))?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let hex = |s: &str| u64::from_str_radix(s.trim_start_matches("0x"), 16).ok();
    let call = || {
        let words: Option<Vec<u64>> = fields.get(1..9)?.iter().map(|s| hex(s)).collect();
        let words = words?;
        let arguments = words.first_chunk::<6>().copied()?;
        Some(Call { number: fields[0].parse().ok()?, arguments, sp: words[6], pc: words[7] })
    };
    match fields.len() {
        9 => call().map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        _ => Ok(None),
    }
}

/// Whether a task sleeps in a call that moves bytes and ends early, with a smaller count and for good, when it is interrupted half-way.
pub fn is_transferring(pid: i32, tid: i32) -> bool {
    let all = |flags: u64| flags & libc::MSG_WAITALL as u64 != 0;
    call_of(pid, tid).ok().flatten().is_some_and(|c| match c.number as i64 {
        libc::SYS_write
        | libc::SYS_writev
        | libc::SYS_pwrite64
        | libc::SYS_pwritev
        | libc::SYS_pwritev2
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_sendmmsg
        | libc::SYS_recvmmsg
        | libc::SYS_sendfile
        | libc::SYS_splice
        | libc::SYS_tee
        | libc::SYS_vmsplice
        | libc::SYS_copy_file_range => true,
        libc::SYS_recvfrom => all(c.arguments[3]),
        libc::SYS_recvmsg => all(c.arguments[2]),
        _ => false,
    })
}

/// `vfork`, `clone`, `clone3`: a task in uninterruptible sleep there waits for a child that runs in its address space.
pub fn is_vfork_like(nr: i64) -> bool {
    matches!(nr, libc::SYS_vfork | libc::SYS_clone | libc::SYS_clone3)
}

/// Whether a task is held by a freezer of cgroups: it can be traced, and runs nothing.
pub fn is_frozen(pid: i32, tid: i32) -> bool {
    // Version 1; version 2, by itself or as part of its only caller. A stop's state is another.
    let holds = |place: String| matches!(place.as_str(), "__refrigerator" | "do_freezer_trap" | "get_signal");
    fs::read_to_string(format!("/proc/{pid}/task/{tid}/wchan")).is_ok_and(holds)
        && task_stat(pid, tid).is_ok_and(|s| matches!(s.state, b'S' | b'D'))
}

/// Another process in the same memory as a task: one that was made by `clone` with `CLONE_VM` and isn't a thread, as `vfork`'s child is for a
/// while. `None` also where the kernel doesn't tell.
pub fn sharer(pid: i32, tid: i32) -> Option<i32> {
    let all = fs::read_dir("/proc").ok()?.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    all.filter(|&other| other != pid).find(|&other| share_memory(tid, other))
}

pub fn share_memory(one: i32, other: i32) -> bool {
    /// `KCMP_VM` (include/uapi/linux/kcmp.h).
    const KCMP_VM: i32 = 1;
    // SAFETY: no memory is involved.
    one != other && unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) } == 0
}

/// Whether a task of an open `/proc/PID/task` is a kernel thread (see [`TaskStat::is_kernel_worker`]); no when it has ended. Allocates nothing.
pub fn is_kernel_worker(dir: &OwnedFd, tid: i32) -> bool {
    let mut path = [0u8; 24];
    let Ok(()) = write!(&mut path[..23], "{tid}/stat") else { return false };
    let mut buf = [0u8; 512];
    // SAFETY: `path` ends with a zero byte; the kernel writes at most `buf.len()` bytes to `buf`; the descriptor is closed once.
    let n = unsafe {
        let fd = libc::openat(dir.as_raw_fd(), path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return false;
        }
        let n = libc::read(fd, buf.as_mut_ptr().cast(), buf.len());
        libc::close(fd);
        n
    };
    let text = buf.get(..usize::try_from(n).unwrap_or(0)).unwrap_or_default();
    let Some(close) = text.iter().rposition(|&b| b == b')') else { return false };
    // After the name: a space, then state, ppid, pgrp, session, tty, tpgid, flags.
    let flags = text[close + 1..].split(|&b| b == b' ').nth(7).and_then(|f| std::str::from_utf8(f).ok()?.parse().ok());
    flags.is_some_and(|f: u32| f & (PF_IO_WORKER | PF_USER_WORKER) != 0)
}

/// Lists the tasks of an open `/proc/PID/task` into `out` without opening a file and, if `out` has room, without allocating.
pub fn list_tasks(dir: &OwnedFd, out: &mut Vec<i32>) -> io::Result<()> {
    out.clear();
    let fd = dir.as_raw_fd();
    // SAFETY: no memory is involved.
    if unsafe { libc::lseek(fd, 0, libc::SEEK_SET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut buf = [0u8; 32 * 1024];
    loop {
        // SAFETY: the kernel writes at most `buf.len()` bytes to `buf`.
        let n = unsafe { libc::syscall(libc::SYS_getdents64, fd, buf.as_mut_ptr(), buf.len()) };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        if n == 0 {
            return Ok(());
        }
        let mut rest = &buf[..n as usize];
        // struct linux_dirent64: u64 ino, i64 off, u16 reclen, u8 type, name (getdents64(2)).
        while rest.len() >= 19 {
            let len = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
            let Some(entry) = rest.get(..len).filter(|_| len >= 19) else { break };
            let name = &entry[19..];
            let name = &name[..name.iter().position(|&b| b == 0).unwrap_or(name.len())];
            if let Some(tid) = std::str::from_utf8(name).ok().and_then(|s| s.parse().ok()) {
                out.push(tid);
            }
            rest = &rest[len..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_parentheses_in_the_name() {
        let s = parse_stat(b"7 (a) b (c) S 1 7 7 0 -1 4194368 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2").unwrap();
        assert_eq!((s.comm.as_str(), s.state, s.start_time), ("a) b (c", b'S', 9876));
        assert!(!s.is_kernel_worker());
        assert!(parse_stat(b"7 (x").is_none());
    }

    #[test]
    fn this_thread_is_no_worker() {
        let dir: OwnedFd = fs::File::open("/proc/self/task").unwrap().into();
        let mut tasks = Vec::new();
        list_tasks(&dir, &mut tasks).unwrap();
        assert!(!tasks.is_empty() && tasks.iter().all(|t| !is_kernel_worker(&dir, *t)));
        assert!(!is_kernel_worker(&dir, i32::MAX));
    }

    #[test]
    fn syscall_file() {
        assert_eq!(parse_syscall("running\n"), Some(Blocked::Running));
        assert_eq!(parse_syscall("-1 0x7ffe 0x40\n"), Some(Blocked::At { nr: -1, sp: 0x7ffe, pc: 0x40 }));
        assert_eq!(
            parse_syscall("0 0x3 0x1 0x2 0x0 0x0 0x0 0x7fff 0x1234\n"),
            Some(Blocked::At { nr: 0, sp: 0x7fff, pc: 0x1234 })
        );
        assert_eq!(parse_syscall("garbage"), None);
    }
}
