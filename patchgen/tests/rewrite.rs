//! `patchgen rewrite` on programs of kinds that the scenarios don't have, and on files that it must refuse.

use patchfmt::Bundle;
use patchgen::rewrite;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const OLD: &str = r#"
#include <stdio.h>
#include <string.h>
static const char *names[] = { "zero", "one" };
static int calls[20000];
__attribute__((noinline)) int price(int n) { calls[n & 7]++; return n * 3 + 1; }
int main(int argc, char **argv) {
    printf("%d %s %d\n", price(argc + 6), names[argc & 1], calls[7]);
    return strcmp(argv[0], "never") == 0;
}
"#;

struct Bench {
    dir: tempfile::TempDir,
    flags: Vec<String>,
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

impl Bench {
    fn new(flags: &[&str]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        Bench { dir, flags: flags.iter().map(|f| (*f).to_owned()).collect() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Compiles one build.
    fn compile(&self, name: &str, source: &str) -> PathBuf {
        let (c, program) = (self.path("p.c"), self.path(name));
        std::fs::write(&c, source).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args(["-g", "-O2", "-Wl,--build-id", "-o"]).arg(&program).arg(&c).args(&self.flags);
        let output = run(&mut gcc);
        assert!(output.status.success(), "{}", text(&output));
        program
    }

    /// Both builds and the bundle between them.
    fn pair(&self) -> (PathBuf, PathBuf) {
        let old = self.compile("old", OLD);
        let new = self.compile("new", &OLD.replace("n * 3 + 1", "n * 3 + 9"));
        let bundle = self.path("fix.hpatch");
        let mut build = Command::new(env!("CARGO_BIN_EXE_patchgen"));
        build.arg("build").arg("--old").arg(&old).arg("--new").arg(&new).arg("-o").arg(&bundle).args(["--id", "fix"]);
        let output = run(&mut build);
        assert!(output.status.success(), "{}", text(&output));
        (old, bundle)
    }

    fn rewrite(&self, old: &Path, bundle: &Path) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchgen"));
        run(command.arg("rewrite").arg("--old").arg(old).arg(bundle).arg("-o").arg(self.path("patched")))
    }

    fn refused(&self, old: &Path, bundle: &Path, code: &str) {
        let output = self.rewrite(old, bundle);
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        assert!(text(&output).contains(code), "{code} expected: {}", text(&output));
        assert!(!self.path("patched").exists(), "a refusal left a file");
    }

    /// Rewrites `old`, runs the result, and checks what of the file changed.
    fn works(&self, old: &Path, bundle: &Path) {
        let output = self.rewrite(old, bundle);
        assert!(output.status.success(), "{}", text(&output));
        let patched = self.path("patched");
        let answer = |program: &Path| text(&run(&mut Command::new(program)));
        assert_eq!(answer(old), "22 one 0\n");
        assert_eq!(answer(&patched), "30 one 0\n");
        let (before, after) = (std::fs::read(old).unwrap(), std::fs::read(&patched).unwrap());
        // The file header, the detour, and program headers in filler; no dynamic entry need change.
        let changed = before.iter().zip(&after).skip(64).filter(|(a, b)| a != b).count();
        assert!((1..=5 + 20 * 56).contains(&changed), "{changed} bytes changed");
        let readelf = run(Command::new("readelf").arg("-aW").arg(&patched));
        assert!(readelf.stderr.is_empty(), "{}", String::from_utf8_lossy(&readelf.stderr));
        assert_eq!(mode(old), mode(&patched));
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode()
}

/// Size in memory minus size in the file of what is loaded: what a file may have to be filled up by.
fn shortfall(path: &Path) -> u64 {
    let bytes = std::fs::read(path).unwrap();
    let elf = goblin::elf::Elf::parse(&bytes).unwrap();
    let end = elf.program_headers.iter().filter(|p| p.p_type == 1).map(|p| p.p_vaddr + p.p_memsz).max().unwrap();
    let base = elf.program_headers.iter().find(|p| p.p_type == 1).unwrap().p_vaddr;
    (end - base).saturating_sub(bytes.len() as u64)
}

#[test]
fn static_and_stripped_programs() {
    for flags in [&["-static"][..], &["-static-pie"], &["-no-pie"], &["-pie"], &["-fuse-ld=lld"]] {
        let bench = Bench::new(flags);
        let (old, bundle) = bench.pair();
        bench.works(&old, &bundle);
        let stripped = bench.path("stripped");
        assert!(run(Command::new("strip").arg("-o").arg(&stripped).arg(&old)).status.success());
        bench.works(&stripped, &bundle);
    }
}

#[test]
fn a_file_grows_by_the_payload_and_two_pages() {
    let bench = Bench::new(&[]);
    let (old, bundle) = bench.pair();
    let grown = || {
        let output = bench.rewrite(&old, &bundle);
        assert!(output.status.success(), "{}", text(&output));
        std::fs::metadata(bench.path("patched")).unwrap().len() - std::fs::metadata(&old).unwrap().len()
    };
    let payload = 1000;
    assert!(grown() <= payload + 2 * 4096 + shortfall(&old), "{} bytes", grown());
}

#[test]
fn what_is_not_the_file_is_refused() {
    let bench = Bench::new(&[]);
    let (old, bundle) = bench.pair();
    let bytes = std::fs::read(&old).unwrap();
    bench.refused(&bench.path("new"), &bundle, "HP0611");
    let other = bench.path("other");
    // A hook where the detour goes.
    let mut hooked = bytes.clone();
    let elf = goblin::elf::Elf::parse(&bytes).unwrap();
    let price = elf.syms.iter().find(|s| elf.strtab.get_at(s.st_name) == Some("price")).unwrap();
    let text = elf.program_headers.iter().find(|p| p.p_type == 1 && p.vm_range().contains(&(price.st_value as usize)));
    hooked[(price.st_value - text.unwrap().p_vaddr + text.unwrap().p_offset) as usize] = 0xcc;
    std::fs::write(&other, &hooked).unwrap();
    bench.refused(&other, &bundle, "HP0611");
    // A program that finds data behind itself.
    std::fs::write(&other, [&bytes[..], b"attached"].concat()).unwrap();
    bench.refused(&other, &bundle, "HP0612");
    // Nothing of a damaged header makes it panic.
    let signed = std::fs::read(&bundle).unwrap();
    let contents = Bundle::parse(&signed).and_then(|b| b.unverified()).unwrap();
    for at in 0..64 + 13 * 56 {
        for value in [0u8, 0xff, 0x80, bytes[at] ^ 1] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            if let Err(refusal) = rewrite::rewrite(&damaged, &contents) {
                // HP0606: the second reader refuses what the damage made of the file.
                assert!(matches!(refusal.code.0, 606 | 610..615), "byte {at} as {value}: {refusal:?}");
            }
        }
    }
}
