//! `cargo xtask soak`: a bundle goes in and out of one busy process, again and again. Nothing may be left over or grow.

use crate::build;
use hpatch::cmd::args::{Applying, Switching};
use hpatch::cmd::{apply, revert};
use std::path::Path;
use std::time::{Duration, Instant};
use testsuite::bundle::{self, Signer};
use testsuite::program::{Config, Program};
use testsuite::target::{Launch, Target};
use testsuite::{Failure, Result, check, compile, fail, paths};

/// Threads that call the patched functions all the time.
const THREADS: u32 = 8;
/// Bytes by which the resident memory of the process may differ between two moments: its own threads come and go through their stacks.
const RSS_NOISE: u64 = 512 << 10;

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Holds {
    mappings: usize,
    files: usize,
    threads: usize,
    memory_files: usize,
}

struct Moment {
    holds: Holds,
    rss: u64,
}

fn look(pid: u32) -> Result<Moment> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let count = |dir: &str| std::fs::read_dir(format!("/proc/{pid}/{dir}")).map(Iterator::count);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    let Some(kib) = rss else { fail!("process {pid} has no VmRSS") };
    let memory_files = maps.lines().filter(|l| l.contains("memfd:")).count();
    let holds = Holds { mappings: maps.lines().count(), files: count("fd")?, threads: count("task")?, memory_files };
    Ok(Moment { holds, rss: kib << 10 })
}

fn failed(what: &str, cycle: u64, error: &hpatch::error::Error) -> Failure {
    Failure(format!("cycle {cycle}, {what}: {}", error.render()))
}

/// Applies and reverts `cycles` times.
pub fn run(cycles: u64) -> Result<()> {
    build::all(false)?;
    let program = Program::read(&paths::programs().join("special/threads.c"))?;
    let builds = compile::compile(&program, &Config::new(&[]), &paths::scratch()?.join("special/soak"))?;
    let bundle = builds.folder.join("fix.hpatch");
    bundle::build_signed(Signer::shared()?, &builds.old.module, &builds.new.module, &bundle, "fix")?;
    let mut target = Target::start(&builds.old.program, &Launch::trusting(Signer::shared()?.trust()))?;
    target.ask(&format!("start {THREADS}"))?;
    let begun = Instant::now();
    // What is allocated once is allocated by then.
    let warm = (cycles / 10).clamp(1, 1000);
    cycle(target.pid(), &bundle, 0..warm)?;
    let first = look(target.pid())?;
    let mut worst = Duration::ZERO;
    let mut shown = Instant::now();
    for n in warm..cycles {
        let start = Instant::now();
        cycle(target.pid(), &bundle, n..n + 1)?;
        worst = worst.max(start.elapsed());
        if shown.elapsed() > Duration::from_secs(30) {
            let now = look(target.pid())?;
            println!(
                "{n} cycles: {} mappings, {} files, RSS {} KiB",
                now.holds.mappings,
                now.holds.files,
                now.rss >> 10
            );
            shown = Instant::now();
        }
    }
    let last = look(target.pid())?;
    check!(
        first.holds == last.holds,
        "the process holds {:?} after {cycles} cycles, {:?} after {warm}",
        last.holds,
        first.holds
    );
    let grown = last.rss.saturating_sub(first.rss);
    check!(grown <= RSS_NOISE, "the process grew by {} KiB in {cycles} cycles", grown >> 10);
    let value = target.ask("value")?;
    check!(value == "25", "reverted, `value` gives `{value}`");
    let said = target.ask(&format!("stop {THREADS}"))?;
    check!(said == "wrong 0, calls made", "the threads say `{said}`");
    target.finish()?;
    println!(
        "{cycles} cycles in {:.0} s under {THREADS} threads: {} mappings, {} files, {} threads, RSS {} KiB, as after {warm} (then {} KiB); \
         the slowest cycle took {:.1} ms",
        begun.elapsed().as_secs_f64(),
        last.holds.mappings,
        last.holds.files,
        last.holds.threads,
        last.rss >> 10,
        first.rss >> 10,
        worst.as_secs_f64() * 1e3
    );
    Ok(())
}

fn cycle(pid: u32, bundle: &Path, numbers: std::ops::Range<u64>) -> Result<()> {
    let (how, switching) = (Applying::default(), Switching { timeout: 10.0, ..Switching::default() });
    for n in numbers {
        apply::run(pid as i32, bundle, &how, &switching).map_err(|e| failed("apply", n, &e))?;
        revert::run(pid as i32, "fix", true, &switching).map_err(|e| failed("revert", n, &e))?;
    }
    Ok(())
}
