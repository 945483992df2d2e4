// A table of packed structures with pointers at addresses that no pointer is aligned to: at fixed addresses nothing but its type says where they are.
//#Hazard: C16
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=nopie
//#Expect: live
//#Call: show 0
//#Call: show 1
//#Call: show 2
#include "scenario.h"

struct __attribute__((packed)) option {
    char letter;
    const char *name;
    int value;
};

#ifdef NEW
const char notice[] = "some more text that moves what follows";
#define TWO "betamaxmax", 22
#else
#define TWO "beta", 2
#endif

static const struct option options[] = {{'a', "alpha", 1}, {'b', TWO}, {'c', "gamma", 3}};

NOINLINE void show(unsigned i) {
    const struct option *o = &options[i % 3];
    printf("%c %s %d\n", o->letter, o->name, o->value);
}

void command(const char *line) {
    unsigned i;
    if (sscanf(line, "show %u", &i) == 1)
        show(i);
}
