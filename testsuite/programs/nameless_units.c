// Two units have structures without a name that are laid out alike; one of them gets another layout, and only untyped pointers lead to its instances.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,shared cflags=-DCHANGED,-DSAME
//#Units: 2
//#Expect: start
//#Expect[cflags=-DSAME]: live
//#Call: one 3
//#Call: two 4
#include "scenario.h"

#ifndef UNIT
#define UNIT 1
#endif

#if UNIT == 1 && defined NEW && defined CHANGED
#define LAYOUT { long serial; int value; }
#else
#define LAYOUT { int value; long serial; }
#endif

typedef struct LAYOUT *handle;

NOINLINE static void *make(int x) {
    handle made = malloc(sizeof *made);
    made->value = x;
    made->serial = x * 10;
    return made;
}

NOINLINE static long sum(const void *of) {
    const handle o = (handle)of;
#if UNIT == 1 && defined NEW
    return o->value * 1000 + o->serial;
#else
    return o->value + o->serial;
#endif
}

static void *kept[4];
static unsigned count;

NOINLINE static long put(int x) {
    kept[count++ % 4] = make(x);
    return sum(kept[(count + 3) % 4]);
}

#if UNIT == 1
long other(int x);

void command(const char *line) {
    int x;
    if (sscanf(line, "one %d", &x) == 1)
        printf("%ld\n", put(x));
    else if (sscanf(line, "two %d", &x) == 1)
        printf("%ld\n", other(x));
}
#else
long other(int x) {
    return put(x);
}
#endif
