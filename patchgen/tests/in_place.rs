//! Which functions `patchgen build` edits in place, which it must not, and that `check-bundle` sees every wrong edit.

mod support;

use goblin::elf::Elf;
use patchgen::compare::Stamps;
use patchgen::pipeline::{self, Plan};
use patchgen::verify_bundle::{Inputs, check};
use support::Bench;

fn build(bench: &Bench, compiler: &str, flags: &str, source: &str) {
    bench.write("x.c", source);
    for (name, define) in [("old", ""), ("new", "-DNEW")] {
        bench.run(compiler, &format!("-g -Wl,--build-id {flags} {define} x.c -o {name}"));
    }
}

fn plan(bench: &Bench, replace: bool) -> (Vec<String>, Vec<String>, Plan) {
    let load = |name: &str| pipeline::load(&bench.path(name), None, &[]).expect("an image");
    let (old, mut new) = (load("old"), load("new"));
    let compared = pipeline::compare(&old, &mut new, &Stamps::default()).expect("compared");
    let plan = pipeline::plan(&compared, replace).expect("planned");
    let name = |id: patchgen::addr::FuncId| compared.new.lifted.functions[id.index()].name.clone();
    let edited = plan.set.in_place.iter().map(|f| name(f.new)).collect();
    let replaced = plan.set.replaced().map(|(_, new, _)| name(new)).collect();
    (edited, replaced, plan)
}

const HEAD: &str = r#"
#include <stdio.h>
#include <string.h>
#ifdef NEW
#define PICK(old, new) new
#else
#define PICK(old, new) old
#endif
#define NOINLINE __attribute__((noinline, noclone))
"#;

/// Functions `f`, and what `main` does with them.
fn program(functions: &str, main: &str) -> String {
    format!("{HEAD}{functions}\nint main(int argc, char **argv) {{ {main} }}\n")
}

#[test]
fn only_operands_of_equal_length_are_edited() {
    let source = program(
        r#"
        struct s { int a, b, c; char rest[200]; } shared;
        int table[8];
        NOINLINE int constant(int x) { return x * PICK(1000, 2000); }
        NOINLINE int member(struct s *s) { return s->PICK(b, c); }
        NOINLINE int longer(int x) { return x * PICK(100, 1000); }
        NOINLINE int other_register(int x, int y) { return PICK(x, y) * 3; }
        NOINLINE const char *text(void) { return PICK("one text", "another"); }
        NOINLINE int operation(int x) { return x PICK(+, -) table[x & 7]; }
        NOINLINE void frame(int x) { char b[PICK(200, 400)]; memset(b, x, sizeof b); puts(b); }
        "#,
        "shared.b = argc; shared.c = 3; frame(argc); puts(text());
         return constant(argc) + member(&shared) + longer(argc) + other_register(argc, 7) + operation(argc);",
    );
    for (compiler, flags) in [
        ("gcc", "-O2 -fPIE -pie"),
        ("gcc", "-O2 -fno-pie -no-pie"),
        ("gcc", "-O1 -fPIC -shared"),
        ("clang", "-O2 -fPIE -pie"),
        ("clang", "-O1 -fno-pie -no-pie"),
        ("clang", "-O2 -fPIC -shared"),
    ] {
        let bench = Bench::new();
        build(&bench, compiler, flags, &source);
        let (edited, replaced, plan) = plan(&bench, false);
        assert_eq!(edited, ["constant", "member"], "{compiler} {flags}");
        // The frame grew, and the unwind data of a function that stays with it.
        for name in ["longer", "other_register", "text", "operation", "frame"] {
            assert!(replaced.iter().any(|r| r == name), "{compiler} {flags}: {name} isn't among {replaced:?}");
        }
        assert_eq!(plan.patch.replaced() + 2, plan.patch.funcs.len());
        assert!(plan.patch.edits.iter().all(|e| e.code && e.preimage != [0; 16]));
        let (edited, replaced, _) = self::plan(&bench, true);
        assert!(edited.is_empty() && replaced.iter().any(|r| r == "constant"), "{compiler} {flags}: {replaced:?}");
    }
}

/// A number that is an address in one of the images has no meaning in the other.
#[test]
fn numbers_that_may_be_addresses_are_not_edited() {
    let source = program(
        r#"
        int first[64], second[64];
        NOINLINE int number(long x) { return x > PICK(0x333333, 0x0); }
        "#,
        "return number(argc) + first[argc] + second[argc];",
    );
    let bench = Bench::new();
    let place = {
        build(&bench, "gcc", "-O1 -fno-pie -no-pie", &source);
        let image = bench.load("new");
        image.symbols.iter().find(|s| s.name == "second").map(|s| s.svma.0).expect("an address")
    };
    // `number` keeps its length: both are 32-bit immediates.
    let source = source.replace("0x3333, 0x0", &format!("0x333333, {place:#x}"));
    build(&bench, "gcc", "-O1 -fno-pie -no-pie", &source);
    let second = bench.load("new").symbols.iter().find(|s| s.name == "second").map(|s| s.svma.0);
    assert_eq!(second, Some(place), "the layout moved: the test shows nothing");
    let (edited, replaced, _) = plan(&bench, false);
    assert_eq!((edited.len(), replaced), (0, vec!["number".to_owned()]));
}

