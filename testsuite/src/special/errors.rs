//! Wrong inputs and wrong use: a clear end, a code, and nothing changed.

use super::{Case, Pair, compiled};
use crate::bundle::{self, Signer, TOOL_LIMIT, patchgen};
use crate::compile;
use crate::left_out::left_out;
use crate::process::{Output, run, run_ok};
use crate::program::Config;
use crate::target::{self, Launch, Target};
use crate::{Result, check, fail, paths};
use std::path::Path;
use std::process::Command;

pub(super) const CASES: &[Case] = &[
    Case { name: "applied twice", hazards: "S12", run: applied_twice },
    Case { name: "unknown id", hazards: "S12", run: unknown_id },
    Case { name: "no loader", hazards: "S7", run: no_loader },
    Case { name: "no such process", hazards: "S13", run: no_process },
    Case { name: "truncated ELF", hazards: "B6", run: truncated_elf },
    Case { name: "broken ELF", hazards: "B6", run: broken_elf },
    Case { name: "missing file", hazards: "S11", run: missing_file },
    Case { name: "wrong use", hazards: "S11", run: wrong_use },
    Case { name: "full disk", hazards: "S11", run: full_disk },
    Case { name: "same file twice", hazards: "C1", run: same_file },
    Case { name: "same input, same bytes", hazards: "C1", run: reproducible },
    Case { name: "separate debug file", hazards: "C21", run: separate_debug },
    Case { name: "stripped, no debug file", hazards: "C21", run: stripped },
    Case { name: "stripped, addresses on the heap", hazards: "C21,I1", run: stripped_callbacks },
    Case { name: "no debug information, accepted", hazards: "C21", run: undebugged },
    Case { name: "different compilers", hazards: "C22", run: different_compilers },
    Case { name: "a program of Go's", hazards: "S2", run: go_program },
    Case { name: "payload is ELF", hazards: "C20", run: payload },
    Case { name: "status and JSON", hazards: "I3", run: status },
];

fn applied_twice() -> Result<()> {
    let pair = Pair::make("counter", "twice")?;
    let mut target = pair.start()?;
    target.apply(&pair.bundle)?.expect(0)?;
    let again = target.apply(&pair.bundle)?;
    check!(matches!(again.code(), Some(3 | 4)), "the second apply: {}", again.describe());
    check!(target.ask("value")? == "101", "the second apply undid the first");
    target.revert("fix")?.expect(0)?;
    check!(target.ask("value")? == "2", "one revert isn't enough");
    target.apply(&pair.bundle)?.expect(0)?;
    check!(target.ask("value")? == "101", "it can't be applied again after its revert");
    target.finish()
}

fn unknown_id() -> Result<()> {
    let pair = Pair::make("counter", "unknown-id")?;
    let mut target = pair.start()?;
    target.apply(&pair.bundle)?.expect(0)?;
    let output = target.revert("nonsense")?;
    check!(matches!(output.code(), Some(2 | 4 | 6)), "revert of an unknown id: {}", output.describe());
    check!(output.text().contains("HP1303"), "revert of an unknown id: {}", output.describe());
    check!(target.ask("value")? == "101", "a wrong revert reverted something");
    target.finish()
}

fn no_loader() -> Result<()> {
    let pair = Pair::make("counter", "no-loader")?;
    let mut target = Target::start(&pair.builds.old.program, &Launch::default())?;
    let output = target::apply(target.pid(), &pair.bundle, 2, &Signer::shared()?.trust())?;
    check!(matches!(output.code(), Some(4 | 6)), "apply without a loader: {}", output.describe());
    check!(output.text().contains("HP1401"), "no code is given: {}", output.describe());
    check!(target.ask("value")? == "2", "it was patched without a loader");
    target.finish()
}

