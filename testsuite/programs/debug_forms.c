// Debugging information in its forms: versions 4 and 5, compressed, line tables only.
//#Hazard: C20
//#Matrix: cc=gcc,clang opt=-O2 kind=pie dwarf=4,5 cflags=-gz,-gno-column-info,-g1,-ffunction-sections
//#Expect: live
//#Expect[cflags=-g1]: safe
//#Call: go 4
#include "scenario.h"

struct pair {
    int a, b;
};

NOINLINE int go(struct pair pair) {
#ifdef NEW
    return pair.a * pair.b;
#else
    return pair.a + pair.b;
#endif
}

void command(const char *line) {
    struct pair pair = {0, 7};
    if (sscanf(line, "go %d", &pair.a) == 1)
        printf("%d\n", go(pair));
}
