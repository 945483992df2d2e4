// Thread-local variables that have another size or begin with another value: the threads that run have the old ones.
//#Hazard: D9
//#Matrix: cc=gcc,clang opt=-O2,-O1 kind=pie,shared cflags=-DGROWN,-DOTHER_VALUE
//#Sample: 2
//#Expect: refuse HP0508
//#Call: add 3
#include "scenario.h"

#if defined NEW && defined GROWN
static __thread long counts[8] = {1};
#elif defined NEW
static __thread long counts[4] = {10};
#else
static __thread long counts[4] = {1};
#endif

NOINLINE long add(long x) {
#ifdef NEW
    counts[x & 3] += 2 * x;
#else
    counts[x & 3] += x;
#endif
    return counts[0] + counts[x & 3];
}

void command(const char *line) {
    long x;
    if (sscanf(line, "add %ld", &x) == 1)
        printf("%ld\n", add(x));
}
