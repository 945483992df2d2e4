//! The constructor: what happens when the library is preloaded.

use crate::control;

/// `DT_INIT_ARRAY` (System V gABI). glibc passes `main`'s arguments, musl passes nothing.
#[used]
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn(usize, *const *const u8, *const *const u8) = init;

extern "C" fn init(_argc: usize, _argv: *const *const u8, _envp: *const *const u8) {
    control::with(|c| c.origin = 0);
}
