//! `cargo xtask self-diff`: every program and library of the machine against itself.

use crate::build;
use std::collections::BTreeMap;
use std::path::PathBuf;
use testsuite::self_diff::{self, Verdict};
use testsuite::{Result, check};

pub fn run(roots: &[PathBuf]) -> Result<()> {
    build::all(true)?;
    let folder = build::target_dir().join("release");
    let paths = self_diff::images(roots)?;
    println!("{} images", paths.len());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let verdicts = self_diff::judge_all(&folder.join("patchgen"), &paths, workers)?;
    let mut not_taken: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (path, verdict) in paths.iter().zip(&verdicts) {
        match verdict {
            Verdict::Same => {}
            Verdict::NotTaken(why) => *not_taken.entry(why).or_default() += 1,
            Verdict::Wrong(what) => wrong.push(format!("{}\n{what}", path.display())),
        }
    }
    for (why, n) in &not_taken {
        println!("{n} not taken: {why}");
    }
    let same = verdicts.iter().filter(|v| **v == Verdict::Same).count();
    println!(
        "{} images: {same} without a finding, {} not taken, {} wrong",
        paths.len(),
        not_taken.values().sum::<usize>(),
        wrong.len()
    );
    check!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
