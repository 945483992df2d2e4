//! Running a program to its end within a time limit.

use crate::{Failure, Result, fail};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
}

impl Output {
    /// The exit code, `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Both streams: diagnostics may come on either.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails unless the exit code is the one expected.
    pub fn expect(self, code: i32) -> Result<Output> {
        if self.code() != Some(code) {
            fail!("expected exit code {code} of {}", self.describe());
        }
        Ok(self)
    }

    /// The command, how it ended, and the end of what it said.
    pub fn describe(&self) -> String {
        let end = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no exit code".to_owned(),
        };
        format!("{}: {end} after {:.1} s\n{}", self.command, self.elapsed.as_secs_f64(), tail(&self.text(), 40))
    }
}

/// The last lines of a text, indented.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    all[from..].iter().map(|line| format!("    {line}\n")).collect()
}

/// Runs a command to its end; it is killed at `limit`, which is a failure.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    let shown = show(command);
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure(format!("cannot start {shown}: {error}")))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let mut pause = Duration::from_micros(200);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            // Children of it may live on, and hold the stream open.
            thread::sleep(Duration::from_millis(200));
            let said = if stderr.is_finished() { stderr.join().unwrap_or_default() } else { String::new() };
            fail!("{shown}: still running after {} s\n{}", limit.as_secs(), tail(&said, 20));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    Ok(Output {
        command: shown,
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
        elapsed: start.elapsed(),
    })
}

/// Runs a command to its end and fails unless it ends well.
pub fn run_ok(command: &mut Command, limit: Duration) -> Result<Output> {
    run(command, limit)?.expect(0)
}

fn drain(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // A stream that breaks ends what can be shown; the exit status says the rest.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A command line as one would type it, programs by their file name.
pub fn show(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut text = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
