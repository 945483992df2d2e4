// Two names of one function, and live pointers from each: one of them becomes a function of its own, and nothing says which pointers were meant.
//#Hazard: C12,I1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: refuse HP0514
//#Warm: take 1
//#Call: call 0 -2
#include "scenario.h"

static int (*taken[2])(int);

NOINLINE int plain(int x) {
    return x * 3 + 1;
}
#ifdef NEW
NOINLINE int screened(int x) {
    return x < 0 ? 0 : x * 3 + 1;
}
#else
int screened(int x) __attribute__((alias("plain")));
#endif

NOINLINE void take(int i) {
    taken[i] = i ? screened : plain;
}

void command(const char *line) {
    int i, x;
    if (sscanf(line, "take %d", &i) == 1)
        take(i);
    if (sscanf(line, "call %d %d", &i, &x) == 2)
        printf("%d\n", taken[i] ? taken[i](x) : -1);
}
