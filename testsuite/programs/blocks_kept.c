// Static variables of one name in several blocks of a function that stays, and of one that changes behind them, while a third gets more of them and
// renumbers all: the same code in the same places says which is which.
//#Hazard: C4,D1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Expect: live
//#Warm: kept a
//#Warm: kept b
//#Warm: kept b
//#Warm: more
//#Warm: more
//#After: added 1 => 1
//#After: kept a => 2
//#After: kept b => 30
//#After: more => first 3, second 30 (new)
//#Reverted: kept a => 3
//#Reverted: more => first 4, second 40 (old)
#include "scenario.h"

#ifdef NEW
NOINLINE void added(int by) {
    if (by > 0) {
        static int n;
        printf("%d\n", n += by);
    } else {
        static int n;
        printf("%d\n", n -= by);
    }
}
#endif

NOINLINE void kept(char which) {
    if (which == 'a') {
        static int n;
        printf("%d\n", n += 1);
    }
    if (which == 'b') {
        static int n;
        printf("%d\n", n += 10);
    }
}

NOINLINE void more(void) {
    {
        static int n;
        printf("first %d, ", n += 1);
    }
    {
        static int n;
        printf("second %d", n += 10);
    }
#ifdef NEW
    puts(" (new)");
#else
    puts(" (old)");
#endif
}

void command(const char *line) {
    char word[16];
#ifdef NEW
    if (!strncmp(line, "added", 5))
        added(1);
#endif
    if (sscanf(line, "kept %15s", word) == 1)
        kept(*word);
    if (!strcmp(line, "more"))
        more();
}
