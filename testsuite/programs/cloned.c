// The optimiser makes a private clone with a parameter removed or made constant; the clone's function changes.
//#Hazard: C4
//#Matrix: cc=gcc opt=-O2,-O3 kind=pie,nopie,shared
//#Expect: live
//#Call: go 3
//#Call: go 40
#include "scenario.h"

struct context {
    int *values;
    int unused, limit;
};

NOINLINE static int scan(struct context *context, int from, int mode) {
    int total = 0;
    for (int i = from; i < context->limit; i++) {
        total += context->values[i] * mode;
#ifdef NEW
        if (total > 50)
            return 50;
#endif
    }
    return total;
}

NOINLINE int go(int n) {
    int values[8] = {n, 1, 2, 3, 4, 5, 6, 7};
    struct context context = {values, 0, 8};
    return scan(&context, 0, 1) + scan(&context, 2, 1);
}

void command(const char *line) {
    int x;
    if (sscanf(line, "go %d", &x) == 1)
        printf("%d\n", go(x));
}
