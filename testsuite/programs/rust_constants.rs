// Rust: constants side by side that neither a symbol nor a zero tells apart, some of them with references into their middle; only what
// changed is replaced.
//#Hazard: C1,C4,C17,D2
//#Matrix: opt=-O0,-O1,-O2,-O3 cflags=,-Ccodegen-units=16
//#Expect: live
//#Most: 16
//#Call: sum 8
//#Call: sum 4
//#Call: tail 3
//#Call: tail 0
//#Call: line
//#Call: half
//#Call: limit 1
//#Call: limit 3
//#Call: default
//#Call: colour 2
//#Call: colour 5
//#Call: check 12
//#Call: ranges 70
//#Call: unit 3
//#Call: ways
use std::ffi::{c_char, CStr};
use std::hint::black_box;
use std::io::Write as _;

/// The last word changes; one function has the start of the words, another one their middle.
const WORDS: &[u16; 8] = if cfg!(new) { &[3, 1, 4, 1, 5, 9, 2, 7] } else { &[3, 1, 4, 1, 5, 9, 2, 6] };
const TAIL: &[u16] = WORDS.split_at(4).1;

/// The same with a text.
const LINE: &str = if cfg!(new) { "count: none" } else { "count: some" };
const HALF: &str = LINE.split_at(7).1;

/// A reference into the middle moves along with what it means.
const LIMITS: &[u64; 4] = if cfg!(new) { &[1, 0, 7, 9] } else { &[1, 3, 5, 9] };

/// Tables behind each other, as a library has them: texts with ranges of characters.
type Ranges = &'static [(&'static str, &'static [(char, char)])];
const RANGES: Ranges = &[
    ("digits", &[('0', '9'), ('\u{660}', '\u{669}'), ('\u{966}', '\u{96f}')]),
    ("upper", &[('A', 'Z'), ('\u{391}', '\u{3a9}')]),
    ("lower", &[('a', 'z'), ('\u{3b1}', '\u{3c9}'), ('\u{430}', '\u{44f}'), ('\u{561}', '\u{587}')]),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Colour {
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Violet,
}

const COLOURS: [Colour; 6] =
    [Colour::Red, Colour::Orange, Colour::Yellow, Colour::Green, Colour::Blue, Colour::Violet];

#[inline(never)]
fn sum(n: usize) -> u32 {
    black_box(WORDS).iter().take(n).map(|w| u32::from(*w)).sum()
}

#[inline(never)]
fn tail(i: usize) -> u16 {
    black_box(TAIL)[i % 4]
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
fn limit(i: usize) -> u64 {
    black_box(LIMITS)[i & 3]
}

#[inline(never)]
fn default() -> &'static u64 {
    if cfg!(new) {
        black_box(&LIMITS[2])
    } else {
        black_box(&LIMITS[1])
    }
}

#[inline(never)]
fn colour(i: usize) -> String {
    format!("{:?} is a colour", COLOURS[i % 6])
}

#[inline(never)]
fn check(x: i32) -> String {
    match std::panic::catch_unwind(|| assert_eq!(x, 4711, "{x} isn't it")) {
        Ok(()) => "equal".to_owned(),
        Err(why) => why.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[inline(never)]
fn ranges(c: u32) -> &'static str {
    let c = char::from_u32(c).unwrap_or(' ');
    let within = |r: &[(char, char)]| r.iter().any(|(a, b)| (*a..=*b).contains(&c));
    black_box(RANGES).iter().find(|(_, r)| within(r)).map_or("none", |(name, _)| name)
}

#[inline(never)]
fn unit(i: usize) -> &'static str {
    if cfg!(new) {
        match i % 5 {
            0 => "metres",
            1 => "seconds",
            2 => "grams",
            3 => "amperes, the unit of what flows",
            _ => "none",
        }
    } else {
        match i % 5 {
            0 => "metres",
            1 => "seconds",
            2 => "grams",
            3 => "amperes",
            _ => "none",
        }
    }
}

#[inline(never)]
fn ways() -> String {
    let parts: &[&str] = black_box(&["north", "east", "south", "west"]);
    parts.join(if cfg!(new) { ", then " } else { ", " })
}

fn answer(line_: &str) -> String {
    let (word, rest) = line_.split_once(' ').unwrap_or((line_, ""));
    let number: usize = rest.parse().unwrap_or(0);
    match word {
        "sum" => sum(number).to_string(),
        "tail" => tail(number).to_string(),
        "line" => line().to_owned(),
        "half" => half().to_owned(),
        "limit" => limit(number).to_string(),
        "default" => default().to_string(),
        "colour" => colour(number),
        "check" => check(number as i32),
        "ranges" => ranges(number as u32).to_owned(),
        "unit" => unit(number).to_owned(),
        _ => ways(),
    }
}

#[no_mangle]
pub extern "C" fn command(line: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy();
    std::panic::set_hook(Box::new(|_| {}));
    println!("{}", answer(&line));
    let _ = std::io::stdout().flush();
}
