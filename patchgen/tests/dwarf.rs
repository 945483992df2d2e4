//! DWARF as two compilers write it, in every place where it can be.

mod support;

use patchgen::addr::Svma;
use patchgen::dwarf::{DebugData, DebugInfo};
use patchgen::image::{Image, SymbolKind};
use patchgen::types;
use support::{Bench, PROGRAM, with_dwarf};

/// What must be known of the program, however its DWARF is stored.
fn check(image: &Image, info: &DebugInfo<'_>, name: &str) {
    assert!(info.missing().is_empty(), "{name}: {:?}", info.missing());
    let main = image.symbols.iter().find(|s| s.name == "main" && s.kind == SymbolKind::Func).expect("main");
    assert_eq!(info.unit_of(main.svma), Some("t.c"), "{name}");
    let place = info.line_of(main.svma).unwrap_or_else(|| panic!("{name}: no line"));
    let line = 1 + PROGRAM.lines().position(|l| l.starts_with("int main")).expect("main") as u32;
    assert!(place.file.ends_with("t.c"), "{name}: {place}");
    assert!((line..=line + 2).contains(&place.line), "{name}: {place}");
    assert_eq!(info.line_number(main.svma), Some(place.line), "{name}");
    let lines = info.lines_in(patchgen::addr::SvmaRange::new(main.svma, main.size));
    assert!(lines.len() > 3 && lines[0] == (main.svma, place.line), "{name}: {lines:?}");
    assert!(lines.is_sorted_by_key(|l| l.0), "{name}");
    assert!(info.unit_of(Svma(0)).is_none(), "{name}");

    let mut locals = info.static_locals().expect("readable");
    locals.sort();
    let scopes: Vec<_> = locals.iter().map(|v| (v.name.as_str(), v.scope.join("::"))).collect();
    assert_eq!(scopes, [("calls", "helper".to_owned()), ("calls", "other".to_owned())], "{name}");
    for v in &locals {
        let symbols = image.symbols_at(v.svma);
        assert!(symbols.iter().any(|s| s.name.contains("calls")), "{name}: {v:?}: {symbols:?}");
    }
    let all = info.variables().expect("readable");
    for (variable, tls) in [("shared_tls", true), ("own_tls", true), ("names", false), ("pairs", false)] {
        let v = all.iter().find(|v| v.name == variable).unwrap_or_else(|| panic!("{name}: {variable}"));
        assert_eq!(v.tls, tls, "{name}: {variable}");
        let symbol = image.symbols.iter().find(|s| s.name == variable).expect("symbol");
        assert_eq!(v.svma, symbol.svma, "{name}: {variable}");
    }
    let producers = info.producers();
    assert!(producers.keys().any(|p| p.contains("GNU C") || p.contains("clang")), "{name}: {producers:?}");
    assert!(info.main_language().is_some_and(|l| l.starts_with("DW_LANG_C")), "{name}");
}

/// Two forms of DWARF of one source must say the same types.
fn same_types(a: &Image, b: &Image, name: &str) {
    with_dwarf(a, |x| {
        with_dwarf(b, |y| {
            let diff = types::changes(x, y).expect("readable");
            assert!(diff.compared > 10, "{name}: {}", diff.compared);
            // How a build was made is told apart from what its types are.
            let (compared, whole_program) = (diff.compared, diff.whole_program);
            let none = types::TypeDiff { compared, whole_program, ..types::TypeDiff::default() };
            assert_eq!(diff, none, "{name}");
        });
    });
}

#[test]
fn every_form_says_the_same() {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    for compiler in ["gcc", "clang"] {
        let base = format!("{compiler}-base");
        bench.run(compiler, &format!("-O1 -g -gdwarf-5 t.c -o {base}"));
        let first = bench.load(&base);
        with_dwarf(&first, |info| check(&first, info, &base));
        let forms = [
            ("v4", "-gdwarf-4"),
            ("gz", "-gz=zlib"),
            ("types", "-gdwarf-5 -fdebug-types-section"),
            ("types4", "-gdwarf-4 -fdebug-types-section"),
            ("static", "-static"),
            ("fixed", "-fno-pie -no-pie"),
            ("lld", "-fuse-ld=lld -Wl,--compress-debug-sections=zlib"),
            ("mold", "-fuse-ld=mold"),
            ("gold", "-fuse-ld=gold"),
        ];
        for (form, flags) in forms {
            let name = format!("{compiler}-{form}");
            bench.run(compiler, &format!("-O1 -g t.c {flags} -o {name}"));
            let image = bench.load(&name);
            with_dwarf(&image, |info| check(&image, info, &name));
            same_types(&first, &image, &name);
        }
        // Optimisation doesn't change types either.
        bench.run(compiler, "-O3 -g t.c -o fast");
        same_types(&first, &bench.load("fast"), &format!("{compiler}-O3"));
    }
}

