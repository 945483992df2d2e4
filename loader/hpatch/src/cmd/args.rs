//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::switch::Options;

#[derive(Debug, Parser)]
#[command(name = "hpatch", version, about = "Apply, revert and inspect hot patches in running processes")]
pub struct Cli {
    /// Say it in JSON.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
pub struct Pid {
    /// The process.
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: i32,
}

/// One process, or every one that runs a program.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The process.
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
    /// Every process that has the build with this build-id mapped.
    #[arg(long, value_name = "BUILD-ID", value_parser = build_id)]
    pub all: Option<BuildId>,
    /// Every process that was started from this file, also when the file was replaced since.
    #[arg(long, value_name = "PATH")]
    pub exe: Option<PathBuf>,
}

/// A GNU build-id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildId(pub Vec<u8>);

fn build_id(text: &str) -> Result<BuildId, String> {
    let digits = text.as_bytes();
    if !digits.iter().all(u8::is_ascii_hexdigit)
        || !digits.len().is_multiple_of(2)
        || !(16..=64).contains(&digits.len())
    {
        return Err("a build-id has 16 to 64 hexadecimal digits".to_owned());
    }
    let byte = |pair: &[u8]| pair.iter().fold(0, |n, d| n << 4 | (*d as char).to_digit(16).unwrap_or(0) as u8);
    Ok(BuildId(digits.chunks(2).map(byte).collect()))
}

#[derive(Debug, Default, Args)]
pub struct Applying {
    /// Take the place of every bundle that is live, in one stop. Bundles that the new one says it supersedes give way in any case.
    #[arg(long)]
    pub replace: bool,
    /// Also unmap the code and data of the bundles that give way. Only when nothing in the process can have kept a pointer into them.
    #[arg(long)]
    pub unmap: bool,
    /// Apply what the process's store has for libraries that were loaded since it started.
    #[arg(long, conflicts_with_all = ["bundle", "replace", "unmap"])]
    pub pending: bool,
    /// Add the patch's functions to /tmp/perf-PID.map, where perf looks for names.
    #[arg(long)]
    pub perf_map: bool,
}

#[derive(Debug, Default, Args)]
pub struct Switching {
    /// Seconds until the command gives up on code that stays in use.
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    pub timeout: f64,
    /// Go on although the target has a seccomp filter that can't be suspended.
    #[arg(long)]
    pub allow_seccomp: bool,
    /// Don't search for suspended stacks in a program with coroutines: what was found is known to be left over from one that ended.
    #[arg(long)]
    pub ignore_suspended: bool,
}

impl Switching {
    pub fn options(&self) -> Options {
        Options {
            timeout: Duration::from_secs_f64(self.timeout),
            search_suspended: !self.ignore_suspended,
            ..Options::default()
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let v: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=86_400.0).contains(&v) { Ok(v) } else { Err("must lie between 0 and 86400".to_owned()) }
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a program with the loader preloaded.
    Run {
        /// Bundles to apply before `main`.
        #[arg(long, value_name = "DIR")]
        store: Option<PathBuf>,
        /// Public keys to trust.
        #[arg(long, value_name = "DIR")]
        trust: Option<PathBuf>,
        /// A real-time signal (34 to 64) that the program doesn't use: for ways into it where ptrace is refused.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(34..=64))]
        signal: Option<u8>,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Apply a bundle to a running process, or to all that run a program.
    Apply {
        #[command(flatten)]
        which: Which,
        /// The bundle.
        #[arg(required_unless_present = "pending")]
        bundle: Option<PathBuf>,
        #[command(flatten)]
        how: Applying,
        #[command(flatten)]
        switching: Switching,
    },
    /// Take a bundle back.
    Revert {
        #[command(flatten)]
        which: Which,
        /// The bundle's id.
        id: String,
        /// Also unmap the patch's code and data, now or of a bundle that was reverted before. Only when nothing in the process can have kept a
        /// pointer into them.
        #[arg(long, conflicts_with = "ignore_suspended")]
        unmap: bool,
        #[command(flatten)]
        switching: Switching,
    },
    /// Show what is applied, in one process or in all that carry a loader.
    Status {
        #[arg(long, value_name = "P")]
        pid: Option<i32>,
    },
    /// List the functions that are replaced in a process.
    List {
        #[command(flatten)]
        pid: Pid,
    },
    /// Show which threads use code that a bundle has replaced, or brought.
    Blocked {
        #[command(flatten)]
        pid: Pid,
    },
    /// Read every changed byte back and compare it with what was written.
    Verify {
        #[command(flatten)]
        pid: Pid,
    },
    /// Take back what a killed command left half-way, or end it; in forks of the process, too.
    Recover {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        switching: Switching,
    },
    /// Bring the loader into a process that wasn't started with it.
    Attach {
        #[command(flatten)]
        pid: Pid,
        /// Public keys to trust.
        #[arg(long, value_name = "DIR")]
        trust: Option<PathBuf>,
        #[arg(long)]
        allow_seccomp: bool,
    },
    /// What the loader starts inside of a process: see [`super::inside`].
    #[command(hide = true)]
    Helper {
        #[arg(long)]
        at: u64,
        #[arg(long)]
        length: u64,
    },
}

impl Verb {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::Apply { .. } => "apply",
            Self::Revert { .. } => "revert",
            Self::Status { .. } => "status",
            Self::List { .. } => "list",
            Self::Blocked { .. } => "blocked",
            Self::Verify { .. } => "verify",
            Self::Recover { .. } => "recover",
            Self::Attach { .. } => "attach",
            Self::Helper { .. } => "helper",
        }
    }

    pub fn allows_seccomp(&self) -> bool {
        match self {
            Self::Apply { switching, .. } | Self::Revert { switching, .. } | Self::Recover { switching, .. } => {
                switching.allow_seccomp
            }
            Self::Attach { allow_seccomp, .. } => *allow_seccomp,
            _ => false,
        }
    }

    /// Whether the command changes a process, so that its own death half-way matters.
    pub fn switches(&self) -> Option<i32> {
        match self {
            Self::Apply { which, .. } | Self::Revert { which, .. } | Self::Recover { which, .. } => which.pid,
            _ => None,
        }
    }

    /// How it switches.
    pub fn switching(&self) -> Option<&Switching> {
        match self {
            Self::Apply { switching, .. } | Self::Revert { switching, .. } | Self::Recover { switching, .. } => {
                Some(switching)
            }
            _ => None,
        }
    }
}
