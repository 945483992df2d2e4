// A table of constants changes. One reader changes with it, another one does not: both must see the new values.
//#Hazard: D4,C17
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
// Bare numbers that may be addresses are refused in images at fixed addresses where nothing proves them (C16).
//#Expect[cc=clang,kind=nopie]: safe
//#Call: cost 0
//#Call: cost 3
//#Call: cost 7
//#Call: sum
#include "scenario.h"

#ifdef NEW
static const int costs[8] = {1, 2, 3, 500, 5, 6, 7, 9};
#else
static const int costs[8] = {1, 2, 3, 4, 5, 6, 7, 8};
#endif

NOINLINE int cost(int i) {
    return costs[i & 7];
}

NOINLINE int sum(int from) {
    int total = from;
    for (int i = from; i < 8; i++)
        total += costs[i];
#ifdef NEW
    total *= 2;
#endif
    return total;
}

void command(const char *line) {
    int i = 0;
    if (sscanf(line, "cost %d", &i) == 1)
        printf("%d\n", cost(i));
    if (!strcmp(line, "sum"))
        printf("%d\n", sum(i));
}
