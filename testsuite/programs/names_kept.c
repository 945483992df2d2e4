// Two names of one function become two functions that do the same: old pointers do what new ones do.
//#Hazard: C12,I1
//#Matrix: cc=gcc,clang opt=-O0,-O1 kind=pie,nopie,shared
//#Expect: live
//#Warm: take 1
//#After: call 1 5 => 16 new
//#Reverted: call 1 5 => 16
#include "scenario.h"

static int (*taken[2])(int);

NOINLINE int plain(int x) {
    return x * 3 + 1;
}
#ifdef NEW
NOINLINE int twin(int x) {
    return x * 3 + 1;
}
#else
int twin(int x) __attribute__((alias("plain")));
#endif

NOINLINE void take(int i) {
    taken[i] = i ? twin : plain;
}

NOINLINE void show(int i, int x) {
#ifdef NEW
    printf("%d new\n", taken[i] ? taken[i](x) : -1);
#else
    printf("%d\n", taken[i] ? taken[i](x) : -1);
#endif
}

void command(const char *line) {
    int i, x;
    if (sscanf(line, "take %d", &i) == 1)
        take(i);
    if (sscanf(line, "call %d %d", &i, &x) == 2)
        show(i, x);
}
