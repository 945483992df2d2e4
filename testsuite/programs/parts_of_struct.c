// clang makes variables of the members of a structure, and numbers those that are used: another member in use, and all numbers mean other ones.
//#Hazard: C4,D1
//#Matrix: cc=clang,gcc opt=-O2 kind=pie,shared
//#Expect: safe
//#Warm: add
//#Warm: add
//#After: show => 2 4 0
//#After: add => 3 6 100
#include "scenario.h"

static struct {
    int x, a, b, c;
} g;

NOINLINE void add(void) {
    g.a++;
    g.b += 2;
#ifdef NEW
    g.x += 100;
#else
    g.c += 3;
#endif
}

NOINLINE void show(void) {
#ifdef NEW
    printf("%d %d %d\n", g.a, g.b, g.x);
#else
    printf("%d %d %d\n", g.a, g.b, g.c);
#endif
}

void command(const char *line) {
    if (!strcmp(line, "add"))
        add();
    show();
}
