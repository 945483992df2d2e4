//! `cargo xtask bench limits`: `patchgen diff` on pairs of large stock programs, next to what no analysis of them can do without.
//!
//! Figures are CPU time (user and system, of the whole process), the least of several rounds in which all columns take turns: a machine that
//! others use too disturbs them least. Wall time only serves to compare two threads with one.

use crate::build;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testsuite::process::run_ok;
use testsuite::{Failure, Result, fail, paths};

const LIMIT: Duration = Duration::from_secs(1200);
const ROUNDS: usize = 5;

/// Runs its arguments and prints CPU seconds, wall seconds, peak memory in KiB and the exit code.
const MEASURE: &str = "
import os, sys, time
start = time.monotonic()
pid = os.fork()
if pid == 0:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(pid, 0)
print(used.ru_utime + used.ru_stime, time.monotonic() - start, used.ru_maxrss, os.waitstatus_to_exitcode(status))
";

/// What a program took, at the least.
#[derive(Debug, Clone, Copy)]
struct Taken {
    cpu: f64,
    wall: f64,
    /// Bytes.
    peak: f64,
}

/// Two builds with their debug files.
#[derive(Debug)]
struct Pair {
    name: String,
    old: [PathBuf; 2],
    new: [PathBuf; 2],
}

/// Measures the pairs with these names.
pub fn run(bin: &Path, names: &[String]) -> Result<()> {
    let mut cargo = build::cargo();
    build::run(cargo.args(["build", "--release", "-p", "patchgen", "--example", "limits"]))?;
    let limits = bin.join("examples/limits");
    println!(
        "| pair | L0 | L1 | L2 | `--no-types` | of L0 | peak | full | of L1 | of L2 | peak | two threads |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for name in names {
        match Pair::find(name)? {
            Some(pair) => println!("{}", row(&pair, &bin.join("patchgen"), &limits)?),
            None => println!("| {name} | skipped: not there, and no tool to fetch it | | | | | | | | | | |"),
        }
    }
    Ok(())
}

fn row(pair: &Pair, patchgen: &Path, limits: &Path) -> Result<String> {
    let floor = |level: &str| {
        let mut command = vec![limits.as_os_str().to_owned(), level.into()];
        command.extend([&pair.old, &pair.new].into_iter().flatten().map(|p| p.clone().into_os_string()));
        command
    };
    let diff = |more: &[&str]| {
        let mut command = vec![patchgen.as_os_str().to_owned(), "diff".into()];
        for (flag, [image, debug]) in [("--old", &pair.old), ("--new", &pair.new)] {
            command.extend([flag.into(), image.into(), format!("{flag}-debug").into(), debug.into()]);
        }
        command.extend(more.iter().map(Into::into));
        command
    };
    let columns = [
        (floor("l0"), "2"),
        (floor("l1"), "2"),
        (floor("l2"), "2"),
        (diff(&["--no-types"]), "2"),
        (diff(&[]), "2"),
        (diff(&[]), "1"),
    ];
    let mut best: [Option<Taken>; 6] = [None; 6];
    for _ in 0..ROUNDS {
        for (best, (command, threads)) in best.iter_mut().zip(&columns) {
            let taken = measure(command, threads)?;
            let least = best.get_or_insert(taken);
            least.cpu = least.cpu.min(taken.cpu);
            least.wall = least.wall.min(taken.wall);
            least.peak = least.peak.min(taken.peak);
        }
    }
    let [Some(l0), Some(l1), Some(l2), Some(code), Some(full), Some(one)] = best else { fail!("nothing was measured") };
    let megabytes = |t: Taken| format!("{:.0} MB", t.peak / 1e6);
    Ok(format!(
        "| {} | {:.3} s | {:.3} s | {:.3} s | {:.3} s | {:.1}x | {} | {:.3} s | {:.1}x | {:.1}x | {} | {:.2} of one's wall time |",
        pair.name,
        l0.cpu,
        l1.cpu,
        l2.cpu,
        code.cpu,
        code.cpu / l0.cpu,
        megabytes(code),
        full.cpu,
        full.cpu / l1.cpu,
        full.cpu / l2.cpu,
        megabytes(full),
        full.wall / one.wall
    ))
}

fn measure(command: &[std::ffi::OsString], threads: &str) -> Result<Taken> {
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", MEASURE]).args(command).env("RAYON_NUM_THREADS", threads);
    let said = run_ok(&mut python, LIMIT)?;
    let numbers: Vec<f64> = said.stdout.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // `diff` found differences, as it must here; whether they could go live (0) or not (4) isn't asked.
    let [cpu, wall, peak, 0.0 | 4.0] = numbers[..] else { fail!("could not measure: {}", said.describe()) };
    Ok(Taken { cpu, wall, peak: peak * 1024.0 })
}

impl Pair {
    /// The pair in `$STOCK_DIR` or the user's cache; fetched where the tool for it lies beside the repository.
    fn find(name: &str) -> Result<Option<Pair>> {
        let folder = match std::env::var_os("STOCK_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/hpatch-stock"),
        };
        let folder = folder.join(name);
        let tool = paths::repository().join("../shared/stock/stock.py");
        if !folder.join("pair.json").is_file() {
            if !tool.is_file() {
                return Ok(None);
            }
            run_ok(Command::new("/usr/bin/python3").arg(&tool).args(["fetch", name]), LIMIT)?;
        }
        let text = std::fs::read_to_string(folder.join("pair.json"))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| Failure(format!("pair.json: {error}")))?;
        let side = |which: &str| -> Result<[PathBuf; 2]> {
            let file = |what: &str| match json[which][what].as_str() {
                Some(path) => Ok(folder.join(path)),
                None => Err(Failure(format!("pair.json of {name} lacks {which}.{what}"))),
            };
            Ok([file("elf")?, file("debug")?])
        };
        Ok(Some(Pair { name: name.to_owned(), old: side("old")?, new: side("new")? }))
    }
}
