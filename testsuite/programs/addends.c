// New pointers, and new code, lead into the middle of arrays that another module could override: the distance must not get lost.
//#Hazard: C18,D1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=shared,pie,nopie ld=bfd,lld,mold
//#Expect: live
// Numbers at fixed addresses that lie inside of an object aren't proven to be addresses.
//#Expect[kind=nopie]: safe
//#Warm: bump
//#Call: sum
//#Call: where
#include "scenario.h"

long exported[8] = {1, 20, 300, 4000, 50000, 600000, 7000000, 80000000};

#ifdef NEW
static long *const inside[] = {&exported[2], &exported[5], &exported[7]};
#endif

NOINLINE long sum(int n) {
    long total = 0;
    OPAQUE(n);
#ifdef NEW
    for (int i = 0; i < n; i++)
        total += *inside[i];
#else
    total = exported[n];
#endif
    return total;
}

NOINLINE long where(const long *p) {
#ifdef NEW
    return p == &exported[3] ? p[1] : -1;
#else
    return p == exported ? p[0] : -2;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "sum"))
        printf("%ld\n", sum(3));
    if (!strcmp(line, "where"))
        printf("%ld %ld\n", where(&exported[3]), where(exported));
    if (!strcmp(line, "bump"))
        exported[0] = 1;
}
