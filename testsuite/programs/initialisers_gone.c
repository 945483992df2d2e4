// A constructor, or a destructor, is an ordinary function in the new build: the old one has run, or still will at exit. One that stays is no matter.
//#Hazard: D10
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared cflags=-DFIRST,-DLAST,-DKEPT
//#Expect: refuse HP0505
//#Expect[cflags=-DKEPT]: live
//#Call: done
#include "scenario.h"

#if defined FIRST && !defined NEW || defined KEPT
__attribute__((constructor))
#endif
NOINLINE static void begin(void) {
    __asm__ volatile("" ::: "memory");
}

#if defined LAST && !defined NEW || defined KEPT
__attribute__((destructor))
#endif
NOINLINE static void end(void) {
    __asm__ volatile("" ::: "memory");
}

NOINLINE int state(void) {
#ifdef NEW
    return 2;
#else
    return 1;
#endif
}

void command(const char *line) {
    begin();
    end();
    if (!strcmp(line, "done"))
        printf("%d\n", state());
}
