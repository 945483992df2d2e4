//! Layout, binding and relocation of objects that the system's assembler makes.

use std::process::Command;

use hpatch_core::elf::Object;
use hpatch_core::image::{Image, Memory};
use hpatch_core::link::{Fault, Layout, Linker, Place, Threads};
use hpatch_core::payload::{Lookup, Payload};
use hpatch_core::report::Report;
use patchfmt::payload::Edit;
use zerocopy::FromZeros;

const BASE: u64 = 0x5555_0000_0000;
const FAR: u64 = 0x7fff_1234_5678;

fn assemble(name: &str, source: &str) -> Vec<u8> {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (s, o) = (dir.join(format!("{name}.s")), dir.join(format!("{name}.o")));
    std::fs::write(&s, source).expect("source");
    let out = Command::new("gcc").arg("-c").arg(&s).arg("-o").arg(&o).output().expect("gcc");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(o).expect("object")
}

struct Linked {
    layout: Layout,
    places: Vec<Place>,
    image: Vec<u8>,
    object: Vec<u8>,
}

impl Linked {
    fn at(&self, section: &str, offset: u64, size: usize) -> u64 {
        let object = Object::parse(&self.object).expect("object");
        let n = object.sections().iter().position(|s| object.section_name(s) == section.as_bytes()).expect("section");
        let at = (self.places[n].offset + offset) as usize;
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&self.image[at..at + size]);
        u64::from_le_bytes(bytes)
    }
}

/// Links with every undefined symbol at `import`.
fn link(source: &[u8], base: u64, import: u64, edits: &[Edit], bias: u64) -> Result<Linked, Fault> {
    link_with(source, base, import, edits, bias, &|_| None)
}

/// `threads` gives the storage for thread-local variables, which begin with what lies at its argument.
fn link_with(
    source: &[u8],
    base: u64,
    import: u64,
    edits: &[Edit],
    bias: u64,
    threads: &dyn Fn(u64) -> Option<Threads>,
) -> Result<Linked, Fault> {
    let object = Object::parse(source)?;
    let payload = Payload::read(source, &mut Report::default()).expect("payload");
    let mut places = vec![Place { offset: 0, size: 0 }; object.sections().len()];
    let mut stubs = vec![0; object.symbols().len()];
    let layout = payload.lay_out(&mut places, &mut stubs, &mut Report::default()).expect("layout");
    let mut values = Vec::new();
    for symbol in object.symbols() {
        values.push(hpatch_core::link::defined(symbol, &places, base)?.unwrap_or(import));
    }
    let mut image = vec![0; layout.len as usize];
    let threads = threads(base + layout.thread.0);
    Linker { object, places: &places, values: &values, stubs: &stubs, edits, base, bias, threads }.link(&mut image)?;
    Ok(Linked { layout, places, image, object: source.to_vec() })
}

const MIXED: &str = "
    .text
    .globl f
f:  call ext@PLT
    lea local(%rip), %rax
    ret
    .section .rodata,\"a\"
    .balign 16
    .quad f
    .quad local + 8
    .quad ext - .
    .data
    .balign 32
    .quad 1
local: .quad ext
    .bss
    .zero 100
";

#[test]
fn sections_are_laid_out_by_access() {
    let l = link(&assemble("mixed", MIXED), BASE, FAR, &[], 0).expect("links");
    assert!(
        l.layout.text_len > 0
            && l.layout.constants_at == 0x1000
            && l.layout.data_at == 0x2000
            && l.layout.len == 0x3000
    );
    assert!(!l.layout.low);
    // psABI: S + A, S + A - P.
    assert_eq!(l.at(".rodata", 0, 8), BASE);
    assert_eq!(l.at(".rodata", 8, 8), BASE + 0x2000 + 16);
    assert_eq!(l.at(".rodata", 16, 8), FAR.wrapping_sub(BASE + 0x1000 + 16));
    assert_eq!(l.at(".data", 8, 8), FAR);
    assert_eq!(l.at(".text", 8, 4), 0x2000 + 8 - 12);
}

#[test]
fn far_calls_go_through_a_stub_and_near_ones_do_not() {
    let object = assemble("stub", MIXED);
    let far = link(&object, BASE, FAR, &[], 0).expect("links");
    assert_eq!(far.at(".text", 1, 4), far.layout.stubs_at - 5);
    let stub = far.layout.stubs_at as usize;
    assert_eq!(far.image[stub..stub + 8], [0xff, 0x25, 2, 0, 0, 0, 0x0f, 0x0b]);
    assert_eq!(far.image[stub + 8..stub + 16], FAR.to_le_bytes());
    let near = link(&object, BASE, BASE + 0x100_0000, &[], 0).expect("links");
    assert_eq!(near.at(".text", 1, 4), 0x100_0000 - 5);
}

