//! Places where a debug build can be told to die, or to meet a slow loader, for the tests of recovery.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hpatch_core::abi::Op;

use crate::cmd::ways::Way;

/// Names the step at which to die.
pub const KILL: &str = "HPATCH_TEST_KILL";

/// Set while what a killed command left is taken back.
static RECOVERING: AtomicBool = AtomicBool::new(false);

pub fn recovering(yes: bool) {
    RECOVERING.store(yes, Ordering::Relaxed);
}

/// Dies at `step` if `HPATCH_TEST_KILL` names it; with `all:` before it also while recovering, with `#N` behind it the Nth time. With
/// `HPATCH_TEST_KILL_PID` that process dies instead, or gets the signal of the number `HPATCH_TEST_KILL_SIGNAL`.
pub fn fault(step: &str) {
    static TIMES: AtomicU32 = AtomicU32::new(0);
    if cfg!(debug_assertions) {
        let Ok(v) = std::env::var(KILL) else { return };
        let (always, v) = v.strip_prefix("all:").map_or((false, v.as_str()), |v| (true, v));
        let (name, wanted) = v.split_once('#').map_or((v, 1), |(name, n)| (name, n.parse().unwrap_or(1)));
        if name != step || (RECOVERING.load(Ordering::Relaxed) && !always) {
            return;
        }
        if TIMES.fetch_add(1, Ordering::Relaxed) + 1 == wanted {
            let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
            let (whom, signal) = (number("HPATCH_TEST_KILL_PID"), number("HPATCH_TEST_KILL_SIGNAL"));
            // SAFETY: no memory is involved.
            unsafe { libc::kill(whom.unwrap_or_else(|| libc::getpid()), signal.unwrap_or(libc::SIGKILL)) };
        }
    }
}

/// Whether the control thread is to do the operation that `HPATCH_TEST_SLOW` names only after this program has ended.
pub fn slow(op: Op) -> bool {
    cfg!(debug_assertions) && std::env::var("HPATCH_TEST_SLOW").is_ok_and(|v| v == format!("{op:?}"))
}

/// The only way to take, whatever the system permits: `outside`, `inside` or `signals` in `HPATCH_TEST_WAY`.
pub fn way() -> Option<Way> {
    if !cfg!(debug_assertions) {
        return None;
    }
    match std::env::var("HPATCH_TEST_WAY").ok()?.as_str() {
        "outside" => Some(Way::Outside),
        "inside" => Some(Way::Inside),
        "signals" => Some(Way::Signals),
        _ => None,
    }
}
