// A library exports one function by two names, of which one becomes a function of its own: other modules are bound to the old address.
//#Hazard: C12
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=shared
//#Expect: refuse HP0514
//#Call: plain 3
#include "scenario.h"

NOINLINE int plain(int x) {
    return x * 3 + 1;
}
#ifdef NEW
NOINLINE int screened(int x) {
    return x < 0 ? 0 : x * 3 + 1;
}
#else
int screened(int x) __attribute__((alias("plain")));
#endif

void command(const char *line) {
    int x;
    if (sscanf(line, "plain %d", &x) == 1)
        printf("%d\n", plain(x));
}
