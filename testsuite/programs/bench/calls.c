// The cost of a call: a loop over a small function that the patch replaces by one with an equally long body.
//#Hazard: S6
//#Expect: live
//#Call: value
#include "scenario.h"
#include <time.h>

NOINLINE long work(long x) {
#ifdef NEW
    return x + 3;
#else
    return x + 1;
#endif
}

static double measure(long calls) {
    struct timespec a, b;
    long x = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    // Four in a row, so that the loop itself hides as little as possible.
    for (long i = 0; i < calls; i += 4) {
        x = work(x);
        OPAQUE(x);
        x = work(x);
        OPAQUE(x);
        x = work(x);
        OPAQUE(x);
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
