// New code takes the address of a function that is chosen at load time: where the link editor makes a stub for it, that is the stub's.
//#Hazard: C10,I1
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,nopie,static ld=bfd,mold
//#Expect: safe
//#Expect[kind=pie,ld=mold]: live
//#Call: go 3
//#Call: go 40
#include "scenario.h"

static int plain(int x) {
    return x * 10;
}
static int unused(int x) {
    return x;
}
static int (*resolve(void))(int) {
    return sizeof(void *) == 8 ? plain : unused;
}
int chosen(int x) __attribute__((ifunc("resolve")));
static int other(int x) {
    return x - 1;
}

NOINLINE int go(int x) {
    int (*volatile current)(int) = other;
#ifdef NEW
    current = x > 9 ? chosen : other;
    x++;
#endif
    return current(x) + chosen(x + 1);
}

void command(const char *line) {
    int x;
    if (sscanf(line, "go %d", &x) == 1)
        printf("%d\n", go(x));
}
