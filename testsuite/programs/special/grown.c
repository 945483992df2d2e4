// A library whose objects, which it keeps, grow in the middle: a bundle for the start alone.
//#Hazard: D6
//#Expect: start
//#Call: value
#include "scenario.h"

struct thing {
    int given;
#ifdef NEW
    int more[20];
#endif
    int sum;
    struct thing *next;
};

static struct thing *things;

NOINLINE int value(int x) {
    struct thing *thing = calloc(1, sizeof *thing);
    thing->given = x;
#ifdef NEW
    thing->more[19] = 999;
    thing->sum = x + thing->more[19];
#else
    thing->sum = x;
#endif
    thing->next = things;
    things = thing;
    return thing->sum + 1;
}

NOINLINE int total(void) {
    int sum = 0;
    for (struct thing *thing = things; thing; thing = thing->next)
        sum += thing->sum;
    return sum;
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "total"))
        printf("%d\n", total());
}
