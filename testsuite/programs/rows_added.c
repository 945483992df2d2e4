// A variable that began with zeros, at least in part, begins with addresses, and new code counts on them: one more row in a table that can be
// written to, a pointer that is never null any more.
//#Hazard: D3
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared cflags=-DROW,-DPOINTER
//#Unwritten: HP0614
//#Expect: start
//#Call: all
#include "scenario.h"

static NOINLINE void first(void) { printf("first "); }
static NOINLINE void second(void) { printf("second "); }

#ifdef NEW
static NOINLINE void third(void) { printf("third "); }
#endif

#ifdef ROW
#ifdef NEW
#define ROWS 3
#else
#define ROWS 2
#endif
struct row {
    const char *name;
    void (*call)(void);
} rows[8] = {
    {"first", first},
    {"second", second},
#ifdef NEW
    {"third", third},
#endif
};

NOINLINE void all(void) {
    for (int i = 0; i < ROWS; i++) {
        printf("%s: ", rows[i].name);
        rows[i].call();
    }
    puts("");
}
#else
#ifdef NEW
void (*last)(void) = third;
#else
void (*last)(void);
#endif

NOINLINE void all(void) {
    first();
    second();
#ifndef NEW
    if (last)
#endif
        last();
    puts("");
}
#endif

void command(const char *line) {
#ifdef POINTER
    if (!strcmp(line, "none"))
        last = NULL;
#endif
    if (!strcmp(line, "all"))
        all();
}
