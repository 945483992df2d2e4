//! The control block and the control thread's main function.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::mem::size_of;
use core::panic::Location;

use hpatch_core::abi::{ABI, Control, LoaderState, MAGIC, Op};

use crate::mem::Pages;
use crate::{guard, sys};

/// The control thread's stack. Untouched pages of `.bss` cost nothing.
const STACK_SIZE: usize = 512 * 1024;

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

/// Found by name by the `hpatch` command: the only symbol that the library exports.
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
    reserved: [0; 7],
}));

// Runs in the hijacked thread up to the int3 that gives it back to the command, and in the new one, where clone(2) returned 0.
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
    1:  int3
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

/// Says that the loader met an internal error: nothing further is accepted in this process.
pub fn blocked(at: Option<&Location<'_>>) {
    with(|c| {
        c.state = LoaderState::Blocked as u32;
        c.code = HP_INTERNAL;
        c.detail_len = 0;
        if let Some(at) = at {
            let mut w = Text { buf: &mut c.detail, len: 0 };
            let _ = core::fmt::write(&mut w, format_args!("internal error at {}:{}", at.file(), at.line()));
            c.detail_len = w.len as u32;
        }
    });
}

const HP_INTERNAL: u32 = 9901;
const HP_NO_MEMORY: u32 = 1003;
const HP_UNKNOWN_OP: u32 = 1401;
const HP_BLOCKED: u32 = 1402;

/// Formats into a fixed buffer; what doesn't fit is cut at a character.
struct Text<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl core::fmt::Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        let room = self.buf.len() - self.len;
        let mut n = s.len().min(room);
        while !s.is_char_boundary(n) {
            n -= 1;
        }
        self.buf[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

extern "C" fn control_main() -> ! {
    with(|c| {
        c.control_tid = sys::gettid();
        c.code = 0;
        c.detail_len = 0;
        c.value = [0; 4];
    });
    guard::run(operation, core::ptr::null_mut());
    with(|c| {
        if c.state == LoaderState::Busy as u32 {
            c.state = LoaderState::Idle as u32;
        }
        c.op = Op::None as u32;
        c.control_tid = 0;
    });
    // SAFETY: the field lies in the static block; nobody joins a control thread.
    unsafe { sys::finish_thread(&raw mut (*block()).done) }
}

extern "C" fn operation(_: *mut u8) {
    let (op, arg, state) = with(|c| (c.op, c.arg, c.state));
    if state == LoaderState::Blocked as u32 {
        return with(|c| c.code = HP_BLOCKED);
    }
    with(|c| c.state = LoaderState::Busy as u32);
    let result = match op {
        o if o == Op::Alloc as u32 => Pages::new(arg[0]).map(Pages::leak).map_err(|_| HP_NO_MEMORY),
        _ => Err(HP_UNKNOWN_OP),
    };
    with(|c| match result {
        Ok(value) => c.value[0] = value,
        Err(code) => c.code = code,
    });
}
