// Two functions in several new builds: V1 and V2 change `value`, SIDE changes `side`.
//#Hazard: S12
//#Expect: live
//#Call: value
#include "scenario.h"

static int calls;

NOINLINE int value(int x) {
    calls++;
#if defined V2
    return x * 2 + 200;
#elif defined V1 || defined NEW
    return x + 101;
#else
    return x + 1;
#endif
}

NOINLINE int side(int x) {
    calls++;
#ifdef SIDE
    return x + 300;
#else
    return x + 2;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "side"))
        printf("%d\n", side(1));
}
