// A function that is too short for a detour, with another function right behind it: its constant is edited all the same. Of assembly nothing is
// said but lines, which a person accepts where it isn't among the code of a unit with types.
//#Hazard: S9
//#Matrix: cc=gcc,clang opt=-Os kind=pie,nopie
//#Flags: -fcf-protection=none -fno-align-functions
//#Edits: 1
//#Accept: HP0219
//#Expect: live
//#Call: value
#include "scenario.h"

// 3 bytes: `mov al, imm8; ret`.
__asm__(".text\n"
        ".globl tiny\n"
        ".type tiny, @function\n"
        "tiny:\n"
        ".cfi_startproc\n"
#ifdef NEW
        "movb $77, %al\n"
#else
        "movb $7, %al\n"
#endif
        "ret\n"
        ".cfi_endproc\n"
        ".size tiny, .-tiny\n"
        ".globl neighbour\n"
        ".type neighbour, @function\n"
        "neighbour:\n"
        ".cfi_startproc\n"
        "movb $9, %al\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size neighbour, .-neighbour\n");

unsigned char tiny(void);
unsigned char neighbour(void);

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d %d\n", tiny(), neighbour());
}
