// Two translation units with static functions, variables and static locals of the same names; one of each changes.
//#Hazard: C5,C4
//#Units: 2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared dwarf=4,5
//#Expect: live
//#Warm: first
//#Warm: second
//#Warm: second
//#After: first => unit 1: 2 101
//#After: second => unit 2 (new): 3 202
//#Reverted: first => unit 1: 3 102
//#Reverted: second => unit 2: 4 203
#include "scenario.h"

#ifndef UNIT
#define UNIT 1
#endif

static int state = UNIT * 100 - 1;

static NOINLINE int init(int x) {
    static int counter;
    counter += x;
    return counter;
}

static NOINLINE void report(int count) {
#if defined NEW && UNIT == 2
    printf("unit %d (new): %d %d\n", UNIT, count, state);
#else
    printf("unit %d: %d %d\n", UNIT, count, state);
#endif
}

static NOINLINE void step(void) {
    state++;
    report(init(1));
}

#if UNIT == 1
void second(void);
void command(const char *line) {
    if (!strcmp(line, "first"))
        step();
    if (!strcmp(line, "second"))
        second();
}
#else
void second(void);
void second(void) {
    step();
}
#endif
