//! What a scenario couldn't try on this machine: said at the end, so that nobody takes it for shown.

use std::cell::RefCell;

/// The build of `hpatch` under test can't be killed at a step of its own.
pub const RELEASE: &str = "a release build of hpatch has no switch for it";

thread_local! {
    static REASONS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The scenario that runs in this thread ends early, or passes over a part: why, in words.
pub fn left_out(why: impl Into<String>) {
    REASONS.with_borrow_mut(|all| all.push(why.into()));
}

/// The reasons since the last call, in this thread.
#[must_use]
pub fn reasons() -> Vec<String> {
    REASONS.take()
}
