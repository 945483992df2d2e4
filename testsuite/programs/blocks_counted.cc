// C++ counts what has one name in one function: variables of blocks, lambdas with state of their own. New ones in front take the names of the old
// ones; none may take a value along.
//#Hazard: C4,D1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Expect: safe
//#Warm: blocks a
//#Warm: blocks b
//#Warm: blocks b
//#After: blocks a => a 2
//#After: blocks b => b 30
//#After: blocks z => z 1000
//#Reverted: blocks b => b 40
#include "scenario.h"

NOINLINE void blocks(char which) {
#ifdef NEW
    if (which == 'z') {
        static int n;
        printf("z %d\n", n += 1000);
    }
#endif
    if (which == 'a') {
        static int n;
        printf("a %d\n", n += 1);
    }
    if (which == 'b') {
        static int n;
        printf("b %d\n", n += 10);
    }
}

extern "C" void command(const char *line) {
    char word[16];
    if (sscanf(line, "blocks %15s", word) == 1)
        blocks(*word);
}
