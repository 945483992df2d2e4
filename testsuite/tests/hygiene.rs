//! Rules of the house that a machine can check.

use std::path::{Path, PathBuf};
use std::process::Command;
use testsuite::paths;

const LONGEST: usize = 800;

/// Where unsafe code may be, as beginnings of paths: the code that lives in other processes, the map of input files, and
/// scenario programs that speak C.
const UNSAFE_PLACES: &[&str] = &[
    "loader/",
    "patchgen/src/image/map.rs",
    "testsuite/programs/rust_constants.rs",
    "testsuite/programs/rust_blocks.rs",
    "testsuite/programs/rust_closures.rs",
    "testsuite/programs/rust_instances.rs",
    "testsuite/programs/rust_middles.rs",
    "testsuite/programs/rust_panic.rs",
    "testsuite/programs/rust_single.rs",
    "testsuite/programs/rust_state.rs",
    "testsuite/programs/rust_texts.rs",
    "testsuite/programs/rust_threads.rs",
    "testsuite/programs/rust_traits.rs",
    "testsuite/programs/rust_variants.rs",
];

fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(paths::repository())
        .output()
        .expect("git lists the files");
    assert!(output.status.success(), "git ls-files failed");
    let text = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let files: Vec<PathBuf> =
        text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).filter(|f| on_disk(f)).collect();
    assert!(files.len() > 20, "the list of files looks wrong: {files:?}");
    files
}

fn on_disk(file: &Path) -> bool {
    paths::repository().join(file).is_file()
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read(paths::repository().join(file)).expect("a tracked file can be read");
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

fn has_extension(file: &Path, extensions: &[&str]) -> bool {
    file.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e))
}

#[test]
fn files_stay_readable() {
    let long: Vec<String> = tracked()
        .iter()
        .filter(|file| has_extension(file, &["rs"]))
        .map(|file| (file, lines(file).len()))
        .filter(|(_, count)| *count > LONGEST)
        .map(|(file, count)| format!("{}: {count} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "more than {LONGEST} lines:\n{}", long.join("\n"));
}

#[test]
fn unsafe_code_stays_in_its_places() {
    let word = concat!("un", "safe");
    let code = [" {", " fn", " impl", " extern", " trait"].map(|rest| format!("{word}{rest}"));
    let mut found = Vec::new();
    for file in tracked().iter().filter(|file| has_extension(file, &["rs"])) {
        if UNSAFE_PLACES.iter().any(|place| file.starts_with(place)) {
            continue;
        }
        for (number, line) in lines(file).iter().enumerate() {
            let line = line.split("//").next().unwrap_or_default();
            if code.iter().any(|form| line.contains(form)) || line.contains(&format!("#[{word}")) {
                found.push(format!("{}:{}", file.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "outside {UNSAFE_PLACES:?}:\n{}", found.join("\n"));
}

#[test]
fn every_place_for_unsafe_code_exists() {
    for place in UNSAFE_PLACES {
        assert!(paths::repository().join(place).exists(), "{place} is gone: take it off the list");
    }
}

fn nothing_contains(words: &[&str], extensions: &[&str]) {
    let mut found = Vec::new();
    for file in tracked().iter().filter(|file| has_extension(file, extensions)) {
        for (number, line) in lines(file).iter().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "not here:\n{}", found.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("#[ig", "nore"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    nothing_contains(&words, &["rs", "c", "cc", "h", "md", "toml", "S"]);
}

#[test]
fn no_paths_of_a_machine() {
    let words = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];
    nothing_contains(&words, &["rs", "c", "cc", "h", "md", "toml", "json", "txt"]);
}

#[test]
fn no_merge_was_left_half_done() {
    let words = ["<", ">", "|"].map(|sign| sign.repeat(7) + " ");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    nothing_contains(&words, &["rs", "c", "cc", "h", "md", "toml", "json", "txt", "S"]);
}
