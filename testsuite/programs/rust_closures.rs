// Rust: a boxed closure that catches something else in the new build. The live ones hold what the old code put there.
//#Hazard: C4,D6
//#Matrix: opt=-O2,-O0
//#Expect: start
//#Call: keep 3
use std::ffi::{c_char, CStr};
use std::io::Write;
use std::sync::Mutex;

type Kept = Box<dyn Fn(u32) -> u32 + Send>;
static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

#[inline(never)]
fn keep(base: u32) {
    let (low, high) = (base, base * 100);
    #[cfg(new)]
    let kept = {
        let more = u64::from(base);
        Box::new(move |k| low + high * 2 + k + more as u32)
    };
    #[cfg(not(new))]
    let kept = Box::new(move |k| low + high + k);
    KEPT.lock().unwrap().push(kept);
}

#[inline(never)]
fn call(k: u32) -> u32 {
    KEPT.lock().unwrap().iter().map(|kept| kept(k)).sum()
}

#[no_mangle]
pub extern "C" fn command(line: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy();
    let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
    let n = rest.trim().parse().unwrap_or(0);
    if word == "keep" {
        keep(n);
    }
    println!("{}", call(n));
    let _ = std::io::stdout().flush();
}