fn no_process() -> Result<()> {
    let pair = Pair::make("counter", "no-process")?;
    let target = pair.start()?;
    let pid = target.pid();
    target.finish()?;
    let output = target::apply(pid, &pair.bundle, 2, &Signer::shared()?.trust())?.expect(6)?;
    check!(output.text().contains("HP1408"), "apply to no process: {}", output.describe());
    Ok(())
}

fn build_to(old: &Path, new: &Path, scene: &str) -> Result<Output> {
    let folder = paths::scratch()?.join("special").join(scene);
    std::fs::create_dir_all(&folder)?;
    let bundle = folder.join("never.hpatch");
    let output = bundle::build(old, new, &bundle, "fix", &[])?;
    check!(output.code() == Some(0) || !bundle.exists(), "a bundle in spite of {}", output.describe());
    Ok(output)
}

/// An ELF file cut at many lengths: an input error with a code, never a crash, never a bundle.
fn truncated_elf() -> Result<()> {
    let builds = compiled("counter", "truncated-elf", &Config::new(&[]))?;
    let bytes = std::fs::read(&builds.new.module)?;
    let cut = builds.folder.join("cut");
    let mut lengths: Vec<usize> = (0..bytes.len()).step_by((bytes.len() / 40).max(1)).collect();
    lengths.extend([1, 3, 16, 63, 64, 65]);
    for length in lengths {
        std::fs::write(&cut, &bytes[..length])?;
        let output = build_to(&builds.old.module, &cut, "truncated-elf")?;
        check!(output.code() == Some(6), "cut at {length} of {}: {}", bytes.len(), output.describe());
        check!(output.text().contains("HP0"), "cut at {length}: no code is given: {}", output.describe());
    }
    Ok(())
}

/// Single bytes of headers and tables overwritten: any clear end, but no crash.
fn broken_elf() -> Result<()> {
    let builds = compiled("counter", "broken-elf", &Config::new(&[]))?;
    let bytes = std::fs::read(&builds.new.module)?;
    let broken = builds.folder.join("broken");
    let offsets = (0..0x340).step_by(9).chain((bytes.len() - 0x900..bytes.len()).step_by(37));
    for at in offsets {
        let mut copy = bytes.clone();
        copy[at] ^= 0xff;
        std::fs::write(&broken, &copy)?;
        let output = build_to(&builds.old.module, &broken, "broken-elf")?;
        check!(matches!(output.code(), Some(0 | 3 | 4 | 6)), "byte {at:#x} changed: {}", output.describe());
    }
    Ok(())
}

fn missing_file() -> Result<()> {
    let builds = compiled("counter", "missing", &Config::new(&[]))?;
    let missing = builds.folder.join("no such file");
    build_to(&builds.old.module, &missing, "missing")?.expect(6)?;
    build_to(&missing, &builds.new.module, "missing")?.expect(6)?;
    build_to(&builds.old.module, &builds.folder, "missing")?.expect(6)?;
    run(patchgen()?.arg("inspect").arg(&missing), TOOL_LIMIT)?.expect(6)?;
    let target = Target::start(&builds.old.program, &Launch::trusting(Signer::shared()?.trust()))?;
    target.apply_within(&missing, 1)?.expect(6)?;
    target.finish()
}

fn wrong_use() -> Result<()> {
    for arguments in [&["build"][..], &["nonsense"], &["explain", "HPxxxx"], &["build", "--old"]] {
        run(patchgen()?.args(arguments), TOOL_LIMIT)?.expect(2)?;
    }
    for arguments in [&["apply"][..], &["nonsense"], &["apply", "--pid", "one"]] {
        run(Command::new(paths::tool("hpatch")?).args(arguments), TOOL_LIMIT)?.expect(2)?;
    }
    let missing = run(Command::new(paths::tool("hpatch")?).args(["run", "--", "no-such-program-here"]), TOOL_LIMIT)?;
    check!(!matches!(missing.code(), Some(0 | 1)), "running a missing program: {}", missing.describe());
    Ok(())
}

