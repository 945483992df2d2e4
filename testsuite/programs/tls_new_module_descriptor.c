// New thread-local variables by one descriptor of their module's block: the storage that a patch brings has none.
//#Hazard: D9
//#Matrix: cc=gcc opt=-O2 kind=shared cflags=-mtls-dialect=gnu2
//#Expect: refuse HP0507
//#Call: add 3
#include "scenario.h"

static __thread long old_count;
#ifdef NEW
static __thread long calls, sum[4];
#endif

NOINLINE long old_add(long x) { return old_count += x; }

NOINLINE long add(long x) {
#ifdef NEW
    calls++;
    sum[x & 3] += x;
    return old_add(x) + calls + sum[x & 3];
#else
    return old_add(x);
#endif
}

void command(const char *line) {
    long x;
    if (sscanf(line, "add %ld", &x) == 1)
        printf("%ld\n", add(x));
}
