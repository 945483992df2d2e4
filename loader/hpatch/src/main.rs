//! The operator's command.

use std::process::ExitCode;

use clap::Parser;
use hpatch::cmd::args::{Cli, Verb, Which};
use hpatch::cmd::{self, Report};
use hpatch::error::{Error, Exit, Result};
use hpatch::privilege;

fn work(verb: &Verb) -> Result<Report> {
    match verb {
        Verb::Run { store, trust, signal, command } => {
            cmd::run::run(store.as_deref(), trust.as_deref(), *signal, command)
        }
        Verb::Apply { which: Which { pid: Some(pid), .. }, bundle, how, switching } => match bundle {
            Some(bundle) => cmd::apply::run(*pid, bundle, how, switching),
            None => cmd::pending::run(*pid, how, switching),
        },
        Verb::Revert { which: Which { pid: Some(pid), .. }, id, unmap, switching } => {
            cmd::revert::run(*pid, id, *unmap, switching)
        }
        Verb::Recover { which: Which { pid: Some(pid), .. }, switching } => cmd::recover::run(*pid, switching),
        Verb::Apply { which, .. } | Verb::Revert { which, .. } | Verb::Recover { which, .. } => {
            cmd::fleet::run(verb.name(), which)
        }
        Verb::Status { pid: Some(pid) } => cmd::show::status(*pid),
        Verb::Status { pid: None } => cmd::show::status_all(),
        Verb::List { pid } => cmd::show::list(pid.pid),
        Verb::Blocked { pid } => cmd::show::blocked(pid.pid),
        Verb::Verify { pid } => cmd::show::verify(pid.pid),
        Verb::Attach { pid, trust, allow_seccomp } => cmd::attach::run(pid.pid, trust.as_deref(), *allow_seccomp),
        Verb::Helper { .. } => Err(Error::internal("a helper helps nobody but the loader")),
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(c) => c,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { Exit::Usage as u8 } else { 0 });
        }
    };
    if let Err(e) = privilege::check() {
        return ExitCode::from(cmd::finish(cli.verb.name(), cli.json, Err(e)) as u8);
    }
    // A program that is started gets all that this one got.
    if !matches!(cli.verb, Verb::Run { .. }) {
        cmd::supervise::own_signals();
    }
    let finish = |outcome| cmd::finish(cli.verb.name(), cli.json, outcome);
    ExitCode::from(match (&cli.verb, cli.verb.switches()) {
        (Verb::Helper { at, length }, _) => cmd::inside::help(*at, *length, work),
        (verb, Some(pid)) => cmd::supervise::run(pid, verb, || finish(cmd::ways::run(pid, verb, || work(verb)))),
        (verb, None) => finish(work(verb)) as u8,
    })
}
