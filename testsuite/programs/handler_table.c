// Only the relocations of a table change: an entry points to another function that exists already.
//#Hazard: C18,D4
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: safe
//#Call: 0 5
//#Call: 1 5
#include "scenario.h"

static int plus(int x) {
    return x + 1;
}
static int minus(int x) {
    return x - 1;
}
#ifdef NEW
static int (*const table[2])(int) = {plus, plus};
#else
static int (*const table[2])(int) = {plus, minus};
#endif

NOINLINE int run(int i, int x) {
    int (*const *entry)(int) = table;
    OPAQUE(entry);
    return entry[i & 1](x) + (entry[0] == minus);
}

void command(const char *line) {
    int i, x;
    if (sscanf(line, "%d %d", &i, &x) == 2)
        printf("%d\n", run(i, x));
}
