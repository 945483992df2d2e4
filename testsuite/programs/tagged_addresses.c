// At fixed addresses compilers put an object's address into immediates of bit operations, products and comparisons as well, and fold a
// constant index into it that leads far away from the object.
//#Hazard: C16
//#Matrix: cc=gcc,clang opt=-O1,-O2,-Os kind=nopie
//#Expect: safe
//#Call: keys 1
//#Call: keys 77
//#Call: far 100003
//#Call: rows 100002
#include "scenario.h"
#include <stdint.h>

#ifdef NEW
// Moves what follows.
int counts[24] = {5, 6, 7};
char scratch[40];
#define MORE 3
#else
#define MORE 0
#endif
int slots[16] = {9, 8, 7, 6};
static int rows[64] = {1, 2, 3, 5, 8};

NOINLINE uintptr_t locked(uintptr_t v) { return v ^ (uintptr_t)&slots; }
NOINLINE uintptr_t joined(uintptr_t v) { return (v << 40) | (uintptr_t)&slots; }
NOINLINE uintptr_t masked(uintptr_t v) { return (v | ~(uintptr_t)0xff) & (uintptr_t)&slots; }
NOINLINE uintptr_t product(uintptr_t v) { return v * (uintptr_t)&slots; }
NOINLINE int shares(uintptr_t v) { return (v & (uintptr_t)&slots) != 0; }
NOINLINE uintptr_t tagged(void) { return (uintptr_t)&locked + 1; }

// These are replaced and bring their addresses along.
NOINLINE int far(long i) { return slots[i - 100000] + MORE; }
NOINLINE int tables(long i) { return rows[i - 100000] + MORE; }
NOINLINE uintptr_t keys(uintptr_t v) { return (v ^ (uintptr_t)&slots) + MORE; }

void command(const char *line) {
    unsigned long v;
    if (sscanf(line, "keys %lu", &v) == 1) {
        uintptr_t at = (uintptr_t)&slots;
        uintptr_t f = (uintptr_t)locked;
        printf("%lx %d %d %d %d %d %d\n", (unsigned long)(keys(v) - (v ^ at)), locked(v) == (v ^ at), joined(v) == ((v << 40) | at),
               masked(v) == ((v | ~(uintptr_t)0xff) & at), product(v) == v * at, shares(v) == ((v & at) != 0), tagged() == f + 1);
    }
    if (sscanf(line, "far %lu", &v) == 1)
        printf("%d\n", far((long)v));
    if (sscanf(line, "rows %lu", &v) == 1)
        printf("%d\n", tables((long)v));
}