/// No file may grow: an I/O error, and no half bundle.
fn full_disk() -> Result<()> {
    let builds = compiled("counter", "full-disk", &Config::new(&[]))?;
    let bundle = builds.folder.join("half.hpatch");
    if bundle.exists() {
        std::fs::remove_file(&bundle)?;
    }
    let script = r#"trap '' XFSZ; ulimit -f 0; exec "$0" build --old "$1" --new "$2" -o "$3" --id fix"#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(paths::tool("patchgen")?);
    command.arg(&builds.old.module).arg(&builds.new.module).arg(&bundle);
    run(&mut command, TOOL_LIMIT)?.expect(6)?;
    let left = std::fs::metadata(&bundle).map(|file| file.len()).unwrap_or(0);
    check!(left == 0 && !bundle.exists(), "a bundle of {left} bytes was left behind");
    Ok(())
}

fn same_file() -> Result<()> {
    let builds = compiled("counter", "same-file", &Config::new(&[]))?;
    build_to(&builds.old.module, &builds.old.module, "same-file")?.expect(3)?;
    Ok(())
}

/// Neither where the files lie, nor who runs it, when, where in memory and on how many threads, is to be seen in a bundle.
fn reproducible() -> Result<()> {
    let pair = Pair::unsigned("threads", "reproducible", &Config::new(&[]))?;
    let first = std::fs::read(&pair.bundle)?;
    for n in 0..20 {
        let folder = pair.builds.folder.join(format!("run {n}"));
        let (old, new) = (folder.join("old"), folder.join("new"));
        for (from, to) in [(&pair.builds.old.module, &old), (&pair.builds.new.module, &new)] {
            std::fs::create_dir_all(to)?;
            std::fs::copy(from, to.join(from.file_name().unwrap_or_default()))?;
        }
        let name = pair.builds.old.module.file_name().unwrap_or_default();
        let mut command = Command::new("setarch");
        command.args(if n % 2 == 0 { &["x86_64", "-R"][..] } else { &["x86_64"] }).arg(paths::tool("patchgen")?);
        command.args(["build", "--id", "fix", "--replace", "-o", "again.hpatch"]);
        let place = |side: &str| if n % 3 == 0 { Path::new(side).to_path_buf() } else { folder.join(side) };
        command.arg("--old").arg(place("old").join(name)).arg("--new").arg(place("new").join(name));
        command.current_dir(&folder).env("HOME", &folder).env("TMPDIR", &folder).env("USER", format!("user{n}"));
        command.env("RAYON_NUM_THREADS", (n % 5 + 1).to_string()).env("SOURCE_DATE_EPOCH", n.to_string());
        command.env("LC_ALL", ["C", "C.UTF-8", "tr_TR.UTF-8"][n % 3]).env("TZ", ["UTC", "Asia/Tokyo"][n % 2]);
        run(&mut command, TOOL_LIMIT)?.expect(0)?;
        check!(first == std::fs::read(folder.join("again.hpatch"))?, "run {n} on the same input wrote other bytes");
    }
    Ok(())
}

fn separate_debug() -> Result<()> {
    let builds = compiled("counter", "separate-debug", &Config::new(&[]))?;
    let debug = builds.folder.join("debug");
    compile::separate_debug(&builds.old.module, &debug)?;
    compile::separate_debug(&builds.new.module, &debug)?;
    let bundle = builds.folder.join("fix.hpatch");
    let folder = debug.to_string_lossy().into_owned();
    bundle::build(&builds.old.module, &builds.new.module, &bundle, "fix", &["--debug-dir", &folder])?.expect(0)?;
    Signer::shared()?.sign(&bundle)?;
    let mut target = Target::start(&builds.old.program, &Launch::trusting(Signer::shared()?.trust()))?;
    target.apply(&bundle)?.expect(0)?;
    check!(target.ask("value")? == "101", "the stripped program isn't patched");
    target.finish()
}

