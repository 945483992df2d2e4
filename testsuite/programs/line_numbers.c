// Line numbers reach the code as constants. Whatever is decided about them, the change beside them must arrive.
//#Hazard: C14
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie
//#Expect: live
//#Call: change 4
#include "scenario.h"
#ifdef NEW
#define FIRST_LINE 42
#else
#define FIRST_LINE 40
#endif
#line FIRST_LINE

NOINLINE void log_line(int line, const char *what) {
    OPAQUE(line);
    printf("%s at a line %s\n", what, line > 0 ? "above zero" : "?");
}

NOINLINE void only_shifted(int x) {
    if (x > 3)
        log_line(__LINE__, "large");
}

NOINLINE int change(int x) {
#ifdef NEW
    return x + 40;
#else
    return x + 4;
#endif
}

void command(const char *line) {
    int x;
    if (sscanf(line, "change %d", &x) == 1) {
        only_shifted(x);
        printf("%d\n", change(x));
    }
}
