// Functions of which the heap holds addresses: one changes, one goes and one comes. Stripped, nothing but their order says which is which; by that,
// what called `second` would call `third`.
//#Hazard: C21,I1
//#Expect: safe
//#Call: call
#include "scenario.h"

struct hooks {
    int (*hook)(int);
    int count;
};

#ifdef NEW
static int second(int x) {
    return x * 5 + 30;
}
static int third(int x) {
    return x * 1000 + 7;
}
#define OTHER third
#else
static int first(int x) {
    return x * 3 + 1;
}
static int second(int x) {
    return x * 5 + 2;
}
#define OTHER first
#endif

NOINLINE void keep(struct hooks *hooks) {
    hooks->hook = second;
    hooks->count++;
}

NOINLINE void keep_other(struct hooks *hooks) {
    hooks->hook = OTHER;
}

void command(const char *line) {
    static struct hooks *hooks;
    if (!hooks && !(hooks = calloc(1, sizeof *hooks)))
        return;
    if (!strcmp(line, "keep"))
        keep(hooks);
    if (!strcmp(line, "other"))
        keep_other(hooks);
    printf("%d\n", hooks->hook ? hooks->hook(2) : 0);
}
