//! What `patchgen diff` and `patchgen explain FUNCTION` tell.

mod support;

use serde_json::Value;
use std::process::{Command, Output};
use support::Bench;

const SOURCE: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#ifdef NEW
#define PICK(old, new) new
#else
#define PICK(old, new) old
#endif
#define NOINLINE __attribute__((noinline, noclone))

struct kept { int first, second, third; char room[120]; };
struct grown { int first;
#ifdef NEW
    int added;
#endif
    int second; };
struct kept kept;
struct grown *grown;
int table[64];

static inline __attribute__((always_inline)) int inner(int x) { return x PICK(*, +) table[x & 7]; }
NOINLINE int helper(int x) { return x * 3 + table[1]; }
NOINLINE int second_helper(int x) { return x * 5 - table[2]; }

NOINLINE int number(int x) { return x * PICK(1000, 2000); }
NOINLINE int member(struct kept *k) { return k->PICK(second, third); }
NOINLINE int layout(struct grown *g) { return g->second; }
NOINLINE int index(long *l) { return (int)l[PICK(70, 72)]; }
NOINLINE const char *text(void) { return PICK("some text", "other text"); }
NOINLINE int retarget(int x) { return PICK(helper, second_helper)(x) + 1; }
NOINLINE int with_inlined(int x) { return inner(x) + 7; }
NOINLINE int code(int x) { return x PICK(-, ^) table[x & 3]; }
NOINLINE int jumps(int x)
{
    switch (x) {
    case 0: return table[3];
    case 1: return helper(2);
    case 2: return table[9] + 1;
    case PICK(3, 4): return second_helper(1);
    case PICK(4, 3): return 17;
    case 5: return table[x] * 3;
    case 6: return helper(x) - 2;
    default: return -1;
    }
}
NOINLINE void log_line(const char *file, int line) { printf("%s:%d\n", file, line); }
#ifdef NEW
#line 1234
#endif
NOINLINE void shifted(int x) { if (x > 3) log_line(__FILE__, __LINE__); }
#ifdef NEW
NOINLINE int brand_new(int x) { return helper(x) + 12; }
#else
NOINLINE int removed(int x) { return helper(x) + 13; }
#endif
int added_data = 5 PICK(, + 1);

int main(int argc, char **argv)
{
    shifted(argc);
    puts(text());
    return number(argc) + member(&kept) + layout(grown) + index((long *)argv) + retarget(argc) + with_inlined(argc)
         + code(argc) + jumps(argc) + PICK(removed, brand_new)(argc);
}
"#;

fn patchgen(bench: &Bench, args: &[&str]) -> Output {
    let out = Command::new(env!("CARGO_BIN_EXE_patchgen")).args(args).current_dir(bench.dir.path()).output();
    out.expect("patchgen runs")
}

fn json(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)))
}

fn build(compiler: &str, flags: &str) -> Bench {
    let bench = Bench::new();
    bench.write("x.c", SOURCE);
    for (name, define) in [("old", ""), ("new", "-DNEW")] {
        bench.run(compiler, &format!("-g -Wl,--build-id {flags} {define} x.c -o {name}"));
    }
    bench
}

const BUILDS: [&str; 4] = ["--old", "old", "--new", "new"];

fn diff(bench: &Bench) -> (Option<i32>, Value) {
    let out = patchgen(bench, &[&["diff"], &BUILDS[..], &["--json"]].concat());
    (out.status.code(), json(&out))
}

#[test]
fn every_change_has_its_cause() {
    for (compiler, flags) in [("gcc", "-O2 -fPIE -pie"), ("clang", "-O1 -fPIE -pie"), ("gcc", "-O1 -fPIC -shared")] {
        let bench = build(compiler, flags);
        let (_, report) = diff(&bench);
        let of = |name: &str| {
            let all = report["changed"].as_array().expect("a list");
            let found = all.iter().find(|f| f["name"] == name);
            found.unwrap_or_else(|| panic!("{compiler} {flags}: {name} isn't listed: {report:#}")).clone()
        };
        let wanted = [
            ("number", "immediate", "edited in place"),
            ("member", "member", "edited in place"),
            ("layout", "layout growth", "edited in place"),
            ("index", "array index", "edited in place"),
            ("text", "literal", "replaced"),
            ("retarget", "retargeted reference", "replaced"),
            ("with_inlined", "inlined code", "replaced"),
            ("code", "code", "replaced"),
            ("shifted", "line number", "stays"),
        ];
        for (name, cause, fate) in wanted {
            let f = of(name);
            assert_eq!(
                (f["cause"].as_str(), f["fate"].as_str()),
                (Some(cause), Some(fate)),
                "{compiler} {flags}: {f:#}"
            );
            for side in ["old", "new"] {
                assert!(f[side]["line"].as_str().is_some_and(|l| l.contains("x.c:")), "{compiler} {flags}: {f:#}");
                assert!(f[side]["instruction"].as_str().is_some_and(|i| !i.is_empty()));
            }
        }
        assert!(of("member")["note"].as_str().is_some_and(|n| n.contains("`second` -> `third` of `kept`")));
        assert!(of("layout")["note"].as_str().is_some_and(|n| n.contains("`second` of `grown` moved 0x4 -> 0x8")));
        assert!(of("with_inlined")["note"].as_str().is_some_and(|n| n.contains("`inner`")));
        assert_eq!(of("retarget")["new"]["instruction"].as_str().map(|i| i.ends_with("second_helper")), Some(true));
        assert_eq!(of("text")["new"]["instruction"].as_str().map(|i| i.contains("\"other text\"")), Some(true));
        let names = |key: &str| format!("{}", report[key]);
        assert!(names("new_functions").contains("brand_new") && names("gone_functions").contains("removed"));
        assert!(names("data").contains("added_data"));
        let total: u64 = report["causes"].as_object().expect("totals").values().filter_map(Value::as_u64).sum();
        assert_eq!(Some(total), report["changed"].as_array().map(|l| l.len() as u64));
    }
}

