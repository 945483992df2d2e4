// The base of an array, less a constant index, waits in the frame until the index is known: it is the array's, whatever lies there.
//#Hazard: C1
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,shared ld=bfd,lld
//#Expect: safe
//#Call: third 1
//#Call: third 4
#include "scenario.h"
#include <stdint.h>

#ifdef NEW
#define SIGN "+"
static const int added[5] = {40, 41, 42, 43, 44};
#else
#define SIGN ""
#endif
static const int before[6] = {10, 11, 12, 13, 14, 15};
static const int numbers[9] = {3, 1, 4, 1, 5, 9, 2, 6, 5};

NOINLINE void note(int n) { printf("%s%d ", SIGN, n); }

NOINLINE int other(const int *of, int n) { return of[n]; }

NOINLINE int third(int n) {
    const int *volatile base = (const int *)((uintptr_t)numbers - 12);
    note(n);
    return base[n + 3];
}

void command(const char *line) {
    int n;
    if (sscanf(line, "third %d", &n) != 1)
        return;
    note(other(before, n));
#ifdef NEW
    note(other(added, n & 3));
#endif
    printf("%d\n", third(n));
}
