//! Images as four linkers write them.

mod support;

use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _};
use patchgen::addr::{Svma, SvmaRange};
use patchgen::image::{Binding, DebugSource, DynReloc, Image, ImageKind, SectionKind, SymbolKind};
use std::collections::BTreeSet;
use support::{Bench, PROGRAM};

const LINKERS: [&str; 4] = ["bfd", "gold", "lld", "mold"];
const MODES: [(&str, &str, ImageKind); 5] = [
    ("pie", "-fPIE -pie", ImageKind::Pie),
    ("fixed", "-fno-pie -no-pie", ImageKind::Exec),
    ("static", "-fno-pie -static", ImageKind::Exec),
    ("static-pie", "-fPIE -static-pie", ImageKind::Pie),
    ("shared", "-fPIC -shared", ImageKind::Shared),
];

fn each(f: impl Fn(&Bench, &str, &str, ImageKind)) {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    for linker in LINKERS {
        for (mode, flags, kind) in MODES {
            // gold can't link static PIEs.
            if (linker, mode) == ("gold", "static-pie") {
                continue;
            }
            let out = format!("{linker}-{mode}");
            bench.run("gcc", &format!("-g -O1 t.c {flags} -fuse-ld={linker} -o {out}"));
            f(&bench, &out, mode, kind);
        }
    }
}

fn only<'a>(image: &'a Image, name: &str) -> &'a patchgen::image::Symbol {
    let found: Vec<_> = image.symbols.iter().filter(|s| s.name == name).collect();
    assert_eq!(found.len(), 1, "{}: {name}: {found:?}", image.path.display());
    found[0]
}

