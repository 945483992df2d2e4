//! What the thread-local variables of a patch begin with, for the threads that run already.

use crate::check::scan::{Hit, Use};
use crate::target::mem::Mem;
use crate::trace::stop::{Place, Tracee};
use crate::write::Failed;

/// Variables of one payload.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Distance from the thread pointer, two's complement.
    pub at: u64,
    pub first: Vec<u8>,
}

/// Threads that stand still without telling their thread pointer: not every way to stop them does.
pub fn unreachable<'a>(threads: impl Iterator<Item = &'a Tracee>) -> impl Iterator<Item = Hit> {
    let silent = threads.filter(|t| t.place == Place::Parked || t.regs.fs_base == 0);
    silent.map(|t| Hit { tid: t.tid, how: Use::Unreadable, addr: t.regs.rsp, func: u32::MAX })
}

/// Gives each thread its variables, and reads them back. Nobody uses them before the switch, so there is nothing to take back.
pub fn begin<'a>(mem: &Mem, begins: &[Begin], threads: impl Iterator<Item = &'a Tracee>) -> Result<(), Failed> {
    if begins.is_empty() {
        return Ok(());
    }
    // Several threads may share one.
    let mut pointers: Vec<u64> = threads.map(|t| t.regs.fs_base).collect();
    pointers.sort_unstable();
    pointers.dedup();
    for pointer in pointers {
        // The psABI (3.4.2) has its own address there.
        let own = mem.read_u64(pointer).map_err(|e| Failed::Io(pointer, e))?;
        if own != pointer {
            return Err(Failed::Differs { addr: pointer, found: own.to_le_bytes().to_vec() });
        }
        for block in begins {
            let at = pointer.wrapping_add(block.at);
            mem.write(at, &block.first).map_err(|e| Failed::Io(at, e))?;
            let found = mem.read_vec(at, block.first.len()).map_err(|e| Failed::Io(at, e))?;
            if found != block.first {
                return Err(Failed::Differs { addr: at, found });
            }
        }
    }
    Ok(())
}
