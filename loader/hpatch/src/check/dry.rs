//! The look before the stop: where sleeping threads are, from files, without disturbing anybody.

use super::forbidden::Forbidden;
use super::scan::{Hit, Lookup, Scanner, View};
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
