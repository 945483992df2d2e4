// Two functions changed; one of them is left as it is on the builder's word, the other goes live.
//#Hazard: S15
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Leave: kept
//#Expect: live
//#Call: fixed 4
//#After: kept 4 => 41
//#Reverted: kept 4 => 41
#include "scenario.h"

NOINLINE long kept(long x) {
#ifdef NEW
    return x * 1000 + x % 7;
#else
    return x * 10 + 1;
#endif
}

NOINLINE long fixed(long x) {
#ifdef NEW
    return x * 3 + x % 5;
#else
    return x * 2;
#endif
}

void command(const char *line) {
    long x;
    if (sscanf(line, "kept %ld", &x) == 1)
        printf("%ld\n", kept(x));
    if (sscanf(line, "fixed %ld", &x) == 1)
        printf("%ld\n", fixed(x));
}
