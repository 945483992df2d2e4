// Breakpoints that were left in are no filler: one that is run into and one that is jumped to.
//#Hazard: C2
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie,shared
//#Expect: live
//#Call: check 4
//#Call: double 4
//#After: check -3 => negative -1
//#After: double 0 => nothing 7
#include "scenario.h"

#ifdef NEW
#define BREAK
#else
#define BREAK __asm__ volatile("int3")
#endif

NOINLINE int check(int x) {
    if (x < 0) {
        BREAK;
        printf("negative ");
        return -1;
    }
    return x * 2;
}

NOINLINE int twice(int x) {
    if (__builtin_expect(x != 0, 0))
        return x * 2;
    BREAK;
    printf("nothing ");
    return 7;
}

void command(const char *line) {
    int x;
    if (sscanf(line, "check %d", &x) == 1)
        printf("%d\n", check(x));
    if (sscanf(line, "double %d", &x) == 1)
        printf("%d\n", twice(x));
}
