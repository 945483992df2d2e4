// The linker folded two static functions; one of them gets its own code, and a live pointer to it leads to what both were.
//#Hazard: C11
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,shared ld=lld cflags=-ffunction-sections,-ffunction-sections+-DJOIN
//#Flags: -Wl,--icf=all
//#Expect: refuse HP0514
//#Warm: take 1
//#Call: call 0 -2
#include "scenario.h"

typedef int (*function)(int);
static function taken[2];

static int apples(int x) {
    return x * 3 + 1;
}
static int pears(int x) {
#if defined NEW != defined JOIN
    return x < 0 ? 0 : x * 3 + 1;
#else
    return x * 3 + 1;
#endif
}
static const function functions[2] = {apples, pears};

NOINLINE void take(int i) {
    taken[i] = functions[i];
}

void command(const char *line) {
    int i, x;
    if (sscanf(line, "take %d", &i) == 1)
        take(i);
    if (sscanf(line, "call %d %d", &i, &x) == 2)
        printf("%d\n", taken[i] ? taken[i](x) : -1);
}
