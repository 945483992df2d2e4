//! 06xx: link, emit and rewrite.

codes! {
    OUT_OF_RANGE = 601 Refuse "a relocation doesn't reach its target" {
        seen: "A 32-bit field of the patch would have to hold a larger distance or address.",
        why: "Cutting it off would make the code jump or read elsewhere.",
        act: "Report it; images larger than 2 GiB aren't supported.",
    }
    NO_RELOCATION = 602 Refuse "a reference has no relocation type" {
        seen: "The payload would need a relocation that the loader doesn't know.",
        why: "The loader links only what it can check.",
        act: "Report the function and the compiler's flags.",
    }
    READ_BACK = 603 Error "the written bundle doesn't read back as intended" {
        seen: "The second ELF reader or decoder sees something else than was written.",
        why: "One of two libraries has a bug: no bundle is better than a wrong one.",
        act: "Report it with both images.",
    }
    IMPORT_UNKNOWN = 604 Review "the patch needs a symbol that the old image doesn't import" {
        seen: "New code calls a function of another library that the old image never used.",
        why: "It's looked up in the libraries that are loaded in the target; if none has it the patch isn't applied.",
        act: "Accept if the library that defines it is loaded for certain.",
    }
    PAYLOAD_TOO_LARGE = 605 Refuse "the patch is too large" {
        seen: "A payload or the bundle is larger than the format allows.",
        why: "The loader reads bundles of bounded size only.",
        act: "Check that the builds differ only by the fix: same compiler, same flags.",
    }
    UNWIND_NOT_CARRIED = 606 Refuse "unwind data can't be linked" {
        seen: "An FDE or LSDA of the patch can't be written for its new place.",
        why: "An exception or a stack walk through the new code would go astray.",
        act: "Report the function and the compiler's flags.",
    }
    REWRITE_NO_ROOM = 607 Refuse "the file has no room for the patch" {
        seen: "No place for another loadable segment was found in the ELF file.",
        why: "Moving existing content would change what the rest of the file says.",
        act: "Link the old image with spare program headers, or apply the bundle at start instead.",
    }
    REWRITE_OTHER_BUILD = 608 Refuse "the bundle is for another build" {
        seen: "The file's build-id, or the bytes that would be replaced, aren't those that the bundle names.",
        why: "The patch would change other code than was analysed.",
        act: "Name the file that the bundle was built for.",
    }
    BOUNDS = 609 Error "a size or count exceeds what the format can state" {
        seen: "More than 2^32 bytes or items, or more than 16 modules or 64 sections.",
        why: "The field in the bundle can't hold it.",
        act: "Split the patch.",
    }
}