/// Goroutines' stacks can't be looked at: no bundle, in whatever way the program is built. Machines without Go leave it out.
fn go_program() -> Result<()> {
    if paths::find("go").is_none() {
        left_out("the machine has no go");
        return Ok(());
    }
    let folder = paths::scratch()?.join("go");
    let cache = folder.join("cache");
    for (number, mode) in ["exe", "pie"].into_iter().enumerate() {
        let build = |name: &str, factor: u32| -> Result<std::path::PathBuf> {
            let folder = folder.join(mode).join(name);
            std::fs::create_dir_all(&folder)?;
            let source = format!(
                "package main\n\nimport \"fmt\"\n\n//go:noinline\nfunc scale(x int) int {{ return {factor}*x + 1 }}\n\n\
                 func main() {{ c := make(chan int); go func() {{ c <- scale(5) }}(); fmt.Println(<-c) }}\n"
            );
            std::fs::write(folder.join("main.go"), source)?;
            let mut go = Command::new("go");
            go.args(["build", "-buildmode", mode, "-o", "program"]);
            go.arg(format!("-ldflags=-B 0x{:040x}", factor as usize + number)).arg("main.go").current_dir(&folder);
            go.env("GO111MODULE", "off").env("CGO_ENABLED", "0").env("GOCACHE", &cache);
            run_ok(&mut go, TOOL_LIMIT)?;
            Ok(folder.join("program"))
        };
        let (old, new) = (build("old", 2)?, build("new", 3)?);
        let bundle = folder.join(mode).join("fix.hpatch");
        let output = bundle::build(&old, &new, &bundle, "fix", &[])?.expect(4)?;
        check!(output.text().contains("HP0521"), "nothing says why: {}", output.describe());
        check!(!bundle.exists(), "a bundle was written for a program of Go's");
    }
    Ok(())
}

/// Nothing but code left: a bundle is right, and so is a refusal; a crash or a wrong patch is not.
fn stripped() -> Result<()> {
    let builds = compiled("counter", "stripped", &Config::new(&[]))?;
    for module in [&builds.old.module, &builds.new.module] {
        run_ok(Command::new("strip").arg("--strip-all").arg(module), TOOL_LIMIT)?;
    }
    let bundle = builds.folder.join("fix.hpatch");
    let output = bundle::build(&builds.old.module, &builds.new.module, &bundle, "fix", &[])?;
    match output.code() {
        Some(4) => Ok(()),
        Some(0) => {
            Signer::shared()?.sign(&bundle)?;
            let mut target = Target::start(&builds.old.program, &Launch::trusting(Signer::shared()?.trust()))?;
            target.apply(&bundle)?.expect(0)?;
            check!(target.ask("value")? == "101", "the stripped program isn't patched");
            target.finish()
        }
        _ => fail!("stripped builds: {}", output.describe()),
    }
}

/// Which of several functions without names became which, their order doesn't say: what the heap knows one by would run another's code.
fn stripped_callbacks() -> Result<()> {
    let builds = compiled("callbacks", "stripped-callbacks", &Config::new(&[]))?;
    for module in [&builds.old.module, &builds.new.module] {
        run_ok(Command::new("strip").arg("--strip-all").arg(module), TOOL_LIMIT)?;
    }
    let bundle = builds.folder.join("fix.hpatch");
    let output = bundle::build(&builds.old.module, &builds.new.module, &bundle, "fix", &["--accept", "HP0219"])?;
    if output.code() == Some(4) {
        check!(output.text().contains("HP0301"), "nothing says why: {}", output.describe());
        return Ok(());
    }
    output.expect(0)?;
    Signer::shared()?.sign(&bundle)?;
    let mut target = Target::start(&builds.old.program, &Launch::trusting(Signer::shared()?.trust()))?;
    check!(target.ask("keep")? == "12", "the old program is another one");
    target.apply(&bundle)?.expect(0)?;
    let answer = target.ask("call")?;
    check!(answer == "40" || answer == "12", "the address that the heap holds leads to other code: {answer}");
    target.finish()
}

