// Rust: the functions of a trait change their order, get one more, or one that is a type's own, while objects live that are known by the trait only.
//#Hazard: D8
//#Matrix: opt=-O2,-O0 cflags=--cfg=reordered,--cfg=longer,--cfg=own,--cfg=inside
//#Expect: start
//#Expect[cflags=--cfg=inside]: live
//#Call: show
use std::ffi::{c_char, CStr};
use std::io::Write;
use std::sync::Mutex;

trait Shape: Send {
    #[cfg(all(new, reordered))]
    fn edge(&self) -> u32;
    fn area(&self) -> u32;
    #[cfg(not(all(new, reordered)))]
    fn edge(&self) -> u32;
    fn corners(&self) -> u32 {
        4
    }
    #[cfg(all(new, longer))]
    fn weight(&self) -> u32;
}

struct Square(u32);
struct Circle(u32);

impl Shape for Square {
    #[inline(never)]
    fn area(&self) -> u32 {
        #[cfg(all(new, inside))]
        return self.0 * self.0 + 1000;
        #[cfg(not(all(new, inside)))]
        return self.0 * self.0;
    }
    #[inline(never)]
    fn edge(&self) -> u32 {
        self.0 * 4
    }
    #[cfg(all(new, longer))]
    fn weight(&self) -> u32 {
        self.0 + 70
    }
}

impl Shape for Circle {
    #[inline(never)]
    fn area(&self) -> u32 {
        self.0 * 3
    }
    #[inline(never)]
    fn edge(&self) -> u32 {
        self.0 * 6
    }
    #[cfg(all(new, own))]
    fn corners(&self) -> u32 {
        0
    }
    #[cfg(all(new, longer))]
    fn weight(&self) -> u32 {
        self.0 + 90
    }
}

static KEPT: Mutex<Vec<Box<dyn Shape>>> = Mutex::new(Vec::new());

#[inline(never)]
fn make(n: u32) -> Box<dyn Shape> {
    if n % 2 == 0 {
        Box::new(Square(n))
    } else {
        Box::new(Circle(n))
    }
}

#[inline(never)]
fn show() {
    let mut line = String::from(if cfg!(new) { "now " } else { "" });
    for shape in KEPT.lock().unwrap().iter() {
        #[cfg(all(new, longer))]
        line.push_str(&format!("weight {} ", shape.weight()));
        line.push_str(&format!("edge {} area {} corners {} ", shape.edge(), shape.area(), shape.corners()));
    }
    println!("{line}");
}

#[no_mangle]
pub extern "C" fn command(line: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy();
    let mut kept = KEPT.lock().unwrap();
    if kept.is_empty() {
        kept.push(make(2));
        kept.push(make(3));
    }
    drop(kept);
    if line == "show" {
        show();
    }
    let _ = std::io::stdout().flush();
}
