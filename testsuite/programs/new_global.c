// Existing counters go on; a new global and a new static local start at their initial values.
//#Hazard: D1,D2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: count
//#Warm: count
//#Warm: count
//#After: count => 4 11 101 1
//#After: count => 5 12 102 2
//#Reverted: count => 6 13
#include "scenario.h"

int exported_counter;
static int private_counter = 7;
#ifdef NEW
int added_counter = 100;
static int added_zero;
#endif

NOINLINE void count(void) {
    exported_counter++;
    private_counter++;
#ifdef NEW
    static int calls;
    added_counter++;
    calls++;
    added_zero += 2;
    printf("%d %d %d %d\n", exported_counter, private_counter, added_counter, added_zero == 2 * calls ? calls : -1);
#else
    printf("%d %d\n", exported_counter, private_counter);
#endif
}

void command(const char *line) {
    if (!strcmp(line, "count"))
        count();
}
