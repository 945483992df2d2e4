// Link-time optimisation brings static functions of one name together and numbers them; one more unit, and each number is another's.
//#Hazard: C4,C5,I1
//#Units: 3
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,shared ld=bfd,lld lto=full
//#Expect: live
//#Warm: take 2
//#Warm: take 3
//#After: call 2 5 => 22
//#After: call 3 5 => 48
//#After: take 1 => 1
//#After: call 1 5 => 6
//#Reverted: call 2 5 => 22
//#Reverted: call 3 5 => 48
#include "scenario.h"

#ifndef UNIT
#define UNIT 1
#endif
#define JOINED(a, b) a##b
#define NAMED(a, b) JOINED(a, b)

typedef int (*function)(int);
extern function taken[4];
void take2(void);
void take3(void);

#if UNIT != 1 || defined NEW
static NOINLINE int helper(int x) {
    return x * UNIT * UNIT + UNIT;
}
NOINLINE void NAMED(take, UNIT)(void) {
    taken[UNIT] = helper;
}
#endif

#if UNIT == 1
function taken[4];

NOINLINE static int call(int i, int x) {
    return taken[i](x);
}

void command(const char *line) {
    int i, x;
    if (sscanf(line, "take %d", &i) == 1) {
        if (i == 2)
            take2();
        if (i == 3)
            take3();
#ifdef NEW
        if (i == 1)
            take1();
#endif
        printf("%d\n", i);
    }
    if (sscanf(line, "call %d %d", &i, &x) == 2)
        printf("%d\n", call(i, x));
}
#endif
