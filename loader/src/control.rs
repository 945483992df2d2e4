//! The control block and the control thread's main function.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::mem::size_of;
use core::sync::atomic::Ordering::SeqCst;
use core::sync::atomic::{AtomicU32, AtomicU64};

use hpatch_core::abi::{ABI, Control, LoaderState, MAGIC, Op, PREPARE_NO_TRUST_DIR, PREPARE_REPLACE};
use hpatch_core::report::Report;
use patchfmt::{Code, codes};

use crate::guard::Trail;
use crate::mem::Pages;
use crate::prepare::{self, Moment};
use crate::records::{self, Entry};
use crate::{gate, guard, helper, store, sys, trust};

/// The control thread's stack. Untouched pages of `.bss` cost nothing.
const STACK_SIZE: usize = hpatch_core::abi::STACK_SIZE as usize;

#[repr(C, align(4096))]
struct Stack(UnsafeCell<[u8; STACK_SIZE]>);
// SAFETY: only the control thread uses it, and the command runs one at a time.
unsafe impl Sync for Stack {}
static STACK: Stack = Stack(UnsafeCell::new([0; STACK_SIZE]));

/// The block, and the rule for its use: the command and the loader write it in turns, never together.
#[repr(transparent)]
pub struct Block(UnsafeCell<Control<*const u8>>);
// SAFETY: see the rule above; within the process only one control thread or the constructor is active.
unsafe impl Sync for Block {}

/// Found by name by the `hpatch` command. Beside it the library exports only what it stands in for: `_dl_find_object`, `__gmon_start__`.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name is the interface")]
pub static hpatch_control: Block = Block(UnsafeCell::new(Control {
    magic: MAGIC,
    abi: ABI,
    size: size_of::<Control>() as u32,
    state: LoaderState::Idle as u32,
    op: Op::None as u32,
    arg: [0; 6],
    done: 0,
    code: 0,
    value: [0; 4],
    detail_len: 0,
    record_count: 0,
    detail: [0; 512],
    first_record: 0,
    spawn: hpatch_spawn as *const u8,
    stack_top: (&raw const STACK).cast::<u8>().wrapping_add(STACK_SIZE),
    // The constructor says otherwise.
    origin: 1,
    control_tid: 0,
    owner: 0,
    thread: 0,
    trusted: 0,
    signal: 0,
    gate: 0,
    owner_began: 0,
    passed_over: 0,
    reserved: 0,
}));

// Runs in the new thread, where clone(2) returned 0, and in the hijacked one. That is taken back by the command right after the call;
// if the command was killed, the thread goes back by itself: rbx is the address of a signal frame with all that was saved.
global_asm!(
    r#"
    .section .text.hpatch_spawn, "ax", @progbits
    .globl hpatch_spawn
    .hidden hpatch_spawn
    .type hpatch_spawn, @function
    hpatch_spawn:
        .cfi_startproc
        .cfi_undefined rip
        syscall
        test eax, eax
        jnz 1f
        xor ebp, ebp
        and rsp, -16
        call {main}
        int3
    1:  mov rsp, rbx
        mov eax, 15
        syscall
        int3
        .cfi_endproc
    .size hpatch_spawn, . - hpatch_spawn
    .text
    "#,
    main = sym control_main
);

unsafe extern "C" {
    fn hpatch_spawn();
}

fn block() -> *mut Control<*const u8> {
    hpatch_control.0.get()
}

/// Runs `f` on the block. The borrow must not be nested.
pub fn with<R>(f: impl FnOnce(&mut Control<*const u8>) -> R) -> R {
    // SAFETY: one thread at a time, see `Block`; no caller nests.
    f(unsafe { &mut *block() })
}

/// The constructor runs: the dynamic linker has brought the library in.
pub fn set_preloaded() {
    with(|c| c.origin = 0);
}

fn state() -> &'static AtomicU32 {
    // SAFETY: the field is aligned and lives for ever; everyone who competes for it goes through here.
    unsafe { AtomicU32::from_ptr(&raw mut (*block()).state) }
}

