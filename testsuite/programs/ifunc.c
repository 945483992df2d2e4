// A function chosen at load time by a resolver; the chosen implementation changes, and a caller of it too.
//#Hazard: C10
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: go 3
#include "scenario.h"

static int plain(int x) {
#ifdef NEW
    return x * 11;
#else
    return x * 10;
#endif
}
static int unused(int x) {
    return x;
}
static int (*resolve(void))(int) {
    return sizeof(void *) == 8 ? plain : unused;
}
int chosen(int x) __attribute__((ifunc("resolve")));

NOINLINE int go(int x) {
#ifdef NEW
    return chosen(x) + 1;
#else
    return chosen(x);
#endif
}

void command(const char *line) {
    int x;
    if (sscanf(line, "go %d", &x) == 1)
        printf("%d %d\n", go(x), chosen(x));
}
