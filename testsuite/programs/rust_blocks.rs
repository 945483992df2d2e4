// Rust: statics of one name in several blocks of one function, and closures that live boxes hold: a new one in front of them takes their names, hashes
// and all. None may take a value or an address along.
//#Hazard: C4,D1,D13,I1
//#Matrix: opt=-O2,-O0 cflags=,-Csymbol-mangling-version=v0
//#Expect: safe
//#Warm: blocks a
//#Warm: blocks b
//#Warm: blocks b
//#Warm: keep
//#After: blocks a => a 2
//#After: blocks b => b 30
//#After: blocks z => z 1000
//#After: call => 1001 2
//#Reverted: blocks b => b 40
//#Reverted: call => 1001 2
use std::ffi::{c_char, CStr};
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;

type Kept = Box<dyn FnOnce(u32) -> u32 + Send>;
static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

#[inline(never)]
fn blocks(which: u8) -> String {
    #[cfg(new)]
    if which == b'z' {
        static N: AtomicU32 = AtomicU32::new(0);
        return format!("z {}", N.fetch_add(1000, Ordering::SeqCst) + 1000);
    }
    if which == b'a' {
        static N: AtomicU32 = AtomicU32::new(0);
        return format!("a {}", N.fetch_add(1, Ordering::SeqCst) + 1);
    }
    static N: AtomicU32 = AtomicU32::new(0);
    format!("b {}", N.fetch_add(10, Ordering::SeqCst) + 10)
}

#[inline(never)]
fn push(kept: Kept) {
    KEPT.lock().unwrap().push(kept);
}

#[inline(never)]
fn keep(which: u8) {
    #[cfg(new)]
    if which == b'z' {
        push(Box::new(|k| k + 7777));
    }
    let _ = which;
    for _ in 0..2 {
        push(Box::new(|k| k + 1000));
        push(Box::new(|k| k * 2));
    }
}

#[inline(never)]
fn call() -> String {
    let mut kept = KEPT.lock().unwrap();
    let (first, second) = (kept.remove(0), kept.remove(0));
    format!("{} {}", first(1), second(1))
}

#[no_mangle]
pub extern "C" fn command(line: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy();
    let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
    let which = rest.bytes().next().unwrap_or(0);
    match word {
        "blocks" => println!("{}", blocks(which)),
        "keep" => keep(which),
        _ => println!("{}", call()),
    }
    let _ = std::io::stdout().flush();
}
