//! `cargo xtask bench`: figures against a baseline of the same run. Everything is interleaved and small.

mod pause;

use crate::{build, limits, setup};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use testsuite::bundle::{self, Signer};
use testsuite::compile;
use testsuite::process::run_ok;
use testsuite::program::{Config, Program};
use testsuite::target::{Launch, Target};
use testsuite::{Failure, Result, check, corpus, paths};

const LIMIT: Duration = Duration::from_secs(300);
const ROUNDS: usize = 15;

/// `what` is a part of a benchmark's name; without it all are run.
pub fn run(what: Option<&str>, stock: &[String]) -> Result<()> {
    setup::install(setup::DEMO)?;
    let bin = build::all(true)?;
    if std::env::var_os("HPATCH_BIN_DIR").is_none_or(|dir| dir != bin) {
        // The harness takes the programs that it starts from there: the optimised ones, not those beside this program.
        let mut again = Command::new(std::env::current_exe()?);
        again.arg("bench").args(what).env("HPATCH_BIN_DIR", &bin);
        return build::run(&mut again);
    }
    let bench = Bench { bin, folder: paths::scratch()?.join("bench") };
    std::fs::create_dir_all(&bench.folder)?;
    println!("| what | baseline | hpatch | |\n|---|---|---|---|");
    let wanted = |name: &str| what.is_none_or(|what| name.contains(what));
    if wanted("pause") {
        pause::run(&bench)?;
    }
    if wanted("call") {
        bench.calls()?;
    }
    if wanted("start") {
        bench.startup()?;
    }
    if wanted("size") {
        bench.sizes()?;
    }
    if wanted("build") {
        bench.redis()?;
    }
    if wanted("limits") {
        println!();
        limits::run(&bench.bin, stock)?;
    }
    Ok(())
}

fn row(what: &str, baseline: &str, hpatch: &str, verdict: &str) {
    println!("| {what} | {baseline} | {hpatch} | {verdict} |");
}

#[derive(Debug)]
struct Bench {
    bin: PathBuf,
    folder: PathBuf,
}

