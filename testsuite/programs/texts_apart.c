// Two texts of one function lie side by side, so that the start of the second is the end of the first as well. One is given to one call, the
// other to another one: the function never has the two together, and the first text, to which data point, stays where it is.
//#Hazard: C17
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,shared ld=bfd,lld
//#Expect: live
//#Call: check 0
//#Call: check 1
//#Call: check 2
//#Call: check 3
//#Call: other
//#Call: names
#include "scenario.h"

NOINLINE void say(int level, const char *text) { printf("%d %s\n", level, text); }

NOINLINE void check(int k) {
    if (k == 1)
        say(k, "has another length");
#ifdef NEW
    if (k == 2)
        say(k, "is nested too deeply");
#endif
    const char *kind = k == 0 ? "has no keys" : k == 3 ? "can't be divided" : "is right";
    say(k, kind);
}

NOINLINE void other(void) {
#ifdef NEW
    say(0, "is nested too deeply");
#endif
    say(1, "other");
}

const char *const names[] = {"has another length", "has no keys"};

void command(const char *line) {
    int k;
    if (sscanf(line, "check %d", &k) == 1)
        check(k);
    if (!strcmp(line, "other"))
        other();
    if (!strcmp(line, "names"))
        for (int i = 0; i < 2; i++)
            puts(names[i]);
}
