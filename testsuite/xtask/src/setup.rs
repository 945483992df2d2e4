//! What has to be on the machine, and how it gets there.

use std::path::Path;
use std::process::{Command, Stdio};
use testsuite::{Result, fail, paths};

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    program: &'static str,
    package: &'static str,
}

const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

/// For the demo: compile, sign.
pub const DEMO: &[Need] = &[need("cc", "gcc"), need("ssh-keygen", "openssh-client")];

/// For the demo on real servers: what builds and drives them.
pub const REAL: &[Need] = &[
    need("cc", "gcc"),
    need("make", "make"),
    need("ssh-keygen", "openssh-client"),
    need("dpkg-source", "dpkg-dev"),
    need("patch", "patch"),
    need("/usr/bin/python3", "python3"),
    need("redis-cli", "redis-tools"),
    need("wrk", "wrk"),
];

/// For the corpus, and the programs that use its libraries.
pub const CORPUS: &[Need] = &[
    need("cc", "gcc"),
    need("make", "make"),
    need("ssh-keygen", "openssh-client"),
    need("dpkg-source", "dpkg-dev"),
    need("patch", "patch"),
    need("/usr/bin/python3", "python3"),
    need("jq", "jq"),
    need("redis-cli", "redis-tools"),
    need("tiffcp", "libtiff-tools"),
    need("xmllint", "libxml2-utils"),
    need("/usr/include/libxml2/libxml/xmlversion.h", "libxml2-dev"),
    need("xmlwf", "expat"),
    need("xsltproc", "xsltproc"),
    need("opj_compress", "libopenjp2-tools"),
    need("bsdtar", "libarchive-tools"),
    need("libde265-dec265", "libde265-examples"),
    need("x265", "x265"),
    need("curl", "curl"),
];

/// For the stock pairs, where they are there.
pub const STOCK: &[Need] = &[
    need("/bin/dash", "dash"),
    need("/usr/bin/python3", "python3"),
    need("/usr/lib/python3.11/test/test_struct.py", "libpython3.11-testsuite"),
];

/// For random programs.
pub const FUZZ: &[Need] = &[
    need("gcc", "gcc"),
    need("clang", "clang"),
    need("ld.lld", "lld"),
    need("ld.gold", "binutils"),
    need("mold", "mold"),
    need("csmith", "csmith"),
    need("/usr/include/csmith/csmith.h", "libcsmith-dev"),
    need("ssh-keygen", "openssh-client"),
];

/// For random changes to programs of packages.
pub const FUZZ_PACKAGES: &[Need] = &[
    need("gcc", "gcc"),
    need("g++", "g++"),
    need("clang", "clang"),
    need("ld.lld", "lld"),
    need("ld.gold", "binutils"),
    need("mold", "mold"),
    need("ssh-keygen", "openssh-client"),
    need("dpkg-source", "dpkg-dev"),
];

/// For the scenarios.
const SCENARIOS: &[Need] = &[
    need("gcc", "gcc"),
    need("g++", "g++"),
    need("clang", "clang"),
    need("ld.lld", "lld"),
    need("ld.gold", "binutils"),
    need("objcopy", "binutils"),
    need("mold", "mold"),
    need("gdb", "gdb"),
    need("xmllint", "libxml2-utils"),
];

/// For further rows of the matrix: what a release doesn't have is left out, and the tests say so.
const OPTIONAL: &[Need] = &[
    need("gcc-11", "gcc-11"),
    need("g++-11", "g++-11"),
    need("gcc-12", "gcc-12"),
    need("g++-12", "g++-12"),
    need("clang-14", "clang-14"),
    need("ld.lld-14", "lld-14"),
    need("/usr/lib/llvm-14/lib/LLVMgold.so", "llvm-14-linker-tools"),
    need("clang-16", "clang-16"),
    need("ld.lld-16", "lld-16"),
    need("/usr/lib/llvm-16/lib/LLVMgold.so", "llvm-16-linker-tools"),
    need("llvm-dwp", "llvm"),
    need("dwz", "dwz"),
    need("gfortran", "gfortran"),
    need("go", "golang-go"),
    need("/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.asan-x86_64.a", "libclang-rt-14-dev"),
];

pub fn everything() -> Result<()> {
    install(&[DEMO, REAL, CORPUS, FUZZ, SCENARIOS].concat())?;
    install_optional(OPTIONAL)
}

/// Installs of the missing packages those that the release has. Without the right to install, tests do without.
fn install_optional(needs: &[Need]) -> Result<()> {
    let missing = || needs.iter().filter(|need| !present(need.program)).map(|need| need.package);
    let mut lacking: Vec<&str> = missing().collect();
    lacking.sort_unstable();
    lacking.dedup();
    let (Some(prefix), false) = (root_prefix().filter(|_| paths::find("apt-get").is_some()), lacking.is_empty()) else {
        return Ok(());
    };
    let (there, unknown): (Vec<&str>, Vec<&str>) = lacking.into_iter().partition(|package| is_offered(package));
    if !unknown.is_empty() {
        eprintln!("this release has no {}", unknown.join(", no "));
    }
    if there.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", there.join(" "));
    apt(prefix, &[&["install", "-y", "--no-install-recommends"], &there[..]].concat())
}

/// Whether the configured archives have the package.
fn is_offered(package: &str) -> bool {
    let mut query = Command::new("apt-cache");
    query.args(["show", "--no-all-versions", package]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    query.status().is_ok_and(|status| status.success())
}

/// Installs the packages of missing programs where that is allowed, else says the command.
pub fn install(needs: &[Need]) -> Result<()> {
    let mut packages: Vec<&str> = needs.iter().filter(|need| !present(need.program)).map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let prefix = match root_prefix() {
        Some(prefix) if paths::find("apt-get").is_some() => prefix,
        _ => fail!(
            "some programs are missing. On Debian or Ubuntu, run this and try again:\n    \
             sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
            packages.join(" ")
        ),
    };
    eprintln!("installing {}", packages.join(" "));
    apt(prefix, &["update"])?;
    apt(prefix, &[&["install", "-y", "--no-install-recommends"], &packages[..]].concat())
}

fn present(program: &str) -> bool {
    if program.starts_with('/') { Path::new(program).is_file() } else { paths::find(program).is_some() }
}

/// What has to stand before a command to run it as root: nothing, `sudo -n`, or there is no way.
fn root_prefix() -> Option<&'static [&'static str]> {
    let quiet = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output()
    };
    let uid = quiet("id", &["-u"]).ok()?;
    if uid.stdout.starts_with(b"0\n") {
        return Some(&[]);
    }
    let sudo = quiet("sudo", &["-n", "true"]).ok()?;
    sudo.status.success().then_some(&["sudo", "-n"])
}

fn apt(prefix: &[&str], arguments: &[&str]) -> Result<()> {
    let words = [prefix, &["apt-get", "-q", "-o", "DPkg::Lock::Timeout=600"], arguments].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status()?;
    if !status.success() {
        fail!("`{}` ended with {status}", words.join(" "));
    }
    Ok(())
}
