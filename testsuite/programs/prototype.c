// An exported function changes its parameters: other modules may call it in the old way.
//#Hazard: D12
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,shared
//#Expect: safe
//#Expect[kind=shared]: not-live
//#Call: go 3
#include "scenario.h"

#ifdef NEW
NOINLINE long combine(long a, const char *b) {
    return a * 100 + (long)strlen(b);
}
#else
NOINLINE int combine(int a) {
    return a + 1;
}
#endif

void command(const char *line) {
    int x;
    if (sscanf(line, "go %d", &x) != 1)
        return;
#ifdef NEW
    printf("%ld\n", combine(x, line));
#else
    printf("%d\n", combine(x));
#endif
}
