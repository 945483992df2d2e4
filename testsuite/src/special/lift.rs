//! What reading code back must do with any program, not only those made here.

use super::{Case, compiled};
use crate::bundle::{TOOL_LIMIT, patchgen};
use crate::process::{run, run_ok};
use crate::program::Config;
use crate::{Failure, Result, check, self_diff};
use std::path::Path;
use std::process::Command;

pub(super) const CASES: &[Case] = &[
    Case { name: "installed programs equal themselves", hazards: "C1,C20,C21", run: self_diff::check_sample },
    Case { name: "loads relaxed in one build", hazards: "C9", run: relaxed },
];

/// The linker turned loads from the GOT into addresses in one of the builds only: nothing but `value` differs.
fn relaxed() -> Result<()> {
    let config = |flags| Config::new(&[("cflags", "-fPIC+-fno-plt"), ("ldflags", flags)]);
    let relaxed = compiled("counter", "relaxed", &config("-Wl,--relax"))?;
    let kept = compiled("counter", "not-relaxed", &config("-Wl,--no-relax"))?;
    let (short, long) = (relaxed_calls(&relaxed.old.module)?, relaxed_calls(&kept.old.module)?);
    check!(short > 0 && long == 0, "{short} and {long} calls through the GOT were relaxed");
    for (old, new) in [(&relaxed, &kept), (&kept, &relaxed)] {
        let output = run(
            patchgen()?.args(["diff", "--json", "--old"]).arg(&old.old.module).arg("--new").arg(&new.new.module),
            TOOL_LIMIT,
        )?
        .expect(0)?;
        let report: serde_json::Value = serde_json::from_str(&output.stdout).map_err(|e| Failure(e.to_string()))?;
        let changed: Vec<&str> =
            report["changed"].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect();
        check!(changed == ["value"], "changed: {changed:?}");
    }
    Ok(())
}

/// Calls through the global offset table that the linker made direct.
fn relaxed_calls(image: &Path) -> Result<usize> {
    let code = run_ok(Command::new("objdump").args(["-d", "--no-show-raw-insn"]).arg(image), TOOL_LIMIT)?;
    Ok(code.stdout.lines().filter(|line| line.contains("addr32 call")).count())
}
