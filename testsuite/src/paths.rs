//! Where things are: the repository, the programs under test, scratch space.

use crate::{Result, fail};
use std::path::{Path, PathBuf};

/// The repository's top folder.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder with `patchgen`, `hpatch` and `libhpatch_loader.so`: `$HPATCH_BIN_DIR`, else where cargo put this program.
pub fn bin_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("HPATCH_BIN_DIR") {
        return Ok(PathBuf::from(dir));
    }
    let own = std::env::current_exe()?;
    // target/debug/xtask, or target/debug/deps/scenarios-0123456789abcdef
    for dir in own.ancestors().skip(1).take(2) {
        if dir.join("hpatch").is_file() {
            return Ok(dir.to_path_buf());
        }
    }
    fail!("no hpatch program beside {}: run `cargo xtask build` first", own.display())
}

/// One of the programs under test.
pub fn tool(name: &str) -> Result<PathBuf> {
    let path = bin_dir()?.join(name);
    if !path.is_file() {
        fail!("{} is missing: run `cargo xtask build` first", path.display());
    }
    Ok(path)
}

/// Scratch space that survives the run, so that a failure can be looked at.
pub fn scratch() -> Result<PathBuf> {
    let dir = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => repository().join("target"),
    };
    Ok(dir.join("scenarios"))
}

/// The sources of the scenario programs.
pub fn programs() -> PathBuf {
    repository().join("testsuite/programs")
}

/// A program on the search path.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
