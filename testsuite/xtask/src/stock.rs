//! `cargo xtask stock`: pairs of stock images, compared by a crude differ and by `patchgen diff`, function by function.

use crate::build;
use testsuite::differ::Compared;
use testsuite::{Result, check};

/// With `list`, prints a line for each function that either of the two takes for changed.
pub fn run(names: &[String], list: bool) -> Result<()> {
    let patchgen = build::all(false)?.join("patchgen");
    let mut open = 0;
    for name in names {
        let compared = Compared::of(name, &patchgen)?;
        println!("{}", compared.tables());
        if list {
            println!("{}", compared.list());
        }
        for j in &compared.reconciled.unexplained {
            println!("unexplained: {} ({:#x} -> {:#x}): {}: {}", j.names.join(", "), j.old, j.new, j.class, j.detail);
        }
        open += compared.reconciled.unexplained.len();
    }
    check!(open == 0, "{open} functions are judged differently without a reason");
    Ok(())
}
