//! Each code that a pair of builds can draw, drawn by a small one.

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use support::{Bench, HEAD};

struct Case {
    code: &'static str,
    /// Of both builds; what differs between the two stands after a `|`.
    flags: &'static str,
    source: &'static str,
    options: &'static [&'static str],
}

const fn case(code: &'static str, flags: &'static str, source: &'static str) -> Case {
    Case { code, flags, source, options: &[] }
}

const MAIN: &str =
    "NOINLINE int f(int x) { return x * PICK(3, 5) + PICK(0, x / 7); } int main(int c, char **v) { return f(c); }";

const CASES: &[Case] = &[
    case("HP0104", "-pie -fPIE -Wl,--build-id=none", MAIN),
    case("HP0104", "-pie -fPIE -Wl,--build-id=0xabcdef", MAIN),
    case("HP0104", "-pie -fPIE -Wl,--build-id=0x0123456789abcdef", MAIN),
    case("HP0112", "-pie -fPIE|-no-pie -fno-pie", MAIN),
    case("HP0515", "-shared -fPIC -Wl,-soname,a|-shared -fPIC -Wl,-soname,b", MAIN),
    case(
        "HP0521",
        "-pie -fPIE",
        "__attribute__((section(\".gopclntab\"))) const int table[4] = {1, 2, 3, 4}; NOINLINE int f(int x) { return x * PICK(3, 5) + table[x & 3]; }
         int main(int c, char **v) { return f(c); }",
    ),
    case("HP0218", "-pie -fPIE|-pie -fPIE -fno-tree-vrp", MAIN),
    // The bound check lets more through than the entries that lead into the function.
    case(
        "HP0210",
        "-pie -fPIE",
        r#"NOINLINE int g(int x) { return puts("g"); } NOINLINE int h(int x) { return puts("h"); } int f(int x);
         asm(".text\n.globl f\n.type f,@function\nf: .cfi_startproc\n cmp $3,%edi\n ja 1f\n mov %edi,%edi\n lea .Ltable(%rip),%rax\n"
             "movslq (%rax,%rdi,4),%rcx\n add %rax,%rcx\n jmp *%rcx\n 1: mov $1,%eax\n ret\n 2: mov $2,%eax\n ret\n .cfi_endproc\n.size f,.-f\n"
             ".section .rodata\n.balign 4\n.Ltable: .long 1b-.Ltable, 2b-.Ltable, g-.Ltable, " PICK("g", "h") "-.Ltable\n.text\n");
         int main(int c, char **v) { return f(c); }"#,
    ),
    case(
        "HP0212",
        "-pie -fPIE",
        "NOINLINE int other(int x) { return x * 77 + 5; } NOINLINE void f(int x) { if (x == PICK(9, 8)) asm volatile(\"jmp other+3\"); puts(\"a\"); }
         int main(int c, char **v) { f(c); return other(c); }",
    ),
    case(
        "HP0213",
        "-pie -fPIE",
        "NOINLINE void f(int x) { if (x == PICK(9, 8)) asm volatile(\".byte 0x06, 0x06\"); puts(\"a\"); } int main(int c, char **v) { f(c); }",
    ),
    case(
        "HP0215",
        "-pie -fPIE",
        "int raw(int); asm(\".text\\n.globl raw\\nraw:\\n lea \" PICK(\"1\", \"2\") \"(%rdi),%eax\\n ret\\n\"); int main(int c, char **v) { return raw(c); }",
    ),
    case(
        "HP0401",
        "-pie -fPIE",
        "int limit = PICK(10, 20); NOINLINE int f(int x) { return x PICK(+, -) limit; } int main(int c, char **v) { return f(c); }",
    ),
    case(
        "HP0402",
        "-pie -fPIE",
        "const int table[PICK(4, 6)] = {1, 2, 3, 4}; NOINLINE int f(int x) { return table[x]; } int main(int c, char **v) { return f(c); }",
    ),
    case(
        "HP0403",
        "-pie -fPIE",
        "int slots[PICK(4, 16)], *kept; NOINLINE int f(int x) { kept = slots; return slots[x] += PICK(1, 2); } int main(int c, char **v) { return f(c); }",
    ),
    case(
        "HP0404",
        "-pie -fPIE",
        "PICK(const, ) int limits[4] = {1, 2, 3, 4}; NOINLINE int f(int x) { return limits[x] PICK(+, -) 1; } int main(int c, char **v) { return f(c); }",
    ),
    case(
        "HP0405",
        "-pie -fPIE",
        "const char names[PICK(4, 6)][8] = {\"a\", \"b\"}; const char *first = names[1]; NOINLINE int f(int x) { return names[x][0] + first[0]; }
         int main(int c, char **v) { first++; return f(c); }",
    ),
    case(
        "HP0407",
        "-pie -fPIE",
        "int PICK(users, users_now) = 7; NOINLINE int f(int x) { return PICK(users, users_now) += x; } int main(int c, char **v) { return f(c); }",
    ),
    case(
        "HP0217",
        "-no-pie -fno-pie",
        "char buffer[64] = \"x\"; PICK(, unsigned long inside[] = {(unsigned long)(buffer + 8), (unsigned long)(buffer + 16)};)
         NOINLINE int f(int x) { return PICK(buffer[x], *(char *)inside[x]++); } int main(int c, char **v) { return f(c); }",
    ),
    // What a `switch` returns: numbers, some of which lead into an object.
    case(
        "HP0217",
        "-no-pie -fno-pie -O2",
        "char buffer[4096]; NOINLINE unsigned long f(int x) { switch (x) { case 0: return 0x404808; case 1: return 5; case 2: return 0x404810;
                                                                          case 3: return PICK(6, 7); default: return 1; } }
         int main(int c, char **v) { return f(c) + f(c + 1) > buffer[c]; }",
    ),
    case("HP0503", "-shared -fPIC", "int f(PICK(int, long) x) { return x * PICK(1, 3); }"),
    case(
        "HP0411",
        "-pie -fPIE",
        "int slots[PICK(4, 16)]; NOINLINE int f(int x) { return slots[x] += PICK(1, 2); } int main(int c, char **v) { return f(c); }",
    ),
    Case {
        code: "HP0412",
        flags: "-pie -fPIE",
        source: "int limit = PICK(10, 20); NOINLINE int f(int x) { return x + limit; } int main(int c, char **v) { limit += c; return f(c); }",
        options: &["--reset-data", "limit"],
    },
    case("HP0504", "-shared -fPIC", "int f(int x) { return x * PICK(3, 4); } int PICK(was, is)(int x) { return x + 7; }"),
    case(
        "HP0507",
        "-shared -fPIC",
        "static __thread int depth; PICK(, static __thread int more;) int f(int x) { return depth += x PICK(, + more++); }",
    ),
    case(
        "HP0508",
        "-pie -fPIE",
        "__thread int depth = PICK(1, 2); NOINLINE int f(int x) { return depth += x * PICK(2, 3); } int main(int c, char **v) { return f(c); }",
    ),
    case(
        "HP0509",
        "-pie -fPIE -Os -falign-functions=1",
        "NOINLINE void f(void) { PICK(, puts(\"called\");) asm volatile(\"\"); } NOINLINE void g(void) { asm volatile(\"nop; nop\"); } int main(int c, char **v) { f(); g(); }",
    ),
    case(
        "HP0510",
        "-pie -fPIE",
        "NOINLINE int other(int x) { return x * PICK(77, 78) + PICK(5, x); } NOINLINE void f(int x) { if (x == 9) asm volatile(\"jmp other+3\"); puts(\"a\"); }
         int main(int c, char **v) { f(c); return other(c); }",
    ),
    case(
        "HP0513",
        "-pie -fPIE",
        "static int one(void) { return 1; } static int two(void) { return 2; } static void *choose(void) { return PICK(one, two); }
         int chosen(void) __attribute__((ifunc(\"choose\"))); int main(int c, char **v) { return chosen() + one() + two(); }",
    ),
    Case {
        code: "HP0519",
        flags: "-pie -fPIE",
        source: "NOINLINE int f(int x) { return x * PICK(3, 5); } NOINLINE int g(int x) { return x PICK(+, -) 7; }
                 int main(int c, char **v) { return f(c) + g(c); }",
        options: &["--leave", "g"],
    },
    Case { code: "HP0001", flags: "-pie -fPIE", source: MAIN, options: &["--leave", "no_such_function"] },
    Case { code: "HP0001", flags: "-pie -fPIE", source: MAIN, options: &["--id", "../up"] },
    Case { code: "HP0001", flags: "-pie -fPIE", source: MAIN, options: &["--cve", ""] },
    Case { code: "HP0001", flags: "-pie -fPIE", source: MAIN, options: &["--note", "\u{1b}[2J"] },
    Case { code: "HP0001", flags: "-pie -fPIE", source: MAIN, options: &["--pair", "./old=./new"] },
    Case { code: "HP0002", flags: "-pie -fPIE", source: MAIN, options: &["--accept", "HP9998"] },
    Case { code: "HP0014", flags: "-pie -fPIE", source: MAIN, options: &["-o", "./old"] },
];

/// The codes that `patchgen build` gives.
fn codes(bench: &Bench, options: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchgen"));
    command.args(["build", "--json", "--replace", "--old", "old", "--new", "new"]).args(options);
    if !options.contains(&"-o") {
        command.args(["-o", "x.hpatch"]);
    }
    let out = command.current_dir(bench.dir.path()).output().expect("patchgen runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&out.stderr)));
    let of = |v: &Value| v["code"].as_str().map(str::to_owned);
    let findings = report["findings"].as_array().into_iter().flatten();
    findings.chain([&report["error"]]).filter_map(of).collect()
}

fn build(case: &Case) -> Bench {
    let bench = Bench::new();
    bench.write("x.c", &format!("{HEAD}{}", case.source));
    let (old, new) = case.flags.split_once('|').unwrap_or((case.flags, case.flags));
    bench.run("gcc", &format!("-g -O1 -Wl,--build-id -w {old} x.c -o old"));
    bench.run("gcc", &format!("-g -O1 -Wl,--build-id -w -DNEW {new} x.c -o new"));
    bench
}

#[test]
fn each_is_given() {
    let mut missed = Vec::new();
    for case in CASES {
        let codes = codes(&build(case), case.options);
        if !codes.contains(case.code) {
            missed.push(format!("{}: {codes:?}", case.code));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn without_section_headers() {
    let bench = build(&case("HP0110", "-pie -fPIE", MAIN));
    let mut bytes = std::fs::read(bench.path("new")).expect("the build");
    // e_shoff, then e_shnum and e_shstrndx.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    std::fs::write(bench.path("new"), bytes).expect("written");
    assert!(codes(&bench, &[]).contains("HP0110"));
}

#[test]
fn a_vtable_that_grew() {
    let bench = Bench::new();
    let source = "struct S { int n; virtual int f(); PICK(, virtual int added();) virtual int g(); virtual ~S(); };
        S::~S() {} int S::f() { return n; } int S::g() { return n PICK(+, -) 2; } PICK(, int S::added() { return 3; })
        NOINLINE int call(S *s) { return s->g(); } int main() { S *s = new S; return call(s); }";
    bench.write("x.cc", &format!("{HEAD}{source}"));
    bench.run("g++", "-g -O1 -Wl,--build-id -w -fPIE -pie x.cc -o old");
    bench.run("g++", "-g -O1 -Wl,--build-id -w -fPIE -pie -DNEW x.cc -o new");
    assert!(codes(&bench, &[]).contains("HP0518"));
}

/// A thread-local variable of another version is another one.
#[test]
fn versions_of_thread_local_variables() {
    let bench = Bench::new();
    let library =
        "__asm__(\".symver old_n, n@V1\"); __asm__(\".symver new_n, n@@V2\"); __thread int old_n = 1, new_n = 2;";
    bench.write("v.c", library);
    bench.write("v.map", "V1 { global: n; }; V2 { global: n; } V1;");
    bench.run("gcc", "-O1 -fPIC -shared v.c -Wl,--version-script=v.map -Wl,-soname,libv.so -o libv.so");
    let program = "extern __thread int n_; __asm__(\".symver n_, n@\" PICK(\"V1\", \"V2\"));
        NOINLINE int f(int x) { return x * 3 + n_; } int main(int c, char **v) { return f(c); }";
    bench.write("x.c", &format!("{HEAD}{program}"));
    for (name, define) in [("old", ""), ("new", "-DNEW")] {
        bench.run("gcc", &format!("-g -O1 -fPIE -pie -Wl,--build-id {define} x.c libv.so -o {name}"));
    }
    let out = Command::new(env!("CARGO_BIN_EXE_patchgen"))
        .args(["build", "--old", "old", "--new", "new", "-o", "x.hpatch"])
        .current_dir(bench.dir.path())
        .output()
        .expect("patchgen runs");
    let said = [out.stdout, out.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert_eq!(out.status.code(), Some(4), "{said}");
    assert!(said.contains("no such GOT entry"), "{said}");
}
