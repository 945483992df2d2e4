//! Lifting, pairing and comparing on programs built here by gcc and clang, and on what is installed.

use patchgen::compare::{Cause, ChangeSet, DataDiff, Stamps, compare};
use patchgen::correlate::{Correlation, Shared, Side, correlate, settle};
use patchgen::image::Image;
use patchgen::lift::{Function, Lifted, lift};
use std::path::{Path, PathBuf};
use std::process::Command;

const SHAPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lift/shapes.c");

struct Build {
    image: Image,
    lifted: Lifted,
}

impl Build {
    fn load(path: &Path) -> Build {
        let image = Image::load(path, None, &[]).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
        let lifted = lift(&image);
        Build { image, lifted }
    }
    fn side(&self) -> Side<'_> {
        Side { image: &self.image, lifted: &self.lifted }
    }
    fn function(&self, name: &str) -> &Function {
        self.lifted.functions.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no function {name}"))
    }
}

fn diff(old: &Build, new: &Build) -> (Correlation, ChangeSet) {
    let mut pairs = correlate(old.side(), new.side());
    settle(old.side(), new.side(), &mut pairs, &Shared::default(), &[]);
    let changes = compare(old.side(), new.side(), &pairs, &Stamps::default());
    (pairs, changes)
}

/// Compiles `source` (a path) to `dir/name`.
fn cc(dir: &Path, name: &str, compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
    let out = dir.join(name);
    let status = Command::new(compiler).arg("-g").args(flags).arg(source).arg("-o").arg(&out).status();
    assert!(status.is_ok_and(|s| s.success()), "{compiler} {flags:?}");
    out
}

fn text(dir: &Path, name: &str, source: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, source).expect("the temporary directory is writable");
    path.to_string_lossy().into_owned()
}

/// "name: cause" of each changed function, then new and gone ones, and changed data.
fn summary(old: &Build, new: &Build) -> Vec<String> {
    let (pairs, c) = diff(old, new);
    let mut out: Vec<String> = c
        .changed
        .iter()
        .map(|f| format!("{}: {:?} {}", new.lifted.functions[f.new.index()].name, f.cause, f.detail))
        .collect();
    out.extend(c.new_funcs.iter().map(|f| format!("new {}", new.lifted.functions[f.index()].name)));
    out.extend(c.gone_funcs.iter().map(|f| format!("gone {}", old.lifted.functions[f.index()].name)));
    out.extend(c.data_changed.iter().map(|d| format!("data {}", new.lifted.data[d.new.index()].name)));
    out.extend(c.new_data.iter().map(|d| format!("new data {}", new.lifted.data[d.index()].name)));
    out.extend(c.gone_data.iter().map(|d| format!("gone data {}", old.lifted.data[d.index()].name)));
    out.extend(pairs.ambiguous.iter().map(|(code, n)| format!("ambiguous {n} HP{code:04}")));
    out
}

const KINDS: [(&str, &[&str]); 3] =
    [("pie", &["-fPIE", "-pie"]), ("exec", &["-fno-pie", "-no-pie"]), ("shared", &["-fPIC", "-shared", "-DLIBRARY"])];

/// A function and data added in front of everything else move every address, and are the only difference.
#[test]
fn a_shifted_layout_is_no_change() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for compiler in ["gcc", "clang"] {
        for level in ["-O0", "-O1", "-O2", "-O3", "-Os"] {
            for (kind, flags) in KINDS {
                let flags: Vec<&str> = flags.iter().copied().chain([level]).collect();
                let with = |more: &[&'static str]| [flags.as_slice(), more].concat();
                let what = format!("{compiler} {level} {kind}");
                let old = Build::load(&cc(dir.path(), "old", compiler, SHAPES, &flags));
                let new = Build::load(&cc(dir.path(), "new", compiler, SHAPES, &with(&["-DEXTRA"])));
                let mut found = summary(&old, &new);
                found.retain(|l| !matches!(l.as_str(), "new extra" | "new data extra_global" | "new data extra_text"));
                assert_eq!(found, Vec::<String>::new(), "{what}");
                let fixed = Build::load(&cc(dir.path(), "fixed", compiler, SHAPES, &with(&["-DEXTRA", "-DCHANGE"])));
                let changes = diff(&old, &fixed).1;
                let changed: Vec<&str> =
                    changes.changed.iter().map(|f| fixed.lifted.functions[f.new.index()].name.as_str()).collect();
                assert_eq!(changed, ["changing"], "{what}");
                assert!(fixed.function("changing").unprovable.is_empty(), "{what}");
                assert!(!fixed.function("changing").opaque, "{what}");
            }
        }
    }
}

