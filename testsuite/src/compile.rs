//! Compiling a scenario program into its old and new build with the machine's compilers.

use crate::process;
use crate::program::{Config, Program};
use crate::{Result, check, fail, paths};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Both builds of a program.
#[derive(Debug)]
pub struct Builds {
    pub old: Build,
    pub new: Build,
    pub folder: PathBuf,
}

/// One build: the program to run, and the module that is compared (the program itself, or its shared library).
#[derive(Debug, Clone)]
pub struct Build {
    pub program: PathBuf,
    pub module: PathBuf,
}

impl Builds {
    /// The old build once more in a folder of its own, where its module can be replaced.
    pub fn beside(&self, name: &str) -> Result<Build> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let copy = |path: &Path| -> Result<PathBuf> {
            let to = folder.join(path.file_name().unwrap_or_default());
            std::fs::copy(path, &to)?;
            Ok(to)
        };
        let (program, module) = (copy(&self.old.program)?, copy(&self.old.module)?);
        Ok(Build { program, module })
    }
}

/// Compiles both builds below `folder`.
pub fn compile(program: &Program, config: &Config, folder: &Path) -> Result<Builds> {
    let old = build(program, config, &folder.join("old"), &[])?;
    let new = build(program, config, &folder.join("new"), &["NEW"])?;
    Ok(Builds { old, new, folder: folder.to_path_buf() })
}

/// Compiles one build, with these macros defined (in Rust: as `cfg`s, in lower case).
pub fn build(program: &Program, config: &Config, folder: &Path, defines: &[&str]) -> Result<Build> {
    std::fs::create_dir_all(folder)?;
    let driver = compile_driver(program, config, folder)?;
    let mut objects = Vec::new();
    match program.source.extension().and_then(|e| e.to_str()) {
        Some("rs") => objects.push(compile_rust(program, config, folder, defines)?),
        _ => {
            for unit in 1..=program.units {
                objects.push(compile_c(program, config, folder, defines, unit)?);
            }
        }
    }
    let executable = folder.join(&program.name);
    let mut link = linker(program, config);
    if config.value("kind") == "shared" {
        let library = folder.join(format!("lib{}.so", program.name));
        // By its name only, so that a copy of the program finds the copy beside it.
        link.arg(format!("-Wl,-soname,lib{}.so", program.name));
        link.arg("-shared").arg("-o").arg(&library).args(&objects).args(&program.flags);
        process::run_ok(&mut link, LIMIT)?;
        let mut link = linker(program, config);
        link.arg("-o").arg(&executable).arg(&driver).arg(&library).arg("-Wl,-rpath,$ORIGIN").args(&program.flags);
        process::run_ok(&mut link, LIMIT)?;
        finish_debug(config, &library)?;
        return Ok(Build { program: executable, module: library });
    }
    link.arg(match config.value("kind") {
        "nopie" => "-no-pie",
        "static" => "-static",
        "static-pie" => "-static-pie",
        _ => "-pie",
    });
    link.arg("-o").arg(&executable).arg(&driver).args(&objects).args(&program.flags);
    process::run_ok(&mut link, LIMIT)?;
    finish_debug(config, &executable)?;
    Ok(Build { program: executable.clone(), module: executable })
}

/// Brings a module's debug information into the row's form.
fn finish_debug(config: &Config, module: &Path) -> Result<()> {
    let folder = module.parent().unwrap_or(Path::new("."));
    let run = |program: &str, arguments: &[&OsStr]| process::run_ok(Command::new(program).args(arguments), LIMIT);
    let module_name = module.as_os_str();
    match config.value("debug") {
        "plain" | "split" => {}
        "dwp" => {
            let mut package = module_name.to_owned();
            package.push(".dwp");
            run("llvm-dwp", &["-e".as_ref(), module_name, "-o".as_ref(), &package])?;
        }
        form @ ("zlib" | "zstd") => {
            run("objcopy", &[format!("--compress-debug-sections={form}").as_ref(), module_name])?;
        }
        "dwz" => drop(run("dwz", &[module_name])?),
        "dwz-multi" => {
            // What two files have in common goes to a third.
            let twin = module.with_extension("twin");
            std::fs::copy(module, &twin)?;
            let common = folder.join("common.debug");
            let (m, name) = ("-m".as_ref(), "-M".as_ref());
            run("dwz", &[m, common.as_os_str(), name, "common.debug".as_ref(), module_name, twin.as_os_str()])?;
        }
        "separate" => separate_debug(module, &debug_folder(folder))?,
        other => fail!("no such form of debug information: {other}"),
    }
    Ok(())
}

/// Where `--debug-dir` has to point for a build in `folder` whose debug information is separate.
pub fn debug_folder(folder: &Path) -> PathBuf {
    folder.with_file_name("debug")
}

/// Where below `debug` the debug information of `image` is looked for by its build-id.
pub fn debug_file(image: &Path, debug: &Path) -> Result<PathBuf> {
    let notes = process::run_ok(Command::new("readelf").arg("-n").arg(image), LIMIT)?;
    let id = notes.stdout.lines().find_map(|line| line.trim().strip_prefix("Build ID: ").map(str::to_owned));
    match id.as_deref().and_then(|id| id.split_at_checked(2)) {
        Some((first, rest)) => Ok(debug.join(".build-id").join(first).join(format!("{rest}.debug"))),
        None => fail!("{} has no build-id", image.display()),
    }
}