/// Two old names of one body that go different ways: no edit may change both.
#[test]
fn folded_functions_are_refused() {
    let source = program(
        "NOINLINE int one(int x) { return x * PICK(1000, 2000); }
         NOINLINE int two(int x) { return x * 1000; }",
        "return one(argc) + two(argc);",
    );
    let bench = Bench::new();
    build(&bench, "clang", "-O2 -fPIE -pie -ffunction-sections -fuse-ld=lld -Wl,--icf=all", &source);
    let (_, _, plan) = plan(&bench, false);
    assert!(plan.findings.iter().any(|f| matches!(f.code, 303 | 514)), "{:?}", plan.findings);
}

/// `main` is edited as little as it is replaced while it runs.
#[test]
fn main_waits_for_a_start() {
    let source = program("", "printf(\"%d\\n\", argc * PICK(1000, 2000)); return 0;");
    let bench = Bench::new();
    build(&bench, "gcc", "-O2 -fPIE -pie", &source);
    let (edited, _, plan) = plan(&bench, false);
    assert_eq!(edited, ["main"]);
    assert!(plan.start_only && plan.patch.funcs.iter().all(|f| f.main_like));
}

/// Functions whose line numbers moved stay as they are, beside others that are edited.
#[test]
fn line_numbers_alone_are_left() {
    let source = program(
        "NOINLINE void note(const char *file, int line) { printf(\"%s:%d\\n\", file, line); }
         #ifdef NEW
         #line 1234
         #endif
         NOINLINE void shifted(int x) { if (x > 3) note(__FILE__, __LINE__); }
         NOINLINE int constant(int x) { return x * PICK(1000, 2000); }",
        "shifted(argc); return constant(argc);",
    );
    let source = source.replace("         #", "#");
    let bench = Bench::new();
    build(&bench, "gcc", "-O2 -fPIE -pie", &source);
    let (edited, replaced, _) = plan(&bench, false);
    assert_eq!((edited, replaced.len()), (vec!["constant".to_owned()], 0));
    let load = |name: &str| pipeline::load(&bench.path(name), None, &[]).expect("an image");
    let (old, mut new) = (load("old"), load("new"));
    let compared = pipeline::compare(&old, &mut new, &Stamps::default()).expect("compared");
    let lines = compared.changes.changed.iter().filter(|c| c.cause == patchgen::compare::Cause::LineNumber);
    assert_eq!(lines.count(), 1);
}

#[test]
fn check_bundle_proves_edits_and_finds_wrong_ones() {
    let source = program(
        "NOINLINE int constant(int x) { return x * PICK(1000, 2000) + PICK(70000, 80000); }",
        "return constant(argc);",
    );
    let bench = Bench::new();
    build(&bench, "gcc", "-O2 -fPIE -pie", &source);
    let (_, _, plan) = plan(&bench, false);
    let payload = patchgen::emit::payload(&plan.patch).expect("a payload");
    let read = |name: &str| std::fs::read(bench.path(name)).expect("an image");
    let (old, new) = (read("old"), read("new"));
    let report = |payload: &[u8]| {
        check(&Inputs { old: &old, new: &new, old_debug: None, new_debug: None, payload, left: &[], stamps: &[] })
    };
    let good = report(&payload).expect("sound");
    assert_eq!((good.edited, good.carried, good.disagreements.len()), (1, 0, 0), "{}", good.text());
    let section = |name: &str| {
        let elf = Elf::parse(&payload).expect("an object");
        let header = elf.section_headers.iter().find(|h| elf.shdr_strtab.get_at(h.sh_name) == Some(name));
        header.and_then(|h| h.file_range()).unwrap_or_else(|| panic!("no {name}"))
    };
    let wrong = |at: usize, flip: u8| {
        let mut bad = payload.clone();
        bad[at] ^= flip;
        report(&bad).is_err() || report(&bad).is_ok_and(|r| !r.disagreements.is_empty())
    };
    // Every bit of the new bytes, and the place, size and flags of each edit.
    for at in section(".hpatch.new") {
        for bit in 0..8 {
            assert!(wrong(at, 1 << bit), "new byte at 0x{at:x}, bit {bit}");
        }
    }
    let edits = section(".hpatch.edit");
    for record in edits.step_by(48) {
        for at in [record, record + 1, record + 8, record + 20] {
            assert!(wrong(at, 1), "record at 0x{record:x}, byte {}", at - record);
        }
    }
    // An edit outside of a function that is held would be written under a running thread.
    assert!(wrong(section(".hpatch.func").start + 44, 2));
}
