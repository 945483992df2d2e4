//! Lifting against the linker: images linked with `--emit-relocs` keep the relocations that lifting has to find again. At each place the
//! target must be the same symbol plus addend; none may be missed, and none may be found that isn't one.

mod code;
mod data;
mod linker;

use linker::SymbolKind;
use patchgen::image::Image;
use patchgen::lift::{Lifted, lift};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

#[expect(missing_debug_implementations, reason = "a test prints its report, not an image")]
pub struct Build {
    image: Image,
    lifted: Lifted,
}

/// What one image, or several, came out as.
#[derive(Default, Debug)]
pub struct Report {
    /// Relocations compared.
    sites: usize,
    /// Of them, against a symbol of each kind, and agreed.
    agreed: BTreeMap<String, usize>,
    /// Where lifting says that it can't tell.
    refused: usize,
    /// Where it reads another thing, but leaves open whether that is meant.
    open: usize,
    /// In code or data that no reference leads to.
    outside: usize,
    /// Numbers that lifting takes for possible addresses.
    uncertain: usize,
    ambiguous: usize,
    wrong: Vec<String>,
}

impl Report {
    fn count(&mut self, kind: SymbolKind) {
        *self.agreed.entry(format!("{kind:?}")).or_default() += 1;
    }

    fn wrong(&mut self, build: &Build, place: &str, at: u64, why: &str) {
        self.wrong.push(format!("{}: {place} at {at:#x}: {why}", build.image.path.display()));
    }

    fn line(&self) -> String {
        format!(
            "{} relocations: {:?} agree, {} refused, {} left open, {} where nothing refers to; {} uncertain in code, {} in data; {} wrong",
            self.sites,
            self.agreed,
            self.refused,
            self.open,
            self.outside,
            self.uncertain,
            self.ambiguous,
            self.wrong.len()
        )
    }
}

/// Adds one image to the report; false when the linker kept no relocations in it, or wrong ones.
fn examine(path: &Path, report: &mut Report) -> Result<bool, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let relocs = linker::relocations(&bytes)?;
    if relocs.is_empty() {
        return Ok(false);
    }
    let image = Image::load(path, None, &[]).map_err(|e| e.to_string())?;
    // gold, asked to keep relocations of a shared object, gives the slots of local thread-local variables the next symbol's number.
    if image.imports.iter().any(|i| i.name.is_empty()) {
        return Ok(false);
    }
    let lifted = lift(&image);
    let build = Build { image, lifted };
    let (code, data): (Vec<_>, Vec<_>) = relocs.into_iter().partition(|r| r.code);
    code::check(&build, &code, report);
    data::check(&build, &data, report);
    Ok(true)
}

const SHAPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lift/shapes.c");

/// Compiles with every static variable and function of the unit made hidden instead of local, so that relocations name them: an
/// assembler writes a section and a distance otherwise.
fn build_symbolic(dir: &Path, compiler: &str, source: &str, flags: &[&str], link: &[&str]) -> PathBuf {
    let assembly = dir.join("unit.s");
    let run = |command: &mut Command| {
        let status = command.status();
        assert!(status.is_ok_and(|s| s.success()), "{command:?}");
    };
    run(Command::new(compiler).arg("-S").args(flags).arg(source).arg("-o").arg(&assembly));
    let text = std::fs::read_to_string(&assembly).expect("the compiler wrote it");
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().map(|w| w.trim_end_matches(',')).collect();
        let name = match words.as_slice() {
            [".type", rest, ..] => rest.split(',').next(),
            [".local", name] => Some(*name),
            _ => None,
        };
        let global = |n: &str| [".globl", ".weak"].iter().any(|d| text.contains(&format!("{d}\t{n}\n")));
        if let Some(name) = name.filter(|n| !n.starts_with(".L") && !global(n)) {
            out += &format!("\t.globl\t{name}\n\t.hidden\t{name}\n");
        }
        if words.first() != Some(&".local") {
            out += &format!("{line}\n");
        }
    }
    std::fs::write(&assembly, out).expect("the folder is writable");
    let out = dir.join("program");
    run(Command::new(compiler).args(flags).arg(&assembly).args(link).arg("-Wl,--emit-relocs").arg("-o").arg(&out));
    out
}

/// A sample of shapes, or with `HPATCH_GROUND_TRUTH` (as `cargo xtask ground-truth` sets it) the images that this file lists.
#[test]
fn images_agree_with_the_linker() {
    match std::env::var("HPATCH_GROUND_TRUTH") {
        Ok(list) => listed_images(&list),
        Err(_) => sample_of_shapes(),
    }
}

/// Over compilers, levels, kinds and linkers.
fn sample_of_shapes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut report = Report::default();
    let kinds: [&[&str]; 3] = [&["-fPIE", "-pie"], &["-fno-pie", "-no-pie"], &["-fPIC", "-shared", "-DLIBRARY"]];
    let linkers = ["bfd", "gold", "lld", "mold"];
    let levels = ["-O0", "-O1", "-O2", "-O3", "-Os"];
    let mut n = 0;
    for compiler in ["gcc", "clang"] {
        for level in levels {
            for kind in kinds {
                let linker = format!("-fuse-ld={}", linkers[n % linkers.len()]);
                n += 1;
                let flags = [&["-g", level], kind].concat();
                let path = build_symbolic(dir.path(), compiler, SHAPES, &flags, &[&linker]);
                let found = examine(&path, &mut report);
                assert_eq!(found, Ok(true), "{compiler} {level} {kind:?} {linker}");
            }
        }
    }
    println!("{}", report.line());
    assert!(report.wrong.is_empty(), "{}\n{}", report.line(), report.wrong.join("\n"));
    for kind in ["Section", "Function", "Object", "Thread", "Undefined"] {
        assert!(report.agreed.get(kind).is_some_and(|&n| n > 150), "too few of {kind}: {}", report.line());
    }
}

/// One path in a line.
fn listed_images(list: &str) {
    let list = std::fs::read_to_string(list).expect("the list can be read");
    let (mut report, mut images, mut without) = (Report::default(), 0, 0);
    for path in list.lines().map(Path::new) {
        match examine(path, &mut report) {
            Ok(true) => images += 1,
            Ok(false) => without += 1,
            Err(why) => report.wrong.push(format!("{}: {why}", path.display())),
        }
    }
    println!("{images} images ({without} more without relocations to go by): {}", report.line());
    assert!(report.wrong.is_empty() && images > 0, "{}", report.wrong.join("\n"));
}
