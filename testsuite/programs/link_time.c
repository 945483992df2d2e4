// Link-time optimisation: partitions, private clones, no symbol of its own for what was inlined.
//#Hazard: C20,C4
//#Matrix: cc=gcc opt=-O2 kind=pie,shared cflags=-flto
//#Flags: -flto=1
//#Expect: live
//#Call: go 4
#include "scenario.h"

NOINLINE static int part(int x, int mode) {
#ifdef NEW
    return mode == 1 ? x * 5 : x * 9;
#else
    return mode == 1 ? x * 5 : x * 7;
#endif
}

NOINLINE int go(int x) {
    return part(x, 1) + part(x + 1, 2);
}

void command(const char *line) {
    int x;
    if (sscanf(line, "go %d", &x) == 1)
        printf("%d\n", go(x));
}
