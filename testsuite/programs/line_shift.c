// Only lines and comments move: nothing changed.
//#Hazard: C1,C14
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: same
//#After: go 1 => 3
#include "scenario.h"
#ifdef NEW
#define FIRST_LINE 43
#else
#define FIRST_LINE 40
#endif
#line FIRST_LINE

NOINLINE int go(int x) {

    return x * 2 + 1;
}

void command(const char *line) {
    int x;
    if (sscanf(line, "go %d", &x) == 1)
        printf("%d\n", go(x));
}
