// One alternative of a union gets a member where another has one of that name and type already: in objects that are alive nobody has set it.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie
//#Expect: start
//#Call: add 3
//#Call: add 4
#include "scenario.h"

union object {
    struct {
        int type, flags;
    } plain;
    struct {
        int type;
#ifdef NEW
        int flags;
#endif
        union object *next;
    } linked;
};

static union object *head;

NOINLINE int add(int x) {
    union object *o = malloc(sizeof *o), *last;
    memset(o, x, sizeof *o);
    o->linked.type = x;
    o->linked.next = head;
#ifdef NEW
    o->linked.flags = 1;
#endif
    head = o;
    int sum = 0;
    for (o = head; o; o = last) {
        last = o->linked.next;
        sum += o->linked.type;
#ifdef NEW
        sum += o->linked.flags * 100;
#endif
    }
    return sum;
}

NOINLINE int flags(void) {
    union object plain = {.plain = {1, 2}};
    OPAQUE(plain.plain.flags);
    return plain.plain.flags;
}

void command(const char *line) {
    int x;
    if (sscanf(line, "add %d", &x) == 1)
        printf("%d %d\n", add(x), flags());
}
