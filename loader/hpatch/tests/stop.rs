//! The stop and the check, on programs that make it hard. One test function for each hazard row; all run on the thread that traces.

mod common;

use std::time::{Duration, Instant};

use common::{Running, calls_program, coroutine_program, packed_program, threads_program};
use hpatch::check::deep::Deep;
use hpatch::check::forbidden::Forbidden;
use hpatch::check::scan::{Hit, Lookup, Scanner, Use, View};
use hpatch::check::stacks::{Judged, Stacks};
use hpatch::check::unwind::Unwinder;
use hpatch::target::Target;
use hpatch::trace::stop::{StopError, Stopper};
use hpatch_core::abi::Range;

const DEADLINE: Duration = Duration::from_millis(500);

fn threads(kind: &str, n: u32) -> Running {
    Running::start(threads_program(), &[kind, &n.to_string()])
}

fn forbidden(marks: &[u64]) -> Forbidden {
    let range = |start, end, func| Range { start, end, func, reserved: 0 };
    Forbidden::new(
        vec![range(marks[0], marks[2], 0), range(marks[3], marks[4], 1)],
        vec![marks[1]],
        vec![marks[0], marks[3]],
    )
}

/// Stops, checks, lets go.
fn check(r: &Running, unwinder: bool) -> Vec<Hit> {
    let target = Target::open(r.pid()).unwrap();
    let unwinder = unwinder.then(|| Unwinder::load(&target));
    let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
    let mut scanner = Scanner::new(16, 64 << 20);
    let maps = target.maps().unwrap();
    for listed in [None, Some(maps.as_slice())] {
        let stopped = stopper.stop(&target).unwrap();
        let lookup = Lookup { maps_file: &target.maps_file, listed };
        scanner.check(stopped.threads().map(View::of), stopped.any_tid(), &lookup, &forbidden(&r.marks));
        if let Some(u) = &unwinder {
            u.clear(&mut scanner.hits, stopped.threads(), &target.mem);
        }
    }
    scanner.hits.clone()
}

fn stop_once(r: &Running) -> (usize, Duration) {
    let target = Target::open(r.pid()).unwrap();
    let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
    let mut stopped = stopper.stop(&target).unwrap();
    let n = stopped.threads().count();
    (n, stopped.release().pause)
}