impl Bench {
    /// A C program of the bench folder, optimised.
    fn tool(&self, name: &str) -> Result<PathBuf> {
        let program = self.folder.join(name);
        let source = paths::programs().join("bench").join(format!("{name}.c"));
        run_ok(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source), LIMIT)?;
        Ok(program)
    }

    /// A scenario program in both builds with its signed bundle.
    fn pair(&self, source: &str) -> Result<(compile::Builds, PathBuf)> {
        let program = Program::read(&paths::programs().join(source))?;
        let builds = compile::compile(&program, &Config::new(&[]), &self.folder.join(&program.name))?;
        let bundle = builds.folder.join("fix.hpatch");
        bundle::build_signed(Signer::shared()?, &builds.old.module, &builds.new.module, &bundle, "fix")?;
        Ok((builds, bundle))
    }

    fn calls(&self) -> Result<()> {
        let (builds, bundle) = self.pair("bench/calls.c")?;
        let mut target = Target::start(&builds.old.program, &Launch::trusting(Signer::shared()?.trust()))?;
        let (mut plain, mut patched) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            plain.push(number(&target.ask("measure")?)?);
            target.apply(&bundle)?.expect(0)?;
            check!(target.ask("value")? == "4", "the patched function isn't what is measured");
            never_aliased(&target)?;
            patched.push(number(&target.ask("measure")?)?);
            target.revert_and_unmap("fix")?.expect(0)?;
        }
        let (plain, patched) = (median(&mut plain)?, median(&mut patched)?);
        row("one call", &format!("{plain:.2} ns"), &format!("{patched:.2} ns"), &format!("{:+.2} ns", patched - plain));
        let size = std::fs::metadata(&bundle)?.len();
        row("bundle, one small function", "", &format!("{size} bytes"), "with its signature");
        Ok(())
    }

    fn startup(&self) -> Result<()> {
        let startup = self.tool("startup")?;
        let library = self.bin.join("libhpatch_loader.so");
        let said = run_ok(Command::new(startup).arg("400").arg(&library).arg("/bin/true"), LIMIT)?;
        let mut columns = (Vec::new(), Vec::new());
        for line in said.stdout.lines() {
            let Some((without, with)) = line.split_once(' ') else { continue };
            columns.0.push(number(without)?);
            columns.1.push(number(with)?);
        }
        let (without, with) = (median(&mut columns.0)?, median(&mut columns.1)?);
        let verdict = format!("{:+.0} us", with - without);
        row("start of /bin/true", &format!("{without:.0} us"), &format!("{with:.0} us"), &verdict);
        Ok(())
    }

    fn sizes(&self) -> Result<()> {
        let library = self.bin.join("libhpatch_loader.so");
        let size = std::fs::metadata(&library)?.len();
        let dynamic = run_ok(Command::new("readelf").arg("-dW").arg(&library), LIMIT)?;
        let needed = dynamic.stdout.lines().filter(|line| line.contains("(NEEDED)")).count();
        row("loader", "", &format!("{} kB", size / 1000), &format!("{needed} NEEDED entries"));
        let (builds, _) = self.pair("bench/calls.c")?;
        let target = Target::start(&builds.old.program, &Launch::trusting(Signer::shared()?.trust()))?;
        let maps = std::fs::read_to_string(format!("/proc/{}/smaps", target.pid()))?;
        let (mut inside, mut resident) = (false, 0);
        for line in maps.lines() {
            if line.contains('-') && line.contains(':') && line.split(' ').count() > 5 {
                inside = line.ends_with("libhpatch_loader.so");
            }
            if let Some(amount) = line.strip_prefix("Rss:").filter(|_| inside) {
                resident += amount.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
            }
        }
        let threads = std::fs::read_dir(format!("/proc/{}/task", target.pid()))?.count();
        row("loader in a process", "", &format!("{resident} KiB resident"), &format!("{threads} thread"));
        Ok(())
    }

    /// `patchgen build` on redis-server, against the time in which objdump disassembles both files.
    fn redis(&self) -> Result<()> {
        if !corpus::available(&["redis"]) {
            row("patchgen build, redis-server", "", "", "skipped: no corpus tool");
            return Ok(());
        }
        setup::install(setup::REAL)?;
        let pair = corpus::ensure_pair("redis", "CVE-2024-51741", "redis-server")?;
        let bundle = self.folder.join("redis.hpatch");
        let (mut disassembly, mut builds) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let mut seconds = 0.0;
            for file in [&pair.old, &pair.new] {
                seconds += run_ok(Command::new("objdump").arg("-d").arg(file), LIMIT)?.elapsed.as_secs_f64();
            }
            disassembly.push(seconds);
            builds.push(bundle::build(&pair.old, &pair.new, &bundle, "redis", &[])?.expect(0)?.elapsed.as_secs_f64());
        }
        let (disassembly, build) = (median(&mut disassembly)?, median(&mut builds)?);
        row(
            "patchgen build, redis-server",
            &format!("{disassembly:.2} s (objdump -d of both)"),
            &format!("{build:.2} s"),
            &format!("{:.1}x", build / disassembly),
        );
        Ok(())
    }
}

/// Branch predictors take addresses with the same low 24 bits for one another.
fn never_aliased(target: &Target) -> Result<()> {
    let listed = testsuite::target::hpatch("list", target.pid(), &[])?.expect(0)?;
    let address = |word: &str| u64::from_str_radix(word.trim_start_matches("0x").trim_end_matches(','), 16).ok();
    let mut found = 0;
    for line in listed.stdout.lines() {
        let Some((left, right)) = line.split_once(" -> ") else { continue };
        let ends = (left.rsplit(' ').next().and_then(address), right.split(' ').next().and_then(address));
        let (Some(entry), Some(replacement)) = ends else { continue };
        check!((entry ^ replacement) & 0xff_ffff != 0, "{entry:#x} and {replacement:#x} are alike for the predictor");
        found += 1;
    }
    check!(found > 0, "no replaced function is listed: {}", listed.describe());
    Ok(())
}

fn number(text: &str) -> Result<f64> {
    text.trim().parse().map_err(|_| Failure(format!("`{text}` is no number")))
}

fn median(values: &mut [f64]) -> Result<f64> {
    check!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    Ok(values[values.len() / 2])
}
