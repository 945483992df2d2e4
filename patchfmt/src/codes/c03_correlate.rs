//! 03xx: pairing of old and new.

codes! {
    AMBIGUOUS_FUNCTIONS = 301 Refuse "functions of the same name can't be told apart" {
        seen: "Several static functions share a name, and neither unit, order nor content decides which became which.",
        why: "A wrong pair would put one function's new code in place of another's.",
        act: "Build with debug information, so that the source file decides; or rename one of them.",
        example: "a.c: static void init(void)    b.c: static void init(void)    /* no STT_FILE, no DWARF: which is which? */",
    }
    AMBIGUOUS_DATA = 302 Refuse "variables of the same name can't be told apart" {
        seen: "Several static variables share a name, and neither unit, order nor content decides which became which.",
        why: "The new code would work on another variable's live state.",
        act: "Build with debug information, so that the source file decides; or rename one of them.",
        example: "void a(void) { static int n; ... }   void b(void) { static int n; ... }   /* n.0 and n.1, then n.1 and n.0 */",
    }
    AMBIGUOUS_NAMES = 303 Refuse "names of one function became names of several" {
        seen: "Names that share an address in one build belong to different functions in the other.",
        why: "Callers of all these names would be sent to one replacement.",
        act: "Link both builds with the same setting of identical code folding (`--icf`), or patch all of the functions alike.",
        example: "int a(void) { return 1; }   int b(void) { return 1; }   /* old: one address; new: b returns 2 */",
    }
    OPTIMISATION_DRIFT = 310 Note "inlining differs between the builds" {
        seen: "Profile-guided or link-time optimisation made other choices, so functions differ whose source didn't change.",
        why: "The patch is right, but larger than the fix.",
        act: "Build the new image with the profile of the old one.",
        example: "/* same source */ f calls g   ->   g is inlined in f, because the profile is another one",
    }
}