/// Hazard S5: nobody sees an EINTR that wouldn't have been there.
#[test]
fn no_blocking_call_notices_the_stop() {
    let names = std::process::Command::new(calls_program()).output().unwrap();
    let names: Vec<String> = String::from_utf8(names.stdout).unwrap().lines().map(str::to_owned).collect();
    assert!(names.len() >= 47);
    let mut expected: Vec<String> = Vec::new();
    for some in names.chunks(12) {
        let mut running: Vec<Running> = some.iter().map(|n| Running::start(calls_program(), &[n])).collect();
        expected.extend(running.iter_mut().map(Running::line));
    }
    let mut repaired = 0;
    let mut disturbed = Vec::new();
    for some in names.chunks(12) {
        let mut running: Vec<Running> = some.iter().map(|n| Running::start(calls_program(), &[n])).collect();
        std::thread::sleep(Duration::from_millis(50));
        for _ in 0..3 {
            for r in &running {
                let target = Target::open(r.pid()).unwrap();
                let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
                let stopped = stopper.stop(&target).unwrap();
                repaired += stopped.threads().filter(|t| t.repaired).count();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        disturbed.extend(running.iter_mut().map(Running::line));
    }
    for ((name, want), got) in names.iter().zip(&expected).zip(&disturbed) {
        // io_uring_enter waits for ever here: it must still wait afterwards.
        if want == "stuck" && got == "stuck" {
            continue;
        }
        let fields = |s: &str| s.split(' ').map(|f| f.parse::<i64>().unwrap_or(-9)).collect::<Vec<_>>();
        let (w, g) = (fields(want), fields(got));
        assert_eq!(w.len(), 3, "{name}: undisturbed {want}");
        assert_eq!(g.len(), 3, "{name}: stopped {got}");
        assert_eq!(w[..2], g[..2], "{name}: undisturbed {want}, stopped {got}");
        // Relative timeouts of repaired calls start anew; nothing comes early.
        assert!(g[2] >= 590 && g[2] < 1800, "{name}: undisturbed {want}, stopped {got}");
    }
    assert!(repaired >= 10, "the calls that need the repair are in the list: {repaired}");
}

/// Hazard S5: a signal that arrives during the stop interrupts what it would have interrupted without it, and as soon.
#[test]
fn a_signal_during_the_stop_still_interrupts() {
    let names = std::process::Command::new(calls_program()).output().unwrap();
    let names: Vec<String> = String::from_utf8(names.stdout).unwrap().lines().map(str::to_owned).collect();
    let outcome = |stop: bool| {
        let mut lines = Vec::new();
        for some in names.chunks(12) {
            let mut running: Vec<Running> =
                some.iter().map(|n| Running::start(calls_program(), &[n, "signal"])).collect();
            std::thread::sleep(Duration::from_millis(150));
            for r in &running {
                let target = Target::open(r.pid()).unwrap();
                let worker = target.tasks().unwrap().into_iter().find(|t| *t != r.pid()).unwrap();
                let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
                let stopped = stop.then(|| stopper.stop(&target).unwrap());
                // SAFETY: no memory is involved.
                unsafe { libc::syscall(libc::SYS_tgkill, r.pid(), worker, libc::SIGUSR1) };
                drop(stopped);
            }
            lines.extend(running.iter_mut().map(Running::line));
        }
        lines
    };
    let (alone, stopped) = (outcome(false), outcome(true));
    let fields = |s: &str| s.split(' ').map(|f| f.parse::<i64>().unwrap_or(-9)).collect::<Vec<_>>();
    let mut interrupted = 0;
    for ((name, a), s) in names.iter().zip(&alone).zip(&stopped) {
        if a == "stuck" && s == "stuck" {
            continue;
        }
        let (a, s) = (fields(a), fields(s));
        assert_eq!(a[..2], s[..2], "{name}: alone {a:?}, stopped {s:?}");
        if a[..2] == [-1, i64::from(libc::EINTR)] {
            interrupted += 1;
            // Not only when its own timeout of 600 ms ended.
            assert_eq!(a[2] < 550, s[2] < 550, "{name}: alone {a:?}, stopped {s:?}");
        }
    }
    assert!(interrupted >= 40, "{interrupted} calls were interrupted");
}

/// Hazards S1 and S5: threads that sleep inside the code are pursued, not caught, and notice nothing.
#[test]
fn no_blocking_call_notices_the_pursuit() {
    let names = std::process::Command::new(calls_program()).output().unwrap();
    let names: Vec<String> = String::from_utf8(names.stdout).unwrap().lines().map(str::to_owned).collect();
    for some in names.chunks(12) {
        let mut running: Vec<Running> = some.iter().map(|n| Running::start(calls_program(), &[n])).collect();
        std::thread::sleep(Duration::from_millis(50));
        for r in &running {
            let target = Target::open(r.pid()).unwrap();
            let worker = target.tasks().unwrap().into_iter().find(|t| *t != r.pid()).unwrap();
            let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
            let mut looks = 0;
            let caught = stopper.catch(&target, &[worker], Duration::from_millis(20), |_| {
                looks += 1;
                true
            });
            assert!(matches!(caught, Ok(None)) && looks > 0);
        }
        for (name, r) in some.iter().zip(&mut running) {
            let line = r.line();
            assert!(!line.starts_with("-1 4 "), "{name}: {line}");
        }
    }
}

/// Hazard S4: threads that are born and end during the stop.
#[test]
fn storm_of_births() {
    let mut r = threads("storm", 4);
    let target = Target::open(r.pid()).unwrap();
    let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let mut stopped = stopper.stop(&target).unwrap();
        let before = cpu_time(&r);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(before, cpu_time(&r));
        let t = stopped.release();
        longest = longest.max(t.stop);
        drop(stopped);
        std::thread::sleep(Duration::from_millis(2));
    }
    let a: i64 = r.ask("births").parse().unwrap();
    let on = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        r.ask("births").parse::<i64>().unwrap() > a
    });
    assert!(on, "threads are still being born");
    eprintln!("storm: longest stop {longest:?}");
    r.end();
}