/// Symbols but no types: refused until a person accepts that, and the signed manifest then says so.
fn undebugged() -> Result<()> {
    let builds = compiled("counter", "undebugged", &Config::new(&[]))?;
    for module in [&builds.old.module, &builds.new.module] {
        run_ok(Command::new("strip").arg("--strip-debug").arg(module), TOOL_LIMIT)?;
    }
    let bundle = builds.folder.join("fix.hpatch");
    let build = |options: &[&str]| bundle::build(&builds.old.module, &builds.new.module, &bundle, "fix", options);
    let refused = build(&[])?.expect(4)?;
    check!(refused.text().contains("HP0219"), "nothing says what is missing: {}", refused.describe());
    build(&["--accept", "HP0219"])?.expect(0)?;
    let inspected = run_ok(patchgen()?.arg("inspect").arg(&bundle), TOOL_LIMIT)?;
    check!(inspected.stdout.contains("HP0219"), "it isn't on record: {}", inspected.describe());
    Signer::shared()?.sign(&bundle)?;
    let mut target = Target::start(&builds.old.program, &Launch::trusting(Signer::shared()?.trust()))?;
    target.apply(&bundle)?.expect(0)?;
    check!(target.ask("value")? == "101", "the program isn't patched");
    target.finish()
}

fn different_compilers() -> Result<()> {
    let gcc = compiled("counter", "compiler-gcc", &Config::new(&[]))?;
    let clang = compiled("counter", "compiler-clang", &Config::new(&[("cc", "clang")]))?;
    let output = build_to(&gcc.old.module, &clang.new.module, "compilers")?.expect(4)?;
    check!(output.text().contains("clang"), "the compilers aren't named: {}", output.describe());
    Ok(())
}

/// The payload is an object file that binutils read without a word of complaint.
fn payload() -> Result<()> {
    let pair = Pair::make("threads", "payload")?;
    let folder = pair.builds.folder.join("extracted");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    run_ok(patchgen()?.arg("extract").arg(&pair.bundle).arg("-o").arg(&folder), TOOL_LIMIT)?;
    let mut objects = 0;
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if std::fs::read(&path)?.starts_with(b"\x7fELF") {
            objects += 1;
            let sections = run_ok(Command::new("readelf").arg("-aW").arg(&path), TOOL_LIMIT)?;
            check!(sections.stderr.is_empty(), "readelf complains: {}", sections.describe());
            check!(sections.stdout.contains("REL (Relocatable file)"), "not an ET_REL: {}", path.display());
            let code = run_ok(Command::new("objdump").arg("-dr").arg(&path), TOOL_LIMIT)?;
            check!(code.stderr.is_empty() && code.stdout.contains("compute"), "objdump: {}", code.describe());
        }
    }
    check!(objects == 1, "{objects} payload objects in {}", folder.display());
    Ok(())
}

fn status() -> Result<()> {
    let pair = Pair::make("counter", "status")?;
    let target = pair.start()?;
    target.apply(&pair.bundle)?.expect(0)?;
    let output = target::hpatch("status", target.pid(), &["--json"])?.expect(0)?;
    let json: serde_json::Value = serde_json::from_str(&output.stdout)?;
    check!(json["schema"] == "hpatch.status/1", "schema of status: {}", output.describe());
    check!(output.stdout.contains("\"fix\""), "the bundle isn't in {}", output.describe());
    let inspect = run_ok(patchgen()?.arg("inspect").arg(&pair.bundle).arg("--json"), TOOL_LIMIT)?;
    let json: serde_json::Value = serde_json::from_str(&inspect.stdout)?;
    check!(json["schema"] == "hpatch.inspect/1", "schema of inspect: {}", inspect.describe());
    target.finish()
}
