// The function that is to stay old calls one of its unit that changed: the compiler may know which registers that one spares.
//#Hazard: S15
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,shared
//#Leave: kept
//#Expect: refuse HP0520
//#Call: kept 4
#include "scenario.h"

NOINLINE static long callee(long x) {
#ifdef NEW
    return x * 3 + x % 5;
#else
    return x * 2;
#endif
}

NOINLINE long kept(long x) {
#ifdef NEW
    return callee(x) + x * 1000 + x % 7;
#else
    return callee(x) + x * 10 + 1;
#endif
}

void command(const char *line) {
    long x;
    if (sscanf(line, "kept %ld", &x) == 1)
        printf("%ld\n", kept(x));
}
