// A thread-local variable that had a constant is set up at its first use now, which would take what a thread has counted in it.
//#Hazard: D9,D10
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie
//#Unwritten: HP0614
//#Expect: not-live
//#Call: next
#include "scenario.h"

#ifdef NEW
NOINLINE int start() {
    int from = 100;
    OPAQUE(from);
    return from;
}
static thread_local int counter = start();
#else
static thread_local int counter;
#endif

void command(const char *line) {
    if (!strcmp(line, "next"))
        printf("%d\n", ++counter);
}
