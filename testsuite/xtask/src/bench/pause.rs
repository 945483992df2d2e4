//! How long a process stands still, against the bare limit: the same threads stopped, their registers read, and let go.
//!
//! Bare and full stops alternate, once on an idle machine and once with every processor kept awake by a spinner of the idle class: a
//! processor that sleeps wakes late, and that differs more than what is compared.

use super::{Bench, LIMIT, median, number, row};
use std::path::Path;
use std::process::{Child, Command};
use testsuite::bundle::{self, Signer};
use testsuite::compile;
use testsuite::process::run_ok;
use testsuite::program::{Config, Program};
use testsuite::target::{Launch, Target, hpatch};
use testsuite::{Failure, Result, check, fail, paths};

/// Threads besides `main`, functions that change, rounds.
const CASES: [(usize, usize, usize); 5] = [(0, 1, 25), (8, 1, 25), (64, 10, 25), (512, 10, 15), (2048, 10, 9)];
const CHURN_ROUNDS: usize = 60;

/// A spinner on every processor; ended when it goes out of scope.
struct Awake(Child);

impl Drop for Awake {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One stop of `hpatch apply`, in microseconds.
#[derive(Debug, Default)]
struct Figures {
    pause: Vec<f64>,
    check: Vec<f64>,
    write: Vec<f64>,
}

impl Figures {
    fn add(&mut self, target: &Target, bundle: &Path) -> Result<()> {
        let output = hpatch("apply", target.pid(), &[&bundle.to_string_lossy(), "--json"])?.expect(0)?;
        let member = |name: &str| -> Result<f64> {
            let quoted = format!("\"{name}\":");
            let Some((_, rest)) = output.stdout.split_once(&quoted) else { fail!("no {name} in {}", output.stdout) };
            number(rest.split([',', '}']).next().unwrap_or_default())
        };
        self.pause.push(member("pause_us")?);
        self.check.push(member("check_us")?);
        self.write.push(member("write_us")?);
        hpatch("revert", target.pid(), &["fix", "--unmap"])?.expect(0)?;
        Ok(())
    }
}

pub fn run(bench: &Bench) -> Result<()> {
    let stop = bench.tool("stop")?;
    let awake = bench.tool("awake")?;
    let source = Program::read(&paths::programs().join("bench/idle.c"))?;
    let folder = bench.folder.join("idle");
    let (plain, signer) = (Config::new(&[]), Signer::shared()?);
    let old = compile::build(&source, &plain, &folder.join("old"), &[])?;
    let mut bundles = Vec::new();
    for (functions, defined) in [(1, &["NEW"][..]), (10, &["NEW", "TEN"])] {
        let new = compile::build(&source, &plain, &folder.join(format!("new-{functions}")), defined)?;
        let path = folder.join(format!("fix-{functions}.hpatch"));
        bundle::build_signed(signer, &old.module, &new.module, &path, "fix")?;
        bundles.push((functions, path));
    }
    for kept_awake in [false, true] {
        let spinner = if kept_awake { Some(Awake(Command::new(&awake).spawn()?)) } else { None };
        let state = if kept_awake { "processors awake" } else { "idle" };
        for (threads, functions, rounds) in CASES {
            let Some((_, bundle)) = bundles.iter().find(|(n, _)| *n == functions) else { continue };
            let mut target = Target::start(&old.program, &Launch::trusting(signer.trust()))?;
            target.ask(&format!("idle {threads}"))?;
            let (mut bare, mut bare_write, mut ours) = (Vec::new(), Vec::new(), Figures::default());
            for _ in 0..rounds {
                let said = run_ok(Command::new(&stop).arg(target.pid().to_string()).arg("1"), LIMIT)?;
                let Some((stopped, wrote)) = said.stdout.trim().split_once(' ') else { fail!("{}", said.describe()) };
                bare.push(number(stopped)?);
                bare_write.push(number(wrote)?);
                ours.add(&target, bundle)?;
            }
            let (bare, pause) = (median(&mut bare)?, median(&mut ours.pause)?);
            let bare_write = median(&mut bare_write)?;
            let (check, write) = (median(&mut ours.check)?, median(&mut ours.write)?);
            let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            row(
                &format!("pause, {}, {}, {state}", plural(threads + 1, "thread"), plural(functions, "function")),
                &format!("{bare:.0} us"),
                &format!("{pause:.0} us"),
                &format!(
                    "{:.2}x; check {:.2} us a thread, write {:.2} us a function ({:.2}x of {bare_write:.2} us for the bare calls)",
                    pause / bare,
                    check / (threads + 1) as f64,
                    write / functions as f64,
                    write / bare_write,
                ),
            );
        }
        drop(spinner);
    }
    churn(&old.program, &bundles[0].1)
}

/// Four threads make four others at a time and wait for their ends.
fn churn(program: &Path, bundle: &Path) -> Result<()> {
    let mut target = Target::start(program, &Launch::trusting(Signer::shared()?.trust()))?;
    target.ask("churn 4")?;
    let mut figures = Figures::default();
    for _ in 0..CHURN_ROUNDS {
        figures.add(&target, bundle)?;
    }
    let middle = median(&mut figures.pause)?;
    let late = figures.pause.get(CHURN_ROUNDS * 95 / 100).ok_or_else(|| Failure("too few rounds".to_owned()))?;
    check!(middle <= *late, "the pauses aren't in order");
    row(
        "pause while threads are born and end",
        "",
        &format!("{middle:.0} us"),
        &format!("95 of 100 below {late:.0} us"),
    );
    Ok(())
}