/// Takes the loader for an application thread; false when the command or another thread has it.
pub fn enter() -> bool {
    let taken = state().compare_exchange(LoaderState::Idle as u32, LoaderState::Busy as u32, SeqCst, SeqCst).is_ok();
    if !taken {
        return false;
    }
    // SAFETY: aligned fields of the static block. The command sets `owner` and then looks at the state, this is the other way round: one of
    // the two gives way.
    let (owner, tid) = unsafe {
        let owner = AtomicU32::from_ptr(&raw mut (*block()).owner);
        (owner, AtomicU32::from_ptr(&raw mut (*block()).control_tid))
    };
    tid.store(sys::gettid(), SeqCst);
    if owner.load(SeqCst) != 0 {
        leave();
        return false;
    }
    true
}

/// Gives it back, unless it was blocked meanwhile.
pub fn leave() {
    with(|c| c.control_tid = 0);
    let _ = state().compare_exchange(LoaderState::Busy as u32, LoaderState::Idle as u32, SeqCst, SeqCst);
}

/// Says that a library begins without the store's bundles.
pub fn pass_over() {
    // SAFETY: an aligned field of the static block, which only its owner reads.
    unsafe { AtomicU32::from_ptr(&raw mut (*block()).passed_over) }.fetch_add(1, SeqCst);
}

pub fn stack_top() -> *const u8 {
    (&raw const STACK).cast::<u8>().wrapping_add(STACK_SIZE)
}

/// No further operation is accepted in this process.
pub fn block_loader() {
    with(|c| c.state = LoaderState::Blocked as u32);
}

/// Says that the loader met an internal error, and blocks it.
pub fn panicked(at: &Trail) {
    let mut report = Report::default();
    let code = report.refuse(codes::INTERNAL, format_args!("{at}"));
    block_loader();
    answer(Err(code), &report);
}

fn answer(result: Result<u64, Code>, report: &Report) {
    with(|c| match result {
        Ok(value) => c.value[0] = value,
        Err(code) => {
            let text = report.text().as_bytes();
            c.code = code.0.into();
            c.detail[..text.len()].copy_from_slice(text);
            c.detail_len = text.len() as u32;
        }
    });
}

/// Where the kernel keeps the control thread's id.
pub fn thread() -> &'static AtomicU32 {
    // SAFETY: the field is aligned and lives for ever; beside this the kernel alone writes it while the process runs.
    unsafe { AtomicU32::from_ptr(&raw mut (*block()).thread) }
}

/// Words through which the command and an operation under way say something to each other: `value[0]` and `arg[1]`.
pub fn mailbox() -> (&'static AtomicU64, &'static AtomicU64) {
    // SAFETY: aligned fields of the static block.
    unsafe { (AtomicU64::from_ptr(&raw mut (*block()).value[0]), AtomicU64::from_ptr(&raw mut (*block()).arg[1])) }
}

pub extern "C" fn control_main() -> ! {
    with(|c| {
        c.control_tid = sys::gettid();
        c.code = 0;
        c.detail_len = 0;
        c.value = [0; 4];
    });
    guard::run(operation, core::ptr::null_mut());
    with(|c| {
        c.op = Op::None as u32;
        c.control_tid = 0;
    });
    // SAFETY: the fields lie in the static block; nobody joins a control thread.
    unsafe {
        let state = [LoaderState::Busy as u32, LoaderState::Idle as u32];
        sys::finish_thread(&raw mut (*block()).done, &raw mut (*block()).state, state)
    }
}

extern "C" fn operation(_: *mut u8) {
    let (op, arg, state) = with(|c| (c.op, c.arg, c.state));
    let mut report = Report::default();
    if state == LoaderState::Blocked as u32 {
        let code = report.refuse(codes::LOADER_BLOCKED, format_args!("an earlier operation failed"));
        return answer(Err(code), &report);
    }
    with(|c| c.state = LoaderState::Busy as u32);
    let result = dispatch(op, arg, &mut report);
    answer(result, &report);
}

