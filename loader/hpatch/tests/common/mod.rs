//! Targets written in C, built once for each test program.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

fn build(name: &str, variant: &str, flags: &[&str]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("targets-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (src, out) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets").join(name), dir.join(format!("{name}{variant}")));
    let cc = Command::new("cc")
        .args(["-O1", "-g", "-Wall", "-Wno-unused-result", "-pthread"])
        .args(flags)
        .arg("-o")
        .arg(&out)
        .arg(src.with_extension("c"))
        .status()
        .unwrap();
    assert!(cc.success());
    out
}

pub fn threads_program() -> &'static Path {
    static P: OnceLock<PathBuf> = OnceLock::new();
    P.get_or_init(|| build("threads", "", &[]))
}

/// The same with coroutines in it.
pub fn coroutine_program() -> &'static Path {
    static P: OnceLock<PathBuf> = OnceLock::new();
    P.get_or_init(|| build("threads", "-coroutines", &["-DCOROUTINES"]))
}

/// The same by a linker that leaves no room between segments: several of them begin in the file's first page.
pub fn packed_program() -> &'static Path {
    static P: OnceLock<PathBuf> = OnceLock::new();
    P.get_or_init(|| build("threads", "-packed", &["-fuse-ld=mold", "-s"]))
}

pub fn calls_program() -> &'static Path {
    static P: OnceLock<PathBuf> = OnceLock::new();
    P.get_or_init(|| build("calls", "", &[]))
}

/// A running target that said "ready".
pub struct Running {
    pub child: Child,
    pub input: ChildStdin,
    pub output: BufReader<ChildStdout>,
    /// hot, hot_site, hot_end, spin, spin_end.
    pub marks: Vec<u64>,
}

impl Running {
    pub fn start(program: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with("ready"), "{line:?}");
        let marks = line
            .split_whitespace()
            .skip(1)
            .map(|h| u64::from_str_radix(h.trim_start_matches("0x"), 16).unwrap())
            .collect();
        Self { child, input, output, marks }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, what: &str) -> String {
        writeln!(self.input, "{what}").unwrap();
        self.line()
    }

    /// It still answers, and ends as it should.
    pub fn end(mut self) {
        assert_eq!(self.ask("end"), "alive");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
