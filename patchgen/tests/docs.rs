//! `docs/refusals.md` says of each code what `patchgen explain` says, and lists the codes that the programs really give; tests show them.

use patchfmt::codes::{self, Code, Entry};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/refusals.md");

/// Kept so that their numbers get no other meaning; this version doesn't give them.
const RESERVED: &[u16] =
    &[105, 108, 109, 220, 221, 222, 310, 408, 409, 410, 605, 607, 1007, 1107, 1205, 1206, 1308, 1407];

/// Given, but named by no test, and why.
const UNSHOWN: &[(&[u16], &str)] = &[
    (
        &[111, 201],
        "damaged debug information: tests/hostile.rs damages files and looks for a clear end, not for a code",
    ),
    (&[303, 511], "scenarios of names and folding take any right end"),
    (&[406], "the scenario of texts that are left out looks at the bundle"),
    (&[601, 602, 603, 604], "the compilers at hand write nothing of the kind"),
    (&[608, 609], "needs a patch beyond the format's limits"),
    (&[610], "needs an image of a form that the linkers at hand don't write"),
    (&[754, 1005], "needs a signature or a bundle that no tool here writes"),
    (
        &[1001, 1301, 1305, 1307, 1309, 1403, 1409],
        "needs a system call that fails, or somebody else who writes, at one moment",
    ),
    (&[1004], "needs a loader of an older version"),
    (&[1103, 1104], "tests of the loader look at the exit status or the message"),
    (&[1202, 1207, 1402], "a race decides: scenarios look at the exit status and at what the process answers"),
    (&[9902], "a check of the program's own that fails only when the program is wrong"),
];

fn row(e: &Entry) -> String {
    format!("| {} | {} | {} | {} |", e.code, e.severity.word(), e.title, e.act)
}

fn rows() -> impl Iterator<Item = (Code, &'static str)> {
    let code = |line: &str| line.split(' ').nth(1).and_then(Code::parse).expect("a row begins with a code");
    PAGE.lines().filter(|l| l.starts_with("| HP")).map(move |l| (code(l), l))
}

/// The text of all files below `folder` with one of these endings that `wanted` takes.
fn sources(folder: &Path, wanted: &dyn Fn(&Path) -> bool, out: &mut Vec<String>) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, wanted, out);
        } else if ["rs", "c", "cc"].iter().any(|e| path.extension().is_some_and(|x| x == *e)) && wanted(&path) {
            out.push(fs::read_to_string(&path).unwrap());
        }
    }
}

fn below(folders: &[&str], wanted: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut out = Vec::new();
    folders.iter().for_each(|f| sources(&top.join(f), wanted, &mut out));
    out
}

/// What stands before and behind the start of a file's own tests.
fn halves(text: &str) -> (&str, &str) {
    text.split_at(text.find("#[cfg(test)]").unwrap_or(text.len()))
}

const PROGRAMS: &[&str] = &["patchgen/src", "patchfmt/src", "loader/src", "loader/core/src", "loader/hpatch/src"];

fn not_the_table(path: &Path) -> bool {
    !path.to_string_lossy().contains("/patchfmt/src/codes/")
}

/// (name, code) of every constant.
fn names() -> Vec<(String, Code)> {
    let tables = below(&["patchfmt/src/codes"], &|_| true);
    let lines = tables.iter().flat_map(|t| t.lines()).filter_map(|l| l.trim().split_once(" = "));
    let number = |rest: &str| rest.split(' ').next().and_then(|n| n.parse().ok()).map(Code);
    lines
        .filter_map(|(name, rest)| Some((name.to_owned(), number(rest)?)))
        .filter(|(_, c)| codes::find(*c).is_some())
        .collect()
}

/// Whether the text has the word, and not only as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(of_word) && !text[at + word.len()..].starts_with(of_word))
}

/// Codes that these texts name: as a constant, as text, or (the analysis) as a number.
fn named(texts: &[&str]) -> BTreeSet<Code> {
    let forms = |name: &str, code: Code| {
        let n = code.0;
        [name.to_owned(), code.to_string(), format!("code: {n}"), format!("insert(({n}")]
    };
    let given = |(name, code): &(String, Code)| forms(name, *code).iter().any(|f| texts.iter().any(|t| has_word(t, f)));
    names().into_iter().filter(given).map(|(_, code)| code).collect()
}

/// Codes that the programs give.
fn given() -> BTreeSet<Code> {
    let files = below(PROGRAMS, &not_the_table);
    let code: Vec<&str> = files.iter().map(|t| halves(t).0).collect();
    named(&code)
}

/// Codes that scenarios and tests name.
fn shown() -> BTreeSet<Code> {
    let own = below(PROGRAMS, &not_the_table);
    let tests = |p: &Path| !p.ends_with("patchgen/tests/docs.rs");
    let files = below(
        &[
            "testsuite/src",
            "testsuite/tests",
            "testsuite/programs",
            "patchgen/tests",
            "patchfmt/tests",
            "loader/core/tests",
            "loader/hpatch/tests",
        ],
        &tests,
    );
    let texts: Vec<&str> = own.iter().map(|t| halves(t).1).chain(files.iter().map(String::as_str)).collect();
    named(&texts)
}

#[test]
fn every_row_is_up_to_date() {
    for (code, line) in rows() {
        assert_eq!(line, row(codes::find(code).unwrap()));
    }
}

#[test]
fn the_page_lists_what_is_given() {
    let given = given();
    let listed: BTreeSet<Code> = rows().map(|(code, _)| code).collect();
    let unlisted: Vec<String> = given.difference(&listed).map(|c| row(codes::find(*c).unwrap())).collect();
    assert!(unlisted.is_empty(), "add to docs/refusals.md:\n{}", unlisted.join("\n"));
    let unknown: Vec<&Code> = listed.difference(&given).collect();
    assert!(unknown.is_empty(), "docs/refusals.md lists what nothing gives: {unknown:?}");
}

#[test]
fn what_is_explained_is_given() {
    let given = given();
    let reserved: BTreeSet<Code> = RESERVED.iter().map(|&n| Code(n)).collect();
    let never: BTreeSet<Code> = codes::all().map(|e| e.code).filter(|c| !given.contains(c)).collect();
    assert_eq!(never, reserved, "codes that nothing gives, and those that are said to be reserved");
}

#[test]
fn what_is_given_is_shown() {
    let (given, shown) = (given(), shown());
    let excused: BTreeSet<Code> = UNSHOWN.iter().flat_map(|(codes, _)| *codes).map(|&n| Code(n)).collect();
    let open: BTreeSet<Code> = given.difference(&shown).copied().collect();
    assert_eq!(open, excused, "codes that no test names, and those that have a reason for it");
    assert!(UNSHOWN.iter().all(|(_, why)| why.len() > 10));
}
