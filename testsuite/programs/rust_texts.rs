// Rust: texts without a terminator, in code and in tables, format strings, the places that panics name, bounds checks, numbers.
//#Hazard: C1,C4,C17,C18,D2
//#Matrix: opt=-O2,-O1,-O3,-Os cflags=,-Ccodegen-units=16,-Clto=thin+-Ccodegen-units=16,-Clto=fat
//#Expect: live
// With all of the library in one unit, what it brings along can hardly be told from the program.
//#Expect[cflags=-Clto=fat]: safe
//#Call: greet you
//#Call: state
//#Call: pick 0
//#Call: pick 2
//#Call: index 1
//#Call: index 2
//#Call: index 7
//#Call: scale 20
//#Call: later
use std::ffi::{c_char, CStr};
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;

#[derive(Debug, Clone, Copy)]
enum State {
    Idle,
    Busy(u32),
    Done { code: i32 },
}

#[inline(never)]
fn describe(state: State) -> String {
    if cfg!(new) {
        match state {
            State::Idle => "nothing to do at all".to_owned(),
            State::Busy(jobs) => format!("busy with {jobs} jobs"),
            State::Done { code } => format!("done, {code:#x}"),
        }
    } else {
        match state {
            State::Idle => "nothing to do".to_owned(),
            State::Busy(jobs) => format!("busy with {jobs}"),
            State::Done { code } => format!("done {code}"),
        }
    }
}

#[inline(never)]
fn greet(name: &str) {
    if cfg!(new) {
        println!("good morning, {name}!");
    } else {
        println!("hello, {name}");
    }
}

#[inline(never)]
fn pick(i: usize) -> &'static str {
    const NAMES: [&str; 3] = if cfg!(new) { ["zero", "one", "too"] } else { ["zero", "one", "two"] };
    NAMES[i % 3]
}

#[inline(never)]
fn index(values: &[u32], i: usize) -> u32 {
    if cfg!(new) {
        values[i] + values[i + 1]
    } else {
        values[i]
    }
}

#[inline(never)]
fn scale(x: i64) -> i64 {
    let factor = if cfg!(new) { 30 } else { 7 };
    x * factor + 1
}

// Not changed, with texts and places of its own behind those that did.
#[inline(never)]
fn later(out: &mut String) {
    let parts: &[&str] = black_box(&["as", "it", "was"]);
    let _ = write!(out, "{:?} {} {:?}", State::Done { code: 3 }, parts.join("-"), parts.get(7).map_or("none", |p| p));
    assert!(parts.len() == 3, "three parts, not {}", parts.len());
}

fn answer(line: &str) -> String {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let number: usize = rest.parse().unwrap_or(0);
    match word {
        "state" => {
            let states = black_box([State::Idle, State::Busy(2), State::Done { code: 17 }]);
            states.map(describe).join("; ")
        }
        "pick" => pick(number).to_owned(),
        "index" => {
            let values = black_box(vec![5, 6, 7]);
            match std::panic::catch_unwind(|| index(&values, number)) {
                Ok(value) => value.to_string(),
                Err(why) => format!("caught {}", why.downcast_ref::<String>().map_or("?", |text| text)),
            }
        }
        "scale" => scale(number as i64).to_string(),
        _ => {
            let mut out = String::new();
            later(&mut out);
            out
        }
    }
}

#[no_mangle]
pub extern "C" fn command(line: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy();
    std::panic::set_hook(Box::new(|_| {}));
    match line.strip_prefix("greet ") {
        Some(name) => greet(name),
        None => println!("{}", answer(&line)),
    }
    let _ = std::io::stdout().flush();
}
