// The fix brings a function of its own, which calls old functions and is called from a changed one.
//#Hazard: C1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: sum 1 2
//#Call: sum 2000000000 2000000000
//#Call: sum -2000000000 -2000000000
#include "scenario.h"

NOINLINE int saturate(int positive) {
    return positive ? 0x7fffffff : -0x7fffffff - 1;
}

#ifdef NEW
NOINLINE static int checked_sum(int a, int b) {
    int sum;
    if (__builtin_add_overflow(a, b, &sum))
        return saturate(a > 0);
    return sum;
}
#endif

NOINLINE int sum(int a, int b) {
#ifdef NEW
    return checked_sum(a, b);
#else
    return (int)((unsigned)a + (unsigned)b);
#endif
}

void command(const char *line) {
    int a = 0, b = 0;
    if (sscanf(line, "sum %d %d", &a, &b) == 2)
        printf("%d %d\n", sum(a, b), saturate(0) == 5);
}
