// A constant table that grows, whose address is still in a register when its readers jump to another function: left over, since that one has fewer
// arguments (of this image or of the C library), or given to one of this image that reads it and forgets it.
//#Hazard: D4
//#Matrix: cc=gcc,clang opt=-O1,-O2,-O3 kind=pie,shared
//#Expect: live
//#Warm: at 1
//#Call: at 1
//#Call: at 3
//#Call: sum 3
//#Call: seed 4
#include "scenario.h"

#ifdef NEW
static const int weights[] = {10, 20, 30, 40, 50};
#else
static const int weights[] = {10, 20, 30};
#endif

static NOINLINE int say(int n) { return printf("%d\n", n); }

// A prefix of it.
static NOINLINE int total(const int *from, int n) {
    int sum = 0;
    while (n-- > 0)
        sum += *from++;
    return sum;
}

NOINLINE int at(unsigned i) {
    const int *place = weights;
    OPAQUE(place);
    return say(i < sizeof weights / sizeof *weights ? place[i] : -1);
}

NOINLINE int sum(unsigned n) {
    const int *place = weights;
    OPAQUE(place);
    return total(place, n < sizeof weights / sizeof *weights ? n : 0);
}

NOINLINE void seed(unsigned i) {
    const int *place = weights;
    OPAQUE(place);
    srandom(i < sizeof weights / sizeof *weights ? (unsigned)place[i] : 0);
}

void command(const char *line) {
    unsigned n;
    if (sscanf(line, "at %u", &n) == 1)
        at(n);
    if (sscanf(line, "sum %u", &n) == 1)
        say(sum(n));
    if (sscanf(line, "seed %u", &n) == 1) {
        seed(n);
        say((int)random());
    }
}
