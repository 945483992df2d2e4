// The plain pair of the scripted scenarios: `value` changes, `other` changes only with SECOND.
//#Hazard: C1
//#Expect: live
//#Call: value
#include "scenario.h"

static int calls;

NOINLINE int value(int x) {
    calls++;
#if defined NEW && !defined SECOND
    return x + 100;
#else
    return x + 1;
#endif
}

NOINLINE int other(int x) {
#ifdef SECOND
    return x + 200;
#else
    return x + 2;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "other"))
        printf("%d\n", other(1));
    if (!strcmp(line, "calls"))
        printf("%d\n", calls);
}
