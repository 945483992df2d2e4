// The new build imports a function that no library of the running process has.
//#Hazard: D11,S11
//#Expect: live
//#Call: value
//#Flags: -Wl,--allow-shlib-undefined
#include "scenario.h"

int hpatch_test_nowhere(int);

NOINLINE int value(int x) {
#ifdef NEW
    return hpatch_test_nowhere(x) + 100;
#else
    return x + 1;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
}
