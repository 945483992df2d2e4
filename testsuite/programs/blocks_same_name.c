// Static variables of one name in several blocks of one function. A new block in front renumbers them, one that goes leaves its number to another:
// which is which, the code around them says or nothing does. None may take another's value.
//#Hazard: C4,D1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Expect: safe
//#Warm: count a
//#Warm: count a
//#Warm: count b
//#Warm: count b
//#Warm: log first
//#Warm: kept a
//#Warm: kept b
//#Warm: kept b
//#Call: same a
//#After: count a => a 3
//#After: log second => second
//#After: log zeroth => zeroth
//#After: kept a => 2
//#After: kept b => 30
#include "scenario.h"

#define ONCE(text)             \
    do {                       \
        static int once;       \
        if (!once) {           \
            once = 1;          \
            puts(text);        \
        }                      \
    } while (0)

NOINLINE void count(char which) {
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
#ifndef NEW
    if (which == 'b') {
        static int n;
        printf("b %d\n", n += 10);
    }
#endif
}

NOINLINE void log_once(const char *which) {
#ifdef NEW
    if (!strcmp(which, "zeroth"))
        ONCE("zeroth");
#else
    if (!strcmp(which, "first"))
        ONCE("first");
#endif
    if (!strcmp(which, "second"))
        ONCE("second");
}

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

void command(const char *line) {
    char word[16];
    if (sscanf(line, "count %15s", word) == 1)
        count(*word);
    if (sscanf(line, "log %15s", word) == 1)
        log_once(word);
    if (sscanf(line, "kept %15s", word) == 1)
        kept(*word);
    if (sscanf(line, "same %15s", word) == 1)
#ifdef NEW
        puts("new");
#else
        puts("old");
#endif
}
