//! Building the programs under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use testsuite::{Failure, Result, check, paths};

/// Builds `patchgen`, `hpatch` and the loader and gives the folder in which they lie side by side.
pub fn all(release: bool) -> Result<PathBuf> {
    let mut tools = cargo();
    tools.args(["build", "-p", "patchgen", "-p", "hpatch"]);
    if release {
        tools.arg("--release");
    }
    run(&mut tools)?;
    // In an invocation of its own: cargo would unify features, and `std` must stay out of the loader.
    run(cargo().args(["build", "-p", "hpatch-loader", "--profile", "loader"]))?;
    let target = target_dir();
    let folder = target.join(if release { "release" } else { "debug" });
    install(&target.join("loader/libhpatch_loader.so"), &folder.join("libhpatch_loader.so"))?;
    Ok(folder)
}

/// Copies by renaming, because a process may have the file mapped.
fn install(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("fresh");
    std::fs::copy(from, &fresh).map_err(|error| Failure(format!("{}: {error}", from.display())))?;
    std::fs::rename(&fresh, to)?;
    Ok(())
}

pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| paths::repository().join("target"), PathBuf::from)
}

pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::repository());
    // What cargo told this program about itself must not reach the builds that it starts.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command with its output shown.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    check!(status.success(), "`{}` ended with {status}", testsuite::process::show(command));
    Ok(())
}