#[test]
fn split_dwarf() {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    bench.run("gcc", "-O1 -g t.c -o whole");
    let whole = bench.load("whole");
    for (compiler, version) in [("gcc", 5), ("gcc", 4), ("clang", 5), ("clang", 4)] {
        let name = format!("split-{compiler}-{version}");
        bench.run(compiler, &format!("-O1 -g -gdwarf-{version} -gsplit-dwarf -c t.c -o {name}.o"));
        bench.run(compiler, &format!("{name}.o -o {name}"));
        let image = bench.load(&name);
        with_dwarf(&image, |info| check(&image, info, &name));
        if compiler == "gcc" {
            same_types(&whole, &image, &name);
        }
        // GNU dwp packs version 4 only; LLVM's of this age never ends on what gcc writes.
        let packer = match (compiler, version) {
            (_, 4) => Some("dwp"),
            ("clang", _) => Some("llvm-dwp"),
            _ => None,
        };
        if let Some(packer) = packer {
            bench.run(packer, &format!("{name}.dwo -o {name}.dwp"));
        }
        std::fs::remove_file(bench.path(&format!("{name}.dwo"))).expect("removed");
        if packer.is_some() {
            with_dwarf(&image, |info| check(&image, info, &format!("{name}.dwp")));
            std::fs::remove_file(bench.path(&format!("{name}.dwp"))).expect("removed");
        }
        // Without either, what is missing is said.
        let data = DebugData::load(&image, &[]).expect("the skeleton is there");
        let info = DebugInfo::open(&image, &data).expect("the skeleton is there");
        assert_eq!(info.missing().len(), 1, "{name}");
        assert_eq!(info.missing()[0].code, patchfmt::codes::SPLIT_MISSING);
    }
}

#[test]
fn dwz_files() {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    bench.write("u.c", &PROGRAM.replace("int main", "int second_main").replace("shared_tls", "second_tls"));
    let flags = "-O1 -g -fno-common -fcommon";
    for name in ["one", "two"] {
        bench.run("gcc", &format!("{flags} t.c -o {name} -Wl,--build-id=sha1 -D{name}"));
    }
    let plain = bench.load("one");
    bench.run("cp", "one one.plain");
    bench.run("dwz", "-m common.dwz one two");
    let packed = bench.load("one");
    let data = std::fs::read(bench.path("one")).expect("image");
    assert!(data.windows(18).any(|w| w == b".gnu_debugaltlink\0"), "dwz found something to share");
    with_dwarf(&packed, |info| check(&packed, info, "dwz"));
    same_types(&plain_again(&bench), &packed, "dwz");
    drop(plain);
    std::fs::remove_file(bench.path("common.dwz")).expect("removed");
    let e = DebugData::load(&packed, &[]).expect_err("half of the DWARF is gone");
    assert_eq!(e.code, patchfmt::codes::DWZ_MISSING, "{e}");
}

fn plain_again(bench: &Bench) -> Image {
    bench.load("one.plain")
}

#[test]
fn link_time_optimisation() {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    bench.run("gcc", "-O1 -g t.c -o plain");
    bench.run("gcc", "-O1 -g -flto t.c -o lto");
    let (plain, lto) = (bench.load("plain"), bench.load("lto"));
    with_dwarf(&lto, |info| {
        let mut locals = info.static_locals().expect("readable");
        locals.sort();
        let scopes: Vec<_> = locals.iter().map(|v| v.scope.join("::")).collect();
        assert_eq!(scopes, ["helper", "other"]);
    });
    same_types(&plain, &lto, "lto");
}

#[test]
fn separate_file_and_none() {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    bench.run("gcc", "-O1 -g t.c -Wl,--build-id=sha1 -o whole");
    bench.run("objcopy", "--only-keep-debug --compress-debug-sections whole whole.dbg");
    bench.run("strip", "whole -o bare");
    let image = Image::load(&bench.path("bare"), Some(&bench.path("whole.dbg")), &[]).expect("fits");
    with_dwarf(&image, |info| check(&image, info, "separate"));
    let e = DebugData::load(&bench.load("bare"), &[]).expect_err("there is none");
    assert_eq!(e.code, patchfmt::codes::NO_DEBUG_INFO);
}
