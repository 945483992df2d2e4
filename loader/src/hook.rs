//! A library that is loaded while the program runs is patched before its code runs.
//!
//! The C start-up files (`crti.o`) call `__gmon_start__`, where somebody defines it, from each module's `DT_INIT`: after the module was
//! relocated, before its constructors. The loader defines it. The first call comes while the process starts, before the constructors of
//! the libraries that the program needs, which the dynamic linker runs before the loader's own: that is when the store is applied.
//!
//! When a library is loaded later, the dynamic linker holds its lock then, the module isn't in anybody's hands yet,
//! and no thread can rightly be in its functions: so they are written as those of the program are before `main`. Whose turn it was is
//! taken down: a bundle that may only be applied where no code of its module has run wants to know.

use core::arch::{global_asm, naked_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use hpatch_core::image::Image;
use patchfmt::metadata::Scope;

use crate::process::{Maps, OwnMemory};
use crate::{control, entry, guard, records, store, sys};

/// Executable file mappings that were there at the start; modules among them have had their turn.
const MAX_KNOWN: usize = 512;

struct Known {
    ranges: UnsafeCell<[(u64, u64); MAX_KNOWN]>,
    /// How many; written last.
    count: AtomicU32,
}
// SAFETY: the ranges are written once, by the constructor, before `count` says that they are there.
unsafe impl Sync for Known {}
static KNOWN: Known = Known { ranges: UnsafeCell::new([(0, 0); MAX_KNOWN]), count: AtomicU32::new(0) };

/// Modules that have begun since, unloaded ones among them.
const MAX_BEGUN: usize = 256;

#[derive(Clone, Copy)]
struct Turn {
    bias: u64,
    build_id: [u8; 32],
    /// Digest of the bundle of scope `start` that it began with; zeros for none.
    with: [u8; 32],
}

struct Begun {
    turns: UnsafeCell<[Turn; MAX_BEGUN]>,
    /// How many there were; more than there is room for where some weren't taken down.
    count: AtomicU32,
}
// SAFETY: only used by who holds the control thread's stack; the count alone also by others.
unsafe impl Sync for Begun {}
static BEGUN: Begun = Begun {
    turns: UnsafeCell::new([Turn { bias: 0, build_id: [0; 32], with: [0; 32] }; MAX_BEGUN]),
    count: AtomicU32::new(0),
};

// extern "C" fn hpatch_on_stack(f: extern "C" fn(u64), arg: u64, top: *const u8): calls `f(arg)` on another stack.
global_asm!(
    r#"
    .section .text.hpatch_hook, "ax", @progbits
    .globl hpatch_on_stack
    .hidden hpatch_on_stack
    .type hpatch_on_stack, @function
    hpatch_on_stack:
        push rbp
        mov rbp, rsp
        mov rax, rdi
        mov rdi, rsi
        mov rsp, rdx
        call rax
        mov rsp, rbp
        pop rbp
        ret
    .size hpatch_on_stack, . - hpatch_on_stack
    .text
    "#
);

unsafe extern "C" {
    fn hpatch_on_stack(f: extern "C" fn(u64), arg: u64, top: *const u8);
}

/// Interposed. On to [`module`] with the arguments of the caller's `DT_INIT`, which still are in their registers (`crti.o` changes none),
/// and with the return address, which says whose start-up code calls.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub extern "C" fn __gmon_start__() {
    naked_asm!("mov rcx, [rsp]", "jmp {module}", module = sym module)
}

/// avma of the function that start-up code calls.
pub fn address() -> u64 {
    (__gmon_start__ as extern "C" fn() as *const ()).addr() as u64
}

/// From now on modules that aren't mapped yet are looked at when they start.
pub fn arm() {
    let Ok(maps) = Maps::read() else { return };
    let code = maps.iter().filter(|m| m.inode != 0 && m.access[2] == b'x');
    let mut count = 0;
    for (n, m) in code.take(MAX_KNOWN).enumerate() {
        // SAFETY: nobody reads before `count` is set.
        unsafe { (*KNOWN.ranges.get())[n] = (m.start, m.end) };
        count = n as u32 + 1;
    }
    KNOWN.count.store(count, Ordering::Release);
}

