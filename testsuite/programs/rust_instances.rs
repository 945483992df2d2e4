// Rust: instances of one generic function, all of which change alike, and one more. Live objects lead to them by tables; which is which, their names
// and what debug information says of them tell, also where one is generic over a closure. Where the type is new, too (`added`), all have other hashes.
//#Hazard: C4,I1
//#Matrix: opt=-O2,-O3 cflags=,-Ccodegen-units=16,-Csymbol-mangling-version=v0,--cfg=added
//#Expect: live
//#Expect[cflags=--cfg=added]: safe
//#Warm: keep 3
//#After: show => day 1; night 2; dusk 3; low 3; high 300
//#Reverted: keep 5 => day=1 night=2 dusk=3 low=3 high=300 dawn 4; low=4 high=400 low=5 high=500
//#After: keep 4 => day 1; night 2; dusk 3; low 3; high 300; dawn 4; low 4; high 400
use std::ffi::{c_char, CStr};
use std::io::Write;
use std::marker::PhantomData;
use std::sync::Mutex;

trait Kind: Send {
    fn name() -> &'static str;
}
struct Day;
struct Night;
struct Dusk;
impl Kind for Day {
    fn name() -> &'static str {
        "day"
    }
}
impl Kind for Night {
    fn name() -> &'static str {
        "night"
    }
}
impl Kind for Dusk {
    fn name() -> &'static str {
        "dusk"
    }
}

#[cfg(any(new, not(added)))]
#[cfg_attr(not(new), allow(dead_code))]
struct Dawn;
#[cfg(any(new, not(added)))]
impl Kind for Dawn {
    fn name() -> &'static str {
        "dawn"
    }
}

trait Show: Send {
    fn show(&self, out: &mut Vec<String>);
}
struct Of<K>(u32, PhantomData<K>);
struct Called<F>(&'static str, F);

impl<K: Kind> Show for Of<K> {
    #[inline(never)]
    fn show(&self, out: &mut Vec<String>) {
        let text = if cfg!(new) { format!("{} {};", K::name(), self.0) } else { format!("{}={}", K::name(), self.0) };
        out.push(text);
    }
}
impl<F: Fn() -> u32 + Send> Show for Called<F> {
    #[inline(never)]
    fn show(&self, out: &mut Vec<String>) {
        let text = if cfg!(new) { format!("{} {};", self.0, (self.1)()) } else { format!("{}={}", self.0, (self.1)()) };
        out.push(text);
    }
}

static KEPT: Mutex<Vec<Box<dyn Show>>> = Mutex::new(Vec::new());

#[inline(never)]
fn keep(low: u32) {
    let high = low * 100;
    let mut kept = KEPT.lock().unwrap();
    if kept.is_empty() {
        kept.push(Box::new(Of::<Day>(1, PhantomData)));
        kept.push(Box::new(Of::<Night>(2, PhantomData)));
        kept.push(Box::new(Of::<Dusk>(3, PhantomData)));
    }
    #[cfg(new)]
    if low == 4 {
        kept.push(Box::new(Of::<Dawn>(4, PhantomData)));
    }
    kept.push(Box::new(Called("low", move || low)));
    kept.push(Box::new(Called("high", move || high)));
}

#[inline(never)]
fn show() -> String {
    let mut out = Vec::new();
    KEPT.lock().unwrap().iter().for_each(|kept| kept.show(&mut out));
    out.join(" ").trim_end_matches(';').to_owned()
}

#[no_mangle]
pub extern "C" fn command(line: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy();
    if let Some(rest) = line.strip_prefix("keep ") {
        keep(rest.trim().parse().unwrap_or(0));
    }
    println!("{}", show());
    let _ = std::io::stdout().flush();
}
