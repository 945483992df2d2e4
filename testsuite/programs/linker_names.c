// Variables whose names a linker would define too, one in each of two units: each unit's code must go on with its own.
//#Hazard: C5,C12,D1
//#Units: 2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared ld=bfd,gold,lld,mold
// Where the symbol table can't tell the two apart from the linker's, a refusal is right.
//#Expect: safe
//#Warm: first
//#Warm: second
//#Warm: second
//#After: first => unit 1 (new): 12
//#After: second => unit 2 (new): 23
//#Reverted: first => unit 1: 13
//#Reverted: second => unit 2: 24
#include "scenario.h"

#ifndef UNIT
#define UNIT 1
#endif

static volatile long end = UNIT * 10;

static NOINLINE void step(void) {
    end++;
#ifdef NEW
    printf("unit %d (new): %ld\n", UNIT, end);
#else
    printf("unit %d: %ld\n", UNIT, end);
#endif
}

void second(void);
#if UNIT == 1
void command(const char *line) {
    if (!strcmp(line, "first"))
        step();
    if (!strcmp(line, "second"))
        second();
}
#else
void second(void) {
    step();
}
#endif
