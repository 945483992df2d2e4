// A thread-local object with a constructor comes beside one that running threads have set up: both have one guard.
//#Hazard: D9,D10
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Unwritten: HP0614
//#Expect: not-live
//#Call: show
#include "scenario.h"

struct Box {
    int value;
    char *text;
    Box(int v) : value(v), text(strdup("abc")) {}
    ~Box() { free(text); }
};

static thread_local Box first(5);
#ifdef NEW
static thread_local Box second(7);
#endif

NOINLINE int sum() {
#ifdef NEW
    return first.value + second.value;
#else
    return first.value;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "show"))
        printf("%d\n", sum());
}
