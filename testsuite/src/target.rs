//! A scenario program as a running process that answers commands over a pipe.

use crate::process::{self, Output, tail};
use crate::{Failure, Result, fail, paths};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Longest wait for an answer; a program that needs longer hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// How a program is started.
#[derive(Debug, Default, Clone)]
pub struct Launch {
    /// With the loader preloaded, trusting the keys of this directory.
    pub trust: Option<PathBuf>,
    /// Bundles to be applied before `main`.
    pub store: Option<PathBuf>,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
}

impl Launch {
    pub fn trusting(trust: PathBuf) -> Launch {
        Launch { trust: Some(trust), ..Launch::default() }
    }

    /// The command that starts `program` so.
    pub fn command(&self, program: &Path) -> Result<Command> {
        let mut command = match &self.trust {
            None => Command::new(program),
            Some(trust) => {
                let mut command = Command::new(paths::tool("hpatch")?);
                command.env("HPATCH_TRUST", trust).arg("run");
                if let Some(store) = &self.store {
                    command.arg("--store").arg(store);
                }
                command.arg("--").arg(program);
                command
            }
        };
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// A running scenario program. It is killed when the value goes out of scope.
#[derive(Debug)]
pub struct Target {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    complaints: Arc<Mutex<String>>,
    trust: PathBuf,
}

impl Target {
    pub fn start(program: &Path, launch: &Launch) -> Result<Target> {
        Target::start_with(program, launch, "ready")
    }

    /// Starts a program whose first command is `greeting`.
    pub fn start_with(program: &Path, launch: &Launch, greeting: &str) -> Result<Target> {
        let mut command = launch.command(program)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure(format!("cannot start {}: {error}", process::show(&command))))?;
        let (send, answers) = channel();
        if let Some(stream) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stream).lines() {
                    let Ok(line) = line else { break };
                    if send.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let complaints = Arc::new(Mutex::new(String::new()));
        if let Some(stream) = child.stderr.take() {
            let complaints = Arc::clone(&complaints);
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(std::result::Result::ok) {
                    if let Ok(mut text) = complaints.lock() {
                        text.push_str(&line);
                        text.push('\n');
                    }
                }
            });
        }
        let mut target = Target {
            input: child.stdin.take(),
            child,
            answers,
            complaints,
            trust: launch.trust.clone().unwrap_or_default(),
        };
        // The driver's first answer: from here on its `main` runs.
        target.ask(greeting)?;
        Ok(target)
    }

    /// Starts `program` without the loader and brings that in when it runs.
    pub fn attached(program: &Path, launch: &Launch) -> Result<Target> {
        let mut target = Target::start(program, &Launch { trust: None, ..launch.clone() })?;
        target.trust = launch.trust.clone().unwrap_or_default();
        hpatch("attach", target.pid(), &["--trust", &target.trust.to_string_lossy()])?.expect(0)?;
        Ok(target)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command and gives the lines of its answer joined with ` | `.
    pub fn ask(&mut self, command: &str) -> Result<String> {
        self.send(command)?;
        self.answer(command)
    }

    /// Sends a command without waiting for its answer.
    pub fn send(&mut self, command: &str) -> Result<()> {
        let Some(input) = &mut self.input else { fail!("the target's input is closed") };
        // One write: a target that reads its input by `read` would else take the text without the end of its line.
        if let Err(error) = input.write_all(format!("{command}\n").as_bytes()).and_then(|()| input.flush()) {
            return Err(self.lost(&format!("cannot send `{command}`: {error}")));
        }
        Ok(())
    }

    /// Waits for the answer to a command that was sent before.
    pub fn answer(&mut self, command: &str) -> Result<String> {
        let mut lines = Vec::new();
        loop {
            match self.answers.recv_timeout(ANSWER_LIMIT) {
                Ok(line) if line == "." => return Ok(lines.join(" | ")),
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Timeout) => return Err(self.lost(&format!("no answer to `{command}`"))),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.lost(&format!("the target ended at `{command}`")));
                }
            }
        }
    }

    /// Everything the target wrote to its standard error.
    pub fn complaints(&self) -> String {
        self.complaints.lock().map(|text| text.clone()).unwrap_or_default()
    }

    /// Waits until it has written all these words to its standard error: an answer may be read before what was written earlier there.
    pub fn complains(&self, words: &[&str]) -> Result<()> {
        let start = std::time::Instant::now();
        while let Some(missing) = words.iter().find(|word| !self.complaints().contains(**word)) {
            if start.elapsed() > ANSWER_LIMIT {
                fail!("nothing of `{missing}` on its standard error:\n{}", tail(&self.complaints(), 20));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn lost(&mut self, what: &str) -> Failure {
        thread::sleep(Duration::from_millis(50));
        let end = match self.child.try_wait() {
            Ok(Some(status)) => format!("{status}"),
            _ => "it still runs".to_owned(),
        };
        Failure(format!("{what} ({end})\n{}", tail(&self.complaints(), 20)))
    }

    pub fn apply(&self, bundle: &Path) -> Result<Output> {
        self.apply_within(bundle, 10)
    }

    /// `hpatch apply` with a deadline in seconds.
    pub fn apply_within(&self, bundle: &Path, seconds: u32) -> Result<Output> {
        apply(self.pid(), bundle, seconds, &self.trust)
    }

    pub fn revert(&self, id: &str) -> Result<Output> {
        revert(self.pid(), id, 10)
    }

    /// `hpatch revert --unmap`: nothing of the patch stays.
    pub fn revert_and_unmap(&self, id: &str) -> Result<Output> {
        hpatch("revert", self.pid(), &[id, "--unmap"])
    }

    pub fn verify(&self) -> Result<Output> {
        hpatch("verify", self.pid(), &[])
    }

    /// Waits for an end that somebody else brings about; whether it was by SIGKILL.
    pub fn killed(mut self) -> Result<bool> {
        use std::os::unix::process::ExitStatusExt;
        Ok(self.end()?.signal() == Some(9))
    }

    /// Waits for an end that it comes to by itself.
    pub fn end(&mut self) -> Result<ExitStatus> {
        let start = std::time::Instant::now();
        while start.elapsed() < ANSWER_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(1));
        }
        fail!("the target did not end")
    }

    /// Waits for an end that it comes to by itself, and gives all that it wrote to its standard error.
    pub fn last_words(mut self) -> Result<String> {
        self.end()?;
        // Whoever reads it lets go of the text at its end.
        let start = std::time::Instant::now();
        while Arc::strong_count(&self.complaints) > 1 && start.elapsed() < ANSWER_LIMIT {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(self.complaints())
    }

    /// Ends the program's input and waits for its end.
    pub fn finish(mut self) -> Result<()> {
        self.input = None;
        let start = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    fail!("the target ended with {status}\n{}", tail(&self.complaints(), 20));
                }
                return Ok(());
            }
            if start.elapsed() > ANSWER_LIMIT {
                fail!("the target did not end");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `hpatch apply` on any process.
pub fn apply(pid: u32, bundle: &Path, seconds: u32, trust: &Path) -> Result<Output> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.arg("apply").arg("--pid").arg(pid.to_string()).arg(bundle);
    command.arg("--timeout").arg(seconds.to_string()).env("HPATCH_TRUST", trust);
    process::run(&mut command, Duration::from_secs(u64::from(seconds) + 30))
}

/// `hpatch revert` on any process.
pub fn revert(pid: u32, id: &str, seconds: u32) -> Result<Output> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.arg("revert").arg("--pid").arg(pid.to_string()).arg(id).arg("--timeout").arg(seconds.to_string());
    process::run(&mut command, Duration::from_secs(u64::from(seconds) + 30))
}

/// Another verb of `hpatch` on a process.
pub fn hpatch(verb: &str, pid: u32, more: &[&str]) -> Result<Output> {
    let mut command = Command::new(paths::tool("hpatch")?);
    command.arg(verb).arg("--pid").arg(pid.to_string()).args(more);
    process::run(&mut command, Duration::from_secs(30))
}
