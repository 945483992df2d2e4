//! Runs of one program over many inputs, so that two builds of a library can be compared by what they do.
//!
//! Each build gets a folder of its own with the same layout (`bin/`, `lib/`, `work/`), and programs are started with the same relative
//! names there, so that nothing they print tells one folder from another.

use crate::bundle::Signer;
use crate::process::{self, run_ok};
use crate::{Failure, Result, check, fail, paths};
use regex::bytes::Regex;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

/// Longest run of an upstream test program, on a busy machine.
const SUITE_LIMIT: Duration = Duration::from_secs(60);
/// Longest run of a program over one input.
const INPUT_LIMIT: Duration = Duration::from_secs(10);

/// One thing to do with the artifact.
#[derive(Debug, Clone)]
pub struct Case {
    /// The program and its arguments; `bin/NAME` is the artifact itself. The same for every build.
    pub words: Vec<String>,
    /// Standard input; nothing unless given.
    pub input: Option<PathBuf>,
    /// Whether it is a shell script that starts the artifact with `$RUN`, and gets `$LIVE`, `$ID` and `$HPATCH` when a bundle is to be applied.
    pub script: bool,
    /// Number of the first fix whose new build can stand it. In builds before it, it corrupts memory: what they do then depends on where
    /// things lie, and says nothing.
    pub since: &'static str,
    /// Lines of both streams with this text say how long something took, and are left out; empty: none.
    pub timing: &'static str,
    /// How long it may run; a hostile document may make a program without the fix run without end.
    pub limit: Duration,
}

impl Case {
    pub fn new(words: &[&str]) -> Case {
        Case {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            input: None,
            script: false,
            since: "",
            timing: "",
            limit: INPUT_LIMIT,
        }
    }

    pub fn reading(mut self, input: &Path) -> Case {
        self.input = Some(input.to_path_buf());
        self
    }

    /// An upstream test program: it takes its time.
    pub fn slow(mut self) -> Case {
        self.limit = SUITE_LIMIT;
        self
    }

    /// A case as one would type it.
    pub fn name(&self) -> String {
        let words = self.words.iter().map(|word| word.rsplit_once('/').map_or(word.as_str(), |(_, file)| file));
        let mut name = words.collect::<Vec<_>>().join(" ");
        if let Some(input) = &self.input {
            name += &format!(" < {}", input.file_name().unwrap_or_default().to_string_lossy());
        }
        name.chars().take(120).collect()
    }
}

/// Everything that can be seen of a run from outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The exit status, or the signal, or that it didn't end.
    pub end: String,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The file `work/out` (or `work/out.*`), if the program wrote one.
    pub file: Option<Vec<u8>>,
}

impl Outcome {
    /// In what this differs from another, with the first line that does.
    pub fn difference(&self, other: &Outcome) -> Option<String> {
        if self.end != other.end {
            return Some(format!("{} against {}", self.end, other.end));
        }
        for (what, one, two) in [("stdout", &self.stdout, &other.stdout), ("stderr", &self.stderr, &other.stderr)] {
            if one != two {
                let (one, two) = (String::from_utf8_lossy(one), String::from_utf8_lossy(two));
                let (mut one, mut two) = (one.lines(), two.lines());
                loop {
                    let (a, b) = (one.next(), two.next());
                    if a != b || a.is_none() {
                        return Some(format!("{what}: `{}` against `{}`", a.unwrap_or("(end)"), b.unwrap_or("(end)")));
                    }
                }
            }
        }
        (self.file != other.file).then(|| "the output file".to_owned())
    }
}

/// One build of an artifact, ready to run.
#[derive(Debug)]
pub struct Sandbox {
    dir: PathBuf,
    /// The bundle that is applied before `main`.
    store: Option<PathBuf>,
}

/// What the loader and `hpatch` are asked to do with a bundle besides running a case.
#[derive(Debug, Clone, Copy)]
pub struct Patch<'a> {
    pub bundle: &'a Path,
    pub id: &'a str,
}

