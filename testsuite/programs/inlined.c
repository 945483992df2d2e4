// A small function that is inlined into its callers changes: every caller changes with it.
//#Hazard: C1
//#Matrix: cc=gcc,clang opt=-O0,-O2,-O3 kind=pie,nopie,shared
//#Expect: live
//#Call: a 7
//#Call: b 7
//#Call: c 7
#include "scenario.h"

static inline int scale(int x) {
#ifdef NEW
    return x * 3 + 1;
#else
    return x * 2;
#endif
}

NOINLINE int a(int x) {
    return scale(x) - 1;
}

NOINLINE int b(int x) {
    int total = 0;
    for (int i = 0; i < x; i++)
        total ^= scale(i);
    return total;
}

NOINLINE int c(int x) {
    return x + 1;
}

void command(const char *line) {
    int x = 0;
    char which = 0;
    if (sscanf(line, "%c %d", &which, &x) == 2)
        printf("%d\n", which == 'a' ? a(x) : which == 'b' ? b(x) : c(x));
}
