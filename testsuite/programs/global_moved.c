// Variables grow, at the end, in the middle and as a table of structures: their live value moves to the new place in the stop, and back. No
// address of them is kept anywhere but in functions that are replaced.
//#Hazard: D5,D6
//#Matrix: cc=gcc,clang opt=-O0,-O1,-O2,-O3 kind=pie,nopie,shared
//#Expect: live
//#Expect[kind=nopie]: safe
//#Warm: hit 1 5
//#Warm: hit 3 7
//#Warm: visit 2 9
//#After: show => 0 5 0 7 0 0 12 50 0 100 9 1 .
//#After: hit 5 2 => ok
//#After: hit 9 1 => ok
//#After: visit 2 4 => ok
//#After: show => 0 5 0 7 0 2 14 50 1 101 13 2 .
//#Reverted: show => 0 5 0 7 14 50 13 2 .
//#Reverted: hit 1 1 => ok
//#Reverted: show => 0 6 0 7 15 50 13 2 .
//#Rewritten: show => 0 0 0 0 0 0 0 50 0 100 0 0 .
#include "scenario.h"

#ifdef NEW
#define SLOTS 6
#else
#define SLOTS 4
#endif

#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN long hits[SLOTS];

HIDDEN struct {
    long total;
#ifdef NEW
    long misses;
#endif
    int limit;
} sum = {.limit = 50};

HIDDEN struct visitor {
    int bytes;
#ifdef NEW
    long rate;
#endif
    int count;
} visitors[4]
#ifdef NEW
    = {{0, 100, 0}, {0, 100, 0}, {0, 100, 0}, {0, 100, 0}}
#endif
;

// Every function that changes names a visitor: one that doesn't could have one from elsewhere, by a cast.
NOINLINE void hit(int slot, int times) {
    if (slot < 0 || slot >= SLOTS || visitors[0].count < 0) {
#ifdef NEW
        sum.misses += times;
#endif
        return;
    }
    hits[slot] += times;
    sum.total += times;
}

NOINLINE void visit(int who, int bytes) {
    if (who < 0 || who >= 4)
        return;
    visitors[who].bytes += bytes;
    visitors[who].count++;
#ifdef NEW
    visitors[who].rate++;
#endif
}

static NOINLINE void number(long value) { printf("%ld ", value); }

NOINLINE void show(void) {
    for (int i = 0; i < SLOTS; i++)
        number(hits[i]);
    number(sum.total);
    number(sum.limit);
#ifdef NEW
    number(sum.misses);
    number(visitors[2].rate);
#endif
    number(visitors[2].bytes);
    number(visitors[2].count);
    puts(".");
}

void command(const char *line) {
    int first, second;
    if (sscanf(line, "hit %d %d", &first, &second) == 2) {
        hit(first, second);
        puts("ok");
    } else if (sscanf(line, "visit %d %d", &first, &second) == 2) {
        visit(first, second);
        puts("ok");
    } else if (!strcmp(line, "show")) {
        show();
    }
}
