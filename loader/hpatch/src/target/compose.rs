//! Several records that are switched in one stop, put together as one.

use std::collections::BTreeMap;

use hpatch_core::abi::{Func, Range, RecordState};
use patchfmt::payload::FUNC_IDLE;

use super::control::{Edit, Patch};
use crate::moves;

/// What becomes of another record in the same switch.
#[derive(Debug, Clone, Copy)]
pub struct Rider {
    pub state_addr: u64,
    pub before: RecordState,
    pub during: RecordState,
    pub after: RecordState,
}

/// One byte of the change.
struct Byte {
    old: u8,
    new: u8,
    func: u32,
    /// Bytes of one change stay together.
    change: usize,
}

/// Index of a function of a record whose first one gets the index `first`.
fn shifted(first: u32, func: u32) -> u32 {
    if func == u32::MAX { func } else { first + func }
}

/// The ranges of such a record.
fn ranges(first: u32, of: &[Range]) -> impl Iterator<Item = Range> + '_ {
    of.iter().map(move |r| Range { func: shifted(first, r.func), ..*r })
}

/// `patch`, whose places hold the bytes of `going` for now (the newest first), in their place: what they changed and it doesn't goes back to
/// what it was before them. The loader has counted their code among what must not be active.
pub fn in_place_of(mut patch: Patch, going: &[Patch], after: RecordState) -> Patch {
    let mut bytes: BTreeMap<u64, Byte> = BTreeMap::new();
    let mut change = 0;
    for g in going {
        let first = patch.funcs.len() as u32;
        patch.funcs.extend(g.funcs.iter().cloned());
        // What they stood in for runs again: who is in there matters where a killed command is taken back.
        patch.new_ranges.extend(ranges(first, &g.old_ranges));
        patch.new_sites.extend(&g.old_sites);
        for e in &g.edits {
            change += 1;
            let func = shifted(first, e.func);
            for (i, (old, new)) in e.old.iter().zip(&e.new).enumerate() {
                let byte = Byte { old: *new, new: *old, func, change };
                bytes.entry(e.addr + i as u64).and_modify(|b| b.new = *old).or_insert(byte);
            }
        }
        patch.riders.push(Rider {
            state_addr: g.state_addr(),
            before: RecordState::Live,
            during: RecordState::Reverting,
            after,
        });
    }
    let maps = going.iter().flat_map(|g| &g.units).map(|(u, _)| (u.map, u.map.saturating_add(u.map_len)));
    patch.former.extend(maps);
    patch.record.switches_stacks |= going.iter().fold(0, |all, g| all | g.record.switches_stacks);
    // First everything goes back to where it was before those that go.
    let back = going.iter().flat_map(|g| moves::back(&g.moves));
    patch.closes |= going.iter().any(|g| g.closes);
    patch.moves = back.chain(patch.moves.iter().copied()).collect();
    patch.detours.extend(going.iter().flat_map(|g| &g.detours));
    // Whose code a detour covers that goes while the new patch edits below it.
    let mut below: BTreeMap<usize, u32> = BTreeMap::new();
    for e in &patch.edits {
        change += 1;
        let edited = patch.funcs.get(e.func as usize).is_some_and(|f| f.0.edited());
        for (i, (old, new)) in e.old.iter().zip(&e.new).enumerate() {
            let byte = bytes.entry(e.addr + i as u64).or_insert(Byte { old: *old, new: *new, func: e.func, change });
            byte.new = *new;
            // A detour that goes is one change, whatever is edited below it: there the function is closed. It's the edited one's, whose
            // code must not be active when a killed command is taken back.
            let detour = patch.funcs.get(byte.func as usize).is_some_and(|f| f.0.replaced());
            match edited && detour {
                true => drop(below.insert(byte.change, e.func)),
                false => (byte.func, byte.change) = (e.func, change),
            }
        }
    }
    let mut edits: Vec<Edit> = Vec::new();
    let mut last = 0;
    for (addr, b) in bytes {
        match edits.last_mut().filter(|e| e.end() == addr && last == b.change) {
            Some(e) => {
                e.old.push(b.old);
                e.new.push(b.new);
            }
            None => {
                let func = below.get(&b.change).copied().unwrap_or(b.func);
                edits.push(Edit { addr, func, old: vec![b.old], new: vec![b.new] });
            }
        }
        last = b.change;
    }
    patch.edits = edits;
    patch
}

