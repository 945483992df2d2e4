// A table of one unit gets longer, and another unit's table stands right behind it: what that unit's code says of the one can't be the end of the
// other, of which it has never heard. Beside that a table that both units know.
//#Hazard: C1,D2
//#Units: 2
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,shared ld=bfd,lld cflags=-DOWN,-DSHARED
//#Expect: safe
//#Expect[cflags=-DOWN,cc=gcc,kind=pie]: live
//#Call: first 2
//#Call: first 5
//#Call: second 1
//#Call: second 3
#include "scenario.h"

struct row {
    const char *name;
    long cost;
};

#ifdef OWN
#define SCOPE static
#else
#define SCOPE
extern const struct row first_table[], second_table[];
#endif

#if UNIT == 2
SCOPE const struct row second_table[4] = {{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}};

NOINLINE long total(const struct row *from, const struct row *to) {
    long sum = 0;
    for (; from < to; from++)
        sum = sum * 10 + from->cost;
    return sum;
}

NOINLINE long second(int n) {
#ifdef NEW
    return total(second_table, second_table + n) + 1000;
#else
    return total(second_table, second_table + n);
#endif
}
#else
#ifdef NEW
#define ROWS 8
#else
#define ROWS 4
#endif
SCOPE const struct row first_table[ROWS] = {{"v", 11}, {"w", 12}, {"x", 13}, {"y", 14}};

long total(const struct row *from, const struct row *to);
long second(int n);

NOINLINE long first(int n) {
    return n < ROWS ? first_table[n].cost : total(first_table, first_table + ROWS);
}

void command(const char *line) {
    int n;
    if (sscanf(line, "first %d", &n) == 1)
        printf("%ld\n", first(n));
    if (sscanf(line, "second %d", &n) == 1)
        printf("%ld\n", second(n));
}
#endif
