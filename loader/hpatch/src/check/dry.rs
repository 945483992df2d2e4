//! The look before the stop: where sleeping threads are, from files, without disturbing anybody.

use std::time::Duration;

use super::forbidden::Forbidden;
use super::scan::{Hit, Lookup, Scanner, View};
use crate::error::Result;
use crate::target::Target;
use crate::target::procfs::{self, Blocked};

/// Where the sleeping threads are.
pub fn sleepers(target: &Target, tasks: &[i32]) -> Vec<View> {
    let mut views = Vec::with_capacity(tasks.len());
    for &tid in tasks {
        if let Ok(Blocked::At { sp, pc, .. }) = procfs::blocked_at(target.pid, tid)
            && sp != 0
        {
            views.push(View { tid, pc, sp, fs_base: 0, regs: None });
        }
    }
    views
}

/// Whether a thread is in a call that moves bytes and would end early. One that runs may be on its way through such a call: it is looked at again.
pub fn transfers(target: &Target) -> Result<bool> {
    const LOOKS: u32 = 10;
    const BETWEEN: Duration = Duration::from_millis(2);
    for _ in 0..LOOKS {
        let mut runs = false;
        for tid in target.tasks()? {
            match procfs::blocked_at(target.pid, tid) {
                Ok(Blocked::Running) => runs = true,
                Ok(Blocked::At { nr, .. }) if nr >= 0 && procfs::is_transferring(target.pid, tid) => return Ok(true),
                _ => {}
            }
        }
        if !runs {
            break;
        }
        std::thread::sleep(BETWEEN);
    }
    Ok(false)
}

/// Findings about threads that sleep, which a stop would most likely meet again. Threads that run aren't looked at, so an empty
/// answer promises nothing.
pub fn look(target: &Target, tasks: &[i32], scanner: &mut Scanner, forbidden: &Forbidden) -> Vec<Hit> {
    let views = sleepers(target, tasks);
    let listed = if Lookup::has_query(&target.maps_file) { None } else { target.maps().ok() };
    let lookup = Lookup { maps_file: &target.maps_file, listed: listed.as_deref() };
    let limit = std::mem::replace(&mut scanner.limit, 1 << 20);
    scanner.check(views.iter().copied(), target.live_tid, &lookup, forbidden);
    scanner.limit = limit;
    scanner.hits.iter().copied().filter(|h| h.addr != 0 && h.func != u32::MAX).collect()
}