/// Live records that are reverted together: one bundle's copies. Their changes don't overlap.
pub fn together(mut records: Vec<Patch>) -> Option<Patch> {
    let mut all = records.pop()?;
    for r in records {
        let first = all.funcs.len() as u32;
        all.riders.push(Rider {
            state_addr: r.state_addr(),
            before: RecordState::Live,
            during: RecordState::Reverting,
            after: RecordState::Reverted,
        });
        all.edits.extend(r.edits.into_iter().map(|e| Edit { func: shifted(first, e.func), ..e }));
        all.new_ranges.extend(ranges(first, &r.new_ranges));
        all.new_sites.extend(r.new_sites);
        all.moves.extend(r.moves);
        all.closes |= r.closes;
        all.detours.extend(r.detours);
        all.record.switches_stacks |= r.record.switches_stacks;
        all.units.extend(r.units);
        all.funcs.extend(r.funcs);
    }
    all.edits.sort_by_key(|e| e.addr);
    all.new_ranges.sort_by_key(|r| r.start);
    all.new_sites.sort_unstable();
    Some(all)
}

/// Counts the code of other records that stands in for functions which have to be idle among the patch's: it reads the same constants.
pub fn with_replacements(mut patch: Patch, records: &[Patch]) -> Patch {
    for other in records.iter().filter(|o| o.addr != patch.addr && !o.is(RecordState::Reverted)) {
        let mut stands_in: BTreeMap<u32, u32> = BTreeMap::new();
        for (n, (f, name)) in (0u32..).zip(&other.funcs).filter(|(_, f)| !f.0.idle()) {
            if patch.funcs.iter().any(|(own, _)| own.idle() && own.entry == f.entry) {
                stands_in.insert(n, patch.funcs.len() as u32);
                let idle = Func { flags: f.flags | FUNC_IDLE, ..*f };
                patch.funcs.push((idle, format!("{name} ({})", other.id)));
            }
        }
        let Some(&any) = stands_in.values().next() else { continue };
        // Parts that belong to no function in particular may belong to that one.
        let func = |r: &Range| match other.funcs.get(r.func as usize) {
            Some(_) => stands_in.get(&r.func).copied(),
            None => Some(any),
        };
        let ranges: Vec<Range> = other.new_ranges.iter().filter_map(|r| Some(Range { func: func(r)?, ..*r })).collect();
        let returns = |site: &&u64| ranges.iter().any(|r| r.start < **site && **site <= r.end);
        patch.new_sites.extend(other.new_sites.iter().filter(returns));
        patch.new_ranges.extend(ranges);
    }
    patch.new_ranges.sort_by_key(|r| r.start);
    patch.new_sites.sort_unstable();
    patch
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use hpatch_core::abi::{Move, Record};
    use zerocopy::FromZeros;

    pub fn patch(addr: u64, edits: &[(u64, &str, &str)]) -> Patch {
        let edit = |(addr, old, new): &(u64, &str, &str)| Edit {
            addr: *addr,
            func: u32::MAX,
            old: old.as_bytes().to_vec(),
            new: new.as_bytes().to_vec(),
        };
        Patch {
            addr,
            record: Record::new_zeroed(),
            id: String::new(),
            units: Vec::new(),
            edits: edits.iter().map(edit).collect(),
            funcs: Vec::new(),
            old_ranges: Vec::new(),
            old_sites: Vec::new(),
            new_ranges: Vec::new(),
            new_sites: Vec::new(),
            riders: Vec::new(),
            threads: Vec::new(),
            keeps: Vec::new(),
            former: Vec::new(),
            moves: Vec::new(),
            detours: Vec::new(),
            closes: false,
        }
    }

    #[test]
    fn variables_go_home_before_they_move_on() {
        let moved = |from, to| Move { from, to, len: 4, both_ways: 1 };
        let reset = Move { both_ways: 0, ..moved(0x90, 0x10) };
        let with = |addr, moves| Patch { moves, ..patch(addr, &[]) };
        let all = in_place_of(
            with(0x3000, vec![moved(0x10, 0x300)]),
            &[with(0x2000, vec![moved(0x10, 0x200), reset])],
            RecordState::Reverted,
        );
        assert_eq!(all.moves, [moved(0x200, 0x10), moved(0x10, 0x300)]);
        assert_eq!(moves::back(&all.moves).collect::<Vec<_>>(), [moved(0x300, 0x10), moved(0x10, 0x200)]);
    }

    #[test]
    fn a_replacement_goes_back_to_the_bytes_before_all_that_go() {
        // "abcdefgh" at 0: one bundle made it "aXXdefgh", the next "aXYYefgh"; the new one writes "ZZ" at 2.
        let older = patch(0x1000, &[(1, "bc", "XX")]);
        let newer = patch(0x2000, &[(2, "Xd", "YY")]);
        let all = in_place_of(patch(0x3000, &[(2, "cd", "ZZ")]), &[newer, older], RecordState::Reverted);
        let changes: Vec<_> = all
            .edits
            .iter()
            .map(|e| (e.addr, String::from_utf8_lossy(&e.old), String::from_utf8_lossy(&e.new)))
            .collect();
        assert_eq!(changes, [(1, "X".into(), "b".into()), (2, "YY".into(), "ZZ".into())]);
        assert_eq!(all.riders.len(), 2);
    }

    #[test]
    fn a_function_that_was_replaced_and_is_edited_at_its_entry_is_closed() {
        let with = |mut p: Patch, replacement, detours| {
            let func = Func { entry: 100, replacement, ..Func::new_zeroed() };
            (p.funcs, p.detours, p.closes) = (vec![(func, String::new())], detours, true);
            p.edits.iter_mut().for_each(|e| e.func = 0);
            p
        };
        // `push $A; call ...`, of which the operand changes.
        let going = with(patch(0x1000, &[(100, "jAxyz", "JMPjj")]), 0x1100, vec![100]);
        let edited = with(patch(0x2000, &[(101, "A", "B")]), 100, Vec::new());
        let all = in_place_of(edited, &[going], RecordState::Reverted);
        let steps = crate::switch::steps(&all, true);
        let changes: Vec<_> = steps.all().iter().map(|s| (s.addr, s.func, s.from, s.to, s.gate)).collect();
        assert_eq!(changes, [(100, 0, &b"JMPjj"[..], &b"jBxyz"[..], Some(0))]);
    }

    #[test]
    fn who_is_in_another_bundles_code_for_an_idle_function_is_waited_for() {
        let func =
            |entry, replacement, flags| (Func { entry, replacement, flags, ..Func::new_zeroed() }, String::new());
        let range = |start, func| Range { start, end: start + 16, func, reserved: 0 };
        let idle = Patch {
            funcs: vec![func(50, 0x1000, 0), func(100, 100, FUNC_IDLE)],
            new_ranges: vec![range(0x1000, 0), range(100, 1)],
            ..patch(0x1, &[])
        };
        let other = Patch {
            id: "other".to_owned(),
            funcs: vec![func(70, 0x2000, 0), func(100, 0x2010, 0)],
            new_ranges: vec![range(0x2000, 0), range(0x2010, 1), range(0x2020, u32::MAX)],
            new_sites: vec![0x2008, 0x2018],
            ..patch(0x2, &[])
        };
        let apart = Patch { funcs: vec![func(70, 0x3000, 0)], new_ranges: vec![range(0x3000, 0)], ..patch(0x3, &[]) };
        let all = with_replacements(idle, &[other, apart]);
        let ranges: Vec<_> = all.new_ranges.iter().map(|r| (r.start, r.func)).collect();
        assert_eq!(ranges, [(100, 1), (0x1000, 0), (0x2010, 2), (0x2020, 2)]);
        let (stands_in, name) = &all.funcs[2];
        assert!(stands_in.idle() && stands_in.replacement == 0x2010 && name == " (other)");
        assert_eq!(all.new_sites, [0x2018]);
    }

    #[test]
    fn copies_are_reverted_together() {
        let all = together(vec![patch(0x1000, &[(8, "a", "b")]), patch(0x2000, &[(4, "c", "d")])]).expect("records");
        assert_eq!(all.edits.iter().map(|e| e.addr).collect::<Vec<_>>(), [4, 8]);
        assert_eq!((all.addr, all.riders.len()), (0x2000, 1));
        assert!(together(Vec::new()).is_none());
    }
}
