// A constant table of handlers: one handler changes, reached only through the table.
//#Hazard: C18,I1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: get 5
//#Call: put 5
//#Call: del 5
#include "scenario.h"

static int on_get(int x) {
    return x + 1;
}
static int on_put(int x) {
#ifdef NEW
    return x > 3 ? -403 : x + 2;
#else
    return x + 2;
#endif
}
static int on_del(int x) {
    return x + 3;
}

struct handler {
    const char *name;
    int (*run)(int);
};
static const struct handler handlers[] = {{"get", on_get}, {"put", on_put}, {"del", on_del}};

NOINLINE const struct handler *lookup(const char *name) {
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
        if (!strcmp(handlers[i].name, name))
            return &handlers[i];
    return NULL;
}

void command(const char *line) {
    char name[16];
    int x;
    if (sscanf(line, "%15s %d", name, &x) == 2) {
        const struct handler *handler = lookup(name);
        if (handler)
            printf("%d\n", handler->run(x));
    }
}
