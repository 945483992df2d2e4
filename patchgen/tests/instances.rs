//! Who may know instances of a type whose layout changed, though its unit doesn't describe it.

mod support;

use serde_json::Value;
use std::process::Command;
use support::{Bench, HEAD};

/// The scope of a bundle of programs of these files, and what was found, built by `cc`.
fn build(cc: &str, files: &[(&str, &str)]) -> (String, String) {
    let bench = Bench::new();
    bench.write("head.h", HEAD);
    for (name, source) in files {
        bench.write(name, &format!("#include \"head.h\"\n{source}\n"));
    }
    let sources: Vec<&str> = files.iter().map(|(name, _)| *name).filter(|name| !name.ends_with(".h")).collect();
    for (name, more) in [("old", ""), ("new", "-DNEW")] {
        bench.run(cc, &format!("-g -Wl,--build-id -w {more} {} -o {name}", sources.join(" ")));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchgen"));
    command.args(["build", "--json", "--old", "old", "--new", "new", "-o", "x.hpatch"]);
    let out = command.current_dir(bench.dir.path()).output().expect("patchgen runs");
    let report: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("{cc}: {e}: {}", String::from_utf8_lossy(&out.stderr)));
    (report["scope"].as_str().unwrap_or("none").to_owned(), report["findings"].to_string())
}

/// By each compiler alike.
fn each(compilers: [&str; 2], files: &[(&str, &str)], scope: &str) {
    for cc in compilers {
        let (found, why) = build(cc, files);
        assert_eq!(found, scope, "{cc}: {why}");
    }
}

const C: [&str; 2] = ["gcc", "clang"];

const HEADER: &str = "struct conf { PICK(int width; int height;, int height; int width;) int more; };";

#[test]
fn a_pointer_of_another_unit_leads_to_an_instance() {
    let files = [
        ("conf.h", HEADER),
        (
            "a.c",
            "#include \"conf.h\"\nstruct conf *conf; void set_up(void) { conf = calloc(1, sizeof *conf); conf->more = 1; }",
        ),
        (
            "b.c",
            "#include \"conf.h\"\nextern struct conf *conf; int area(int x) { return conf->width * PICK(2, 3) + x; }",
        ),
        ("m.c", "void set_up(void); int area(int); int main(int c, char **v) { set_up(); return area(c); }"),
    ];
    each(C, &files, "start");
}

#[test]
fn a_function_of_another_unit_returns_an_instance() {
    let files = [
        ("conf.h", HEADER),
        (
            "a.c",
            "#include \"conf.h\"\nstatic struct conf kept; struct conf *conf(void) { kept.more = 1; return &kept; }",
        ),
        (
            "b.c",
            "#include \"conf.h\"\nstruct conf *conf(void); int area(int x) { return conf()->width * PICK(2, 3) + x; }",
        ),
        ("m.c", "int area(int); int main(int c, char **v) { return area(c); }"),
    ];
    each(C, &files, "start");
}

#[test]
fn a_class_is_described_where_its_vtable_is() {
    let files = [
        ("t.h", "struct T { virtual int id(); PICK(int width; int height;, int height; int width;) int more; };"),
        (
            "a.cc",
            "#include \"t.h\"\nint T::id() { return 1; }\nT *make() { T *made = new T(); made->more = 2; return made; }",
        ),
        ("b.cc", "#include \"t.h\"\nint area(T *t) { return t->width * PICK(2, 3); }"),
        (
            "m.cc",
            "struct T; T *make(); int area(T *); static T *kept; int main(int c, char **v) { kept = make(); return area(kept); }",
        ),
    ];
    each(["g++", "clang++"], &files, "start");
}

#[test]
fn what_a_source_file_has_for_itself_nobody_else_knows() {
    let files = [
        (
            "a.c",
            "struct conf { PICK(int width; int height;, int height; int width;) int more; };
             struct conf *conf; void set_up(void) { conf = calloc(1, sizeof *conf); conf->more = 1; }",
        ),
        ("b.c", "int area(int x) { return x * PICK(2, 3); }"),
        ("m.c", "void set_up(void); int area(int); int main(int c, char **v) { set_up(); return area(c); }"),
    ];
    each(C, &files, "live");
}

#[test]
fn the_compilers_own_end_of_an_exception_knows_no_type() {
    let source = "static __attribute__((noinline)) int may(int n) { if (n > 5) throw n; return n; }\n\
                  static __attribute__((noinline)) int step(int n) PICK(, noexcept) { return may(n) + PICK(1, 2); }\n\
                  int main(int c, char **) { return step(c); }";
    each(["g++", "clang++"], &[("a.cc", source)], "live");
}