#[test]
fn what_does_not_fit_is_refused() {
    let far_data = assemble("fardata", ".text\n lea ext(%rip), %rax\n");
    assert!(matches!(link(&far_data, BASE, FAR, &[], 0), Err(Fault::Overflow { kind: 2, .. })));
    let absolute = assemble("absolute", ".text\n mov $here, %eax\n movl here, %eax\nhere: .long ext\n");
    assert!(matches!(link(&absolute, BASE, 1, &[], 0), Err(Fault::Overflow { .. })));
    let low = link(&absolute, 0x40_0000, 0xffff_fff0, &[], 0).expect("links below 2 GiB");
    assert!(low.layout.low);
    assert_eq!(low.at(".text", 1, 4), 0x40_0000 + 12);
    assert_eq!(low.at(".text", 12, 4), 0xffff_fff0);
    assert!(matches!(link(&absolute, 0x40_0000, 1 << 32, &[], 0), Err(Fault::Overflow { kind: 10, .. })));
    let small = assemble("small", ".text\n .byte ext\n");
    assert!(matches!(link(&small, BASE, 1, &[], 0), Err(Fault::Type(14))));
    let got = assemble("got", ".text\n mov ext@GOTPCREL(%rip), %rax\n");
    assert!(matches!(link(&got, BASE, 1, &[], 0), Err(Fault::Type(9 | 41 | 42))));
}

#[test]
fn thread_local_variables_lie_where_their_storage_is() {
    const SOURCE: &str = "
        .text
        mov %fs:b@tpoff, %eax
        lea b@dtpoff(%rax), %rax
        .data
    slots: .quad b@tpoff, b@dtpoff
        .reloc slots + 16, R_X86_64_DTPMOD64, b
        .quad 0
        .section .tdata, \"awT\", @progbits
        .balign 16
    a:  .quad slots
        .section .tbss, \"awT\", @nobits
        .zero 4
    b:  .zero 4
    ";
    let object = assemble("thread", SOURCE);
    let storage = |image| Some(Threads { image, pointer: -0x400, module: 7, offset: 0x40 });
    let l = link_with(&object, BASE, FAR, &[], 0, &storage).expect("links");
    let (start, len, align) = l.layout.thread;
    assert!((len, align) == (16, 16) && start >= l.layout.constants_at && start < l.layout.data_at);
    // The template is relocated like any other data.
    assert_eq!(l.at(".tdata", 0, 8), BASE + l.layout.data_at);
    assert_eq!(l.at(".text", 4, 4), 0u32.wrapping_sub(0x400 - 12).into());
    assert_eq!(l.at(".text", 11, 4), 0x40 + 12);
    assert_eq!([0, 8, 16].map(|at| l.at(".data", at, 8)), [0u64.wrapping_sub(0x400 - 12), 0x40 + 12, 7]);
    assert!(matches!(link(&object, BASE, FAR, &[], 0), Err(Fault::Payload(_))), "without storage");
    for (name, source) in [
        ("plain", ".text\n .quad b\n .section .tbss,\"awT\",@nobits\nb: .zero 4\n"),
        ("other", ".text\n .reloc ., R_X86_64_TPOFF64, f\nf: .quad 0\n"),
    ] {
        let refused = link_with(&assemble(name, source), BASE, FAR, &[], 0, &storage);
        assert!(matches!(refused, Err(Fault::Payload(_))), "{name}");
    }
}

#[test]
fn unlinkable_objects_are_refused() {
    let refused = |name: &str, source: &str| {
        let object = assemble(name, &format!("{source}\n .globl any\n .set any, 1\n"));
        let payload = Payload::read(&object, &mut Report::default()).expect("payload");
        let mut places = vec![Place { offset: 0, size: 0 }; payload.object.sections().len()];
        let mut stubs = vec![0; payload.symbol_count()];
        let code = payload.lay_out(&mut places, &mut stubs, &mut Report::default());
        assert_eq!(code, Err(patchfmt::codes::PAYLOAD_REFUSED), "{name}");
    };
    refused("tls", ".section .tdata,\"awT\",@progbits\n .balign 8192\n .quad 1\n");
    refused("rwx", ".section .both,\"awx\",@progbits\n .quad 1\n");
    refused("align", ".text\n .balign 8192\n ret\n");
    refused("empty", "");
    refused("huge", ".bss\n .zero 0x60000000\n");
    assert!(Payload::read(b"", &mut Report::default()).is_err());
    let mixed = assemble("truncated", MIXED);
    for n in 0..mixed.len() {
        assert!(Payload::read(&mixed[..n], &mut Report::default()).is_err(), "{n} bytes");
    }
}

#[test]
fn edits_at_their_site_are_relative_to_it() {
    let object = assemble(
        "edit",
        ".text\n nop\n .section .rodata,\"a\"\n .quad 0\nnew: .byte 0xe8\n .long ext - . - 4\n .quad 0\n",
    );
    let parsed = Object::parse(&object).expect("object");
    let symbol = parsed.symbols().iter().position(|s| parsed.name(s.name.get()) == b"new").expect("symbol");
    let mut edit = Edit::new_zeroed();
    (edit.svma, edit.size, edit.symbol, edit.flags) = (0x1234.into(), 5.into(), (symbol as u32).into(), 3.into());
    let bias = 0x5554_ffff_0000;
    let site = bias + 0x1234;
    let l = link(&object, BASE, site + 0x1000, &[edit], bias).expect("links");
    assert_eq!(l.at(".rodata", 9, 4), 0x1000 - 5);
    edit.flags = 1.into();
    let l = link(&object, BASE, BASE + 0x1_0000, &[edit], bias).expect("links");
    assert_eq!(l.at(".rodata", 9, 4), 0x1_0000 - (0x1000 + 8 + 5));
}

