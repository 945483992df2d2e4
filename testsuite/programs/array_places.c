// An array gets longer, and where something is in it depends on the length: the slot of a hash table, of a ring, a stack that is filled from the
// end. Beside them arrays that only end at their length.
//#Hazard: D5
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared cflags=-DMASK,-DMODULO,-DSHIFT,-DEND,-DLIST,-DROOM
//#Expect: start
//#Expect[cflags=-DLIST]: live
//#Expect[cflags=-DROOM]: live
//#Warm: put 1000003
//#Warm: put 77
//#Call: put 5
//#Call: put 1234567
#include "scenario.h"

#ifdef MODULO
#define BEFORE 12
#define AFTER 20
#else
#define BEFORE 16
#define AFTER 64
#endif
#ifdef NEW
#define LENGTH AFTER
#else
#define LENGTH BEFORE
#endif

#ifdef ROOM
static char texts[LENGTH * 8];

NOINLINE int put(unsigned value) {
    size_t used = strlen(texts);
    snprintf(texts + used, sizeof texts - used, "%u ", value % 10);
    int found = texts[used] == '0' + (int)(value % 10);
    if (used + 4 > sizeof texts)
        texts[0] = 0;
    return found;
}
#else
static unsigned values[LENGTH];
static unsigned used;

static unsigned place(unsigned value) {
#if defined MASK || defined MODULO
    return value % LENGTH;
#elif defined SHIFT
    return value * 2654435769u >> (LENGTH == 16 ? 28 : 26);
#elif defined END
    (void)value;
    return LENGTH - 1 - used++ % 8;
#else
    (void)value;
    return used < LENGTH - 1 ? used++ : used;
#endif
}

NOINLINE int put(unsigned value) {
    unsigned at = place(value);
    values[at] = value;
    for (unsigned i = 0; i < LENGTH; i++)
        if (values[i] == value)
            return 1;
    return 0;
}
#endif

void command(const char *line) {
    unsigned value;
    if (sscanf(line, "put %u", &value) == 1)
        printf("%s of %d\n", put(value) ? "in it" : "lost", LENGTH);
}
