//! `cargo xtask fuzz`: random pairs of programs through everything.

use crate::{build, setup};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testsuite::fuzz::{self, Case, Fixed, Source, Verdict};
use testsuite::{Failure, Result, check};

/// Seeds that every test run goes through.
const SAMPLE: Range<u64> = 0..12;

/// The first and one past the last of `A..B`.
pub fn seeds(text: &str) -> std::result::Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    parsed.filter(|range| !range.is_empty()).ok_or_else(|| format!("`{text}` isn't A..B with A below B"))
}

/// `limit`: no further seed is begun after so long.
pub fn run(
    seeds: Range<u64>,
    source: Option<Source>,
    fixed: &Fixed,
    jobs: usize,
    limit: Option<Duration>,
) -> Result<()> {
    setup::install(if source == Some(Source::Package) { setup::FUZZ_PACKAGES } else { setup::FUZZ })?;
    // Where that names other programs, those are meant.
    if std::env::var_os("HPATCH_BIN_DIR").is_none() {
        build::all(false)?;
    }
    all(seeds, source, fixed, jobs, limit)?;
    Ok(())
}

/// Seeds that were patched wrongly once: crashes and wrong answers by folded bases and ends of arrays. The last was patched rightly, and
/// `check-bundle` said otherwise.
const ONCE_WRONG: [u64; 7] = [1074, 1190, 3071, 3094, 4096, 5065, 7295];

/// Seeds of a package's program that every test run goes through; they share one old build. Left out in the open where the source can't be had.
const OF_PACKAGE: (&str, Range<u64>) = ("bzip2", 0..4);

/// What every test run does, with everything in its place.
pub fn sample() -> Result<()> {
    let mut seen = all(SAMPLE, None, &Fixed::default(), 2, None)?;
    for seed in ONCE_WRONG {
        seen += all(seed..seed + 1, None, &Fixed::default(), 1, None)?;
    }
    check!(seen > 0, "no seed shows anything");
    let (program, seeds) = OF_PACKAGE;
    all(seeds, Some(Source::Package), &Fixed { program: Some(program.to_owned()), ..Fixed::default() }, 2, None)?;
    Ok(())
}

/// Prints what isn't right at once, and the sums at the end. Gives the number of pairs that were patched rightly and print different things.
fn all(seeds: Range<u64>, source: Option<Source>, fixed: &Fixed, jobs: usize, limit: Option<Duration>) -> Result<u64> {
    let start = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let sums: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let wrong: Mutex<Vec<u64>> = Mutex::default();
    let work = || -> Result<()> {
        loop {
            if limit.is_some_and(|limit| start.elapsed() > limit) {
                return Ok(());
            }
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(());
            }
            let case = fuzz::judge(seed, source, fixed)?;
            let line = describe(&case);
            let poisoned = |_| Failure("a worker panicked".to_owned());
            *sums.lock().map_err(poisoned)?.entry(line.clone()).or_default() += 1;
            match &case.verdict {
                Verdict::Wrong(why) => {
                    println!("{seed} {}: WRONG: {why}", case.label);
                    wrong.lock().map_err(|_| Failure("a worker panicked".to_owned()))?.push(seed);
                }
                Verdict::Undefined(why) => println!("{seed} {}: {line}: {why}", case.label),
                Verdict::Refused(_) => println!("{seed} {}: {line}", case.label),
                _ => {}
            }
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for result in results {
        result.map_err(|_| Failure("a worker panicked".to_owned()))??;
    }
    if next.load(Ordering::Relaxed) < seeds.end {
        println!("the time was up at seed {}", next.load(Ordering::Relaxed));
    }
    let sums = sums.into_inner().map_err(|_| Failure("a worker panicked".to_owned()))?;
    for (what, count) in &sums {
        println!("{count:6} {what}");
    }
    let wrong = wrong.into_inner().map_err(|_| Failure("a worker panicked".to_owned()))?;
    check!(wrong.is_empty(), "wrong: seeds {wrong:?}");
    Ok(sums.iter().filter(|(what, _)| what.contains("the builds differ")).map(|(_, count)| count).sum())
}

fn describe(case: &Case) -> String {
    match &case.verdict {
        Verdict::Nothing => "no pair".to_owned(),
        Verdict::Same => "no difference".to_owned(),
        Verdict::Unavailable => "skipped: the source package can't be fetched".to_owned(),
        Verdict::Undefined(_) => "differs where the changed source has no meaning".to_owned(),
        Verdict::Right { scope, seen } => {
            let seen = if *seen { "the builds differ in what they print" } else { "the builds print the same" };
            format!("right: {scope}, {seen}")
        }
        Verdict::Refused(codes) => format!("refused: {}", codes.iter().cloned().collect::<Vec<_>>().join(" ")),
        Verdict::Wrong(_) => "WRONG".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::seeds;

    #[test]
    fn ranges_of_seeds() {
        assert_eq!(seeds("3..5"), Ok(3..5));
        for wrong in ["5", "5..5", "6..5", "a..b", "-1..3"] {
            assert!(seeds(wrong).is_err(), "accepted {wrong}");
        }
    }
}
