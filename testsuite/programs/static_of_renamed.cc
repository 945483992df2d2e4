// A function with a static variable gets another name, and so does the variable.
//#Hazard: D1,C4
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie
//#Expect: start
//#Call: show
#include "scenario.h"

#ifdef NEW
NOINLINE int next_number(int by) {
    static int number = 10;
    return number += by;
}
#define NEXT next_number(2)
#else
NOINLINE int next() {
    static int number = 10;
    return ++number;
}
#define NEXT next()
#endif

void command(const char *line) {
    if (!strcmp(line, "show"))
        printf("%d\n", NEXT);
}
