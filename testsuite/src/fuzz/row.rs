//! How a pair is compiled and linked.

use super::random::Random;
use crate::process::{self, Output};
use crate::{Result, paths};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Dimensions that are held fixed; the others follow from the seed.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    pub cc: Option<String>,
    pub opt: Option<String>,
    /// pie, nopie or shared.
    pub kind: Option<String>,
    pub ld: Option<String>,
    /// The program of a package.
    pub program: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    cc: String,
    opt: String,
    kind: String,
    ld: String,
    more: Vec<&'static str>,
}

/// One build: the program to run, and the module that is compared.
#[derive(Debug, Clone)]
pub struct Build {
    pub program: PathBuf,
    pub module: PathBuf,
}

impl Row {
    /// What is likely comes several times.
    pub fn new(random: &mut Random, fixed: &Fixed) -> Row {
        let mut choose = |fixed: &Option<String>, from: &[&str]| {
            let chosen = random.pick(from);
            fixed.clone().unwrap_or_else(|| chosen.to_owned())
        };
        let cc = choose(&fixed.cc, &["gcc", "gcc", "clang"]);
        let opt = choose(&fixed.opt, &["-O0", "-O1", "-O2", "-O2", "-O3", "-O3", "-Os"]);
        let kind = choose(&fixed.kind, &["pie", "pie", "nopie", "nopie", "shared"]);
        let ld = choose(&fixed.ld, &["bfd", "bfd", "gold", "lld", "mold"]);
        let mut more = Vec::new();
        for (flag, percent) in
            [("-flto", 15), ("-ffunction-sections", 20), ("-fdata-sections", 10), ("-fcf-protection=full", 20)]
        {
            // lld can't read gcc's intermediate code, and clang's needs its own linkers.
            let chosen = random.percent(percent);
            let odd = flag == "-flto" && cc.starts_with("gcc") == (ld == "lld");
            if chosen && !odd {
                more.push(flag);
            }
        }
        Row { cc, opt, kind, ld, more }
    }

    /// For a program of a package: compilers by their version, those that the machine has.
    pub(super) fn of_package(random: &mut Random, fixed: &Fixed) -> Row {
        let all = ["gcc-11", "gcc-12", "gcc-12", "clang-14", "clang-16"];
        let there: Vec<&str> = all.into_iter().filter(|cc| paths::find(cc).is_some()).collect();
        let cc = if there.is_empty() { "gcc" } else { random.pick(&there) };
        let cc = fixed.cc.clone().unwrap_or_else(|| cc.to_owned());
        let mut row = Row::new(random, &Fixed { cc: Some(cc), ..fixed.clone() });
        row.harden(random);
        row
    }

