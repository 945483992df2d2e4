// A stored pointer to a member is one of another class in the new build: it is a distance in the old one. The type behind it is the same.
//#Hazard: D5,D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie cflags=-DSTATIC,-DINSIDE
//#Expect: start
//#Unwritten: HP0614
//#Call: pick 1
//#Call: pick 0
#include "scenario.h"

struct near {
    int first, second;
};
struct far {
    int pad[4];
    int first, second;
};
#ifdef NEW
typedef far object;
#else
typedef near object;
#endif

static near here = {1, 2};
static far there = {{7, 7, 7, 7}, 3, 4};
NOINLINE near *get(near *) { return &here; }
NOINLINE far *get(far *) { return &there; }

#ifdef INSIDE
struct choice {
    int object::*member;
};
static choice *made;
NOINLINE int object::*&chosen() {
    if (!made)
        made = new choice{&object::first};
    return made->member;
}
#else
static int object::*member = &object::first;
NOINLINE int object::*&chosen() {
    return member;
}
#endif

NOINLINE int pick(int n) {
    if (n)
        chosen() = &object::second;
    return get((object *)0)->*chosen();
}

extern "C" void command(const char *line) {
    int n;
    if (sscanf(line, "pick %d", &n) == 1)
        printf("%d\n", pick(n));
}
