// Rust: a new variable that is no array, in front of one that the function used before. What is behind the one is the other.
//#Hazard: D2
//#Matrix: opt=-O0
//#Expect: live
//#Warm: names
//#After: names => 1 names: x y, 7 failed
//#After: names => 2 names: x y, 8 failed
//#After: count => 2
//#Reverted: names => 3 names: x y
use std::ffi::{c_char, CStr};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

static ASKED: AtomicU64 = AtomicU64::new(0);
#[cfg(new)]
static FAILS: AtomicU64 = AtomicU64::new(7);
static NAMES: OnceLock<Vec<&'static str>> = OnceLock::new();

#[inline(never)]
fn names() -> String {
    let asked = ASKED.fetch_add(1, Ordering::Relaxed);
    let names = NAMES.get_or_init(|| vec!["x", "y"]).join(" ");
    #[cfg(new)]
    let names = format!("{names}, {} failed", FAILS.fetch_add(1, Ordering::Relaxed));
    format!("{asked} names: {names}")
}

#[inline(never)]
fn count() -> usize {
    NAMES.get().map_or(0, Vec::len)
}

#[no_mangle]
pub extern "C" fn command(line: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let line = unsafe { CStr::from_ptr(line) };
    if line.to_bytes().starts_with(b"count") {
        println!("{}", count());
    } else {
        println!("{}", names());
    }
    let _ = std::io::stdout().flush();
}
