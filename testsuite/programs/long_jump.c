// setjmp in an old frame, longjmp through and out of a patched one.
//#Hazard: S2,C8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Accept: HP0516
//#Expect: live
//#Call: try 1
//#Call: try 5
//#Call: try 9
#include "scenario.h"
#include <setjmp.h>

static jmp_buf escape;

NOINLINE int deep(int x) {
    if (x > 8)
        longjmp(escape, x);
#ifdef NEW
    if (x > 4)
        longjmp(escape, x * 10);
#endif
    return x;
}

NOINLINE int attempt(int x) {
    int code = setjmp(escape);
    if (code)
        return -code;
    return deep(x) + 1;
}

void command(const char *line) {
    int x;
    if (sscanf(line, "try %d", &x) == 1)
        printf("%d\n", attempt(x));
}
