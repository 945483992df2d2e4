// A new thread-local variable: storage for every thread, also for those that exist, or no live bundle.
//#Hazard: D9
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,shared
//#Expect: safe
//#Call: next
#include "scenario.h"

#ifdef NEW
static __thread int depth = 5;
#endif

NOINLINE int next(int x) {
#ifdef NEW
    depth += x;
    return depth - x;
#else
    return x;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "next")) {
        int x = 0;
        OPAQUE(x);
        printf("%d\n", next(x));
    }
}
