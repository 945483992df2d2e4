// What chooses a function when the program starts changes, by itself or in what it calls, or is gone: nothing chooses anew in a process that runs.
//#Hazard: C10
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,shared cflags=-DPLAIN,-DHELPER,-DSHARED
//#Expect: refuse HP0513
//#Call: go 3
//#Call: usable 3
#include "scenario.h"

static NOINLINE int fast(int x) {
    return x * 10;
}
static NOINLINE int slow(int x) {
    return x * 100;
}

#if defined NEW && defined PLAIN
int chosen(int x) {
    return x < 0 ? -1 : slow(x) + 1;
}
#else
NOINLINE static int usable(int x) {
#if defined NEW && !defined PLAIN
    return x > 5;
#else
    return x > 2;
#endif
}

static int (*resolve(void))(int) {
    return usable(sizeof(void *) == 8 ? 4 : 0) ? fast : slow;
}
int chosen(int x) __attribute__((ifunc("resolve")));
#endif

void command(const char *line) {
    int x;
    if (sscanf(line, "go %d", &x) == 1)
        printf("%d %d\n", chosen(x), fast(x) + slow(x));
#ifdef SHARED
    if (sscanf(line, "usable %d", &x) == 1)
        printf("%d\n", usable(x));
#endif
}
