//! What reading code back must do with any program, not only those made here.

use super::{Case, Pair, answers, compiled, folder, special};
use crate::bundle::{Signer, TOOL_LIMIT, patchgen};
use crate::process::{run, run_ok};
use crate::program::Config;
use crate::self_diff::{self, Verdict};
use crate::target::{Launch, Target};
use crate::{Failure, Result, check, paths};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) const CASES: &[Case] = &[
    Case { name: "installed programs equal themselves", hazards: "C1,C20,C21", run: self_diff::check_sample },
    Case { name: "loads relaxed in one build", hazards: "C9", run: relaxed },
    Case { name: "copied by the program", hazards: "D4", run: copied },
    Case { name: "files of one name in two directories", hazards: "C5", run: same_file },
    Case { name: "stripped, equals itself", hazards: "C21", run: stripped },
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

/// A symbol table has the names of files without their directories. What is only called goes its way; a pointer to the one function must not
/// lead to the other, nor may the one variable begin with the other's value.
fn same_file() -> Result<()> {
    let source = paths::programs().join("special/same_file.c");
    let rows = [("-DHELD", "HP0301"), ("-DCALLED", "HP0407"), ("-DWITHIN", "HP0407"), ("-DTHREADS", "HP0407")];
    for (flag, code) in rows {
        let build = |define: &str| -> Result<PathBuf> {
            let folder = folder("same-file")?.join(flag).join(define);
            let mut objects = Vec::new();
            for directory in ["1", "2"] {
                let directory = (folder.join(directory), format!("-DDIRECTORY={directory}"));
                std::fs::create_dir_all(&directory.0)?;
                std::fs::copy(&source, directory.0.join("same_file.c"))?;
                let mut compiler = Command::new("gcc");
                compiler.current_dir(&directory.0).args([
                    "-g",
                    "-O2",
                    "-fPIC",
                    flag,
                    &directory.1,
                    &format!("-D{define}"),
                    "-I",
                ]);
                compiler.arg(paths::programs().join("driver")).args(["-c", "same_file.c"]);
                run_ok(&mut compiler, TOOL_LIMIT)?;
                objects.push(directory.0.join("same_file.o"));
            }
            let library = folder.join("library.so");
            let mut link = Command::new("gcc");
            link.args(["-shared", "-Wl,--build-id=sha1", "-o"]).arg(&library).args(&objects);
            run_ok(&mut link, TOOL_LIMIT)?;
            Ok(library)
        };
        let (old, new) = (build("OLD")?, build("NEW")?);
        let mut diff = patchgen()?;
        let output = run(diff.args(["diff", "--old"]).arg(&old).arg("--new").arg(&new), TOOL_LIMIT)?;
        check!(output.text().contains(code), "{flag}: expected {code}: {}", output.describe());
    }
    Ok(())
}

/// A program without names equals itself, where its code has a variable by a member's address, too.
fn stripped() -> Result<()> {
    for options in ["-O1", "-O2", "-Os"] {
        let builds = compiled("members", &format!("stripped{options}"), &Config::new(&[("opt", options)]))?;
        for module in [&builds.old.module, &builds.new.module] {
            run_ok(Command::new("strip").arg("--strip-all").arg(module), TOOL_LIMIT)?;
            let verdict = self_diff::judge(&paths::tool("patchgen")?, module);
            check!(verdict == Verdict::Same, "{}: {verdict:?}", module.display());
        }
    }
    Ok(())
}

/// A library's exported table is overwritten where it is the one that the process uses, and not where a program has a copy of it.
fn copied() -> Result<()> {
    let pair = Pair::built(&special("exported")?, "exported", &Config::new(&[("kind", "shared")]))?;
    Signer::shared()?.sign(&pair.bundle)?;
    let mut target = pair.start()?;
    target.apply(&pair.bundle)?.expect(0)?;
    answers(&mut target, "cost 3", "9", "patched")?;
    target.revert_and_unmap("fix")?.expect(0)?;
    answers(&mut target, "cost 3", "4", "reverted")?;
    target.finish()?;
    let library = &pair.builds.old.module;
    let program = library.with_file_name("copies");
    let mut compiler = Command::new("gcc");
    compiler.args(["-no-pie", "-fno-pie", "-O2", "-Wl,-rpath,$ORIGIN", "-o"]).arg(&program);
    run_ok(compiler.arg(paths::programs().join("special/copies.c")).arg(library), TOOL_LIMIT)?;
    let mut target = Target::start(&program, &Launch::trusting(Signer::shared()?.trust()))?;
    let refused = target.apply(&pair.bundle)?.expect(4)?;
    check!(refused.text().contains("HP1112"), "expected HP1112: {}", refused.describe());
    answers(&mut target, "own", "4", "refused")?;
    answers(&mut target, "cost 3", "4", "refused")?;
    target.finish()
}
