//! Whose bytes stand where the old build's should be: after the loader has refused a module because of them, this says where they are and what
//! they look like.

use std::fmt::Write as _;

use crate::error::Error;
use crate::target::Target;
use crate::target::control::Patch;
use crate::target::source::Sources;
use hpatch_core::abi::RecordState;
use hpatch_core::payload::Payload;
use hpatch_core::report::Report;
use patchfmt::Bundle;

/// Differences that are said one by one.
const SHOWN: usize = 6;
/// Bytes that are compared at once.
const PIECE: u64 = 64 * 1024;
/// Differing bytes this close to one another are one change.
const NEAR: u64 = 8;

/// One stretch of other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    addr: u64,
    len: u64,
}

/// What the payloads of a bundle rely upon: build-id of the module, svma and size.
fn relied_upon(bundle: &[u8]) -> Option<Vec<(Vec<u8>, u64, u64)>> {
    let contents = Bundle::parse(bundle).ok()?.unverified().ok()?;
    let mut all = Vec::new();
    for module in contents.metadata().modules.iter() {
        let object = contents.payload(&module).ok()?.decode().ok()?;
        let payload = Payload::read(&object, &mut Report::default()).ok()?;
        let mut add = |svma: u64, size: u64| all.push((module.old_build_id.to_vec(), svma, size));
        payload.guards.iter().for_each(|g| add(g.svma.get(), g.size.get()));
        if payload.guards.is_empty() {
            payload.ranges.iter().for_each(|r| add(r.svma.get(), r.size.get()));
        }
    }
    Some(all)
}

/// Adds to `e` where what `bundle` relies upon differs from the files that are mapped, but for what the live bundles `records` wrote.
pub fn explain(target: &Target, records: &[Patch], bundle: &[u8], mut e: Error) -> Error {
    let Some(ranges) = relied_upon(bundle) else { return e };
    let mut sources = Sources::new(target);
    let mut changes = Vec::new();
    let mut unknown = false;
    for (build_id, svma, size) in ranges {
        for bias in sources.biases(&build_id) {
            let (mut at, end) = (bias.wrapping_add(svma), bias.wrapping_add(svma).saturating_add(size));
            while at < end {
                let len = (end - at).min(PIECE) as usize;
                match (target.mem.read_vec(at, len), sources.in_file(at, len)) {
                    (Ok(found), Some(wanted)) => compare(at, &found, wanted, records, &mut changes),
                    _ => unknown = true,
                }
                at += len as u64;
            }
        }
    }
    for c in changes.iter().take(SHOWN) {
        e = e.note(describe(target, &mut sources, *c));
    }
    if changes.len() > SHOWN {
        e = e.note(format!("and {} more places", changes.len() - SHOWN));
    }
    if changes.is_empty() && unknown {
        e = e.note("the module's file can't be read any more, so where it differs isn't known");
    }
    e.help("take the probe, breakpoint or other patch out of the process first")
}

/// Adds the stretches in which `found`, which lies at `at`, isn't `wanted`, unless a live bundle wrote them.
fn compare(at: u64, found: &[u8], wanted: &[u8], records: &[Patch], changes: &mut Vec<Change>) {
    if found == wanted {
        return;
    }
    let ours = |addr: u64| {
        let mut live = records.iter().filter(|p| p.is(RecordState::Live));
        live.any(|p| p.edits.iter().any(|e| (e.addr..e.end()).contains(&addr)))
    };
    for addr in (0..found.len().min(wanted.len())).filter(|&i| found[i] != wanted[i]).map(|i| at + i as u64) {
        match changes.last_mut().filter(|c| addr < c.addr + c.len + NEAR && addr >= c.addr) {
            _ if ours(addr) => {}
            Some(c) => c.len = addr + 1 - c.addr,
            None => changes.push(Change { addr, len: 1 }),
        }
    }
}

fn describe(target: &Target, sources: &mut Sources<'_>, c: Change) -> String {
    let shown = c.len.min(8) as usize;
    let found = target.mem.read_vec(c.addr, shown).unwrap_or_default();
    let wanted = sources.in_file(c.addr, shown).unwrap_or_default();
    let mut text = format!("{:#x}", c.addr);
    if let Some((name, offset)) = sources.function(c.addr) {
        let _ = write!(text, " ({name}+{offset:#x})");
    }
    let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    let _ = write!(text, ": {} instead of {}", hex(&found), hex(wanted));
    let more = if c.len > 8 { format!(" and so on, {} bytes", c.len) } else { String::new() };
    let what = match found[..] {
        [0xcc, ..] if c.len == 1 => ", a breakpoint or a probe",
        [0xe9 | 0xeb, ..] | [0xff, 0x25, ..] => ", a jump: another patch or hook",
        _ => "",
    };
    text + &more + what
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_stretches() {
        let mut changes = Vec::new();
        let wanted = [0u8; 64];
        let mut found = wanted;
        (found[3], found[7], found[40]) = (1, 1, 1);
        compare(0x1000, &found, &wanted, &[], &mut changes);
        assert_eq!(changes, [Change { addr: 0x1003, len: 5 }, Change { addr: 0x1028, len: 1 }]);
        compare(0x2000, &wanted, &wanted, &[], &mut changes);
        assert_eq!(changes.len(), 2);
    }
}
