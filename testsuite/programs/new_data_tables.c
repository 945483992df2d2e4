// The fix brings tables: of strings, of functions old and new, of pointers to live and to new data.
//#Hazard: D2,C18,I1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
// Bare numbers that may be addresses are refused in images at fixed addresses where nothing proves them (C16).
//#Expect[cc=clang,kind=nopie]: safe
//#Call: lookup one
//#Call: lookup three
//#Call: lookup nine
//#After: touch => 41 1
//#After: touch => 42 2
//#Reverted: touch => 43 0
#include "scenario.h"

int live = 40;

NOINLINE int existing(int x) {
    return x + live;
}

#ifdef NEW
static int added_value;
static int added(int x) {
    return x * 100;
}
static const struct entry {
    const char *name;
    int (*run)(int);
} entries[] = {{"one", existing}, {"two", added}, {"three", added}};
static int *const pointers[] = {&live, &added_value};
static const char *messages[2] = {"nothing", "something"};
#endif

NOINLINE int lookup(const char *name) {
#ifdef NEW
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (!strcmp(entries[i].name, name)) {
            puts(messages[entries[i].run == existing]);
            return entries[i].run((int)i + 1);
        }
    return -1;
#else
    return (int)strlen(name);
#endif
}

NOINLINE void touch(size_t n) {
#ifdef NEW
    OPAQUE(n);
    for (size_t i = 0; i < n; i++)
        ++*pointers[i];
    printf("%d %d\n", live, added_value);
#else
    live += n != 0;
    printf("%d %d\n", live, 0);
#endif
}

void command(const char *line) {
    if (!strncmp(line, "lookup ", 7))
        printf("%d\n", lookup(line + 7));
    if (!strcmp(line, "touch"))
        touch(2);
}
