// One base serves all thread-local variables of a function: it can't lead to old ones and to one that the patch brings.
//#Hazard: D9
//#Matrix: cc=gcc,clang opt=-O2 kind=shared
//#Expect: refuse HP0507
//#Call: add 3
#include "scenario.h"

static __thread long old_count;
#ifdef NEW
static __thread long new_count;
#endif

NOINLINE long add(long x) {
    old_count += x;
#ifdef NEW
    new_count += 2 * x;
    return old_count + new_count;
#else
    return old_count;
#endif
}

void command(const char *line) {
    long x;
    if (sscanf(line, "add %ld", &x) == 1)
        printf("%ld\n", add(x));
}