#[test]
fn matrix_of_linkers_and_kinds() {
    each(|bench, name, mode, kind| {
        let image = bench.load(name);
        assert_eq!(image.kind, kind, "{name}");
        assert_eq!(image.build_id.len(), build_id_len(bench, name), "{name}");

        let helper = only(&image, "helper");
        assert_eq!((helper.kind, helper.binding, helper.exported), (SymbolKind::Func, Binding::Local, false), "{name}");
        assert_eq!(helper.file.as_deref(), Some("t.c"), "{name}");
        assert_eq!(image.kind_at(helper.svma), Some(SectionKind::Text), "{name}");
        assert!(image.bytes(helper.svma, helper.size).is_some_and(|b| b.len() > 4), "{name}");
        assert!(image.symbols_at(helper.svma).iter().any(|s| s.name == "helper"), "{name}");
        let (_, fde) = image.fde_at(helper.svma).unwrap_or_else(|| panic!("{name}: no FDE"));
        assert_eq!(fde.range, SvmaRange::new(helper.svma, helper.size), "{name}");

        let main = only(&image, "main");
        assert_eq!(main.exported, mode == "shared", "{name}");
        // mold makes what isn't exported local.
        assert_eq!(main.file.is_some(), main.binding == Binding::Local, "{name}");

        // Static locals, one in each function: one zero, one with a value.
        let calls: Vec<_> = image.symbols.iter().filter(|s| s.name.starts_with("calls.")).collect();
        assert_eq!(calls.len(), 2, "{name}");
        let kinds: BTreeSet<bool> = calls.iter().map(|s| image.is_bss(s.svma)).collect();
        assert_eq!(kinds.len(), 2, "{name}: one in .bss, one in .data");
        let seven = calls.iter().find(|s| !image.is_bss(s.svma)).expect("in .data");
        assert_eq!(image.read_u32(seven.svma), Some(7), "{name}");

        // Thread-locals are offsets, never found as addresses.
        let tls: Vec<_> = image.tls_symbols().iter().map(|s| s.name.as_str()).collect();
        assert!(tls.contains(&"shared_tls") && tls.contains(&"own_tls"), "{name}: {tls:?}");
        let (template, size, align) = image.tls.expect("PT_TLS");
        let shared = only(&image, "shared_tls");
        assert!(shared.svma.0 < size && align.is_power_of_two(), "{name}");
        assert_eq!(image.read_u32(template.start.plus(shared.svma.0)), Some(3), "{name}");
        assert_eq!(image.section_at(template.start).map(|id| image.section(id).kind), None, "{name}");

        // The table of names: by relocation, or (fixed addresses) as plain words.
        let table = only(&image, "names");
        let target = match image.dynamic_at(table.svma) {
            Some(DynReloc::Relative { target }) => *target,
            None if kind == ImageKind::Exec => Svma(image.read_u64(table.svma).expect("content")),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(image.c_str(target), Some(&b"a"[..]), "{name}");
        assert_eq!(image.kind_at(target), Some(SectionKind::Rodata), "{name}");

        dynamic(&image, name, mode);
    });
}

fn build_id_len(bench: &Bench, name: &str) -> usize {
    let bytes = std::fs::read(bench.path(name)).expect("image");
    let elf: ElfFile64<'_> = ElfFile64::parse(&*bytes).expect("image");
    elf.build_id().expect("notes").map_or(0, <[u8]>::len)
}

fn dynamic(image: &Image, name: &str, mode: &str) {
    // What another library reads must be what this one reads.
    let bytes = std::fs::read(&image.path).expect("image");
    let other = goblin::elf::Elf::parse(&bytes).expect("image");
    let mut expected: BTreeSet<u64> = BTreeSet::new();
    if other.dynamic.is_some() {
        expected.extend(other.dynrelas.iter().chain(other.pltrelocs.iter()).map(|r| r.r_offset));
        let imports: BTreeSet<&str> = image.imports.iter().map(|i| i.name.as_str()).collect();
        for s in other.dynsyms.iter().filter(|s| s.st_shndx == 0 && s.st_name != 0) {
            let symbol = other.dynstrtab.get_at(s.st_name).expect("name");
            assert!(imports.contains(symbol), "{name}: {symbol}");
        }
    } else {
        for (index, section) in other.shdr_relocs.iter() {
            if other.section_headers[*index].is_alloc() {
                expected.extend(section.iter().map(|r| r.r_offset));
            }
        }
    }
    let got: BTreeSet<u64> = image.dynamic.keys().map(|a| a.0).collect();
    assert_eq!(got, expected, "{name}");

    let slots: BTreeSet<Svma> = image.plt.iter().map(|p| p.slot).collect();
    let mut lazy = 0;
    for (&at, reloc) in &image.dynamic {
        match reloc {
            DynReloc::JumpSlot { .. } => {
                lazy += 1;
                assert!(slots.contains(&at), "{name}: no stub for {at}");
            }
            DynReloc::Irelative { .. } if mode.starts_with("static") => {
                assert!(slots.contains(&at), "{name}: no stub for {at}");
            }
            DynReloc::Other { kind } => panic!("{name}: relocation type {kind}"),
            _ => {}
        }
    }
    for stub in &image.plt {
        assert!(image.dynamic.contains_key(&stub.slot), "{name}: {stub:?}");
        assert!(stub.range.size() <= 32, "{name}: {stub:?}");
        assert_eq!(image.plt_at(stub.range.start).map(|s| s.slot), Some(stub.slot), "{name}");
    }
    if mode.starts_with("static") {
        assert!(image.imports.is_empty(), "{name}");
        assert!(image.dynamic.values().any(|r| matches!(r, DynReloc::Irelative { .. })), "{name}");
        return;
    }
    assert!(lazy >= 3, "{name}");
    let printf = image.imports.iter().find(|i| i.name == "printf").unwrap_or_else(|| panic!("{name}: no printf"));
    assert_eq!(printf.version.as_deref(), Some("GLIBC_2.2.5"), "{name}");
    if matches!(mode, "pie" | "fixed") {
        let copied = image.dynamic.values().find_map(|r| match r {
            DynReloc::Copy { import } => Some(image.import_name(*import)),
            _ => None,
        });
        assert_eq!(copied.as_deref(), Some("stdout@GLIBC_2.2.5"), "{name}");
    }
    if mode == "shared" {
        let own = image.dynamic.values().any(|r| matches!(r, DynReloc::Symbol { local: Some(_), .. }));
        assert!(own, "{name}: references to its own preemptible variables");
        assert!(image.dynamic.values().any(|r| matches!(r, DynReloc::DtpMod { .. })), "{name}");
    }
}

#[test]
fn stubs_of_lazy_ibt_executables() {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    for (linker, flag) in [("bfd", "-Wl,-z,ibtplt"), ("lld", "-Wl,-z,force-ibt")] {
        bench.run(
            "gcc",
            &format!("-O1 t.c -fPIE -pie -fcf-protection -fuse-ld={linker} {flag} -Wl,-z,lazy -o ibt-{linker}"),
        );
        let image = bench.load(&format!("ibt-{linker}"));
        let slots: Vec<Svma> =
            image.dynamic.iter().filter(|(_, r)| matches!(r, DynReloc::JumpSlot { .. })).map(|(&a, _)| a).collect();
        assert!(slots.len() >= 3);
        for slot in slots {
            let stubs = image.plt.iter().filter(|p| p.slot == slot).count();
            assert_eq!(stubs, 2, "{linker}: {slot} has a stub in .plt and one in .plt.sec");
        }
    }
}

#[test]
fn packed_relative_relocations() {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    let flags = [
        ("bfd", "-Wl,-z,pack-relative-relocs"),
        ("lld", "-Wl,--pack-dyn-relocs=relr"),
        ("mold", "-Wl,--pack-dyn-relocs=relr"),
    ];
    for (linker, flag) in flags {
        let targets = |name: &str, flag: &str| {
            bench.run("gcc", &format!("-O1 t.c -fPIE -pie -fuse-ld={linker} {flag} -o {name}"));
            let image = bench.load(name);
            let packed = image.section_by_name(".relr.dyn").is_some();
            let relative = image.dynamic.values().filter(|r| matches!(r, DynReloc::Relative { .. })).count();
            let table = only(&image, "names").svma;
            let Some(DynReloc::Relative { target }) = image.dynamic_at(table) else { panic!("{name}") };
            assert_eq!(image.c_str(*target), Some(&b"a"[..]), "{name}");
            (packed, relative)
        };
        let (plain, n) = targets("plain", "");
        let (packed, m) = targets("packed", flag);
        assert!(!plain && packed, "{linker}");
        assert_eq!(n, m, "{linker}");
    }
}

#[test]
fn versions_and_exports() {
    let bench = Bench::new();
    bench.write(
        "v.c",
        r#"
        __asm__(".symver old_f, f@V1"); __asm__(".symver new_f, f@@V2");
        int old_f(void) { return 1; }
        int new_f(void) { return 2; }
        __attribute__((visibility("hidden"))) int hidden_f(void) { return 3; }
        __attribute__((visibility("protected"))) int protected_v = 9;
        int *pointer = &protected_v;
        static int resolved(void) { return 4; }
        static void *resolve(void) { return resolved; }
        int indirect(void) __attribute__((ifunc("resolve")));
        "#,
    );
    bench.write("v.map", "V1 { global: f; local: nothing*; }; V2 { global: f; protected_v; pointer; indirect; } V1;");
    bench.run("gcc", "-O1 -fPIC -shared v.c -Wl,--version-script=v.map -Wl,-soname,libv.so.1 -o v.so");
    let image = bench.load("v.so");
    assert_eq!(image.soname.as_deref(), Some("libv.so.1"));
    let mut versions: Vec<_> =
        image.symbols.iter().filter(|s| s.name == "f").map(|s| (s.version.as_deref(), s.exported)).collect();
    versions.sort_unstable();
    assert_eq!(versions, [(Some("V1"), true), (Some("V2"), true)]);
    assert!(!only(&image, "hidden_f").exported);
    assert!(only(&image, "protected_v").exported);
    assert_eq!(only(&image, "indirect").kind, SymbolKind::IFunc);
    // Nothing preempts a protected symbol: the pointer to it is an address in this image.
    let pointer = only(&image, "pointer").svma;
    let target = only(&image, "protected_v").svma;
    match image.dynamic_at(pointer) {
        Some(DynReloc::Relative { target: t }) => assert_eq!(*t, target),
        Some(DynReloc::Symbol { local, .. }) => assert_eq!(*local, Some(target)),
        other => panic!("{other:?}"),
    }
}

fn names(image: &Image) -> Vec<(Svma, String)> {
    image.symbols.iter().map(|s| (s.svma, s.name.clone())).collect()
}

#[test]
fn separate_debug_files() {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    bench.run("gcc", "-g -O1 t.c -Wl,--build-id=sha1 -o whole");
    bench.run("objcopy", "--only-keep-debug whole whole.dbg");
    bench.run("strip", "whole -o bare");
    let whole = bench.load("whole");
    assert_eq!(whole.debug, DebugSource::Embedded);

    let bare = bench.load("bare");
    assert!(matches!(&bare.debug, DebugSource::Missing { tried } if !tried.is_empty()));
    assert!(bare.symbols.iter().all(|s| s.name != "helper"));

    let by_name = Image::load(&bench.path("bare"), Some(&bench.path("whole.dbg")), &[]).expect("fits");
    assert_eq!(names(&by_name), names(&whole));
    let helper = only(&by_name, "helper");
    assert_eq!(helper.section, only(&whole, "helper").section);

    // By build-id, below a root and below its `.build-id`.
    let hex: String = whole.build_id.iter().map(|b| format!("{b:02x}")).collect();
    let dir = bench.path(&format!("root/.build-id/{}", &hex[..2]));
    std::fs::create_dir_all(&dir).expect("directory");
    std::fs::copy(bench.path("whole.dbg"), dir.join(format!("{}.debug", &hex[2..]))).expect("copied");
    for root in ["root", "root/.build-id"] {
        let found = Image::load(&bench.path("bare"), None, &[bench.path(root)]).expect("loads");
        assert!(matches!(found.debug, DebugSource::Separate(_)), "{root}");
        assert_eq!(names(&found), names(&whole));
    }

    // By debuglink, whose checksum must agree.
    bench.run("objcopy", "--add-gnu-debuglink=whole.dbg bare linked");
    assert!(matches!(bench.load("linked").debug, DebugSource::Separate(p) if p.ends_with("whole.dbg")));
    bench.run("objcopy", "--remove-section .comment whole.dbg whole.tmp");
    std::fs::rename(bench.path("whole.tmp"), bench.path("whole.dbg")).expect("renamed");
    let DebugSource::Missing { tried } = bench.load("linked").debug else { panic!("wrong checksum accepted") };
    assert!(tried.iter().any(|t| t.contains("checksum")), "{tried:?}");
}

#[test]
fn debug_file_of_another_build_is_refused() {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    bench.run("gcc", "-g -O1 t.c -Wl,--build-id=sha1 -o one");
    bench.run("gcc", "-g -O2 t.c -Wl,--build-id=sha1 -o two");
    bench.run("objcopy", "--only-keep-debug two two.dbg");
    let e = Image::load(&bench.path("one"), Some(&bench.path("two.dbg")), &[]).expect_err("another build");
    assert_eq!(e.code, patchfmt::codes::DEBUG_MISMATCH, "{e}");
}

#[test]
fn what_is_no_image_is_refused() {
    let bench = Bench::new();
    bench.write("t.c", PROGRAM);
    bench.run("gcc", "-c t.c -o t.o");
    bench.run("gcc", "t.c -o whole");
    let bytes = std::fs::read(bench.path("whole")).expect("image");
    std::fs::write(bench.path("half"), &bytes[..bytes.len() / 2]).expect("written");
    std::fs::write(bench.path("empty"), b"").expect("written");
    bench.run("mkfifo", "pipe");
    let mut foreign = bytes.clone();
    foreign[18] = 183;
    std::fs::write(bench.path("aarch64"), foreign).expect("written");
    use patchfmt::codes;
    let cases = [
        ("t.c", codes::NOT_ELF),
        ("t.o", codes::NOT_LINKED),
        ("half", codes::MALFORMED_ELF),
        ("aarch64", codes::WRONG_MACHINE),
        (".", codes::NOT_REGULAR),
        ("pipe", codes::NOT_REGULAR),
        ("nowhere", codes::READ_FAILED),
    ];
    for (name, code) in cases {
        let e = Image::load(&bench.path(name), None, &[]).expect_err(name);
        assert_eq!(e.code, code, "{name}: {e}");
    }
    assert!(Image::load(&bench.path("empty"), None, &[]).is_err());
}

#[test]
fn sections_agree_with_another_reader() {
    each(|bench, name, _, _| {
        let image = bench.load(name);
        let bytes = std::fs::read(bench.path(name)).expect("image");
        let elf: ElfFile64<'_> = ElfFile64::parse(&*bytes).expect("image");
        for s in elf.sections().filter(|s| s.address() != 0 && s.size() != 0) {
            let mine = image.section_by_name(s.name().expect("name")).expect("section");
            if mine.kind == SectionKind::Tbss || mine.kind == SectionKind::Tdata {
                continue;
            }
            let id = image.section_at(Svma(s.address() + s.size() - 1)).expect("section");
            assert_eq!(image.section(id).name, mine.name, "{name}");
            if mine.has_bytes {
                assert_eq!(image.section_bytes(id), s.data().expect("data"), "{name}");
            }
        }
    });
}
