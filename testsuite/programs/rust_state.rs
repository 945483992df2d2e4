// Rust: statics, a lock, a lazily made table, a thread-local variable and objects behind `dyn` that live on while the code that uses them changes.
//#Hazard: C4,C18,D1,D2,D9,I1
//#Matrix: opt=-O2,-O0 cflags=,-Ccodegen-units=16
// What a text ends with isn't seen everywhere: then a function is taken for changed that isn't, and can't be carried (HP0211).
//#Expect: safe
//#Expect[opt=-O2,cflags=]: live
//#Warm: count
//#Warm: count
//#Warm: push seven
//#Warm: keep 3
//#Warm: here 5
//#Call: shapes
//#Call: largest
//#After: count => 30
//#After: push eight => 2: seven, eight
//#After: speak => 3 is kept (new)
//#After: call => 103
//#After: here 6 => 11 in this thread
//#After: table => 9 of 4
//#After: count => 40
//#Reverted: count => 5
//#Reverted: push nine => seven eight nine
//#Reverted: speak => 3 is kept
//#Reverted: call => 3
//#Reverted: here 1 => 12
//#Reverted: table => 9
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{c_char, CStr};
use std::fmt::Display;
use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

static COUNT: AtomicU64 = AtomicU64::new(0);
static WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static KEPT: Mutex<Option<Box<dyn Voice + Send>>> = Mutex::new(None);
static CALLED: Mutex<Option<Box<dyn Fn() -> u32 + Send>>> = Mutex::new(None);
static TABLE: OnceLock<HashMap<&'static str, u32>> = OnceLock::new();
#[cfg(new)]
static ADDED: AtomicU64 = AtomicU64::new(10);

thread_local! {
    static HERE: Cell<u64> = const { Cell::new(0) };
}

#[inline(never)]
fn count() -> u64 {
    let n = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    #[cfg(new)]
    return n * ADDED.load(Ordering::Relaxed);
    #[cfg(not(new))]
    n
}

#[inline(never)]
fn push(word: &str) -> String {
    let mut words = WORDS.lock().unwrap();
    words.push(word.to_owned());
    if cfg!(new) {
        format!("{}: {}", words.len(), words.join(", "))
    } else {
        words.join(" ")
    }
}

trait Voice {
    fn number(&self) -> u32;
    fn speak(&self) -> String {
        if cfg!(new) {
            format!("{} is kept (new)", self.number())
        } else {
            format!("{} is kept", self.number())
        }
    }
}

struct Dog(u32);
impl Voice for Dog {
    fn number(&self) -> u32 {
        self.0
    }
}

#[inline(never)]
fn keep(n: u32) {
    *KEPT.lock().unwrap() = Some(Box::new(Dog(n)));
    *CALLED.lock().unwrap() = Some(Box::new(move || if cfg!(new) { n + 100 } else { n }));
}

#[inline(never)]
fn here(n: u64) -> String {
    let sum = HERE.with(|cell| {
        cell.set(cell.get() + n);
        cell.get()
    });
    if cfg!(new) {
        format!("{sum} in this thread")
    } else {
        sum.to_string()
    }
}

#[inline(never)]
fn table() -> String {
    let table = TABLE.get_or_init(|| HashMap::from([("a", 1), ("b", 2), ("c", 4), ("d", 2)]));
    let sum: u32 = table.values().sum();
    if cfg!(new) {
        format!("{sum} of {}", table.len())
    } else {
        sum.to_string()
    }
}

trait Shape {
    fn area(&self) -> f64;
}
struct Square(f64);
struct Circle(f64);
impl Shape for Square {
    fn area(&self) -> f64 {
        if cfg!(new) {
            self.0 * self.0
        } else {
            self.0
        }
    }
}
impl Shape for Circle {
    fn area(&self) -> f64 {
        3.0 * self.0 * self.0
    }
}

#[inline(never)]
fn largest<T: PartialOrd + Copy + Display>(values: &[T]) -> String {
    let mut best = values[0];
    for &value in values {
        if (value > best) == cfg!(new) {
            best = value;
        }
    }
    format!("<{best}>")
}

fn answer(line: &str) -> String {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let number: u32 = rest.parse().unwrap_or(0);
    match word {
        "count" => count().to_string(),
        "push" => push(rest),
        "keep" => {
            keep(number);
            String::new()
        }
        "speak" => KEPT.lock().unwrap().as_ref().map_or(String::new(), |voice| voice.speak()),
        "call" => CALLED.lock().unwrap().as_ref().map_or(String::new(), |f| f().to_string()),
        "here" => here(number.into()),
        "table" => table(),
        "shapes" => {
            let shapes: Vec<Box<dyn Shape>> = black_box(vec![Box::new(Square(3.0)), Box::new(Circle(1.0))]);
            shapes.iter().map(|shape| shape.area()).sum::<f64>().to_string()
        }
        _ => format!("{} {}", largest(black_box(&[3, 9, 4])), largest(black_box(&[2.5, 0.5]))),
    }
}

#[no_mangle]
pub extern "C" fn command(line: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy();
    println!("{}", answer(&line));
    let _ = std::io::stdout().flush();
}
