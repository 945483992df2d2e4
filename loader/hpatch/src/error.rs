//! What the command says when it can't do what was asked: a stable code, a reason, an exit status.

use std::fmt::Write as _;
use std::io;

use patchfmt::Code;
pub use patchfmt::ExitCode as Exit;
pub use patchfmt::codes as code;

use crate::shown::Shown;
use crate::target::procfs;

/// A failure with everything that the operator needs.
#[derive(Debug)]
pub struct Error {
    pub code: Code,
    pub exit: Exit,
    pub title: String,
    pub notes: Vec<String>,
    pub help: Option<String>,
    /// Extra members for `--json`.
    pub json: serde_json::Map<String, serde_json::Value>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(code: Code, exit: Exit, title: impl Into<String>) -> Self {
        Self { code, exit, title: title.into(), notes: Vec::new(), help: None, json: serde_json::Map::new() }
    }

    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// An operating system failure while doing `what`.
    pub fn io(what: impl Into<String>, error: &io::Error) -> Self {
        Self::new(code::READ_FAILED, Exit::Io, format!("{}: {error}", what.into()))
    }

    pub fn internal(what: impl Into<String>) -> Self {
        Self::new(code::INTERNAL, Exit::Internal, what)
    }

    /// The text for a terminal.
    pub fn render(&self) -> String {
        let mut s = format!("error[{}]: {}\n", self.code, Shown(&self.title));
        for n in &self.notes {
            let _ = writeln!(s, "  = {}", Shown(n));
        }
        if let Some(h) = &self.help {
            let _ = writeln!(s, "  = help: {}", Shown(h));
        }
        s
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, Shown(&self.title))
    }
}

impl std::error::Error for Error {}

/// The refusal when somebody else traces the target.
pub fn traced(pid: i32, tracer: i32) -> Error {
    let who = procfs::text(format!("/proc/{tracer}/comm")).unwrap_or_default();
    Error::new(code::TRACED, Exit::Busy, format!("process {pid} is traced by {} (pid {tracer})", who.trim()))
        .help("end the debugger or tracer, then try again")
}
