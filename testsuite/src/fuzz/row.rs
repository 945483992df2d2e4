//! How a pair is compiled and linked.

use super::random::Random;
use crate::{Result, process};
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
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    cc: String,
    opt: String,
    kind: String,
    ld: String,
    more: Vec<&'static str>,
}

/// One build: the program to run, and the module that is compared.
#[derive(Debug)]
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
            let odd = flag == "-flto" && (cc == "gcc") == (ld == "lld");
            if chosen && !odd {
                more.push(flag);
            }
        }
        Row { cc, opt, kind, ld, more }
    }

    pub fn label(&self) -> String {
        let words = [self.cc.as_str(), &self.opt, &self.kind, &self.ld];
        words.into_iter().chain(self.more.iter().copied()).collect::<Vec<_>>().join(" ")
    }

    /// Compiles `p.c` in `folder` and links it with the driver, which is the same in all builds.
    pub fn build(&self, folder: &Path, driver: &Path, flags: &[String]) -> Result<Build> {
        let position = match self.kind.as_str() {
            "nopie" => "-fno-pie",
            "shared" => "-fPIC",
            _ => "-fPIE",
        };
        let compile = |source: &Path, object: &str, opt: &str| {
            let mut command = Command::new(&self.cc);
            command.current_dir(folder).args([opt, "-g", "-w", position, "-c", "-o", object]);
            command.args(&self.more).args(flags).arg(source);
            // The same in both builds, as the folder of a package's source is.
            command.arg(format!("-ffile-prefix-map={}=.", folder.display()));
            process::run_ok(&mut command, LIMIT)
        };
        compile(driver, "driver.o", "-O1")?;
        compile(Path::new("p.c"), "p.o", &self.opt)?;
        let program = folder.join("p");
        if self.kind != "shared" {
            let position = if self.kind == "nopie" { "-no-pie" } else { "-pie" };
            self.link(folder, &[position, "-o", "p", "driver.o", "p.o"])?;
            return Ok(Build { module: program.clone(), program });
        }
        self.link(folder, &["-shared", "-o", "libp.so", "p.o", "-Wl,-soname,libp.so"])?;
        self.link(folder, &["-pie", "-o", "p", "driver.o", "libp.so", "-Wl,-rpath,$ORIGIN"])?;
        Ok(Build { program, module: folder.join("libp.so") })
    }

    fn link(&self, folder: &Path, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.cc);
        command.current_dir(folder).args(arguments).args([&self.opt, "-lm", "-Wl,--build-id=sha1"]).args(&self.more);
        if self.ld != "bfd" {
            command.arg(format!("-fuse-ld={}", self.ld));
        }
        process::run_ok(&mut command, LIMIT)?;
        Ok(())
    }
}
