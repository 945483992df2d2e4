//! Debian's glibc, the oldest build that the archive has and the newest: what differs, and programs that are patched from the one to the other.

use libtest_mimic::{Arguments, Failed, Trial};
use testsuite::differ::Compared;
use testsuite::real::stock;
use testsuite::{Result, check, paths};

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: each brings its own load.
    arguments.test_threads = Some(1);
    let trials = vec![
        trial("stock/glibc and a crude differ", glibc_and_a_crude_differ),
        trial("stock/threads on glibc", stock::threads_on_glibc),
        trial("stock/dash on glibc", stock::shell_on_glibc),
        trial("stock/python3's tests on glibc", stock::python_on_glibc),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(name: &str, run: fn() -> Result<()>) -> Trial {
    Trial::test(name, move || run().map_err(Failed::from))
}

/// Each function that a differ of another make takes for changed is changed for `patchgen`, and the other way about.
fn glibc_and_a_crude_differ() -> Result<()> {
    let compared = Compared::of("glibc", &paths::tool("patchgen")?)?;
    let (f, r) = (&compared.crude.figures, &compared.reconciled);
    check!(f.differing_bodies > 0 && f.names > 1000, "the crude differ sees nothing: {f:?}");
    check!(r.unexplained.is_empty(), "judged differently without a reason: {:#?}", r.unexplained);
    let agreed: usize = r.agreed.values().map(Vec::len).sum();
    check!(agreed >= f.differing_bodies, "{agreed} of {} agreed upon\n{}", f.differing_bodies, compared.tables());
    Ok(())
}
