// A new text comes in front of one that the function has as before: its start can't be the new one's end.
//#Hazard: D2
//#Matrix: cc=gcc,clang opt=-O1,-O2,-O3 kind=pie,nopie
//#Expect: live
//#Warm: set 1
//#After: get => busy
//#After: set 2 => set
//#After: get => stuck
//#After: set 0 => set
//#After: get => idle
//#Reverted: get => idle
//#Reverted: set 2 => set
//#Reverted: get => idle
#include "scenario.h"

static const char *state = "idle";

static NOINLINE void set(int k) {
    if (k == 1)
        state = "busy";
#ifdef NEW
    else if (k == 2)
        state = "stuck";
#endif
    else
        state = "idle";
}

void command(const char *line) {
    int k;
    if (sscanf(line, "set %d", &k) == 1)
        set(k), puts("set");
    else
        puts(state);
}