impl Sandbox {
    /// Lays out a folder with the artifact as `bin/NAME` or, when it has a soname, as `lib/SONAME`.
    pub fn new(dir: PathBuf, artifact: &Path, soname: Option<&str>) -> Result<Sandbox> {
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        for part in ["bin", "lib", "work", "log"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let place = match soname {
            Some(soname) => dir.join("lib").join(soname),
            None => dir.join("bin").join(artifact.file_name().unwrap_or_default()),
        };
        fs::copy(artifact, place)?;
        Ok(Sandbox { dir, store: None })
    }

    /// The same with a bundle that is applied at each start.
    pub fn with_bundle(mut self, bundle: &Path) -> Result<Sandbox> {
        let store = self.dir.join("store");
        fs::create_dir_all(&store)?;
        fs::copy(bundle, store.join("fix.hpatch"))?;
        self.store = Some(store);
        Ok(self)
    }

    /// Runs a case to its end.
    pub fn run(&self, case: &Case) -> Result<Outcome> {
        let child = self.spawn(case, None, None)?;
        self.finish(case, child)
    }

    /// Runs a script case that applies and reverts a bundle on its way.
    pub fn run_applying(&self, case: &Case, patch: Patch) -> Result<Outcome> {
        let child = self.spawn(case, None, Some(patch))?;
        self.finish(case, child)
    }

    /// Runs a case up to its end and there asks `hpatch` what is live.
    pub fn confirm(&self, case: &Case, id: &str) -> Result<()> {
        let mut child = self.spawn(case, Some("end"), None)?;
        let checked = wait_stopped(&mut child).and_then(|()| live(child.id(), id));
        resume(&child)?;
        self.finish(case, child)?;
        checked
    }

    /// Starts a program, applies a bundle live before its `main`, lets it run, and reverts the bundle after its `main`.
    pub fn run_live(&self, case: &Case, patch: Patch) -> Result<Outcome> {
        let mut child = self.spawn(case, Some("start end"), None)?;
        let pid = child.id();
        let worked = wait_stopped(&mut child)
            .and_then(|()| crate::target::apply(pid, patch.bundle, 10, &Signer::shared()?.trust())?.expect(0))
            .and_then(|_| live(pid, patch.id))
            .and_then(|()| resume(&child))
            .and_then(|()| wait_stopped(&mut child))
            .and_then(|()| crate::target::hpatch("verify", pid, &[])?.expect(0))
            .and_then(|_| crate::target::revert(pid, patch.id, 10)?.expect(0));
        resume(&child)?;
        let outcome = self.finish(case, child)?;
        worked.map(|_| outcome)
    }

    fn spawn(&self, case: &Case, hold: Option<&str>, patch: Option<Patch>) -> Result<Child> {
        if let Some(out) = self.output()? {
            fs::remove_file(&out)?;
        }
        let loader = paths::tool("libhpatch_loader.so")?;
        let trust = Signer::shared()?.trust();
        let mut settings = vec![("HPATCH_TRUST", trust.display().to_string()), ("LD_LIBRARY_PATH", "lib".to_owned())];
        // Fresh heap memory is full of the same bytes in every build: a decoder that uses what nobody wrote does so alike (mallopt(3)).
        settings.push(("MALLOC_PERTURB_", "85".to_owned()));
        let mut preload = loader.display().to_string();
        if let Some(hold) = hold {
            preload = format!("{}:{preload}", stopper()?.display());
            settings.push(("HOLD", hold.to_owned()));
        }
        settings.push(("LD_PRELOAD", preload));
        if let Some(store) = &self.store {
            settings.push(("HPATCH_STORE", store.display().to_string()));
        }
        let Some((program, arguments)) = case.words.split_first() else { fail!("a case without a program") };
        let program = if program.starts_with("bin/") { self.dir.join(program) } else { PathBuf::from(program) };
        let mut command = Command::new(&program);
        // Upstream programs name themselves in their messages.
        std::os::unix::process::CommandExt::arg0(&mut command, program.file_name().unwrap_or_default());
        command.args(arguments).current_dir(&self.dir).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        if case.script {
            let words: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            command.env("RUN", format!("env {}", words.join(" "))).env("HPATCH", paths::tool("hpatch")?);
            command.env_remove("LIVE");
            if let Some(patch) = patch {
                command.env("LIVE", patch.bundle).env("ID", patch.id);
            }
        } else {
            command.envs(settings);
        }
        command.stdin(match &case.input {
            Some(input) => Stdio::from(File::open(input)?),
            None => Stdio::null(),
        });
        command.stdout(File::create(self.dir.join("log/stdout"))?).stderr(File::create(self.dir.join("log/stderr"))?);
        start(&mut command)
    }

    fn finish(&self, case: &Case, mut child: Child) -> Result<Outcome> {
        let status = wait(&mut child, case.limit)?;
        let end = match status {
            None => "no end".to_owned(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or_default()),
            },
        };
        let mut stdout = fs::read(self.dir.join("log/stdout"))?;
        let mut stderr = fs::read(self.dir.join("log/stderr"))?;
        if status.is_none() {
            // How far it came depends on the machine.
            (stdout, stderr) = (Vec::new(), Vec::new());
        }
        if !case.timing.is_empty() {
            [stdout, stderr] = [stdout, stderr].map(|stream| without_lines(&stream, case.timing.as_bytes()));
        }
        let stderr = without_line_numbers(&stderr);
        Ok(Outcome { end, stdout, stderr, file: self.output()?.and_then(|out| fs::read(out).ok()) })
    }

