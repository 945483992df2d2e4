//! 01xx: reading ELF images and their debug files.

codes! {
    NOT_ELF = 101 Error "not an ELF file" {
        seen: "The file doesn't start with the ELF magic.",
        why: "patchgen compares linked ELF images only.",
        act: "Name the executable or shared object itself, not an archive, a script or a compressed copy.",
    }
    WRONG_MACHINE = 102 Error "the image is for a machine that isn't supported" {
        seen: "Class, byte order or machine in the ELF header isn't 64-bit little-endian x86-64, or old and new differ.",
        why: "Code of another machine can't be decoded here.",
        act: "Build both images for x86-64.",
    }
    MALFORMED_ELF = 103 Error "the ELF file is malformed" {
        seen: "A header, table or string points outside the file, or contradicts another.",
        why: "What can't be read for certain can't be patched.",
        act: "Check that the file is complete: `readelf -a FILE` shows the first damaged place.",
    }
    NO_BUILD_ID = 104 Refuse "the image has no build-id" {
        seen: "There is no NT_GNU_BUILD_ID note, it is shorter than 8 bytes or longer than 32, or two builds that differ have the same.",
        why: "The build-id is how the loader knows that the process runs exactly the build that was analysed.",
        act: "Link with `-Wl,--build-id` (most distributions do by default), not with one of your own.",
        example: "gcc -Wl,--build-id=none server.c        # readelf -n shows no NT_GNU_BUILD_ID",
    }
    NO_SYMBOLS = 105 Refuse "the image has no symbol table" {
        seen: "There is no .symtab in the image or in a debug file that belongs to it.",
        why: "Static functions can't be told apart without it.",
        act: "Name the separate debug file with --old-debug or --new-debug, or a directory with --debug-dir.",
    }
    DEBUG_MISMATCH = 106 Error "the debug file belongs to another build" {
        seen: "The build-id of the debug file differs from the image's.",
        why: "Its names and types would be those of other code.",
        act: "Find the debug file of exactly this build, for instance by its build-id.",
        example: "readelf -n server | grep Build            # f4aeea2c...\nreadelf -n server.debug | grep Build      # 58b62408...",
    }
    NOT_LINKED = 107 Error "not a linked image" {
        seen: "The file is a relocatable object, a core file, an archive, or the debug file of an image.",
        why: "patchgen works on what the linker wrote: executables and shared objects.",
        act: "Name the program or library that contains this object.",
    }
    UNSUPPORTED_RELOCATION = 108 Refuse "the image has a dynamic relocation of an unknown type" {
        seen: "A dynamic relocation isn't one that the x86-64 psABI or RELR defines for final images.",
        why: "What the dynamic linker writes there isn't known, so nothing that reads it can be compared.",
        act: "Report the type; link without the option that made it.",
    }
    TEXT_RELOCATIONS = 109 Refuse "the image has text relocations" {
        seen: "DT_TEXTREL is set: the dynamic linker changes code.",
        why: "Code in memory differs from the file in ways that depend on the address.",
        act: "Build with `-fPIC` or `-fPIE` throughout.",
        example: "gcc -shared -fno-pic -mcmodel=large x.c   # readelf -d shows TEXTREL",
    }
    NO_SECTIONS = 110 Refuse "the image has no section headers" {
        seen: "e_shnum is 0: the section table was stripped.",
        why: "Code, constants and data can't be told apart for certain.",
        act: "Use the image as the linker wrote it, or strip with `strip`, which keeps the table.",
    }
    COMPRESSED_SECTION = 111 Error "a compressed section can't be decoded" {
        seen: "SHF_COMPRESSED content is damaged or uses an unknown method.",
        why: "Debug information that is half read would mislead.",
        act: "Decompress with `objcopy --decompress-debug-sections`.",
    }
    KIND_DIFFERS = 112 Refuse "old and new are images of different kinds" {
        seen: "One is an executable at fixed addresses, the other position-independent or a shared object.",
        why: "Code of one kind can't run inside the other without being compiled again.",
        act: "Build the new image with the same flags as the old one.",
    }
}
