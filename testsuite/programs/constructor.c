// The new build gains a constructor that sets up a new variable: nothing would call it, so it is refused by name.
//#Hazard: D10
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie,shared
//#Expect: refuse HP0505
//#Call: ready?
#include "scenario.h"

#ifdef NEW
static int prepared;
__attribute__((constructor)) static void prepare(void) {
    __asm__ volatile("" ::: "memory");
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
