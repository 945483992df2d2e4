//! One command's hold on one process: the lock, the owner field, the clean-up of what a killed command left.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use hpatch_core::abi::{LoaderState, Op, RecordState};
use serde_json::{Map, Value, json};

use super::args::Switching;
use super::kin::{self, Fork};
use crate::error::{Error, Exit, Result, code};
use crate::fault::recovering;
use crate::interrupt;
use crate::recovery;
use crate::shown;
use crate::switch::{self, Direction, Options};
use crate::target::Target;
use crate::target::compose;
use crate::target::control::{Control, Owner, Patch};
use crate::trace::patience::Patience;
use crate::trace::rpc::{self, RpcOptions};

/// How long a thread at work in the loader is waited for.
const LOADER_PATIENCE: Duration = Duration::from_secs(5);

/// An opened target with its loader. Dropping it gives the loader back.
#[derive(Debug)]
pub struct Session {
    pub target: Target,
    pub control: Control,
    /// What a killed command had left half-way in it, and in its forks.
    recovered: Vec<Recovered>,
    forks: Vec<Fork>,
    /// Libraries that had been passed over before it began.
    passed_over: u32,
    _lock: Option<UnixListener>,
}

impl Session {
    /// Takes the loader of a process, and first takes back what a killed command left half-way, in its forks as well.
    pub fn open(pid: i32, switching: &Switching) -> Result<Self> {
        let mut s = Self::open_unrecovered(pid)?;
        s.recovered = s.recover(switching.options())?;
        if !s.recovered.is_empty() {
            shown::say(&format!("note: left half-way by a killed command: {}\n", describe(&s.recovered)));
            s.forks = kin::recover(&s, switching.options());
            kin::tell(&s.forks);
        }
        s.release_unused(RpcOptions { allow_seccomp: switching.allow_seccomp })?;
        Ok(s)
    }

    /// Gives back the memory of bundles that a killed command prepared and never switched, and of those whose modules were unloaded.
    fn release_unused(&self, options: RpcOptions) -> Result<()> {
        for p in self.records()? {
            let unloaded = p.is(RecordState::Live) && p.is_unloaded();
            if unloaded {
                let reverted = RecordState::Reverted as u32;
                self.target.mem.write_u32(p.state_addr(), reverted).map_err(|_| self.target.vanished())?;
            }
            if !unloaded && !p.is(RecordState::Prepared) {
                continue;
            }
            // A leftover is only some kilobytes: not being able to remove it is no reason to refuse the command.
            let _ = rpc::call(&self.target, &self.control, Op::Release, &[p.addr], options);
        }
        Ok(())
    }

    pub fn open_unrecovered(pid: i32) -> Result<Self> {
        let target = Target::open(pid)?;
        let control = Control::require(&target)?;
        let lock = lock(&target)?;
        if control.state(&target)? == LoaderState::Blocked as u32 {
            let mut e = Error::new(
                code::LOADER_BLOCKED,
                Exit::Blocked,
                format!("the loader in process {pid} is blocked after an internal error"),
            );
            let detail = control.detail(&target)?;
            if !detail.is_empty() {
                e = e.note(detail);
            }
            return Err(e.help("the process goes on as it is; restart it to patch it again"));
        }
        let owner = control.owner(&target)?;
        let me = Owner::me()?;
        if owner != me && owner.is_at_work() {
            return Err(owned(pid, owner));
        }
        let passed_over = control.passed_over(&target)?;
        control.set_owner(&target, me)?;
        let session = Self { target, control, recovered: Vec::new(), forks: Vec::new(), passed_over, _lock: lock };
        session.wait_for_loader()?;
        Ok(session)
    }

