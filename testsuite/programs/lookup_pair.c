// Clang makes a table of two distances to texts (`reltable.name`), which the linker puts elsewhere than before.
//#Hazard: C17
//#Matrix: cc=clang,gcc opt=-O2 kind=pie,shared
//#Expect: live
//#Call: first
//#Call: name 0
//#Call: name 1
#include "scenario.h"

#ifdef NEW
#define MORE + 1
#define FIRST "a text in front"
#else
#define MORE
#define FIRST "in front"
#endif

NOINLINE void first(void) { puts(FIRST); }

NOINLINE const char *name(unsigned k) {
    static const char *const names[] = {"the first of two names", "the second name"};
    return names[k & 1];
}

NOINLINE void show(unsigned k) {
    printf("%s %u", name(k), k MORE);
    putchar('\n');
}

void command(const char *line) {
    unsigned k;
    if (!strcmp(line, "first"))
        first();
    if (sscanf(line, "name %u", &k) == 1)
        show(k);
}
