//! 12xx: the stop and the check of the stacks.

codes! {
    FUNCTION_ACTIVE = 1201 Refuse "a replaced function is active" {
        seen: "A thread executes in it or will return into it; the report names thread, function and line.",
        why: "Old and new code must not run mixed within one call.",
        act: "Try again with a longer --timeout; `hpatch blocked --pid P` shows who is in the way.",
    }
    TRACED = 1202 Refuse "the target is traced by another process" {
        seen: "A debugger or tracer is attached to a thread.",
        why: "A thread has one tracer at most, and it can't be stopped without being it.",
        act: "Detach the debugger: TracerPid in /proc/PID/status says which.",
    }
    PTRACE_DENIED = 1203 Refuse "the system doesn't permit to stop the target" {
        seen: "ptrace was refused: another user, yama, a container's boundary or a security module.",
        why: "hpatch has no more rights than a debugger of the same user.",
        act: "Run it as the target's user or as root; see /proc/sys/kernel/yama/ptrace_scope.",
    }
    THREAD_NOT_STOPPED = 1204 Refuse "a thread didn't stop in time" {
        seen: "It's in uninterruptible sleep, or in vfork.",
        why: "Bytes are changed only while every thread is known to stand still.",
        act: "Try again later.",
    }
    STACK_UNREADABLE = 1205 Refuse "a thread's stack can't be walked to its end" {
        seen: "Unwind data are missing for a frame, and a scan of the stack found an address of a replaced function.",
        why: "Whether the function is active isn't known, so it's taken to be.",
        act: "Try again; build the target with unwind tables.",
    }
    TIMED_OUT = 1206 Refuse "no safe point was found in time" {
        seen: "At every attempt some thread was in a replaced function.",
        why: "The target is unchanged.",
        act: "Try again with a longer --timeout, or when there is less load.",
    }
    TOO_MANY_THREADS = 1207 Refuse "threads are made faster than they can be stopped" {
        seen: "After the bounded number of rounds there were still new threads.",
        why: "The stop is called off, rather than hold the target for long.",
        act: "Try again later.",
    }
    TARGET_GONE = 1208 Error "the target ended" {
        seen: "The process exited, or called exec, while it was worked on.",
        why: "There is nothing to patch any more.",
        act: "Check the pid.",
    }
    NO_RENDEZVOUS = 1209 Refuse "the threads can't be stopped by signals" {
        seen: "ptrace is refused, and the process has set no signal aside, or a thread blocks it, or the program makes stacks of its own.",
        why: "Bytes are changed only while every thread is known to stand still.",
        act: "Run hpatch where it may use ptrace; or start the program with `hpatch run --signal N`, with a real-time signal that it doesn't use.",
    }
    INTERRUPTED = 1210 Refuse "the command was interrupted" {
        seen: "SIGINT (Ctrl-C), SIGTERM, SIGHUP or SIGQUIT came before the switch was made.",
        why: "The target is unchanged.",
        act: "Say the command again.",
    }
}
