// All instances of a structure are in frames, but a pointer to a member is kept: it is the member's distance in the old one.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie
//#Expect: start
//#Warm: show
//#Call: show
#include "scenario.h"

struct Pair {
    int first;
#ifdef NEW
    int between;
#endif
    int second;
};

static int Pair::*chosen;

NOINLINE int pick(int x) {
    Pair pair;
    memset(&pair, 0, sizeof pair);
    pair.first = 2;
    pair.second = x;
#ifdef NEW
    pair.between = 77;
    if (!chosen)
        chosen = &Pair::second;
    return pair.*chosen + 100;
#else
    if (!chosen)
        chosen = &Pair::second;
    return pair.*chosen;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "show"))
        printf("%d\n", pick(5));
}