    /// A thread may be at work in the loader: one of the application's, because a library is being loaded just now, or the control thread of a
    /// command that was killed or gave up. The owner is set: no other begins.
    fn wait_for_loader(&self) -> Result<()> {
        let (target, control) = (&self.target, &self.control);
        let mut patience = Patience::new(LOADER_PATIENCE);
        loop {
            let own = control.thread(target)?;
            let busy = control.state(target)? == LoaderState::Busy as u32;
            let other = if busy { control.control_tid(target)? } else { 0 };
            let at_work = [own, other].into_iter().try_fold(None, |found, tid| match found {
                None => Ok::<_, Error>(target.has_thread(tid)?.then_some(tid)),
                found => Ok(found),
            })?;
            let Some(tid) = at_work else {
                // Whoever was at work is gone, for instance because this is the child of a fork: nobody will say that it is done.
                if own != 0 && control.thread(target)? == own {
                    control.forget_thread(target)?;
                }
                if busy && control.control_tid(target)? == other {
                    return control.set_state(target, LoaderState::Idle);
                }
                if !busy {
                    return Ok(());
                }
                continue;
            };
            if patience.is_over() {
                return Err(Error::new(
                    code::LOADER_BUSY,
                    Exit::Busy,
                    format!("thread {tid} of process {} is at work in its loader", target.pid),
                )
                .note("it loads a library and patches it, or ends what an earlier command began"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Where the process has ended or replaced its program meanwhile, whatever else failed is a consequence of that.
    pub fn unless_it_left<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| if self.target.has_memory() { e } else { self.target.vanished() })
    }

    /// [`half_way_json`] of this session.
    pub fn half_way_json(&self) -> Map<String, Value> {
        half_way_json(&self.recovered, &self.forks)
    }

    pub fn records(&self) -> Result<Vec<Patch>> {
        self.control.records(&self.target)
    }

    /// Takes back what a killed command left half-way, or brings it to its end.
    pub fn recover(&self, options: Options) -> Result<Vec<Recovered>> {
        let mut done: Vec<Recovered> = Vec::new();
        let records = self.records()?;
        // Records that give way to a new one go with it, so they have no turn of their own.
        let leader = |p: &Patch| records.iter().any(|l| l.addr == p.record.superseded_by && kin::half_way(l));
        let mut waiting: Vec<&Patch> = records.iter().rev().filter(|p| kin::half_way(p) && !leader(p)).collect();
        while let Some(&first) = waiting.first() {
            // One bundle's copies are reverted together.
            let same = |p: &&Patch| {
                let reverted = p.is(RecordState::Reverting) && first.is(RecordState::Reverting);
                p.addr == first.addr || reverted && p.record.bundle_sha256 == first.record.bundle_sha256
            };
            let (turn, others): (Vec<&Patch>, Vec<&Patch>) = waiting.iter().copied().partition(same);
            let Some(all) = compose::together(turn.into_iter().cloned().collect()) else { break };
            let going: Vec<Patch> =
                records.iter().rev().filter(|g| g.record.superseded_by == first.addr).cloned().collect();
            let all = compose::in_place_of(all, &going, RecordState::Reverted);
            let all = compose::with_replacements(all, &records);
            let left = |e| self.left(&first.id, e);
            let recovery = recovery::decide(&self.target, &all).map_err(left)?;
            recovering(true);
            interrupt::deaf(true);
            let recovered = switch::run(&self.target, &all, Direction::Recover(recovery), options);
            interrupt::deaf(false);
            recovering(false);
            recovered.map_err(left)?;
            done.push(Recovered { id: first.id.clone(), live: recovery.to_new(), ended: recovery.onward });
            waiting = others;
        }
        // After the switch, or instead of it, nobody waits for anybody's place.
        for p in records.iter().filter(|p| p.record.superseded_by != 0) {
            self.target.mem.write_u64(p.superseded_by_addr(), 0).map_err(|_| self.target.vanished())?;
        }
        Ok(done)
    }

    /// Why `id` isn't recovered: whatever the reason, the process isn't as it was before.
    fn left(&self, id: &str, e: Error) -> Error {
        if !self.target.is_alive() {
            return self.target.vanished();
        }
        let pid = self.target.pid;
        Error { exit: Exit::HalfWay, ..e }
            .note(format!("{id} is still half-way in process {pid}, as a killed command left it"))
    }
}

/// What became of a half-way bundle.
#[derive(Debug, Clone)]
pub struct Recovered {
    pub id: String,
    pub live: bool,
    /// The command's work was brought to its end, not taken back.
    pub ended: bool,
}

/// For `--json`: what was half-way before the command began.
pub fn half_way_json(recovered: &[Recovered], forks: &[Fork]) -> Map<String, Value> {
    let one = |r: &Recovered| json!({ "id": r.id, "live": r.live });
    let of_fork = |f: &Fork| match &f.outcome {
        Ok(done) => json!({ "pid": f.pid, "was_half_way": done.iter().map(one).collect::<Vec<_>>() }),
        Err(e) => json!({ "pid": f.pid, "code": e.code.to_string(), "error": e.title }),
    };
    Map::from_iter([
        ("was_half_way".to_owned(), recovered.iter().map(one).collect()),
        ("forks".to_owned(), forks.iter().map(of_fork).collect()),
    ])
}

/// `took back fix-1, fix-2 is live`.
pub fn describe(all: &[Recovered]) -> String {
    let one = |r: &Recovered| if r.live { format!("{} is live", r.id) } else { format!("took back {}", r.id) };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.control.set_owner(&self.target, Owner::default());
        let now = self.control.passed_over(&self.target).unwrap_or(self.passed_over);
        let (n, pid) = (now.wrapping_sub(self.passed_over) as usize, self.target.pid);
        if n > 0 {
            let libraries = if n == 1 { "y was" } else { "ies were" };
            shown::say(&format!(
                "note: {n} librar{libraries} loaded meanwhile without the store's bundles: `hpatch apply --pending --pid {pid}`\n"
            ));
        }
    }
}

fn owned(pid: i32, owner: Owner) -> Error {
    let which = if owner.pid == 0 { String::new() } else { format!(" (pid {})", owner.pid) };
    Error::new(code::LOADER_BUSY, Exit::Busy, format!("another command{which} works on process {pid}"))
}

/// A lock that dies with this process: an abstract socket (unix(7)) named after the target. `None` when somebody has it who may do nothing to the
/// target, and so keeps nobody from it; commands that may still see each other by the owner field.
fn lock(target: &Target) -> Result<Option<UnixListener>> {
    const TRIES: u32 = 20;
    let failed = |e: io::Error| Error::io("cannot lock the target", &e);
    let name = format!("hpatch/{}/{}", target.pid, target.start_time);
    let address = SocketAddr::from_abstract_name(&name).map_err(failed)?;
    for _ in 0..TRIES {
        match UnixListener::bind_addr(&address) {
            Ok(lock) => return Ok(Some(lock)),
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(failed(e)),
        }
        let counts = |uid: u32| {
            // SAFETY: no memory is involved.
            let own = unsafe { libc::geteuid() };
            let of_target = || fs::metadata(format!("/proc/{}", target.pid)).is_ok_and(|m| m.uid() == uid);
            uid == 0 || uid == own || of_target()
        };
        match holder(&name) {
            Ok(uid) if counts(uid) => {
                let control = Control::find(target).ok().flatten();
                let owner = control.and_then(|c| c.owner(target).ok()).unwrap_or_default();
                return Err(owned(target.pid, owner));
            }
            Ok(_) => return Ok(None),
            // It has gone, or hasn't begun to listen.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    Ok(None)
}

/// The user who listens at an abstract socket.
fn holder(name: &str) -> io::Result<u32> {
    let checked = |r: libc::c_int| if r < 0 { Err(io::Error::last_os_error()) } else { Ok(r) };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: an all-zero address and credentials are valid; the name is shorter than `sun_path`; the descriptor is new and owned here; lengths are
    // those of what the pointers lead to.
    unsafe {
        let socket = OwnedFd::from_raw_fd(checked(libc::socket(libc::AF_UNIX, kind, 0))?);
        let mut addr: libc::sockaddr_un = std::mem::zeroed();
        addr.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (dst, src) in addr.sun_path[1..].iter_mut().zip(name.bytes()) {
            *dst = src as libc::c_char;
        }
        let len = (size_of::<libc::sa_family_t>() + 1 + name.len()) as libc::socklen_t;
        checked(libc::connect(socket.as_raw_fd(), (&raw const addr).cast(), len))?;
        let mut who: libc::ucred = std::mem::zeroed();
        let mut size = size_of::<libc::ucred>() as libc::socklen_t;
        let place = (&raw mut who).cast();
        checked(libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, place, &raw mut size))?;
        Ok(who.uid)
    }
}
