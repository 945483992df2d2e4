//! Two runs of the same scenario at once would each remove what the other one builds: they take turns.

use crate::{Result, fail, paths};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread;
use std::time::{Duration, Instant};

/// No scenario takes longer.
const LONGEST: Duration = Duration::from_secs(900);

/// A scenario's turn. It ends with the value, or with the process.
#[derive(Debug)]
pub struct Turn {
    _name: UnixDatagram,
}

impl Turn {
    /// Waits until no other run is at the scenario of that name in the same scratch space.
    pub fn wait(scenario: &str) -> Result<Turn> {
        let mut hasher = DefaultHasher::new();
        (paths::scratch()?, scenario).hash(&mut hasher);
        let address = SocketAddr::from_abstract_name(format!("hpatch-scenario/{:016x}", hasher.finish()))?;
        let begun = Instant::now();
        loop {
            match UnixDatagram::bind_addr(&address) {
                Ok(name) => return Ok(Turn { _name: name }),
                Err(error) if error.kind() == ErrorKind::AddrInUse && begun.elapsed() < LONGEST => {
                    thread::sleep(Duration::from_millis(100));
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    fail!("another run has been at `{scenario}` in the same tree for {} s", LONGEST.as_secs());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_for_the_first() {
        let first = Turn::wait("a test of turns").expect("nobody else");
        let other = Turn::wait("another test of turns").expect("nobody else");
        let begun = Instant::now();
        let ends = thread::spawn(move || {
            thread::sleep(Duration::from_millis(250));
            drop(first);
        });
        drop(Turn::wait("a test of turns").expect("the first one's end"));
        assert!(begun.elapsed() >= Duration::from_millis(250));
        ends.join().expect("no panic");
        drop(other);
    }
}
