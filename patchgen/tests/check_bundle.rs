//! `patchgen check-bundle` agrees with good bundles and finds every corruption of a payload.

mod support;

use goblin::elf::Elf;
use goblin::elf::section_header::SHT_RELA;
use patchgen::verify_bundle::{Inputs, Report, check};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::Bench;

const SOURCE: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef NEW
#define PICK(old, new) new
#else
#define PICK(old, new) old
#endif
#define NOINLINE __attribute__((noinline, noclone))

int counter = 3, limit = 900;
static int shared_state[4];
__thread int per_thread = 5;
const int primes[4] = {2, 3, 5, PICK(7, 11)};

NOINLINE static int helper(int x) { return x * 3 + shared_state[x & 3]; }
NOINLINE static int second(int x) { return x * 5 - shared_state[x & 1]; }
NOINLINE int prime(int i) { return primes[i & 3]; }
NOINLINE int choose(int x)
{
    switch (x) {
    case 0: return helper(x);
    case 1: return second(x) + 1;
    case 2: return counter;
    case 3: return 17;
    case 4: return limit - 4;
    case 5: return prime(x);
    default: return -1;
    }
}
NOINLINE int changed(const char *text, int x)
{
    counter += x;
    if (x > limit + PICK(1, 12345))
        puts(PICK("too large", "much too large"));
    per_thread += helper(x) + (int)strlen(text);
    return second(per_thread) + choose(x) + PICK(0, atoi(text));
}
int main(int argc, char **argv) { return changed(argv[0], argc) + atoi("3"); }
"#;

struct Pair {
    bench: Bench,
}

impl Pair {
    fn build(source: &str, compiler: &str, flags: &str) -> Pair {
        let bench = Bench::new();
        bench.write("x.c", source);
        for (name, define) in [("old", ""), ("new", "-DNEW")] {
            bench.run(compiler, &format!("-g -Wl,--build-id {flags} {define} x.c -o {name}"));
        }
        let pair = Pair { bench };
        let built = pair.patchgen("build", &["-o", "fix.hpatch"]);
        assert!(built.status.success(), "{compiler} {flags}: {}", String::from_utf8_lossy(&built.stderr));
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.path(name)
    }

    fn patchgen(&self, verb: &str, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_patchgen"))
            .args([verb, "--old", "old", "--new", "new"])
            .args(args)
            .current_dir(self.bench.dir.path())
            .output()
            .expect("patchgen runs")
    }

    fn payload(&self) -> Vec<u8> {
        let parts = self.path("parts");
        let status = Command::new(env!("CARGO_BIN_EXE_patchgen"))
            .args(["extract", "fix.hpatch", "-o", "parts"])
            .current_dir(self.bench.dir.path())
            .output();
        assert!(status.is_ok_and(|o| o.status.success()));
        let object = std::fs::read_dir(parts).expect("extracted").flatten().map(|e| e.path());
        let object = object.into_iter().find(|p| p.extension().is_some_and(|e| e == "o"));
        std::fs::read(object.expect("a payload")).expect("the payload is readable")
    }

    fn report(&self, payload: &[u8]) -> Result<Report, String> {
        let read = |p: &Path| std::fs::read(p).expect("an image");
        let (old, new) = (read(&self.path("old")), read(&self.path("new")));
        check(&Inputs { old: &old, new: &new, old_debug: None, new_debug: None, payload, left: &[], stamps: &[] })
    }

    /// A payload that can't be laid out is found as well.
    fn finds(&self, payload: &[u8]) -> bool {
        self.report(payload).is_ok_and(|r| !r.disagreements.is_empty()) || self.report(payload).is_err()
    }
}

/// File range of a section.
fn section(payload: &[u8], name: &str) -> std::ops::Range<usize> {
    let elf = Elf::parse(payload).expect("an ELF object");
    let found = elf.section_headers.iter().find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(name));
    found.and_then(|s| s.file_range()).unwrap_or_else(|| panic!("no section {name}"))
}

/// File offsets of the relocated bytes of a section.
fn relocated(payload: &[u8], name: &str) -> Vec<usize> {
    let start = section(payload, name).start;
    let elf = Elf::parse(payload).expect("an ELF object");
    let mut found = Vec::new();
    for (table, relocs) in &elf.shdr_relocs {
        let target = &elf.section_headers[elf.section_headers[*table].sh_info as usize];
        if elf.shdr_strtab.get_at(target.sh_name) == Some(name) {
            found.extend(relocs.iter().flat_map(|r| (0..4).map(move |k| start + r.r_offset as usize + k)));
        }
    }
    found
}

