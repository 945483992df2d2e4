// A function whose prototype changes has its address in live data: who calls it through that may pass what the old one took.
//#Hazard: D12
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: refuse HP0517
//#Call: run 4
#include "scenario.h"

#ifdef NEW
static int scale(int value, long factor) {
    return value * (int)factor;
}
typedef int (*scaler)(int, long);
#else
static int scale(int value) {
    return value * 2;
}
typedef int (*scaler)(int);
#endif

static scaler volatile stored = scale;

NOINLINE int run(int value) {
#ifdef NEW
    return stored(value, 5);
#else
    return stored(value);
#endif
}

void command(const char *line) {
    if (!strncmp(line, "run ", 4))
        printf("%d\n", run(atoi(line + 4)));
}
