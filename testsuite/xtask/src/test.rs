//! `cargo xtask test`: everything that CI runs, cheapest first.

use crate::build::{self, cargo};
use crate::fuzz;
use crate::setup;
use crate::soak;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Instant;
use testsuite::{Failure, Result, corpus, fail, real};

pub fn run(filter: Option<&str>, full: bool, strength: Option<usize>) -> Result<()> {
    let start = Instant::now();
    step("programs that the tests need");
    setup::everything()?;
    if filter.is_none() {
        static_checks()?;
        step("unit tests");
        build::run(cargo().args([
            "test",
            "--quiet",
            "--workspace",
            "--exclude",
            "hpatch-loader",
            "--exclude",
            "testsuite",
        ]))?;
        build::run(cargo().args(["test", "--quiet", "-p", "testsuite", "--lib", "--test", "hygiene"]))?;
    }
    step("the programs under test");
    let folder = build::all(false)?;
    let mut totals = Totals::default();
    // Half of what scenarios do is to wait for processes.
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() + 1).to_string();
    let mut arguments = vec!["--test-threads", &threads];
    arguments.extend(filter);
    for suite in ["docs", "scenarios", "real", "stock"] {
        step(&format!("scenarios: {suite}"));
        if suite == "real" && !corpus::available(&["expat", "jq", "libxml2", "nginx", "redis"]) {
            println!("skipped: the corpus of real programs isn't there (HPATCH_CORPUS_TOOL names its corpus.py)");
            totals.skipped_suites += 1;
            continue;
        }
        if suite == "stock" && !real::stock::available("glibc") {
            println!(
                "skipped: no pair of stock images is there (HPATCH_STOCK_TOOL names stock.py, which fetches them)"
            );
            totals.skipped_suites += 1;
            continue;
        }
        if suite == "stock" {
            setup::install(setup::STOCK)?;
        }
        let mut command = cargo();
        command.args(["test", "--quiet", "-p", "testsuite", "--test", suite, "--"]).args(&arguments);
        command.env("HPATCH_BIN_DIR", &folder).stdout(Stdio::piped());
        if full {
            command.env("HPATCH_SUITE_FULL", "1");
        }
        if let Some(strength) = strength {
            command.env("HPATCH_SUITE_STRENGTH", strength.to_string());
        }
        let mut child = command.spawn()?;
        if let Some(stream) = child.stdout.take() {
            for line in BufReader::new(stream).lines() {
                let line = line?;
                totals.add(&line);
                println!("{line}");
            }
        }
        let status = child.wait()?;
        if !status.success() {
            totals.broken_suites += 1;
        }
    }
    if filter.is_none() {
        step("random programs");
        fuzz::sample()?;
        step("apply and revert, again and again");
        soak::run(300)?;
    }
    println!();
    if totals.skipped_suites > 0 {
        println!("suites skipped: {}", totals.skipped_suites);
    }
    println!("{} passed, {} failed ({} s)", totals.passed, totals.failed, start.elapsed().as_secs());
    if totals.failed > 0 || totals.broken_suites > 0 {
        return Err(Failure("scenarios failed".to_owned()));
    }
    if totals.passed == 0 {
        fail!("no scenario matches");
    }
    Ok(())
}

fn static_checks() -> Result<()> {
    step("formatting");
    build::run(cargo().args(["fmt", "--all", "--check"]))?;
    step("lints");
    build::run(cargo().args(["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]))?;
    build::run(cargo().args([
        "clippy",
        "--quiet",
        "-p",
        "hpatch-loader",
        "--profile",
        "loader",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Announces what comes next, and how long everything has taken until then.
fn step(what: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    println!("== {what} ({} s)", START.get_or_init(Instant::now).elapsed().as_secs());
}

#[derive(Debug, Default)]
struct Totals {
    passed: u64,
    failed: u64,
    broken_suites: u64,
    skipped_suites: u64,
}

impl Totals {
    /// Takes the figures of a line such as `test result: ok. 12 passed; 0 failed; ...`.
    fn add(&mut self, line: &str) {
        let Some((_, figures)) = line.split_once("test result: ") else { return };
        let figure = |word: &str| {
            let before = figures.split(word).next().unwrap_or_default();
            before.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        self.passed += figure(" passed");
        self.failed += figure(" failed");
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn result_lines_are_counted() {
        let mut totals = Totals::default();
        totals.add("test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.2s");
        totals.add("something else: 99 passed");
        totals.add("test result: ok. 30 passed; 0 failed");
        assert_eq!((totals.passed, totals.failed), (42, 3));
    }
}
