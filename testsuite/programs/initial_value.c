// The initial value of a writable global changes together with code: the process keeps its live value.
//#Hazard: D3
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: set 15
//#After: get => limit 15 (new)
//#After: set 16 => ok
//#After: get => limit 16 (new)
//#Reverted: get => limit 16
#include "scenario.h"

#ifdef NEW
int limit = 20;
#else
int limit = 10;
#endif

NOINLINE void get(void) {
#ifdef NEW
    printf("limit %d (new)\n", limit);
#else
    printf("limit %d\n", limit);
#endif
}

NOINLINE void set(int value) {
    limit = value;
    puts("ok");
}

void command(const char *line) {
    int value;
    if (!strcmp(line, "get"))
        get();
    if (sscanf(line, "set %d", &value) == 1)
        set(value);
}
