// A static function moves to another unit as it is: it is the same one for whoever has its address.
//#Hazard: C5,I1
//#Units: 2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: take
//#After: call 1 => 101 new
//#Reverted: call 1 => 101
#include "scenario.h"

#ifndef UNIT
#define UNIT 1
#endif

typedef int (*function)(int);
extern function taken;
void second(void);

#if (UNIT == 2) == defined NEW
static NOINLINE int helper(int x) {
    return x + 100;
}
#endif

#if UNIT == 1
function taken;

NOINLINE static void take(void) {
#ifdef NEW
    second();
#else
    taken = helper;
#endif
}

NOINLINE static void show(int x) {
#ifdef NEW
    printf("%d new\n", taken(x));
#else
    printf("%d\n", taken(x));
#endif
}

void command(const char *line) {
    int x;
    if (!strcmp(line, "take"))
        take();
    if (sscanf(line, "call %d", &x) == 1)
        show(x);
}
#else
void second(void) {
    puts("second");
#ifdef NEW
    taken = helper;
#endif
}
#endif
