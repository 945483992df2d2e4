// Rust: texts side by side, some with references into their middle, of which nothing says where they end: taken as they are, or refused.
//#Hazard: C1,C4,C17
//#Matrix: opt=-O0,-O1,-O2,-O3 cflags=,-Ccodegen-units=16
//#Expect: safe
//#Call: bold
//#Call: most
//#Call: line
//#Call: half
//#Call: plain
use std::ffi::{c_char, CStr};
use std::hint::black_box;
use std::io::Write as _;

/// What stands before its middle holds a byte that is no character.
const BOLD: &str = if cfg!(new) { "\x1b[1mcount: none" } else { "\x1b[1mcount: some" };
const MOST: &str = BOLD.split_at(11).1;

const LINE: &str = if cfg!(new) { "total: none" } else { "total: some" };
const HALF: &str = LINE.split_at(7).1;

#[inline(never)]
fn bold() -> &'static str {
    black_box(BOLD)
}

#[inline(never)]
fn most() -> &'static str {
    black_box(MOST)
}

#[inline(never)]
fn line() -> &'static str {
    black_box(LINE)
}

#[inline(never)]
fn half() -> &'static str {
    black_box(HALF)
}

#[inline(never)]
fn plain() -> &'static str {
    black_box("as it was")
}

#[no_mangle]
pub extern "C" fn command(line_: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let word = unsafe { CStr::from_ptr(line_) }.to_string_lossy();
    let answer = match &*word {
        "bold" => bold(),
        "most" => most(),
        "line" => line(),
        "half" => half(),
        _ => plain(),
    };
    println!("{answer}");
    let _ = std::io::stdout().flush();
}
