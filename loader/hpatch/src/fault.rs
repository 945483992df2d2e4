//! Places where a debug build can be told to die, for the tests of recovery.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set while what a killed command left is taken back.
static RECOVERING: AtomicBool = AtomicBool::new(false);

pub fn recovering(yes: bool) {
    RECOVERING.store(yes, Ordering::Relaxed);
}

/// Dies at `step` if `HPATCH_TEST_KILL` names it; with `all:` before it also while recovering.
pub fn fault(step: &str) {
    if cfg!(debug_assertions) {
        let Ok(v) = std::env::var("HPATCH_TEST_KILL") else { return };
        let always = v.strip_prefix("all:").is_some_and(|v| v == step);
        if always || (v == step && !RECOVERING.load(Ordering::Relaxed)) {
            // SAFETY: no memory is involved.
            unsafe { libc::raise(libc::SIGKILL) };
        }
    }
}