#[test]
fn good_bundles_agree() {
    for (compiler, flags) in [
        ("gcc", "-O0 -fPIE -pie"),
        ("gcc", "-O2 -fPIE -pie"),
        ("gcc", "-O2 -fno-pie -no-pie"),
        ("gcc", "-O2 -fPIC -shared"),
        ("clang", "-O2 -fPIE -pie"),
        ("clang", "-O0 -fno-pie -no-pie"),
        ("clang", "-O2 -fPIC -shared"),
    ] {
        let pair = Pair::build(SOURCE, compiler, flags);
        let out = pair.patchgen("check-bundle", &["fix.hpatch", "--json"]);
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(0), "{compiler} {flags}: {text}");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["equal"], true);
        assert!(json["carried"].as_u64() >= Some(1), "{compiler} {flags}: {text}");
        assert!(json["kept"].as_u64() >= Some(4), "{compiler} {flags}: {text}");
        assert_eq!(json["unresolved"].as_array().map(Vec::len), Some(0), "{compiler} {flags}: {text}");
    }
}

#[test]
fn another_new_build_is_found() {
    let pair = Pair::build(SOURCE, "gcc", "-O1 -fPIE -pie");
    pair.bench.write("x.c", &SOURCE.replace("x * 5 -", "x * 6 -"));
    pair.bench.run("gcc", "-g -O1 -fPIE -pie -Wl,--build-id -DNEW x.c -o new");
    let out = pair.patchgen("check-bundle", &["fix.hpatch"]);
    assert_eq!(out.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&out.stdout).contains("differs: second"));
    std::fs::write(pair.path("old"), b"not an image").expect("written");
    assert_eq!(pair.patchgen("check-bundle", &["fix.hpatch"]).status.code(), Some(6));
}

