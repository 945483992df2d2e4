// An array that is walked back from its end, of which the function has no other address, and a new variable that other functions use right
// behind it in the new build.
//#Hazard: C17,D2
//#Matrix: cc=gcc,clang opt=-O1,-O2,-Os kind=pie,nopie ld=bfd,lld
//#Expect: safe
//#Call: sum 1
//#Call: sum 2
#include "scenario.h"

struct row {
    long key, value;
};

#ifdef NEW
static struct row more = {70, 71};
#endif
static struct row rows[8] = {{1, 10}, {2, 20}, {3, 30}, {4, 40}, {5, 50}, {6, 60}, {7, 70}, {8, 80}};

NOINLINE static long sum(long start) {
    struct row *row = rows + 8;
#ifdef NEW
    start++;
#endif
    do {
        --row;
        start = start * 3 + row->value;
    } while (row != rows);
    return start;
}

NOINLINE static long third(void) {
#ifdef NEW
    return more.key + more.value++;
#else
    return 5;
#endif
}

void command(const char *line) {
    long start;
    if (sscanf(line, "sum %ld", &start) == 1) {
        printf("%ld\n", sum(start));
    } else if (!strcmp(line, "third")) {
        printf("%ld\n", third());
    }
}
