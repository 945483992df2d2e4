// A constant whose name begins like those that rustc makes up: whoever has its address knows it by that, and it changes where it is.
//#Hazard: D4,I2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: make
//#After: show => default 200 2
//#Reverted: show => default 100 2
#include "scenario.h"

struct alloc_ops {
    int (*get)(int);
    int limit;
};

static NOINLINE int one(int x) {
    return x + 1;
}
#ifdef NEW
static const struct alloc_ops alloc_default = {one, 200};
#else
static const struct alloc_ops alloc_default = {one, 100};
#endif
static const struct alloc_ops alloc_other = {one, 7};

static const struct alloc_ops **object;

NOINLINE static void make(int other) {
    object = malloc(sizeof *object);
    *object = other ? &alloc_other : &alloc_default;
}

NOINLINE static void show(void) {
    printf("%s %d %d\n", *object == &alloc_default ? "default" : "other", (*object)->limit, (*object)->get(1));
}

void command(const char *line) {
    if (!strcmp(line, "make"))
        make(0);
    if (!strcmp(line, "make other"))
        make(1);
    if (!strcmp(line, "show"))
        show();
}
