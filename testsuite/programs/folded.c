// The linker folds two functions with equal code into one address; then only one of them changes.
//#Hazard: C11
//#Matrix: cc=gcc,clang opt=-O2 kind=pie ld=lld,mold cflags=-ffunction-sections
//#Flags: -Wl,--icf=all
//#Expect: safe
//#Call: go 3
#include "scenario.h"

NOINLINE int apples(int x) {
#ifdef NEW
    return x * 17 + 5;
#else
    return x * 17 + 4;
#endif
}
NOINLINE int pears(int x) {
    return x * 17 + 4;
}

void command(const char *line) {
    int x;
    if (sscanf(line, "go %d", &x) == 1)
        printf("%d %d\n", apples(x), pears(x));
}
