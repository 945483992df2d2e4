// Code compares a stored pointer with the address of a function that the patch replaces.
//#Hazard: I1,C18
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: set
//#Call: compare
//#Call: invoke
//#After: compare => default (new)
//#Reverted: compare => default
#include "scenario.h"

typedef int (*callback)(int);

NOINLINE int default_callback(int x) {
#ifdef NEW
    return x + 1000;
#else
    return x + 1;
#endif
}

NOINLINE int other_callback(int x) {
    return x * 2;
}

static callback stored = default_callback;
callback heap_copy(callback value) {
    callback *p = malloc(sizeof *p);
    *p = value;
    callback out = *p;
    free(p);
    return out;
}

NOINLINE const char *compare(callback c) {
#ifdef NEW
    return c == default_callback ? "default (new)" : "another (new)";
#else
    return c == default_callback ? "default" : "another";
#endif
}

void command(const char *line) {
    if (!strcmp(line, "set"))
        stored = heap_copy(default_callback);
    if (!strcmp(line, "compare"))
        puts(compare(stored));
    if (!strcmp(line, "invoke"))
        printf("%d %d\n", stored(5), other_callback(5));
}
