//! The process that is operated on.

pub mod compose;
pub mod control;
pub mod elf;
pub mod maps;
pub mod mem;
pub mod modules;
pub mod pages;
pub mod procfs;
pub mod source;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::error::{Error, Exit, Result, code};
use crate::trace::patience::Patience;
use maps::Mapping;
use mem::Mem;

/// An opened process: everything that needs a file is open, so that the stop needn't open one.
#[derive(Debug)]
pub struct Target {
    pub pid: i32,
    /// Clock ticks after boot; with the pid it names the process for ever.
    pub start_time: u64,
    pub comm: String,
    pub mem: Mem,
    pub task_dir: OwnedFd,
    pub maps_file: OwnedFd,
    /// A thread that isn't dead: the leader may be (a `main` that ended with `pthread_exit`).
    pub live_tid: i32,
    /// Threads that this command has woken.
    woken: RefCell<HashMap<i32, Woken>>,
}

#[derive(Debug, Clone, Copy)]
struct Woken {
    /// When it had run by itself.
    since: Instant,
    last: Instant,
}

impl Target {
    pub fn open(pid: i32) -> Result<Self> {
        let gone = || Error::new(code::NO_SUCH_PROCESS, Exit::Io, format!("no process with pid {pid}"));
        let leader = procfs::task_stat(pid, pid).map_err(|_| gone())?;
        let process = procfs::task_status(pid, pid).map_err(|_| gone())?.tgid;
        if process != pid {
            return Err(Error::new(
                code::NO_SUCH_PROCESS,
                Exit::Io,
                format!("{pid} is a thread of process {process}, not a process"),
            )
            .help(format!("say --pid {process}")));
        }
        let live_tid = live_task(pid, &leader).ok_or_else(gone)?;
        let access = |e: &io::Error| match e.kind() {
            io::ErrorKind::PermissionDenied => no_permission(pid),
            _ => Error::io(format!("cannot open the memory of process {pid}"), e),
        };
        let mem = Mem::open(pid, live_tid).map_err(|e| access(&e))?;
        let task_dir = File::open(format!("/proc/{pid}/task")).map_err(|e| access(&e))?.into();
        let maps_file = File::open(format!("/proc/{pid}/task/{live_tid}/maps")).map_err(|e| access(&e))?.into();
        Ok(Self {
            pid,
            start_time: leader.start_time,
            comm: leader.comm,
            mem,
            task_dir,
            maps_file,
            live_tid,
            woken: RefCell::default(),
        })
    }

    pub fn maps(&self) -> Result<Vec<Mapping>> {
        let path = format!("/proc/{}/task/{}/maps", self.pid, self.live_tid);
        let text = fs::read(&path).map_err(|e| Error::io(format!("cannot read {path}"), &e))?;
        Ok(maps::parse(&String::from_utf8_lossy(&text)))
    }

    pub fn tasks(&self) -> Result<Vec<i32>> {
        let mut v = Vec::new();
        procfs::list_tasks(&self.task_dir, &mut v)
            .map_err(|e| Error::io(format!("cannot list the threads of process {}", self.pid), &e))?;
        Ok(v)
    }

    /// Whether a thread of that id, as the process itself counts, is there and not dead.
    pub fn has_thread(&self, inner: u32) -> Result<bool> {
        let is = |&tid: &i32| {
            procfs::inner_tid(self.pid, tid).is_ok_and(|t| t == inner as i32)
                && procfs::task_stat(self.pid, tid).is_ok_and(|s| !s.is_dead())
        };
        Ok(inner != 0 && self.tasks()?.iter().any(is))
    }

    /// Notes how long a thread has slept that is about to be woken for a moment.
    pub fn wakes(&self, tid: i32) {
        let since = self.asleep(tid).and_then(|a| Instant::now().checked_sub(a));
        if let Some(since) = since {
            self.woken.borrow_mut().insert(tid, Woken { since, last: Instant::now() });
        }
    }

    /// How long a thread hasn't run, but for what this command made it do.
    pub fn asleep(&self, tid: i32) -> Option<Duration> {
        /// Longer than a thread needs to go back to where it was.
        const SLACK: Duration = Duration::from_millis(20);
        let asleep = procfs::asleep(self.pid, tid)?;
        let woken = self.woken.borrow().get(&tid).copied();
        Some(match woken.filter(|w| asleep + SLACK >= w.last.elapsed()) {
            Some(w) => w.since.elapsed(),
            None => asleep,
        })
    }

    pub fn comm_of(&self, tid: i32) -> String {
        procfs::task_stat(self.pid, tid).map_or_else(|_| "?".into(), |s| s.comm)
    }

    /// Whether an error of reading or writing memory says that there is none any more: the process is on its way out, though its threads may
    /// still be listed. An address that isn't mapped is another error.
    pub fn has_ended(&self, e: &io::Error) -> bool {
        matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero)
    }

    /// Whether the memory that was opened is in use still: not when the process has ended or has replaced its program (execve(2)).
    pub fn has_memory(&self) -> bool {
        !self.mem.read_u64(0).is_err_and(|e| self.has_ended(&e))
    }

    /// Whether it is still the same process.
    pub fn is_alive(&self) -> bool {
        self.has_memory()
            && procfs::task_stat(self.pid, self.pid).is_ok_and(|s| s.start_time == self.start_time)
            && self
                .tasks()
                .is_ok_and(|t| t.iter().any(|&tid| procfs::task_stat(self.pid, tid).is_ok_and(|s| !s.is_dead())))
    }

    /// Whether it comes to its end, or to another program, within some time: its threads are killed first, its memory goes later.
    pub fn leaves_within(&self, most: Duration) -> bool {
        let mut patience = Patience::new(most);
        while self.is_alive() {
            if patience.is_over() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    pub fn vanished(&self) -> Error {
        Error::new(code::TARGET_GONE, Exit::Io, format!("process {} ended or replaced its program", self.pid))
    }
}

fn live_task(pid: i32, leader: &procfs::TaskStat) -> Option<i32> {
    if !leader.is_dead() {
        return Some(pid);
    }
    let dir: OwnedFd = File::open(format!("/proc/{pid}/task")).ok()?.into();
    let mut tids = Vec::new();
    procfs::list_tasks(&dir, &mut tids).ok()?;
    tids.into_iter().find(|&t| procfs::task_stat(pid, t).is_ok_and(|s| !s.is_dead() && !s.is_kernel_worker()))
}

/// The refusal when the kernel doesn't let us trace.
pub fn no_permission(pid: i32) -> Error {
    let mut e = Error::new(code::PTRACE_DENIED, Exit::Refused, format!("not permitted to trace process {pid}"));
    if let Ok(v) = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") {
        e = e.note(format!("kernel.yama.ptrace_scope is {}", v.trim()));
    }
    e.help("run as the same user with the same capabilities, or with CAP_SYS_PTRACE")
}
