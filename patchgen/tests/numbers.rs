//! Numbers that may be addresses, and imports that may be the same, where no program can say so by what it does.

mod support;

use serde_json::Value;
use std::process::Command;
use support::{Bench, HEAD};

/// What `patchgen diff` says, with its exit status.
fn diff(bench: &Bench) -> (Value, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchgen"));
    command.args(["diff", "--json", "--old", "old", "--new", "new"]);
    let out = command.current_dir(bench.dir.path()).output().expect("patchgen runs");
    let text = String::from_utf8_lossy(&out.stderr);
    (serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {text}")), out.status.code())
}

/// Builds both by gcc.
fn build(source: &str, flags: &str) -> Bench {
    let bench = Bench::new();
    bench.write("x.c", &format!("{HEAD}{source}"));
    for (name, define) in [("old", ""), ("new", "-DNEW")] {
        bench.run("gcc", &format!("-w -Wl,--build-id {flags} {define} x.c -o {name}"));
    }
    bench
}

/// The functions that differ.
fn changed(report: &Value) -> Vec<&str> {
    report["changed"].as_array().into_iter().flatten().filter_map(|f| f["name"].as_str()).collect()
}

/// In a stripped program nothing names the table to which the operand of `table[n - 1]` leads by what lies in front of it.
#[test]
fn a_stripped_table_of_functions_behind_a_text() {
    let source = "NOINLINE static int more(int a) { return a * 3 + rand() % 1; } NOINLINE static int less(int a) { return a * 9 + rand() % 1; }
        static int (*const table[])(int) = {PICK(more, less), PICK(less, more), more};
        NOINLINE int run(long n, int a) { return table[n - 1](a); }
        int main(int c, char **v) { int k, n; while (scanf(\"%d %d\", &k, &n) == 2) printf(\"%d\\n\", run(k, n)); }";
    let bench = build(source, "-O2 -no-pie -fno-pie -s");
    let (report, status) = diff(&bench);
    assert_ne!(status, Some(3), "{report}");
}

/// A library that begins to use the C library has a version of what its start-up files call there.
#[test]
fn start_up_files_without_a_version() {
    let source = "char text[32]; int f(int x) { PICK(, snprintf(text, 32, \"%d\", x);) return x * 3; }";
    let (report, _) = diff(&build(source, "-g -O2 -shared -fPIC"));
    assert_eq!(changed(&report), ["f"], "{report}");
    // Another version than the oldest is another function.
    let source = "char text[32]; extern int pthread_cond_wait() __attribute__((weak)); int g(void) { return pthread_cond_wait != 0; }
        int f(int x) { PICK(, snprintf(text, 32, \"%d\", x);) return x * 3; }";
    let (report, _) = diff(&build(source, "-g -O2 -shared -fPIC"));
    assert!(changed(&report).contains(&"g"), "{report}");
}

/// A number that leads to an entry in one build, and into the middle of a function in the other, is none; where it leads to an entry in both it may be one.
#[test]
fn numbers_into_the_middle_of_code() {
    let source = |second: &str| {
        format!(
            "#define ASM(name, n) asm(\".section .apart,\\\"ax\\\"\\n.globl \" #name \"\\n.type \" #name \",@function\\n\" #name \": .cfi_startproc\\n\"\\
                \".skip \" #n \", 0x90\\n ret\\n .cfi_endproc\\n.size \" #name \",.-\" #name \"\\n.text\")
             #define BODY(...) ASM(__VA_ARGS__)
             BODY(one, PICK(31, {second})); BODY(two, 31);
             NOINLINE int f(int x) {{ return x & 0x500020; }} int main(int c, char **v) {{ return f(c); }}"
        )
    };
    let flags = "-g -O2 -no-pie -fno-pie -Wl,--section-start=.apart=0x500000";
    let (report, _) = diff(&build(&source("63"), flags));
    assert!(!changed(&report).contains(&"f"), "{report}");
    let other = source("31").replace("BODY(two, 31)", "BODY(PICK(two, three), 31)");
    let (report, _) = diff(&build(&other, flags));
    assert!(changed(&report).contains(&"f"), "{report}");
}

/// The end of the last table of a section is an address as the end of any other is.
#[test]
fn a_table_at_the_end_of_its_section() {
    let source = "struct row { const char *name; int n; }; static const struct row rows[] = {{\"a\", 1}, {\"b\", 2}, PICK(, {\"c\", 3})};
        NOINLINE int f(int x) { const struct row *r = rows, *end = r + sizeof rows / sizeof *rows; asm(\"\" : \"+r\"(end));
                                for (; r != end; r++) if (r->n == x) return 1; return 0; }
        int main(int c, char **v) { return f(c); }";
    let (report, _) = diff(&build(source, "-g -O2 -no-pie -fno-pie"));
    assert_eq!(changed(&report), ["f"], "{report}");
    assert!(!report["findings"].to_string().contains("HP0216"), "{report}");
}

/// A class of the program's own, that is no container, may be walked as an array of one.
#[test]
fn the_end_of_an_object_of_a_class() {
    let bench = Bench::new();
    let source = "struct own { long n, m; ~own(); }; own::~own() { n = 0; } static own one; PICK(, static own two;)
        NOINLINE long sum(own *a, own *b) { long s = 0; for (; a != b; a++) s += a->n; return s; }
        NOINLINE long f(long x) { PICK(, two.n += x; two.m += x;) one.n += x; return sum(&one, &one + 1); } int main(int c, char **v) { return f(c); }";
    bench.write("x.cc", &format!("{HEAD}{source}"));
    for (name, define) in [("old", ""), ("new", "-DNEW")] {
        bench.run("clang++", &format!("-g -O1 -w -Wl,--build-id {define} x.cc -o {name}"));
    }
    let (report, _) = diff(&bench);
    assert!(report["findings"].to_string().contains("HP0211"), "{report}");
}
