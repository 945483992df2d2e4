//! 13xx: apply and revert.

codes! {
    READ_BACK_DIFFERS = 1301 Error "written bytes didn't read back; taken back" {
        seen: "After the write some bytes weren't as intended, so all of them were restored.",
        why: "Success means proven live.",
        act: "Report it; check what else writes to the target's code.",
    }
    NOT_ON_TOP = 1302 Refuse "another bundle lies on top" {
        seen: "A later bundle replaced the same function or relies on this one.",
        why: "Bundles are reverted in reverse order.",
        act: "Revert the later one first; `hpatch list --pid P` shows the order.",
    }
    NOT_APPLIED = 1303 Refuse "no such bundle is applied" {
        seen: "The target has no live bundle of that id.",
        why: "There is nothing to revert.",
        act: "`hpatch list --pid P` shows the ids.",
    }
    ALREADY_APPLIED = 1304 Refuse "the bundle is applied already" {
        seen: "A live bundle in the target has the same id.",
        why: "Ids are unique in a process.",
        act: "Revert it first, or give the new one another --id.",
    }
    WRITE_REFUSED = 1305 Error "the target's code can't be written; taken back" {
        seen: "A write to the target's memory failed, so those before it were restored.",
        why: "All or nothing.",
        act: "Check security policies of the target.",
    }
    NEW_CODE_ACTIVE = 1306 Refuse "code of the patch is still active" {
        seen: "A thread executes in, or will return into, the code that is to be unmapped.",
        why: "Unmapping it would crash that thread.",
        act: "Try again with a longer --timeout.",
    }
    ROLL_BACK_FAILED = 1307 Error "bytes couldn't be restored; the loader is blocked" {
        seen: "An apply failed half-way, and restoring failed too.",
        why: "The state of the code isn't known, so nothing further is done in this process.",
        act: "Restart the target as soon as possible and report it.",
    }
    INITIALISER_FAILED = 1308 Error "an initialiser of the patch failed" {
        seen: "Code that the patch runs when it's applied returned an error.",
        why: "The patch isn't usable; nothing was switched.",
        act: "See the patch's own documentation.",
    }
    BYTES_CHANGED = 1309 Error "the live patch was changed by somebody else" {
        seen: "Detours, edits or the patch's code no longer have the bytes that were written.",
        why: "Reverting would overwrite another's change.",
        act: "Find out who wrote there: probes, debuggers, other patchers.",
    }
    UNFINISHED = 1310 Refuse "an earlier command was killed half-way" {
        seen: "A bundle's record says that its bytes are being written, and nobody is writing them.",
        why: "Some functions may be new and others old, or closed: threads wait in them.",
        act: "`hpatch recover --pid P` takes the half-done change back or ends it; the next apply or revert does so by itself.",
    }
}
