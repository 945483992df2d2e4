// A static variable of a function becomes one of the file, and gets another type of the same size: no name pairs its declarations.
//#Hazard: D1,D5
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie cflags=-DFLOAT,-DPOINTED,-DSAME
//#Expect: start
//#Expect[cflags=-DSAME]: safe
//#Expect[cflags=-DSAME,cc=gcc]: live
//#Call: count 3
//#Call: count 4
#include "scenario.h"

#if defined NEW && defined FLOAT
typedef float number;
#elif defined NEW && defined POINTED
typedef int *number;
#elif defined POINTED
typedef long *number;
#elif defined NEW
typedef unsigned number;
#else
typedef int number;
#endif

#ifdef NEW
static number level;
NOINLINE void reset(void) {
    level = 0;
}
#endif

NOINLINE long count(int x) {
#ifndef NEW
    static number level;
#endif
#ifdef SAME
    level = x;
#else
    level += x;
#endif
#ifdef NEW
    return (long)level + 1000;
#else
    return (long)level;
#endif
}

void command(const char *line) {
    int x;
    if (sscanf(line, "count %d", &x) == 1)
        printf("%ld\n", count(x));
}