/// At fixed addresses any 32-bit immediate or displacement may be an address, that of an object far away too.
#[test]
fn addresses_in_any_operand_are_seen() {
    let base = r#"
        typedef unsigned long word;
        PAD(before)
        int slots[16] = {1}; static int rows[64];
        PAD(after)
        word bits(word v) { return v ^ (word)&slots; }
        word both(word v) { return v | (word)&slots; }
        word some(word v) { return v & (word)&slots; }
        word times(word v) { return v * (word)&slots; }
        word less(word v) { return v - (word)&slots; }
        int any(word v) { return (v & (word)&slots) != 0; }
        word tag(void) { return (word)&bits + 1; }
        int far(long i) { return slots[i - 100000]; }
        int near(unsigned char *p) { return rows[p[0] * 4096L - 300000]; }
        void keep(int i) { rows[i & 63] = i; }
        void entry(void) {}
    "#;
    let dir = tempfile::tempdir().expect("a temporary directory");
    for compiler in ["gcc", "clang"] {
        for level in ["-O1", "-O2", "-Os"] {
            let flags = ["-fno-pie", "-no-pie", "-Wl,-e,entry", "-nostartfiles", "-Wno-all", level];
            let source = text(dir.path(), "base.c", base);
            let build =
                |name, pad| Build::load(&cc(dir.path(), name, compiler, &source, &[flags.as_slice(), &[pad]].concat()));
            let (old, new) = (build("old", "-DPAD(x)="), build("new", "-DPAD(x)=int x[40]={7};"));
            let changes = diff(&old, &new).1;
            let names = changes.changed.iter().map(|f| &new.lifted.functions[f.new.index()].name);
            // Where it leads to nothing that is known, the address counts as a number, and the function as changed.
            let seen: Vec<_> = names.filter(|n| !matches!(n.as_str(), "far" | "near")).collect();
            assert!(seen.is_empty(), "{compiler} {level}: {seen:?}");
            for name in ["bits", "both", "some", "times", "less", "any", "tag", "far", "near"] {
                assert!(!new.function(name).refs.is_empty(), "{compiler} {level}: {name}");
            }
        }
    }
}