    /// `work/out`, with whatever ending.
    fn output(&self) -> Result<Option<PathBuf>> {
        let mut files = fs::read_dir(self.dir.join("work"))?.collect::<std::io::Result<Vec<_>>>()?;
        files.sort_by_key(|entry| entry.file_name());
        let mut paths = files.into_iter().map(|entry| entry.path());
        Ok(paths.find(|path| path.file_stem().is_some_and(|stem| stem == "out")))
    }
}

/// Source lines in messages of `assert` and its like: a function that differs in nothing else is left as it is, and tells the old one.
fn without_line_numbers(stream: &[u8]) -> Vec<u8> {
    static NUMBERS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(\.(?:c|cc|cpp|cxx|h|hpp)):[0-9]+").expect("a regular expression"));
    NUMBERS.replace_all(stream, &b"$1:LINE"[..]).into_owned()
}

fn without_lines(stream: &[u8], text: &[u8]) -> Vec<u8> {
    let lines = stream.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| !line.windows(text.len()).any(|part| part == text)).flatten().copied().collect()
}

/// Starts a program. One that was just copied may still be open for writing in a child that another thread is starting (execve(2), ETXTBSY).
fn start(command: &mut Command) -> Result<Child> {
    let begin = Instant::now();
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && begin.elapsed() < INPUT_LIMIT => {
                std::thread::sleep(Duration::from_millis(1));
            }
            spawned => {
                return spawned.map_err(|error| Failure(format!("cannot start {}: {error}", process::show(command))));
            }
        }
    }
}

/// Waits for the end; at the limit the process is killed and there is no status.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(20));
    }
}

/// Waits until the process has stopped itself.
fn wait_stopped(child: &mut Child) -> Result<()> {
    let start = Instant::now();
    loop {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        match state {
            Some('T') => return Ok(()),
            Some('Z') | None => fail!("the program ended before it could be looked at"),
            _ => {}
        }
        check!(start.elapsed() < SUITE_LIMIT, "the program did not come to its end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets a process that stopped itself go on.
fn resume(child: &Child) -> Result<()> {
    run_ok(Command::new("kill").args(["-CONT", &child.id().to_string()]), INPUT_LIMIT)?;
    Ok(())
}

/// Fails unless the bundle is live in the process.
fn live(pid: u32, id: &str) -> Result<()> {
    let status = crate::target::hpatch("status", pid, &[])?.expect(0)?;
    let wanted = format!("{id} live");
    check!(status.text().contains(&wanted), "the bundle isn't live: {}", status.describe());
    Ok(())
}

/// A library that stops its process before or after `main`, as `HOLD` says, so that it can be patched and looked at there.
fn stopper() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let folder = paths::scratch()?.join("corpus-run");
        fs::create_dir_all(&folder)?;
        let source = folder.join("stopper.c");
        let text = "#include <signal.h>\n#include <stdlib.h>\n#include <string.h>\n\
                    static void hold(const char *where) { const char *at = getenv(\"HOLD\"); if (at && strstr(at, where)) raise(SIGSTOP); }\n\
                    __attribute__((constructor)) static void start(void) { hold(\"start\"); }\n\
                    __attribute__((destructor)) static void end(void) { hold(\"end\"); }\n";
        fs::write(&source, text)?;
        let library = folder.join("stopper.so");
        run_ok(Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source), SUITE_LIMIT)?;
        Ok(library)
    });
    match built {
        Ok(library) => Ok(library),
        Err(failure) => fail!("{failure}"),
    }
}
