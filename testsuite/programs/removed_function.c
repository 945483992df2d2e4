// The new build has no such function any more, but a live pointer to it exists.
//#Hazard: D13
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: remember
//#After: call => 105
//#After: which => new
//#Reverted: call => 105
#include "scenario.h"

#ifndef NEW
__attribute__((noinline, used)) static int legacy(int x) {
    return x + 100;
}
#endif
static int (*volatile remembered)(int);

NOINLINE void remember(void) {
#ifndef NEW
    remembered = legacy;
#else
    remembered = NULL;
#endif
}

NOINLINE const char *which(void) {
#ifdef NEW
    return "new";
#else
    return "old";
#endif
}

void command(const char *line) {
    if (!strcmp(line, "remember"))
        remember();
    if (!strcmp(line, "call"))
        printf("%d\n", remembered ? remembered(5) : -1);
    if (!strcmp(line, "which"))
        puts(which());
}