/// Sources that differ in one thing each, and what must be said of it. Nothing of this may go unnoticed.
#[test]
fn every_kind_of_change_is_seen() {
    let base = r#"
        #include <stdio.h>
        #include <string.h>
        struct s { int a, b; };
        static struct s x = {1, 2}, y = {3, 4};
        static const int primes[] = {2, 3, 5, 7, 11};
        static const char *const words[] = {"alpha", "beta", "gamma"};
        __thread int t1, t2;
        __attribute__((noinline)) int f(int k) { printf("%s\n", "literal"); return k; }
        __attribute__((noinline)) double g(double v) { return v * 2.5; }
        __attribute__((noinline)) int h(void) { t1++; return x.a + primes[y.b & 3]; }
        __attribute__((noinline)) const char *w(int k) { return words[k % 3]; }
        __attribute__((noinline)) int z(const char *p) { return memcmp(p, "ab\0cd", 6); }
        __attribute__((noinline)) int sw(int k) {
            switch (k) { case 0: puts("a"); return 3; case 1: puts("b"); return 4; case 2: return f(1);
                         case 3: puts("d"); return 9; case 4: return f(2); case 5: puts("f"); return 1; } return 0; }
        int entry(int n) { x.a = n; y.b = n; t2 = n; return f(n) + (int)g(n) + h() + w(n)[0] + z(w(n)) + sw(n); }
    "#;
    // (what is replaced, by what, the function or datum that must be named, its cause)
    let cases: [(&str, &str, &str, Option<Cause>); 11] = [
        ("\"literal\"", "\"Literal\"", "f", Some(Cause::Literal)),
        ("v * 2.5", "v * 3.5", "g", Some(Cause::Literal)),
        ("t1++", "t2++", "h", Some(Cause::Retarget)),
        ("return x.a +", "return x.b +", "h", None),
        ("return x.a +", "return y.a +", "h", None),
        ("3, 5, 7, 11}", "3, 5, 8, 11}", "primes", None),
        ("\"beta\"", "\"zeta\"", "words", None),
        ("\"ab\\0cd\"", "\"ab\\0ce\"", "z", None),
        ("case 4: return f(2);", "case 4: puts(\"d\"); return 9;", "sw", None),
        ("case 0: puts(\"a\"); return 3; case 1:", "case 1: puts(\"a\"); return 3; case 0:", "sw", None),
        ("k % 3]", "k % 2]", "w", Some(Cause::Code)),
    ];
    let dir = tempfile::tempdir().expect("a temporary directory");
    for compiler in ["gcc", "clang"] {
        for (kind, flags) in [
            ("shared", ["-fPIC", "-shared"].as_slice()),
            ("exec", &["-fno-pie", "-no-pie", "-Wl,-e,entry", "-nostartfiles"]),
        ] {
            let flags: Vec<&str> = flags.iter().copied().chain(["-O2", "-Wno-all"]).collect();
            let source = text(dir.path(), "base.c", base);
            let old = Build::load(&cc(dir.path(), "old", compiler, &source, &flags));
            for (from, to, name, cause) in cases {
                assert!(base.contains(from), "{from}");
                let source = text(dir.path(), "base.c", &base.replacen(from, to, 1));
                let new = Build::load(&cc(dir.path(), "new", compiler, &source, &flags));
                let what = format!("{compiler} {kind}: {from} → {to}: {:?}", summary(&old, &new));
                let c = diff(&old, &new).1;
                let func = c.changed.iter().find(|f| new.lifted.functions[f.new.index()].name == name);
                let data = c.data_changed.iter().any(|d| new.lifted.data[d.new.index()].name == name);
                // A table that the compiler folded into its reader shows there.
                let reader =
                    ["primes", "words"].contains(&name) && (!c.changed.is_empty() || !c.data_changed.is_empty());
                assert!(func.is_some() || data || reader, "{what}");
                if let (Some(f), Some(cause)) = (func, cause) {
                    assert_eq!(f.cause, cause, "{what}");
                }
            }
        }
    }
}

/// Thread-local variables in every model, with a new one in front that moves the others.
#[test]
fn thread_local_variables_are_named() {
    let source = r#"
        #ifdef MORE
        __thread long more[9] = {1};
        #endif
        __thread int one = 1;
        __thread int many[40];
        static __thread long two;
        __attribute__((noinline)) int a(int k) { one += k; many[k & 31] = one; return many[(k + 3) & 31]; }
        __attribute__((noinline)) long b(long k) { two += k; many[3]++; return two + one; }
        __attribute__((noinline)) int *c(void) { return &many[17]; }
        long entry(int k) {
        #ifdef MORE
            more[k & 7]++;
        #endif
            return a(k) + b(k) + *c(); }
        int main(int n, char **v) { (void)v; return (int)entry(n); }
    "#;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = text(dir.path(), "tls.c", source);
    for compiler in ["gcc", "clang"] {
        for model in ["global-dynamic", "local-dynamic", "initial-exec", "local-exec"] {
            for (kind, flags) in KINDS {
                if kind == "shared" && model == "local-exec" {
                    continue;
                }
                for level in ["-O0", "-O2"] {
                    let model = format!("-ftls-model={model}");
                    let flags: Vec<&str> = flags.iter().copied().chain([level, &model]).collect();
                    let what = format!("{compiler} {flags:?}");
                    let old = Build::load(&cc(dir.path(), "old", compiler, &path, &flags));
                    let new =
                        Build::load(&cc(dir.path(), "new", compiler, &path, &[flags.as_slice(), &["-DMORE"]].concat()));
                    let mut found = summary(&old, &new);
                    found.retain(|l| !l.starts_with("entry:") && !l.starts_with("main:") && l != "new data more");
                    // clang without optimisation keeps the block's address in memory: refused, not misread.
                    let refused = |f: &Function| {
                        compiler == "clang" && level == "-O0" && f.unprovable.iter().any(|u| u.code == 214)
                    };
                    found.retain(|l| !l.split_once(':').is_some_and(|(n, _)| refused(new.function(n))));
                    assert_eq!(found, Vec::<String>::new(), "{what}");
                    for f in ["a", "b", "c"] {
                        let f = new.function(f);
                        assert!(f.unprovable.is_empty() || refused(f), "{what}: {:?}", f.unprovable);
                    }
                }
            }
        }
    }
}

