//! Every scenario program in its matrix, and the scenarios with a script of their own.

use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::sync::Mutex;
use testsuite::program::Program;
use testsuite::turn::Turn;
use testsuite::{left_out, paths, scenario, special};

/// What scenarios couldn't try.
static LEFT_OUT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn main() {
    let arguments = Arguments::from_args();
    let full = std::env::var_os("HPATCH_SUITE_FULL").is_some();
    let strength = std::env::var("HPATCH_SUITE_STRENGTH").ok().and_then(|s| s.parse().ok());
    let mut missing = BTreeSet::new();
    let mut trials = match Program::all(&paths::programs()) {
        Ok(programs) => programs.iter().flat_map(|program| matrix(program, full, strength, &mut missing)).collect(),
        Err(failure) => vec![Trial::test("programs", move || Err(Failed::from(failure)))],
    };
    for case in special::cases() {
        let name = format!("special/{} [{}]", case.name, case.hazards);
        trials.push(Trial::test(name, move || {
            let result = Turn::wait(case.name).and_then(|_turn| (case.run)());
            let reasons = left_out::reasons().into_iter().map(|why| format!("{}: {why}", case.name));
            LEFT_OUT.lock().map(|mut all| all.extend(reasons)).map_err(|_| "another scenario panicked")?;
            result.map_err(Failed::from)
        }));
    }
    for program in missing {
        println!("rows left out, because the machine has no {program}");
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    for line in LEFT_OUT.lock().iter().flat_map(|all| all.iter()) {
        println!("left out, wholly or in part: {line}");
    }
    conclusion.exit();
}

fn matrix(program: &Program, full: bool, strength: Option<usize>, missing: &mut BTreeSet<String>) -> Vec<Trial> {
    let (all, lacking) = program.full_matrix();
    missing.extend(lacking);
    let rows = match (full, strength) {
        (true, None) => all,
        (_, strength) => match strength.or(program.strength) {
            Some(strength) => program.sample(&all, strength),
            None => program.side_by_side().into_iter().filter(|row| all.contains(row)).collect(),
        },
    };
    rows.into_iter()
        .map(|config| {
            let name = format!("{}/{} [{}]", program.name, config.label(), program.hazards.join(","));
            let program = program.clone();
            let turn = format!("{}/{}", program.name, config.label());
            Trial::test(name, move || {
                let outcome = Turn::wait(&turn).and_then(|_turn| scenario::run(&program, &config));
                outcome.map(drop).map_err(Failed::from)
            })
        })
        .collect()
}
