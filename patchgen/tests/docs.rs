//! `docs/refusals.md` says of each code what `patchgen explain` says, and lists the codes that patchgen really gives.

use patchfmt::codes::{self, Code, Entry, Severity};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/refusals.md");

fn row(e: &Entry) -> String {
    format!("| {} | {} | {} | {} |", e.code, e.severity.word(), e.title, e.act)
}

fn rows() -> impl Iterator<Item = (Code, &'static str)> {
    let code = |line: &str| line.split(' ').nth(1).and_then(Code::parse).expect("a row begins with a code");
    PAGE.lines().filter(|l| l.starts_with("| HP")).map(move |l| (code(l), l))
}

fn sources(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else {
            out.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Codes of the analysis that its source names, as a constant or as a number.
fn given() -> BTreeSet<Code> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut table, mut code) = (String::new(), String::new());
    sources(&top.join("../patchfmt/src/codes"), &mut table);
    sources(&top.join("src"), &mut code);
    // A name with the character behind it, so that no longer name is taken for it.
    let ends = |text: &str| code.split(text).skip(1).any(|t| !t.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
    let lines = table.lines().filter_map(|l| l.trim().split_once(" = "));
    lines
        .filter_map(|(name, rest)| {
            let number = rest.split(' ').next()?;
            let code = Code(number.parse().ok()?);
            let forms = [format!("codes::{name}"), format!("code: {number}"), format!("({number}")];
            ((200..700).contains(&code.0) && forms.iter().any(|f| ends(f))).then_some(code)
        })
        .collect()
}

#[test]
fn every_row_is_up_to_date() {
    for (code, line) in rows() {
        assert_eq!(line, row(codes::find(code).unwrap()));
    }
}

#[test]
fn the_page_lists_what_stops_a_build() {
    let given = given();
    let listed: BTreeSet<Code> = rows().map(|(code, _)| code).collect();
    for code in &listed {
        assert!(given.contains(code), "docs/refusals.md lists {code}, which patchgen never gives");
    }
    for e in given.iter().map(|c| codes::find(*c).unwrap()) {
        let stops = matches!(e.severity, Severity::Refuse | Severity::Start | Severity::Review);
        assert!(!stops || listed.contains(&e.code), "add to docs/refusals.md:\n{}", row(e));
    }
}
