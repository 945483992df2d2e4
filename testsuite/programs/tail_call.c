// Functions reach the patched one by a jump, and the patched one leaves by a jump.
//#Hazard: C2
//#Matrix: cc=gcc,clang opt=-O2,-O3 kind=pie,nopie,shared
//#Expect: live
//#Call: go 5
//#Call: go 500
#include "scenario.h"

NOINLINE long last(long x, long y) {
    return x * 1000 + y;
}

NOINLINE long middle(long x, long y) {
#ifdef NEW
    return last(y, x + 1);
#else
    return last(x, y);
#endif
}

NOINLINE long first(long x) {
    return middle(x + 1, x + 2);
}

void command(const char *line) {
    long x;
    if (sscanf(line, "go %ld", &x) == 1)
        printf("%ld\n", first(x));
}
