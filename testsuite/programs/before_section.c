// Code has the address of the first constant of its section less one, where no section is. The constant changes, the code doesn't.
//#Hazard: C17
//#Matrix: cc=gcc,clang opt=-O2 kind=shared ld=bfd
//#Expect: refuse HP0212
//#Call: letter 1
#ifndef KEPT
#ifdef NEW
#define TEXT "ninety"
#else
#define TEXT "eighty"
#endif
#endif
__asm__(".pushsection .rodata, \"a\"\n.Ltext: .string \"" TEXT "\"\n.balign 8\n.popsection\n");
#include "scenario.h"

NOINLINE char letter(long at) {
    const char *base;
    __asm__("lea .Ltext-1(%%rip), %0" : "=r"(base));
    return base[at];
}

#ifndef STEP
#define STEP 0
#endif

NOINLINE long counted(long at) {
    return at + STEP;
}

void command(const char *line) {
    long at;
    if (sscanf(line, "letter %ld", &at) == 1)
        printf("%c\n", letter(counted(at)));
}
