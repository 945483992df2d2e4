// Rust: threads that run the function while it changes, a channel, a lock and a condition variable; a panic that ends a thread.
//#Hazard: C8,D1,S1
//#Matrix: opt=-O0,-O2
//#Flags: -pthread
//#Expect: live
//#Warm: start 4
//#Call: step
//#Call: fail 3
//#Call: fail 0
//#After: alive => 4 work
//#Reverted: alive => 4
use std::ffi::{c_char, CStr};
use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

static STOP: AtomicBool = AtomicBool::new(false);
static ALIVE: AtomicUsize = AtomicUsize::new(0);
static TURN: Mutex<u64> = Mutex::new(0);
static TURNED: Condvar = Condvar::new();

#[inline(never)]
fn step(x: u64) -> u64 {
    if cfg!(new) {
        x.wrapping_mul(31).rotate_left(7) ^ 5
    } else {
        x.wrapping_mul(33) ^ 9
    }
}

#[inline(never)]
fn work() {
    ALIVE.fetch_add(1, Ordering::Relaxed);
    let mut x = 1;
    while !STOP.load(Ordering::Relaxed) {
        for _ in 0..1000 {
            x = step(black_box(x));
        }
        *TURN.lock().unwrap() += 1;
        TURNED.notify_all();
        thread::sleep(Duration::from_micros(50));
    }
}

#[inline(never)]
fn failing(n: u64) -> u64 {
    if n == 0 {
        panic!("{} can't be", if cfg!(new) { "zero" } else { "nothing" });
    }
    if cfg!(new) {
        n + 40
    } else {
        n
    }
}

#[inline(never)]
fn alive() -> String {
    // Somebody takes a turn after this question: the threads go on in whatever code is there now.
    let before = *TURN.lock().unwrap();
    let turns = TURN.lock().unwrap();
    drop(TURNED.wait_while(turns, |turns| *turns == before).unwrap());
    let alive = ALIVE.load(Ordering::Relaxed);
    if cfg!(new) {
        format!("{alive} work")
    } else {
        alive.to_string()
    }
}

fn answer(line: &str) -> String {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let number: u64 = rest.parse().unwrap_or(0);
    match word {
        "start" => {
            for _ in 0..number {
                thread::spawn(work);
            }
            while ALIVE.load(Ordering::Relaxed) < number as usize {
                thread::yield_now();
            }
            String::new()
        }
        "step" => {
            let (send, receive) = mpsc::channel();
            thread::spawn(move || send.send(step(black_box(77))));
            receive.recv().map_or(String::new(), |x| x.to_string())
        }
        "fail" => match thread::spawn(move || failing(black_box(number))).join() {
            Ok(value) => value.to_string(),
            Err(why) => format!("ended: {}", why.downcast_ref::<String>().map_or("?", |text| text)),
        },
        _ => alive(),
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