/// Moves the debug information of `image` to [`debug_file`].
pub fn separate_debug(image: &Path, debug: &Path) -> Result<()> {
    let file = debug_file(image, debug)?;
    std::fs::create_dir_all(file.parent().unwrap_or(debug))?;
    process::run_ok(Command::new("objcopy").arg("--only-keep-debug").arg(image).arg(&file), LIMIT)?;
    process::run_ok(Command::new("strip").arg("--strip-all").arg(image), LIMIT)?;
    Ok(())
}

/// The driver is the same in both builds: it reads commands and calls the program's `command`.
fn compile_driver(program: &Program, config: &Config, folder: &Path) -> Result<PathBuf> {
    let object = folder.join("driver.o");
    let mut compiler = Command::new(config.value("cc"));
    compiler.arg("-g").arg(format!("-gdwarf-{}", config.value("dwarf"))).args(["-O2", "-c", "-o"]).arg(&object);
    compiler.arg(position(config));
    compiler.args(program.flags.iter().filter(|flag| flag.starts_with("-D")));
    compiler.arg(paths::programs().join("driver/driver.c"));
    process::run_ok(&mut compiler, LIMIT)?;
    Ok(object)
}

fn compile_c(program: &Program, config: &Config, folder: &Path, defines: &[&str], unit: u32) -> Result<PathBuf> {
    let object = folder.join(format!("{}.{unit}.o", program.name));
    let mut compiler = Command::new(language_driver(program, config));
    compiler.arg("-g").arg(format!("-gdwarf-{}", config.value("dwarf"))).arg(config.value("opt")).arg(position(config));
    compiler.arg("-I").arg(paths::programs().join("driver"));
    if program.source.extension().is_some_and(|e| e == "f90") {
        compiler.arg("-cpp").arg("-J").arg(folder);
    }
    compiler.args(lto(config));
    if matches!(config.value("debug"), "split" | "dwp") {
        compiler.arg("-gsplit-dwarf");
    }
    compiler.args(config.value("cflags").split('+').filter(|flag| !flag.is_empty()));
    compiler.args(&program.flags);
    compiler.args(defines.iter().map(|define| format!("-D{define}")));
    let source = if unit == 1 { program.source.clone() } else { wrapper(program, folder, unit)? };
    compiler.arg("-c").arg("-o").arg(&object).arg(source);
    process::run_ok(&mut compiler, LIMIT)?;
    Ok(object)
}

/// A further unit: a file of its own, the same for both builds, that includes the source.
fn wrapper(program: &Program, folder: &Path, unit: u32) -> Result<PathBuf> {
    let file = folder.with_file_name(format!("unit{unit}.c"));
    std::fs::write(&file, format!("#define UNIT {unit}\n#include \"{}\"\n", program.source.display()))?;
    Ok(file)
}

fn compile_rust(program: &Program, config: &Config, folder: &Path, defines: &[&str]) -> Result<PathBuf> {
    let archive = folder.join(format!("lib{}.a", program.name));
    let level = match config.value("opt") {
        "-O0" => "0",
        "-O1" => "1",
        "-O2" => "2",
        "-O3" => "3",
        "-Os" => "s",
        other => fail!("no such optimisation level in Rust: {other}"),
    };
    let mut compiler = Command::new("rustc");
    compiler.args(["--edition", "2021", "--crate-type", "staticlib", "-g", "-C", "codegen-units=1"]);
    compiler.arg("-C").arg(format!("opt-level={level}")).arg("--check-cfg=cfg(new)");
    compiler.args(config.value("cflags").split('+').filter(|flag| !flag.is_empty()));
    for define in defines {
        compiler.arg("--cfg").arg(define.to_lowercase());
    }
    compiler.arg("-o").arg(&archive).arg(&program.source);
    process::run_ok(&mut compiler, LIMIT)?;
    check!(archive.is_file(), "rustc wrote no archive for {}", program.name);
    Ok(archive)
}

fn linker(program: &Program, config: &Config) -> Command {
    let mut link = Command::new(language_driver(program, config));
    link.args(["-Wl,--build-id=sha1", "-pthread"]);
    if config.value("ld") != "bfd" {
        link.arg(format!("-fuse-ld={}", config.linker()));
    }
    if let Some(flag) = lto(config) {
        link.arg(flag).arg(config.value("opt"));
    }
    link.args(config.value("ldflags").split('+').filter(|flag| !flag.is_empty()));
    link
}

fn lto(config: &Config) -> Option<&'static str> {
    match (config.value("lto"), config.is_clang()) {
        ("thin", _) => Some("-flto=thin"),
        ("full", true) => Some("-flto"),
        ("full", false) => Some("-flto=1"),
        _ => None,
    }
}

fn position(config: &Config) -> &'static str {
    match config.value("kind") {
        "nopie" | "static" => "-fno-pie",
        "shared" => "-fPIC",
        _ => "-fPIE",
    }
}

/// `g++` for `gcc` when the source is C++, of the same version.
fn language_driver(program: &Program, config: &Config) -> String {
    let cc = config.value("cc");
    if program.source.extension().is_some_and(|e| e == "cc") {
        if config.is_clang() { cc.replacen("clang", "clang++", 1) } else { cc.replacen("gcc", "g++", 1) }
    } else {
        cc.to_owned()
    }
}
