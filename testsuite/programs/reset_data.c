// The fix is another initial value of a variable that the process has written to since: on request it is put over the live one in the same stop,
// and stays when the code goes back. What nobody asked for keeps its value.
//#Hazard: D3
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#ResetData: limit names
//#Expect: live
//#Warm: set 15 7
//#After: get => limit 20 depth 7 second
//#After: set 16 8 => ok
//#After: get => limit 16 depth 8 second
//#Reverted: get => limit 16 depth 8 second old
//#Rewritten: get => limit 20 depth 3 second
#include "scenario.h"

#ifdef NEW
static int limit = 20;
static int depth = 5;
static const char *volatile names[2] = {"one", "second"};
#else
static int limit = 10;
static int depth = 3;
static const char *volatile names[2] = {"one", "two"};
#endif

NOINLINE void get(void) {
#ifdef NEW
    printf("limit %d depth %d %s\n", limit, depth, names[1]);
#else
    printf("limit %d depth %d %s old\n", limit, depth, names[1]);
#endif
}

NOINLINE void set(int first, int second) {
    limit = first;
    depth = second;
    names[0] = "set";
    puts("ok");
}

void command(const char *line) {
    int first, second;
    if (!strcmp(line, "get"))
        get();
    if (sscanf(line, "set %d %d", &first, &second) == 2)
        set(first, second);
}
