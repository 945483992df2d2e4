// A writable array grows, and a pointer to it is kept: the old storage is too small for the new code, and whoever has the pointer goes on with it.
//#Hazard: D5
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: not-live
//#Call: fill
#include "scenario.h"

#ifdef NEW
#define SLOTS 16
#else
#define SLOTS 4
#endif
int slots[SLOTS];
int neighbour = 77;
int *volatile kept;

NOINLINE void fill(int seed) {
    kept = slots;
    for (int i = 0; i < SLOTS; i++)
        slots[i] = seed + i;
}

NOINLINE long total(void) {
    long sum = 0;
    for (int i = 0; i < SLOTS; i++)
        sum += slots[i];
    return sum;
}

void command(const char *line) {
    if (!strcmp(line, "fill")) {
        fill(100);
        printf("%ld %d %d\n", total(), neighbour, *kept);
    }
}