fn dispatch(op: u32, arg: [u64; 6], report: &mut Report) -> Result<u64, Code> {
    const ALLOC: u32 = Op::Alloc as u32;
    const PREPARE: u32 = Op::Prepare as u32;
    const COMMIT: u32 = Op::Commit as u32;
    const RELEASE: u32 = Op::Release as u32;
    const SET_TRUST: u32 = Op::SetTrust as u32;
    const PREPARE_PENDING: u32 = Op::PreparePending as u32;
    const GATE: u32 = Op::Gate as u32;
    const HELPER: u32 = Op::Helper as u32;
    match op {
        ALLOC if (1..=MAX_BUFFER).contains(&arg[0]) => match Pages::new(arg[0]) {
            Ok(pages) => Ok(lend(pages)),
            Err(e) => Err(report.refuse(codes::OUT_OF_MEMORY, format_args!("{}", e))),
        },
        PREPARE => {
            let buffer = adopt(arg, report)?;
            let keys = trust::keys(arg[2] & PREPARE_NO_TRUST_DIR == 0, report)?;
            let bytes = buffer.bytes().get(..arg[1] as usize).unwrap_or_default();
            let moment = Moment::Running { replace: arg[2] & PREPARE_REPLACE != 0 };
            // At that moment there is no "not for this process".
            prepare::prepare(bytes, &keys, moment, report)?.map(Entry::addr).ok_or(codes::INTERNAL)
        }
        COMMIT => records::find(arg[0], report).and_then(|e| records::commit(e, report)).map(|()| 0),
        RELEASE => records::find(arg[0], report).and_then(|e| records::release(e, report)).map(|()| 0),
        PREPARE_PENDING => {
            let (count, record) = store::prepare_pending(arg[0], report);
            with(|c| c.value[1] = count);
            record
        }
        SET_TRUST => {
            trust::give(adopt(arg, report)?, arg[1] as usize);
            with(|c| c.trusted = 1);
            Ok(0)
        }
        GATE => match gate::share(arg[0] != 0) {
            // The descriptor that it was is closed.
            Ok(()) => Ok(0),
            Err(e) => Err(report.refuse(codes::OUT_OF_MEMORY, format_args!("{}", e))),
        },
        HELPER if arg[0] == 0 => Ok(u64::from(!helper::end())),
        HELPER => match helper::begin(adopt(arg, report)?, arg[1] as usize, arg[2] as usize) {
            Ok(pid) => Ok(pid),
            Err(e) => Err(report.refuse(codes::CONTROL_MALFORMED, format_args!("{}", e))),
        },
        _ => Err(report.refuse(codes::CONTROL_MALFORMED, format_args!("operation {op} with {:#x}", arg[0]))),
    }
}

/// Larger than any bundle.
const MAX_BUFFER: u64 = 128 << 20;

/// Address and length of the buffer that the command has and hasn't given back: when it was killed, nobody will.
static LENT: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Gives a buffer to the command, in place of the last one if that was never used.
fn lend(pages: Pages) -> u64 {
    let len = pages.len();
    let addr = pages.leak();
    let [was, was_len] = [&LENT[0], &LENT[1]].map(|w| w.load(SeqCst));
    LENT[0].store(addr, SeqCst);
    LENT[1].store(len, SeqCst);
    if was != 0 {
        // SAFETY: lent, and not adopted since; the command that might have written to it has ended.
        drop(unsafe { Pages::adopt(was, was_len) });
    }
    addr
}

/// Takes over a buffer that [`Op::Alloc`] gave: address and used length are the first two arguments.
fn adopt(arg: [u64; 6], report: &mut Report) -> Result<Pages, Code> {
    let lent = LENT[0].swap(0, SeqCst);
    let len = LENT[1].load(SeqCst);
    if lent == 0 || arg[0] != lent || !(1..=len).contains(&arg[1]) {
        return Err(
            report.refuse(codes::CONTROL_MALFORMED, format_args!("a buffer of {} bytes at {:#x}", arg[1], arg[0]))
        );
    }
    // SAFETY: lent, and taken back here once.
    Ok(unsafe { Pages::adopt(lent, len) })
}
