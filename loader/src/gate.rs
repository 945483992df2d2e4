//! The ways into the process without ptrace(2), where its operator has set a signal aside for them (`HPATCH_SIGNAL`): the signal makes the
//! control thread, or lets a thread stand still until the command says otherwise, or dies.
//!
//! The handler asks the kernel only, takes no lock and allocates nothing. What the signal interrupted goes on as if it hadn't come, see
//! [`resume`].

use core::arch::global_asm;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicPtr, AtomicU32};

use hpatch_core::abi::{
    Call, GATE_SIZE, GATE_SLOTS, Gate, SLOT_ASKED, SLOT_LEFT, SLOT_PARKED, SLOT_TAKEN, SPAWN_FLAGS, Slot,
};

use crate::control;
use crate::process;
use crate::sys::{
    self, Action, MAP_ANONYMOUS, MAP_FIXED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE,
};

/// Real-time signals, without the two of the C library (signal(7), nptl(7)).
const SIGNALS: core::ops::RangeInclusive<u32> = 34..=64;
const SIG_DFL: u64 = 0;
const SIG_IGN: u64 = 1;
const SA_SIGINFO: u64 = 4;
const SA_RESTORER: u64 = 0x0400_0000;
const SA_ONSTACK: u64 = 0x0800_0000;
const SA_RESTART: u64 = 0x1000_0000;
const EINTR: u64 = -4i64 as u64;
/// Places in a [`Slot::regs`]: rdi, rsi, rdx, r10, r8, r9, rsp, as a [`Call`] has them.
const ARGUMENTS: [usize; 7] = [8, 9, 12, 2, 0, 1, 15];
const RAX: usize = 13;
const RIP: usize = 16;

static GATE: AtomicPtr<Gate> = AtomicPtr::new(core::ptr::null_mut());

// rt_sigreturn(2) takes the frame from where the handler's `ret` leaves the stack pointer; debuggers know these bytes.
global_asm!(
    r#"
    .section .text.hpatch_gate, "ax", @progbits
    .globl hpatch_restorer
    .hidden hpatch_restorer
    .type hpatch_restorer, @function
        nop
    hpatch_restorer:
        mov rax, 15
        syscall
    .size hpatch_restorer, . - hpatch_restorer

    # extern "C" fn hpatch_clone(flags, stack, parent_tid, child_tid) -> i64; the new thread runs the control thread's main function.
    .globl hpatch_clone
    .hidden hpatch_clone
    .type hpatch_clone, @function
    hpatch_clone:
        mov r10, rcx
        xor r8d, r8d
        mov eax, 56
        syscall
        test rax, rax
        jnz 1f
        xor ebp, ebp
        and rsp, -16
        call {main}
        int3
    1:  ret
    .size hpatch_clone, . - hpatch_clone
    .text
    "#,
    main = sym control::control_main
);

unsafe extern "C" {
    fn hpatch_restorer();
    fn hpatch_clone(flags: u64, stack: *const u8, parent_tid: *const u32, child_tid: *const u32) -> i64;
}

/// The part of `siginfo_t` that sigqueue(3) fills (include/uapi/asm-generic/siginfo.h).
#[repr(C)]
struct Info {
    _number_and_error: [i32; 2],
    code: i32,
    _sender: [i32; 3],
    value: u64,
}

/// `ucontext_t` as the kernel lays it down (arch/x86/include/uapi/asm/ucontext.h, sigcontext.h).
#[repr(C)]
struct Context {
    _head: [u64; 5],
    regs: [u64; 18],
    _rest: [u64; 14],
    mask: u64,
}

/// Installs the handler, when a signal was set aside and nobody has it.
pub fn open() {
    let signal = process::facts(|f| f.signal);
    if !SIGNALS.contains(&signal) || !sys::action(signal).is_ok_and(|a| a.handler() == SIG_DFL) {
        return;
    }
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    // SAFETY: a new mapping where the kernel likes.
    let Ok(at) = (unsafe { sys::mmap(0, GATE_SIZE, PROT_READ | PROT_WRITE, flags, None, 0) }) else { return };
    GATE.store(at as *mut Gate, Release);
    let handler = (on_signal as *const ()).addr() as u64;
    let restorer = (hpatch_restorer as *const ()).addr() as u64;
    let flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_RESTORER;
    let action = Action([handler, flags, restorer, sys::ALL_BUT_SYNCHRONOUS]);
    // SAFETY: a handler for SA_SIGINFO, and the code that ends it.
    if unsafe { sys::set_action(signal, &action) }.is_ok() {
        control::with(|c| (c.signal, c.gate) = (signal, at));
    }
}

/// Fresh memory in the gate's place: shared with the command, or private again. Nobody stands in it.
pub fn share(open: bool) -> sys::Result<()> {
    let at = GATE.load(Acquire) as u64;
    if at == 0 {
        return Err(sys::Errno(2));
    }
    let place = |flags, fd: Option<&sys::Fd>| {
        // SAFETY: the gate's own place, in one step: a handler that looks meanwhile sees the one or the other.
        unsafe { sys::mmap(at, GATE_SIZE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0) }
    };
    if !open {
        return place(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, None).map(drop);
    }
    let file = sys::memfd(c"hpatch-gate")?;
    sys::set_size(&file, GATE_SIZE)?;
    place(MAP_SHARED, Some(&file))?;
    let (value, taken) = control::mailbox();
    value.store(file.number() + 1, Release);
    let mut waited = 0;
    while taken.load(Acquire) == 0 && waited < 2000 {
        sys::sleep_ms(1);
        waited += 1;
    }
    Ok(())
}

