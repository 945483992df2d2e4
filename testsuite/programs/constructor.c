// The new build gains a constructor: run once, or refused by name.
//#Hazard: D10
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,shared
//#Expect: safe
//#Call: ready?
#include "scenario.h"

#ifdef NEW
static int prepared;
__attribute__((constructor)) static void prepare(void) {
    prepared++;
}
#endif

NOINLINE int state(void) {
#ifdef NEW
    return prepared;
#else
    return -1;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "ready?"))
        printf("%d\n", state());
}
