// A structure grows whose only instance is on the heap, and no variable, member or parameter has its type: still not for a running process.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Expect: start
//#Call: count
#include "scenario.h"

struct state {
#ifdef NEW
    char label[16];
#endif
    int calls;
};

static void *kept;

NOINLINE void *make(void) {
    return calloc(1, sizeof(struct state));
}

NOINLINE int count(void *state) {
#ifdef NEW
    snprintf(((struct state *)state)->label, 16, "call %d", 1);
    return 100 + strlen(((struct state *)state)->label) + ((struct state *)state)->calls++;
#else
    return ((struct state *)state)->calls++;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "count")) {
        free(kept);
        kept = make();
        printf("%d\n", count(kept));
    }
}
