// Rust: a panic unwinds through a patched frame, a generic function and a trait object change.
//#Hazard: C4,C8
//#Matrix: opt=-O0,-O2 kind=pie
//#Expect: live
//#Call: checked 3
//#Call: checked 0
//#Call: largest
//#Call: speak
use std::ffi::{c_char, CStr};
use std::hint::black_box;
use std::io::Write;

#[inline(never)]
fn divide(a: i64, b: i64) -> i64 {
    if b == 0 {
        panic!("no quotient");
    }
    a / b
}

struct Guard(&'static str);
impl Drop for Guard {
    #[inline(never)]
    fn drop(&mut self) {
        println!("left {}", self.0);
    }
}

#[inline(never)]
fn checked(b: i64) -> i64 {
    let _guard = Guard("checked");
    if cfg!(new) {
        divide(1000, black_box(b)) + 1
    } else {
        divide(100, black_box(b))
    }
}

#[inline(never)]
fn largest<T: PartialOrd + Copy>(values: &[T]) -> T {
    let mut best = values[0];
    for &value in values {
        if cfg!(new) {
            if value > best {
                best = value;
            }
        } else if value < best {
            best = value;
        }
    }
    best
}

trait Voice {
    fn speak(&self) -> String;
}
struct Dog(u32);
impl Voice for Dog {
    #[inline(never)]
    fn speak(&self) -> String {
        if cfg!(new) {
            format!("woof number {}", self.0)
        } else {
            "woof".to_owned()
        }
    }
}

#[no_mangle]
pub extern "C" fn command(line: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy();
    if let Some(b) = line.strip_prefix("checked ") {
        let b: i64 = b.parse().unwrap_or(1);
        std::panic::set_hook(Box::new(|_| {}));
        match std::panic::catch_unwind(|| checked(b)) {
            Ok(value) => println!("{value}"),
            Err(_) => println!("caught"),
        }
    }
    if line == "largest" {
        println!("{} {}", largest(black_box(&[3, 9, 4])), largest(black_box(&[2.5, 0.5])));
    }
    if line == "speak" {
        let voice: Box<dyn Voice> = black_box(Box::new(Dog(7)));
        println!("{}", voice.speak());
    }
    let _ = std::io::stdout().flush();
}
