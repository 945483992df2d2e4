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
    let mut loader = cargo();
    loader.args(["build", "-p", "hpatch-loader", "--profile", "loader"]).env("CARGO_ENCODED_RUSTFLAGS", loader_flags());
    run(&mut loader)?;
    let target = target_dir();
    let folder = target.join(if release { "release" } else { "debug" });
    let stripped = target.join("loader/stripped.so");
    strip(&target.join("loader/libhpatch_loader.so"), &stripped)?;
    install(&stripped, &folder.join("libhpatch_loader.so"))?;
    Ok(folder)
}

/// The loader's dependencies in their smallest form: portable code instead of one copy for each CPU generation, and no paths of this
/// machine in their panic messages. Cargo has no place for such flags in a profile.
fn loader_flags() -> String {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|h| h.join(".cargo"))).unwrap_or_default();
    let sources = format!("--remap-path-prefix={}=", home.join("registry/src").display());
    let backends = ["curve25519_dalek_backend=\"serial\"", "sha2_backend=\"soft\"", "sha2_backend_soft=\"compact\""];
    let flags = backends.iter().flat_map(|b| ["--cfg", b]).chain([sources.as_str()]);
    flags.collect::<Vec<_>>().join("\u{1f}")
}

/// Leaves two symbols, which debuggers look up in the file (see loader/src/jit.rs); they can't be exported, because programs have their own.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let mut strip = Command::new("strip");
    strip.args(["--strip-all", "-K", "__jit_debug_register_code", "-K", "__jit_debug_descriptor"]);
    run(strip.arg(from).arg("-o").arg(to))
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
