// A table of assembly has no size, and changes: it reaches to the next symbol, over what is somebody else's, so that nothing is written there.
//#Hazard: C13,C17
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie
//#Expect: refuse HP0211
//#Call: at 2
#include "scenario.h"

#ifdef NEW
#define THIRD "7"
#else
#define THIRD "3"
#endif
__asm__(".section .rodata\n.balign 16\n.type numbers,@object\nnumbers:\n.long 1, 2, " THIRD ", 4\n.previous\n");
extern const int numbers[];

NOINLINE int at(int i) { return numbers[i & 3]; }

void command(const char *line) {
    int i;
    if (sscanf(line, "at %d", &i) == 1)
        printf("%d\n", at(i));
}
