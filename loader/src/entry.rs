//! What happens when the library is preloaded.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

use zerocopy::IntoBytes;

use crate::mem::Pages;
use crate::process::{self, Auxv};
use crate::sys::{self, Open};
use crate::{control, gate, guard, hook, store, unwind};

/// `DT_INIT_ARRAY` (System V gABI). glibc passes `main`'s arguments, musl passes nothing.
#[used]
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn(usize, *const *const u8, *const *const u8) = init;

struct Arguments {
    argc: usize,
    argv: *const *const u8,
    envp: *const *const u8,
}

extern "C" fn init(argc: usize, argv: *const *const u8, envp: *const *const u8) {
    begin(argc, argv, envp);
}

/// Does what is to be done once, at the first chance: in this library's constructor, or before that of another. False: it was done before.
pub fn begin(argc: usize, argv: *const *const u8, envp: *const *const u8) -> bool {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    if BEGUN.swap(true, Ordering::Relaxed) {
        return false;
    }
    let mut arguments = Arguments { argc, argv, envp };
    control::set_preloaded();
    guard::run(start, (&raw mut arguments).cast());
    true
}

extern "C" fn start(arguments: *mut u8) {
    // SAFETY: `begin` passes its own variable.
    let a = unsafe { &*arguments.cast::<Arguments>() };
    let auxv = if a.plausible() {
        // SAFETY: checked to be the kernel's array of strings at the bottom of this stack.
        unsafe { note_environment(a.envp) }
    } else {
        note_environment_file();
        process::auxv_file(|a| a).unwrap_or_default()
    };
    let wanted = process::facts(|f| {
        (f.phdr, f.phnum) = (auxv.phdr, auxv.phnum);
        if auxv.secure {
            f.forget_variables();
        }
        f.store().is_some()
    });
    unwind::find_real();
    gate::open();
    if wanted {
        store::apply_all();
        hook::arm();
    }
}

impl Arguments {
    /// The three are `main`'s when the pointers lie one behind the other on this stack, as execve(2) left them.
    fn plausible(&self) -> bool {
        let here = (&raw const *self).addr();
        let (argv, envp) = (self.argv.addr(), self.envp.addr());
        argv > here
            && argv.is_multiple_of(8)
            && self.argc < 1 << 24
            && argv.checked_add((self.argc + 1) * 8) == Some(envp)
    }
}

/// Takes our variables over; the auxiliary vector lies behind the environment.
///
/// # Safety
/// `envp` must be the environment as execve(2) lays it out.
unsafe fn note_environment(envp: *const *const u8) -> Auxv {
    let mut at = envp;
    // SAFETY: an array of strings that ends with a null pointer, then pairs of words that end with type 0.
    unsafe {
        while !(*at).is_null() {
            // Most variables differ in the first letter.
            if **at == b'H' {
                let variable = CStr::from_ptr((*at).cast()).to_bytes();
                process::facts(|f| f.note_variable(variable));
            }
            at = at.add(1);
        }
        let mut pair = at.add(1).cast::<[u64; 2]>();
        Auxv::of(core::iter::from_fn(move || {
            let item = *pair;
            pair = pair.add(1);
            Some(item)
        }))
    }
}

fn note_environment_file() {
    let Ok(mut pages) = Pages::new(256 * 1024) else { return };
    let Ok(file) = sys::open(c"/proc/self/environ", Open::Read) else { return };
    let len = sys::read_full(&file, pages.bytes_mut().as_mut_bytes()).unwrap_or(0);
    for variable in pages.bytes()[..len].split(|&b| b == 0) {
        process::facts(|f| f.note_variable(variable));
    }
}
