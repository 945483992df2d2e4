// Functions that differ in nothing but the line that they pass on with the name of their file stay as they are.
//#Hazard: C14
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie
//#Expect: live
//#Most: 1
//#Call: change 4
#include "scenario.h"

NOINLINE void log_line(const char *file, int line, const char *what) {
    OPAQUE(file);
    OPAQUE(line);
    printf("%s %s\n", what, line > 0 && *file ? "at a line" : "?");
}
#define LOG(what) log_line(__FILE__, __LINE__, what)

#ifdef NEW
#define FIRST_LINE 102
#else
#define FIRST_LINE 100
#endif
#line FIRST_LINE
NOINLINE void only_shifted(int x) {
    if (x > 3)
        LOG("large");
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
