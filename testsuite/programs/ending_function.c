// What the dynamic linker calls at the end (DT_FINI) is another function: a process still calls the old one.
//#Hazard: D10
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,nopie ld=bfd,lld
//#Flags: -Wl,-fini=ending
//#Expect: refuse HP0505
//#Call: other
#include "scenario.h"

NOINLINE void other(void) {
    puts("other");
}
#ifdef NEW
NOINLINE void ended(void) {
    puts("ended");
}
void ending(void) __attribute__((alias("other")));
#else
NOINLINE void ended(void) {
    puts("ended");
}
void ending(void) __attribute__((alias("ended")));
#endif

void command(const char *line) {
    if (!strcmp(line, "ended"))
        ended();
    if (!strcmp(line, "other"))
        other();
}
