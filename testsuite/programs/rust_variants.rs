// Rust: variants of an enum get other numbers; the live values have the old ones. One that comes behind the others changes none of them.
//#Hazard: D6
//#Matrix: opt=-O2 cflags=--cfg=middle,--cfg=niche,--cfg=members,--cfg=behind
//#Expect: start
//#Expect[cflags=--cfg=behind]: safe
//#Accept: HP0219
//#Call: put 3
//#Call: put 7
use std::ffi::{c_char, CStr};
use std::io::Write;
use std::sync::Mutex;

#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
#[allow(dead_code)]
enum Level {
    Low,
    High,
    #[cfg(all(new, niche))]
    Panic,
}

#[allow(dead_code)]
enum State {
    Idle,
    #[cfg(all(new, middle))]
    Resolving,
    Start(u32),
    Stop(u32),
    #[cfg(all(new, behind))]
    Closed,
}

struct Job {
    state: State,
    level: Option<Level>,
    #[cfg(not(all(new, members)))]
    name: String,
    path: String,
    #[cfg(all(new, members))]
    name: String,
}

static JOBS: Mutex<Vec<Job>> = Mutex::new(Vec::new());

#[inline(never)]
fn put(n: u32) {
    let state = match n % 3 {
        0 => State::Start(n),
        1 => State::Stop(n),
        _ => State::Idle,
    };
    let level = [None, Some(Level::Low), Some(Level::High)][n as usize % 3];
    if cfg!(behind) {
        JOBS.lock().unwrap().clear();
    }
    JOBS.lock().unwrap().push(Job { state, level, name: "joe".to_owned(), path: "/".repeat(n as usize) });
}

#[inline(never)]
fn told(job: &Job) -> String {
    let state = match job.state {
        State::Idle => "idle".to_owned(),
        #[cfg(all(new, middle))]
        State::Resolving => "resolving".to_owned(),
        State::Start(n) => format!("start {n}"),
        State::Stop(n) => format!("stop {n}"),
        #[cfg(all(new, behind))]
        State::Closed => "closed".to_owned(),
    };
    let level = match job.level {
        None => "no level",
        Some(Level::Low) => "low",
        Some(Level::High) => "high",
        #[cfg(all(new, niche))]
        Some(Level::Panic) => "panic",
    };
    let mark = if cfg!(new) { 2 } else { 1 };
    format!("{state} {level} {} {} {mark}", job.name, job.path)
}

#[no_mangle]
pub extern "C" fn command(line: *const c_char) {
    // SAFETY: the driver passes a terminated line.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy();
    put(line.split_once(' ').and_then(|(_, n)| n.parse().ok()).unwrap_or(0));
    for job in JOBS.lock().unwrap().iter() {
        println!("{}", told(job));
    }
    let _ = std::io::stdout().flush();
}
