//! Every scenario program in its matrix, and the scenarios with a script of their own.

use libtest_mimic::{Arguments, Failed, Trial};
use testsuite::program::Program;
use testsuite::{paths, scenario, special};

fn main() {
    let arguments = Arguments::from_args();
    let full = std::env::var_os("HPATCH_SUITE_FULL").is_some();
    let mut trials = match Program::all(&paths::programs()) {
        Ok(programs) => programs.iter().flat_map(|program| matrix(program, full)).collect(),
        Err(failure) => vec![Trial::test("programs", move || Err(Failed::from(failure)))],
    };
    for case in special::cases() {
        let name = format!("special/{} [{}]", case.name, case.hazards);
        trials.push(Trial::test(name, move || (case.run)().map_err(Failed::from)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn matrix(program: &Program, full: bool) -> Vec<Trial> {
    let rows = if full { program.full_matrix() } else { program.covering_sample() };
    rows.into_iter()
        .map(|config| {
            let name = format!("{}/{} [{}]", program.name, config.label(), program.hazards.join(","));
            let program = program.clone();
            Trial::test(name, move || match scenario::run(&program, &config) {
                Ok(_) => Ok(()),
                Err(failure) => Err(Failed::from(failure)),
            })
        })
        .collect()
}
