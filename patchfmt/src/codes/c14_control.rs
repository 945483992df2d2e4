//! 14xx: talking to the loader in a target.

codes! {
    NO_LOADER = 1401 Error "the target has no loader" {
        seen: "libhpatch_loader.so isn't mapped there.",
        why: "A process is patched by the loader inside it.",
        act: "Start it with `hpatch run -- CMD`, or bring the loader in with `hpatch attach --pid P`.",
    }
    LOADER_BUSY = 1402 Refuse "another operation is under way in the target" {
        seen: "Another hpatch command owns the loader.",
        why: "One operation at a time.",
        act: "Wait for it, or try again.",
    }
    LOADER_BLOCKED = 1403 Error "the loader in the target refuses further work" {
        seen: "An earlier operation ended in an internal error.",
        why: "The loader never harms its host: rather than go on in doubt it stops working.",
        act: "Restart the target; report what `hpatch status` says.",
    }
    ABI_MISMATCH = 1404 Error "command and loader are of different versions" {
        seen: "The control block has another ABI version or size.",
        why: "Reading it as another version would be guessing.",
        act: "Use the hpatch command that came with the loader in the target.",
    }
    CONTROL_MALFORMED = 1405 Error "the control block in the target is damaged" {
        seen: "A pointer, length or count in it is out of bounds.",
        why: "The target may have overwritten it.",
        act: "Restart the target.",
    }
    CONTROL_TIMEOUT = 1406 Error "the loader in the target doesn't answer" {
        seen: "The control thread couldn't be started or didn't end in time.",
        why: "The target may be frozen or out of resources.",
        act: "Check that the process runs: State in /proc/PID/status.",
    }
    NOT_PERMITTED = 1407 Error "not permitted for this user" {
        seen: "The caller is neither root nor the target's user.",
        why: "Whoever patches a process owns it.",
        act: "Run it as the target's user or as root.",
    }
    NO_SUCH_PROCESS = 1408 Error "no such process" {
        seen: "There is no process of that pid, or it's a zombie or a kernel thread.",
        why: "There is nothing to patch.",
        act: "Check the pid.",
    }
    ATTACH_FAILED = 1409 Error "the loader couldn't be brought into the target" {
        seen: "Mapping or starting the library there failed.",
        why: "The target is as it was.",
        act: "Start it with `hpatch run -- CMD` instead.",
    }
    SECCOMP_FILTER = 1410 Refuse "the target has a seccomp filter that can't be suspended" {
        seen: "Seccomp mode 2, and this command lacks CAP_SYS_ADMIN in the first user namespace.",
        why: "The loader's system calls may not be on the filter's list, and many filters kill the process.",
        act: "Run as root on the host, or say `--allow-seccomp` when the filter is known to allow them.",
    }
    NO_HELPER = 1411 Refuse "the command can't run inside the target" {
        seen: "The loader couldn't start this command as a child of the process, or it ended without an answer.",
        why: "Where ptrace is refused to this command, its copy inside may have it.",
        act: "Make this program's file readable and executable where the process lives.",
    }
    PRIVILEGED = 1412 Refuse "the command has more rights than whoever starts it" {
        seen: "The file of `hpatch` has a set-user-ID bit, or capabilities (AT_SECURE is set).",
        why: "Whoever starts it chooses the loader's file, the trusted keys and the process, and would get that process's rights.",
        act: "Take them from the file; let root start it, or the process's user.",
    }
}
