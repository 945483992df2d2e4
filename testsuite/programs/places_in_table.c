// A table holds the places of members, which code that stays goes by; the structure grows in front of one.
//#Hazard: D6
//#Units: 2
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie,shared
//#Expect: start
//#Call: set 5
#include "scenario.h"
#include <stddef.h>

#ifndef UNIT
#define UNIT 1
#endif

struct option {
    const char *name;
    unsigned at;
};
extern const struct option options[2];
extern const unsigned size;

#if UNIT == 1
struct config {
    int level;
#ifdef NEW
    int padding[6];
#endif
    int port;
};
const struct option options[2] = {{"level", offsetof(struct config, level)}, {"port", offsetof(struct config, port)}};
const unsigned size = sizeof(struct config);

// Knows the type, and doesn't change.
NOINLINE int level(const struct config *config) { return config->level; }
#else
struct config;
int level(const struct config *config);
static char *config;

NOINLINE int *member(int i) {
    if (!config)
        config = calloc(1, size);
    return (int *)(config + options[i & 1].at);
}

void command(const char *line) {
    int x;
    if (sscanf(line, "set %d", &x) == 1) {
        *member(1) += x;
        printf("%s %d at %d, level %d\n", options[1].name, *member(1), (int)((char *)member(1) - config), level((void *)config));
    }
}
#endif
