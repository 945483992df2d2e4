// A callback that only the old build has is on the heap, and calls functions that change: one takes more now, another uses what it ignored.
//#Hazard: D12,D13
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie
//#Expect[opt=-O0]: start
//#Expect: safe
//#Warm: set
//#Call: show 3
//#After: taken 3 => 8
//#After: ignored 3 => 10
#include "scenario.h"

typedef int (*callback)(int);

#ifdef NEW
static NOINLINE int take(int scale, int x) {
    return x * scale + 1;
}

static NOINLINE int ignore(int scale, int x) {
    return x * scale + 1;
}

static NOINLINE int new_taker(int x) {
    return take(2, x) + 1;
}

static NOINLINE int new_ignorer(int x) {
    return ignore(3, x) + 0;
}

#define TAKER new_taker
#define IGNORER new_ignorer
#else
static NOINLINE int take(int x) {
    return x * 2 + 1;
}

static NOINLINE int ignore(int scale, int x) {
    (void)scale;
    return x * 2 + 1;
}

static NOINLINE int old_taker(int x) {
    return take(x) + 1;
}

static NOINLINE int old_ignorer(int x) {
    return ignore(3, x);
}

#define TAKER old_taker
#define IGNORER old_ignorer
#endif

callback *stored;

void command(const char *line) {
    int n = line[0] == 's' ? atoi(line + 5) : 3;
    callback taker = TAKER, ignorer = IGNORER;
    OPAQUE(taker);
    OPAQUE(ignorer);
    if (!strcmp(line, "set")) {
        stored = malloc(2 * sizeof *stored);
        stored[0] = taker;
        stored[1] = ignorer;
    }
    if (!strncmp(line, "taken", 5))
        printf("%d\n", stored[0](n));
    if (!strncmp(line, "ignored", 7))
        printf("%d\n", stored[1](n));
    if (!strncmp(line, "show", 4))
        printf("%d %d\n", taker(n), ignorer(n));
}
