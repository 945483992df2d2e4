// A static function goes, and another unit gets one of its name: a live pointer to the first must not run the second.
//#Hazard: C5,I1
//#Units: 2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: refuse HP0301
//#Warm: first
//#Call: call 1
#include "scenario.h"

#ifndef UNIT
#define UNIT 1
#endif

typedef int (*function)(int);
extern function taken;
void second(void);

#if (UNIT == 2) == defined NEW
static NOINLINE int helper(int x) {
    return UNIT == 1 ? x + 100 : x * 7777;
}
#endif

#if UNIT == 1
function taken;

NOINLINE static void first(void) {
#ifndef NEW
    taken = helper;
#endif
}

void command(const char *line) {
    int x;
    if (!strcmp(line, "first"))
        first();
    if (!strcmp(line, "second"))
        second();
    if (sscanf(line, "call %d", &x) == 1)
        printf("%d\n", taken ? taken(x) : -1);
}
#else
NOINLINE void second(void) {
#ifdef NEW
    taken = helper;
#endif
}
#endif
