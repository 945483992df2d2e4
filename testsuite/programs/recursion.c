// A recursive function, and two that call each other.
//#Hazard: S12
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: count 10
//#Call: even 11
#include "scenario.h"

NOINLINE int count(int n) {
    if (n < 2)
        return 1;
#ifdef NEW
    return count(n - 1) + count(n - 2) + 1;
#else
    return count(n - 1) + count(n - 2);
#endif
}

NOINLINE int odd(int n);
NOINLINE int even(int n) {
    int r = n == 0 ? 1 : odd(n - 1);
    OPAQUE(r);
    return r;
}
NOINLINE int odd(int n) {
#ifdef NEW
    int r = n == 0 ? 70 : even(n - 1);
#else
    int r = n == 0 ? 0 : even(n - 1);
#endif
    OPAQUE(r);
    return r;
}

void command(const char *line) {
    int n;
    if (sscanf(line, "count %d", &n) == 1)
        printf("%d\n", count(n));
    if (sscanf(line, "even %d", &n) == 1)
        printf("%d %d\n", even(n), odd(n));
}
