//! `cargo xtask ground-truth`: what lifting reads back against the relocations that the linker kept (`--emit-relocs`).

use crate::{build, setup};
use std::path::PathBuf;
use testsuite::program::{Config, Program};
use testsuite::{Result, check, compile, paths};

const COMPILERS: [&str; 2] = ["gcc", "clang"];
const KINDS: [&str; 3] = ["pie", "nopie", "shared"];
const LINKERS: [&str; 4] = ["bfd", "gold", "lld", "mold"];
const LEVELS: [&str; 5] = ["-O0", "-O1", "-O2", "-O3", "-Os"];

/// Compares the given images, or both builds of every scenario program, for each compiler, kind and linker, with the levels in turn.
pub fn run(images: &[PathBuf], only: Option<&str>) -> Result<()> {
    setup::everything()?;
    let mut list = images.to_vec();
    if images.is_empty() {
        let programs = Program::all(&paths::programs())?;
        for program in programs.iter().filter(|p| only.is_none_or(|only| p.name.contains(only))) {
            list.extend(builds(program)?);
        }
    }
    let names: String = list.iter().map(|path| format!("{}\n", path.display())).collect();
    let file = paths::scratch()?.join("ground-truth.list");
    std::fs::write(&file, names)?;
    let mut test = build::cargo();
    test.args(["test", "-p", "patchgen", "--test", "ground_truth", "--", "--nocapture"]);
    build::run(test.env("HPATCH_GROUND_TRUTH", &file))
}

/// Both builds in each row. What a compiler or linker doesn't take is no row, as long as some are left.
fn builds(program: &Program) -> Result<Vec<PathBuf>> {
    let (mut out, mut refused, mut n) = (Vec::new(), Vec::new(), 0);
    for cc in COMPILERS {
        for kind in KINDS {
            for ld in LINKERS {
                let opt = LEVELS[n % LEVELS.len()];
                n += 1;
                let config = Config::new(&[
                    ("cc", cc),
                    ("kind", kind),
                    ("ld", ld),
                    ("opt", opt),
                    ("ldflags", "-Wl,--emit-relocs"),
                ]);
                let folder = paths::scratch()?.join("ground-truth").join(&program.name).join(config.label());
                match compile::compile(program, &config, &folder) {
                    Ok(builds) => out.extend([builds.old.module, builds.new.module]),
                    Err(failure) => refused.push(failure.to_string()),
                }
            }
        }
    }
    check!(!out.is_empty(), "{} can't be built at all:\n{}", program.name, refused.join("\n"));
    if !refused.is_empty() {
        println!("{}: {} of {n} rows can't be built", program.name, refused.len());
    }
    Ok(out)
}