/// This process, through `/proc/self/mem`.
struct Own(std::fs::File);

impl Memory for Own {
    fn read(&self, addr: u64, buf: &mut [u8]) -> bool {
        use std::os::unix::fs::FileExt;
        self.0.read_exact_at(buf, addr).is_ok()
    }
}

struct Symbols<'a>(&'a Own, hpatch_core::symbols::Scope);

impl Lookup for Symbols<'_> {
    fn word(&self, at: u64) -> Option<u64> {
        // Of a module whose memory holds nothing but its own addresses.
        Some(at)
    }

    fn find(&self, name: &[u8], version: &[u8]) -> Result<Option<u64>, &'static str> {
        use hpatch_core::symbols::Found;
        match self.1.find(self.0, name, version) {
            Some(Found::Address(a)) => Ok(Some(a)),
            Some(Found::Resolver(_)) => Err("resolver"),
            Some(Found::ThreadLocal) => Err("thread-local"),
            None => Ok(None),
        }
    }
}

/// `nm -D` of a library: svma and kind of `name@version` as nm writes it.
fn nm(path: &str, name: &str) -> (u64, String) {
    let out = Command::new("nm").args(["-D", "--with-symbol-versions", path]).output().expect("nm");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = text
        .lines()
        .find(|l| l.ends_with(&format!(" {name}")))
        .unwrap_or_else(|| panic!("{name} in {path}"))
        .to_owned();
    let mut words = line.split_whitespace();
    let value = u64::from_str_radix(words.next().expect("value"), 16).expect("hex");
    (value, words.next().expect("kind").to_owned())
}

#[test]
fn imports_are_found_by_name_and_version() {
    let own = Own(std::fs::File::open("/proc/self/mem").expect("memory"));
    let maps = std::fs::read("/proc/self/maps").expect("maps");
    let maps = || hpatch_core::maps::parse(&maps);
    let loaded: Vec<_> = maps()
        .filter(|m| m.offset == 0 && m.inode != 0)
        .filter_map(|m| Some((Image::at(&own, m.start)?, m)))
        .filter(|(i, _)| i.is_loaded(maps()))
        .collect();
    let exe_path = std::env::current_exe().expect("exe");
    let exe = loaded.iter().find(|(_, m)| m.path == exe_path.as_os_str().as_encoded_bytes()).expect("executable");
    let libc = loaded.iter().find(|(_, m)| m.file_name() == b"libc.so.6").expect("libc");
    assert!(!libc.0.build_id().is_empty());
    let readelf = Command::new("readelf")
        .arg("-n")
        .arg(std::str::from_utf8(libc.1.path).expect("path"))
        .output()
        .expect("readelf");
    let id = hpatch_core::report::Hex(libc.0.build_id()).to_string();
    assert!(String::from_utf8_lossy(&readelf.stdout).contains(&id));
    let scope = hpatch_core::symbols::Scope::of_module(&own, exe.0.bias, exe.0.bias + exe.0.dynamic, libc.0.bias)
        .expect("scope");
    let find = |name: &str, version: &str| Symbols(&own, scope).find(name.as_bytes(), version.as_bytes());
    let path = std::str::from_utf8(libc.1.path).expect("path");
    for (name, version) in [("malloc", "GLIBC_2.2.5"), ("getpid", "GLIBC_2.2.5"), ("qsort_r", "GLIBC_2.8")] {
        let want = libc.0.bias + nm(path, &format!("{name}@@{version}")).0;
        assert_eq!(find(name, version), Ok(Some(want)), "{name}");
        assert_eq!(find(name, ""), Ok(Some(want)), "{name}");
        assert_eq!(find(name, "GLIBC_9.9"), Ok(None), "{name}");
    }
    // Two versions of one name, and a function with a resolver.
    let old = libc.0.bias + nm(path, "fmemopen@GLIBC_2.2.5").0;
    let new = libc.0.bias + nm(path, "fmemopen@@GLIBC_2.22").0;
    assert_eq!(
        [find("fmemopen", "GLIBC_2.2.5"), find("fmemopen", "GLIBC_2.22"), find("fmemopen", "")],
        [Ok(Some(old)), Ok(Some(new)), Ok(Some(new))]
    );
    assert_eq!(nm(path, "strlen@@GLIBC_2.2.5").1, "i");
    assert_eq!(find("strlen", "GLIBC_2.2.5"), Err("resolver"));
    assert_eq!(find("errno", "GLIBC_PRIVATE"), Err("thread-local"));
    assert_eq!(find("hpatch_nothing_has_this_name", ""), Ok(None));
    // A scope needs a dynamic linker's list.
    assert!(hpatch_core::symbols::Scope::of_module(&own, 0, 0x10, 0).is_none());
}