/// Sum of the user and system time of all threads: it doesn't grow while the process is stopped.
fn cpu_time(r: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", r.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Hazard S4: odd states.
#[test]
fn odd_threads() {
    for (kind, n, expect) in [("masked", 3, 4), ("spinner", 3, 4), ("idle", 64, 65), ("leader_gone", 1, 1)] {
        let r = threads(kind, n);
        for _ in 0..3 {
            let (stopped, pause) = stop_once(&r);
            assert_eq!(stopped, expect, "{kind}");
            assert!(pause < DEADLINE, "{kind}: {pause:?}");
        }
        r.end();
    }
}

#[test]
fn kernel_workers_are_no_obstacle() {
    let r = threads("uring", 0);
    let tasks = Target::open(r.pid()).unwrap().tasks().unwrap();
    assert!(tasks.len() >= 2, "io_uring workers are listed: {tasks:?}");
    for _ in 0..3 {
        stop_once(&r);
    }
    r.end();
}

/// A vfork child runs in the same memory and isn't listed: the stop is called off, at once.
#[test]
fn vfork_is_waited_for() {
    let r = threads("vfork", 1);
    let target = Target::open(r.pid()).unwrap();
    let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
    let begun = Instant::now();
    assert!(matches!(stopper.stop(&target), Err(StopError::Vfork { .. })));
    assert!(begun.elapsed() < Duration::from_millis(450), "{:?}", begun.elapsed());
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(stop_once(&r).0, 2);
    r.end();
}

/// A process stopped by job control stays stopped.
#[test]
fn group_stop_is_kept() {
    let r = threads("idle", 2);
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", r.pid())).unwrap().contains(") T ");
    // SAFETY: no memory is involved.
    unsafe { libc::kill(r.pid(), libc::SIGSTOP) };
    // A detached thread goes back to its stop as soon as it is scheduled.
    let stays = || {
        (0..2000).any(|_| {
            state() || {
                std::thread::sleep(Duration::from_millis(1));
                false
            }
        })
    };
    assert!(stays());
    assert_eq!(stop_once(&r).0, 3);
    assert!(stays());
    // SAFETY: no memory is involved.
    unsafe { libc::kill(r.pid(), libc::SIGCONT) };
    assert_eq!(stop_once(&r).0, 3);
    r.end();
}

/// A signal that comes upon the stop is delivered.
#[test]
fn signals_are_not_swallowed() {
    for _ in 0..20 {
        let mut r = threads("idle", 1);
        let target = Target::open(r.pid()).unwrap();
        let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
        let stopped = stopper.stop(&target).unwrap();
        // SAFETY: no memory is involved.
        unsafe { libc::kill(r.pid(), libc::SIGTERM) };
        drop(stopped);
        match r.child.wait() {
            Ok(status) => assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGTERM)),
            // The tracer is the parent too, and may have taken the exit status. An idle process ends by nothing but the signal.
            Err(_) => assert!(!target.is_alive()),
        }
    }
}

/// Hazard S13: the target ends while it is stopped.
#[test]
fn target_killed_during_the_stop() {
    let mut r = threads("idle", 4);
    let target = Target::open(r.pid()).unwrap();
    let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
    let stopped = stopper.stop(&target).unwrap();
    // SAFETY: no memory is involved.
    unsafe { libc::kill(r.pid(), libc::SIGKILL) };
    drop(stopped);
    // The tracer reaped every thread; being the parent too, it may have taken the exit status with that.
    let _ = r.child.wait();
    assert!(!target.is_alive());
    assert!(matches!(stopper.stop(&target), Err(StopError::Vanished)));
}

/// Hazard S14.
#[test]
fn another_tracer_is_named() {
    let r = threads("idle", 1);
    let target = Target::open(r.pid()).unwrap();
    let mut first = Stopper::new(&target, DEADLINE).unwrap();
    let stopped = first.stop(&target).unwrap();
    let pid = r.pid();
    std::thread::spawn(move || {
        let target = Target::open(pid).unwrap();
        let mut second = Stopper::new(&target, DEADLINE).unwrap();
        assert!(matches!(second.stop(&target), Err(StopError::Traced(_))));
    })
    .join()
    .unwrap();
    drop(stopped);
    r.end();
}

/// Hazard S1: a frame that returns into the function.
#[test]
fn returning_is_seen() {
    let mut r = threads("hot", 3);
    let hits = check(&r, true);
    assert_eq!(hits.len(), 3, "{hits:?}");
    assert!(hits.iter().all(|h| h.addr == r.marks[1] && h.func == 0 && matches!(h.how, Use::Returning { .. })));
    assert_eq!(r.ask("release"), "released");
    assert_eq!(check(&r, true), []);
    r.end();
}

#[test]
fn executing_is_seen() {
    let mut r = threads("spin", 1);
    let hits = check(&r, true);
    assert_eq!(hits.len(), 1, "{hits:?}");
    assert!(hits[0].how == Use::Executing && hits[0].func == 1);
    assert_eq!(r.ask("release"), "released");
    assert_eq!(check(&r, true), []);
    r.end();
}

