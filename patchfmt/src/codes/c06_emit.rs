//! 06xx: link, emit and rewrite.

codes! {
    NO_BYTES = 601 Refuse "code or data to carry has no bytes in the file" {
        seen: "A function or object of the new image lies where the file has no content.",
        why: "There is nothing to carry.",
        act: "Name the linked image itself, not a file that only holds debug information.",
    }
    LSDA_NOT_CARRIED = 602 Refuse "an exception table can't be carried" {
        seen: "The LSDA of a new or changed function is cut off, or uses an encoding or a type reference that isn't known.",
        why: "An exception thrown through the new code would not be caught, or be caught in the wrong place.",
        act: "Check `.gcc_except_table` and `readelf -wF`; report the compiler and its flags.",
    }
    UNWIND_NOT_CARRIED = 603 Refuse "unwind data can't be carried" {
        seen: "The FDE or CIE of a new or changed function is malformed or uses an encoding that isn't known.",
        why: "An exception or a stack walk through the new code would go astray.",
        act: "Check `.eh_frame` with `readelf -wF`; report the compiler and its flags.",
    }
    NOT_CARRIED = 604 Refuse "a reference can't be carried" {
        seen: "Code or data of the patch refers to something in a way for which there is no relocation.",
        why: "The loader links only what it can check.",
        act: "Report the function and the compiler's flags.",
    }
    OUT_OF_RANGE = 605 Refuse "a relocation doesn't reach its target" {
        seen: "A 32-bit field of the patch would have to hold a larger distance or address.",
        why: "Cutting it off would make the code jump or read elsewhere.",
        act: "Report it; images larger than 2 GiB aren't supported.",
        example: "call 0x100001000           # 4 GiB away in a 32-bit field",
    }
    READ_BACK = 606 Error "the written bundle doesn't read back as intended" {
        seen: "The second ELF reader or decoder sees something else than was written.",
        why: "One of two libraries has a bug: no bundle is better than a wrong one.",
        act: "Report it with both images.",
    }
    IMPORT_UNKNOWN = 607 Review "the patch needs a symbol that the old image doesn't import" {
        seen: "New code calls a function of another library that the old image never used.",
        why: "It's looked up in the libraries that are loaded in the target; if none has it the patch isn't applied.",
        act: "Accept if the library that defines it is loaded for certain.",
        example: "new code: getrandom(buf, 16, 0);   /* the old image never called getrandom */",
    }
    PAYLOAD_TOO_LARGE = 608 Refuse "the patch is too large" {
        seen: "A payload or the bundle is larger than the format allows.",
        why: "The loader reads bundles of bounded size only.",
        act: "Check that the builds differ only by the fix: same compiler, same flags.",
    }
    BOUNDS = 609 Error "a size or count exceeds what the format can state" {
        seen: "More than 2^32 bytes or items, or more than 16 modules or 64 sections.",
        why: "The field in the bundle can't hold it.",
        act: "Split the patch.",
    }
    REWRITE_NO_ROOM = 610 Refuse "the file has no room for the patch" {
        seen: "No place for another loadable segment was found in the ELF file.",
        why: "Moving existing content would change what the rest of the file says.",
        act: "Link the old image with spare program headers, or apply the bundle at start instead.",
    }
    REWRITE_OTHER_BUILD = 611 Refuse "the bundle is for another build" {
        seen: "The file's build-id, or the bytes that would be replaced, aren't those that the bundle names.",
        why: "The patch would change other code than was analysed.",
        act: "Name the file that the bundle was built for.",
    }
    REWRITE_FORM = 612 Refuse "the file has a form that can't be rewritten" {
        seen: "The ELF file is prelinked, has data behind its sections, or has headers or tables that leave no sound place for what must be added.",
        why: "Something that reads the file in another way than the kernel and the dynamic linker do would find other things than before.",
        act: "Apply the bundle at start instead (HPATCH_STORE), or undo the prelinking first.",
    }
    REWRITE_IMPORT = 613 Refuse "the file can't import what the patch needs" {
        seen: "The patch needs a symbol of another library, and the file has no table of dynamic symbols, or of their versions, to name it in; or nothing says which library has the version.",
        why: "A static executable has no dynamic linker, and a symbol without its version could be bound to another definition.",
        act: "Apply the bundle at start instead (HPATCH_STORE): the loader looks it up in what is mapped.",
    }
    REWRITE_SITE = 614 Refuse "a place of the patch can't be set in the file" {
        seen: "An edit lies where the file has no bytes, cuts a dynamic relocation in two, or a field needs an address that is only known in the process.",
        why: "The dynamic linker would write something else there, or nothing.",
        act: "Apply the bundle at start instead (HPATCH_STORE).",
    }
}
