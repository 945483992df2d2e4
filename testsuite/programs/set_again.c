// New variables that start-up code sets and that are set later as well, or that have what they need from the file.
//#Hazard: D2
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie cflags=-DRELOADED,-DAT_FIRST_USE,-DCOUNTED,-DONLY_READ
//#Flags: -DPREPARED
//#Expect: live
//#Call: show 3
#include "scenario.h"

static int prepared;

#ifndef NEW
#elif defined RELOADED
// Who asks for it again gets what the new build has.
static int limit;
NOINLINE void load(void) { limit = atoi("12"); }
#define SET load()
#define USE(x) (load(), limit * x)
#elif defined AT_FIRST_USE
static int *cache;
NOINLINE int *get(void) {
    if (!cache)
        cache = calloc(4, sizeof *cache);
    return cache;
}
#define SET get()
#define USE(x) (get()[1] + x * 3)
#elif defined COUNTED
static int calls[1];
NOINLINE void count(int *to) { ++*to; }
#define SET count(calls)
#define USE(x) (count(calls), (calls[0] > 0) * 10 + x)
#else
static int limits[3] = {4, 5, 6};
NOINLINE int sum(const int *from) { return from[0] + from[1]; }
#define SET (prepared += sum(limits))
#define USE(x) (limits[x % 3] + x)
#endif

void prepare(void) {
    prepared++;
#ifdef NEW
    SET;
#endif
}

NOINLINE int tick(int x) {
#ifdef NEW
    return USE(x);
#else
    return x;
#endif
}

void command(const char *line) {
    int x;
    if (sscanf(line, "show %d", &x) == 1)
        printf("%d\n", tick(x));
}
