// Static locals of one name are numbered by the compiler; a new one in front renumbers them all. None may lose its state.
//#Hazard: C4,D1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: first
//#Warm: first
//#Warm: second
//#Warm: third
//#Warm: third
//#Warm: third
//#Warm: third
//#After: first => 3 new 1
//#After: second => 12 new
//#After: third => 105 new
//#After: first => 4 new 2
//#Reverted: first => 5
//#Reverted: second => 13
//#Reverted: third => 106
#include "scenario.h"

#ifdef NEW
NOINLINE static int added(void) {
    static int counter;
    return ++counter;
}
#endif

NOINLINE void first(void) {
    static int counter = 0;
    counter++;
#ifdef NEW
    printf("%d new %d\n", counter, added());
#else
    printf("%d\n", counter);
#endif
}

NOINLINE void second(void) {
    static int counter = 10;
    counter++;
#ifdef NEW
    printf("%d new\n", counter);
#else
    printf("%d\n", counter);
#endif
}

NOINLINE void third(void) {
    static int counter = 100;
    counter++;
#ifdef NEW
    printf("%d new\n", counter);
#else
    printf("%d\n", counter);
#endif
}

void command(const char *line) {
    if (!strcmp(line, "first"))
        first();
    if (!strcmp(line, "second"))
        second();
    if (!strcmp(line, "third"))
        third();
}
