//! 02xx: DWARF and lifting of linked code.

codes! {
    DWARF_MALFORMED = 201 Error "debug information is malformed" {
        seen: "A DWARF unit can't be read to its end.",
        why: "Types or names after that place would be missing without notice.",
        act: "Check with `llvm-dwarfdump --verify`.",
    }
    SPLIT_MISSING = 202 Review "a split debug object is missing" {
        seen: "A unit's DWARF is in a `.dwo` or `.dwp` file, which isn't where the image says, nor beside the image.",
        why: "Types and static variables of that unit aren't known: a changed layout in it would go unseen.",
        act: "Put the `.dwo` files, or one `IMAGE.dwp` made by `dwp`, beside the image.",
    }
    DWZ_MISSING = 203 Error "the file that dwz moved debug information to is missing" {
        seen: "`.gnu_debugaltlink` names a file that isn't there, or whose build-id differs.",
        why: "Names and types of many entries are in that file.",
        act: "Install the debug package of exactly this build, or name its directory with --debug-dir.",
    }
    JUMP_TABLE = 210 Refuse "a jump table could not be recovered" {
        seen: "An indirect jump in a changed function isn't one of the known shapes, or its bounds could not be proven.",
        why: "Without all its targets the function can't be linked again: a missing one would jump into nowhere.",
        act: "Compile the file with `-fno-jump-tables`, or split the function.",
        example: "switch (x) { case 0: ... case 9: ... }    /* jmp *%rax with a bound that no compare proves */",
    }
    UNKNOWN_ADDRESS = 211 Refuse "a reference to an address that nothing defines" {
        seen: "An instruction or pointer refers to a place in the image where there is no function, object, string or section of known content.",
        why: "What the new code means by it can't be named, so it can't be found in the old process.",
        act: "Build with symbols for all objects; look at the place with `objdump -d`.",
        example: "mov 0x4711(%rip),%eax     # between two objects: nothing has a symbol there",
    }
    INTERIOR_REFERENCE = 212 Refuse "a reference into the middle of another function" {
        seen: "Changed code jumps or points to an address inside another function, not to its entry.",
        why: "The same place in the other build can't be proven.",
        act: "Usually hand-written assembly: give the place a symbol and a size of its own.",
        example: "jmp memcpy+0x20            # into the middle, from another function",
    }
    UNDECODABLE = 213 Refuse "an instruction can't be decoded" {
        seen: "Bytes inside a function aren't a valid instruction, or two decoders disagree about them.",
        why: "Code that isn't understood can't be moved.",
        act: "Data inside code? Mark it as an object of its own.",
        example: "f:  ud2; .byte 0x06        # no 64-bit instruction begins with 06",
    }
    UNKNOWN_TLS = 214 Refuse "a thread-local reference could not be named" {
        seen: "An offset from the thread pointer belongs to no thread-local variable; or a negative number, in a function that reads thread-local variables, may be one.",
        why: "Reading the wrong thread-local variable would corrupt a thread's state.",
        act: "Keep symbols of thread-local variables; don't compute with `%fs:` by hand. A plain number: move its computation out of the function that uses them.",
        example: "mov %fs:0xfffffffffffffff4,%eax    # no thread-local variable has that offset",
    }
    OPAQUE_CHANGED = 215 Refuse "a function of unknown shape changed" {
        seen: "Hand-written assembly, or code without a size, differs between the builds.",
        why: "Its entries, its end and its use of registers aren't known, so it can't be replaced as a unit.",
        act: "Give it `.type`, `.size` and CFI, or leave it unchanged.",
        example: "entry:            # no .size: where does it end?\n    mov %rdi, %rax\nsecond_entry:     # jumped to from elsewhere\n    ret",
    }
    AMBIGUOUS_IMMEDIATE = 216 Refuse "a number in code may be an address" {
        seen: "In an executable at fixed addresses an immediate has a value inside the image, and neither a relocation nor its use proves which it is.",
        why: "An address has to follow the layout, a number must not.",
        act: "Build both images position-independent (`-fPIE -pie`), where every address has a relocation.",
        example: "mov $0x404040,%edi         # the address of `table`, or the number 4210752?",
    }
    AMBIGUOUS_WORD = 217 Refuse "a word in data may be an address" {
        seen: "In an executable at fixed addresses an aligned word of changed or new data looks like an address, and the type of the variable leaves open which it is.",
        why: "An address has to follow the layout, a number must not.",
        act: "Build both images position-independent (`-fPIE -pie`), where every address has a relocation.",
        example: ".quad 0x404040             # in .data of a non-PIE: a pointer or a number?",
    }
    PRODUCER_DIFFERS = 218 Review "the builds come from different compilers or flags" {
        seen: "DW_AT_producer of a unit differs between old and new.",
        why: "Nearly everything differs then, and the real change drowns; layouts may differ where the source doesn't.",
        act: "Build both with the same compiler, version and flags.",
        example: "old: GNU C17 12.2.0 -O2    new: GNU C17 13.1.0 -O2",
    }
    NO_DEBUG_INFO = 219 Review "no debug information" {
        seen: "The image has no DWARF, and none was found by build-id or debuglink; or the unit of a function that changed was compiled without it, or with that for lines only.",
        why: "Changes of types and layouts can't be seen; functions are paired by name and content only.",
        act: "Name the debug files of both builds with --old-debug and --new-debug, or a directory with --debug-dir; accept only if you know that no type changed.",
    }
    OVERLAPPING_CODE = 220 Refuse "functions overlap" {
        seen: "Two functions that aren't aliases share bytes, or an instruction is entered in its middle.",
        why: "Replacing one would change the other.",
        act: "Usually hand-written assembly: leave it unchanged.",
        example: "memcpy: ...                # memcpy is 0x40 bytes\nmemcpy_tail: ...           # and begins at memcpy+0x30",
    }
    UNKNOWN_RELOCATION_FORM = 221 Refuse "an operand's form isn't understood" {
        seen: "A reference in an instruction has a width or form for which there is no relocation.",
        why: "It can't be linked to another address.",
        act: "Report the instruction; compile the file with other flags meanwhile.",
        example: "mov table(%eip),%eax       # a 32-bit address size",
    }
    UNWIND_UNREADABLE = 222 Refuse "unwind data of a changed function can't be carried" {
        seen: "Its FDE or LSDA is malformed or uses an encoding that isn't known.",
        why: "An exception or a stack walk through the new code would go astray.",
        act: "Check `.eh_frame` with `readelf -wF`.",
        example: ".cfi_escape ...            # an encoding that no compiler writes",
    }
}