fn is_known(addr: u64) -> bool {
    let count = KNOWN.count.load(Ordering::Acquire) as usize;
    // SAFETY: written before `count`, never again.
    let ranges = unsafe { &*KNOWN.ranges.get() };
    // Not armed: no store, or not at the end of the constructor yet.
    count == 0 || ranges.iter().take(count).any(|r| (r.0..r.1).contains(&addr))
}

impl Turn {
    fn of(image: &Image) -> Turn {
        let mut build_id = [0; 32];
        build_id.iter_mut().zip(image.build_id()).for_each(|(to, from)| *to = *from);
        Turn { bias: image.bias, build_id, with: [0; 32] }
    }
}

/// Takes down that the module has begun.
fn note(image: Option<&Image>) {
    let n = BEGUN.count.load(Ordering::Relaxed) as usize;
    match image.filter(|_| n < MAX_BEGUN) {
        Some(image) => {
            let mut turn = Turn::of(image);
            let mut live = records::live().filter(|e| e.get().scope == Scope::Start as u32);
            if let Some(entry) = live.find(|e| e.units().iter().any(|u| u.bias == image.bias)) {
                turn.with = entry.get().bundle_sha256;
            }
            // SAFETY: the caller holds the control thread's stack.
            unsafe { (*BEGUN.turns.get())[n] = turn };
            BEGUN.count.store(n as u32 + 1, Ordering::Relaxed);
        }
        None => missed(),
    }
}

/// From now on nobody can tell what has begun.
fn missed() {
    BEGUN.count.store(u32::MAX, Ordering::Relaxed);
}

/// The turns that were taken down; `None` when some are missing. The caller holds the control thread's stack.
fn turns() -> Option<&'static [Turn]> {
    let count = BEGUN.count.load(Ordering::Relaxed) as usize;
    // SAFETY: as many were written, by holders of that stack.
    unsafe { &*BEGUN.turns.get() }.get(..count)
}

/// Whether code of a module may have run: it was there at the start, or has begun since.
pub fn has_begun(image: &Image) -> bool {
    let (lo, hi) = image.extent();
    let count = KNOWN.count.load(Ordering::Acquire) as usize;
    // SAFETY: written before `count`, never again.
    let known = unsafe { &*KNOWN.ranges.get() };
    let turn = Turn::of(image);
    known.iter().take(count).any(|r| lo <= r.0 && r.1 <= hi)
        || turns().is_none_or(|all| all.iter().any(|t| t.bias == turn.bias && t.build_id == turn.build_id))
}

/// Whether the same build may have begun before without the bundle of this digest, at whatever address: it may have left something behind.
pub fn came_before(image: &Image, digest: &[u8; 32]) -> bool {
    let build_id = Turn::of(image).build_id;
    turns().is_none_or(|all| all.iter().any(|t| t.build_id == build_id && t.with != *digest))
}

extern "C" fn module(argc: usize, argv: *const *const u8, envp: *const *const u8, caller: u64) {
    if entry::begin(argc, argv, envp) || is_known(caller) {
        return;
    }
    let Some(mask) = sys::block_signals() else { return };
    // A command at work has other records in its hands: then the module waits for `hpatch apply --pending`.
    if control::enter() {
        let top = control::stack_top();
        // SAFETY: whoever has entered owns the control thread's stack.
        unsafe { hpatch_on_stack(on_stack, caller, top) };
        control::leave();
    } else {
        missed();
        control::pass_over();
    }
    sys::set_signals(mask);
}

extern "C" fn on_stack(caller: u64) {
    let mut caller = caller;
    guard::run(run, (&raw mut caller).cast());
}

extern "C" fn run(caller: *mut u8) {
    // SAFETY: `on_stack` passes its own variable.
    let inside = unsafe { *caller.cast::<u64>() };
    let image = OwnMemory::open().zip(Maps::read().ok()).and_then(|(mem, maps)| maps.holding(&mem, inside));
    if let Some(image) = &image {
        store::apply_to_module(inside, image.build_id());
    }
    note(image.as_ref());
}
