//! Whether a program may have stacks that no thread is on: it imports a function that moves a thread to another one, or has one of its own.
//!
//! The C library's contexts are the usual case, and there is a sign of them: `makecontext` lays the address of a piece of the library's code
//! at the top of every stack that it prepares, for the stack's first function to return to. Where that word lies nowhere in memory, no such
//! stack has been prepared and not ended, whatever the program could do (libcrypto can, and hardly ever does).

use std::mem::zeroed;

use super::forbidden::Sites;
use super::own;
use crate::target::Target;
use crate::target::control::{LIBRARY, Patch};
use crate::target::elf;
use crate::target::maps;
use crate::target::mem::Mem;
use crate::target::modules::{self, Module};
use crate::target::procfs;

/// The C library's functions for contexts. Names are compared by their ends, because linkers store one that is the end of another only once.
const CONTEXTS: &[&[u8]] = &[b"swapcontext\0", b"makecontext\0", b"setcontext\0"];
/// Other libraries' functions for the same purpose.
const OTHERS: &[&[u8]] = &[
    b"jump_fcontext\0",
    b"make_fcontext\0",
    b"ontop_fcontext\0",
    b"coro_transfer\0",
    b"co_switch\0",
    b"_st_md_cxt_restore\0",
    b"PyInit__greenlet\0",
];

/// The loader goes to a stack of its own and comes back, with no application's frame on that; libffi goes to a piece of the stack that its
/// function's caller made room in; libunwind goes on in a caller's frame.
const SAME: &[&str] = &[LIBRARY, "memfd:libhpatch_loader", "libffi.so", "libunwind.so", "libunwind-"];

/// What stacks a program may have.
#[derive(Debug)]
pub enum Stacks {
    /// Its threads' own.
    Threads,
    /// Also those of contexts: each holds one of these words (avma) while it is in use.
    Contexts(Sites),
    /// Also others, which nothing tells from other memory.
    Others,
}

/// What `patchgen` found out of the code of the modules that a bundle patches.
#[derive(Debug, Default)]
pub struct Judged {
    /// One of them switches by itself, in code that nothing imports.
    switches: bool,
    /// Their extents, avma.
    modules: Vec<(u64, u64)>,
}

impl Judged {
    pub fn of(patch: &Patch) -> Self {
        let modules = patch.units.iter().map(|(u, _)| (u.lo, u.hi)).collect();
        Self { switches: patch.record.switches_stacks != 0, modules }
    }

    fn has(&self, m: &Module) -> bool {
        self.modules.iter().any(|own| (own.0..own.1).contains(&m.base))
    }
}

impl Stacks {
    pub fn of(target: &Target, judged: &Judged) -> Self {
        if judged.switches {
            return Self::Others;
        }
        let Ok(maps) = target.maps() else { return Self::Others };
        let modules = modules::loaded(&target.mem, &maps);
        // Code of a file that isn't understood may switch by whatever names.
        let known = |path: &str| modules.iter().any(|l| l.path == path);
        if maps.iter().any(|m| m.exec && m.inode != 0 && !m.path.starts_with("/memfd:") && !known(m.file_path())) {
            return Self::Others;
        }
        let mut contexts = false;
        let mut makers = Vec::new();
        for m in &modules {
            let Some(names) = elf::dynamic_names(&target.mem, m.base) else { return Self::Others };
            let has = |list: &[&[u8]]| list.iter().any(|name| contains(&names, name));
            if m.is_libc() {
                makers.push(m);
            } else if SAME.iter().any(|name| m.file_name().starts_with(name)) {
                // Nothing to be found in them.
            } else if has(OTHERS) || !judged.has(m) && own::switches(&target.mem, m, &maps) {
                return Self::Others;
            } else if has(CONTEXTS) {
                contexts = true;
                makers.push(m);
            }
        }
        if !contexts {
            return Self::Threads;
        }
        makers.retain(|m| elf::dynamic_symbol(&target.mem, m.base, "makecontext").is_some());
        // With a shadow stack, `makecontext` prepares stacks in another way.
        let status = procfs::text(format!("/proc/{}/status", target.pid));
        if status.map_or(true, |s| s.lines().any(|l| l.starts_with("x86_Thread_features:") && l.contains("shstk"))) {
            return Self::Others;
        }
        let starts = own_start().and_then(|own| makers.iter().map(|m| own.within(m)).collect::<Option<Vec<_>>>());
        match starts {
            Some(starts) if !starts.is_empty() => Self::Contexts(Sites::new(starts)),
            _ => Self::Others,
        }
    }
}

/// Where the C library of this program lets a context's first function return to.
struct Start {
    build_id: Vec<u8>,
    svma: u64,
}

impl Start {
    /// The same place in a module of another process, if it is the same library.
    fn within(&self, m: &Module) -> Option<u64> {
        (m.image.build_id() == self.build_id).then(|| m.image.bias.wrapping_add(self.svma))
    }
}

extern "C" fn nothing() {}

/// Prepares a context that is never entered, and looks at its stack.
fn own_start() -> Option<Start> {
    let mut stack = vec![0u64; 2048];
    let from = stack.as_mut_ptr();
    // SAFETY: a context is plain data; `stack` is large enough to prepare one on (it is never entered), and outlives it.
    let top = unsafe {
        let mut context: libc::ucontext_t = zeroed();
        if libc::getcontext(&mut context) != 0 {
            return None;
        }
        context.uc_stack.ss_sp = from.cast();
        context.uc_stack.ss_size = stack.len() * size_of::<u64>();
        context.uc_link = std::ptr::null_mut();
        libc::makecontext(&mut context, nothing, 0);
        context.uc_mcontext.gregs[libc::REG_RSP as usize] as u64
    };
    let index = usize::try_from(top.checked_sub(from as u64)? / 8).ok()?;
    let start = *stack.get(index)?;
    let (pid, text) = (std::process::id() as i32, std::fs::read("/proc/self/maps").ok()?);
    let maps = maps::parse(&String::from_utf8_lossy(&text));
    let modules = modules::loaded(&Mem::open(pid, pid).ok()?, &maps);
    let m = modules.iter().find(|m| m.contains(start) && !m.image.build_id().is_empty())?;
    let in_code = maps::find(&maps, start).is_some_and(|m| m.exec);
    in_code.then(|| Start { build_id: m.image.build_id().to_vec(), svma: start.wrapping_sub(m.image.bias) })
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_returns_into_the_c_library() {
        let start = own_start().expect("a context can be prepared");
        assert!(!start.build_id.is_empty() && start.svma != 0);
        // This program prepares one, so it could have others.
        let target = Target::open(std::process::id() as i32).expect("own process");
        assert!(matches!(Stacks::of(&target, &Judged::default()), Stacks::Contexts(words) if !words.is_empty()));
    }
}
