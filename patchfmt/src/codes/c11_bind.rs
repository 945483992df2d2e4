//! 11xx: binding to the target.

codes! {
    WRONG_BUILD_ID = 1101 Refuse "the target doesn't run the build that the bundle is for" {
        seen: "No mapped module has the build-id, or the module isn't mapped.",
        why: "Addresses and code were taken from exactly that build.",
        act: "Build the bundle from the file that the process runs: see /proc/PID/exe and /proc/PID/maps.",
    }
    SYMBOL_NOT_FOUND = 1102 Refuse "a symbol isn't found in the target" {
        seen: "An import of the patch is defined by no loaded module in that version.",
        why: "Calling it would be a jump to nowhere.",
        act: "Restart with the library loaded, or build the patch without that call.",
    }
    NO_MEMORY_IN_REACH = 1103 Refuse "no free memory within reach of the module" {
        seen: "There is no gap of the needed size within 2 GiB of it.",
        why: "Detours and references have 32-bit distances.",
        act: "Restart the target with the bundle in its store.",
    }
    BAD_RELOCATION = 1104 Refuse "a relocation of the patch can't be done" {
        seen: "Its type isn't known, its place is outside its section, or its value doesn't fit.",
        why: "Cutting it off would make the code jump or read elsewhere.",
        act: "Build the bundle again; report it if it stays.",
    }
    PREIMAGE_DIFFERS = 1105 Refuse "the target's bytes aren't those of the old build" {
        seen: "Code or constants that the patch replaces or relies upon differ in memory.",
        why: "Somebody has changed them: another patch, a probe, a debugger's breakpoint.",
        act: "Remove probes and breakpoints, or revert the other patch.",
    }
    BAD_BINDING = 1106 Refuse "a binding points outside the module" {
        seen: "An address in the bundle isn't inside the mapped image that it names.",
        why: "Every address is checked before it's used.",
        act: "Build the bundle again; report it if it stays.",
    }
    ALREADY_PATCHED = 1107 Refuse "the function is replaced by another bundle already" {
        seen: "Another live bundle has a detour at the same place.",
        why: "Two patches of one function have to be stacked knowingly.",
        act: "Revert the other one, or build a cumulative bundle that supersedes it.",
    }
    MODULE_CHANGED = 1108 Refuse "the module's mapping isn't as its file says" {
        seen: "Segments are missing, moved or have other protection.",
        why: "The load bias can't be trusted.",
        act: "Check /proc/PID/maps for what remapped it.",
    }
    TLS_UNRESOLVED = 1109 Refuse "a thread-local reference can't be bound" {
        seen: "The bundle brings thread-local variables, and the loader has no room for them in every thread: it was attached, its 1024 bytes are taken, or threads run that can't be reached.",
        why: "A thread without storage would read and write another variable.",
        act: "Start the program with the loader preloaded (`hpatch run -- CMD`), or build one bundle that supersedes those that took the room.",
    }
    UNWINDER = 1110 Refuse "exceptions couldn't pass through the patch" {
        seen: "The process has an unwinder that can't be told of the patch's frames, or only by calling malloc on a thread that isn't its own.",
        why: "The first exception through a replaced function would end the process.",
        act: "Start the program with the loader preloaded (`hpatch run -- CMD`).",
    }
    STATE_MOVED_ELSEWHERE = 1111 Refuse "a bundle that moves variables is the only one on its module" {
        seen: "This bundle, or one that is live, keeps a variable of the module in another place, and both change that module.",
        why: "The code of one bundle would go on with the variable's old place, that of the other with the new one.",
        act: "Revert the live bundle first, or build one with both fixes and say `--supersedes ID`.",
    }
    OTHER_COPY = 1112 Refuse "the process uses another copy of a library's object" {
        seen: "A constant that the library exports changes in place, and its name leads elsewhere: to a copy that the program has (R_X86_64_COPY), or to an object of that name in a module that comes first.",
        why: "The library's own bytes would change, and nobody would see it.",
        act: "Restart with the new library; or link the program as position-independent code without copy relocations (`-fPIC`).",
    }
}
