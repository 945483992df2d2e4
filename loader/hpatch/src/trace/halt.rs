//! The stop of every thread, whichever way it is made.

use std::io;
use std::time::Duration;

use super::door;
use super::rendezvous::{Parked, Rendezvous};
use super::stop::{Place, StopError, Stopped, Stopper, Timing, Tracee};
use crate::check::stacks::Judged;
use crate::error::{Error, Result};
use crate::target::Target;

/// Room and rules for stops of one process.
#[derive(Debug)]
pub enum Halter {
    Tracer(Stopper),
    Signals(Rendezvous),
}

impl Halter {
    /// `judged`: what is known of the modules to be patched.
    pub fn new(target: &Target, deadline: Duration, judged: &Judged) -> Result<Self> {
        if door::by_signals() {
            return Rendezvous::open(target, deadline, judged).map(Self::Signals);
        }
        let timer = |e: io::Error| Error::io("cannot make a timer", &e);
        Stopper::new(target, deadline).map(Self::Tracer).map_err(timer)
    }

    /// Stops the target. On an error everybody goes on.
    pub fn stop<'a>(&'a mut self, target: &'a Target) -> std::result::Result<Halt<'a>, StopError> {
        match self {
            Self::Tracer(s) => s.stop(target).map(Halt::Traced),
            Self::Signals(s) => s.stop(target).map(Halt::Parked),
        }
    }

    /// After the last stop.
    pub fn close(&self, target: &Target) {
        if let Self::Signals(s) = self {
            s.close(target);
        }
    }
}

/// A stopped process. Dropping it lets the process run.
#[derive(Debug)]
pub enum Halt<'a> {
    Traced(Stopped<'a>),
    Parked(Parked<'a>),
}

impl Halt<'_> {
    fn tracees(&self) -> &[Tracee] {
        match self {
            Self::Traced(s) => &s.tracees[..],
            Self::Parked(s) => s.tracees(),
        }
    }

    /// Threads whose code and stack must be checked.
    pub fn threads(&self) -> impl Iterator<Item = &Tracee> + Clone {
        self.tracees().iter().filter(|t| matches!(t.place, Place::Stopped | Place::Parked))
    }

    /// A thread that stands still.
    pub fn any_tid(&self, target: &Target) -> i32 {
        self.threads().next().map_or(target.pid, |t| t.tid)
    }

    /// How long the thread that was caught first has been held.
    pub fn held(&self) -> Duration {
        match self {
            Self::Traced(s) => s.held(),
            Self::Parked(_) => Duration::ZERO,
        }
    }

    pub fn release(&mut self) -> Timing {
        match self {
            Self::Traced(s) => s.release(),
            Self::Parked(s) => s.release(),
        }
    }
}
