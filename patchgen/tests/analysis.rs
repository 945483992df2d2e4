//! The analysis as a whole: the same builds give the same bytes, wide differences are named first, debug information can be left aside.

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use support::Bench;

const RUNS: usize = 20;
const UNITS: usize = 6;
/// In each unit.
const FUNCTIONS: usize = 24;

/// One unit of a program in which much changed: bodies, literals, a table, a type, a static local, names of clones.
fn unit(number: usize, new: bool) -> String {
    let mut text = String::from("#include <stdio.h>\n");
    let (grown, word) = if new { ("int more;", "now") } else { ("", "then") };
    let _ = writeln!(text, "struct state_{number} {{ int a; char *name; {grown} }};");
    let _ = writeln!(text, "static const int table[] = {{ 1, 2, {}, 4 }};", 3 + usize::from(new));
    for f in 0..FUNCTIONS {
        let extra = if new && f % 3 == 0 { "x ^= 5;" } else { "" };
        let _ = writeln!(
            text,
            "__attribute__((noinline)) static int step_{f}(int x) {{ static int calls; {extra} calls += x; \
             printf(\"{word} %d {f}\\n\", calls); return x + table[x & 3] + calls; }}"
        );
    }
    let _ = write!(text, "int run_{number}(int x) {{ struct state_{number} s = {{ x, \"{number}\" }};");
    for f in 0..FUNCTIONS {
        let _ = write!(text, " s.a += step_{f}(s.a);");
    }
    text.push_str(" return s.a; }\n");
    text
}

fn compile(bench: &Bench) {
    for build in ["old", "new"] {
        std::fs::create_dir(bench.path(build)).expect("directory");
        for number in 0..UNITS {
            bench.write(&format!("{build}/u{number}.c"), &unit(number, build == "new"));
        }
        bench.write(
            "compile.sh",
            &format!("cd {build} && gcc -O2 -g -shared -fPIC -Wl,--build-id -fdebug-prefix-map=$PWD=. u?.c -o lib.so"),
        );
        bench.run("sh", "compile.sh");
    }
}

/// A run of `patchgen` on the builds in `folder`, which finds differences.
fn patchgen(folder: &Path, threads: &str, args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_patchgen"))
        .args(args)
        .arg("--old")
        .arg(folder.join("old.so"))
        .arg("--new")
        .arg(folder.join("new.so"))
        .env("RAYON_NUM_THREADS", threads)
        .output()
        .expect("patchgen runs");
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// Copies both builds to one folder.
fn place(bench: &Bench, folder: &Path) {
    std::fs::create_dir_all(folder).expect("directory");
    for build in ["old", "new"] {
        std::fs::copy(bench.path(&format!("{build}/lib.so")), folder.join(format!("{build}.so"))).expect("copied");
    }
}

/// The bundle and what `build` and `diff` say, with the paths taken out.
fn outputs(bench: &Bench, folder: &Path, threads: &str) -> (Vec<u8>, String, String) {
    let bundle = bench.path("fix.hpatch");
    let built = patchgen(folder, threads, &["build", "--json", "--id", "fix", "-o", &bundle.to_string_lossy()]);
    let bytes = std::fs::read(&bundle).expect("a bundle");
    let diff = patchgen(folder, threads, &["diff", "--json"]);
    (bytes, built.replace(&*folder.to_string_lossy(), ""), diff)
}

#[test]
fn the_same_bytes_for_any_number_of_threads_and_any_path() {
    let bench = Bench::new();
    compile(&bench);
    let mut first = None;
    for run in 0..RUNS {
        let folder = bench.path(&"in/".repeat(run % 3)).join(format!("run{run}"));
        place(&bench, &folder);
        let got = outputs(&bench, &folder, ["1", "2", "3", "8"][run % 4]);
        let want = first.get_or_insert_with(|| got.clone());
        assert!(got == *want, "run {run} differs from the first:\n{}\n{}", got.1, got.2);
    }
    let (_, built, diff) = first.expect("runs");
    assert!(built.contains("step_3") && diff.contains("table"), "{built}\n{diff}");
}

#[test]
fn a_wide_difference_is_named_before_anything_else() {
    let bench = Bench::new();
    compile(&bench);
    let folder = bench.path("both");
    place(&bench, &folder);
    let diff = patchgen(&folder, "2", &["diff"]);
    let first = diff.lines().next().unwrap_or_default();
    assert!(first.starts_with("drift: ") && first.contains(" % of code bytes differ: "), "{diff}");
    // The same build has none.
    std::fs::copy(folder.join("old.so"), folder.join("new.so")).expect("copied");
    let out = Command::new(env!("CARGO_BIN_EXE_patchgen"))
        .args(["diff", "--old", "old.so", "--new", "new.so"])
        .current_dir(&folder)
        .output()
        .expect("patchgen runs");
    assert_eq!(out.status.code(), Some(3));
    assert!(!String::from_utf8_lossy(&out.stdout).contains("drift"));
}

#[test]
fn without_types_code_and_data_are_compared_all_the_same() {
    let bench = Bench::new();
    compile(&bench);
    let folder = bench.path("both");
    place(&bench, &folder);
    let changed = |more: &[&str]| {
        let text = patchgen(&folder, "2", &[&["diff", "--json"], more].concat());
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let names = json["changed"].as_array().expect("a list").iter().map(|f| f["name"].to_string());
        names.filter(|name| name.contains("step_")).collect::<Vec<_>>()
    };
    let (full, code) = (changed(&[]), changed(&["--no-types"]));
    assert!(code == full && code.len() >= FUNCTIONS, "{full:?}\n{code:?}");
}

/// What `diff` says of two builds of a program in two files.
fn moved(old: (&str, &str), new: (&str, &str)) -> String {
    let bench = Bench::new();
    for (build, (a, b)) in [("old", old), ("new", new)] {
        bench.write("a.c", &format!("int first(int x) {{ return x + 1; }}\n{a}"));
        bench.write("b.c", &format!("int last(int x) {{ return x - 1; }}\n{b}"));
        bench.run("gcc", &format!("-O2 -g -shared -fPIC -Wl,--build-id a.c b.c -o {build}.so"));
    }
    let folder = bench.path(".");
    let mut diff = Command::new(env!("CARGO_BIN_EXE_patchgen"));
    let out = diff.arg("diff").arg("--old").arg(folder.join("old.so")).arg("--new").arg(folder.join("new.so")).output();
    let out = out.expect("patchgen runs");
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[test]
fn a_static_variable_that_moves_to_another_file_keeps_its_state() {
    let counter = |step: u32| format!("static int hits; int count(void) {{ hits += {step}; return hits; }}");
    let said = moved((&counter(1), ""), ("", &counter(2)));
    assert!(said.contains("1 changed"), "{said}");
    assert!(said.contains("data: 0 changed, 0 new, 0 gone"), "{said}");
}

#[test]
fn a_static_variable_of_the_same_name_in_another_file_is_not_taken_for_one_that_went() {
    let one = "static int hits; int count(void) { return ++hits; }";
    let other = "static int hits; int misses(void) { return --hits; }";
    let said = moved((one, ""), ("", other));
    assert!(said.contains("HP0302"), "{said}");
}