#[test]
fn a_jump_table_is_a_cause() {
    let bench = build("gcc", "-O1 -fPIE -pie");
    let (_, report) = diff(&bench);
    let jumps = report["changed"].as_array().and_then(|l| l.iter().find(|f| f["name"] == "jumps")).cloned();
    let cause = jumps.as_ref().and_then(|f| f["cause"].as_str());
    // Which of the two it is, the order of the blocks decides.
    assert!(matches!(cause, Some("jump table" | "code")), "{jumps:#?}");
}

#[test]
fn exit_codes_say_what_a_build_would() {
    let bench = build("gcc", "-O2 -fPIE -pie");
    assert_eq!(diff(&bench).0, Some(0));
    let same = patchgen(&bench, &["diff", "--old", "old", "--new", "old"]);
    assert_eq!(same.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&same.stdout).contains("0 changed"));
    assert_eq!(patchgen(&bench, &["diff", "--old", "old", "--new", "x.c"]).status.code(), Some(6));
    // A thread-local that begins with another value is refused.
    bench.write(
        "x.c",
        &SOURCE
            .replace("x PICK(-, ^) table[x & 3]", "x PICK(-, ^) counted ^ table[x & 3]")
            .replace("int table[64];", "int table[64];\n__thread int counted = PICK(2, 3);"),
    );
    bench.run("gcc", "-g -Wl,--build-id -O2 -fPIE -pie x.c -o old");
    bench.run("gcc", "-g -Wl,--build-id -O2 -fPIE -pie -DNEW x.c -o new");
    let (exit, report) = diff(&bench);
    assert_eq!((exit, report["result"].as_str()), (Some(4), Some("refused")));
    assert!(report["findings"].as_array().is_some_and(|l| l.iter().any(|f| f["severity"] == "refuse")));
}

#[test]
fn one_function_is_explained() {
    let bench = build("gcc", "-O2 -fPIE -pie");
    let explain = |name: &str, more: &[&str]| patchgen(&bench, &[&["explain", name], &BUILDS[..], more].concat());
    let layout = json(&explain("layout", &["--json"]));
    assert_eq!(layout["cause"], "layout growth");
    assert_eq!(layout["paired"], "the same global name");
    assert!(layout["types"][0].as_str().is_some_and(|t| t.contains("struct grown")), "{layout:#}");
    assert!(layout["old"]["parts"][0][0].as_str().is_some_and(|a| a.starts_with("0x")));
    let rows = layout["differences"][0]["rows"].as_array().expect("rows");
    assert_eq!(rows.iter().filter(|r| r["differs"] == true).count(), 1, "{layout:#}");

    let retarget = json(&explain("retarget", &["--json"]));
    let references = retarget["references"].as_array().expect("references");
    let call = references.iter().find(|r| r["to"] == "second_helper").expect("the call");
    assert!(call["bound"].as_str().is_some_and(|b| b.starts_with("old 0x") && b.contains("second_helper")), "{call}");

    let text = explain("code", &[]);
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("replaced by a new body") && text.contains(" | ") && text.contains("x.c:"), "{text}");
    assert!(String::from_utf8_lossy(&explain("helper", &[]).stdout).contains("stays: proven equal"));
    assert!(String::from_utf8_lossy(&explain("brand_new", &[]).stdout).contains("new: carried"));
    assert!(String::from_utf8_lossy(&explain("removed", &[]).stdout).contains("gone from the new build"));
    assert_eq!(explain("nowhere", &[]).status.code(), Some(2));
    let code = patchgen(&bench, &["explain", "HP0501"]);
    assert!(code.status.success() && String::from_utf8_lossy(&code.stdout).contains("HP0501"));
}