#[test]
fn every_changed_addend_is_found() {
    let pair = Pair::build(SOURCE, "gcc", "-O1 -fPIE -pie");
    let payload = pair.payload();
    assert!(!pair.finds(&payload));
    let elf = Elf::parse(&payload).expect("an ELF object");
    let mut tried = 0;
    for header in elf.section_headers.iter().filter(|h| h.sh_type == SHT_RELA) {
        let target = elf.shdr_strtab.get_at(elf.section_headers[header.sh_info as usize].sh_name);
        // Unwind tables are not compared.
        if target.is_some_and(|t| t.contains("eh_frame") || t.contains("except_table")) {
            continue;
        }
        for entry in header.file_range().expect("content").step_by(24) {
            for change in [1i64, -4, 64] {
                let mut bad = payload.clone();
                let field = entry + 16..entry + 24;
                let addend = i64::from_le_bytes(bad[field.clone()].try_into().expect("eight bytes")) + change;
                bad[field].copy_from_slice(&addend.to_le_bytes());
                assert!(pair.finds(&bad), "relocation at 0x{entry:x} of {target:?}, {change}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 20, "{tried}");
}

#[test]
fn every_changed_byte_of_code_is_found() {
    let pair = Pair::build(SOURCE, "gcc", "-O1 -fPIE -pie -fno-align-functions -fno-align-jumps -fno-align-loops");
    let payload = pair.payload();
    let elf = Elf::parse(&payload).expect("an ELF object");
    let changed = elf.syms.iter().find(|s| elf.strtab.get_at(s.st_name) == Some("changed")).expect("carried");
    let start = section(&payload, ".text").start + changed.st_value as usize;
    let fields = relocated(&payload, ".text");
    let (mut tried, mut missed) = (0, Vec::new());
    for at in (start..start + changed.st_size as usize).filter(|a| !fields.contains(a)) {
        for flip in [1, 4, 0x20] {
            let mut bad = payload.clone();
            bad[at] ^= flip;
            tried += 1;
            if !pair.finds(&bad) {
                missed.push((at - start, flip));
            }
        }
    }
    // A jump to the byte before its target means the same where that byte is a prefix without effect.
    assert!(tried >= 100 && missed.len() <= 1, "{missed:x?} of {tried}");
}

#[test]
fn every_wrong_binding_is_found() {
    let pair = Pair::build(SOURCE, "gcc", "-O1 -fPIE -pie");
    let payload = pair.payload();
    let (mut old, mut imports) = (0, 0);
    for bind in section(&payload, ".hpatch.bind").step_by(24) {
        let mut bad = payload.clone();
        if payload[bind + 4] == 1 {
            bad[bind + 8] ^= 0x10;
            old += 1;
        } else {
            // Another import: the name without its first character.
            bad[bind + 16] += 1;
            imports += 1;
        }
        assert!(pair.finds(&bad), "binding {}", (bind - section(&payload, ".hpatch.bind").start) / 24);
    }
    assert!(old >= 3 && old + imports >= 4, "{old} {imports}");
}

#[test]
fn vectors_are_no_tables() {
    const VECTORS: &str = r#"
        typedef int v4 __attribute__((vector_size(16)));
        #ifdef NEW
        #define STEP(x) ((x) * (v4){13, 13, 13, 13} + (v4){8, 8, 8, 8})
        #else
        #define STEP(x) ((x) + (v4){7, 7, 7, 7})
        #endif
        __attribute__((noinline)) v4 f(v4 x) { return (x ^ (v4){9, 9, 9, 9}) + STEP(x); }
        int main(int argc, char **argv) { v4 r = f((v4){argc, 2, 3, 4}); return r[0] + r[3]; }
    "#;
    for flags in ["-O2 -fno-pie -no-pie", "-O2 -fPIE -pie"] {
        for compiler in ["gcc", "clang"] {
            let pair = Pair::build(VECTORS, compiler, flags);
            let report = pair.report(&pair.payload()).expect("a sound payload");
            assert!(report.disagreements.is_empty(), "{compiler} {flags}: {}", report.text());
        }
    }
}

/// Tables of a `switch`, by clang: of jumps, with entries in between that lead to the function's end, and of distances to texts, most of them empty.
const TABLES: &str = r#"
#include <stdio.h>
#define NOINLINE __attribute__((noinline))
volatile int seen[8];
NOINLINE int step(unsigned k)
{
    switch (k) {
    case 0: case 5: seen[1] = 11; return 1;
    case 1: seen[2] = 12; return 4;
    case 2: seen[3] = 13; return 9;
    case 6: seen[4] = 14; return 16;
    case 7: seen[5] = 15; return 25;
    default: __builtin_unreachable();
    }
}
NOINLINE const char *mostly(int k)
{
    switch (k) {
    case 0: return "";
    case 1: return "";
    case 2: return "";
    case 3: return "b";
    case 4: return "c";
    default: return "d";
    }
}
NOINLINE int changed(int x)
{
#ifdef NEW
    x += 12345;
#endif
    return step(x & 7);
}
int main(int argc, char **argv) { return changed(argc) + puts(mostly(argc)); }
"#;

/// Pair of [`TABLES`], and what `check-bundle` says once its new build is another one.
fn tables(change: impl Fn(&Pair)) -> String {
    let pair = Pair::build(TABLES, "clang", "-O2 -fPIE -pie");
    let agrees = || pair.patchgen("check-bundle", &["fix.hpatch"]);
    assert_eq!(agrees().status.code(), Some(0), "{}", String::from_utf8_lossy(&agrees().stdout));
    change(&pair);
    String::from_utf8_lossy(&agrees().stdout).into_owned()
}

#[test]
fn equal_distances_to_another_text_are_found() {
    let text = tables(|pair| {
        pair.bench.write("x.c", &TABLES.replace("return \"b\"", "return \"a\""));
        pair.bench.run("clang", "-g -O2 -fPIE -pie -Wl,--build-id -DNEW x.c -o new");
    });
    assert!(text.contains("differs: mostly"), "{text}");
}

#[test]
fn another_jump_behind_a_hole_is_found() {
    let text = tables(|pair| {
        let mut bytes = std::fs::read(pair.path("new")).expect("an image");
        let word = |at: usize| bytes[at..at + 4].to_vec();
        let is_table =
            |&at: &usize| word(at) == word(at + 20) && word(at + 12) == word(at + 16) && word(at) != word(at + 12);
        let table = section(&bytes, ".rodata").step_by(4).find(is_table).expect("a jump table");
        bytes.copy_within(table + 4..table + 8, table + 20);
        std::fs::write(pair.path("new"), bytes).expect("written");
    });
    assert!(text.contains("differs: step"), "{text}");
}

/// Two numbers, read as one, are the distance from their place to an instruction of the function that reads them, in the new build only.
#[test]
fn numbers_of_two_bytes_are_no_table() {
    const NUMBERS: &str = r#"
        #ifdef NEW
        #define FRONT ".skip 32, 0x90\n"
        #define BACK "0"
        #else
        #define FRONT ""
        #define BACK "32"
        #endif
        __asm__(".text\n" FRONT ".globl number\n.type number,@function\nnumber:\n"
                "lea .Lnumbers(%rip),%rcx\nmovzwl (%rcx,%rdi,2),%eax\n.Lthen: add $1,%eax\nret\n.size number,.-number\n"
                ".section .rodata\n.p2align 2\n.Lnumbers: .long .Lthen+" BACK "-.Lnumbers, 0x60005\n.text\n");
        int number(long i);
        __attribute__((noinline)) int changed(int x) {
        #ifdef NEW
            return x * 5 + number(x & 3);
        #else
            return x * 3 + number(x & 3);
        #endif
        }
        int main(int argc, char **argv) { return changed(argc); }
    "#;
    let pair = Pair::build(NUMBERS, "gcc", "-O2 -fPIE -pie");
    let report = pair.report(&pair.payload()).expect("a sound payload");
    assert!(report.disagreements.is_empty(), "{}", report.text());
}
