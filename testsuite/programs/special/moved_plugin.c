// A library whose table the new build makes longer.
//#Hazard: D5,I5,S13
//#Expect: live
//#Call: value
#include "scenario.h"

#ifdef NEW
#define SLOTS 6
#else
#define SLOTS 4
#endif

__attribute__((visibility("hidden"))) int hits[SLOTS];

NOINLINE int value(int slot) {
    if (slot < 0 || slot >= SLOTS)
        return -1;
    hits[slot] += 1;
    return SLOTS * 100 + hits[slot];
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
}
