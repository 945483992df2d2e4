//! What each phase finds in one small pair of builds, as text, against what was looked at and found right. The pair is assembly, so that
//! no compiler's version changes it. `HPATCH_GOLDEN=write` writes the texts anew.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::Bench;

/// Phases whose text doesn't tell where a linker's version puts things.
const PHASES: [&str; 7] = ["lift", "types", "correlate", "compare", "include", "check", "link"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn library(bench: &Bench, name: &str, define: &str) {
    let source = golden("pair.s");
    bench.run("as", &format!("{define} {} -o {name}.o", source.display()));
    bench.run("ld", &format!("-shared --build-id -z now -z norelro -Bsymbolic {name}.o -o {name}.so"));
}

fn dump(bench: &Bench, phase: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_patchgen"))
        .args([
            "build",
            "--accept",
            "HP0219",
            "--old",
            "old.so",
            "--new",
            "new.so",
            "-o",
            "fix.hpatch",
            "--dump",
            phase,
        ])
        .current_dir(bench.dir.path())
        .output()
        .expect("patchgen runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    masked(&String::from_utf8(output.stdout).expect("text"))
}

/// Addresses are the linker's choice: each becomes a number in the order of appearance.
fn masked(text: &str) -> String {
    let mut seen: Vec<&str> = Vec::new();
    let mut out = String::new();
    // How much of the module is compared before the switch is the linker's choice too.
    for line in text.lines().filter(|line| !line.starts_with("guard ")) {
        for (i, word) in line.split(' ').enumerate() {
            let before = if i > 0 { " " } else { "" };
            let digits = word.trim_end_matches([',', ':', ')', ';']);
            let address = digits.strip_prefix("Old(").unwrap_or(digits);
            let is_address = address.len() > 5 && address.starts_with("0x");
            if !is_address {
                out.push_str(&format!("{before}{word}"));
                continue;
            }
            let number = seen.iter().position(|s| *s == address).unwrap_or_else(|| {
                seen.push(address);
                seen.len() - 1
            });
            out.push_str(&format!("{before}{}", word.replace(address, &format!("@{number}"))));
        }
        out.push('\n');
    }
    out
}

#[test]
fn phases_say_what_they_said() {
    let bench = Bench::new();
    library(&bench, "old", "");
    library(&bench, "new", "--defsym NEW=1");
    let write = std::env::var("HPATCH_GOLDEN").is_ok_and(|value| value == "write");
    let mut wrong = Vec::new();
    for phase in PHASES {
        let (text, file) = (dump(&bench, phase), golden(&format!("{phase}.txt")));
        if write {
            std::fs::write(&file, &text).expect("golden text written");
        } else if std::fs::read_to_string(&file).ok().as_ref() != Some(&text) {
            wrong.push(format!("{phase}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "other than in tests/golden:\n{}", wrong.join("\n"));
}
