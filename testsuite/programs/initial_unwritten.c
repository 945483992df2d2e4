// The initial value of variables that nothing writes to changes: constants in all but the keyword, which optimisers make constants of. One that
// a function writes to, or that others are given, keeps its live value.
//#Hazard: D3
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: show 0
//#Call: show 1
//#After: kept => 4 6
//#Reverted: kept => 4 6
//#Rewritten: kept => 4 6
#include "scenario.h"

#ifdef NEW
static int limit = 20;
static const char *names[] = {"one", "second"};
static struct { int first, second; } pair = {3, 5};
static int written = 5;
static int lent = 7;
#else
static int limit = 10;
static const char *names[] = {"one", "two"};
static struct { int first, second; } pair = {3, 4};
static int written = 4;
static int lent = 6;
#endif

NOINLINE void set(int *to, int value) { *to = value; }

void command(const char *line) {
    int i;
    if (sscanf(line, "show %d", &i) == 1)
        printf("%d %s %d %d\n", limit, names[i & 1], pair.first, pair.second);
    else if (!strcmp(line, "kept"))
        printf("%d %d\n", written, lent);
    else if (sscanf(line, "set %d", &i) == 1)
        written = i;
    else if (sscanf(line, "lend %d", &i) == 1)
        set(&lent, i);
}