/// A static variable inside a function keeps its identity when its number moves, and isn't mixed up with its namesake.
#[test]
fn static_locals_keep_their_state() {
    let source = r#"
        #ifdef MORE
        int fresh(int k) { static int count = 100; static int other; other++; return count += k + other; }
        #endif
        int a(int k) { static int count = 5; return count += k; }
        int b(int k) { static int count = 6; return count += 2 * k; }
    "#;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = text(dir.path(), "locals.c", source);
    for compiler in ["gcc", "clang"] {
        let flags = ["-O1", "-fPIC", "-shared"];
        let old = Build::load(&cc(dir.path(), "old", compiler, &path, &flags));
        let new = Build::load(&cc(dir.path(), "new", compiler, &path, &[flags.as_slice(), &["-DMORE"]].concat()));
        let (pairs, changes) = diff(&old, &new);
        let initial = |b: &Build, d: patchgen::addr::DataId| b.image.read_u32(b.lifted.data[d.index()].range.start);
        let counts: Vec<_> = pairs
            .data_to_new
            .iter()
            .flatten()
            .filter(|p| old.lifted.data[p.old.index()].name.contains("count"))
            .map(|p| (initial(&old, p.old), initial(&new, p.new)))
            .collect();
        assert_eq!(counts.len(), 2, "{compiler}");
        assert!(counts.iter().all(|(x, y)| x == y), "{compiler}: {counts:?}");
        assert!(changes.changed.is_empty() && changes.data_changed.is_empty(), "{compiler}");
        assert_eq!(pairs.ambiguous, [], "{compiler}");
    }
}

/// A program is no different from itself, whatever it is made of.
#[test]
fn installed_programs_equal_themselves() {
    let mut seen = 0;
    for dir in ["/usr/bin", "/usr/lib/x86_64-linux-gnu"] {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        paths.sort();
        let files = paths.into_iter().filter(|p| {
            let m = p.symlink_metadata();
            m.is_ok_and(|m| m.is_file() && m.len() < 400_000)
                && std::fs::read(p).is_ok_and(|b| b.starts_with(b"\x7fELF"))
        });
        for path in files.step_by(25).take(12) {
            let Ok(image) = Image::load(&path, None, &[]) else { continue };
            let lifted = lift(&image);
            let a = Build { image, lifted };
            assert_eq!(summary(&a, &a), Vec::<String>::new(), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} files");
}

#[test]
fn a_grown_object_says_so() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let build = |n: u32| {
        let source = text(dir.path(), "grown.c", &format!("int pool[{n}]; int f(int i) {{ return pool[i]; }}"));
        Build::load(&cc(dir.path(), &format!("grown{n}"), "gcc", &source, &["-O2", "-fPIC", "-shared"]))
    };
    let (old, new) = (build(4), build(6));
    let c = diff(&old, &new).1;
    assert_eq!(c.data_changed.iter().map(|d| d.diff).collect::<Vec<_>>(), [DataDiff::Size { old: 16, new: 24 }]);
}
