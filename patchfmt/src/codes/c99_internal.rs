//! 99xx: internal errors.

codes! {
    INTERNAL = 9901 Error "internal error" {
        seen: "A condition that the program relies upon doesn't hold.",
        why: "It's a defect of hpatch itself; nothing was written.",
        act: "Report it with the command and its inputs.",
    }
    SELF_CHECK = 9902 Error "an output failed its own check" {
        seen: "What was written doesn't read back as what was meant.",
        why: "It's a defect of hpatch itself; nothing was written.",
        act: "Report it with the command and its inputs.",
    }
}
