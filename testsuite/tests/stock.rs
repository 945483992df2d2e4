//! Programs on Debian's glibc, patched from the oldest build that the archive has to the newest.

use libtest_mimic::{Arguments, Failed, Trial};
use testsuite::Result;
use testsuite::real::stock;

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: each brings its own load.
    arguments.test_threads = Some(1);
    let trials = vec![
        trial("stock/threads on glibc", stock::threads_on_glibc),
        trial("stock/dash on glibc", stock::shell_on_glibc),
        trial("stock/python3's tests on glibc", stock::python_on_glibc),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(name: &str, run: fn() -> Result<()>) -> Trial {
    Trial::test(name, move || run().map_err(Failed::from))
}
