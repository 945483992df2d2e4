// A date and a path that change with every build are left out by rule; the one function that really changed goes live.
//#Hazard: C15
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#IgnoreText: [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{4}
//#IgnoreText: /build/[^/]*/
//#Expect: live
//#Call: fixed 4
//#After: stamp => built Nov  1 2026 in /build/a1/src
//#After: label => 1.4 of Nov  1 2026
//#Reverted: stamp => built Nov  1 2026 in /build/a1/src
#include "scenario.h"

#ifdef NEW
#define DATE "Nov 27 2026"
#define PLACE "/build/b22/src"
#else
#define DATE "Nov  1 2026"
#define PLACE "/build/a1/src"
#endif

const char label[] = "1.4 of " DATE;

NOINLINE void stamp(void) {
    printf("built %s in %s\n", DATE, PLACE);
}

NOINLINE long fixed(long x) {
#ifdef NEW
    return x * 3 + x % 5;
#else
    return x * 2;
#endif
}

void command(const char *line) {
    long x;
    if (sscanf(line, "fixed %ld", &x) == 1)
        printf("%ld\n", fixed(x));
    if (!strcmp(line, "stamp"))
        stamp();
    if (!strcmp(line, "label"))
        puts(label);
}
