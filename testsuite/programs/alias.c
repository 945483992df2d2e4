// One address under several names: all of them follow the patch.
//#Hazard: C12
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: go
#include "scenario.h"

NOINLINE int implementation(int x) {
#ifdef NEW
    return x + 200;
#else
    return x + 2;
#endif
}
int strong_name(int x) __attribute__((alias("implementation")));
int weak_name(int x) __attribute__((weak, alias("implementation")));

void command(const char *line) {
    if (!strcmp(line, "go"))
        printf("%d %d %d\n", implementation(1), strong_name(2), weak_name(3));
}
