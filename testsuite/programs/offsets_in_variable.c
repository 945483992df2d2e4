// A table of options, with the members' distances, is a variable: the live one keeps the old distances where the structure gets new ones.
//#Hazard: D3,D5,D6
//#Matrix: cc=gcc opt=-O0,-O2 kind=pie,nopie
//#Expect: start
//#Call: set
#include "scenario.h"
#include <stddef.h>

static struct settings {
    int low;
#ifdef NEW
    int middle;
#endif
    int high;
} settings;

static struct option {
    const char *name;
    unsigned offset;
    int used;
} options[] = {{"low", offsetof(struct settings, low), 0}, {"high", offsetof(struct settings, high), 0}};

NOINLINE void set(const char *name, int value) {
    for (int i = 0; i < 2; i++) {
        if (!strcmp(options[i].name, name)) {
            options[i].used++;
            memcpy((char *)&settings + options[i].offset, &value, sizeof value);
        }
    }
}

NOINLINE int get(void) {
#ifdef NEW
    return settings.low + 10 * settings.high + 1000 * settings.middle + 1;
#else
    return settings.low + 10 * settings.high;
#endif
}

void command(const char *line) {
    set("high", 5);
    if (!strcmp(line, "set"))
        printf("%d\n", get());
}
