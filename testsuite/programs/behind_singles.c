// New variables lie right behind old ones that are no arrays, in functions that use both: their addresses can't be the old ones' ends.
//#Hazard: C16,D1,D2
//#Matrix: cc=gcc,clang,gcc,clang opt=-O2,-O1,-O0,-O2 kind=pie,shared,pie,pie ld=bfd,lld,mold,bfd
//#Expect: live
//#Warm: add 5
//#After: add 2 => 7 49 2
//#After: read 4 => 11 4 8
//#After: fill 3 => 14 3
//#After: add 1 => 15 225 3
//#Reverted: add 1 => 16
#include "scenario.h"

struct sums {
    int total;
    short parts;
};

#ifdef NEW
static int squares[3];
#endif
static int counter;
#ifdef NEW
static int limit;
static int more[4];
#endif
static struct sums sums;
#ifdef NEW
static int last[2];
#endif

NOINLINE void into(int *where, int value) { *where = value; }

NOINLINE void add(int n) {
    counter += n;
#ifdef NEW
    into(&limit, counter);
    into(squares, limit * limit);
    sums.parts++;
    into(&more[n & 3], sums.parts);
    printf("%d %d %d\n", counter, squares[0], more[n & 3] + 1);
#else
    printf("%d\n", counter);
#endif
}

NOINLINE void read_in(int n) {
    counter += n;
    sums.total += n;
#ifdef NEW
    into(&last[0], sums.total);
    into(more, sums.total * 2);
    printf("%d %d %d\n", counter, last[0], more[0]);
#else
    printf("%d %d\n", counter, sums.total);
#endif
}

NOINLINE void fill(int n) {
#ifdef NEW
    more[n & 3] = n;
    counter += more[n & 3];
    printf("%d %d\n", counter, more[3]);
#else
    counter += n;
    printf("%d\n", counter);
#endif
}

void command(const char *line) {
    int n;
    if (sscanf(line, "add %d", &n) == 1)
        add(n);
    if (sscanf(line, "read %d", &n) == 1)
        read_in(n);
    if (sscanf(line, "fill %d", &n) == 1)
        fill(n);
}