extern "C" fn on_signal(_: i32, info: *const Info, context: *mut Context) {
    const SI_QUEUE: i32 = -1;
    // SAFETY: the kernel passes both to a handler with SA_SIGINFO.
    let (info, context) = unsafe { (&*info, &mut *context) };
    let index = info.value as u32 as usize;
    let gate = GATE.load(Acquire);
    if info.code != SI_QUEUE || index >= GATE_SLOTS || gate.is_null() {
        return;
    }
    // SAFETY: the gate stays mapped for ever, with the size of the structure; words that others write are reached as atomics.
    let (slot, lock, round) = unsafe {
        let slot = &raw mut (*gate).slots[index];
        (slot, AtomicU32::from_ptr((&raw mut (*gate).lock).cast()), AtomicU32::from_ptr(&raw mut (*gate).round))
    };
    // SAFETY: as above.
    let state = unsafe { AtomicU32::from_ptr(&raw mut (*slot).state) };
    // SAFETY: the command has written the place before it sent the signal.
    let Slot { tid, round: asked, call, .. } = unsafe { slot.read_volatile() };
    let mine = tid == sys::gettid() && asked == (info.value >> 32) as u32;
    if !mine || state.compare_exchange(SLOT_ASKED, SLOT_TAKEN, Acquire, Relaxed).is_err() {
        return;
    }
    if index == 0 {
        make_control_thread();
        return resume(context, &call);
    }
    // SAFETY: the place is this thread's until the command takes it back in a later round.
    unsafe { (&raw mut (*slot).regs).write_volatile(context.regs) };
    state.store(SLOT_PARKED, Release);
    stand(lock, round, asked);
    resume(context, &call);
    state.store(SLOT_LEFT, Release);
}

/// As the command does it with ptrace(2), see `Control::spawn`.
fn make_control_thread() {
    let thread = control::thread();
    if thread.load(Acquire) == 0 {
        // SAFETY: no other control thread uses the stack, and the command asks for one at a time.
        unsafe { hpatch_clone(SPAWN_FLAGS, control::stack_top(), thread.as_ptr(), thread.as_ptr()) };
    }
}

/// Waits until the command lets go of the lock, or has died.
fn stand(lock: &AtomicU32, round: &AtomicU32, asked: u32) {
    const WAITERS: u32 = 1 << 31;
    const OWNER: u32 = (1 << 30) - 1;
    loop {
        let held = lock.load(Acquire);
        if held & OWNER == 0 || round.load(Acquire) != asked {
            break;
        }
        // The kernel wakes nobody when the owner dies unless this bit is set.
        if held & WAITERS == 0 && lock.compare_exchange(held, held | WAITERS, Acquire, Relaxed).is_err() {
            continue;
        }
        sys::futex_wait(lock, held | WAITERS, 1000);
    }
    // And then it wakes one.
    sys::futex_wake_all(lock);
}

/// Lets a system call that the signal interrupted go on, as the kernel does for most by itself (`SA_RESTART`). Only a signal of somebody
/// else that came meanwhile interrupts it, as it would have.
fn resume(context: &mut Context, call: &Call) {
    let r = &mut context.regs;
    let [a, b, c, d, e, f] = call.arguments;
    let same = ARGUMENTS.map(|n| r[n]) == [a, b, c, d, e, f, call.sp];
    if call.number as i64 == -1 || !same {
        return;
    }
    const INSTRUCTION: u64 = 2;
    let ended = r[RIP] == call.pc && r[RAX] == EINTR;
    let restarts = r[RIP] == call.pc - INSTRUCTION && r[RAX] == call.number;
    if !ended && !restarts {
        return;
    }
    let waiting = sys::pending_signals() & !context.mask;
    let interrupts = (1..=64).filter(|n| waiting >> (n - 1) & 1 != 0).any(|n| ends_calls(n, ended));
    if ended && !interrupts {
        (r[RIP], r[RAX]) = (call.pc - INSTRUCTION, call.number);
    } else if restarts && interrupts {
        (r[RIP], r[RAX]) = (call.pc, EINTR);
    }
}

/// Whether a signal ends a system call early; `always` for a call that no handler lets go on.
fn ends_calls(signal: u32, always: bool) -> bool {
    const IGNORED_BY_DEFAULT: [u32; 4] = [17, 18, 23, 28];
    match sys::action(signal) {
        Ok(a) if a.handler() == SIG_IGN => false,
        Ok(a) if a.handler() == SIG_DFL => always && !IGNORED_BY_DEFAULT.contains(&signal),
        Ok(a) => always || a.flags() & SA_RESTART == 0,
        Err(_) => true,
    }
}