    /// What packages are built with besides.
    fn harden(&mut self, random: &mut Random) {
        let (gcc, lto) = (self.cc.starts_with("gcc"), self.more.contains(&"-flto"));
        // The programs run here, too.
        let wide = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("bmi2");
        let groups: [(&[&'static str], u64, bool); 9] = [
            (&["-fno-plt"], 15, true),
            (&["-ffunction-sections", "-Wl,--gc-sections"], 15, true),
            (&["-Wl,--icf=safe"], 25, self.ld != "bfd"),
            (&["-Wl,-Bsymbolic-functions"], 30, self.kind == "shared"),
            (&["-fstack-protector-strong", "-fstack-clash-protection", "-Wl,-z,relro,-z,now"], 20, true),
            (&["-march=x86-64-v3"], 15, wide),
            (&["-fno-omit-frame-pointer"], 10, true),
            (&["-fno-inline"], 10, true),
            (&["-flto=thin"], 15, !gcc && !lto && self.ld == "lld"),
        ];
        for (flags, percent, fits) in groups {
            if random.percent(percent) && fits {
                self.more.extend(flags);
            }
        }
    }

    /// A program at a place that the loader chooses, by the usual linker.
    pub(super) fn plain(cc: &str, opt: &str) -> Row {
        let [cc, opt, kind, ld] = [cc, opt, "pie", "bfd"].map(str::to_owned);
        Row { cc, opt, kind, ld, more: Vec::new() }
    }

    pub fn label(&self) -> String {
        let words = [self.cc.as_str(), &self.opt, &self.kind, &self.ld];
        words.into_iter().chain(self.more.iter().copied()).collect::<Vec<_>>().join(" ")
    }

    /// Compiles `p.c` in `folder` and links it with the driver, which is the same in all builds.
    pub fn build(&self, folder: &Path, driver: &Path, flags: &[String]) -> Result<Build> {
        self.compile(folder, false, &self.opt, Path::new("p.c"), "p.o", flags)?.expect(0)?;
        self.compile(folder, false, "-O1", driver, "driver.o", flags)?.expect(0)?;
        self.link(folder, false, &["driver.o"], &["p.o"])
    }

    /// Compiles one file in `folder`, by the optimisation of the row.
    pub(super) fn unit(&self, folder: &Path, cplusplus: bool, source: &str, flags: &[String]) -> Result<Output> {
        self.compile(folder, cplusplus, &self.opt, Path::new(source), &object(source), flags)
    }

    /// Compiles a file that is the same in all builds, and that nothing is to be seen of.
    pub(super) fn driver(&self, folder: &Path, cplusplus: bool, source: &Path, flags: &[String]) -> Result<()> {
        self.compile(folder, cplusplus, "-O1", source, "driver.o", flags)?.expect(0)?;
        Ok(())
    }

    fn compile(
        &self,
        folder: &Path,
        cplusplus: bool,
        opt: &str,
        source: &Path,
        object: &str,
        flags: &[String],
    ) -> Result<Output> {
        let position = match self.kind.as_str() {
            "nopie" => "-fno-pie",
            "shared" => "-fPIC",
            _ => "-fPIE",
        };
        let mut command = Command::new(self.compiler(cplusplus));
        command.current_dir(folder).args([opt, "-g", "-w", position, "-c", "-o", object]).args(&self.more).args(flags);
        if cplusplus {
            command.args(["-x", "c++"]);
        }
        // The same in both builds, as the folder of a package's source is.
        command.arg(source).arg(format!("-ffile-prefix-map={}=.", folder.display()));
        process::run(&mut command, LIMIT)
    }

    fn compiler(&self, cplusplus: bool) -> String {
        match cplusplus {
            true => self.cc.replacen("gcc", "g++", 1).replacen("clang", "clang++", 1),
            false => self.cc.clone(),
        }
    }

    /// Links objects of `folder` with the driver: to a program, or to a library that the driver's program uses.
    pub(super) fn link(&self, folder: &Path, cplusplus: bool, driver: &[&str], objects: &[&str]) -> Result<Build> {
        let program = folder.join("p");
        if self.kind != "shared" {
            let position = if self.kind == "nopie" { "-no-pie" } else { "-pie" };
            self.run_linker(folder, cplusplus, &[&[position, "-o", "p"], driver, objects].concat())?;
            return Ok(Build { module: program.clone(), program });
        }
        self.run_linker(folder, cplusplus, &[&["-shared", "-o", "libp.so", "-Wl,-soname,libp.so"], objects].concat())?;
        self.run_linker(
            folder,
            cplusplus,
            &[&["-pie", "-o", "p"], driver, &["libp.so", "-Wl,-rpath,$ORIGIN"]].concat(),
        )?;
        Ok(Build { program, module: folder.join("libp.so") })
    }

    fn run_linker(&self, folder: &Path, cplusplus: bool, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(self.compiler(cplusplus));
        command.current_dir(folder).args(arguments).args([
            &self.opt,
            "-lm",
            "-ldl",
            "-lpthread",
            "-Wl,--build-id=sha1",
        ]);
        command.args(&self.more);
        if self.ld != "bfd" {
            command.arg(format!("-fuse-ld={}", self.ld));
        }
        process::run_ok(&mut command, LIMIT)?;
        Ok(())
    }
}

/// The name of a source file's object.
pub(super) fn object(source: &str) -> String {
    format!("{}.o", source.replace(['/', '.'], "_"))
}
