//! How long something is waited for, in time during which this program could look.

use std::io;
use std::time::{Duration, Instant};

use super::ptrace::{self, Status};

/// The longest step between two looks that counts. A machine that stood still (a suspended virtual machine, a stalled disk under swap) gave
/// the other side no time either.
const STEP: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
pub struct Patience {
    left: Duration,
    looked: Instant,
}

impl Patience {
    pub fn new(most: Duration) -> Self {
        Self { left: most, looked: Instant::now() }
    }

    /// Whether it has come to its end. Ask after each look.
    pub fn is_over(&mut self) -> bool {
        let now = Instant::now();
        self.left = self.left.saturating_sub((now - self.looked).min(STEP));
        self.looked = now;
        self.left.is_zero()
    }
}

/// Waits for one event of `tid`; `None` when there was none in time.
pub fn wait(tid: i32, most: Duration) -> io::Result<Option<Status>> {
    let mut patience = Patience::new(most);
    let mut nap = Duration::from_micros(20);
    loop {
        if let Some(s) = ptrace::wait(tid, libc::WNOHANG)? {
            return Ok(Some(s));
        }
        if patience.is_over() {
            return Ok(None);
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_counts_as_one_step() {
        let mut p = Patience::new(Duration::from_millis(120));
        for over in [false, false, true] {
            // As if the last look had been long ago.
            p.looked =
                Instant::now().checked_sub(Duration::from_secs(30)).expect("the clock is past its first seconds");
            assert_eq!(p.is_over(), over);
        }
    }
}
