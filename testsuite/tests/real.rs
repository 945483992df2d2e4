//! Real software under load, and every pair of three packages through `patchgen build`.

use libtest_mimic::{Arguments, Failed, Trial};
use testsuite::corpus::{self, CorpusPair};
use testsuite::story::Story;
use testsuite::{Failure, Result, check, real};

/// Packages whose every pair goes through `patchgen build`.
const PACKAGES: [&str; 3] = ["expat", "jq", "redis"];

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: each brings its own load.
    arguments.test_threads = Some(1);
    let trials = vec![
        trial("real/expat in python3", || real::expat_in_python(Story::Silent)),
        trial("real/libxml2 in xmllint", || real::libxml2_in_xmllint(Story::Silent)),
        trial("real/redis under redis-benchmark", || real::redis(Story::Silent)),
        trial("real/nginx under wrk", || real::nginx(Story::Silent)),
        trial("real/corpus: expat, jq, redis", table),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(name: &str, run: fn() -> Result<()>) -> Trial {
    Trial::test(name, move || run().map_err(Failed::from))
}

/// A bundle, a refusal with a code, or no change; an error is none of them. The table is printed for the reader of the log.
fn table() -> Result<()> {
    corpus::ensure_packages(&PACKAGES)?;
    let mut pairs: Vec<CorpusPair> = Vec::new();
    for package in PACKAGES {
        pairs.extend(corpus::pairs(package)?);
    }
    let rows = corpus::judge_all(&pairs)?;
    println!("{}", corpus::table(&rows));
    let errors: Vec<String> = rows.iter().filter_map(corpus::error_of).collect();
    check!(errors.is_empty(), "{} errors:\n{}", errors.len(), errors.join("\n"));
    let bundles = rows.iter().filter(|row| matches!(row.result, corpus::Verdict::Bundle { .. })).count();
    if bundles == 0 {
        return Err(Failure("not one pair of the corpus becomes a bundle".to_owned()));
    }
    Ok(())
}
