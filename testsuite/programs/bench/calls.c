// The cost of a call: a loop over a small function that the patch replaces by one that takes as long; not by one that differs in a constant only, which
// would be edited in place.
//#Hazard: S6
//#Expect: live
//#Call: value
#include "scenario.h"
#include <time.h>

NOINLINE long work(long x) {
#ifdef NEW
    return x ^ 5;
#else
    return x + 1;
#endif
}

static double measure(long calls) {
    struct timespec a, b;
    long x = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    // One call a turn, each on the answer of the one before: nothing of it can be done ahead of time but to fetch.
    for (long i = 0; i < calls; i++) {
        x = work(x);
        OPAQUE(x);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)calls;
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%ld\n", work(1));
    if (!strcmp(line, "measure")) {
        double best = 1e9;
        for (int i = 0; i < 10; i++) {
            double time = measure(2000000);
            if (time < best)
                best = time;
        }
        printf("%.3f\n", best);
    }
}