/// Hazard S2: the handler runs on an alternate stack, the function on the one it interrupted.
#[test]
fn interrupted_stack_is_seen() {
    for (kind, func) in [("alternate", 1), ("alternate_hot", 0)] {
        let r = threads(kind, 1);
        let hits = check(&r, true);
        assert_eq!(hits.len(), 1, "{kind}: {hits:?}");
        assert_eq!(hits[0].func, func, "{kind}");
        r.end();
    }
}

/// What a search of all memory finds, and whether it shows that there are only the threads' stacks.
fn search(r: &Running, stacks: Stacks) -> (Vec<Hit>, bool) {
    let target = Target::open(r.pid()).unwrap();
    let mut deep = Deep::new(&target, stacks, 1 << 30, Vec::new()).unwrap();
    let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
    let stopped = stopper.stop(&target).unwrap();
    let mut hits = Vec::new();
    let list = target.maps().unwrap();
    let views = stopped.threads().map(View::of);
    let only = deep.check(&list, views, false, stopped.any_tid(), &forbidden(&r.marks), &mut hits);
    (hits, only)
}

fn stacks(r: &Running) -> Stacks {
    Stacks::of(&Target::open(r.pid()).unwrap(), &Judged::default())
}

/// Hazard S2: a coroutine that gave up control inside the function; no thread's stack leads there.
#[test]
fn suspended_coroutine_is_seen() {
    for kind in ["coroutine", "nested_coroutine"] {
        let r = Running::start(coroutine_program(), &[kind, "0"]);
        assert!(matches!(stacks(&r), Stacks::Contexts(_)));
        let (hits, only) = search(&r, stacks(&r));
        assert!(!only, "{kind}");
        // A stack in a variable of a frame is part of the thread's own: the scan sees that.
        let seen = if kind == "coroutine" { hits } else { check(&r, false) };
        assert!(seen.iter().any(|h| h.addr == r.marks[1] && h.func == 0), "{kind}: {seen:?}");
        r.end();
    }
    let r = threads("idle", 1);
    assert!(matches!(stacks(&r), Stacks::Threads));
    r.end();
}

/// Words that look like return addresses and aren't: the scan takes them for such, the frame tables clear them.
#[test]
fn left_overs_are_cleared() {
    for program in [threads_program(), packed_program()] {
        let r = Running::start(program, &["stale", "2"]);
        let maps = Target::open(r.pid()).unwrap().maps().unwrap();
        let first_pages = maps.iter().filter(|m| m.offset == 0 && m.path == program.to_string_lossy()).count();
        assert_eq!(first_pages > 1, program == packed_program());
        assert!(check(&r, false).len() > 2);
        assert_eq!(check(&r, true), []);
        r.end();
    }
}

/// In a program that could have other stacks, memory tells whether there are any: only with such a sign does a word anywhere count.
#[test]
fn words_in_memory_are_no_frames_without_a_stack() {
    let r = Running::start(coroutine_program(), &["noted", "0"]);
    let (hits, only) = search(&r, Stacks::Others);
    assert!(!only && hits.iter().any(|h| h.addr == r.marks[1]), "{hits:?}");
    let (hits, only) = search(&r, stacks(&r));
    assert!(only && hits.is_empty(), "{hits:?}");
    r.end();
}

/// Not a limit, a record: printed with `--nocapture`.
#[test]
fn pauses() {
    for n in [0, 8, 64] {
        let r = threads("idle", n);
        let target = Target::open(r.pid()).unwrap();
        let mut stopper = Stopper::new(&target, DEADLINE).unwrap();
        let mut scanner = Scanner::new(n as usize + 1, 64 << 20);
        let f = forbidden(&r.marks);
        let mut all = Vec::new();
        for _ in 0..60 {
            let mut stopped = stopper.stop(&target).unwrap();
            let t0 = Instant::now();
            let lookup = Lookup { maps_file: &target.maps_file, listed: None };
            scanner.check(stopped.threads().map(View::of), stopped.any_tid(), &lookup, &f);
            let check = t0.elapsed();
            let t = stopped.release();
            all.push((t.pause, t.stop, check, t.resume, scanner.bytes));
            drop(stopped);
            std::thread::sleep(Duration::from_millis(1));
        }
        all.sort();
        eprintln!("{} threads: (pause, stop, check, resume, bytes) median {:?} min {:?}", n + 1, all[30], all[0]);
        assert!(all[30].0 < Duration::from_millis(100));
        r.end();
    }
}
