//! The documentation says what is so: links lead somewhere, codes and commands exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use testsuite::program::Program;
use testsuite::{paths, special};

fn pages() -> Vec<PathBuf> {
    let top = paths::repository();
    let mut pages = Vec::new();
    for folder in [top.clone(), top.join("docs"), top.join("testsuite")] {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() >= 5, "pages: {pages:?}");
    pages
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(page).expect("a page can be read")
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = read(&page);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', ' ', '\n']).next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            if !page.parent().is_some_and(|folder| folder.join(file).exists()) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Every code on a page, in the form `HP` and four digits.
fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for page in pages() {
        let text = read(&page);
        for (at, _) in text.match_indices("HP") {
            let digits: String = text[at + 2..].chars().take(5).take_while(char::is_ascii_digit).collect();
            if digits.len() == 4 {
                codes.insert(format!("HP{digits}"));
            }
        }
    }
    codes
}

#[test]
fn codes_can_be_explained() {
    let patchgen = paths::tool("patchgen").expect("patchgen is built");
    for code in codes() {
        let output = Command::new(&patchgen).args(["explain", &code]).output().expect("patchgen runs");
        assert!(output.status.success(), "patchgen does not know {code}, which a page names");
    }
}

/// The verbs after a program's name in code blocks and inline code.
fn verbs(program: &str) -> BTreeSet<String> {
    let mut verbs = BTreeSet::new();
    for page in pages() {
        let text = read(&page);
        for prefix in [format!("`{program} "), format!("$ {program} ")] {
            for (at, _) in text.match_indices(&prefix) {
                let rest = &text[at + prefix.len()..];
                let verb: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
                if !verb.is_empty() {
                    verbs.insert(verb);
                }
            }
        }
    }
    verbs
}

#[test]
fn commands_exist() {
    for program in ["patchgen", "hpatch"] {
        let path = paths::tool(program).expect("the programs are built");
        let found = verbs(program);
        assert!(!found.is_empty(), "no page shows {program} in use");
        for verb in found {
            let output = Command::new(&path).args([&verb, "--help"]).output().expect("it runs");
            assert!(output.status.success(), "`{program} {verb}` is on a page but not in the program");
        }
    }
}

/// Scenarios by name, with the rows of the hazard table that they show.
fn scenarios() -> BTreeMap<String, Vec<String>> {
    let programs = Program::all(&paths::programs()).expect("the programs can be read");
    let cases = special::cases().into_iter().map(|case| {
        let rows = case.hazards.split(',').map(str::to_owned).collect();
        (case.name.to_owned(), rows)
    });
    programs.into_iter().map(|program| (program.name, program.hazards)).chain(cases).collect()
}

/// Every row of the hazard table is shown by scenarios, or test files, that exist and say so.
#[test]
fn hazards_are_shown() {
    let scenarios = scenarios();
    let text = read(&paths::repository().join("docs/hazards.md"));
    let mut wrong = Vec::new();
    let mut rows = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [row, _, _, shown] = cells[..] else {
            wrong.push(format!("not four cells: {line}"));
            continue;
        };
        if row.is_empty() {
            continue;
        }
        rows.insert(row.to_owned());
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            wrong.push(format!("{row}: nothing shows it"));
        }
        for name in names {
            let exists = match scenarios.get(name) {
                Some(shows) => shows.iter().any(|shown| shown == row),
                None => name.contains('/') && paths::repository().join(name).exists(),
            };
            if !exists {
                wrong.push(format!("{row}: `{name}` is no scenario for it"));
            }
        }
    }
    let all = [("C", 22), ("D", 13), ("I", 5), ("S", 15), ("B", 6)];
    let all = all.iter().flat_map(|(letter, last)| (1..=*last).map(move |number| format!("{letter}{number}")));
    wrong.extend(all.filter(|row| !rows.contains(row)).map(|row| format!("{row}: missing")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
