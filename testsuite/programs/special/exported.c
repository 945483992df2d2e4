// A library's exported table changes: in place, where the process uses the library's own one.
//#Hazard: D4
//#Expect: live
//#Call: cost 3
#include "scenario.h"

#ifdef NEW
const int costs[4] = {1, 2, 3, 9};
#else
const int costs[4] = {1, 2, 3, 4};
#endif

NOINLINE int cost(int i) { return costs[i & 3]; }

void command(const char *line) {
    int i;
    if (sscanf(line, "cost %d", &i) == 1)
        printf("%d\n", cost(i));
}
