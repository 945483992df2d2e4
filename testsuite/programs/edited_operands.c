// Only operands change, and keep their length: constants, a bound, an argument, a member, an index, a stored value.
//#Hazard: C16
//#Matrix: cc=gcc,clang opt=-O0,-O2,-O3 kind=pie,nopie,shared
//#Edits: 6
//#Expect: live
//#Call: all 5
//#Call: all 15
//#Call: all 25
#include "scenario.h"

struct item {
    int first, second, third;
    char name[52];
};

static struct item items[4] = {{11, 12, 13, "a"}, {21, 22, 23, "b"}, {31, 32, 33, "c"}, {41, 42, 43, "d"}};
int stored;

#ifdef NEW
#define PICK(old, new) new
#else
#define PICK(old, new) old
#endif

NOINLINE int constant(int x) {
    return x * PICK(1000, 2000) + PICK(70000, 80000);
}

NOINLINE int bound(int x) {
    OPAQUE(x);
    return x > PICK(10, 20) ? constant(x) : -x;
}

NOINLINE int argument(int x) {
    return bound(x + PICK(1, 2)) + 1;
}

NOINLINE int member(struct item *item, int x) {
    return item[x & 3].PICK(second, third);
}

NOINLINE int element(const int *list) {
    return list[PICK(4, 6)] + list[1];
}

NOINLINE void store(int *where) {
    *where = PICK(4711, 4712);
}

// Ends where it began: nothing to do here.
NOINLINE int unchanged(int x) {
    return x * 1000 + 70000;
}

void command(const char *line) {
    int x, list[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    if (sscanf(line, "all %d", &x) == 1) {
        store(&stored);
        printf("%d %d %d %d %d %d %d\n", constant(x), bound(x), argument(x), member(items, x), element(list), stored,
               unchanged(x));
    }
}
