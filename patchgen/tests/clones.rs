//! Functions that are told apart by more than their first name: folded bodies, clones of which there are several.

mod support;

use serde_json::Value;
use std::process::Command;
use support::{Bench, HEAD};

/// `patchgen diff --json` of the two builds of a source that has `PICK` in it.
fn diff(source: &str) -> Value {
    let bench = Bench::new();
    bench.write("a.c", &format!("{HEAD}{source}"));
    for (flag, out) in [("", "old"), ("-DNEW", "new")] {
        bench.run("gcc", &format!("-O1 -g -fno-ipa-icf {flag} a.c -o {out} -Wl,--build-id"));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchgen"));
    let out = command.args(["diff", "--json", "--pairs", "--old", "old", "--new", "new"]).current_dir(bench.dir.path());
    let out = out.output().expect("patchgen runs");
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|f| f["name"].as_str().or(f.as_str())).collect()
}

/// One body with two names, of which another one comes first in each build.
#[test]
fn a_folded_body_is_known_by_any_of_its_names() {
    let report = diff(
        r#"
NOINLINE static int first(int x) __asm__(PICK("first", "first.lto_priv.0"));
NOINLINE static int first(int x) { return x * 3 + (int)sizeof(int); }
static int second(int x) __attribute__((alias(PICK("first", "first.lto_priv.0"))));
int main(int argc, char **argv) { (void)argv; return first(argc) + second(argc + 1); }
"#,
    );
    assert!(names(&report["new_functions"]).is_empty(), "{report}");
    assert!(names(&report["gone_functions"]).is_empty(), "{report}");
    assert!(names(&report["changed"]).is_empty(), "{report}");
    let same = report["pairs"].as_array().is_some_and(|pairs| pairs.iter().all(|p| p["verdict"] == "same"));
    assert!(same, "{report}");
}

/// Two clones with one body of which one is left: whichever it is, it may be brought along where they are only called.
const CLONES: &str = r#"
int seen;
NOINLINE static int one(int x) __asm__(PICK("work.constprop.2", "work.constprop.0"));
NOINLINE static int one(int x) { seen += x; return x * 7; }
#ifndef NEW
NOINLINE static int two(int x) __asm__("work.constprop.3");
NOINLINE static int two(int x) { seen += x; return x * 7; }
#else
#define two one
#endif
NOINLINE int left(int x) { return one(x) + 1; }
NOINLINE int right(int x) { return two(x) - 1; }
"#;

#[test]
fn clones_that_are_only_called_are_brought_along() {
    let report =
        diff(&format!("{CLONES}int main(int argc, char **argv) {{ (void)argv; return left(argc) + right(argc); }}"));
    assert!(names(&report["ambiguous"]).is_empty(), "{report}");
    assert_eq!(names(&report["new_functions"]), ["work.constprop.0"], "{report}");
    assert_eq!(names(&report["changed"]), ["left", "right"], "{report}");
    assert_eq!(report["result"], "can be patched", "{report}");
}

#[test]
fn clones_whose_address_is_known_are_not_told_apart() {
    let report = diff(&format!(
        "{CLONES}int (*volatile known)(int) = one;\n\
         int main(int argc, char **argv) {{ (void)argv; return left(argc) + right(argc) + known(2); }}"
    ));
    assert_eq!(names(&report["ambiguous"]), ["work"], "{report}");
}
